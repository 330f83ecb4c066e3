"""Trino: a query engine over catalogs of many kinds, none of which can change several tables in one step."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import threading
import time
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_automl import sql
from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse.base import (
    Capabilities,
    Mode,
    Warehouse,
    _same_row,
    first_line,
    newest_rows,
    parquet_as,
    parquet_batches,
    parquet_rows,
    parquet_schema,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp

    from airflow_provider_automl.warehouse.query import Query

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
    | {"HIVE_PATH_ALREADY_EXISTS"}
)

# What the server says of itself or was told by others, not of the query.
_GIVEN_UP = frozenset(
    {"SERVER_STARTING_UP", "SERVER_SHUTTING_DOWN", "NO_NODES_AVAILABLE", "REMOTE_HOST_GONE", "REMOTE_TASK_ERROR"}
    | {"PAGE_TRANSPORT_ERROR", "PAGE_TRANSPORT_TIMEOUT", "ABANDONED_QUERY", "ABANDONED_TASK", "QUERY_QUEUE_FULL"}
    | {"CLUSTER_OUT_OF_MEMORY", "TOO_MANY_REQUESTS_FAILED"}
    | {"USER_CANCELED", "ADMINISTRATIVELY_KILLED", "ADMINISTRATIVELY_PREEMPTED"}
)

# How a Hive catalog says that it renames no tables: its metastore is in an object store, or AWS Glue.
_NO_RENAMES = re.compile(r"not (yet )?support")

# How a catalog says that a user may not set a session property of it.
_NO_PROPERTY = re.compile(r"Cannot set catalog session property (?:(.+)\.)?\w+$")

# The queries that read or write a user's rows: what a person wants to watch.
_OF_ROWS = frozenset(
    {"append", "insert", "insert_from", "insert_rows", "create_as", "create_marked_as", "replace", "merge", "merged"}
    | {"count"}
)

# Seconds in which the server must have taken the word to cancel: Airflow gives a killed task five.
_CANCEL_SECONDS = 1.5

# After so long, a table of ours that waits to be published waits for nobody.
_ABANDONED = timedelta(days=1)

# How the Hive connector says that a statement is done.
_BUT_STATISTICS = "All operations other than the following update operations were completed"

# NOT_FOUND is what the Hive connector says of a table that goes while a query is planned.
_MISSING = frozenset({"TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND", "NOT_FOUND"})

# Neutral types that Parquet and Arrow keep as they are; those that become text by a cast.
_KEPT = re.compile(r"(BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|REAL|DOUBLE|DATE|BLOB|DECIMAL\(\d+,\d+\))$")
_AS_TEXT = re.compile(r"(VARCHAR|UUID|TIME|TIMETZ|INTERVAL.*|IPADDRESS|UNKNOWN)$")
_NESTED = re.compile(r".*\]$|(STRUCT|MAP|ARRAY)\(.*", re.DOTALL)


# The comment of a table that this module made beside another one.
_MARK = re.compile(r"(Written|Held) by airflow-provider-automl, begun (\S+), as (\w+), of (\w{8})-(\w{16})")


class _Crossed(Exception):
    """Another session changed the table between two steps of ours."""


@dataclass(frozen=True)
class _Mark:
    """The comment of a table that holds a target's new rows; a table that was published by its rename keeps it.

    :param name: the table's first name.
    :param target: a digest of the target's name.
    :param load: a digest of the target's name and the load's key.
    :param begun: when it was made.
    :param held: whether the target has been published over this table's files: see ``_publish_over``.
    """

    name: str
    target: str
    load: str
    begun: datetime
    held: bool = False

    def __str__(self) -> str:
        verb = "Held" if self.held else "Written"
        return (
            f"{verb} by airflow-provider-automl, begun {self.begun.isoformat()}, as {self.name}, "
            f"of {self.target}-{self.load}"
        )

    @classmethod
    def of(cls, comment: str) -> _Mark | None:
        """Read a comment; None: it is not ours."""
        if not (match := _MARK.fullmatch(comment)):
            return None
        try:
            begun = datetime.fromisoformat(match[2]).astimezone(UTC)
        except ValueError:
            return None
        return cls(match[3], match[4], match[5], begun, match[1] == "Held")

    def is_dead(self, load: str) -> bool:
        """Whether whoever made the table is gone: the same task does it again, or a day has passed."""
        return self.load == load or datetime.now(UTC) - self.begun > _ABANDONED


@dataclass(frozen=True)
class _Task:
    """The Airflow task instance at work, as far as it is known."""

    dag: str
    run: str
    task: str
    attempt: str
    map_index: int | None

    @classmethod
    def here(cls) -> _Task | None:
        """Return the task that this process runs, from what Airflow puts into its environment."""
        names = ("DAG_ID", "DAG_RUN_ID", "TASK_ID", "TRY_NUMBER")
        dag, run, task, attempt = (os.environ.get(f"AIRFLOW_CTX_{name}", "") for name in names)
        if not dag or not task:
            return None
        map_index = None
        with suppress(Exception):  # where there is no context, or one without its task instance
            from airflow.providers.common.compat.sdk import get_current_context

            map_index = int(get_current_context()["ti"].map_index)  # type: ignore[arg-type]
        return cls(dag, run, task, attempt, map_index)

    @property
    def tags(self) -> list[str]:
        """Trino's client tags; no comma, and ASCII, as a header wants it."""
        named = {"dag": self.dag, "run": self.run, "task": self.task, "try": self.attempt, "map": self.map_index}
        return [f"{key}:{_header(value)}" for key, value in named.items() if value not in ("", None, -1)]

    @property
    def comment(self) -> str | None:
        """What the queries of all tries begin with, before the try's number; None: which task it is, is not certain."""
        if self.map_index is None or not self.attempt.isdigit():
            return None
        parts = (self.dag, self.run, self.task, self.map_index)
        return f"/* airflow/{'/'.join(quote(str(part), safe='') for part in parts)}/"


