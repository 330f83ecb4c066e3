"""The model store: where a version's files live, and the registry row that makes it exist.

Layout, for a model store at ``base``::

    base/<model_name>/<model_version>/model/manifest.json      digests of every file beside it
    base/<model_name>/<model_version>/model/predictor/...      what AutoGluon saved
    base/<model_name>/<model_version>/report/train.ipynb       the executed notebook, and train.html
    base/<model_name>/<model_version>/predictions/<task>/...   predict.ipynb, predict.html and run.json of a prediction
    base/<model_name>/<model_version>/leaderboard/*.parquet    and feature_importance/*.parquet
    base/<model_name>/<model_version>/training.json            what the training reported

Files come first; the registry row is the commit. A version without a row is a leftover and is never found. A version's
files never change. A version that is deleted is gone from its row at once, and from the disk after a time of grace.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from airflow_provider_automl.errors import AutoMLError, BusyError, InputError
from airflow_provider_automl.models.cache import ModelCache, check_files
from airflow_provider_automl.tracking.store import record_id
from airflow_provider_automl.tracking.tables import MODEL_ALIASES, MODELS

if TYPE_CHECKING:
    from airflow_provider_automl.tracking.store import TrackingTables

log = logging.getLogger(__name__)

_MAX_NAME = 200
#: For so long a deleted version can be had back.
GRACE = timedelta(days=7)
# So often an alias is tried to be moved beside others who do, where there are no transactions.
_TRIES = 10
# Ended the record_id of a change that took another one back.
_PUT_BACK = "-put-back"
#: Where a version has what a prediction loads.
_MODEL = "model"


def check_alias(alias: object) -> str:
    """``alias`` if it can be an alias; the rules are those of a model's name.

    :raises InputError: see :func:`check_model_name`.
    """
    if not isinstance(alias, str) or not alias:
        raise InputError(f"alias is {alias!r}: give a name, such as 'census_champion'.")
    try:
        return check_model_name(alias)
    except InputError as error:
        raise InputError(str(error).replace("model_name", "alias", 1)) from None


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
    :param tracking: the schema that holds ``automl_models`` and ``automl_model_aliases``.
    :param cache: where models of an object store are kept on this worker.
    """

    def __init__(self, base: str, tracking: TrackingTables, cache: ModelCache | None = None) -> None:
        self.base = base if "://" in base else Path(base).absolute().as_uri()
        self.tracking = tracking
        self.cache = cache

    # ------------------------------------------------------------------------------------------------ saving

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
            with _reached(self.base):
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

    # ------------------------------------------------------------------------------------------------ finding

    def versions(self, model_name: str | None = None, *, deleted: bool = False) -> list[dict[str, Any]]:
        """Registry rows of a model, or of all, oldest first.

        :param deleted: those that are deleted, instead of those that are not.
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
        """The registry row of one version.

        :param model_name: with no version, its newest complete one; a name ending in ``*`` is the newest of all
            models whose names begin so.
        :param shared_model: the UUID under which a version was shared; nothing else is needed then.
        :param alias: the version that holds this alias.
        :raises InputError: no such version; the message says what there is.
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
            raise InputError("No model was named: give model, model_name, shared_model or alias.")
        if model_name.endswith("*"):
            rows = [row for row in self.versions() if row["model_name"].startswith(model_name[:-1])]
        else:
            rows = self.versions(model_name)
        if not rows:
            names = sorted({row["model_name"] for row in self.versions()})
            known = f"there are: {', '.join(names[-5:])}" if names else "it holds no model yet; train one first"
            raise InputError(f"No model {model_name!r} in {self.tracking.name(MODELS)}: {known}.")
        if model_version is not None:
            found = [row for row in rows if row["model_version"] == model_version]
            if not found:
                known = ", ".join(row["model_version"] for row in rows[-5:])
                raise InputError(f"Model {model_name!r} has no version {model_version!r}: the newest are {known}.")
            return found[-1]
        return max(rows, key=lambda row: row["created_at"])

    def _find_alias(self, alias: str) -> dict[str, Any]:
        history = self.alias_history(check_alias(alias))
        if not history:
            known = ", ".join(sorted(self.aliases())) or "none yet"
            raise InputError(f"There is no alias {alias!r} in {self.tracking.name(MODEL_ALIASES)}; there are: {known}.")
        held = history[-1]
        try:
            return self.find(model_name=held["model_name"], model_version=held["model_version"])
        except InputError as error:
            raise InputError(
                f"The alias {alias!r} points at {held['model_name']!r} version {held['model_version']!r}, which is "
                "not there: point it at another one, or undelete that."
            ) from error

    def describe(self, row: dict[str, Any]) -> dict[str, Any]:
        """A version's registry row, its aliases, what its training reported, and how many bytes its files have."""
        try:
            training: dict[str, Any] | None = self.training(row)
        except (OSError, ValueError) as error:
            log.warning("What the training of %s reported cannot be read: %s", row["model_uri"], error)
            training = None
        return {**row, "aliases": self._aliases_of(row), "training": training, "bytes": self._size(row)}

    def training(self, row: dict[str, Any]) -> dict[str, Any]:
        """What the training of that version reported (``training.json``)."""
        with _reached(self.base):
            report: dict[str, Any] = json.loads(self.file(row, "training.json").read_text())
        return report

    def manifest(self, row: dict[str, Any]) -> dict[str, Any]:
        """A version's manifest, after its digest was found to be the registered one. Nothing is loaded.

        :raises InputError: it is missing, or is another one.
        """
        from airflow_provider_automl.jobs.errors import JobInputError
        from airflow_provider_automl.jobs.model_files import MANIFEST, parse_manifest

        try:
            with _reached(self.base):
                text = self.file(row, f"{_MODEL}/{MANIFEST}").read_bytes()
        except OSError as error:
            raise missing_files(row) from error
        try:
            return parse_manifest(text, row["model_digest"], row["model_uri"])
        except JobInputError as error:
            raise InputError(str(error)) from error

    def file(self, row: dict[str, Any], path: str) -> Any:
        """A file of a version's directory, as a path to read; it never lies outside of the model store.

        :raises InputError: it would.
        """
        uri = self._own(row)
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\\" in part for part in parts):
            raise InputError(f"{path!r} is no file of a model.")
        local = local_path(uri)
        if local is None:
            return _object(f"{uri}/{path}")
        found = local.joinpath(*parts)
        base = local_path(self.base)
        assert base is not None
        if not found.resolve().is_relative_to(base.resolve()):
            raise InputError(f"{path!r} of the model at {uri} is a link to elsewhere.")
        return found

    def _own(self, row: dict[str, Any]) -> str:
        """A version's URI, which must be its place in this store: a row may have been written by anybody."""
        uri = str(row["model_uri"])
        if uri != self.uri(check_model_name(row["model_name"]), check_model_name(row["model_version"])):
            raise InputError(
                f"The files of model {row['model_name']!r} version {row['model_version']!r} are said to be at {uri}, "
                f"which is not its place in the model store {self.base}: name the store that it was saved in."
            )
        return uri

    # ------------------------------------------------------------------------------------------------ files

    @contextmanager
    def opened(self, row: dict[str, Any], directory: Path) -> Iterator[Path]:
        """Yield a local directory with a version's ``model``: a copy, so that nobody who writes to the store changes it
        between the check of its files and their use.

        :param directory: for the copy, where there is no cache.
        :raises InputError: the files are missing, or are not the registered ones.
        """
        local = local_path(row["model_uri"])
        if local is None and self.cache is not None:

            def bring(into: Path) -> None:
                if not self._download(row, _MODEL, into):
                    raise missing_files(row)

            with self.cache.opened(row["model_digest"], bring) as kept:
                yield kept
            return
        found = self.fetch(row, directory)
        if found is None:
            raise missing_files(row)
        if local is not None:
            found = Path(shutil.copytree(found, directory / _MODEL, symlinks=True))
        yield found

    def download(self, row: dict[str, Any], directory: Path) -> Path:
        """Copy a version's model into a new directory, for use elsewhere; every file's digest is checked.

        :raises InputError: the directory exists, or the files are not the registered ones.
        """
        if directory.exists():
            raise InputError(f"{directory} exists: give a directory that does not.")
        partial = directory.with_name(f".{directory.name}.partial-{uuid.uuid4().hex}")
        try:
            with self.opened(row, partial.with_suffix(".fetched")) as model:
                shutil.copytree(model, partial)
            check_files(partial, row["model_digest"])
            partial.rename(directory)
        finally:
            for leftover in (partial, partial.with_suffix(".fetched")):
                shutil.rmtree(leftover, ignore_errors=True)
        return directory

    def fetch(self, row: dict[str, Any], directory: Path, part: str = _MODEL) -> Path | None:
        """A local directory with that part of the version's files: the place itself, or a copy below ``directory``."""
        local = local_path(row["model_uri"])
        if local is not None:
            return local / part if (local / part).is_dir() else None
        return directory / part if self._download(row, part, directory / part) else None

    def _download(self, row: dict[str, Any], part: str, target: Path) -> bool:
        """Copy that part of a version's files out of an object store; False: there is none."""
        with _reached(self.base):
            source = _object(f"{row['model_uri']}/{part}")
            if not source.exists():
                return False
            for path in source.rglob("*"):
                if path.is_file():
                    relative = path.path[len(source.path) :].lstrip("/")
                    if ".." in relative.split("/"):
                        raise InputError(f"The object {path} has a name that leads out of its directory.")
                    (target / relative).parent.mkdir(parents=True, exist_ok=True)
                    path.fs.get_file(path.path, str(target / relative))
        return True

    def add_report(self, row: dict[str, Any], key: str, files: list[Path]) -> None:
        """Put the report on a prediction beside the model; the same key's is replaced."""
        uri = f"{self._own(row)}/predictions/{key}"
        local = local_path(uri)
        if local is not None:
            local.mkdir(parents=True, exist_ok=True)
        for file in files:
            if local is not None:
                shutil.copyfile(file, local / f".{file.name}.partial")
                os.replace(local / f".{file.name}.partial", local / file.name)
            else:
                with _reached(self.base):
                    target = _object(f"{uri}/{file.name}")
                    target.fs.put_file(str(file), target.path)

    def _size(self, row: dict[str, Any]) -> int | None:
        try:
            return sum(int(entry["size"]) for entry in self.manifest(row)["files"].values())
        except InputError:
            return None

    # ------------------------------------------------------------------------------------------------ aliases

    def aliases(self) -> dict[str, dict[str, Any]]:
        """Each alias and the newest row of its history."""
        rows = [row for row in self.tracking.read(MODEL_ALIASES) if row["alias"] is not None]  # NULL: it was taken back
        return {row["alias"]: row for row in _in_order(rows)}

    def _aliases_of(self, row: dict[str, Any]) -> list[str]:
        return [name for name, held in self.aliases().items() if _same(held, row)]

    def alias_history(self, alias: str) -> list[dict[str, Any]]:
        """Every change of an alias, oldest first; the last one holds."""
        return _in_order(self.tracking.read(MODEL_ALIASES, alias=alias))

    def set_alias(
        self,
        alias: str,
        row: dict[str, Any],
        *,
        assigned_by: str | None,
        reason: str | None = None,
        change_id: str | None = None,
    ) -> dict[str, Any]:
        """Point an alias at a version. Nothing of its history is lost; of several at once, all are in it, in one order.

        :param assigned_by: who did it.
        :param reason: why.
        :param change_id: the ``record_id`` of the new row, for who wants to find it again; default: a random one.
        :returns: the new row of the history.
        :raises InputError: no such version, or it was deleted at the same moment.
        """
        held = self._to_be_held(alias, row)
        new = self._append_alias(alias, held, assigned_by, reason, change_id)
        self._refuse_deleted(alias, held, assigned_by)
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
        """As :meth:`set_alias`, if the alias has not changed meanwhile: what others did is never overwritten unseen.

        Of several who saw the same last row, on Postgres and DuckDB the first one succeeds, in a transaction; the
        others are told who holds the alias, and have changed nothing. Trino, Hive and Spark have no transaction over
        two statements: there, who finds a rival beside itself takes its own row back (it is in no history then), waits
        by its rank among them, and tries again while the alias is as it was. So at most one is told that it succeeded,
        and as a rule one is. For the moment until a row is taken back the alias may point at a rival's version, and it
        stays there if that rival is killed in between: the history tells.

        :param since: the last row of the history when the decision was made; None: there was no such alias.
        :raises BusyError: it has changed. Decide again.
        :raises InputError: no such version, or it was deleted at the same moment.
        """
        held = self._to_be_held(alias, row)
        change_id = change_id or uuid.uuid4().hex
        if self.tracking.warehouse.capabilities.ddl_transactional:
            new = self._append_alias(alias, held, assigned_by, reason, change_id, since=(since,))
        else:
            new = self._contend(alias, held, since, assigned_by, reason, change_id)
        self._refuse_deleted(alias, held, assigned_by)
        return new

    def _contend(
        self,
        alias: str,
        row: dict[str, Any],
        since: dict[str, Any] | None,
        assigned_by: str | None,
        reason: str | None,
        change_id: str,
    ) -> dict[str, Any]:
        """Add a row if the alias has not changed, without transactions: see :meth:`move_alias`."""
        for _ in range(_TRIES):
            _refuse_changed(alias, self.alias_history(alias), since)
            began = time.monotonic()
            new = self._append_alias(alias, row, assigned_by, reason, change_id)
            changed = _since(self.alias_history(alias), since)
            if [change["record_id"] for change in changed] == [change_id]:
                return new
            # The alias is NULL: this row of that record_id supersedes the other, and no history has it.
            self.tracking.record(MODEL_ALIASES, {**new, "alias": None}, record_id=change_id)
            ids = [change["record_id"] for change in changed]
            rank = ids.index(change_id) if change_id in ids else len(ids)
            time.sleep((time.monotonic() - began) * rank)
        raise BusyError(f"Others keep changing the alias {alias!r} at the same moment: nothing was changed; try again.")

    def _to_be_held(self, alias: str, row: dict[str, Any]) -> dict[str, Any]:
        check_alias(alias)
        return self.find(model_name=row["model_name"], model_version=row["model_version"])

    def _refuse_deleted(self, alias: str, held: dict[str, Any], assigned_by: str | None) -> None:
        """Have an alias point at the version before, if the one that it was pointed at is gone meanwhile."""
        if any(_same(version, held) for version in self.versions(held["model_name"])):
            return
        before = [change for change in self.alias_history(alias) if not _same(change, held)]
        if before:
            self._append_alias(alias, before[-1], assigned_by, "the version was deleted at the same moment")
        raise InputError(
            f"Model {held['model_name']!r} version {held['model_version']!r} was deleted at the same moment."
        )

    def rollback_alias(self, alias: str, *, assigned_by: str | None, reason: str | None = None) -> dict[str, Any]:
        """Point an alias at the version that held it before the present one; that is a change like any other.

        :raises InputError: there is no such alias, or it has pointed at one version only.
        """
        history = self.alias_history(check_alias(alias))
        before = [change for change in history if not _same(change, history[-1])] if history else []
        if not before:
            raise InputError(f"The alias {alias!r} has no earlier version to go back to.")
        return self.set_alias(alias, before[-1], assigned_by=assigned_by, reason=reason or "rolled back")

    def _append_alias(
        self,
        alias: str,
        row: dict[str, Any],
        assigned_by: str | None,
        reason: str | None,
        change_id: str | None = None,
        *,
        since: tuple[dict[str, Any] | None] | None = None,
    ) -> dict[str, Any]:
        """Add a row to an alias's history.

        :param since: the row that must be the last one, or None if there must be none: where there are transactions.
        :raises BusyError: it is not.
        """

        def after(history: list[dict[str, Any]]) -> dict[str, Any]:
            if since is not None:
                _refuse_changed(alias, _in_order(history), *since)
            return {
                "alias": alias,
                "alias_seq": 1 + max((change["alias_seq"] for change in history), default=0),
                "model_name": row["model_name"],
                "model_version": row["model_version"],
                "assigned_at": datetime.now(UTC),
                "assigned_by": assigned_by,
                "reason": reason,
            }

        warehouse = self.tracking.warehouse
        if warehouse.capabilities.ddl_transactional:
            self.tracking.create([MODEL_ALIASES])
            made: list[dict[str, Any]] = []

            def follow(history: list[dict[str, Any]]) -> dict[str, Any]:
                new = after(history)
                made[:] = [{**new, "record_id": change_id or uuid.uuid4().hex, "recorded_at": datetime.now(UTC)}]
                return made[0]

            warehouse.append_if(self.tracking.name(MODEL_ALIASES), {"alias": alias}, follow)
            return made[0]
        new = after(self.alias_history(alias))
        self.tracking.record(MODEL_ALIASES, new, record_id=change_id)
        return new

    # ------------------------------------------------------------------------------------------------ sharing

    def share(self, row: dict[str, Any]) -> str:
        """Publish a version under a UUID, all that a reader needs; returns it. Shared already: the same one."""
        current = self.find(model_name=row["model_name"], model_version=row["model_version"])
        if current["shared_model"] is None:
            current = self._change(current, shared_model=new_share())
        return str(current["shared_model"])

    def unshare(self, row: dict[str, Any]) -> None:
        """Revoke a version's UUID: nobody finds it by that any more, and it is never given again."""
        current = self.find(model_name=row["model_name"], model_version=row["model_version"])
        if current["shared_model"] is not None:
            self._change(current, shared_model=None)

    # ------------------------------------------------------------------------------------------------ deleting

    def delete(self, row: dict[str, Any]) -> None:
        """Delete a version: at once it is not found any more; its files go after :data:`GRACE`.

        What runs with it now is not disturbed.

        :raises InputError: an alias points at it, or it is shared.
        """
        current = self.find(model_name=row["model_name"], model_version=row["model_version"])
        self._refuse_used(current)
        deleted = self._change(current, deleted_at=datetime.now(UTC))
        try:
            self._refuse_used(deleted)  # an alias that came in between
        except InputError:
            self._change(deleted, deleted_at=None)
            raise
        self.purge()

    def undelete(self, model_name: str, model_version: str) -> dict[str, Any]:
        """Have a deleted version back; returns its row.

        :raises InputError: it was not deleted, or its files are gone.
        """
        found = [row for row in self.versions(model_name, deleted=True) if row["model_version"] == model_version]
        if not found:
            raise InputError(f"Model {model_name!r} has no deleted version {model_version!r}.")
        self.manifest(found[-1])
        return self._change(found[-1], deleted_at=None)

    def purge(self, grace: timedelta = GRACE) -> int:
        """Remove the files of versions that were deleted longer ago than ``grace``; returns how many those were."""
        due = datetime.now(UTC) - grace
        old = [row for row in self.versions(deleted=True) if _aware(row["deleted_at"]) < due]
        removed = 0
        for row in old:
            try:
                removed += self._remove_files(self._own(row))
            except (OSError, AutoMLError) as error:
                log.warning("The files of a deleted version could not be removed: %s", error)
        return removed

    def _refuse_used(self, row: dict[str, Any]) -> None:
        what = f"Model {row['model_name']!r} version {row['model_version']!r}"
        if held := self._aliases_of(row):
            raise InputError(f"{what} cannot be deleted: the alias {held[0]!r} points at it. Point that elsewhere.")
        if row["shared_model"] is not None:
            raise InputError(f"{what} cannot be deleted: it is shared. Unshare it before.")

    def _remove_files(self, uri: str) -> bool:
        local = local_path(uri)
        if local is not None:
            # Renamed before: what is removed by halves must not be taken for whole, and is gone on with.
            removed = local.with_name(f".{local.name}.removed")
            if local.exists():
                local.rename(removed)
            elif not removed.exists():
                return False
            shutil.rmtree(removed)
            return True
        with _reached(self.base):
            path = _object(uri)
            if not path.exists():
                return False
            path.rmdir(recursive=True)
        return True

    def _change(self, row: dict[str, Any], **changes: Any) -> dict[str, Any]:
        changed = {**row, **changes}
        key = record_id(row["model_name"], row["model_version"])
        self.tracking.record(MODELS, changed, record_id=key)
        return changed

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
        with _reached(self.base):
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


