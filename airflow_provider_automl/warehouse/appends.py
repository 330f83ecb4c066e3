"""A row that is added only if what it follows on is still the last: compare and set, where there are transactions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_automl.warehouse.base import Warehouse

# What not every engine keeps in a text.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def has_transactions(warehouse: Warehouse) -> bool:
    """Whether :func:`append_if` can keep other writers out between its look and its row."""
    return warehouse.capabilities.ddl_transactional


def append_if(
    warehouse: Warehouse,
    table: str,
    where: Mapping[str, object],
    follow: Callable[[list[dict[str, Any]]], Mapping[str, object] | None],
) -> None:
    """Add the row that ``follow`` makes of the rows there are, in one transaction that keeps other writers out.

    :param table: one that exists.
    :param where: which rows are looked at, by columns and values.
    :param follow: returns the row, or None to add nothing; called again where another session's work crossed this.
    """
    target = warehouse._qualified(table)

    def work(cursor: Any) -> None:
        warehouse._lock(cursor, target)
        columns = warehouse._columns(cursor, target)
        condition = warehouse._spelled(columns, where, table)
        row = follow(warehouse._fetch(cursor, "select", columns=list(columns), source=target, condition=condition))
        if row is not None:
            kept = {name: _NO_TEXT.sub("\ufffd", v) if isinstance(v, str) else v for name, v in row.items()}
            row = warehouse._spelled(columns, kept, table)
            warehouse._run(cursor, "insert", table=target, columns=list(row), items=list(row.values()))

    with warehouse._explained(table):
        warehouse._write(work)
