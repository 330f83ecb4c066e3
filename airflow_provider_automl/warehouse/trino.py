"""Trino: a query engine over catalogs of many kinds, none of which can change several tables in one step."""

from __future__ import annotations

import json
import logging
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl import sql
from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse.base import (
    Mode,
    Query,
    Warehouse,
    _same_row,
    first_line,
    newest_rows,
    parquet_batches,
    parquet_files,
    parquet_schema,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp

log = logging.getLogger(__name__)

# Connectors in which CREATE OR REPLACE TABLE and MERGE are one snapshot.
_SNAPSHOTS = frozenset({"iceberg", "delta_lake"})

# The schema of the tables over staged files, where the connection's own schema is in another catalog.
_STAGING_SCHEMA = "automl_staging"

# Bytes of UTF-8 in one statement: as many characters or fewer. The server refuses more than a million characters.
_STATEMENT_BYTES = 950_000

# What another session's simultaneous work causes: after it, the same work succeeds or is already done.
_CONFLICTS = frozenset(
    {"TRANSACTION_CONFLICT", "ICEBERG_COMMIT_ERROR", "HIVE_CONCURRENT_MODIFICATION_DETECTED"}
    | {"TABLE_ALREADY_EXISTS", "SCHEMA_ALREADY_EXISTS", "COLUMN_ALREADY_EXISTS", "ALREADY_EXISTS"}
)

# What the server says of itself, not of the query.
_UNREADY = frozenset(
    {"SERVER_STARTING_UP", "SERVER_SHUTTING_DOWN", "NO_NODES_AVAILABLE", "REMOTE_HOST_GONE", "REMOTE_TASK_ERROR"}
    | {"PAGE_TRANSPORT_ERROR", "PAGE_TRANSPORT_TIMEOUT", "ABANDONED_QUERY", "ABANDONED_TASK", "QUERY_QUEUE_FULL"}
    | {"CLUSTER_OUT_OF_MEMORY", "TOO_MANY_REQUESTS_FAILED"}
)

_MISSING = frozenset({"TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND"})

# Neutral types that Parquet and Arrow keep as they are; those that become text by a cast.
_KEPT = re.compile(r"(BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|REAL|DOUBLE|DATE|BLOB|DECIMAL\(\d+,\d+\))$")
_AS_TEXT = re.compile(r"(VARCHAR|UUID|TIME|TIMETZ|INTERVAL.*|IPADDRESS|UNKNOWN)$")
_NESTED = re.compile(r".*\]$|(STRUCT|MAP|ARRAY)\(.*", re.DOTALL)


class _Crossed(Exception):
    """Another session changed the table between two steps of ours."""


class TrinoWarehouse(Warehouse):
    """A Trino server, by Airflow's ``TrinoHook``. Names fold to lower case. Each statement commits by itself.

    **Publishing.** *Iceberg, Delta Lake:* a load ends in one ``CREATE OR REPLACE TABLE … AS``, an append in one
    ``INSERT`` or ``MERGE``: each one snapshot, so that whoever reads sees the old rows or the new ones, always.
    *Hive and every other connector:* a load fills a staging table in the target's schema; then the old table is renamed
    aside, the staging table takes its name, and the old one is dropped. Until the first rename, whatever fails leaves
    the old table as it was. Between the two, for some hundredths of a second, the name is missing: a query that starts
    then fails with "table does not exist"; none ever sees some of the rows; one that is running may fail when the old
    table's files go. If this process is killed between the two, the old table waits under its other name, and the next
    load of the same target puts it back first. The new table is a new one: grants, partitions and properties of the old
    one are not kept.

    **Appending** is one ``INSERT``. With ``delete_where``, and rows that it means, a ``MERGE`` where that is one
    snapshot; elsewhere, the table is written anew and published as above, unless another session has written to it
    meanwhile: then all is done again. (Only the Hive connector's tables tell that for certain; elsewhere the number of
    rows tells.)

    **Recording.** Iceberg, Delta Lake: one ``MERGE``. Elsewhere a row is inserted unless the newest of that key, by
    ``recorded_at``, is the same; it supersedes the other, which stays beneath it. Two sessions that write the same row
    at the same moment may both insert it.

    **Leftovers.** With a ``key``, a load first ends the queries of a killed predecessor that still run, and drops its
    staging table. Files and tables of staging are removed whatever happens; those of a killed process when the same
    work is done again.

    **Types.** Times are kept to microseconds (what is finer is rounded), times with zone as their instant. Hive tables
    have no times with zone: they become TIMESTAMP in UTC; Iceberg has no TINYINT and SMALLINT: they become INTEGER.
    ARRAY, MAP, ROW and JSON are read as JSON text, UUID, TIME, INTERVAL, IPADDRESS and CHAR as text. What has no text,
    such as HYPERLOGLOG, is refused.

    :param staging: a URI or directory that Trino's servers and this process both reach, for a catalog of the Hive
        connector that may write there (``hive.non-managed-table-writes-enabled``): the connection's own catalog, else
        the one named ``hive``, else the only one. None, or no such catalog: rows go through the cursor, and in as
        statements of many rows.
    """

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "trino", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout)
        self.staging = staging
        self._cursors: set[Any] = set()

    @property
    def by_files(self) -> bool:
        return self._outside is not None

    def cancel(self) -> None:
        """Cancel the queries that run now."""
        for cursor in list(self._cursors):
            with suppress(Exception):
                cursor.cancel()

    def exists(self, table: str) -> bool:
        with self._writing(f"The table {table} cannot be looked up"):
            return super().exists(table)

    def record(self, table: str, row: Mapping[str, object], *, key: str = "record_id") -> str:
        """As :meth:`.Warehouse.record`; ``replaced`` may mean that this row supersedes the other: see the class."""
        target = self._qualified(table)
        if row.get(key) is None:
            raise InputError(f"A row of {table} needs a value for {key}.")

        def work(cursor: Any) -> str:
            columns = self._columns(cursor, target)
            wanted = self._spelled(columns, row, table)
            (own_key,) = self._spelled(columns, {key: row[key]}, table)
            condition = {own_key: row[key]}
            found = self._fetch(cursor, "select", columns=list(columns), source=target, condition=condition)
            snapshots = self._is_in_snapshots(target)
            if any(_same_row(other, wanted) for other in newest_rows(found)) and not (snapshots and len(found) > 1):
                return "unchanged"
            if snapshots:
                self._merge(cursor, target, list(wanted), [sql.literal(v) for v in wanted.values()], None, condition)
            else:
                self._run(cursor, "insert", table=target, columns=list(wanted), items=list(wanted.values()))
            return "replaced" if found else "inserted"

        with self._explained(table):
            return self._write(work)

    # ------------------------------------------------------------------------------------------------ sessions, errors

    @contextmanager
    def _session(self, *, write: bool = False) -> Iterator[Any]:
        """Yield a cursor whose statements each commit by themselves."""
        with self._told():
            connection = self.hook.get_conn()
            session = connection._client_session  # type: ignore[attr-defined]
            session.properties = self._properties | session.properties
            cursor = connection.cursor()
            self._cursors.add(cursor)
            try:
                yield cursor
            finally:
                self._cursors.discard(cursor)
                with suppress(Exception):
                    cursor.close()
                with suppress(Exception):
                    connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell apart a server that is not there, a login that it refuses, and what is wrong with a statement.

        :raises BusyError: the server is down, starting, stopping, overloaded, or was restarted under a query.
        :raises InputError: the server refuses the login.
        """
        import requests
        from trino.exceptions import HttpError, TrinoAuthError, TrinoConnectionError, TrinoQueryError

        name = self.hook.get_conn_id()
        try:
            yield
        except TrinoQueryError as error:
            if error.error_name in _UNREADY:
                raise BusyError(f"Trino (connection {name}) gave a query up: {first_line(error)}") from error
            raise
        except (HttpError, TrinoAuthError, TrinoConnectionError, requests.RequestException) as error:
            if re.search(r"\berror 40[13]\b", str(error)) or isinstance(error, TrinoAuthError):
                raise InputError(f"Trino refuses the login of the connection {name}: {first_line(error)}") from error
            raise BusyError(f"Trino (connection {name}) cannot be reached, or went away: {first_line(error)}") from error

    @contextmanager
    def _explained(self, *sources: str | Query) -> Iterator[None]:
        tables = " and ".join(source for source in sources if isinstance(source, str))
        with self._writing(f"Trino refuses to work with {tables or 'the query'}"), super()._explained(*sources):
            yield

    def _is_conflict(self, error: Exception) -> bool:
        return isinstance(error, _Crossed) or _name(error) in _CONFLICTS

    @cached_property
    def _connectors(self) -> dict[str, str]:
        """The catalogs that this user sees, with the name of the connector of each."""
        with self._told():
            connection = self.hook.get_conn()
            cursor = connection.cursor()
            try:
                found = self._fetch(cursor, "catalogs")
            except Exception as error:
                if _name(error) is None:
                    raise
                log.info("Trino does not tell of its catalogs: %s", first_line(error))
                return {}
            finally:
                with suppress(Exception):
                    cursor.close()
        return {str(row["catalog_name"]): str(row["connector_name"]) for row in found}

    @cached_property
    def _properties(self) -> dict[str, str]:
        """Session properties: Hive tables keep milliseconds unless told otherwise."""
        hive = [catalog for catalog, connector in self._connectors.items() if connector == "hive"]
        return {f"{catalog}.timestamp_precision": "MICROSECONDS" for catalog in hive}

    def _connector(self, table: exp.Table) -> str:
        return self._connectors.get(table.catalog.lower(), "")

    def _is_in_snapshots(self, table: exp.Table) -> bool:
        return self._connector(table) in _SNAPSHOTS

    def _end_predecessors(self, cursor: Any, staging: exp.Table) -> None:
        """End the queries that name a staging table: what was started for it before was abandoned."""
        for row in self._fetch(cursor, "running", name=staging.name):
            log.warning("The query %s of a killed predecessor still runs: it is ended.", row["query_id"])
            with suppress(Exception):
                cursor.execute(sql.render("end_query", self.dialect), [row["query_id"], "abandoned by its client"])
                cursor.fetchall()

    # ------------------------------------------------------------------------------------------------ names

    def _complete(self, table: exp.Table) -> exp.Table:
        from sqlglot import exp

        if table.catalog:
            return table
        schema = table.db or self._home["current_schema"]
        catalog = self._home["current_catalog"]
        if "None" in (schema, catalog):
            raise InputError(
                f"{exp.Table.sql(table)} names no schema, and neither does the connection {self.hook.get_conn_id()}: "
                "write catalog.schema.table, or set the connection's schema, and catalog in its extra."
            )
        return table_of(catalog, schema, table.name)

    def _probe(self, cursor: Any, table: exp.Table) -> str | None:
        """Return None if a table or view of that name exists, else the name of the error that says what is missing."""
        try:
            self._fetch(cursor, "probe", table=table)
        except Exception as error:
            if (name := _name(error)) in _MISSING:
                return name
            if name in ("VIEW_IS_STALE", "VIEW_IS_RECURSIVE", "INVALID_VIEW"):
                return None
            raise
        return None

    def _found(self, cursor: Any, table: exp.Table) -> bool:
        return self._probe(cursor, table) is None

    def _missing(self, table: str) -> str:
        from difflib import get_close_matches

        wanted = self._qualified(table)
        near: list[str] = []
        with suppress(Exception), self._session() as cursor:
            tables = table_of(wanted.catalog, "information_schema", "tables")
            found = self._fetch(cursor, "tables_of_schema", tables=tables, schema=wanted.db.lower())
            near = get_close_matches(wanted.name.lower(), [str(row["table_name"]) for row in found], n=1)
        hint = f"; the nearest existing one is {wanted.db}.{near[0]}" if near else ""
        return f"There is no table {table} in this warehouse{hint}."

    def _refuse_view(self, cursor: Any, target: exp.Table) -> None:
        tables = table_of(target.catalog, "information_schema", "tables")
        found = self._fetch(cursor, "tables_of_schema", tables=tables, schema=target.db.lower())
        if any(row["table_name"] == target.name.lower() and "VIEW" in str(row["table_type"]) for row in found):
            raise InputError(f"The table {target.db}.{target.name} cannot be written: it is a view.")

    def _create_schema(self, cursor: Any, table: exp.Table) -> None:
        # Asked first: CREATE SCHEMA IF NOT EXISTS wants a privilege that many lack, even with nothing to do.
        missing = self._probe(cursor, table)
        if missing == "CATALOG_NOT_FOUND":
            raise InputError(f"There is no catalog {table.catalog}; Trino has {', '.join(sorted(self._connectors))}.")
        if missing == "SCHEMA_NOT_FOUND":
            self._run(cursor, "create_schema", schema=_schema_of(table))

    # ------------------------------------------------------------------------------------------------ columns

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        from airflow_provider_automl.warehouse.types import neutral_type

        self._run(cursor, "describe", source=source)
        return [(str(name), neutral_type(str(kind), self.dialect)) for name, kind, *_ in cursor.description]

    def _create_table(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        super()._create_table(cursor, table, self._kinds(table, columns))
        present = {name.lower() for name in self._columns(cursor, table)}
        if not {name.lower() for name in columns} <= present:
            raise _Crossed(f"another session changed the columns of {table.name} at the same time")

    def _kinds(self, table: exp.Table, columns: Mapping[str, str]) -> dict[str, str]:
        """Return the types that columns have in a table of ours, in DuckDB's spelling with Trino's precision.

        :raises InputError: a decimal of more than 38 digits.
        """
        return {name: self._kind(table, name, kind) for name, kind in columns.items()}

    def _kind(self, table: exp.Table, name: str, kind: str) -> str:
        connector = self._connector(table)
        if kind == "TIMESTAMPTZ" and connector == "hive":
            kind = "TIMESTAMP"
        if kind in ("TINYINT", "SMALLINT") and connector == "iceberg":
            kind = "INTEGER"
        if kind in ("TIMESTAMP", "TIMESTAMPTZ"):
            return f"{kind}(6)"
        if (match := re.match(r"DECIMAL\((\d+)", kind)) and int(match[1]) > 38:
            raise InputError(f"The column {name!r} is {kind}: Trino's decimals have at most 38 digits.")
        if kind == "DECIMAL":
            return "DOUBLE"
        return kind if _KEPT.match(kind) or kind == "VARCHAR" else "VARCHAR"

    # ------------------------------------------------------------------------------------------------ rows out

    def _unload(
        self, cursor: Any, query: exp.Expression, columns: Mapping[str, str], path: Path, batch_rows: int
    ) -> int:
        from sqlglot import exp

        assert isinstance(query, exp.Select)
        for column in list(query.expressions):
            column.replace(exp.alias_(_readable(column.copy(), columns[column.name]), column.name, quoted=True))
        if order := query.args.get("order"):
            # What is named here is what is selected, all of it as JSON takes it but bytes.
            for column in [item for item in order.find_all(exp.Column) if columns[item.name] == "BLOB"]:
                column.replace(exp.Anonymous(this="TO_HEX", expressions=[column.copy()]))
        if self._outside is None:
            return super()._unload(cursor, query, columns, path, batch_rows)
        return self._unload_files(cursor, query, columns, path.parent, batch_rows)

    def _unload_files(
        self, cursor: Any, query: exp.Select, columns: Mapping[str, str], directory: Path, batch_rows: int
    ) -> int:
        """Have Trino write Parquet files into staging, by a table over it, and move them here."""
        from airflow_provider_automl.warehouse.types import arrow_schema

        schema = arrow_schema(columns)
        with self._staged(cursor, str(directory.absolute()), columns) as (outside, shared):
            source = query.subquery("q", copy=False)
            (written,) = self._fetch(cursor, "append", table=outside, columns=list(columns), source=source)
            files = shared.take(directory)
        arrived = _conform(files, schema, directory, batch_rows)
        if arrived != written["rows"]:
            raise InputError(
                f"Trino wrote {written['rows']} rows to {shared.uri}, and this worker finds {arrived} of them there: give a "
                "staging place that both reach under that name."
            )
        return arrived

    @cached_property
    def _outside(self) -> exp.Table | None:
        """Where tables over staged files are made: a table whose name does not matter. None: nowhere."""
        if self.staging is None:
            return None
        catalogs = {catalog for catalog, connector in self._connectors.items() if connector == "hive"}
        home = self._home
        if home["current_catalog"] in catalogs:
            schema = home["current_schema"]
            return table_of(home["current_catalog"], _STAGING_SCHEMA if schema == "None" else schema, "_")
        if "hive" in catalogs or len(catalogs) == 1:
            return table_of("hive" if "hive" in catalogs else catalogs.pop(), _STAGING_SCHEMA, "_")
        log.info("Staging is not used: Trino has no catalog of the Hive connector, or several and none named hive.")
        return None

    @contextmanager
    def _staged(
        self, cursor: Any, key: str, columns: Mapping[str, str], files: Sequence[Path] = ()
    ) -> Iterator[tuple[exp.Table, Any]]:
        """Yield a table over a directory of staging, with these files in it, and the directory."""
        from hashlib import sha256

        from airflow_provider_automl.warehouse.exchange import Exchange

        assert self.staging is not None
        assert self._outside is not None
        place = self._outside
        name = f"automl_files_{sha256(f'{self.staging} {key}'.encode()).hexdigest()[:32]}"
        outside = table_of(place.catalog, place.db, name)
        with Exchange(self.staging).directory(key) as shared:
            shared.put(list(files))
            self._create_schema(cursor, outside)
            self._run(cursor, "drop_table", table=outside)
            try:
                self._run(
                    cursor, "files", table=outside, columns=self._kinds(outside, columns), location=shared.uri + "/"
                )
            except Exception as error:
                if _name(error) is None:
                    raise
                raise InputError(
                    f"Trino cannot use the staging place {self.staging} by its catalog {place.catalog}: "
                    f"{first_line(error)}. Its servers must reach that place under that name, as this worker does."
                ) from error
            try:
                yield outside, shared
            finally:
                with suppress(Exception):
                    self._run(cursor, "drop_table", table=outside)

    # ------------------------------------------------------------------------------------------------ rows in

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        from airflow_provider_automl.warehouse.types import neutral_columns

        columns = neutral_columns(parquet_schema(files))
        kinds = self._kinds(target, columns)
        staging = self._staging(target, key or uuid.uuid4().hex)

        def prepare(cursor: Any) -> None:
            if key:
                self._end_predecessors(cursor, staging)
            self._refuse_view(cursor, target)
            self._create_schema(cursor, target)
            self._recover(cursor, target)
            self._run(cursor, "drop_table", table=staging)

        def publish(cursor: Any, source: exp.Table, items: list[exp.Expression]) -> None:
            if mode == "append":
                with self._crossed_if_gone(target):
                    self._append_rows(cursor, target, columns, source, items, delete_where, staging)
            elif self._is_in_snapshots(target):
                template = "create_as" if mode == "error" else "replace"
                self._run(cursor, template, table=target, source=source, items=items)
            else:
                self._swap(cursor, target, staging, mode=mode)

        try:
            self._write(prepare)
            with self._incoming(files, columns, kinds, target, staging) as (source, items, rows):
                if source is not staging and mode != "append" and not self._is_in_snapshots(target):
                    with self._session(write=True) as cursor:
                        self._run(cursor, "create_as", table=staging, source=source, items=items)
                self._write(lambda cursor: publish(cursor, source, items))
            return rows
        finally:
            with suppress(Exception), self._session(write=True) as cursor:
                self._run(cursor, "drop_table", table=staging)

    @contextmanager
    def _incoming(
        self, files: list[Path], columns: dict[str, str], kinds: dict[str, str], target: exp.Table, staging: exp.Table
    ) -> Iterator[tuple[exp.Table, list[exp.Expression], int]]:
        """Yield a table that has the files' rows, what to select from it for the target, and the number of rows."""
        from sqlglot import exp

        names = [exp.column(exp.to_identifier(name, quoted=True)) for name in columns]
        if self._outside is None:
            with self._session(write=True) as cursor:
                self._run(cursor, "create_table", table=staging, columns=kinds)
                rows = self._insert(cursor, staging, list(columns), parquet_batches(files))
                self._expect(cursor, staging, rows, "a load that another process does at the same time may be why")
            yield staging, list(names), rows
            return
        items = [
            exp.alias_(_typed(column, kind), column.name, quoted=True)
            for column, kind in zip(names, kinds.values(), strict=True)
        ]
        with tempfile.TemporaryDirectory(prefix="automl-") as scratch, self._session(write=True) as cursor:
            readable, rows = _for_hive(files, columns, Path(scratch))
            with self._staged(cursor, f"{target.sql()} {staging.name}", columns, readable) as (outside, shared):
                self._expect(cursor, outside, rows, f"this worker wrote them to {shared.uri}, which both must reach")
                yield outside, items, rows

    def _expect(self, cursor: Any, table: exp.Table, rows: int, why: str) -> None:
        if (found := self._count(cursor, table)) != rows:
            raise BusyError(f"Trino finds {found} of {rows} rows in {table.db}.{table.name}: {why}.")

    def _insert(self, cursor: Any, table: exp.Table, columns: list[str], batches: Iterator[pa.RecordBatch]) -> int:
        """Insert by statements of as many rows as one may hold.

        The rows are one literal, a JSON array of texts that the statement casts: Trino plans that twenty times faster
        than a row constructor for each row.
        """
        from sqlglot import exp

        from airflow_provider_automl.warehouse.types import neutral_columns

        total = size = 0
        waiting: list[str] = []
        items: list[exp.Expression] = []

        def flush() -> None:
            rows = "[" + ",".join(waiting) + "]"
            self._run(cursor, "insert_rows", table=table, columns=columns, items=items, rows=rows)
            waiting.clear()

        for batch in batches:
            kinds = self._kinds(table, neutral_columns(batch.schema))
            texts = [
                exp.Bracket(this=exp.column("r"), expressions=[exp.Literal.number(i)], offset=1)
                for i in range(1, len(kinds) + 1)
            ]
            items = [_typed(text, kind, from_text=True) for text, kind in zip(texts, kinds.values(), strict=True)]
            if not waiting:
                head = sql.render("insert_rows", self.dialect, table=table, columns=columns, items=items, rows="[]")
                room = _STATEMENT_BYTES - len(head.encode())
            for row in _rows_as_json(batch):
                length = len(row.encode()) + row.count("'") + 1
                if length > room:
                    raise InputError(
                        f"A row of {length} bytes does not fit into one statement of Trino, which takes a million "
                        "characters: set a staging place in the connection, by which rows go as files."
                    )
                if size + length > room:
                    flush()
                    size = 0
                waiting.append(row)
                size += length
            total += batch.num_rows
        if waiting:
            flush()
        return total

    # ------------------------------------------------------------------------------------------------ publishing

    def _swap(
        self,
        cursor: Any,
        target: exp.Table,
        staging: exp.Table,
        *,
        mode: Mode = "overwrite",
        expected: list[object] | None = None,
    ) -> None:
        """Have the staging table take the target's name.

        :param expected: what :meth:`_version` said of the target when the staging table was made from it.
        """
        if mode == "error":
            self._refuse_existing(cursor, target)
        if not self._found(cursor, target):
            self._rename(cursor, staging, target)
            return
        aside = self._aside(target)
        self._run(cursor, "drop_table", table=aside)
        self._rename(cursor, target, aside)
        try:
            if expected is not None and self._version(cursor, aside) != expected:
                raise _Crossed(f"another session wrote to {target.name}")
            self._rename(cursor, staging, target)
        except BaseException:
            with suppress(Exception):
                self._rename(cursor, aside, target)
            raise
        self._run(cursor, "drop_table", table=aside)

    def _rename(self, cursor: Any, table: exp.Table, name: exp.Table) -> None:
        with self._crossed_if_gone(table):
            self._run(cursor, "rename_table", table=table, name=name)

    @contextmanager
    def _crossed_if_gone(self, table: exp.Table) -> Iterator[None]:
        """Take a table that was there a moment ago, and is gone with its files, for another session's doing."""
        try:
            yield
        except Exception as error:
            if _name(error) in ("TABLE_NOT_FOUND", "HIVE_FILE_NOT_FOUND", "HIVE_CANNOT_OPEN_SPLIT"):
                raise _Crossed(f"another session renamed {table.name}") from error
            raise

    def _recover(self, cursor: Any, target: exp.Table) -> None:
        """Put back, or drop, what one that was killed while it published left aside."""
        if self._is_in_snapshots(target):
            return
        aside = self._aside(target)
        if not self._found(cursor, aside):
            return
        if self._found(cursor, target):
            self._run(cursor, "drop_table", table=aside)
        else:
            log.warning("A load of %s was killed while it published: its old rows are put back.", target.name)
            self._rename(cursor, aside, target)

    def _aside(self, target: exp.Table) -> exp.Table:
        return self._staging(target, "the old table while a new one is published")

    def _version(self, cursor: Any, table: exp.Table) -> list[object]:
        """Return what changes when rows of a table change: its files' names, else the number of its rows."""
        if self._connector(table) != "hive":
            return [self._count(cursor, table)]
        found = self._fetch(cursor, "paths", table=table)
        return sorted(str(row["path"]).rpartition("/")[2] for row in found)

    def _append_rows(
        self,
        cursor: Any,
        target: exp.Table,
        columns: Mapping[str, str],
        source: exp.Table,
        items: list[exp.Expression],
        delete_where: Mapping[str, object],
        staging: exp.Table,
    ) -> None:
        from sqlglot import exp

        self._recover(cursor, target)
        self._create_table(cursor, target, columns)
        if not delete_where or not self._rows_where(cursor, target, delete_where):
            self._run(cursor, "insert_from", table=target, columns=list(columns), items=items, source=source)
        elif self._is_in_snapshots(target):
            self._merge(cursor, target, list(columns), items, source, delete_where)
        else:
            merged = self._staging(target, f"merged {staging.name}")
            version = self._version(cursor, target)
            whole = self._columns(cursor, target)
            given = {name.lower(): item for name, item in zip(columns, items, strict=True)}
            everything = [
                exp.alias_(given.get(name.lower(), exp.null()).unalias(), name, quoted=True) for name in whole
            ]
            self._run(cursor, "drop_table", table=merged)
            try:
                self._run(
                    cursor,
                    "merged",
                    table=merged,
                    columns=list(whole),
                    target=target,
                    condition=delete_where,
                    items=everything,
                    source=source,
                )
                self._swap(cursor, target, merged, expected=version)
            finally:
                with suppress(Exception):
                    self._run(cursor, "drop_table", table=merged)

    def _rows_where(self, cursor: Any, table: exp.Table, condition: Mapping[str, object]) -> int:
        present = {name.lower() for name in self._columns(cursor, table)}
        if missing := [name for name in condition if name.lower() not in present]:
            raise InputError(f"The table {table.db}.{table.name} has no column {', '.join(missing)}.")
        (row,) = self._fetch(cursor, "count_where", source=table, condition=dict(condition))
        return int(str(row["n"]))

    def _merge(
        self,
        cursor: Any,
        target: exp.Table,
        columns: list[str],
        items: list[exp.Expression],
        source: exp.Table | None,
        condition: Mapping[str, object],
    ) -> None:
        """In one snapshot, delete the rows that a condition means, and insert a source's rows, or one of literals."""
        from sqlglot import exp

        new = [f"automl_{i}" for i in range(len(columns))]
        rows = exp.select(*(exp.alias_(item.unalias(), name) for item, name in zip(items, new, strict=True)))
        rows = rows.select(exp.alias_("1", "automl_part"))
        if source is not None:
            rows = rows.from_(source)
        mark = exp.select(*(exp.alias_(exp.null(), name) for name in new), exp.alias_("0", "automl_part"))
        self._run(
            cursor,
            "merge",
            table=target,
            source=exp.union(rows, mark, distinct=False).subquery("s"),
            condition=dict(condition),
            columns=columns,
            values=new,
        )

    def _run(self, cursor: Any, template: str, **params: object) -> None:
        """Run a statement to its end: Trino's are not done before their last page is read."""
        self._fetch(cursor, template, **params)