def missing_files(row: dict[str, Any]) -> InputError:
    """What to say when a version's files are not where they should be."""
    return InputError(
        f"The files of model {row['model_name']!r} version {row['model_version']!r} are missing at "
        f"{row['model_uri']}: restore them, or train again."
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two rows are of one version."""
    return all(one[key] == other[key] for key in ("model_name", "model_version"))


def change_of(history: list[dict[str, Any]], change_ids: Collection[str]) -> int | None:
    """Where in a history the change is that :meth:`ModelStore.move_alias` made under one of these; None: none, or it
    failed (an older version of this package left a change that failed, and one more that puts the alias back).
    """
    failed = {str(change["record_id"]).removesuffix(_PUT_BACK) for change in history if _is_put_back(change)}
    made = set(change_ids) - failed
    return next((index for index, change in enumerate(history) if change["record_id"] in made), None)


def _is_put_back(change: dict[str, Any]) -> bool:
    return str(change["record_id"]).endswith(_PUT_BACK)


def _since(history: list[dict[str, Any]], last: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The changes of an alias after that one."""
    known = [index for index, change in enumerate(history) if last and change["record_id"] == last["record_id"]]
    return history[known[-1] + 1 if known else 0 :]


def _refuse_changed(alias: str, history: list[dict[str, Any]], since: dict[str, Any] | None) -> None:
    if changed := _since(history, since):
        other = changed[-1]
        raise BusyError(
            f"The alias {alias!r} was meanwhile pointed at {other['model_name']!r} version {other['model_version']!r} "
            f"by {other['assigned_by'] or 'somebody'}: compare with that one. Nothing was changed."
        )


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Alias rows in their total order: two that came at one moment, with the same number, by their time and record."""
    return sorted(rows, key=lambda row: (row["alias_seq"], str(row["recorded_at"]), str(row["record_id"])))


def _aware(moment: datetime) -> datetime:
    """Engines return UTC without saying so."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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
        with _reached(base):
            target = _object(probe)
            target.fs.pipe_file(target.path, b"")
            target.fs.rm_file(target.path)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"The model store {base} cannot be reached, for its file system is not installed: {error} "
            "(for s3://: pip install 'airflow-provider-automl[s3]')."
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


@contextmanager
def _reached(base: str) -> Iterator[None]:
    """Within, tell an object store that is down from one that refuses, in a sentence; a disk's errors stay as they are.

    :raises BusyError: it cannot be reached for now.
    :raises InputError: it refuses this worker.
    """
    try:
        yield
    except (AutoMLError, FileNotFoundError):
        raise
    except Exception as error:
        remote = local_path(base) is None if "://" in base else False
        said = " ".join(str(error).split())[:500]
        if remote and isinstance(error, PermissionError):
            raise InputError(
                f"The model store {base} refuses access: {said}. Give its connection the right to list, read, "
                "write and delete there, or name another store."
            ) from error
        unreachable = isinstance(error, (ConnectionError, TimeoutError)) or type(error).__module__.startswith(
            ("botocore", "aiobotocore", "aiohttp", "google", "azure")
        )
        if remote and (unreachable or isinstance(error, OSError)):
            raise BusyError(f"The model store {base} cannot be reached: {type(error).__name__}: {said}") from error
        raise


def _object(uri: str) -> Any:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(uri)
