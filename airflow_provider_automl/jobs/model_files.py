"""A model's files and their manifest.

``manifest.json`` (format 1) holds the SHA-256 digest and size of every other file, and what a prediction has to know.
Its own digest is the model's: who holds that can tell whether anything was changed. A model is a pickle, so that is
checked before anything is loaded.
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
_MEND = "restore the model's files, or train again"


def write_manifest(model_dir: Path, about: Mapping[str, Any]) -> str:
    """Write the manifest of the files that are there; returns its digest, which is the model's."""
    files = {name: _describe(model_dir / name) for name in sorted(_files(model_dir))}
    write_json(model_dir / MANIFEST, {"format": FORMAT, **about, "files": files})
    return hashlib.sha256((model_dir / MANIFEST).read_bytes()).hexdigest()


def parse_manifest(text: bytes, digest: str, where: object) -> dict[str, Any]:
    """The manifest, after its digest was found to be the registered one.

    :raises JobInputError: it is another one, or of a newer format.
    """
    if hashlib.sha256(text).hexdigest() != digest:
        raise JobInputError(f"The model's {MANIFEST} at {where} is not the registered one: {_MEND}.")
    manifest: dict[str, Any] = json.loads(text)
    if manifest["format"] != FORMAT:
        raise JobInputError(
            f"The model's manifest at {where} has format {manifest['format']}, and this release reads {FORMAT}: "
            "upgrade airflow-provider-automl, or train again."
        )
    return manifest


def read_manifest(model_dir: Path, digest: str) -> dict[str, Any]:
    """The manifest, after every file was found to be what it was.

    :raises JobInputError: a file is missing, was changed or added; names it.
    """
    try:
        text = (model_dir / MANIFEST).read_bytes()
    except OSError as error:
        raise JobInputError(f"The model's {MANIFEST} is missing at {model_dir}: {_MEND}.") from error
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
            raise JobInputError(f"The model's file {min(names)}{more} {what} at {model_dir}: {_MEND}.")
    return manifest


def check_versions(manifest: Mapping[str, Any], python_version: str) -> None:
    """AutoGluon loads only models of its own version, and of the same minor version of Python.

    :raises JobInputError: names both versions and how to get the right one.
    """
    installed = autogluon_version()
    trained = manifest["autogluon_version"]
    if installed != trained:
        raise JobInputError(
            f"The model was trained with AutoGluon {trained}, and this interpreter has {installed}, which cannot load "
            f"it: pip install 'autogluon.tabular[lightgbm,catboost,xgboost]=={trained}', or train again."
        )
    ours, theirs = (text.split(".")[:2] for text in (python_version, manifest["python_version"]))
    if ours != theirs:
        raise JobInputError(
            f"The model was trained with Python {manifest['python_version']}, and this is {python_version}, which "
            f"cannot load it: give an interpreter of Python {'.'.join(theirs)} as python, or train again."
        )


def autogluon_version() -> str:
    """The version of the installed AutoGluon."""
    return metadata.version("autogluon.tabular")


def _files(model_dir: Path) -> set[str]:
    """Every file and link, whether it points into a directory or nowhere, but the manifest."""
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
