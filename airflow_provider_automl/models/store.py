"""The model store: where a version's files live, and the registry row that makes it exist.

Layout, for a model store at ``base``::

    base/<model_name>/<model_version>/model/manifest.json      digests of every file beside it
    base/<model_name>/<model_version>/model/predictor/...      what AutoGluon saved
    base/<model_name>/<model_version>/report/train.ipynb       the executed notebook, and train.html
    base/<model_name>/<model_version>/leaderboard/*.parquet    and feature_importance/*.parquet
    base/<model_name>/<model_version>/training.json            what the training reported

Files come first; the registry row is the commit. A version without a row is a leftover and is never found.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.tracking.store import record_id
from airflow_provider_automl.tracking.tables import MODELS

if TYPE_CHECKING:
    from airflow_provider_automl.tracking.store import TrackingTables

_MAX_NAME = 200


def check_model_name(name: object) -> str:
    """``name`` if it can name a model, which is also a directory of the model store.

    :raises InputError: empty, longer than 200 characters, or holding ``/``, ``\\``, ``..``, ``*``, a control
        character, or a leading or trailing blank or dot.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"model_name is {name!r}: give the model a name, such as 'gluon_model_{{{{ ts_nodash }}}}'.")
    bad = sorted({repr(c) for c in name if c in "/\\*" or not c.isprintable()})
    if ".." in name:
        bad.append("'..'")
    if bad:
        raise InputError(f"model_name {name!r} holds {', '.join(bad)}: use letters, digits, '_', '-' and '.' instead.")
    if name != name.strip(" .") or len(name.encode()) > _MAX_NAME:
        raise InputError(
            f"model_name {name[:60]!r} begins or ends with a blank or dot, or is longer than {_MAX_NAME} bytes: "
            "shorten it, and use letters, digits, '_', '-' and '.'."
        )
    return name


