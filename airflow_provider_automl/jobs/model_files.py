"""A model's files and their manifest.

``manifest.json`` (format 1) holds the SHA-256 digest and size of every other file, and what a prediction needs to know.
The manifest's own digest identifies the model and detects any change to its files. A model is a pickle, so the digests
are verified before anything is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.files import write_json

MANIFEST, PREDICTOR, FORMAT = "manifest.json", "predictor", 1
_FIX = "restore the model's files, or train again"


def write_manifest(model_dir: Path, about: Mapping[str, Any]) -> str:
    """Write the manifest of the files in ``model_dir``; returns its digest, which is the model's digest."""
    files = {name: _describe(model_dir / name) for name in sorted(_files(model_dir))}
    write_json(model_dir / MANIFEST, {"format": FORMAT, **about, "files": files})
    return hashlib.sha256((model_dir / MANIFEST).read_bytes()).hexdigest()


def parse_manifest(text: bytes, digest: str, where: object) -> dict[str, Any]:
    """Parse the manifest after verifying that its digest is the registered one.

    :raises JobInputError: the digest differs, or the format is newer.
    """
    if hashlib.sha256(text).hexdigest() != digest:
        raise JobInputError(f"The model's {MANIFEST} at {where} is not the registered one: {_FIX}.")
    manifest: dict[str, Any] = json.loads(text)
    if manifest["format"] != FORMAT:
        raise JobInputError(
            f"The model's manifest at {where} has format {manifest['format']}, but this release reads format {FORMAT}: "
            "upgrade airflow-provider-automl, or train again."
        )
    return manifest


def read_manifest(model_dir: Path, digest: str) -> dict[str, Any]:
    """Read the manifest and verify every file against it.

    :raises JobInputError: a file is missing, was changed or was added; the message names it.
    """
    try:
        text = (model_dir / MANIFEST).read_bytes()
    except OSError as error:
        raise JobInputError(f"The model's {MANIFEST} is missing at {model_dir}: {_FIX}.") from error
    manifest = parse_manifest(text, digest, model_dir)
    expected: dict[str, dict[str, Any]] = manifest["files"]
    found = _files(model_dir)
    for what, names in (
        ("is missing", expected.keys() - found),
        ("is not in its manifest", found - expected.keys()),
        ("was changed", {name for name in expected.keys() & found if _describe(model_dir / name) != expected[name]}),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise JobInputError(f"The model's file {min(names)}{more} {what} at {model_dir}: {_FIX}.")
    return manifest


def check_versions(manifest: Mapping[str, Any], python_version: str) -> None:
    """Check the versions: AutoGluon loads only models of its own version and of the same minor version of Python.

    :raises JobInputError: the versions differ; the message names both and how to get the right one.
    """
    installed = autogluon_version()
    trained = manifest["autogluon_version"]
    if installed != trained:
        raise JobInputError(
            f"The model was trained with AutoGluon {trained}, but this interpreter has {installed}, which cannot load "
            f"it: pip install 'autogluon.tabular[lightgbm,catboost,xgboost]=={trained}', or train again."
        )
    ours, theirs = (text.split(".")[:2] for text in (python_version, manifest["python_version"]))
    if ours != theirs:
        raise JobInputError(
            f"The model was trained with Python {manifest['python_version']}, but this is {python_version}, which "
            f"cannot load it: set python to a Python {'.'.join(theirs)} interpreter, or train again."
        )


def autogluon_version() -> str:
    """The version of the installed AutoGluon."""
    return metadata.version("autogluon.tabular")


def _files(model_dir: Path) -> set[str]:
    """Every file and link (to a directory or dangling, too) except the manifest."""
    found = set()
    for directory, subdirectories, names in os.walk(model_dir):
        links = [name for name in subdirectories if os.path.islink(os.path.join(directory, name))]
        found |= {Path(directory, name).relative_to(model_dir).as_posix() for name in (*names, *links)}
    return found - {MANIFEST}


def _describe(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        return {"sha256": None, "size": None}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "size": path.stat().st_size}
