"""The model store: the files of each model version, and the registry row that makes the version exist.

Layout, for a model store at ``base``::

    base/<model_name>/<model_version>/model/manifest.json      digests of all files beside it
    base/<model_name>/<model_version>/model/predictor/...      what AutoGluon saved
    base/<model_name>/<model_version>/report/train.ipynb       the executed notebook, and train.html
    base/<model_name>/<model_version>/predictions/<task>/...   predict.ipynb, predict.html and run.json per prediction
    base/<model_name>/<model_version>/leaderboard/*.parquet    and feature_importance/*.parquet
    base/<model_name>/<model_version>/training.json            what the training reported

Files are written first; the registry row is the commit. Files without a row are stale artifacts and are never found. A
version's files are immutable. Deleting a version hides it at once; its files are removed after a grace period.
"""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import AutoMLError, InputError, listing
from airflow_provider_automl.models import storage
from airflow_provider_automl.models.aliases import Aliases, same_version
from airflow_provider_automl.models.cache import ModelCache, check_files
from airflow_provider_automl.models.names import check_alias, check_model_name, new_share
from airflow_provider_automl.models.storage import local_path, translate_errors
from airflow_provider_automl.tracking.store import record_id, utc
from airflow_provider_automl.tracking.tables import MODEL_ALIASES, MODELS

if TYPE_CHECKING:
    from airflow_provider_automl.tracking.store import TrackingTables

log = logging.getLogger(__name__)

#: How long a deleted version can be restored.
GRACE = timedelta(days=7)
#: The part of a version that a prediction loads.
_MODEL = "model"