def _header(value: object) -> str:
    return quote(str(value), safe=":+ ")


class TrinoWarehouse(Warehouse):
    """A Trino server, by Airflow's ``TrinoHook``. Names fold to lower case. Each statement commits by itself.

    **Publishing.** *Iceberg, Delta Lake:* a load ends in one ``CREATE OR REPLACE TABLE … AS``, an append in one
    ``INSERT`` or ``MERGE``: each one snapshot, so that whoever reads sees the old rows or the new ones, always.
    *Hive and every other connector:* a load fills a new table in the target's schema; then the old table is renamed
    aside, the new one takes its name, and the old one is dropped. Until the first rename, whatever fails leaves the old
    table as it was. Between the two (12 ms, 59 at most, in 12 loads on a busy machine) the name is missing: a query
    that starts then fails with "table does not exist"; none ever sees some of the rows; one that is running may fail
    when the old table's files go. If this process is killed between the two, the old table waits under its other name,
    and the next load of the same target puts it back first.
    *A Hive catalog whose metastore renames nothing* (one on S3, AWS Glue): the new rows stay in a table with a name of
    its own, and the target is an external table over its files; publishing drops the target and makes it anew over the
    new files, in two steps of the metastore as above. (A table of the user's own, whose files go when it is dropped, is
    copied before.) Appends want the catalog to allow writes to such tables
    (``hive.non-managed-table-writes-enabled``). Who drops the target by hand drops ``NAME_automl_…`` as well.
    The new table is a new one: grants, partitions, comments and properties of the old one are not kept.

    **Appending** is one ``INSERT``, after the columns that are missing have been added. With ``delete_where``, and rows
    that it means, a ``MERGE`` where that is one snapshot; elsewhere, the table is written anew and published as above,
    unless another session has written to it meanwhile: then all is done again. (Only the Hive connector's tables tell
    that for certain; elsewhere the number of rows tells.) No INSERT is ever repeated unless it has certainly failed. If
    the server goes away in one, its rows may have been added: without ``delete_where``, a retry adds them again.

    **Recording.** Iceberg, Delta Lake: one ``MERGE``. Elsewhere a row is inserted unless the newest of that key, by
    ``recorded_at``, is the same; it supersedes the other, which stays beneath it. Two sessions that write the same row
    at the same moment may both insert it.

    **Queries** have the task in their client tags (``dag:``, ``run:``, ``task:``, ``map:``, ``try:``, beside the
    connection's own) and begin with a comment that names its try. The first thing that a try does is to end what
    earlier tries of that task instance still run, and a load with a ``key`` what was begun for the same load.

    **Leftovers.** Tables beside a target are ours by their name, ``NAME_automl_…``, and by their comment; what has only
    the name is never touched. A load drops those of killed loads: of the same ``key`` at once, of others after a day. A
    connector without table comments has nothing dropped: what a killed process leaves there stays. Files and tables of
    staging are removed whatever happens; those of a killed process when the same work is done again, or after a day
    (files in object stores: by a rule of the bucket's own).

    **Types.** Times are kept to microseconds (what is finer is rounded), times with zone as their instant. Hive tables
    have no times with zone: they become TIMESTAMP in UTC; Iceberg has no TINYINT and SMALLINT: they become INTEGER.
    ARRAY, MAP, ROW and JSON are read as JSON text, UUID, TIME, INTERVAL, IPADDRESS and CHAR as text. What has no text,
    such as HYPERLOGLOG, is refused.

    :param staging: a URI or directory that Trino's servers and this process both reach, for a catalog of the Hive
        connector that may write there (``hive.non-managed-table-writes-enabled``): the connection's own catalog, else
        the one named ``hive``, else the only one. None, or no such catalog: rows go through the cursor, and in as
        statements of many rows.
    """

    engine = "Trino"
    capabilities = Capabilities(cancel=True)

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "trino", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout)
        self.staging = staging
        self._cursors: dict[Any, bool] = {}  # the open ones, and whether their query reads or writes a user's rows
        self._is_first = True

    @property
    def by_files(self) -> bool:
        return self._outside is not None

    def cancel(self) -> None:
        """Cancel the queries that run now. For any thread and for a signal's handler; returns within two seconds."""
        threads = [threading.Thread(target=_cancel, args=(cursor,), daemon=True) for cursor in list(self._cursors)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + _CANCEL_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def drop_table(self, table: str) -> None:
        """Drop a table if it exists, and with it the one that holds its files, if there is one."""
        target = self._qualified(table)

        def work(cursor: Any) -> None:
            holder = self._holder(cursor, target) if self._connector(target) == "hive" else None
            for each in filter(None, (target, holder)):
                self._run(cursor, "drop_table", table=each)

        with self._writing(f"The table {table} cannot be dropped"):
            self._write(work)

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
                self._insert_row(cursor, target, wanted)
            return "replaced" if found else "inserted"

        with self._explained(table):
            return self._write(work)

    def _insert_row(self, cursor: Any, target: exp.Table, row: Mapping[str, object]) -> None:
        from sqlglot import exp

        try:
            self._run(cursor, "insert", table=target, columns=list(row), items=list(row.values()))
        except Exception as error:
            if not _is_of_statistics(error):
                raise
            values = [sql.literal(value) for value in row.values()]
            self._rewrite(cursor, target, list(row), values, exp.select("1").subquery("q"), exp.false(), "")

    # ------------------------------------------------------------------------------------------------ sessions, errors

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        """Yield a cursor whose statements each commit by themselves."""
        with self._told():
            connection = self._connect()
            session = connection._client_session
            session.properties = self._properties | session.properties
            cursor = self._cursor(connection)
            try:
                if self._is_first:
                    self._is_first = False
                    self._end_earlier_tries(cursor)
                yield cursor
            finally:
                self._cursors.pop(cursor, None)
                with suppress(Exception):
                    cursor.close()
                with suppress(Exception):
                    connection.close()

    def _connect(self) -> Any:
        """Return the hook's own connection, with the task in its client tags.

        Statements commit by themselves even where the connection says otherwise: most connectors refuse to write in a
        transaction.

        :raises InputError: the Airflow connection does not say how to log in.
        """
        from airflow.providers.common.compat.sdk import AirflowException
        from trino.exceptions import TrinoAuthError
        from trino.transaction import IsolationLevel

        try:
            connection: Any = self.hook.get_conn()
        except (AirflowException, TrinoAuthError, KeyError, ValueError, FileNotFoundError) as error:
            reason = first_line(error) if not isinstance(error, KeyError) else f"its extra lacks {error}"
            raise InputError(f"The connection {self.hook.get_conn_id()} cannot be used: {reason}") from error
        connection._isolation_level = IsolationLevel.AUTOCOMMIT
        if self._task is not None:
            tags = connection._client_session.client_tags
            tags += [tag for tag in self._task.tags if tag not in tags]
        return connection

    def _cursor(self, connection: Any, *, raw: bool = False) -> Any:
        """Return a cursor that :meth:`cancel` knows; a raw one gives values as they come, as JSON has them."""

        def told(stats: Mapping[str, object]) -> None:
            self._started(cursor)

        try:
            cursor = connection.cursor(legacy_primitive_types=raw, stats_callback=told)
        except TypeError:  # a client that does not tell of a query before it is done
            cursor = connection.cursor(legacy_primitive_types=raw)
        self._cursors[cursor] = False
        return cursor

    def _started(self, cursor: Any) -> None:
        """Tell of a cursor's query, once."""
        url = cursor.info_uri
        if url and url != self.query_url and self._cursors.get(cursor):
            self.query_url = url
            if self.on_query is not None:
                self.on_query(url)

    @cached_property
    def _task(self) -> _Task | None:
        return _Task.here()

    def _begun(self, text: str) -> str:
        """Return a statement with the comment that tells which try of which task it belongs to."""
        if self._task is None or self._task.comment is None:
            return text
        return f"{self._task.comment}{self._task.attempt} */ {text}"

    def _fetch_text(self, cursor: Any, text: str, *, of_rows: bool = True) -> list[dict[str, object]]:
        self._cursors[cursor] = of_rows
        try:
            found = super()._fetch_text(cursor, self._begun(text))
        except Exception as error:
            # Only the table's statistics are not: to fail here would have the rows inserted once more.
            if not (_name(error) == "HIVE_METASTORE_ERROR" and first_line(error).startswith(_BUT_STATISTICS)):
                raise
            log.warning("Hive's metastore did not take a table's statistics: %s", first_line(error))
            found = []
        self._started(cursor)
        return found

    def _fetch(self, cursor: Any, template: str, **params: object) -> list[dict[str, object]]:
        text = sql.render(template, self.dialect, **params)
        return self._fetch_text(cursor, text, of_rows=template in _OF_ROWS)

    def _batches(self, cursor: Any, text: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """As they come, since the client's Python values take longer than all else; one batch is always on its way."""
        raw = self._cursor(cursor.connection, raw=True)
        self._cursors[raw] = True
        try:
            raw.execute(self._begun(text))
            with ThreadPoolExecutor(1) as pool:
                coming = pool.submit(lambda: list(islice(raw, batch_rows)))
                while rows := coming.result():
                    coming = pool.submit(lambda: list(islice(raw, batch_rows)))
                    yield _from_json(rows, schema)
            self._started(raw)
        finally:
            self._cursors.pop(raw, None)
            with suppress(Exception):
                raw.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell apart a server that is not there, a login that it refuses, and what is wrong with a statement.

        :raises BusyError: the server is down, starting, stopping, overloaded, or was restarted under a query; or
            somebody ended the query.
        :raises InputError: the server refuses the login, or its certificate is refused.
        """
        import requests
        from trino.exceptions import HttpError, OperationalError, TrinoConnectionError, TrinoQueryError

        name = self.hook.get_conn_id()
        try:
            yield
        except TrinoQueryError as error:
            if error.error_name in _GIVEN_UP:
                raise BusyError(f"Trino (connection {name}) gave a query up: {first_line(error)}") from error
            raise
        except (HttpError, OperationalError, TrinoConnectionError, requests.RequestException) as error:
            reason = first_line(error)
            if re.search(r"\berror 40[13]\b", reason):
                raise InputError(f"Trino refuses the login of the connection {name}: {reason}") from error
            if "CERTIFICATE_VERIFY_FAILED" in reason or "WRONG_VERSION_NUMBER" in reason:
                raise InputError(f"The connection {name} does not agree with Trino on TLS: {reason}") from error
            raise BusyError(f"Trino (connection {name}) cannot be reached, or went away: {reason}") from error

    @contextmanager
    def _explained(self, *sources: str | Query) -> Iterator[None]:
        tables = " and ".join(source for source in sources if isinstance(source, str))
        what = f"Trino refuses to work with {tables or 'the query'}"
        with self._writing(what), super()._explained(*sources):
            try:
                yield
            except Exception as error:
                # Not to be asked whether the table exists, which is refused as well.
                if _name(error) != "PERMISSION_DENIED" or len(sources) != 1 or not tables:
                    raise
                raise InputError(f"{what}: {first_line(error)}") from error

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            with super()._writing(what):
                yield
        except InputError as error:
            if "timestamp precision" not in str(error):
                raise
            raise InputError(
                f"{error}. Have the catalog's configuration say hive.timestamp-precision=MICROSECONDS: it lets this "
                "user set no session property."
            ) from error.__cause__

    def _admit(self, cursor: Any, text: str) -> None:
        """By EXPLAIN, which takes one statement, and says what is wrong with it by itself."""
        self._fetch_text(cursor, f"EXPLAIN (TYPE VALIDATE)\n{text}", of_rows=False)

    def _is_conflict(self, error: Exception) -> bool:
        return isinstance(error, _Crossed) or _name(error) in _CONFLICTS

    @contextmanager
    def _opening(self) -> Iterator[Any]:
        """Yield a cursor of a session without our properties: by it is asked what they are."""
        with self._told():
            connection = self._connect()
            cursor = self._cursor(connection)
            try:
                yield cursor
            finally:
                self._cursors.pop(cursor, None)
                with suppress(Exception):
                    connection.close()

    @cached_property
    def _connectors(self) -> dict[str, str]:
        """The catalogs that this user sees, with the name of the connector of each."""
        with self._refused(), self._opening() as cursor:
            found = self._fetch(cursor, "catalogs")
        return {str(row["catalog_name"]): str(row["connector_name"]) for row in found}

    @property
    def _properties(self) -> dict[str, str]:
        """Session properties: Hive tables keep milliseconds unless told otherwise.

        Statistics of columns are not written: of a time's, Hive 4's metastore makes what Trino does not read, and then
        refuses every further INSERT.
        """
        return self._opened[0]

    @cached_property
    def _home(self) -> dict[str, str]:
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[dict[str, str], dict[str, str]]:
        """The session properties, and what a name without schema belongs to: one query tells both.

        A catalog where none but its administrators may set them (``hive.security=sql-standard``) would refuse every
        query otherwise, those of other catalogs too: none of its own is set, and its configuration must say them.
        """
        hive = {catalog for catalog, connector in self._connectors.items() if connector == "hive"}
        wanted = {"timestamp_precision": "MICROSECONDS", "collect_column_statistics_on_write": "false"}
        with self._refused(), self._opening() as cursor:
            session = cursor.connection._client_session
            own = session.properties
            while True:
                properties = {f"{catalog}.{name}": value for catalog in sorted(hive) for name, value in wanted.items()}
                session.properties = properties | own
                try:
                    (row,) = self._fetch(cursor, "current_schema")
                except Exception as error:
                    refused = _NO_PROPERTY.search(first_line(error))
                    if refused is None or not hive:
                        raise
                    log.info("Trino lets this user set no session property: %s", first_line(error))
                    hive -= {refused[1]} if refused[1] in hive else hive
                else:
                    return properties, {key: str(value) for key, value in row.items()}

    def _refused(self) -> AbstractContextManager[None]:
        return self._writing(f"Trino refuses the user of the connection {self.hook.get_conn_id()}")

    def _connector(self, table: exp.Table) -> str:
        return self._connectors.get(table.catalog.lower(), "")

    def _is_in_snapshots(self, table: exp.Table) -> bool:
        return self._connector(table) in _SNAPSHOTS

    def _end_earlier_tries(self, cursor: Any) -> None:
        """End what earlier tries of this task still run: nobody waits for it."""
        if self._task is None or self._task.comment is None:
            return
        comment = self._task.comment
        for row in self._fetch(cursor, "running_before", comment=comment, start=len(comment) + 1):
            attempt = str(row["attempt"]).partition(" ")[0]
            if attempt.isdigit() and int(attempt) < int(self._task.attempt):
                self._end_query(cursor, row["query_id"])

    def _end_users_of(self, cursor: Any, *tables: exp.Table) -> None:
        """End the queries that name tables of ours which are made anew: what was started for them was abandoned."""
        for table in tables:
            for row in self._fetch(cursor, "running", name=table.name):
                self._end_query(cursor, row["query_id"])

    def _end_query(self, cursor: Any, query_id: object) -> None:
        """End a query as its user, who always may; the procedure ``kill_query`` is a privilege of few."""
        log.warning("The query %s of a killed predecessor still runs: it is ended.", query_id)
        request = cursor._request
        answer = request.delete(request.get_url(f"/v1/query/{query_id}"))
        if not answer.ok and answer.status_code not in (404, 410):  # it has ended meanwhile
            log.warning("Trino does not end the query %s: %s %s", query_id, answer.status_code, answer.text[:200])

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
            near = get_close_matches(wanted.name.lower(), self._beside(cursor, wanted), n=1)
        hint = f"; the nearest existing one is {wanted.db}.{near[0]}" if near else ""
        return f"There is no table {table} in this warehouse{hint}."

    def _beside(self, cursor: Any, table: exp.Table) -> dict[str, str]:
        """Return the names and kinds of the tables and views in a table's schema."""
        tables = table_of(table.catalog, "information_schema", "tables")
        found = self._fetch(cursor, "tables_of_schema", tables=tables, schema=table.db.lower())
        return {str(row["table_name"]): str(row["table_type"]) for row in found}

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
        kinds = self._kinds(table, columns)
        if self._connector(table) == "memory" and self._found(cursor, table):
            self._widen(cursor, table, kinds)
        super()._create_table(cursor, table, kinds)
        present = {name.lower() for name in self._columns(cursor, table)}
        if not {name.lower() for name in columns} <= present:
            raise _Crossed(f"another session changed the columns of {table.name} at the same time")

    def _create_missing(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        """Another session may be publishing it, or may have died of that: it is not made anew beside its rows."""
        self._create_schema(cursor, table)
        self._tidy(cursor, table, self._beside(cursor, table), "")
        self._run(cursor, "create_table", table=table, columns=columns)

    def _widen(self, cursor: Any, table: exp.Table, kinds: Mapping[str, str]) -> None:
        """Add the columns that are missing by writing the table anew: the memory connector fails to read added ones."""
        from sqlglot import exp

        present = self._columns(cursor, table)
        folded = {name.lower() for name in present}
        missing = {name: kind for name, kind in kinds.items() if name.lower() not in folded}
        if not missing:
            return
        new, mark = self._new(table, uuid.uuid4().hex)
        version = self._version(cursor, table)
        items: list[Any] = [exp.column(exp.to_identifier(name, quoted=True)) for name in present]
        items += [exp.alias_(_typed(exp.null(), kind), name, quoted=True) for name, kind in missing.items()]
        try:
            self._run_marked(cursor, "create_marked_as", mark, table=new, source=table, items=items)
            self._swap(cursor, table, new, expected=version)
        finally:
            self._discard(cursor, table, new)

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
            import pyarrow as pa

            try:
                rows = super()._unload(cursor, query, columns, path, batch_rows)
            except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
                raise _changed(error) from error
        else:
            rows = self._unload_files(cursor, query.copy(), columns, path.parent, batch_rows)
        if not rows and self._count(cursor, query.subquery("q")):
            raise BusyError("Trino read nothing where there are rows: the table was being replaced.")
        return rows

    def _unload_files(
        self, cursor: Any, query: exp.Select, columns: Mapping[str, str], directory: Path, batch_rows: int
    ) -> int:
        """Have Trino write Parquet files into staging, by a table over it, and move them here."""
        from airflow_provider_automl.warehouse.types import arrow_schema

        schema = arrow_schema(columns)
        with self._staged(cursor, str(directory.absolute()), columns) as (outside, shared):
            source = query.subquery("q", copy=False)
            try:
                written = self._fetch(cursor, "append", table=outside, columns=list(columns), source=source)
            except Exception as error:
                if _name(error) == "TYPE_MISMATCH":
                    raise _changed(error) from error
                if _is_of_files(error):
                    raise BusyError(f"Trino cannot write to {shared.uri}: {_reason(error)}") from error
                raise
            files = shared.take(directory)
        arrived = _conform(files, schema, directory, batch_rows)
        if written and arrived != written[0]["rows"]:
            raise InputError(
                f"Trino wrote {written[0]['rows']} rows to {shared.uri}, and this worker finds {arrived} of them "
                "there: give a staging place that both reach under that name."
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

    def _files_table(self, key: str) -> exp.Table:
        """Return the table over staged files of a key."""
        assert self._outside is not None
        return self._named(self._outside, f"automl_files_{_digest(f'{self.staging} {key}')[:32]}")

    @contextmanager
    def _staged(
        self, cursor: Any, key: str, columns: Mapping[str, str], files: Sequence[Path] = ()
    ) -> Iterator[tuple[exp.Table, Any]]:
        """Yield a table over a directory of staging, with these files in it, and the directory."""
        from airflow_provider_automl.warehouse.exchange import Exchange

        assert self.staging is not None
        outside = self._files_table(key)
        mark = _Mark(outside.name, outside.name[-32:-24], outside.name[-24:-8], datetime.now(UTC))
        self._end_users_of(cursor, outside)
        with Exchange(self.staging).directory(key) as shared:
            shared.put(list(files))
            self._create_schema(cursor, outside)
            self._drop_dead_files(cursor, outside, mark.load)
            kinds = self._kinds(outside, columns)
            try:
                self._run_marked(cursor, "files", mark, table=outside, columns=kinds, location=shared.uri + "/")
            except Exception as error:
                if _name(error) is None or _name(error) in _GIVEN_UP:
                    raise
                raise InputError(
                    f"Trino cannot use the staging place {self.staging} by its catalog {outside.catalog}: "
                    f"{_reason(error)}. This worker made {shared.uri}; Trino's servers must reach it under that name."
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
        new, mark = self._new(target, key or uuid.uuid4().hex)

        def prepare(cursor: Any) -> None:
            if key and self._outside is not None:
                self._end_users_of(cursor, self._files_table(f"{target.sql()} {mark.load}"))
            self._create_schema(cursor, target)
            beside = self._beside(cursor, target)
            if "VIEW" in beside.get(target.name.lower(), ""):
                raise InputError(f"The table {target.db}.{target.name} cannot be written: it is a view.")
            self._tidy(cursor, target, beside, mark.load)

        def publish(cursor: Any, source: exp.Table, items: list[exp.Expression]) -> None:
            if mode == "append":
                with self._crossed_if_gone(target):
                    self._append_rows(cursor, target, columns, source, items, delete_where, key)
            elif self._is_in_snapshots(target):
                template = "create_as" if mode == "error" else "replace"
                self._run(cursor, template, table=target, source=source, items=items)
            else:
                self._swap(cursor, target, new, mode=mode)

        self._write(prepare)
        try:
            with self._incoming(files, columns, kinds, target, new, mark) as (source, items, rows):
                if source is not new and mode != "append" and not self._is_in_snapshots(target):
                    with self._session(write=True) as cursor:
                        self._run_marked(cursor, "create_marked_as", mark, table=new, source=source, items=items)
                log.info("Publishing %d rows as %s.%s", rows, target.db, target.name)
                self._write(lambda cursor: publish(cursor, source, items))
            return rows
        finally:
            with suppress(Exception), self._session(write=True) as cursor:
                self._discard(cursor, target, new)

    @contextmanager
    def _incoming(
        self,
        files: list[Path],
        columns: dict[str, str],
        kinds: dict[str, str],
        target: exp.Table,
        new: exp.Table,
        mark: _Mark,
    ) -> Iterator[tuple[exp.Table, list[Any], int]]:
        """Yield a table that has the files' rows, what to select from it for the target, and the number of rows."""
        from sqlglot import exp

        from airflow_provider_automl.warehouse.types import arrow_schema

        names = [exp.column(exp.to_identifier(name, quoted=True)) for name in columns]
        if self._outside is None:
            with self._session(write=True) as cursor:
                self._run_marked(cursor, "create_marked", mark, table=new, columns=kinds)
                rows = self._insert(cursor, new, list(columns), parquet_batches(files))
                if (found := self._arrived(cursor, new)) != rows:
                    raise BusyError(
                        f"Trino finds {found} of {rows} rows in {new.db}.{new.name}: another process that does the "
                        "same load at the same time may be why."
                    )
            yield new, list(names), rows
            return
        items = [
            exp.alias_(_typed(column, kind), column.name, quoted=True)
            for column, kind in zip(names, kinds.values(), strict=True)
        ]
        with tempfile.TemporaryDirectory(prefix="automl-") as scratch, self._session(write=True) as cursor:
            rows = parquet_rows(files)
            utc = {name: "TIMESTAMP" if kind == "TIMESTAMPTZ" else kind for name, kind in columns.items()}
            readable = parquet_as(files, arrow_schema(utc), Path(scratch))
            with self._staged(cursor, f"{target.sql()} {mark.load}", columns, readable) as (outside, shared):
                if (found := self._arrived(cursor, outside)) != rows:
                    raise InputError(
                        f"Trino finds {found} of {rows} rows in {shared.uri}, where this worker wrote them: give a "
                        "staging place that both reach under that name."
                    )
                yield outside, items, rows

    def _arrived(self, cursor: Any, table: exp.Table) -> int:
        """Return the number of rows of a table of ours; the link stays with the query that brings them."""
        (row,) = self._fetch_text(cursor, sql.render("count", self.dialect, source=table), of_rows=False)
        return int(str(row["n"]))

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

    def _new(self, target: exp.Table, key: str) -> tuple[exp.Table, _Mark]:
        """Return the table beside a target that holds the new rows of a load with that key, and its comment."""
        new = self._staging(target, uuid.uuid4().hex)
        load = self._staging(target, key).name[-16:]
        return new, _Mark(new.name, _digest(target.name)[:8], load, datetime.now(UTC))

    def _swap(
        self,
        cursor: Any,
        target: exp.Table,
        new: exp.Table,
        *,
        mode: Mode = "overwrite",
        expected: list[Any] | None = None,
    ) -> None:
        """Have the new table take the target's name.

        :param expected: what :meth:`_version` said of the target when the new table was made from it.
        """
        if mode == "error":
            self._refuse_existing(cursor, target)
        old = _old(new)
        there = self._found(cursor, target)
        if not there and expected is not None:
            raise _Crossed(f"another session renamed {target.name}")
        try:
            self._rename(cursor, target if there else new, old if there else target)
        except Exception as error:
            if self._connector(target) != "hive" or not _NO_RENAMES.search(first_line(error)):
                raise
            log.info("The catalog %s renames no tables (%s).", target.catalog, first_line(error))
            self._publish_over(cursor, target, new, expected)
            return
        if not there:
            return
        try:
            if expected is not None and self._version(cursor, old) != expected:
                raise _Crossed(f"another session wrote to {target.name}")
            self._rename(cursor, new, target)
        except BaseException:
            self._back(cursor, target, old, lambda: self._rename(cursor, old, target))
            raise
        self._drop_old(cursor, old)

    def _publish_over(self, cursor: Any, target: exp.Table, new: exp.Table, expected: list[Any] | None) -> None:
        """Have the target be an external table over the new table's files, where tables cannot be renamed."""
        from sqlglot import exp

        old = None
        if self._found(cursor, target):
            version = self._version(cursor, target) if expected is None else expected
            old = self._holder(cursor, target)
            if old is None:  # a table with files of its own, which go when it is dropped
                old = _old(new)
                mark = self._mark(cursor, new)
                items = [exp.column(exp.to_identifier(name, quoted=True)) for name in self._columns(cursor, target)]
                self._run_marked(cursor, "create_marked_as", mark, table=old, source=target, items=items)
            if self._version(cursor, target) != version:
                if old.name == _old(new).name:
                    self._drop_old(cursor, old)
                raise _Crossed(f"another session wrote to {target.name}")
            self._hold(cursor, new)
            self._run(cursor, "drop_table", table=target)
        elif expected is not None:
            raise _Crossed(f"another session dropped {target.name}")
        try:
            self._lay(cursor, target, new)
        except BaseException:
            if (before := old) is not None:
                self._back(cursor, target, before, lambda: self._lay(cursor, target, before))
            raise
        if old is not None:
            self._drop_old(cursor, old)

    def _lay(self, cursor: Any, target: exp.Table, holder: exp.Table) -> None:
        """Make the target over another table's files; an empty one has no files, and the target gets its own."""
        paths = self._fetch(cursor, "paths", table=holder)
        if not paths:
            self._run(cursor, "create_like", table=target, source=holder)
            return
        mark = self._hold(cursor, holder)
        location = str(paths[0]["path"]).rpartition("/")[0] + "/"
        self._run_marked(cursor, "create_over", mark, table=target, source=holder, location=location)

    def _hold(self, cursor: Any, holder: exp.Table) -> _Mark:
        """Note on a table of ours that another one is over its files."""
        mark = self._mark(cursor, holder)
        assert mark is not None
        mark = replace(mark, name=holder.name, begun=datetime.now(UTC), held=True)
        self._run(cursor, "mark", table=holder, mark=str(mark))
        return mark

    def _back(self, cursor: Any, target: exp.Table, old: exp.Table, put: Callable[[], object]) -> None:
        """Put the old table back; where another session has published meanwhile, it is past.

        One that found no table for a moment, and made an empty one to append to, has published nothing.
        """
        try:
            try:
                put()
            except Exception as error:
                if not self._is_conflict(error) or self._mark(cursor, target) or self._count(cursor, target):
                    raise
                self._run(cursor, "drop_table", table=target)
                put()
        except Exception as error:
            if self._is_conflict(error) and self._found(cursor, target):
                self._drop_old(cursor, old)
            else:
                log.warning("The rows of %s wait in %s, to be put back: %s", target.name, old.name, first_line(error))

    def _drop_old(self, cursor: Any, old: exp.Table) -> None:
        """Drop what has been replaced. The new rows are published: no failure here is one of the load."""
        try:
            self._run(cursor, "drop_table", table=old)
        except Exception as error:
            log.warning("The table %s, whose rows are replaced, could not be dropped: %s", old.name, first_line(error))

    def _discard(self, cursor: Any, target: exp.Table, new: exp.Table) -> None:
        """Drop a table of new rows, unless the target was made over its files."""
        holder = self._holder(cursor, target) if self._connector(target) == "hive" else None
        if holder is None or holder.name != new.name:
            self._run(cursor, "drop_table", table=new)

    def _holder(self, cursor: Any, target: exp.Table) -> exp.Table | None:
        """Return the table whose files a target of ours was made over, if it was."""
        mark = self._mark(cursor, target)
        if mark is None or not mark.held:
            return None
        holder = table_of(target.catalog, target.db, mark.name)
        own = self._mark(cursor, holder)
        return holder if own is not None and own.held else None

    def _mark(self, cursor: Any, table: exp.Table) -> _Mark | None:
        """Return what a table's comment says, if it is one of ours."""
        names = {"catalog": table.catalog.lower(), "schema": table.db.lower(), "name": table.name.lower()}
        found = self._fetch(cursor, "marks", **names)
        return next((_Mark.of(str(row["comment"] or "")) for row in found), None)

    def _run_marked(self, cursor: Any, template: str, mark: _Mark | None, **params: object) -> None:
        """Make a table with a comment; without, where the connector has none: then nothing finds it but its name."""
        from sqlglot import exp

        statement = sql.statement(template, self.dialect, mark=str(mark or ""), **params)
        try:
            self._fetch_text(cursor, sql.to_text(statement, self.dialect), of_rows=template in _OF_ROWS)
        except Exception as error:
            if _name(error) != "NOT_SUPPORTED" or "comment" not in first_line(error):
                raise
            for comment in list(statement.find_all(exp.SchemaCommentProperty)):
                comment.pop()
            self._fetch_text(cursor, sql.to_text(statement, self.dialect), of_rows=template in _OF_ROWS)

    def _tidy(self, cursor: Any, target: exp.Table, beside: Mapping[str, str], load: str) -> None:
        """Clean up after dead loads of a target: put back the old table of one that was killed while it published.

        Tables are ours by name and comment. A table that was renamed aside has a comment of its user's: it is ours if
        the table that was to replace it is. Those of loads that may live are left.

        :param beside: the names in the target's schema.
        :param load: the digest of the load that comes now: others with the same are dead.
        """
        name = re.compile(re.escape(self._staging(target, "").name[:-16].lower()) + r"\w{16}(_old)?")
        found = {each: self._named(target, each) for each in sorted(beside) if name.fullmatch(each)}
        if not found:
            return
        of = _digest(target.name)[:8]
        marks = {each: self._mark(cursor, table) for each, table in found.items()}
        ours = {each: mark for each, mark in marks.items() if mark is not None and mark.target == of}
        olds = [each for each in found if each.endswith("_old") and (each in ours or each.removesuffix("_old") in ours)]
        if target.name.lower() not in beside:
            holders = sorted((mark.begun, each) for each, mark in ours.items() if mark.held)
            if len(holders) + len(olds) > 1 and holders:
                self._lay(cursor, target, found[holders[-1][1]])
            elif olds:
                self._rename(cursor, found[olds[0]], target)
            else:
                holders = []
            if holders or olds:
                log.warning("A load of %s was killed while it published: its rows are put back.", target.name)
        there = self._found(cursor, target)
        current = self._mark(cursor, target)
        for each, table in found.items():
            mark = ours.get(each)
            if current is not None and each == current.name and (current.held or mark is None):
                continue
            base = each.removesuffix("_old")
            if mark is not None and mark.held:
                dead = current is not None and current.held
            elif base != each:
                # A list of names is not of one moment: the target must be there now for its old rows to be past.
                # Their own comment tells of the load that had brought them, not of the one that put them aside.
                replaced = current is not None and base == current.name
                past = (base in ours and ours[base].is_dead(load)) or (mark is not None and mark.is_dead(load))
                dead = there and (replaced or past)
            else:
                dead = mark is not None and mark.is_dead(load)
            if dead:
                self._end_users_of(cursor, table)
                self._run(cursor, "drop_table", table=table)

    def _named(self, beside: exp.Table, name: str) -> exp.Table:
        return table_of(beside.catalog, beside.db, name)

    def _drop_dead_files(self, cursor: Any, outside: exp.Table, load: str) -> None:
        """Drop the tables over staged files that dead processes left."""
        for name in self._beside(cursor, outside):
            if re.fullmatch(r"automl_files_\w{32}", name):
                table = self._named(outside, name)
                mark = self._mark(cursor, table)
                if mark is not None and mark.name == name and mark.is_dead(load):
                    self._run(cursor, "drop_table", table=table)

    def _rename(self, cursor: Any, table: exp.Table, name: exp.Table) -> None:
        with self._crossed_if_gone(table):
            try:
                self._run(cursor, "rename_table", table=table, name=name)
            except Exception as error:
                # What is said where two rename at once. The metastore or database may also be down: that lasts longer.
                if _name(error) in ("HIVE_METASTORE_ERROR", "JDBC_ERROR") and not _NO_RENAMES.search(first_line(error)):
                    raise _Crossed(first_line(error)) from error
                raise

    @contextmanager
    def _crossed_if_gone(self, table: exp.Table) -> Iterator[None]:
        """Take a table that was there a moment ago, and is gone with its files, for another session's doing."""
        try:
            yield
        except Exception as error:
            if _name(error) in ("TABLE_NOT_FOUND", "NOT_FOUND", "HIVE_FILE_NOT_FOUND", "HIVE_CANNOT_OPEN_SPLIT"):
                raise _Crossed(f"another session renamed {table.name}") from error
            raise

    def _version(self, cursor: Any, table: exp.Table) -> list[Any]:
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
        key: str,
    ) -> None:
        from sqlglot import exp

        self._create_table(cursor, target, columns)
        if not delete_where or not self._counts(cursor, target, delete_where)[0]:
            try:
                self._run(cursor, "insert_from", table=target, columns=list(columns), items=items, source=source)
            except Exception as error:
                if not _is_of_statistics(error):
                    raise
                self._rewrite(cursor, target, list(columns), items, source, exp.false(), key)
        elif self._is_in_snapshots(target):
            self._merge(cursor, target, list(columns), items, source, delete_where)
        else:
            self._rewrite(cursor, target, list(columns), items, source, delete_where, key)

    def _rewrite(
        self,
        cursor: Any,
        target: exp.Table,
        columns: list[str],
        items: Sequence[exp.Expression],
        source: exp.Expression,
        condition: object,
        key: str,
    ) -> None:
        """Write a table anew without the rows that a condition means, with a source's, and publish that."""
        from sqlglot import exp

        merged, mark = self._new(target, key or uuid.uuid4().hex)
        version = self._version(cursor, target)
        leaving, total = self._counts(cursor, target, condition)
        whole = self._columns(cursor, target)
        given = {name.lower(): item for name, item in zip(columns, items, strict=True)}
        everything = [exp.alias_(given.get(name.lower(), exp.null()).unalias(), name, quoted=True) for name in whole]
        try:
            self._run_marked(
                cursor,
                "merged",
                mark,
                table=merged,
                columns=list(whole),
                target=target,
                condition=condition,
                items=everything,
                source=source,
            )
            expected = total - leaving + self._count(cursor, source)
            if (found := self._count(cursor, merged)) != expected:
                raise _Crossed(f"{target.name} was replaced while it was read: {found} rows instead of {expected}")
            self._swap(cursor, target, merged, expected=version)
        finally:
            with suppress(Exception):
                self._discard(cursor, target, merged)

    def _counts(self, cursor: Any, table: exp.Table, condition: object) -> tuple[int, int]:
        """Return how many rows a condition means, and how many a table has.

        A query that was planned before another session renamed the table may find no row of it.
        """
        if isinstance(condition, Mapping):
            present = {name.lower() for name in self._columns(cursor, table)}
            if missing := [name for name in condition if name.lower() not in present]:
                raise InputError(f"The table {table.db}.{table.name} has no column {', '.join(missing)}.")
        (row,) = self._fetch(cursor, "count_where", source=table, condition=condition)
        matching, total = int(str(row["n"])), int(str(row["total"]))
        if not total and self._count(cursor, table):
            raise _Crossed(f"{table.name} was replaced while it was read")
        return matching, total

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


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _old(new: exp.Table) -> exp.Table:
    """Return the name that a table has while the new one, of that name, takes its place."""
    return table_of(*filter(None, (new.catalog, new.db)), f"{new.name}_old")


def _is_of_statistics(error: Exception) -> bool:
    """Return whether Trino cannot insert since it cannot read what Hive 4 knows of a column of times."""
    return _name(error) == "HIVE_INVALID_METADATA" and "statistics" in first_line(error)


def _is_of_files(error: Exception) -> bool:
    """Return whether a statement failed because files cannot be written: no room, no permission."""
    name = str(_name(error))
    return name.startswith(("HIVE_WRITER", "HIVE_FILESYSTEM")) or (
        name == "GENERIC_INTERNAL_ERROR" and "IOException" in first_line(error)
    )


def _changed(error: Exception) -> BusyError:
    return BusyError(f"Another session changed the columns while they were read: {first_line(error)}")


def _reason(error: Exception) -> str:
    """Return Trino's message, with the innermost cause where it says more."""
    message = first_line(error)
    info = getattr(error, "failure_info", None)
    while isinstance(info, dict) and info.get("cause"):
        info = info["cause"]
    inner = str(info.get("message") or "").splitlines()[0:1] if isinstance(info, dict) else []
    return f"{message} ({inner[0]})" if inner and inner[0] not in message else message


def _cancel(cursor: Any) -> None:
    """Tell the server to end a cursor's query, by a connection of its own: the cursor's may be in use, or locked."""
    import requests

    deadline = time.monotonic() + _CANCEL_SECONDS
    while (query := cursor._query) is not None and not query.finished and time.monotonic() < deadline:
        if query._next_uri is None:  # the server has not answered yet
            time.sleep(0.05)
            continue
        own = cursor.connection._http_session
        with suppress(requests.RequestException), requests.Session() as session:
            session.headers.update(own.headers)
            session.auth, session.cert, session.verify, session.proxies = own.auth, own.cert, own.verify, own.proxies
            session.delete(query._next_uri, timeout=_CANCEL_SECONDS)
        return


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


def _from_json(rows: list[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows as Trino's JSON has them: what has no number there is text, bytes are Base64."""
    import pyarrow as pa
    import pyarrow.types as t

    arrays = []
    for values, field in zip(zip(*rows, strict=True), schema, strict=True):
        kind = field.type
        if t.is_binary(kind):
            array = pa.array([None if value is None else b64decode(value) for value in values], kind)
        elif t.is_floating(kind):
            try:
                array = pa.array(values, kind)
            except (pa.ArrowInvalid, pa.ArrowTypeError):  # NaN and the infinities
                array = pa.array([None if value is None else float(value) for value in values], kind)
        elif t.is_timestamp(kind) or t.is_decimal(kind) or t.is_date(kind):
            texts = pa.array(values, pa.string())
            try:
                array = texts.cast(pa.timestamp("us")).cast(kind) if t.is_timestamp(kind) else texts.cast(kind)
            except pa.ArrowInvalid as error:
                raise InputError(
                    f"The column {field.name!r} holds a value that {kind} cannot: {first_line(error)}. Leave it out, "
                    "or make text of it in a query."
                ) from error
        else:
            array = pa.array(values, kind)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _rows_as_json(batch: pa.RecordBatch) -> Iterator[str]:
    """Yield each row as a JSON array of texts that a CAST of Trino's reads exactly."""
    from airflow_provider_automl.warehouse.types import cast_text, driver_rows

    for row in driver_rows(batch):
        yield json.dumps([cast_text(value) for value in row], ensure_ascii=False, separators=(",", ":"))


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
