"""Spark's Thrift server, which speaks HiveServer2's protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_automl.errors import AutoMLError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse.base import Capabilities, _is_users_fault, first_line
from airflow_provider_automl.warehouse.hive import HiveWarehouse, _Conflict, _quoted
from airflow_provider_automl.warehouse.hiveserver2 import Cursor, task_context, task_name

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp


class SparkWarehouse(HiveWarehouse):
    """Spark's Thrift server. As :class:`.HiveWarehouse`, with other types and name rules.

    **Publishing** is Hive's, in the session catalog (a Hive metastore, or Spark's own): each rename is one change of
    the catalog, but also moves the table's directory, which on an object store copies its files. Between the two
    renames, for some tenths of a second on a disk, the target does not exist. Tables of other catalogs are not
    supported.

    **Concurrent writes.** Two INSERTs into one table share a directory for uncommitted files: because of the other, one
    may fail, or succeed without leaving a row. So an append always fills a copy of the table and publishes it, and a
    record checks whether its row is in the table, and if not inserts it again.

    **Types.** Timestamps without time zone are TIMESTAMP_NTZ, those with time zone are Spark's TIMESTAMP; the session's
    time zone is UTC. Arrays, maps and structs are read as JSON text, VARIANT and intervals as text.

    **Jobs** are labelled with their task by a comment before each statement: the Thrift server uses the statement as
    the description of its jobs, regardless of ``spark.job.description``.
    """

    engine = "Spark"
    capabilities = Capabilities(cancel=True)
    settings: ClassVar[dict[str, str]] = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.variable.substitute": "false",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    narrower: ClassVar[dict[str, str]] = {"NULL": "VARCHAR", "HUGEINT": "DECIMAL(38,0)"}
    by_cursor = re.compile(r"(?!)")
    _supports_nested_with: ClassVar[bool] = True
    _concurrent_inserts: ClassVar[bool] = False
    _table_name = re.compile(r"[A-Za-z0-9_]+")
    _table_characters = "letters from a to z, digits and _"
    _column_name = re.compile(r"[^\n]+")

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "spark", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout, staging=staging)

    def _task_settings(self) -> dict[str, str]:
        return task_context()

    def _comment(self) -> str:
        return task_name()

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """Read the types from DESCRIBE: the protocol has no ids for several of Spark's."""
        from airflow_provider_automl.warehouse.types import neutral_type

        found = self._fetch(cursor, "describe", source=source)
        return [
            (str(row["col_name"]), _spark_type(str(row["data_type"])) or neutral_type(str(row["data_type"]), "spark"))
            for row in found
        ]

    def _readable_as(self, column: exp.Expression, kind: str) -> exp.Expression | None:
        from sqlglot import exp

        if HiveWarehouse.by_cursor.fullmatch(kind):
            return exp.Anonymous(this="TO_JSON", expressions=[column])
        return exp.cast(column, "VARCHAR") if kind in ("INTERVAL", "NULL", "VARIANT") else None

    def _files(self, cursor: Cursor, columns: Mapping[str, str], uri: str) -> exp.Table:
        return table_of("parquet", uri)

    def _write_files(self, cursor: Cursor, query: str, uri: str) -> exp.Table:
        cursor.execute(f"INSERT OVERWRITE DIRECTORY {_quoted(uri)} USING PARQUET {query}")
        return table_of("parquet", uri)

    #: None, since the rows are in VALUES: Spark reads 20,000 rows four times as fast as from STRUCTs.
    _row_prefix: ClassVar[str] = ""

    def _rows_of(self, names: list[str]) -> exp.Expression:
        from sqlglot import exp

        return exp.Var(this=f"VALUES automl_rows AS q({', '.join(names)})")

    def _version(self, cursor: Cursor, table: exp.Table) -> str:
        try:
            found = self._fetch(cursor, "paths", source=table)
        except AutoMLError:
            raise
        except Exception as error:
            if _is_users_fault(error) and self._found(cursor, table):
                raise
            with suppress(Exception):  # clear this session's cached list of files
                cursor.execute(f"REFRESH TABLE {self._text(table)}")
            raise _Conflict(first_line(error)) from error  # the files were deleted while they were read
        return json.dumps(sorted(str(row["path"]).rpartition("/")[2] for row in found))

    def _check_server(self, cursor: Cursor) -> None:
        """Not needed: a failed task does not affect later ones."""


def _spark_type(text: str) -> str | None:
    """Return the neutral name of a type that sqlglot cannot parse."""
    head = text.lower().split(" ")[0].split("<")[0]
    return {"void": "NULL", "interval": "INTERVAL", "variant": "VARIANT"}.get(head)