def _name(error: BaseException) -> str | None:
    """Return Trino's name of an error, such as TABLE_NOT_FOUND; None for what is no query's error."""
    name = getattr(error, "error_name", None)
    return name if isinstance(name, str) else None


def _schema_of(table: exp.Table) -> exp.Table:
    from sqlglot import exp

    return exp.Table(db=table.args["db"], catalog=table.args.get("catalog"))


def _readable(column: exp.Expression, kind: str) -> exp.Expression:
    """Return a column as Parquet has a place for it; what has a zone as its time in UTC.

    :raises InputError: the type has no place in Parquet and no text.
    """
    from sqlglot import exp

    if _KEPT.match(kind):
        return column
    if kind == "TIMESTAMP":
        return exp.cast(column, "TIMESTAMP(6)")
    if kind == "TIMESTAMPTZ":
        return exp.cast(exp.AtTimeZone(this=column, zone=exp.Literal.string("UTC")), "TIMESTAMP(6)")
    if _AS_TEXT.match(kind):
        return exp.cast(column, "VARCHAR")
    if kind == "JSON" or _NESTED.match(kind):
        value = column if kind == "JSON" else exp.cast(column, "JSON")
        return exp.Anonymous(this="JSON_FORMAT", expressions=[value])
    raise InputError(
        f"The column {column.name!r} is {kind}, which has no place in Parquet: leave it out, or make text of it in a "
        "query."
    )


