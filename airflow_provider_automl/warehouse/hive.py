"""Hive, and whatever else speaks HiveServer2's protocol: Spark's Thrift server."""

from __future__ import annotations

import logging
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_automl import sql
from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse.base import (
    Mode,
    Warehouse,
    parquet_batches,
    parquet_schema,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp

    from airflow_provider_automl.warehouse.exchange import Exchange

log = logging.getLogger(__name__)

# HiveServer2's type ids (TCLIService.thrift). PyHive knows them up to 21.
_TYPES = {
    0: "BOOLEAN",
    1: "TINYINT",
    2: "SMALLINT",
    3: "INTEGER",
    4: "BIGINT",
    5: "REAL",
    6: "DOUBLE",
    7: "VARCHAR",
    8: "TIMESTAMP",
    9: "BLOB",
    10: "ARRAY",
    11: "MAP",
    12: "STRUCT",
    13: "UNION",
    16: "NULL",
    17: "DATE",
    18: "VARCHAR",
    19: "VARCHAR",
    20: "INTERVAL",
    21: "INTERVAL",
    22: "TIMESTAMPTZ",
}
_DECIMAL = 15

# How much text one INSERT of rows may have, and how many rows. The server's parser takes about a kilobyte a value.
_INSERT_CHARACTERS = 500_000
_INSERT_ROWS = 4000


def open_hive(hook: DbApiHook, *, lock_timeout: float = 600.0, staging: str | None = None) -> HiveWarehouse:
    """Return the warehouse behind a ``hiveserver2`` connection: the server itself says whether it is Hive or Spark.

    :raises BusyError: the server cannot be reached.
    :raises InputError: it refuses the connection's user.
    """
    from TCLIService import ttypes  # type: ignore[import-untyped]

    with _connected(hook) as connection:
        request = ttypes.TGetInfoReq(connection.sessionHandle, ttypes.TGetInfoType.CLI_DBMS_NAME)
        name = str(connection.client.GetInfo(request).infoValue.stringValue)
    kind = SparkWarehouse if "spark" in name.lower() else HiveWarehouse
    return kind(hook, lock_timeout=lock_timeout, staging=staging)


class HiveWarehouse(Warehouse):
    """Hive, by HiveServer2. Tables that are made here are Parquet.

    **Publishing.** Hive without ACID tables has no transaction. A load fills a staging table in the target's schema;
    then the old table is renamed aside, the staging table is renamed to the target's name, and the old one is dropped.
    Each rename is one transaction of the metastore. Until the first, whatever fails leaves the old table as it was.
    Between the two, for some tenths of a second, the name is missing: a query that starts then fails with "table not
    found"; none ever sees some of the rows. (``INSERT OVERWRITE`` would show readers an empty or a partial table
    instead, and would lose the old rows if the server died in it.) A client killed between the two leaves both tables
    whole, under other names: the next load of the same target puts the old one back, then goes on. A query that was
    already running may fail when the old table's files go. The new table is a new one: grants, partitions and
    properties of the old one are not kept.

    **Appending.** One ``INSERT``. With ``delete_where`` and rows that it means, the table is written anew and published
    as above, since Hive's plain tables have no ``DELETE``; of two that do so at once, one's rows may be lost.

    **Recording.** A row is inserted unless the newest row of that key, by ``recorded_at``, is the same. Another one is
    inserted beside it and supersedes it. Two that write the same row at the same moment may both insert it.

    **Types.** Times with zone become TIMESTAMP in UTC, since Hive's Parquet has none with a zone; the session's zone
    is set to UTC. Arrays, maps and structs are read as JSON text. Intervals become text.

    :param staging: a URI or directory that the engine and this process both reach; None: rows go through the cursor.
    """

    #: For each session. The last two: rows may hold ``${…}``, which must not be replaced by the server's properties.
    settings: ClassVar[dict[str, str]] = {
        "hive.resultset.use.unique.column.names": "false",
        "hive.local.time.zone": "UTC",
        "hive.parquet.write.int64.timestamp": "true",
        "hive.parquet.timestamp.time.unit": "micros",
        "hive.parquet.date.proleptic.gregorian": "true",
        "hive.parquet.date.proleptic.gregorian.default": "true",
        "hive.vectorized.execution.ptf.enabled": "false",
        "hive.variable.substitute": "false",
    }
    #: Neutral types that become another one here.
    narrower: ClassVar[dict[str, str]] = {"TIMESTAMPTZ": "TIMESTAMP", "NULL": "VARCHAR", "HUGEINT": "DECIMAL(38,0)"}

    _table_name = re.compile(r"[A-Za-z0-9_\-'\"`%$#@&!+ ]+")
    _table_characters = "letters from a to z, digits, spaces and _ - ' \" ` % $ # @ & ! +"
    _column_name = re.compile(r"[^ ,;{}()=.:\n\t]+")

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "hive", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout)
        self.staging = staging

    # ------------------------------------------------------------------------------------------------ rows in

    def record(self, table: str, row: Mapping[str, object], *, key: str = "record_id") -> str:
        """As :meth:`.Warehouse.record`, without transactions: see the class.

        ``replaced`` means that this row supersedes the other, which stays beneath it.
        """
        from airflow_provider_automl.warehouse.base import _same_row

        target = self._qualified(table)
        if row.get(key) is None:
            raise InputError(f"A row of {table} needs a value for {key}.")
        with self._explained(table), self._session(write=True) as cursor:
            columns = self._columns(cursor, target)
            wanted = self._spelled(columns, row, table)
            (own_key,) = self._spelled(columns, {key: row[key]}, table)
            found = self._fetch(cursor, "select", columns=list(columns), source=target, condition={own_key: row[key]})
            if any(_same_row(other, wanted) for other in _newest(found)):
                return "unchanged"
            self._run(cursor, "insert", table=target, columns=list(wanted), items=list(wanted.values()))
            return "replaced" if found else "inserted"

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        from airflow_provider_automl.warehouse.types import neutral_columns

        columns = self._storable(neutral_columns(parquet_schema(files)))
        staging = self._staging(target, key or uuid.uuid4().hex)
        merged = self._staging(target, f"merged {key or uuid.uuid4().hex}")
        try:
            with self._session(write=True) as cursor:
                self._create_schema(cursor, target)
                self._recover(cursor, target)
                for leftover in (staging, merged):
                    self._run(cursor, "drop_table", table=leftover)
                self._run(cursor, "create_table", table=staging, columns=columns)
                if self.staging is None:
                    rows = self._insert(cursor, staging, list(columns), parquet_batches(files))
                else:
                    rows = self._insert_files(cursor, staging, columns, files)
                if mode == "append":
                    self._append_to(cursor, target, columns, staging, merged, delete_where)
                else:
                    self._publish(cursor, staging, target, mode=mode)
        finally:
            with suppress(Exception), self._session(write=True) as cursor:
                for leftover in (staging, merged):
                    self._run(cursor, "drop_table", table=leftover)
        return rows

    def _append_to(
        self,
        cursor: Any,
        target: exp.Table,
        columns: Mapping[str, str],
        staging: exp.Table,
        merged: exp.Table,
        delete_where: dict[str, object],
    ) -> None:
        self._create_table(cursor, target, columns)
        into = target
        if delete_where:
            (found,) = self._fetch(cursor, "count_where", source=target, condition=delete_where)
            if found["n"]:
                into = merged
                whole = self._columns(cursor, target)
                self._run(cursor, "create_table", table=merged, columns=self._storable(whole))
                self._run(cursor, "keep", table=merged, columns=list(whole), source=target, condition=delete_where)
        self._run(cursor, "append", table=into, columns=list(columns), source=staging)
        if into is merged:
            self._publish(cursor, merged, target, mode="overwrite")

    def _publish(self, cursor: Any, staging: exp.Table, target: exp.Table, *, mode: Mode) -> None:
        """Have the staging table take the target's name."""
        if mode == "error":
            self._refuse_existing(cursor, target)
        if not self._found(cursor, target):
            self._run(cursor, "rename_table", table=staging, name=target)
            return
        aside = self._aside(target)
        self._run(cursor, "rename_table", table=target, name=aside)
        try:
            self._run(cursor, "rename_table", table=staging, name=target)
        except BaseException:
            with suppress(Exception):
                self._run(cursor, "rename_table", table=aside, name=target)
            raise
        self._run(cursor, "drop_table", table=aside)

    def _recover(self, cursor: Any, target: exp.Table) -> None:
        """Put back, or drop, what one that was killed while it published left aside."""
        aside = self._aside(target)
        if not self._found(cursor, aside):
            return
        if self._found(cursor, target):
            self._run(cursor, "drop_table", table=aside)
        else:
            log.warning("A load of %s was killed while it published: its old rows are put back.", target.name)
            self._run(cursor, "rename_table", table=aside, name=target)

    def _aside(self, target: exp.Table) -> exp.Table:
        return self._staging(target, "the old table while a new one is published")

    def _insert(self, cursor: Any, table: exp.Table, columns: list[str], batches: Iterator[pa.RecordBatch]) -> int:
        """Insert Arrow batches, by statements of many rows, whose values are text that the statement casts."""
        total = 0
        schema: pa.Schema | None = None
        waiting: list[str] = []
        size = 0

        def flush() -> None:
            assert schema is not None
            cursor.execute(self._insert_text(table, schema, waiting))
            waiting.clear()

        for batch in batches:
            schema = batch.schema
            for row in self._literal_rows(batch):
                if waiting and (size + len(row) > _INSERT_CHARACTERS or len(waiting) >= _INSERT_ROWS):
                    flush()
                    size = 0
                waiting.append(row)
                size += len(row)
            total += batch.num_rows
        if waiting:
            flush()
        return total

    def _insert_text(self, table: exp.Table, schema: pa.Schema, rows: list[str]) -> str:
        from sqlglot import exp

        from airflow_provider_automl.warehouse.types import neutral_columns

        kinds = self._storable(neutral_columns(schema))
        items = [_from_text(exp.column(f"c{i}"), kind) for i, kind in enumerate(kinds.values())]
        # sqlglot would take a second a thousand rows to build and print what is put in here.
        marker = exp.column("automl_rows")
        rows_of = exp.Subquery(
            this=exp.select(
                exp.Aliases(
                    this=exp.Anonymous(this="INLINE", expressions=[exp.Anonymous(this="ARRAY", expressions=[marker])]),
                    expressions=[exp.to_identifier(f"c{i}") for i in range(len(kinds))],
                )
            ),
            alias=exp.TableAlias(this=exp.to_identifier("q")),
        )
        text = sql.render("insert_rows", self.dialect, table=table, columns=list(kinds), items=items, rows=rows_of)
        head, tail = text.rsplit("automl_rows", 1)
        return head + ", ".join(rows) + tail

    def _literal_rows(self, batch: pa.RecordBatch) -> Iterator[str]:
        """Yield each row as ``STRUCT('1', 'a', NULL)``."""
        from sqlglot import exp

        from airflow_provider_automl.warehouse.types import driver_rows

        def literal(value: object) -> str:
            text = _as_text(value)
            return "NULL" if text is None else sql.to_text(exp.Literal.string(text), self.dialect)

        for row in driver_rows(batch):
            yield "STRUCT(" + ", ".join(map(literal, row)) + ")"

    def _insert_files(self, cursor: Any, table: exp.Table, columns: dict[str, str], files: list[Path]) -> int:
        """Insert Parquet files by a table over a copy of them, where the engine reads it."""
        import pyarrow.parquet as pq

        outside = self._outside()
        with tempfile.TemporaryDirectory() as scratch, self._exchange().directory(uuid.uuid4().hex) as shared:
            shared.put(_readable(files, columns, Path(scratch)))
            rows = sum(pq.read_metadata(path).num_rows for path in files)  # type: ignore[no-untyped-call]
            self._run(cursor, "files", table=outside, columns=columns, location=shared.uri)
            try:
                self._run(cursor, "append", table=table, columns=list(columns), source=outside)
                if (arrived := self._count(cursor, table)) != rows:
                    raise InputError(
                        f"The engine found {arrived} of {rows} rows in {shared.uri}, where this process wrote them: "
                        "set the connection's staging to a place that both reach."
                    )
            finally:
                with suppress(Exception):
                    self._run(cursor, "drop_table", table=outside)
        return rows

    # ------------------------------------------------------------------------------------------------ rows out

    def _unload(
        self, cursor: Any, query: exp.Expression, columns: Mapping[str, str], path: Path, batch_rows: int
    ) -> int:
        from sqlglot import exp

        assert isinstance(query, exp.Select)
        for column in list(query.expressions):
            if readable := self._readable_as(column.copy(), columns[column.name]):
                column.replace(exp.alias_(readable, column.name, quoted=True))
        columns = {name: self.narrower.get(kind, kind) for name, kind in columns.items()}
        by_cursor = any(_is_nested(kind) for kind in columns.values()) and not self._nested_as_text
        if self.staging is None or by_cursor or not all(map(self._column_name.fullmatch, columns)):
            return super()._unload(cursor, query, columns, path, batch_rows)
        return self._unload_files(cursor, query, columns, path)

    #: Whether nested values are text before the cursor gives them as such.
    _nested_as_text: ClassVar[bool] = False

    def _readable_as(self, column: exp.Expression, kind: str) -> exp.Expression | None:
        """Return what to select for a column whose type PyHive or Parquet lacks; None for the column itself."""
        from sqlglot import exp

        wanted = {"TIMESTAMPTZ": "TIMESTAMP", "INTERVAL": "VARCHAR", "NULL": "VARCHAR"}.get(kind)
        return exp.cast(column, wanted) if wanted else None

    def _unload_files(self, cursor: Any, query: exp.Select, columns: Mapping[str, str], path: Path) -> int:
        """Have the engine write the rows as Parquet files, and take those."""
        import pyarrow.parquet as pq

        outside = self._outside()
        with self._exchange().directory(uuid.uuid4().hex) as shared:
            try:
                self._run(cursor, "unload", table=outside, location=shared.uri, query=query.subquery("q", copy=False))
                rows = self._count(cursor, outside)
            finally:
                with suppress(Exception):
                    self._run(cursor, "drop_table", table=outside)
            taken = shared.take(path.parent)
        here = sum(pq.read_metadata(file).num_rows for file in taken)  # type: ignore[no-untyped-call]
        if here != rows:
            raise InputError(
                f"The engine wrote {rows} rows to {shared.uri}, where this process finds {here}: "
                "set the connection's staging to a place that both reach."
            )
        if not taken:
            from airflow_provider_automl.warehouse.types import arrow_schema

            pq.write_table(arrow_schema(columns).empty_table(), path)  # type: ignore[no-untyped-call]
        return rows

    def _stream(self, cursor: Any, text: str, batch_rows: int) -> Iterator[list[tuple[Any, ...]]]:
        cursor.arraysize = min(batch_rows, 10_000)
        cursor.execute(text)
        dates = _date_columns(cursor)
        while batch := cursor.fetchmany(batch_rows):
            yield [_with_dates(row, dates) for row in batch] if dates else batch

    def _fetch_text(self, cursor: Any, text: str) -> list[dict[str, object]]:
        cursor.execute(text)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        dates = _date_columns(cursor)
        return [dict(zip(names, _with_dates(row, dates), strict=True)) for row in cursor.fetchall()]

    # ------------------------------------------------------------------------------------------------ what is there

    @contextmanager
    def _session(self, *, write: bool = False) -> Iterator[Any]:
        """Yield a cursor of a session; there is no transaction. The server's errors come as PEP 249 has them."""
        from pyhive.exc import Error  # type: ignore[import-untyped]

        with _connected(self.hook) as connection:
            cursor = connection.cursor()
            try:
                for name, value in self.settings.items():
                    cursor.execute(f"SET {name}={value}")
                yield cursor
            except Error as error:
                raise _as_pep_249(error) from error

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """Ask for no rows, and read the types that the server tells; PyHive's own description lacks some."""
        from TCLIService import ttypes

        cursor.execute(sql.render("describe", self.dialect, source=source))
        request = ttypes.TGetResultSetMetadataReq(cursor._operationHandle)
        columns = cursor._connection.client.GetResultSetMetadata(request).schema.columns
        return [(column.columnName, _neutral(column.typeDesc.types[0].primitiveEntry)) for column in columns]

    def _tables(self, cursor: Any) -> list[exp.Table]:
        return [table for schema in self._schemas(cursor) for table in self._tables_of(cursor, schema)]

    def _found(self, cursor: Any, table: exp.Table) -> bool:
        if table.db.lower() not in self._schemas(cursor):
            return False
        return any(self._same(found, table) for found in self._tables_of(cursor, table.db))

    def _schemas(self, cursor: Any) -> list[str]:
        cursor.execute("SHOW DATABASES")
        return [str(row[0]).lower() for row in cursor.fetchall()]

    def _tables_of(self, cursor: Any, schema: str) -> list[exp.Table]:
        from sqlglot import exp

        named = exp.to_identifier(schema, quoted=True)
        assert named is not None
        cursor.execute(f"SHOW TABLES IN {named.sql(self.dialect)}")
        return [table_of(schema, str(row[self._name_in_show])) for row in cursor.fetchall()]

    #: Where SHOW TABLES has the table's name.
    _name_in_show: ClassVar[int] = 0

    def _create_schema(self, cursor: Any, table: exp.Table) -> None:
        from sqlglot import exp

        if table.db.lower() not in self._schemas(cursor):
            self._run(cursor, "create_schema", schema=exp.Table(db=table.args["db"]))

    def _create_table(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        super()._create_table(cursor, table, self._storable(columns))

    def _qualified(self, name: str) -> exp.Table:
        table = super()._qualified(name)
        for part in (table.db, table.name):
            if not self._table_name.fullmatch(part):
                raise InputError(
                    f"{part!r} cannot name a table or schema of {self.dialect}, which takes {self._table_characters}: "
                    "choose another name."
                )
        return table

    def _storable(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Return columns as they are stored here.

        :raises InputError: a name that Hive's Parquet tables cannot have.
        """
        for name in columns:
            if not self._column_name.fullmatch(name):
                raise InputError(
                    f"The column name {name!r} cannot be stored by {self.dialect}, which takes all characters but "
                    "spaces, tabs, line ends and , ; { } ( ) = . and the colon: rename the column."
                )
        return {name: self.narrower.get(kind, kind) for name, kind in columns.items()}

    def _outside(self) -> exp.Table:
        """A table over files elsewhere, in the connection's own schema; dropping it leaves the files."""
        return table_of(self._home["current_schema"], f"automl_{uuid.uuid4().hex}")

    def _exchange(self) -> Exchange:
        from airflow_provider_automl.warehouse.exchange import Exchange

        assert self.staging is not None
        return Exchange(self.staging)


class SparkWarehouse(HiveWarehouse):
    """Spark's Thrift server. As Hive, but that it has times without zone and times in UTC, and takes more names.

    Times without zone are TIMESTAMP_NTZ, times with zone are Spark's TIMESTAMP; the session's zone is UTC.
    """

    settings: ClassVar[dict[str, str]] = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.variable.substitute": "false",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    narrower: ClassVar[dict[str, str]] = {"NULL": "VARCHAR", "HUGEINT": "DECIMAL(38,0)"}
    _name_in_show: ClassVar[int] = 1
    _nested_as_text: ClassVar[bool] = True
    _table_name = re.compile(r"[A-Za-z0-9_]+")
    _table_characters = "letters from a to z, digits and _"
    _column_name = re.compile(r"[^\n]+")

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "spark", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout, staging=staging)

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

        if _is_nested(kind):
            return exp.Anonymous(this="TO_JSON", expressions=[column])
        return exp.cast(column, "VARCHAR") if kind in ("INTERVAL", "NULL", "VARIANT") else None


def _spark_type(text: str) -> str | None:
    """Return the neutral spelling of a type that sqlglot does not read."""
    head = text.lower().split(" ")[0].split("<")[0]
    return {"void": "NULL", "interval": "INTERVAL", "variant": "VARIANT"}.get(head)


def _is_nested(kind: str) -> bool:
    return kind.endswith("]") or kind.startswith(("ARRAY", "MAP", "STRUCT", "UNION"))


@contextmanager
def _connected(hook: DbApiHook) -> Iterator[Any]:
    from thrift.transport.TTransport import TTransportException  # type: ignore[import-untyped]

    name = hook.get_conn_id()
    logging.getLogger("pyhive.hive").setLevel(logging.WARNING)  # it logs every statement, with the rows in it
    try:
        connection = hook.get_conn()
    except TTransportException as error:
        reason = str(error)
        if "Error validating" in reason or "Bad status" in reason:
            raise InputError(f"The server of the connection {name} refuses its login: {reason}") from error
        raise BusyError(f"The server of the connection {name} cannot be reached: {reason}") from error
    try:
        yield connection
    except (TTransportException, ConnectionError, EOFError) as error:
        raise BusyError(f"The server of the connection {name} went away: {error}") from error
    finally:
        with suppress(Exception):
            connection.close()


def _as_pep_249(error: Exception) -> Exception:
    """Return PyHive's error with the server's own words; what the statement is to blame for as ProgrammingError."""
    from pyhive.exc import OperationalError, ProgrammingError

    status = getattr(error.args[0], "status", None) if error.args else None
    if status is None:
        return error
    message = str(status.errorMessage or "no reason given").removeprefix("Error while compiling statement: ")
    state = str(status.sqlState or "")
    kind = ProgrammingError if state.startswith(("42", "22", "0A")) else OperationalError
    return kind(message)  # type: ignore[no-any-return]


def _neutral(entry: Any) -> str:
    if entry is None:
        return "STRUCT"
    if entry.type == _DECIMAL:
        qualifiers = entry.typeQualifiers.qualifiers if entry.typeQualifiers else {}
        precision, scale = (qualifiers[key].i32Value if key in qualifiers else None for key in ("precision", "scale"))
        return f"DECIMAL({precision},{scale or 0})" if precision else "DECIMAL"
    return _TYPES.get(entry.type, "VARCHAR")


def _newest(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows that were recorded last; all of them where nothing says when."""
    moments = [{name.lower(): value for name, value in row.items()}.get("recorded_at") for row in rows]
    last = max((moment for moment in moments if isinstance(moment, datetime)), default=None)
    return [row for row, moment in zip(rows, moments, strict=True) if moment == last]


def _date_columns(cursor: Any) -> list[int]:
    return [i for i, column in enumerate(cursor.description or ()) if column[1] == "DATE_TYPE"]


def _with_dates(row: tuple[Any, ...], dates: list[int]) -> tuple[Any, ...]:
    """Return a row of PyHive's, which leaves dates as text, with dates."""
    if not dates:
        return row
    values = list(row)
    for i in dates:
        if isinstance(values[i], str):
            values[i] = date.fromisoformat(values[i])
    return tuple(values)


def _as_text(value: object) -> str | None:
    """Return a value as text that a CAST reads exactly."""
    from datetime import UTC

    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat(sep=" ")
    return str(value)


def _from_text(column: exp.Column, kind: str) -> exp.Expression:
    from sqlglot import exp

    if kind == "VARCHAR":
        return column
    if kind == "BLOB":
        return exp.Unhex(this=column)
    return exp.cast(column, exp.DataType.build(kind, dialect="duckdb"))


def _readable(files: list[Path], columns: Mapping[str, str], scratch: Path) -> list[Path]:
    """Return the files if the engine reads each with exactly those columns, else one that is written anew."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_automl.warehouse.types import arrow_schema, driver_rows, record_batch

    wanted = arrow_schema(columns)
    if all(pq.read_schema(path).remove_metadata().equals(wanted) for path in files):  # type: ignore[no-untyped-call]
        return files
    path = scratch / "part-00000.parquet"
    with pq.ParquetWriter(path, wanted) as writer:  # type: ignore[no-untyped-call]
        for batch in parquet_batches(files, 65536):
            try:
                writer.write_table(pa.Table.from_batches([batch]).cast(wanted))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                writer.write_batch(record_batch(driver_rows(batch), wanted))
    return [path]
