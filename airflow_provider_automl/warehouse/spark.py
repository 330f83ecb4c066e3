"""Spark's Thrift server, which speaks HiveServer2's protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_automl.errors import AutoMLError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse.base import Capabilities, _is_users_fault, first_line
from airflow_provider_automl.warehouse.hive import HiveWarehouse, _Crossed, _quoted
from airflow_provider_automl.warehouse.hiveserver2 import Cursor, task_context, task_name

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp


class SparkWarehouse(HiveWarehouse):
    """Spark's Thrift server. As :class:`.HiveWarehouse`, with other types and other names.

    **Publishing** is Hive's, in the session catalog (a Hive metastore, or Spark's own): each rename is one change of
    the catalog, but moves the table's directory as well, which on an object store copies its files. Between the two
    renames, for some tenths of a second on a disk, the name is missing. Tables of other catalogs are not reached.

    **Writing at once.** Two INSERTs into one table share a directory for what is not committed yet: one may fail, or
    go well and leave no row, because of the other. So an append always fills a table like the old one and publishes
    it, and a record looks whether its row is there, and else inserts it again.

    **Types.** Times without zone are TIMESTAMP_NTZ, times with zone are Spark's TIMESTAMP; the session's zone is UTC.
    Arrays, maps and structs are read as JSON text, VARIANT and intervals as text.

    **Jobs** say which task they belong to by a comment before each statement: the Thrift server makes the statement
    the description of its jobs, whatever ``spark.job.description`` says.
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
    _nests_with: ClassVar[bool] = True
    _keeps_inserts: ClassVar[bool] = False
    _table_name = re.compile(r"[A-Za-z0-9_]+")
    _table_characters = "letters from a to z, digits and _"
    _column_name = re.compile(r"[^\n]+")

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "spark", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout, staging=staging)

    def _names(self) -> dict[str, str]:
        return task_context()

    def _comment(self) -> str:
        return task_name()

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """Ask for the types by name: the protocol has none for several of Spark's."""
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

    #: VALUES, of which Spark takes twenty thousand rows in a quarter of the time of as many STRUCTs.
    _row_word: ClassVar[str] = ""

    def _rows_of(self, names: list[str]) -> exp.Expression:
        from sqlglot import exp

        return exp.Var(this=f"VALUES automl_rows AS q({', '.join(names)})")

    def _version(self, cursor: Cursor, table: exp.Table) -> object:
        try:
            found = self._fetch(cursor, "paths", source=table)
        except AutoMLError:
            raise
        except Exception as error:
            if _is_users_fault(error) and self._found(cursor, table):
                raise
            with suppress(Exception):  # this session would look for the same files again
                cursor.execute(f"REFRESH TABLE {self._text(table)}")
            raise _Crossed(first_line(error)) from error  # the files went while they were read
        return sorted(str(row["path"]).rpartition("/")[2] for row in found)

    def _refuse_ill(self, cursor: Cursor) -> None:
        """Its tasks fail alone."""


def _spark_type(text: str) -> str | None:
    """Return the neutral spelling of a type that sqlglot does not read."""
    head = text.lower().split(" ")[0].split("<")[0]
    return {"void": "NULL", "interval": "INTERVAL", "variant": "VARIANT"}.get(head)
