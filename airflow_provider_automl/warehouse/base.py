"""The warehouse base class, over a connection of Airflow's common-sql provider.

Each engine's module declares its :class:`Capabilities` and overrides what differs.
"""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from airflow_provider_automl import sql
from airflow_provider_automl.errors import AutoMLError, BusyError, InputError, closest
from airflow_provider_automl.sql.names import OWN_TABLES, ROW_ID, folds_case, parse_parts, parse_table, table_of
from airflow_provider_automl.warehouse.query import Query, framed

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp

log = logging.getLogger(__name__)

T = TypeVar("T")
Mode = Literal["overwrite", "error", "append"]

# SQLSTATEs caused by concurrent sessions: on retry, the same work succeeds or is already done.
_CONFLICTS = frozenset({"40001", "40P01", "42P06", "42P07", "42701"})

# SQLSTATE: dependent objects still exist.
_DEPENDENTS_EXIST = "2BP01"

# Garbage collection threshold while rows are read: several batches of rows.
_GC_THRESHOLD = 200_000

# Seconds for which conflicting work is retried. Waits for locks are limited by lock_timeout instead.
_CONFLICT_TIMEOUT = 30.0


@dataclass(frozen=True)
class Capabilities:
    """An engine's optional features, as declared by its class and verified by the conformance suite.

    :param ddl_transactional: a load that fails or is killed leaves nothing behind, not even a staging table.
    :param atomic_replace: while a table is replaced, readers see either the old rows or the new ones.
    :param read_only: reads run in a read-only session: the engine rejects writes by any function that a query calls.
    :param cancel: running statements can be cancelled.
    """

    ddl_transactional: bool = False
    atomic_replace: bool = False
    read_only: bool = False
    cancel: bool = False