def _typed(value: exp.Expression, kind: str, *, from_text: bool = False) -> exp.Expression:
    """Return a staged value, whose times are UTC without zone, or its text, as a column's type."""
    from sqlglot import exp

    if kind == "TIMESTAMPTZ(6)":
        moment = exp.cast(value, "TIMESTAMP(6)")
        return exp.Anonymous(this="WITH_TIMEZONE", expressions=[moment, exp.Literal.string("UTC")])
    if kind == "BLOB" and from_text:
        return exp.Anonymous(this="FROM_HEX", expressions=[value])
    if kind == "VARCHAR" and from_text:
        return value
    return exp.cast(value, exp.DataType.build(kind, dialect="duckdb"))


def _rows_as_json(batch: pa.RecordBatch) -> Iterator[str]:
    """Yield each row as a JSON array of texts that a CAST of Trino's reads exactly."""
    from airflow_provider_automl.warehouse.types import driver_rows

    for row in driver_rows(batch):
        yield json.dumps([_as_text(value) for value in row], ensure_ascii=False, separators=(",", ":"))


def _as_text(value: object) -> str | None:
    from datetime import UTC
    from decimal import Decimal

    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat(sep=" ")
    return str(value)


def _conform(files: list[Path], schema: pa.Schema, directory: Path, batch_rows: int) -> int:
    """Have Trino's files say the same as those of other engines, writing anew those that do not; return their rows.

    Hive's Parquet has times as INT96, no zones, and names in lower case. No file at all becomes an empty one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for path in files:
        rows += pq.read_metadata(path).num_rows  # type: ignore[no-untyped-call]
        if pq.read_schema(path).remove_metadata().equals(schema):  # type: ignore[no-untyped-call]
            continue
        scratch = path.with_suffix(".rewritten")
        with (
            pq.ParquetFile(path, coerce_int96_timestamp_unit="us") as file,  # type: ignore[no-untyped-call]
            pq.ParquetWriter(scratch, schema) as writer,  # type: ignore[no-untyped-call]
        ):
            for batch in file.iter_batches(batch_size=batch_rows):
                writer.write_table(pa.Table.from_batches([batch]).rename_columns(schema.names).cast(schema))
        scratch.replace(path)
    if not files:
        pq.write_table(schema.empty_table(), directory / "part-00000.parquet")  # type: ignore[no-untyped-call]
    return rows


def _for_hive(files: list[Path], columns: Mapping[str, str], scratch: Path) -> tuple[list[Path], int]:
    """Return the files if the Hive connector reads each as those columns, else one written anew; and their rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_automl.warehouse.types import arrow_schema, driver_rows, record_batch

    rows = sum(pq.read_metadata(path).num_rows for path in files)  # type: ignore[no-untyped-call]
    wanted = arrow_schema({name: "TIMESTAMP" if kind == "TIMESTAMPTZ" else kind for name, kind in columns.items()})
    if all(pq.read_schema(path).remove_metadata().equals(wanted) for path in files):  # type: ignore[no-untyped-call]
        return files, rows
    path = scratch / "part-00000.parquet"
    with pq.ParquetWriter(path, wanted) as writer:  # type: ignore[no-untyped-call]
        for batch in parquet_batches(files, 65536):
            try:
                writer.write_table(pa.Table.from_batches([batch]).cast(wanted))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                writer.write_batch(record_batch(driver_rows(batch), wanted))
    return parquet_files(scratch), rows
