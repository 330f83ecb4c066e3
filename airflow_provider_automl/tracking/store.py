"""Record rows exactly once, and read the newest version of each."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.tracking.tables import COLUMNS

if TYPE_CHECKING:
    from airflow_provider_automl.warehouse.base import Warehouse


def record_id(*parts: object) -> str:
    """SHA-256 (hex) of ``parts`` in their order; ``None`` counts as a part."""
    return hashlib.sha256(json.dumps([None if part is None else str(part) for part in parts]).encode()).hexdigest()


def utc(value: Any) -> datetime:
    """Convert a warehouse's timestamp to an aware UTC time; naive values are UTC."""
    time: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


class TrackingTables:
    """The tables of :mod:`~airflow_provider_automl.tracking.tables` in one schema of one warehouse."""

    def __init__(self, warehouse: Warehouse, schema: str) -> None:
        self.warehouse = warehouse
        self.schema = schema

    def name(self, table: str) -> str:
        """The table's name as ``schema.table``."""
        return f"{self.schema}.{table}"

    def create(self, tables: Iterable[str]) -> None:
        """Create the schema and ``tables`` if missing, and add missing columns; idempotent."""
        self.warehouse.create_schema(self.schema)
        for table in tables:
            self.warehouse.create_table(self.name(table), COLUMNS[table])

    def record(self, table: str, row: Mapping[str, Any], *, record_id: str | None = None) -> str:
        """Record ``row`` once. Columns missing in ``row`` become NULL; times may be ISO 8601 text.

        :param record_id: idempotency key, the same in a retry; without one, every call adds a row.
        :returns: ``inserted``, ``unchanged`` (the same row existed) or ``replaced`` (another row with this
            ``record_id`` existed).
        """
        columns = COLUMNS[table]
        values = {column: _value(row.get(column), type_) for column, type_ in columns.items()}
        values["record_id"] = record_id or uuid.uuid4().hex
        values["recorded_at"] = datetime.now(UTC)
        self.warehouse.create_table(self.name(table), columns)
        return self.warehouse.record(self.name(table), values)

    def read(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """The rows whose columns equal ``where``, oldest first; empty if the table does not exist.

        Only the newest row of each ``record_id`` is returned: in engines without transactions the table still has the
        rows that it supersedes. Rows without a ``record_id`` were not written by this provider; all are returned.
        """
        name = self.name(table)
        if not self.warehouse.exists(name):
            return []
        columns = list(self.warehouse.columns(name))
        found = self.warehouse.run("newest", table=name, columns=columns, condition=where)
        rows: dict[Any, dict[str, Any]] = {}
        for row in sorted(found, key=lambda row: str(row["recorded_at"] or "")):
            rows[row["record_id"] or len(rows)] = row  # rows recorded at the same time are equal
        return list(rows.values())


def _value(value: Any, type_: str) -> Any:
    if value is None:
        return None
    if type_ == "TIMESTAMP" and isinstance(value, str):
        return datetime.fromisoformat(value)
    if type_ == "VARCHAR" and not isinstance(value, str):
        return json.dumps(value, sort_keys=True, allow_nan=False) if isinstance(value, (dict, list)) else str(value)
    return value