class Warehouse:
    """A database that holds the tables, reached through an Airflow hook.

    Table names are parsed as SQL identifiers: ``schema.table``, ``"my schema"."my.table"``, ``catalog.schema.table``.
    Column names are literal. Each call opens and closes its own connection.

    :param hook: a hook of the common-sql provider.
    :param dialect: sqlglot's name of the engine's dialect.
    :param lock_timeout: seconds to wait for a lock of another process.
    """

    #: The web page of the latest query that read or wrote rows; None if the engine has no such page.
    query_url: str | None = None
    #: Called with each new ``query_url`` as soon as that query starts.
    on_query: Callable[[str], None] | None = None
    #: A location that the engine and this process both reach, to exchange rows as files; None: use the cursor.
    staging: str | None = None
    #: The engine's display name.
    engine: ClassVar[str]
    #: The engine's optional features.
    capabilities: ClassVar[Capabilities]

    def __init__(self, hook: DbApiHook, *, dialect: str, lock_timeout: float = 600.0) -> None:
        self.hook = hook
        self.dialect = dialect
        self.lock_timeout = lock_timeout
        self._admitted: set[Query] = set()

    # ------------------------------------------------------------------------------------------------ metadata

    def columns(self, source: str | Query) -> dict[str, str]:
        """Return the columns of a table or query, in order, with their engine-neutral types.

        Examples: BIGINT, INTEGER, DOUBLE, REAL, DECIMAL(18,3), VARCHAR, BOOLEAN, DATE, TIMESTAMP, TIMESTAMPTZ.

        :raises InputError: the table does not exist, the query fails, or it has duplicate column names.
        """
        with self._reading(source) as cursor:
            return self._columns(cursor, self._source(source))

    def exists(self, table: str) -> bool:
        """Return whether a table or view of this name exists."""
        wanted = self._qualified(table)
        with self._session() as cursor:
            return self._found(cursor, wanted)

    def same_table(self, a: str, b: str) -> bool:
        """Return whether two names refer to the same table."""
        return self._same(self._qualified(a), self._qualified(b))

    def reads(self, source: str | Query, table: str) -> bool:
        """Return whether a source is this table, or a query that references it."""
        if isinstance(source, str):
            return self.same_table(source, table)
        wanted = self._qualified(table)
        return any(self._same(self._complete(found), wanted) for found in source.tables(self.dialect))

    def count(self, source: str | Query) -> int:
        """Return the number of rows of a table or query.

        :raises InputError: the table does not exist, or the query fails.
        """
        with self._reading(source) as cursor:
            return self._count(cursor, self._source(source))

    def rows(
        self,
        table: str,
        *,
        where: Mapping[str, object] | None = None,
        order_by: Sequence[str] = (),
        descending: bool = False,
        limit: int | None = None,
    ) -> list[dict[str, object]]:
        """Return rows of a (small) table as dicts. Timestamps are naive, as stored; the package's own are UTC.

        :param where: columns and the values they must equal; None matches NULL.
        :param order_by: columns to sort by; NULLs always come last.
        :raises InputError: the table does not exist.
        """
        from sqlglot import exp

        with self._reading(table) as cursor:
            source = self._source(table)
            columns = list(self._columns(cursor, source))
            query = sql.statement("select", self.dialect, columns=columns, source=source, condition=dict(where or {}))
            assert isinstance(query, exp.Select)
            if order_by:
                keys = []
                for name in order_by:
                    column = exp.column(exp.to_identifier(name, quoted=True))
                    # An explicit sort key: sqlglot omits NULLS LAST where it assumes that is the default.
                    absent = exp.case().when(column.copy().is_(exp.null()), "1").else_("0")
                    keys += [exp.Ordered(this=absent), exp.Ordered(this=column, desc=descending, nulls_first=False)]
                query = query.order_by(*keys, copy=False)
            if limit is not None:
                query = query.limit(limit, copy=False)
            return self._fetch_text(cursor, sql.to_text(query, self.dialect))

    def run(self, template: str, /, **params: object) -> list[dict[str, object]]:
        """Run a query template of ``sql/`` and return its rows as dicts; a statement without a result returns none.

        Table slots of the template accept a table name or a :class:`Query`.

        :raises InputError: a table does not exist, or its name is invalid.
        """
        tables = {key: value for key, value in params.items() if key in sql.table_slots(template, self.dialect)}
        named = {key: value for key, value in tables.items() if isinstance(value, (str, Query))}
        bound = {key: self._source(value) for key, value in named.items()}
        text = sql.render(template, self.dialect, **(params | bound))
        with self._reading(*named.values()) as cursor:
            return self._fetch_text(cursor, text)

    # ------------------------------------------------------------------------------------------------ DDL

    def create_schema(self, schema: str) -> None:
        """Create a schema (``schema`` or ``catalog.schema``) if it does not exist."""
        try:
            parts = parse_parts(schema, self.dialect)
        except ValueError as error:
            raise InputError(str(error).replace("table name", "schema name")) from error
        if len(parts) > 2:
            raise InputError(f"The schema name {schema!r} has {len(parts)} parts: use schema or catalog.schema.")
        with self._writing(f"Could not create schema {schema}"):
            table = self._complete(table_of(*parts, "_"))
            self._write(lambda cursor: self._create_schema(cursor, table))

    def create_table(self, table: str, columns: Mapping[str, str]) -> None:
        """Create a table and its schema if missing, and add missing columns. Nothing is dropped.

        :param columns: names and neutral types (see :meth:`columns`).
        """
        target = self._qualified(table)
        with self._writing(f"Could not create table {table}"):
            self._write(lambda cursor: self._create_table(cursor, target, columns))

    def drop_table(self, table: str) -> None:
        """Drop a table if it exists."""
        target = self._qualified(table)
        with self._writing(f"The table {table} cannot be dropped"):
            self._write(lambda cursor: self._run(cursor, "drop_table", table=target))

    def refuse_own(self, table: str) -> exp.Table:
        """Return the table of this name if rows may be loaded into it.

        :raises InputError: the name is reserved for one of this package's own tables.
        """
        target = self._qualified(table)
        if target.name.lower() in OWN_TABLES:
            raise InputError(
                f"The table name {table} is reserved for this package's own tables, and rows cannot be loaded into "
                "it: choose another name."
            )
        return target

    def refuse_columns(self, columns: Mapping[str, str], table: str) -> None:
        """Reject columns that this engine does not support, before any work starts.

        :param columns: names and neutral types.
        :raises InputError: a column is unsupported; the message names it.
        """

    def refuse_rows(self, directory: Path, names: Sequence[str], added: Mapping[str, str], table: str) -> None:
        """Reject unloaded rows that, with the columns still to be added, exceed what a table of this engine can hold.

        :param names: which of the files' columns the table will have.
        :param added: names and neutral types of the columns to be added.
        :raises InputError: a row is too large; the message gives its number.
        """

    @property
    def by_files(self) -> bool:
        """Whether rows are exchanged as files through ``staging``."""
        return self.staging is not None

    def cancel(self) -> None:
        """Cancel this warehouse's running statements, if the engine supports it; called from ``on_kill``."""

    # ------------------------------------------------------------------------------------------------ rows out

    def unload(
        self,
        source: str | Query,
        directory: Path,
        *,
        max_rows: int | None = None,
        seed: int = 0,
        number_by: Sequence[str] = (),
        batch_rows: int = 65536,
    ) -> int:
        """Write a table or query to Parquet files in a directory, in batches, and return the number of rows.

        The directory is created. An empty result still writes a file with the right columns and types.

        :param max_rows: if there are more rows, the warehouse draws a pseudorandom sample of this size; the same data
            and seed give the same sample.
        :param number_by: number the rows from 1 in the order of these columns, as a first column ``row_id``.
        :raises InputError: the table does not exist, the query fails, or it has duplicate column names.
        """
        from sqlglot import exp

        from airflow_provider_automl.warehouse.exchange import disk_errors

        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        with self._reading(source, directory=directory) as cursor, disk_errors(directory), _memory_errors():
            bound = self._source(source)
            columns = self._columns(cursor, bound)
            if number_by:
                numbered = sql.statement(
                    "numbered", self.dialect, order=list(number_by), columns=list(columns), source=bound
                )
                assert isinstance(numbered, exp.Select)
                bound, columns = numbered.subquery("automl_numbered"), {ROW_ID: "BIGINT", **columns}
            if max_rows is not None and self._count(cursor, bound) > max_rows:
                query = sql.statement(
                    "sample", self.dialect, columns=list(columns), source=bound, seed=seed, max_rows=max_rows
                )
            else:
                query = sql.statement("select", self.dialect, columns=list(columns), source=bound, condition={})
            with _infrequent_gc():
                return self._unload(cursor, query, columns, directory / "part-00000.parquet", batch_rows)

    # ------------------------------------------------------------------------------------------------ rows in

    def load(
        self,
        directory: Path,
        table: str,
        *,
        mode: Mode = "overwrite",
        key: str = "",
        delete_where: Mapping[str, object] | None = None,
    ) -> int:
        """Load a directory's Parquet files into a table, all or nothing, and return the number of rows.

        The rows are written to a staging table in the same schema, which then replaces the target in one step.
        Concurrent readers see the old table or the new one; a failure leaves the old one unchanged.
        The schema is created if missing.

        :param mode: ``overwrite`` replaces the table; ``error`` fails if it exists; ``append`` adds the rows, creating
            the table and missing columns.
        :param key: idempotency key, part of the staging table's name: the staging table of a killed attempt with the
            same key is dropped first.
        :param delete_where: with ``append``: delete the rows whose columns equal these values first.
        :raises InputError: mode ``error`` and the table exists; the name is that of a view or of one of this package's
            own tables; the directory has no Parquet file.
        """
        target = self.refuse_own(table)
        files = parquet_files(directory)
        names = [name.lower() if folds_case(self.dialect) else name for name in parquet_schema(files).names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"Duplicate column name {twice[0]!r}: {table} cannot have both columns.")
        if mode == "error":
            with self._session() as cursor:
                self._refuse_existing(cursor, target)
        with self._writing(f"The table {table} cannot be written"), _memory_errors():
            return self._load(files, target, mode=mode, key=key, delete_where=dict(delete_where or {}))

    def record(self, table: str, row: Mapping[str, object], *, key: str = "record_id") -> str:
        """Write a row idempotently: repeated and concurrent calls leave exactly one row per key.

        :param row: columns and values: text, numbers, booleans, None, datetimes (aware ones are stored as UTC).
            Columns not given are NULL.
        :param key: the unique key column.
        :returns: ``inserted``; ``unchanged`` if an identical row exists (``recorded_at`` is not compared);
            ``replaced`` if a different row had the same key.
        :raises InputError: the table does not exist or lacks a column.
        """
        row = self._recordable(row)
        target = self._qualified(table)
        if row.get(key) is None:
            raise InputError(f"A row of {table} needs a value for {key}.")

        def work(cursor: Any) -> str:
            self._lock(cursor, target)
            columns = self._columns(cursor, target)
            wanted = self._spelled(columns, row, table)
            (own_key,) = self._spelled(columns, {key: row[key]}, table)
            condition = {own_key: row[key]}
            found = self._fetch(cursor, "select", columns=list(columns), source=target, condition=condition)
            if len(found) == 1 and _same_row(found[0], wanted):
                return "unchanged"
            if found:
                self._run(cursor, "delete", table=target, condition=condition)
            self._run(cursor, "insert", table=target, columns=list(wanted), items=list(wanted.values()))
            return "replaced" if found else "inserted"

        with self._explained(table):
            return self._write(work)

    def append_if(
        self, table: str, where: Mapping[str, object], follow: Callable[[list[dict[str, Any]]], Mapping[str, object]]
    ) -> None:
        """Append the row that ``follow`` derives from existing rows, in one transaction that locks out other writers.

        Only for engines with the capability ``ddl_transactional``.

        :param table: an existing table.
        :param where: columns and values that select the rows passed to ``follow``.
        :param follow: returns the new row, or raises to append nothing; called again after a conflict with another
            session.
        """
        target = self._qualified(table)

        def work(cursor: Any) -> None:
            self._lock(cursor, target)
            columns = self._columns(cursor, target)
            condition = self._spelled(columns, where, table)
            row = follow(self._fetch(cursor, "select", columns=list(columns), source=target, condition=condition))
            wanted = self._spelled(columns, self._recordable(row), table)
            self._run(cursor, "insert", table=target, columns=list(wanted), items=list(wanted.values()))

        with self._explained(table):
            self._write(work)

    def _recordable(self, row: Mapping[str, object]) -> Mapping[str, object]:
        """Return a row without the characters that the engine cannot store in text."""
        return row

    # ------------------------------------------------------------------------------------------------ engine-specific

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        """Yield a cursor in one transaction: committed at the end, rolled back on any exception.

        :param write: False: open a read-only transaction, if the engine supports it.
        :param directory: the local directory through which rows are exchanged as files. An embedded engine may access
            no other one.
        """
        raise NotImplementedError

    def _complete(self, table: exp.Table) -> exp.Table:
        """Return a table, with this connection's default schema if it has none."""
        return table if table.db else table_of(self._home["current_schema"], table.name)

    @cached_property
    def _home(self) -> dict[str, str]:
        """The connection's default schema (and catalog)."""
        with self._session() as cursor:
            (row,) = self._fetch(cursor, "current_schema")
        return {key: str(value) for key, value in row.items()}

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """Return the columns of a table or query with their neutral types, duplicates included."""
        raise NotImplementedError

    def _lock(self, cursor: Any, table: exp.Table) -> None:
        """Lock a table against other writers until the transaction ends, if the engine supports it."""

    def _is_conflict(self, error: Exception) -> bool:
        """Return whether an error is a conflict with a concurrent session."""
        return _sqlstate(error) in _CONFLICTS

    def _unload(
        self, cursor: Any, query: exp.Expression, columns: Mapping[str, str], path: Path, batch_rows: int
    ) -> int:
        """Write a query's rows to a Parquet file."""
        import pyarrow.parquet as pq

        from airflow_provider_automl.warehouse.types import arrow_schema

        schema = arrow_schema(columns)
        rows = 0
        with pq.ParquetWriter(path, schema) as writer:  # type: ignore[no-untyped-call]
            for batch in self._batches(cursor, sql.to_text(query, self.dialect), schema, batch_rows):
                writer.write_batch(batch)
                rows += batch.num_rows
        return rows

    def _batches(self, cursor: Any, text: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield a query's rows in non-empty batches."""
        from airflow_provider_automl.warehouse.types import record_batch

        cursor.execute(text)
        while rows := cursor.fetchmany(batch_rows):
            yield record_batch(rows, schema)

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        """Load the rows of Parquet files; see :meth:`load`."""
        raise NotImplementedError

    def _append(
        self,
        cursor: Any,
        target: exp.Table,
        columns: Mapping[str, str],
        staging: exp.Table,
        delete_where: Mapping[str, object],
    ) -> None:
        self._create_table(cursor, target, columns)
        if delete_where:
            self._run(cursor, "delete", table=target, condition=delete_where)
        self._run(cursor, "append", table=target, columns=list(columns), source=staging)

    # ------------------------------------------------------------------------------------------------ shared steps

    def _write(self, work: Callable[[Any], T], *, directory: Path | None = None) -> T:
        """Run work in a transaction; retry for a limited time on conflicts with other sessions."""
        deadline = time.monotonic() + min(self.lock_timeout, _CONFLICT_TIMEOUT)
        pause = 0.02
        while True:
            try:
                with self._session(write=True, directory=directory) as cursor:
                    return work(cursor)
            except Exception as error:
                if not self._is_conflict(error):
                    raise
                if time.monotonic() > deadline:
                    raise BusyError(f"Another session kept changing the same tables: {first_line(error)}") from error
            time.sleep(pause)
            pause = min(1.0, pause * 2)

    @contextmanager
    def _reading(self, *sources: str | Query, directory: Path | None = None) -> Iterator[Any]:
        """Yield a cursor; translate failures caused by a missing table or an invalid query.

        :param directory: see :meth:`_session`.
        :raises InputError: the engine does not parse a query as exactly one SELECT.
        """
        with self._explained(*sources), self._session(directory=directory) as cursor:
            for source in sources:
                if isinstance(source, Query) and source not in self._admitted:
                    source.check(self.dialect, code=self._allowed("allow_code_in_select"))
                    self._admit(cursor, source.text(self.dialect))
                    self._admitted.add(source)
            yield cursor

    def _admit(self, cursor: Any, text: str) -> None:
        """Validate a user's query, verbatim and on its own, with the engine's parser.

        A complete statement cannot break out of the parentheses that it is later embedded in.
        """
        raise NotImplementedError

    @property
    def _extra(self) -> Mapping[str, Any]:
        """The extra of the Airflow connection."""
        extra: dict[str, Any] = self.hook.get_connection(self.hook.get_conn_id()).extra_dejson
        return extra

    def _allowed(self, name: str) -> bool:
        """Return a boolean flag of the connection's extra; False if it is missing.

        :raises InputError: the value is not a boolean.
        """
        value = self._extra.get(name, False)
        if not isinstance(value, bool):
            conn_id = self.hook.get_conn_id()
            raise InputError(f"{name} in the extra of the connection {conn_id} is {value!r}: give true or false.")
        return value

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Translate failures that the engine attributes to the statement, such as a missing privilege."""
        try:
            yield
        except AutoMLError:
            raise
        except Exception as error:
            if _is_users_fault(error) or _sqlstate(error) == _DEPENDENTS_EXIST:
                raise InputError(f"{what}: {first_line(error)}") from error
            raise

    @contextmanager
    def _explained(self, *sources: str | Query) -> Iterator[None]:
        try:
            yield
        except AutoMLError:
            raise
        except Exception as error:
            if not _is_users_fault(error):
                raise
            for source in sources:
                if isinstance(source, str) and not self.exists(source):
                    raise InputError(self._missing(source)) from error
            if any(isinstance(source, Query) for source in sources):
                raise InputError(f"The query failed: {first_line(error)}") from error
            raise

    def _missing(self, table: str) -> str:
        wanted = self._qualified(table)
        with self._session() as cursor:
            known = {_dotted(found): found for found in self._tables(cursor)}
        near = closest(_dotted(wanted), known) or closest(wanted.name, [found.name for found in known.values()])
        if near and near not in known:
            near = next(name for name, found in known.items() if found.name == near)
        hint = f" (did you mean {near}?)" if near else ""
        return f"There is no table {table} in this warehouse{hint}."

    def _refuse_existing(self, cursor: Any, target: exp.Table) -> None:
        if self._found(cursor, target):
            raise InputError(f"The table {_dotted(target)} exists already: choose another name or the mode overwrite.")

    def _found(self, cursor: Any, table: exp.Table) -> bool:
        return any(self._same(found, table) for found in self._tables(cursor))

    def _table(self, name: str) -> exp.Table:
        try:
            return parse_table(name, self.dialect)
        except ValueError as error:
            raise InputError(str(error)) from error

    def _qualified(self, name: str) -> exp.Table:
        return self._complete(self._table(name))

    def _source(self, source: str | Query) -> exp.Expression:
        return framed(source.text(self.dialect)) if isinstance(source, Query) else self._qualified(source)

    def _same(self, a: exp.Table, b: exp.Table) -> bool:
        def parts(table: exp.Table) -> tuple[str, ...]:
            names = (table.db, table.name)
            return tuple(name.lower() for name in names) if folds_case(self.dialect) else names

        return parts(a) == parts(b) and (not a.catalog or not b.catalog or a.catalog.lower() == b.catalog.lower())

    def _tables(self, cursor: Any) -> list[exp.Table]:
        found = self._fetch(cursor, "tables")
        return [table_of(str(row["table_schema"]), str(row["table_name"])) for row in found]

    def _columns(self, cursor: Any, source: exp.Expression) -> dict[str, str]:
        found = self._describe(cursor, source)
        seen: set[str] = set()
        for name, _ in found:
            if name.lower() in seen:
                raise InputError(f"Duplicate column name {name!r} (ignoring case): rename one of the columns.")
            seen.add(name.lower())
        return dict(found)

    def _spelled(self, columns: Mapping[str, str], row: Mapping[str, object], table: str) -> dict[str, object]:
        """Return a row with its columns spelled as in the table."""
        by_fold = {column.lower(): column for column in columns}
        if missing := [name for name in row if name.lower() not in by_fold]:
            raise InputError(f"The table {table} has no column {', '.join(missing)}: create the tables first.")
        return {name if name in columns else by_fold[name.lower()]: value for name, value in row.items()}

    def _count(self, cursor: Any, source: exp.Expression) -> int:
        (row,) = self._fetch(cursor, "count", source=source)
        return int(str(row["n"]))

    def _create_schema(self, cursor: Any, table: exp.Table) -> None:
        from sqlglot import exp

        def present() -> bool:
            # Checked first: CREATE SCHEMA IF NOT EXISTS requires a privilege that many users lack, even as a no-op.
            names = [str(row["schema_name"]) for row in self._fetch(cursor, "schemas")]
            return table.db.lower() in map(str.lower, names) if folds_case(self.dialect) else table.db in names

        if present():
            return
        schema = exp.Table(db=table.args["db"], catalog=table.args.get("catalog"))
        self._lock(cursor, schema)
        if not present():
            self._run(cursor, "create_schema", schema=schema)

    def _create_table(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        self._lock(cursor, table)
        if not self._found(cursor, table):
            self._create_missing(cursor, table, columns)
        present = {name.lower() for name in self._columns(cursor, table)}
        for name, kind in columns.items():
            if name.lower() not in present:
                self._run(cursor, "add_column", table=table, column={name: kind})

    def _create_missing(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        """Create a missing table and its schema."""
        self._create_schema(cursor, table)
        self._run(cursor, "create_table", table=table, columns=columns)

    def _staging(self, target: exp.Table, key: str) -> exp.Table:
        """Return a target's staging table, in the same schema, with a name short enough for a limit of 63 bytes."""
        from hashlib import sha256

        digest = sha256(f"{target.name}\n{key}".encode()).hexdigest()[:16]
        parts = [target.catalog] if target.catalog else []
        readable = "".join(c if c.isascii() and c.isalnum() else "_" for c in target.name)[:30]
        return table_of(*parts, target.db, f"{readable}_automl_{digest}")

    def _run(self, cursor: Any, template: str, **params: object) -> None:
        cursor.execute(sql.render(template, self.dialect, **params))

    def _fetch(self, cursor: Any, template: str, **params: object) -> list[dict[str, object]]:
        return self._fetch_text(cursor, sql.render(template, self.dialect, **params))

    def _fetch_text(self, cursor: Any, text: str) -> list[dict[str, object]]:
        cursor.execute(text)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


# ---------------------------------------------------------------------------------------------------- Parquet in


def parquet_files(directory: Path) -> list[Path]:
    """Return the Parquet files of a directory, sorted by name.

    :raises InputError: there are none.
    """
    files = sorted(directory.glob("*.parquet"))
    if not files:
        raise InputError(f"There is no Parquet file in {directory}.")
    return files


def parquet_schema(files: Sequence[Path]) -> pa.Schema:
    """Return the common schema of Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(path) for path in files]  # type: ignore[no-untyped-call]
    return pa.unify_schemas(schemas, promote_options="permissive")


@contextmanager
def _infrequent_gc() -> Iterator[None]:
    """Run Python's cyclic garbage collector less often within a ``with`` block.

    A client's rows are a million lists without cycles, and each collection traverses all of them: 40 % of the time of
    a read from Trino.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _GC_THRESHOLD:
        gc.set_threshold(_GC_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Translate :class:`MemoryError`.

    :raises BusyError: this worker ran out of memory.
    """
    try:
        yield
    except MemoryError as error:
        raise BusyError(
            f"This worker ran out of memory for a batch of rows ({first_line(error)}): give it more memory, or leave "
            "out columns with large values."
        ) from error


def parquet_batches(files: Sequence[Path], batch_rows: int = 8192) -> Iterator[pa.RecordBatch]:
    """Yield the rows of Parquet files in batches, cast to their common schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(files)
    for path in files:
        with pq.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
            for batch in file.iter_batches(batch_size=batch_rows):
                table = pa.Table.from_batches([batch])
                if table.schema != schema:
                    table = pa.concat_tables([schema.empty_table(), table], promote_options="permissive").cast(schema)
                yield from table.to_batches()


def parquet_rows(files: Sequence[Path]) -> int:
    """Return the number of rows of Parquet files."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in files)  # type: ignore[no-untyped-call]


def parquet_as(files: list[Path], schema: pa.Schema, scratch: Path) -> list[Path]:
    """Return the files if each has exactly that schema, else a single one rewritten into ``scratch``.

    :raises BusyError: this worker's disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_automl.warehouse.exchange import disk_errors
    from airflow_provider_automl.warehouse.types import driver_rows, record_batch

    if all(pq.read_schema(path).remove_metadata().equals(schema) for path in files):  # type: ignore[no-untyped-call]
        return files
    path = scratch / "part-00000.parquet"
    with disk_errors(scratch), pq.ParquetWriter(path, schema) as writer:  # type: ignore[no-untyped-call]
        for batch in parquet_batches(files, 65536):
            try:
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                writer.write_batch(record_batch(driver_rows(batch), schema))
    return [path]


# ---------------------------------------------------------------------------------------------------- values, errors


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: the engine's own, if the driver exposes it separately."""
    message = getattr(error, "message", None)
    text = message if isinstance(message, str) else str(error)
    return (text.strip() or type(error).__name__).splitlines()[0]


def _sqlstate(error: Exception) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _is_users_fault(error: Exception) -> bool:
    """Return whether the engine rejected the statement itself (PEP 249: ProgrammingError, DataError and the like)."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"ProgrammingError", "DataError", "NotSupportedError", "TrinoUserError"})


def newest_rows(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows with the latest ``recorded_at``; all of them if none has one."""
    moments = [{name.lower(): value for name, value in row.items()}.get("recorded_at") for row in rows]
    last = max((moment for moment in moments if isinstance(moment, datetime)), default=None)
    return [row for row, moment in zip(rows, moments, strict=True) if moment == last]


def _same_row(stored: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    """Return whether a stored row equals the row to be written, except for ``recorded_at``."""
    return all(
        _plain(value) == _plain(wanted.get(name)) for name, value in stored.items() if name.lower() != "recorded_at"
    )


def _plain(value: object) -> object:
    """Normalize a value so that a written value and the one a driver reads back compare equal."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return value


def _dotted(table: exp.Table) -> str:
    def shown(part: str) -> str:
        return part if part.replace("_", "a").isalnum() else '"' + part.replace('"', '""') + '"'

    return ".".join(shown(part) for part in (table.db, table.name) if part)
