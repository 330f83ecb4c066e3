"""A warehouse over a connection of Airflow's common-sql provider: what all engines have in common.

An engine's own module declares what it can (:class:`Capabilities`) and says what it does otherwise.
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
from airflow_provider_automl.errors import AutoMLError, BusyError, InputError
from airflow_provider_automl.sql.names import OWN_TABLES, ROW_ID, folds_case, parse_parts, parse_table, table_of
from airflow_provider_automl.warehouse.query import Query, framed

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp

log = logging.getLogger(__name__)

T = TypeVar("T")
Mode = Literal["overwrite", "error", "append"]

# SQLSTATEs of what another session's simultaneous work causes: after it, the same work succeeds or is already done.
_CONFLICTS = frozenset({"40001", "40P01", "42P06", "42P07", "42701"})

# SQLSTATE of dropping what a view or another table depends on.
_DEPENDENTS_EXIST = "2BP01"

# New objects after which Python looks for garbage while rows are read: some batches of rows.
_OBJECTS = 200_000

# Seconds for which work that crossed another session's is tried again. A lock is waited for longer, by lock_timeout.
_CONFLICT_TIMEOUT = 30.0


@dataclass(frozen=True)
class Capabilities:
    """What an engine can beyond what every one must, as its class declares it; the conformance suite proves it.

    :param ddl_transactional: a load that fails or is killed leaves nothing behind, no table of ours either.
    :param atomic_replace: while a table is replaced, whoever reads it finds it, with the old rows or the new ones.
    :param read_only: what reads is done where the engine lets nothing be written, whatever a query calls.
    :param cancel: what runs can be ended.
    """

    ddl_transactional: bool = False
    atomic_replace: bool = False
    read_only: bool = False
    cancel: bool = False


class Warehouse:
    """A database that holds the tables, reached through an Airflow hook.

    Tables are named as people write them: ``schema.table``, ``"my schema"."my.table"``, ``catalog.schema.table``.
    Columns are named exactly. Every call opens a connection of its own and closes it.

    :param hook: a hook of the common-sql provider.
    :param dialect: sqlglot's name of the engine's dialect.
    :param lock_timeout: seconds to wait for what another process holds.
    """

    #: Where a person watches the newest query that read or wrote rows here; None where the engine has no such page.
    query_url: str | None = None
    #: Called with each new ``query_url`` as soon as that query is started.
    on_query: Callable[[str], None] | None = None
    #: A place that the engine's servers and this process both reach, for rows to go as files; None: by the cursor.
    staging: str | None = None
    #: The engine, for people.
    engine: ClassVar[str]
    #: What the engine can.
    capabilities: ClassVar[Capabilities]

    def __init__(self, hook: DbApiHook, *, dialect: str, lock_timeout: float = 600.0) -> None:
        self.hook = hook
        self.dialect = dialect
        self.lock_timeout = lock_timeout
        self._admitted: set[Query] = set()

    # ------------------------------------------------------------------------------------------------ what is there

    def columns(self, source: str | Query) -> dict[str, str]:
        """Return the columns of a table or query, in order, with their types in one neutral spelling.

        Types are such as BIGINT, INTEGER, DOUBLE, REAL, DECIMAL(18,3), VARCHAR, BOOLEAN, DATE, TIMESTAMP, TIMESTAMPTZ.

        :raises InputError: the table does not exist, or the query fails or names two columns alike.
        """
        with self._reading(source) as cursor:
            return self._columns(cursor, self._source(source))

    def exists(self, table: str) -> bool:
        """Return whether a table or view of this name exists."""
        wanted = self._qualified(table)
        with self._session() as cursor:
            return self._found(cursor, wanted)

    def same_table(self, a: str, b: str) -> bool:
        """Return whether two names, as people write them, mean the same table."""
        return self._same(self._qualified(a), self._qualified(b))

    def reads(self, source: str | Query, table: str) -> bool:
        """Return whether a source is this table, or a query that names it."""
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
        """Return rows of a (small) table as dicts. Timestamps come without zone, as stored; ours are UTC.

        :param where: columns and the values they must equal; None asks for NULL.
        :param order_by: columns to sort by, NULLs last either way.
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
                    # Said by a key of its own: sqlglot leaves NULLS LAST out where it takes it for the default.
                    absent = exp.case().when(column.copy().is_(exp.null()), "1").else_("0")
                    keys += [exp.Ordered(this=absent), exp.Ordered(this=column, desc=descending, nulls_first=False)]
                query = query.order_by(*keys, copy=False)
            if limit is not None:
                query = query.limit(limit, copy=False)
            return self._fetch_text(cursor, sql.to_text(query, self.dialect))

    def run(self, template: str, /, **params: object) -> list[dict[str, object]]:
        """Run a query of ``sql/`` and return its rows as dicts; a statement without result returns none.

        Where the file has a table, a table's name or a :class:`Query` may be given.

        :raises InputError: a table that does not exist, or a name that is none.
        """
        tables = {key: value for key, value in params.items() if key in sql.table_slots(template, self.dialect)}
        named = {key: value for key, value in tables.items() if isinstance(value, (str, Query))}
        bound = {key: self._source(value) for key, value in named.items()}
        text = sql.render(template, self.dialect, **(params | bound))
        with self._reading(*named.values()) as cursor:
            return self._fetch_text(cursor, text)

    # ------------------------------------------------------------------------------------------------ made and dropped

    def create_schema(self, schema: str) -> None:
        """Create a schema (``schema`` or ``catalog.schema``) if it is missing."""
        try:
            parts = parse_parts(schema, self.dialect)
        except ValueError as error:
            raise InputError(str(error).replace("table name", "schema name")) from error
        if len(parts) > 2:
            raise InputError(f"{schema!r} has {len(parts)} parts: a schema's name has at most catalog.schema.")
        with self._writing(f"The schema {schema} cannot be made"):
            table = self._complete(table_of(*parts, "_"))
            self._write(lambda cursor: self._create_schema(cursor, table))

    def create_table(self, table: str, columns: Mapping[str, str]) -> None:
        """Create a table, and its schema, if missing; add the columns that are missing. Nothing is ever dropped.

        :param columns: names and neutral types (see :meth:`columns`).
        """
        target = self._qualified(table)
        with self._writing(f"The table {table} cannot be made"):
            self._write(lambda cursor: self._create_table(cursor, target, columns))

    def drop_table(self, table: str) -> None:
        """Drop a table if it exists."""
        target = self._qualified(table)
        with self._writing(f"The table {table} cannot be dropped"):
            self._write(lambda cursor: self._run(cursor, "drop_table", table=target))

    def refuse_own(self, table: str) -> exp.Table:
        """Return a table that rows may be loaded into.

        :raises InputError: it is named as the tables that this package keeps.
        """
        target = self._qualified(table)
        if target.name.lower() in OWN_TABLES:
            raise InputError(
                f"{table} has the name of a table that this package keeps, and rows are never loaded into one: choose "
                "another name."
            )
        return target

    def refuse_columns(self, columns: Mapping[str, str], table: str) -> None:
        """Refuse columns that no table here can have: for what is to become of work that has not begun.

        :param columns: names and neutral types.
        :raises InputError: names what cannot be.
        """

    def refuse_rows(self, directory: Path, names: Sequence[str], added: Mapping[str, str], table: str) -> None:
        """Refuse unloaded rows that no table here can hold, beside columns that work will add to them.

        :param names: which of the files' columns the table will have.
        :param added: names and neutral types of the others.
        :raises InputError: says which row.
        """

    @property
    def by_files(self) -> bool:
        """Whether rows go as files by ``staging``."""
        return self.staging is not None

    def cancel(self) -> None:
        """End what the engine is doing for this warehouse now, where it can be told to; called from ``on_kill``."""

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

        The directory is made. An empty result still writes a file, with the right columns and types.

        :param max_rows: if there are more rows, so many are drawn in the warehouse as if at random: the same rows
            for the same data and seed.
        :param number_by: columns in whose order the rows are numbered from 1 on: ``row_id``, before all columns.
        :raises InputError: the table does not exist, or the query fails or names two columns alike.
        """
        from sqlglot import exp

        from airflow_provider_automl.warehouse.exchange import told

        with told(directory):
            directory.mkdir(parents=True, exist_ok=True)
        with self._reading(source, directory=directory) as cursor, told(directory), _in_memory():
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
            with _few_collections():
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
        """Load a directory's Parquet files into a table, whole or not at all, and return the number of rows.

        The rows go to a staging table beside the table, which then takes its place in one step; whoever reads
        meanwhile sees the old table or the new one, and any failure leaves the old one as it was.
        The schema is made if missing.

        :param mode: ``overwrite`` replaces the table; ``error`` wants it absent; ``append`` adds the rows to it, making
            the table and the columns that are missing.
        :param key: names the staging table: what a killed attempt of the same key left is dropped first.
        :param delete_where: with ``append``: rows whose columns equal these values are replaced.
        :raises InputError: ``error`` and the table exists; the name is a view's, or that of a table of our own; the
            directory has no Parquet file.
        """
        target = self.refuse_own(table)
        files = parquet_files(directory)
        names = [name.lower() if folds_case(self.dialect) else name for name in parquet_schema(files).names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"Two columns are named {twice[0]!r} alike: {table} cannot have both.")
        if mode == "error":
            with self._session() as cursor:
                self._refuse_existing(cursor, target)
        with self._writing(f"The table {table} cannot be written"), _in_memory():
            return self._load(files, target, mode=mode, key=key, delete_where=dict(delete_where or {}))

    def record(self, table: str, row: Mapping[str, object], *, key: str = "record_id") -> str:
        """Write a row exactly once, however often and by however many it is written.

        :param row: columns and values: text, numbers, booleans, None, datetimes (aware ones are stored as UTC).
            Columns of the table that are not named are NULL.
        :param key: the column that tells rows apart.
        :returns: ``inserted``; ``unchanged`` if the same row is there already (``recorded_at`` does not count);
            ``replaced`` if another row had the same key.
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
        """Add the row that ``follow`` makes of the rows there are, in one transaction that keeps other writers out: of
        an engine whose capabilities have ``ddl_transactional``.

        :param table: one that exists.
        :param where: which rows are looked at, by columns and values.
        :param follow: returns the row, or raises to add nothing; called again where another session's work crossed
            this.
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
        """A row of our own tables, without what the engine keeps in no text."""
        return row

    # ------------------------------------------------------------------------------------------------ an engine's own

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        """Yield a cursor in one transaction: committed at the end, rolled back by any exception.

        :param write: whether anything will be written; where the engine can, nothing may be otherwise.
        :param directory: where rows go as files meanwhile. An engine that runs in this process reaches no other one.
        """
        raise NotImplementedError

    def _complete(self, table: exp.Table) -> exp.Table:
        """Return a table with the schema that a bare name means to this connection."""
        return table if table.db else table_of(self._home["current_schema"], table.name)

    @cached_property
    def _home(self) -> dict[str, str]:
        """What a name without schema belongs to."""
        with self._session() as cursor:
            (row,) = self._fetch(cursor, "current_schema")
        return {key: str(value) for key, value in row.items()}

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """Return the columns of a table or query with their neutral types, duplicates included."""
        raise NotImplementedError

    def _lock(self, cursor: Any, table: exp.Table) -> None:
        """Keep other writers of a table out until the transaction ends, where the engine can."""

    def _is_conflict(self, error: Exception) -> bool:
        """Return whether an error came from another session's simultaneous work."""
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
        """Yield a query's rows in batches, none of them empty."""
        from airflow_provider_automl.warehouse.types import record_batch

        cursor.execute(text)
        while rows := cursor.fetchmany(batch_rows):
            yield record_batch(rows, schema)

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        """Write Parquet files' rows as :meth:`load` promises."""
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
        """Do work in a transaction; again, for a while, if another session's crossed it."""
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
        """Yield a cursor; explain a failure that a missing table or a wrong query causes.

        :param directory: as of :meth:`_session`.
        :raises InputError: the engine does not take a query for exactly one SELECT.
        """
        with self._explained(*sources), self._session(directory=directory) as cursor:
            for source in sources:
                if isinstance(source, Query) and source not in self._admitted:
                    source.check(self.dialect, code=self._allowed("allow_code_in_select"))
                    self._admit(cursor, source.text(self.dialect))
                    self._admitted.add(source)
            yield cursor

    def _admit(self, cursor: Any, text: str) -> None:
        """Have the engine's own parser look at a user's query, as it is written and by itself.

        Only what is one whole statement by itself cannot leave the parentheses that it is put between.
        """
        raise NotImplementedError

    @property
    def _extra(self) -> Mapping[str, Any]:
        """The extra of the warehouse's connection."""
        extra: dict[str, Any] = self.hook.get_connection(self.hook.get_conn_id()).extra_dejson
        return extra

    def _allowed(self, name: str) -> bool:
        """Return whether the warehouse's connection allows something, in so many words.

        :raises InputError: it says neither true nor false.
        """
        value = self._extra.get(name, False)
        if not isinstance(value, bool):
            conn_id = self.hook.get_conn_id()
            raise InputError(f"{name} in the extra of the connection {conn_id} is {value!r}: give true or false.")
        return value

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Explain a failure that the engine blames on the statement, such as a privilege that is missing."""
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
        from difflib import get_close_matches

        wanted = self._qualified(table)
        with self._session() as cursor:
            known = {_dotted(found): found for found in self._tables(cursor)}
        near = get_close_matches(_dotted(wanted), known, n=1) or get_close_matches(
            wanted.name, [found.name for found in known.values()], n=1
        )
        if near and near[0] not in known:
            near = [name for name, found in known.items() if found.name == near[0]][:1]
        hint = f"; the nearest existing one is {near[0]}" if near else ""
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
                raise InputError(f"Two columns are named {name!r} alike: give each a name of its own.")
            seen.add(name.lower())
        return dict(found)

    def _spelled(self, columns: Mapping[str, str], row: Mapping[str, object], table: str) -> dict[str, object]:
        """Return a row with its columns named as the table spells them."""
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
            # Asked first: CREATE SCHEMA IF NOT EXISTS wants a privilege that many lack, even with nothing to do.
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
        """Create a table that was not found, and its schema."""
        self._create_schema(cursor, table)
        self._run(cursor, "create_table", table=table, columns=columns)

    def _staging(self, target: exp.Table, key: str) -> exp.Table:
        """Return the staging table of a target: beside it, short enough for engines that cut names at 63 bytes."""
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
    """Return the Parquet files of a directory, in the order of their names.

    :raises InputError: there is none.
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
def _few_collections() -> Iterator[None]:
    """Have Python look for garbage in cycles seldom, for a ``with`` block.

    A client's rows are a million lists without cycles, and each collection would look through all that are there:
    40 % of a read from Trino.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _OBJECTS:
        gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _in_memory() -> Iterator[None]:
    """Say that this worker's memory does not hold what is read or written at once.

    :raises BusyError: it does not.
    """
    try:
        yield
    except MemoryError as error:
        raise BusyError(
            f"This worker's memory does not hold some rows at once ({first_line(error)}): give it more, or leave "
            "columns of large values out."
        ) from error


def parquet_batches(files: Sequence[Path], batch_rows: int = 8192) -> Iterator[pa.RecordBatch]:
    """Yield the rows of Parquet files in batches of their common schema."""
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
    """Return the files if each has exactly that schema, else one that is written anew into ``scratch``.

    :raises BusyError: this worker's disk has no room for it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_automl.warehouse.exchange import told
    from airflow_provider_automl.warehouse.types import driver_rows, record_batch

    if all(pq.read_schema(path).remove_metadata().equals(schema) for path in files):  # type: ignore[no-untyped-call]
        return files
    path = scratch / "part-00000.parquet"
    with told(scratch), pq.ParquetWriter(path, schema) as writer:  # type: ignore[no-untyped-call]
        for batch in parquet_batches(files, 65536):
            try:
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                writer.write_batch(record_batch(driver_rows(batch), schema))
    return [path]


# ---------------------------------------------------------------------------------------------------- values, errors


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: the engine's own, where the driver keeps it apart."""
    message = getattr(error, "message", None)
    text = message if isinstance(message, str) else str(error)
    return (text.strip() or type(error).__name__).splitlines()[0]


def _sqlstate(error: Exception) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _is_users_fault(error: Exception) -> bool:
    """Return whether the engine objects to the statement (PEP 249: ProgrammingError, DataError and the like)."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"ProgrammingError", "DataError", "NotSupportedError", "TrinoUserError"})


def newest_rows(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows that were recorded last; all of them where nothing says when."""
    moments = [{name.lower(): value for name, value in row.items()}.get("recorded_at") for row in rows]
    last = max((moment for moment in moments if isinstance(moment, datetime)), default=None)
    return [row for row, moment in zip(rows, moments, strict=True) if moment == last]


def _same_row(stored: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    """Return whether a stored row is what would be written now. When it was recorded does not count."""
    return all(
        _plain(value) == _plain(wanted.get(name)) for name, value in stored.items() if name.lower() != "recorded_at"
    )


def _plain(value: object) -> object:
    """Return a value so that what was written and what a driver reads back compare equal."""
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
