"""The histories of aliases, in ``automl_model_aliases``: rows are only ever added, and the last one is in effect."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import BusyError
from airflow_provider_automl.tracking.tables import MODEL_ALIASES

if TYPE_CHECKING:
    from airflow_provider_automl.tracking.store import TrackingTables

# Attempts to move an alias against concurrent writers, on engines without transactions.
_ATTEMPTS = 10
# Suffix of the record_id of a change that reverted another one (written by older versions of this package).
_REVERT_SUFFIX = "-put-back"


class Aliases:
    """The aliases in one schema. It does not check that the versions exist: :class:`.ModelStore` does."""

    def __init__(self, tracking: TrackingTables) -> None:
        self.tracking = tracking

    def current(self) -> dict[str, dict[str, Any]]:
        """All aliases, each with the newest row of its history."""
        rows = [row for row in self.tracking.read(MODEL_ALIASES) if row["alias"] is not None]  # NULL: reverted
        return {row["alias"]: row for row in _in_order(rows)}

    def history(self, alias: str) -> list[dict[str, Any]]:
        """All changes of an alias, oldest first; the last one is in effect."""
        return _in_order(self.tracking.read(MODEL_ALIASES, alias=alias))

    def append(
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

        :param since: a tuple of the row that must be the last one (None: there must be none), which needs
            transactions; None: no condition.
        :raises BusyError: the condition does not hold.
        """

        def next_row(history: list[dict[str, Any]]) -> dict[str, Any]:
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
            written: list[dict[str, Any]] = []

            def build(history: list[dict[str, Any]]) -> dict[str, Any]:
                new = next_row(history)
                written[:] = [{**new, "record_id": change_id or uuid.uuid4().hex, "recorded_at": datetime.now(UTC)}]
                return written[0]

            warehouse.append_if(self.tracking.name(MODEL_ALIASES), {"alias": alias}, build)
            return written[0]
        new = next_row(self.history(alias))
        self.tracking.record(MODEL_ALIASES, new, record_id=change_id)
        return new

    def append_optimistically(
        self,
        alias: str,
        row: dict[str, Any],
        since: dict[str, Any] | None,
        assigned_by: str | None,
        reason: str | None,
        change_id: str,
    ) -> dict[str, Any]:
        """Add a row if the alias has not changed, without a transaction; see :meth:`.ModelStore.move_alias`."""
        for _ in range(_ATTEMPTS):
            _refuse_changed(alias, self.history(alias), since)
            began = time.monotonic()
            new = self.append(alias, row, assigned_by, reason, change_id)
            changed = _since(self.history(alias), since)
            if [change["record_id"] for change in changed] == [change_id]:
                return new
            # Revert: this row supersedes the one with the same record_id, and with alias NULL it is in no history.
            self.tracking.record(MODEL_ALIASES, {**new, "alias": None}, record_id=change_id)
            ids = [change["record_id"] for change in changed]
            rank = ids.index(change_id) if change_id in ids else len(ids)
            time.sleep((time.monotonic() - began) * rank)
        raise BusyError(f"The alias {alias!r} is being changed concurrently: nothing was changed; try again.")


def same_version(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two rows refer to the same version."""
    return all(one[key] == other[key] for key in ("model_name", "model_version"))


def change_of(history: list[dict[str, Any]], change_ids: Collection[str]) -> int | None:
    """The index in a history of the change that :meth:`.ModelStore.move_alias` made under one of these IDs; None if it
    made none or was reverted (older versions of this package left the failed change and a second one that reverts it).
    """
    reverted = {str(change["record_id"]).removesuffix(_REVERT_SUFFIX) for change in history if _is_revert(change)}
    effective = set(change_ids) - reverted
    return next((index for index, change in enumerate(history) if change["record_id"] in effective), None)


def _is_revert(change: dict[str, Any]) -> bool:
    return str(change["record_id"]).endswith(_REVERT_SUFFIX)


def _since(history: list[dict[str, Any]], last: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The changes of an alias after ``last``."""
    known = [index for index, change in enumerate(history) if last and change["record_id"] == last["record_id"]]
    return history[known[-1] + 1 if known else 0 :]


def _refuse_changed(alias: str, history: list[dict[str, Any]], since: dict[str, Any] | None) -> None:
    if changed := _since(history, since):
        other = changed[-1]
        raise BusyError(
            f"The alias {alias!r} was concurrently assigned to {other['model_name']!r} version "
            f"{other['model_version']!r} by {other['assigned_by'] or 'an unknown user'}: compare with that version. "
            "Nothing was changed."
        )


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Alias rows in their total order; concurrent ones with the same number by time and ``record_id``."""
    return sorted(rows, key=lambda row: (row["alias_seq"], str(row["recorded_at"]), str(row["record_id"])))