class ModelStore:
    """Versions of models: their files under ``base``, their rows in ``automl_models``.

    :param base: a directory, or a URI that Airflow's ``ObjectStoragePath`` reaches (``s3://bucket/models``).
    :param tracking: the schema that holds ``automl_models``.
    """

    def __init__(self, base: str, tracking: TrackingTables) -> None:
        self.base = base if "://" in base else Path(base).absolute().as_uri()
        self.tracking = tracking

    def uri(self, model_name: str, model_version: str) -> str:
        """Where that version's files are, or will be."""
        return self._join(model_name, model_version)

    def _join(self, *parts: str) -> str:
        local = local_path(self.base)
        return local.joinpath(*parts).as_uri() if local is not None else "/".join((self.base.rstrip("/"), *parts))

    def save(self, directory: Path, model_name: str, model_version: str) -> str:
        """Bring the files of ``directory`` to their place; a leftover there is replaced. Returns the URI.

        The version exists only after :meth:`register`.
        """
        self.remove_leftovers(model_name, model_version)
        uri = self.uri(model_name, model_version)
        local = local_path(uri)
        if local is not None:
            local.parent.mkdir(parents=True, exist_ok=True)
            partial = local.with_name(f".{local.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                shutil.move(directory, partial)  # a rename on one file system, else a copy
                partial.rename(local)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        else:
            self._upload(directory, uri)
        return uri

    def register(
        self, *, model_name: str, model_version: str, model_uri: str, model_digest: str, shared_model: str | None,
        dag_id: str | None, run_id: str | None,
    ) -> dict[str, Any]:  # fmt: skip
        """Write the registry row: from now on the version exists. Returns the row."""
        row = {
            "model_name": model_name,
            "model_version": model_version,
            "model_uri": model_uri,
            "model_digest": model_digest,
            "shared_model": shared_model,
            "created_at": datetime.now(UTC),
            "dag_id": dag_id,
            "run_id": run_id,
        }
        self.tracking.record(MODELS, row, record_id=record_id(model_name, model_version))
        return row

    def versions(self, model_name: str) -> list[dict[str, Any]]:
        """Registry rows of a model that are not deleted, oldest first."""
        return [row for row in self._read(model_name=model_name) if row["deleted_at"] is None]

    def find(
        self, *, model_name: str | None = None, model_version: str | None = None, shared_model: str | None = None
    ) -> dict[str, Any]:
        """The registry row of one version.

        :param model_name: with no version, its newest complete one; a name ending in ``*`` is the newest of all
            models whose names begin so.
        :param shared_model: the UUID under which a version was shared; nothing else is needed then.
        :raises InputError: no such version; the message says what there is.
        """
        if shared_model is not None:
            if found := [row for row in self._read(shared_model=shared_model) if row["deleted_at"] is None]:
                return found[-1]
            raise InputError(
                f"No model is shared under {shared_model!r} in {self.tracking.name(MODELS)}: "
                "train with share_model=True, or check the UUID."
            )
        if model_name is None:
            raise InputError("No model was named: give model, model_name or shared_model.")
        if model_name.endswith("*"):
            everything = [row for row in self._read() if row["deleted_at"] is None]
            rows = [row for row in everything if row["model_name"].startswith(model_name[:-1])]
        else:
            rows = self.versions(model_name)
        if not rows:
            names = sorted({row["model_name"] for row in self._read() if row["deleted_at"] is None})
            known = f"there are: {', '.join(names[-5:])}" if names else "it holds no model yet; train one first"
            raise InputError(f"No model {model_name!r} in {self.tracking.name(MODELS)}: {known}.")
        if model_version is not None:
            found = [row for row in rows if row["model_version"] == model_version]
            if not found:
                known = ", ".join(row["model_version"] for row in rows[-5:])
                raise InputError(f"Model {model_name!r} has no version {model_version!r}: the newest are {known}.")
            return found[-1]
        return max(rows, key=lambda row: row["created_at"])

    def training(self, row: dict[str, Any]) -> dict[str, Any]:
        """What the training of that version reported (``training.json``)."""
        local = local_path(row["model_uri"])
        path = local / "training.json" if local is not None else _object(f"{row['model_uri']}/training.json")
        report: dict[str, Any] = json.loads(path.read_text())
        return report

    def fetch(self, row: dict[str, Any], directory: Path, part: str = "model") -> Path | None:
        """A local directory with that part of the version's files: the place itself, or a copy below ``directory``."""
        local = local_path(row["model_uri"])
        if local is not None:
            return local / part if (local / part).is_dir() else None
        source = _object(f"{row['model_uri']}/{part}")
        if not source.exists():
            return None
        target = directory / part
        for path in source.rglob("*"):
            if path.is_file():
                relative = path.path[len(source.path) :].lstrip("/")
                (target / relative).parent.mkdir(parents=True, exist_ok=True)
                path.fs.get_file(path.path, str(target / relative))
        return target

    def remove_leftovers(self, model_name: str, model_version: str) -> None:
        """Remove files of this task instance's earlier, unfinished trainings: versions that have no registry row."""
        known = {row["model_version"] for row in self._read(model_name=model_name)}
        prefix = model_version.rpartition("-")[0] + "-"
        parent_uri = self._join(model_name)
        local = local_path(parent_uri)
        if local is not None:
            for child in local.iterdir() if local.is_dir() else ():
                version = child.name.removeprefix(".").removesuffix(".partial")
                if version.startswith(prefix) and (version not in known or child.name != version):
                    shutil.rmtree(child, ignore_errors=True)
            return
        parent = _object(parent_uri)
        for child in parent.iterdir() if parent.exists() else ():
            if child.name.startswith(prefix) and child.name not in known:
                child.rmdir(recursive=True)

    def _read(self, **where: Any) -> list[dict[str, Any]]:
        return self.tracking.read(MODELS, **where)

    @staticmethod
    def _upload(directory: Path, uri: str) -> None:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                target = _object(f"{uri}/{path.relative_to(directory).as_posix()}")
                target.fs.put_file(str(path), target.path)


def new_share() -> str:
    """A UUID to share a model under: random, so that only those who were told it have it."""
    return str(uuid.uuid4())


def local_path(uri: str) -> Path | None:
    """The path of a ``file://`` URI, None for any other."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def check_store(base: str) -> str:
    """Check that files can be put into the model store at ``base``, a directory or a URI; returns ``base``.

    :raises InputError: the directory cannot be made or written, or the URI's file system is not installed.
    """
    local = local_path(base) if "://" in base else Path(base)
    if local is not None:
        require_writable(local, "model store")
        return base
    probe = f"{base.rstrip('/')}/.check-{uuid.uuid4().hex}"
    try:
        target = _object(probe)
        target.fs.pipe_file(target.path, b"")
        target.fs.rm_file(target.path)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"The model store {base} cannot be reached, for its file system is not installed: {error} "
            "(for s3://: pip install 'apache-airflow-providers-amazon[s3fs]')."
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"The model store {base} does not exist: make it ({error}).") from error
    return base


def require_writable(directory: Path, what: str) -> None:
    """Make a directory if it is missing, and check that files can be made in it.

    :raises InputError: it cannot be made, or not be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The {what} {directory} cannot be made: {error}.") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"The {what} {directory} is not writable for this user: change its mode, or name another.")


def _object(uri: str) -> Any:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(uri)