class ModelStore:
    """Model versions: their files under ``base``, their rows in ``automl_models``.

    :param base: a directory, or a URI that Airflow's ``ObjectStoragePath`` supports (``s3://bucket/models``).
    :param tracking: the schema with ``automl_models`` and ``automl_model_aliases``.
    :param cache: this worker's cache of models in an object store.
    """

    def __init__(self, base: str, tracking: TrackingTables, cache: ModelCache | None = None) -> None:
        self.base = base if "://" in base else Path(base).absolute().as_uri()
        self.tracking = tracking
        self.cache = cache
        self._aliases = Aliases(tracking)

    # ------------------------------------------------------------------------------------------------ saving

    def uri(self, model_name: str, model_version: str) -> str:
        """The location of a version's files, whether or not they exist yet."""
        return self._join(model_name, model_version)

    def _join(self, *parts: str) -> str:
        local = local_path(self.base)
        return local.joinpath(*parts).as_uri() if local is not None else "/".join((self.base.rstrip("/"), *parts))

    def save(self, directory: Path, model_name: str, model_version: str) -> str:
        """Move the files of ``directory`` into the store, replacing stale ones, and return their URI.

        The version exists only after :meth:`register`.
        """
        self.remove_leftovers(model_name, model_version)
        uri = self.uri(model_name, model_version)
        with translate_errors(self.base):
            storage.upload(directory, uri)
        return uri

    def register(
        self, *, model_name: str, model_version: str, model_uri: str, model_digest: str, shared_model: str | None,
        dag_id: str | None, run_id: str | None,
    ) -> dict[str, Any]:  # fmt: skip
        """Write and return the registry row; the version exists from then on."""
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

    # ------------------------------------------------------------------------------------------------ finding

    def versions(self, model_name: str | None = None, *, deleted: bool = False) -> list[dict[str, Any]]:
        """Registry rows of one model or of all models, oldest first.

        :param deleted: return the deleted versions instead of the existing ones.
        """
        where = {} if model_name is None else {"model_name": model_name}
        rows = [row for row in self._read(**where) if (row["deleted_at"] is not None) == deleted]
        return sorted(rows, key=lambda row: (row["created_at"], row["model_version"]))

    def find(
        self,
        *,
        model_name: str | None = None,
        model_version: str | None = None,
        shared_model: str | None = None,
        alias: str | None = None,
    ) -> dict[str, Any]:
        """Return the registry row of one version.

        :param model_name: without a version, its newest one; with a trailing ``*``, the newest version of all models
            with that prefix.
        :param shared_model: the UUID of a shared version; sufficient on its own.
        :param alias: an alias of the version; sufficient on its own.
        :raises InputError: no such version; the message lists the available ones.
        """
        if alias is not None:
            return self._find_alias(alias)
        if shared_model is not None:
            if found := [row for row in self._read(shared_model=shared_model) if row["deleted_at"] is None]:
                return found[-1]
            raise InputError(
                f"No model is shared under {shared_model!r} in {self.tracking.name(MODELS)}: "
                "train with share_model=True, or check the UUID."
            )
        if model_name is None:
            raise InputError("No model given: set model, model_name, shared_model or alias.")
        if model_name.endswith("*"):
            rows = [row for row in self.versions() if row["model_name"].startswith(model_name[:-1])]
        else:
            rows = self.versions(model_name)
        if not rows:
            names = sorted({row["model_name"] for row in self.versions()})
            known = f"available: {listing(names, 5)}" if names else "there are no models yet; train one first"
            raise InputError(f"No model {model_name!r} in {self.tracking.name(MODELS)}: {known}.")
        if model_version is not None:
            found = [row for row in rows if row["model_version"] == model_version]
            if not found:
                known = ", ".join(row["model_version"] for row in rows[-5:])
                raise InputError(
                    f"Model {model_name!r} has no version {model_version!r}: its newest versions are {known}."
                )
            return found[-1]
        return max(rows, key=lambda row: row["created_at"])

    def _find_alias(self, alias: str) -> dict[str, Any]:
        history = self.alias_history(check_alias(alias))
        if not history:
            known = listing(sorted(self.aliases()), 5) or "none yet"
            raise InputError(f"No alias {alias!r} in {self.tracking.name(MODEL_ALIASES)}; available: {known}.")
        current = history[-1]
        try:
            return self.find(model_name=current["model_name"], model_version=current["model_version"])
        except InputError as error:
            raise InputError(
                f"The alias {alias!r} points to {current['model_name']!r} version {current['model_version']!r}, which "
                "does not exist: assign the alias to another version, or undelete this one."
            ) from error

    def describe(self, row: dict[str, Any]) -> dict[str, Any]:
        """A version's registry row, its aliases, its training report, and the size of its files in bytes."""
        try:
            training: dict[str, Any] | None = self.training(row)
        except (OSError, ValueError) as error:
            log.warning("Could not read the training report of %s: %s", row["model_uri"], error)
            training = None
        return {**row, "aliases": self._aliases_of(row), "training": training, "bytes": self._size(row)}

    def training(self, row: dict[str, Any]) -> dict[str, Any]:
        """A version's training report (``training.json``)."""
        with translate_errors(self.base):
            report: dict[str, Any] = json.loads(self.file(row, "training.json").read_text())
        return report

    def manifest(self, row: dict[str, Any]) -> dict[str, Any]:
        """A version's manifest, verified against the registered digest. The model is not loaded.

        :raises InputError: the manifest is missing, or its digest differs.
        """
        from airflow_provider_automl.jobs.errors import JobInputError
        from airflow_provider_automl.jobs.model_files import MANIFEST, parse_manifest

        try:
            with translate_errors(self.base):
                text = self.file(row, f"{_MODEL}/{MANIFEST}").read_bytes()
        except OSError as error:
            raise missing_files(row) from error
        try:
            return parse_manifest(text, row["model_digest"], row["model_uri"])
        except JobInputError as error:
            raise InputError(str(error)) from error

    def file(self, row: dict[str, Any], path: str) -> Any:
        """The path of a file in a version's directory.

        :raises InputError: the path is outside the model store.
        """
        uri = self._verified_uri(row)
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\\" in part for part in parts):
            raise InputError(f"{path!r} is not a path within a model version.")
        local = local_path(uri)
        if local is None:
            return storage.stored(f"{uri}/{path}")
        found = local.joinpath(*parts)
        base = local_path(self.base)
        assert base is not None
        if not found.resolve().is_relative_to(base.resolve()):
            raise InputError(f"{path!r} of the model at {uri} is a link to a path outside the model store.")
        return found

    def _verified_uri(self, row: dict[str, Any]) -> str:
        """A version's URI, checked to be its location in this store: anyone may have written the row."""
        uri = str(row["model_uri"])
        if uri != self.uri(check_model_name(row["model_name"]), check_model_name(row["model_version"])):
            raise InputError(
                f"Model {row['model_name']!r} version {row['model_version']!r} is registered at {uri}, which is not "
                f"its location in the model store {self.base}: configure the store that it was saved in."
            )
        return uri

    # ------------------------------------------------------------------------------------------------ files

    @contextmanager
    def opened(self, row: dict[str, Any], directory: Path) -> Iterator[Path]:
        """Yield a local directory with a version's ``model``: a copy, so that a concurrent write to the store cannot
        change it between verification and use.

        :param directory: receives the copy where there is no cache.
        :raises InputError: the files are missing, or do not match their digests.
        """
        local = local_path(row["model_uri"])
        if local is None and self.cache is not None:

            def download(target: Path) -> None:
                if not self._download(row, _MODEL, target):
                    raise missing_files(row)

            with self.cache.opened(row["model_digest"], download) as cached:
                yield cached
            return
        found = self.fetch(row, directory)
        if found is None:
            raise missing_files(row)
        if local is not None:
            found = Path(shutil.copytree(found, directory / _MODEL, symlinks=True))
        yield found

    def download(self, row: dict[str, Any], directory: Path) -> Path:
        """Copy a version's model into a new directory and verify the digest of each file.

        :raises InputError: the directory exists, or the files do not match their digests.
        """
        if directory.exists():
            raise InputError(f"The directory {directory} already exists: give a new one.")
        partial = directory.with_name(f".{directory.name}.partial-{uuid.uuid4().hex}")
        try:
            with self.opened(row, partial.with_suffix(".fetched")) as model:
                shutil.copytree(model, partial)
            check_files(partial, row["model_digest"])
            partial.rename(directory)
        finally:
            for temporary in (partial, partial.with_suffix(".fetched")):
                shutil.rmtree(temporary, ignore_errors=True)
        return directory

    def fetch(self, row: dict[str, Any], directory: Path, part: str = _MODEL) -> Path | None:
        """A local directory with a part of a version's files: the original, or a copy below ``directory``."""
        local = local_path(row["model_uri"])
        if local is not None:
            return local / part if (local / part).is_dir() else None
        return directory / part if self._download(row, part, directory / part) else None

    def _download(self, row: dict[str, Any], part: str, target: Path) -> bool:
        """Copy a part of a version's files out of an object store; False if it does not exist."""
        with translate_errors(self.base):
            return storage.download(f"{row['model_uri']}/{part}", target)

    def add_report(self, row: dict[str, Any], key: str, files: list[Path]) -> None:
        """Store the report of a prediction beside the model, replacing one with the same key."""
        uri = f"{self._verified_uri(row)}/predictions/{key}"
        with translate_errors(self.base):
            for file in files:
                storage.upload_file(file, uri)

    def _size(self, row: dict[str, Any]) -> int | None:
        try:
            return sum(int(entry["size"]) for entry in self.manifest(row)["files"].values())
        except InputError:
            return None

    # ------------------------------------------------------------------------------------------------ aliases

    def aliases(self) -> dict[str, dict[str, Any]]:
        """All aliases, each with the newest row of its history."""
        return self._aliases.current()

    def _aliases_of(self, row: dict[str, Any]) -> list[str]:
        return [name for name, current in self.aliases().items() if same_version(current, row)]

    def alias_history(self, alias: str) -> list[dict[str, Any]]:
        """All changes of an alias, oldest first; the last one is in effect."""
        return self._aliases.history(alias)

    def set_alias(
        self,
        alias: str,
        row: dict[str, Any],
        *,
        assigned_by: str | None,
        reason: str | None = None,
        change_id: str | None = None,
    ) -> dict[str, Any]:
        """Assign an alias to a version. Concurrent changes are all kept in the history, in one total order.

        :param assigned_by: who made the change.
        :param reason: why, for the history.
        :param change_id: the ``record_id`` of the new row, by which to find it again; default: random.
        :returns: the new row of the history.
        :raises InputError: no such version, or it was deleted concurrently.
        """
        target = self._resolve_target(alias, row)
        new = self._aliases.append(alias, target, assigned_by, reason, change_id)
        self._refuse_deleted(alias, target, assigned_by)
        return new

    def move_alias(
        self,
        alias: str,
        row: dict[str, Any],
        *,
        since: dict[str, Any] | None,
        assigned_by: str | None,
        reason: str | None = None,
        change_id: str | None = None,
    ) -> dict[str, Any]:
        """As :meth:`set_alias`, but only if the alias has not changed since (compare-and-set).

        On Postgres and DuckDB this is one transaction: the first of several concurrent callers succeeds, the others
        fail without a change. Trino, Hive and Spark have no multi-statement transactions: a caller that finds a
        concurrent change reverts its own row (which removes it from the history), backs off by its rank among the
        callers, and retries while the alias is unchanged. At most one caller succeeds, and usually one does. Until a
        row is reverted, the alias may briefly point to a failed caller's version; it stays there if that caller is
        killed in between, and the history shows it.

        :param since: the last row of the history when the decision was made; None: the alias did not exist.
        :raises BusyError: the alias has changed: decide again.
        :raises InputError: no such version, or it was deleted concurrently.
        """
        target = self._resolve_target(alias, row)
        change_id = change_id or uuid.uuid4().hex
        if self.tracking.warehouse.capabilities.ddl_transactional:
            new = self._aliases.append(alias, target, assigned_by, reason, change_id, since=(since,))
        else:
            new = self._aliases.append_optimistically(alias, target, since, assigned_by, reason, change_id)
        self._refuse_deleted(alias, target, assigned_by)
        return new

    def _resolve_target(self, alias: str, row: dict[str, Any]) -> dict[str, Any]:
        check_alias(alias)
        return self.find(model_name=row["model_name"], model_version=row["model_version"])

    def _refuse_deleted(self, alias: str, target: dict[str, Any], assigned_by: str | None) -> None:
        """Revert an alias to its previous version if the new one was deleted concurrently."""
        if any(same_version(version, target) for version in self.versions(target["model_name"])):
            return
        before = [change for change in self.alias_history(alias) if not same_version(change, target)]
        if before:
            self._aliases.append(alias, before[-1], assigned_by, "the version was deleted concurrently")
        raise InputError(
            f"Model {target['model_name']!r} version {target['model_version']!r} was deleted concurrently."
        )

    def rollback_alias(self, alias: str, *, assigned_by: str | None, reason: str | None = None) -> dict[str, Any]:
        """Assign an alias to its previous version, as a new entry of its history.

        :raises InputError: there is no such alias, or it has had one version only.
        """
        history = self.alias_history(check_alias(alias))
        before = [change for change in history if not same_version(change, history[-1])] if history else []
        if not before:
            raise InputError(f"The alias {alias!r} has no earlier version to roll back to.")
        return self.set_alias(alias, before[-1], assigned_by=assigned_by, reason=reason or "rolled back")

    # ------------------------------------------------------------------------------------------------ sharing

    def share(self, row: dict[str, Any]) -> str:
        """Share a version under a UUID, which is all that a reader needs; returns the existing UUID if it is shared."""
        current = self.find(model_name=row["model_name"], model_version=row["model_version"])
        if current["shared_model"] is None:
            current = self._change(current, shared_model=new_share())
        return str(current["shared_model"])

    def unshare(self, row: dict[str, Any]) -> None:
        """Revoke a version's UUID, which is never reused."""
        current = self.find(model_name=row["model_name"], model_version=row["model_version"])
        if current["shared_model"] is not None:
            self._change(current, shared_model=None)

    # ------------------------------------------------------------------------------------------------ deleting

    def delete(self, row: dict[str, Any]) -> None:
        """Delete a version: it is no longer found, and its files are removed after :data:`GRACE`.

        Running tasks that use it are not affected.

        :raises InputError: an alias points to it, or it is shared.
        """
        current = self.find(model_name=row["model_name"], model_version=row["model_version"])
        self._refuse_used(current)
        deleted = self._change(current, deleted_at=datetime.now(UTC))
        try:
            self._refuse_used(deleted)  # an alias may have been assigned in between
        except InputError:
            self._change(deleted, deleted_at=None)
            raise
        self.purge()

    def undelete(self, model_name: str, model_version: str) -> dict[str, Any]:
        """Restore a deleted version; returns its row.

        :raises InputError: it was not deleted, or its files are missing.
        """
        found = [row for row in self.versions(model_name, deleted=True) if row["model_version"] == model_version]
        if not found:
            raise InputError(f"Model {model_name!r} has no deleted version {model_version!r}.")
        self.manifest(found[-1])
        return self._change(found[-1], deleted_at=None)

    def purge(self, grace: timedelta = GRACE) -> int:
        """Remove the files of versions that were deleted longer than ``grace`` ago; returns the number of versions."""
        due = datetime.now(UTC) - grace
        old = [row for row in self.versions(deleted=True) if utc(row["deleted_at"]) < due]
        removed = 0
        for row in old:
            try:
                with translate_errors(self.base):
                    removed += storage.remove(self._verified_uri(row))
            except (OSError, AutoMLError) as error:
                log.warning("Could not remove the files of a deleted version: %s", error)
        return removed

    def _refuse_used(self, row: dict[str, Any]) -> None:
        what = f"Model {row['model_name']!r} version {row['model_version']!r}"
        if aliases := self._aliases_of(row):
            raise InputError(
                f"{what} cannot be deleted: the alias {aliases[0]!r} points to it. Assign the alias to another version."
            )
        if row["shared_model"] is not None:
            raise InputError(f"{what} cannot be deleted: it is shared. Unshare it first.")

    def _change(self, row: dict[str, Any], **changes: Any) -> dict[str, Any]:
        changed = {**row, **changes}
        key = record_id(row["model_name"], row["model_version"])
        self.tracking.record(MODELS, changed, record_id=key)
        return changed

    def remove_leftovers(self, model_name: str, model_version: str) -> None:
        """Remove files of earlier, unfinished attempts of this task instance: versions without a registry row."""
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
        with translate_errors(self.base):
            parent = storage.stored(parent_uri)
            for child in parent.iterdir() if parent.exists() else ():
                if child.name.startswith(prefix) and child.name not in known:
                    child.rmdir(recursive=True)

    def _read(self, **where: Any) -> list[dict[str, Any]]:
        return self.tracking.read(MODELS, **where)


def missing_files(row: dict[str, Any]) -> InputError:
    """The error for a version whose files are missing."""
    return InputError(
        f"The files of model {row['model_name']!r} version {row['model_version']!r} are missing at "
        f"{row['model_uri']}: restore them, or train again."
    )
