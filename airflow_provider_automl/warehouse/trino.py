"""Trino: a query engine over many kinds of catalogs, none of which can change several tables atomically."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import tempfile
import threading
import time
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_automl import sql
from airflow_provider_automl.errors import BusyError, InputError, closest
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse import swap
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

# Connectors in which CREATE OR REPLACE TABLE and MERGE each commit one snapshot.
_SNAPSHOTS = frozenset({"iceberg", "delta_lake"})

# The schema for tables over staged files, if the connection's own schema is in another catalog.
_STAGING_SCHEMA = "automl_staging"

# Max UTF-8 bytes per statement, so at most as many characters. The server rejects more than a million characters.
_STATEMENT_BYTES = 950_000

# Errors caused by concurrent sessions: a retry succeeds, or finds the work already done.
_CONFLICTS = frozenset(
    {"TRANSACTION_CONFLICT", "ICEBERG_COMMIT_ERROR", "HIVE_CONCURRENT_MODIFICATION_DETECTED"}
    | {"TABLE_ALREADY_EXISTS", "SCHEMA_ALREADY_EXISTS", "COLUMN_ALREADY_EXISTS", "ALREADY_EXISTS"}
    | {"HIVE_PATH_ALREADY_EXISTS"}
)

# Errors of the server, or cancellations by others, rather than faults of the query.
_TRANSIENT = frozenset(
    {"SERVER_STARTING_UP", "SERVER_SHUTTING_DOWN", "NO_NODES_AVAILABLE", "REMOTE_HOST_GONE", "REMOTE_TASK_ERROR"}
    | {"PAGE_TRANSPORT_ERROR", "PAGE_TRANSPORT_TIMEOUT", "ABANDONED_QUERY", "ABANDONED_TASK", "QUERY_QUEUE_FULL"}
    | {"CLUSTER_OUT_OF_MEMORY", "TOO_MANY_REQUESTS_FAILED"}
    | {"USER_CANCELED", "ADMINISTRATIVELY_KILLED", "ADMINISTRATIVELY_PREEMPTED"}
)

# How a Hive catalog reports that RENAME TABLE is not supported: its metastore is on an object store, or AWS Glue.
_RENAME_UNSUPPORTED = re.compile(r"not (yet )?support")

# How a catalog denies a user a session property.
_PROPERTY_DENIED = re.compile(r"Cannot set catalog session property (?:(.+)\.)?\w+$")

# The templates that read or write user rows: the queries worth linking to.
_ROW_TEMPLATES = frozenset(
    {"append", "insert", "insert_from", "insert_rows", "create_as", "create_marked_as", "replace", "merge", "merged"}
    | {"count"}
)

# Seconds within which cancel requests must be sent: Airflow gives a killed task five.
_CANCEL_SECONDS = 1.5

# An unpublished table of ours that is older than this is orphaned.
_ORPHANED_AFTER = timedelta(days=1)

# How the Hive connector reports that only the update of statistics failed.
_ONLY_STATISTICS_FAILED = "All operations other than the following update operations were completed"

# The Hive connector reports NOT_FOUND for a table that is dropped while a query is planned.
_MISSING = frozenset({"TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND", "NOT_FOUND"})

# Neutral types that Parquet and Arrow store natively; those that are cast to text; nested ones.
_KEPT = re.compile(r"(BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|REAL|DOUBLE|DATE|BLOB|DECIMAL\(\d+,\d+\))$")
_AS_TEXT = re.compile(r"(VARCHAR|UUID|TIME|TIMETZ|INTERVAL.*|IPADDRESS|UNKNOWN)$")
_NESTED = re.compile(r".*\]$|(STRUCT|MAP|ARRAY)\(.*", re.DOTALL)


# The comment of a table that this module created next to a target. Stored in warehouses: do not change.
_OWNERSHIP_TAG = re.compile(r"(Written|Held) by airflow-provider-automl, begun (\S+), as (\w+), of (\w{8})-(\w{16})")


class _Conflict(Exception):
    """Another session changed the table between two steps of ours."""


@dataclass(frozen=True)
class _OwnershipTag:
    """The ownership tag: the comment on a table with a target's new rows, kept when the table is renamed to publish it.

    :param name: the table's original name.
    :param target: a digest of the target's name.
    :param load: a digest of the target's name and the load's idempotency key.
    :param created: when it was created, in UTC.
    :param is_backing: whether the target is an external table over this table's files: see ``_publish_over``.
    """

    name: str
    target: str
    load: str
    created: datetime
    is_backing: bool = False

    def __str__(self) -> str:
        verb = "Held" if self.is_backing else "Written"
        return (
            f"{verb} by airflow-provider-automl, begun {self.created.isoformat()}, as {self.name}, "
            f"of {self.target}-{self.load}"
        )

    @classmethod
    def of(cls, comment: str) -> _OwnershipTag | None:
        """Parse a comment; None if it is not an ownership tag."""
        if not (match := _OWNERSHIP_TAG.fullmatch(comment)):
            return None
        try:
            created = datetime.fromisoformat(match[2]).astimezone(UTC)
        except ValueError:
            return None
        return cls(match[3], match[4], match[5], created, match[1] == "Held")

    def is_orphaned(self, load: str) -> bool:
        """Return whether the table's creator is gone: the same load has started again, or a day has passed."""
        return self.load == load or datetime.now(UTC) - self.created > _ORPHANED_AFTER


@dataclass(frozen=True)
class _Task:
    """The current Airflow task instance, as far as it is known."""

    dag: str
    run: str
    task: str
    attempt: str
    map_index: int | None

    @classmethod
    def current(cls) -> _Task | None:
        """Return the task that this process runs, from Airflow's environment variables; None outside a task."""
        names = ("DAG_ID", "DAG_RUN_ID", "TASK_ID", "TRY_NUMBER")
        dag, run, task, attempt = (os.environ.get(f"AIRFLOW_CTX_{name}", "") for name in names)
        if not dag or not task:
            return None
        map_index = None
        with suppress(Exception):  # no context, or one without a task instance
            from airflow.providers.common.compat.sdk import get_current_context

            map_index = int(get_current_context()["ti"].map_index)  # type: ignore[arg-type]
        return cls(dag, run, task, attempt, map_index)

    @property
    def tags(self) -> list[str]:
        """Trino's client tags, as a header requires them: ASCII, without commas."""
        named = {"dag": self.dag, "run": self.run, "task": self.task, "try": self.attempt, "map": self.map_index}
        return [f"{key}:{_header(value)}" for key, value in named.items() if value not in ("", None, -1)]

    @property
    def comment(self) -> str | None:
        """The start of all tries' queries, up to the try number; None if the task instance is not known exactly."""
        if self.map_index is None or not self.attempt.isdigit():
            return None
        parts = (self.dag, self.run, self.task, self.map_index)
        return f"/* airflow/{'/'.join(quote(str(part), safe='') for part in parts)}/"


def _header(value: object) -> str:
    return quote(str(value), safe=":+ ")


class TrinoWarehouse(Warehouse):
    """A Trino server, through Airflow's ``TrinoHook``. Names fold to lower case. Each statement commits by itself.

    **Publishing.** *Iceberg, Delta Lake:* a load ends in one ``CREATE OR REPLACE TABLE … AS``, an append in one
    ``INSERT`` or ``MERGE``. Each commits one snapshot: readers always see either the old rows or the new ones.
    *Hive and all other connectors:* a load fills a new table in the target's schema. Then the old table is renamed to a
    backup name, the new one is renamed to the target's name, and the backup is dropped. Any failure before the first
    rename leaves the old table unchanged. Between the two renames (12 ms, 59 at most, in 12 loads on a busy machine)
    the target does not exist: a query that starts then fails with "table does not exist", and a running one may fail
    when the old table's files are deleted. No query ever sees only some of the rows. If this process is killed between
    the two renames, the next load of the same target restores the backup first.
    *A Hive catalog that does not support RENAME TABLE* (a metastore on S3, AWS Glue): the new rows stay in a backing
    table with a name of its own, and the target is an external table over its files. Publishing drops the target and
    recreates it over the new files, in two metastore operations as above. (A managed table of the user, whose files are
    deleted with it, is copied first.) Appends require that the catalog allows writes to external tables
    (``hive.non-managed-table-writes-enabled``). If you drop the target by hand, drop ``NAME_automl_…`` as well.
    A load creates a new table: grants, partitions, comments and properties of the old one are not kept.

    **Appending** is one ``INSERT``, after missing columns have been added. If ``delete_where`` matches rows, it is one
    ``MERGE`` where that commits one snapshot. Elsewhere the table is rewritten and published as above; if another
    session has written to it in the meantime, the rewrite is repeated. (For tables of the Hive connector this is
    detected reliably, by their files; elsewhere only by the row count.) An INSERT is repeated only if it has certainly
    failed. If the server goes away during one, its rows may have been added: without ``delete_where``, a retry adds
    them again.

    **Recording.** Iceberg, Delta Lake: one ``MERGE``. Elsewhere a row is inserted unless the newest row of that key, by
    ``recorded_at``, is equal. It supersedes the older row, which stays in the table. Two sessions that write the same
    row at the same time may both insert it.

    **Queries** carry the task in their client tags (``dag:``, ``run:``, ``task:``, ``map:``, ``try:``, in addition to
    the connection's own) and start with a comment that names the try. Each try first cancels queries that earlier tries
    of the same task instance left running; a load with a ``key`` cancels those of the same load.

    **Orphaned tables.** Tables next to a target are ours if both their name, ``NAME_automl_…``, and their comment say
    so; a table that only has the name is never touched. A load drops the tables of killed loads: those of the same
    ``key`` at once, others after a day. On a connector without table comments nothing is dropped: the tables of a
    killed process stay. Staging files and tables are always removed; those of a killed process are removed when the
    same work runs again, or after a day (files in object stores: by a lifecycle rule of the bucket).

    **Types.** Timestamps have microsecond precision (finer ones are rounded); those with a time zone keep their
    instant. Hive tables have no timestamps with time zone: they become TIMESTAMP in UTC. Iceberg has no TINYINT and
    SMALLINT: they become INTEGER. ARRAY, MAP, ROW and JSON are read as JSON text; UUID, TIME, INTERVAL, IPADDRESS and
    CHAR as text. Types that cannot be cast to text, such as HYPERLOGLOG, are rejected.

    :param staging: a URI or directory that Trino's servers and this process can both reach, for a catalog of the Hive
        connector that may write there (``hive.non-managed-table-writes-enabled``): the connection's own catalog, else
        the one named ``hive``, else the only one. If None, or without such a catalog, rows are read through the cursor
        and written with multi-row INSERT statements.
    """

    engine = "Trino"
    capabilities = Capabilities(cancel=True)

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "trino", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout)
        self.staging = staging
        self._cursors: dict[Any, bool] = {}  # open cursors, and whether their query reads or writes user rows
        self._is_first = True
        self._without_comments: set[str] = set()  # catalogs

    @property
    def by_files(self) -> bool:
        return self._external is not None

    def cancel(self) -> None:
        """Cancel all running queries. Safe in any thread and in a signal handler; returns within two seconds."""
        threads = [threading.Thread(target=_cancel, args=(cursor,), daemon=True) for cursor in list(self._cursors)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + _CANCEL_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def drop_table(self, table: str) -> None:
        """Drop a table if it exists, and its backing table, if it has one."""
        target = self._qualified(table)

        def work(cursor: Any) -> None:
            backing = self._backing_table(cursor, target) if self._connector(target) == "hive" else None
            for each in filter(None, (target, backing)):
                self._run(cursor, "drop_table", table=each)

        with self._writing(f"The table {table} cannot be dropped"):
            self._write(work)

    def exists(self, table: str) -> bool:
        with self._writing(f"The table {table} cannot be looked up"):
            return super().exists(table)

    def record(self, table: str, row: Mapping[str, object], *, key: str = "record_id") -> str:
        """As :meth:`.Warehouse.record`; ``replaced`` may mean that the row supersedes an older one: see the class."""
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
            if not _is_statistics_error(error):
                raise
            values = [sql.literal(value) for value in row.values()]
            self._rewrite(
                cursor, target, list(row), values, exp.select("1").subquery("q"), exp.false(), uuid.uuid4().hex
            )

    # ------------------------------------------------------------------------------------------------ sessions, errors

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        """Yield a cursor in autocommit mode."""
        with self._classified_errors():
            connection = self._connect()
            session = connection._client_session
            session.properties = self._properties | session.properties
            cursor = self._cursor(connection)
            try:
                if self._is_first:
                    self._is_first = False
                    self._cancel_earlier_tries(cursor)
                yield cursor
            finally:
                self._cursors.pop(cursor, None)
                with suppress(Exception):
                    cursor.close()
                with suppress(Exception):
                    connection.close()

    def _connect(self) -> Any:
        """Return the hook's own connection, with the task in its client tags.

        It is in autocommit mode even if the Airflow connection is configured otherwise: most connectors do not support
        writes in a transaction.

        :raises InputError: the Airflow connection lacks what is needed to log in.
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
        """Return a cursor that :meth:`cancel` knows.

        :param raw: return values as they are in the JSON response, not converted to Python types.
        """

        def report(stats: Mapping[str, object]) -> None:
            self._report_query(cursor)

        try:
            cursor = connection.cursor(legacy_primitive_types=raw, stats_callback=report)
        except TypeError:  # an older client without stats_callback
            cursor = connection.cursor(legacy_primitive_types=raw)
        self._cursors[cursor] = False
        return cursor

    def _report_query(self, cursor: Any) -> None:
        """Report the URL of a cursor's query, once."""
        url = cursor.info_uri
        if url and url != self.query_url and self._cursors.get(cursor):
            self.query_url = url
            if self.on_query is not None:
                self.on_query(url)

    @cached_property
    def _task(self) -> _Task | None:
        return _Task.current()

    def _commented(self, text: str) -> str:
        """Return a statement that starts with the comment of its task and try."""
        if self._task is None or self._task.comment is None:
            return text
        return f"{self._task.comment}{self._task.attempt} */ {text}"

    def _fetch_text(self, cursor: Any, text: str, *, user_rows: bool = True) -> list[dict[str, object]]:
        self._cursors[cursor] = user_rows
        try:
            found = super()._fetch_text(cursor, self._commented(text))
        except Exception as error:
            # Everything but the table's statistics is written: failing here would insert the rows a second time.
            reason = first_line(error)
            if not (_error_name(error) == "HIVE_METASTORE_ERROR" and reason.startswith(_ONLY_STATISTICS_FAILED)):
                raise
            log.warning("The Hive metastore did not accept the table statistics: %s", reason)
            found = []
        self._report_query(cursor)
        return found

    def _fetch(self, cursor: Any, template: str, **params: object) -> list[dict[str, object]]:
        text = sql.render(template, self.dialect, **params)
        return self._fetch_text(cursor, text, user_rows=template in _ROW_TEMPLATES)

    def _batches(self, cursor: Any, text: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield batches built from the raw JSON values, which is much faster than the client's type conversion.

        The next batch is fetched in the background.
        """
        raw = self._cursor(cursor.connection, raw=True)
        self._cursors[raw] = True
        try:
            raw.execute(self._commented(text))
            with ThreadPoolExecutor(1) as pool:
                coming = pool.submit(lambda: list(islice(raw, batch_rows)))
                while rows := coming.result():
                    coming = pool.submit(lambda: list(islice(raw, batch_rows)))
                    yield _from_json(rows, schema)
            self._report_query(raw)
        finally:
            self._cursors.pop(raw, None)
            with suppress(Exception):
                raw.close()

    @contextmanager
    def _classified_errors(self) -> Iterator[None]:
        """Distinguish an unreachable server, a rejected login and a faulty statement.

        :raises BusyError: the server is down, starting, stopping, overloaded, or was restarted during a query; or the
            query was cancelled.
        :raises InputError: the server rejects the login, or its certificate is not trusted.
        """
        import requests
        from trino.exceptions import HttpError, OperationalError, TrinoConnectionError, TrinoQueryError

        name = self.hook.get_conn_id()
        try:
            yield
        except TrinoQueryError as error:
            if error.error_name in _TRANSIENT:
                raise BusyError(f"Trino (connection {name}) aborted the query: {first_line(error)}") from error
            raise
        except (HttpError, OperationalError, TrinoConnectionError, requests.RequestException) as error:
            reason = first_line(error)
            if re.search(r"\berror 40[13]\b", reason):
                raise InputError(f"Trino rejected the login of the connection {name}: {reason}") from error
            if "CERTIFICATE_VERIFY_FAILED" in reason or "WRONG_VERSION_NUMBER" in reason:
                raise InputError(f"TLS to Trino failed (connection {name}): {reason}") from error
            raise BusyError(f"Trino (connection {name}) cannot be reached, or went away: {reason}") from error

    @contextmanager
    def _explained(self, *sources: str | Query) -> Iterator[None]:
        tables = " and ".join(source for source in sources if isinstance(source, str))
        what = f"Trino rejected the query on {tables}" if tables else "Trino rejected the query"
        with self._writing(what), super()._explained(*sources):
            try:
                yield
            except Exception as error:
                # Skip the check whether the table exists: it would be denied as well.
                if _error_name(error) != "PERMISSION_DENIED" or len(sources) != 1 or not tables:
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
                f"{error}. This user may not set session properties of the catalog: set "
                "hive.timestamp-precision=MICROSECONDS in the catalog's configuration."
            ) from error.__cause__

    def _admit(self, cursor: Any, text: str) -> None:
        """Validate with EXPLAIN, which accepts exactly one statement and reports its errors."""
        self._fetch_text(cursor, f"EXPLAIN (TYPE VALIDATE)\n{text}", user_rows=False)

    def _is_conflict(self, error: Exception) -> bool:
        return isinstance(error, _Conflict) or _error_name(error) in _CONFLICTS

    @contextmanager
    def _plain_session(self) -> Iterator[Any]:
        """Yield a cursor of a session without our session properties, to find out which ones to set."""
        with self._classified_errors():
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
        """The connector of each catalog that this user sees."""
        with self._login_errors(), self._plain_session() as cursor:
            found = self._fetch(cursor, "catalogs")
        return {str(row["catalog_name"]): str(row["connector_name"]) for row in found}

    @property
    def _properties(self) -> dict[str, str]:
        """The session properties: by default, Hive tables only keep milliseconds.

        Column statistics are not written: Hive 4's metastore stores those of timestamps in a form that Trino cannot
        read, and then every further INSERT fails.
        """
        return self._session_defaults[0]

    @cached_property
    def _home(self) -> dict[str, str]:
        return self._session_defaults[1]

    @cached_property
    def _session_defaults(self) -> tuple[dict[str, str], dict[str, str]]:
        """The session properties, and the current catalog and schema: one query finds out both.

        If only administrators may set a catalog's properties (``hive.security=sql-standard``), setting one would make
        every query fail, even on other catalogs. No property is set for such a catalog: its configuration must set
        them.
        """
        hive = {catalog for catalog, connector in self._connectors.items() if connector == "hive"}
        wanted = {"timestamp_precision": "MICROSECONDS", "collect_column_statistics_on_write": "false"}
        with self._login_errors(), self._plain_session() as cursor:
            session = cursor.connection._client_session
            own = session.properties
            while True:
                properties = {f"{catalog}.{name}": value for catalog in sorted(hive) for name, value in wanted.items()}
                session.properties = properties | own
                try:
                    (row,) = self._fetch(cursor, "current_schema")
                except Exception as error:
                    refused = _PROPERTY_DENIED.search(first_line(error))
                    if refused is None or not hive:
                        raise
                    log.info("Trino does not let this user set session properties: %s", first_line(error))
                    hive -= {refused[1]} if refused[1] in hive else hive
                else:
                    return properties, {key: str(value) for key, value in row.items()}

    def _login_errors(self) -> AbstractContextManager[None]:
        return self._writing(f"Trino denies access to the user of the connection {self.hook.get_conn_id()}")

    def _connector(self, table: exp.Table) -> str:
        return self._connectors.get(table.catalog.lower(), "")

    def _is_in_snapshots(self, table: exp.Table) -> bool:
        return self._connector(table) in _SNAPSHOTS

    def _cancel_earlier_tries(self, cursor: Any) -> None:
        """Cancel queries that earlier tries of this task left running."""
        if self._task is None or self._task.comment is None:
            return
        comment = self._task.comment
        for row in self._fetch(cursor, "running_before", comment=comment, start=len(comment) + 1):
            attempt = str(row["attempt"]).partition(" ")[0]
            if attempt.isdigit() and int(attempt) < int(self._task.attempt):
                self._cancel_query(cursor, row["query_id"])

    def _cancel_queries_on(self, cursor: Any, *tables: exp.Table) -> None:
        """Cancel abandoned queries on tables of ours that are about to be recreated."""
        for table in tables:
            for row in self._fetch(cursor, "running", name=table.name):
                self._cancel_query(cursor, row["query_id"])

    def _cancel_query(self, cursor: Any, query_id: object) -> None:
        """Cancel a query as its owner, which is always allowed; ``kill_query`` requires a privilege."""
        log.warning("Cancelling query %s, left by an earlier attempt.", query_id)
        request = cursor._request
        answer = request.delete(request.get_url(f"/v1/query/{query_id}"))
        if not answer.ok and answer.status_code not in (404, 410):  # it has already ended
            log.warning("Could not cancel query %s: %s %s", query_id, answer.status_code, answer.text[:200])

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
        """Return None if a table or view of that name exists, else the error name, which tells what is missing."""
        try:
            self._fetch(cursor, "probe", table=table)
        except Exception as error:
            if (name := _error_name(error)) in _MISSING:
                return name
            if name in ("VIEW_IS_STALE", "VIEW_IS_RECURSIVE", "INVALID_VIEW"):
                return None
            raise
        return None

    def _found(self, cursor: Any, table: exp.Table) -> bool:
        return self._probe(cursor, table) is None

    def _missing(self, table: str) -> str:
        wanted = self._qualified(table)
        near: str | None = None
        with suppress(Exception), self._session() as cursor:
            near = closest(wanted.name, self._tables_in_schema(cursor, wanted))
        hint = f" (did you mean {wanted.db}.{near}?)" if near else ""
        return f"There is no table {table} in this warehouse{hint}."

    def _tables_in_schema(self, cursor: Any, table: exp.Table) -> dict[str, str]:
        """Return the names and kinds of the tables and views in a table's schema."""
        tables = table_of(table.catalog, "information_schema", "tables")
        found = self._fetch(cursor, "tables_of_schema", tables=tables, schema=table.db.lower())
        return {str(row["table_name"]): str(row["table_type"]) for row in found}

    def _create_schema(self, cursor: Any, table: exp.Table) -> None:
        # Check first: CREATE SCHEMA IF NOT EXISTS requires a privilege that many users lack, even if the schema exists.
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
            raise _Conflict(f"another session changed the columns of {table.name} at the same time")

    def _create_missing(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        """Create a missing table, unless it is missing because a load is about to publish it."""
        self._create_schema(cursor, table)
        if not self._is_in_snapshots(table):
            self._recover(cursor, table, self._tables_in_schema(cursor, table), "")
            if not self._steps(cursor, table, swap.may_create(table.name.lower())):
                return
        self._run(cursor, "create_table", table=table, columns=columns)

    def _widen(self, cursor: Any, table: exp.Table, kinds: Mapping[str, str]) -> None:
        """Add missing columns by rewriting the table: the memory connector fails to read added columns."""
        from sqlglot import exp

        present = self._columns(cursor, table)
        folded = {name.lower() for name in present}
        missing = {name: kind for name, kind in kinds.items() if name.lower() not in folded}
        if not missing:
            return
        version = self._version(cursor, table)
        new = self._new(table, version)
        tag = _tag(table, new, self._load_of(table, uuid.uuid4().hex))
        items: list[Any] = [exp.column(exp.to_identifier(name, quoted=True)) for name in present]
        items += [exp.alias_(_typed(exp.null(), kind), name, quoted=True) for name, kind in missing.items()]
        try:
            self._run_tagged(cursor, "create_marked_as", tag, table=new, source=table, items=items)
            self._publish(cursor, table, new, expected=version)
        except BaseException:
            self._discard(table, new)
            raise

    def _kinds(self, table: exp.Table, columns: Mapping[str, str]) -> dict[str, str]:
        """Return the types of columns in a table of ours, in DuckDB's spelling with Trino's precision.

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
            raise InputError(
                f"The column {name!r} is {kind}, but Trino's decimals have at most 38 digits: cast it in a query."
            )
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
            # ORDER BY refers to the selected columns; of their types, only BLOB does not fit into JSON.
            for column in [item for item in order.find_all(exp.Column) if columns[item.name] == "BLOB"]:
                column.replace(exp.Anonymous(this="TO_HEX", expressions=[column.copy()]))
        if self._external is None:
            import pyarrow as pa

            try:
                rows = super()._unload(cursor, query, columns, path, batch_rows)
            except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
                raise _columns_changed(error) from error
        else:
            rows = self._unload_files(cursor, query.copy(), columns, path.parent, batch_rows)
        if not rows and self._count(cursor, query.subquery("q")):
            raise BusyError("Trino returned no rows of a table that has rows: it was being replaced.")
        return rows

    def _unload_files(
        self, cursor: Any, query: exp.Select, columns: Mapping[str, str], directory: Path, batch_rows: int
    ) -> int:
        """Have Trino write Parquet files to staging, through an external table, and move them here."""
        from airflow_provider_automl.warehouse.types import arrow_schema

        schema = arrow_schema(columns)
        with self._staged(cursor, str(directory.absolute()), columns) as (external, shared):
            source = query.subquery("q", copy=False)
            try:
                written = self._fetch(cursor, "append", table=external, columns=list(columns), source=source)
            except Exception as error:
                if _error_name(error) == "TYPE_MISMATCH":
                    raise _columns_changed(error) from error
                if _is_write_error(error):
                    raise BusyError(f"Trino cannot write to {shared.uri}: {_reason(error)}") from error
                raise
            files = shared.take(directory)
        arrived = _conform(files, schema, directory, batch_rows)
        if written and arrived != written[0]["rows"]:
            raise InputError(
                f"Trino wrote {written[0]['rows']} rows to {shared.uri}, but this worker finds {arrived} of them "
                "there: use a staging location that both can reach under that name."
            )
        return arrived

    @cached_property
    def _external(self) -> exp.Table | None:
        """A placeholder table in the schema for external tables over staged files; None if there is no such schema."""
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
        """Return the external table over the staged files of a key."""
        assert self._external is not None
        return self._sibling(self._external, f"automl_files_{_digest(f'{self.staging} {key}')[:32]}")

    @contextmanager
    def _staged(
        self, cursor: Any, key: str, columns: Mapping[str, str], files: Sequence[Path] = ()
    ) -> Iterator[tuple[exp.Table, Any]]:
        """Yield an external table over a staging directory that has these files, and the directory."""
        from airflow_provider_automl.warehouse.exchange import Exchange

        assert self.staging is not None
        external = self._files_table(key)
        tag = _OwnershipTag(external.name, external.name[-32:-24], external.name[-24:-8], datetime.now(UTC))
        self._cancel_queries_on(cursor, external)
        with Exchange(self.staging).directory(key) as shared:
            shared.put(list(files))
            self._create_schema(cursor, external)
            self._drop_orphaned_files_tables(cursor, external, tag.load)
            kinds = self._kinds(external, columns)
            try:
                self._run_tagged(cursor, "files", tag, table=external, columns=kinds, location=shared.uri + "/")
            except Exception as error:
                if _error_name(error) is None or _error_name(error) in _TRANSIENT:
                    raise
                raise InputError(
                    f"Trino cannot use the staging location {self.staging} through its catalog {external.catalog}: "
                    f"{_reason(error)}. This worker created {shared.uri}: Trino's servers must reach it by that name."
                ) from error
            try:
                yield external, shared
            finally:
                with suppress(Exception):
                    self._run(cursor, "drop_table", table=external)

    # ------------------------------------------------------------------------------------------------ rows in

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        from airflow_provider_automl.warehouse.types import neutral_columns

        columns = neutral_columns(parquet_schema(files))
        kinds = self._kinds(target, columns)
        load = self._load_of(target, key or uuid.uuid4().hex)
        new = self._new(target)
        tag = _tag(target, new, load)

        def prepare(cursor: Any) -> None:
            if key and self._external is not None:
                self._cancel_queries_on(cursor, self._files_table(f"{target.sql()} {load}"))
            self._create_schema(cursor, target)
            siblings = self._tables_in_schema(cursor, target)
            if "VIEW" in siblings.get(target.name.lower(), ""):
                raise InputError(f"The table {target.db}.{target.name} cannot be written: it is a view.")
            self._recover(cursor, target, siblings, load)

        def publish(cursor: Any, source: exp.Table, items: list[exp.Expression]) -> None:
            if mode == "append":
                with self._conflict_if_gone(target):
                    self._append_rows(cursor, target, columns, source, items, delete_where, load)
            elif self._is_in_snapshots(target):
                template = "create_as" if mode == "error" else "replace"
                self._run(cursor, template, table=target, source=source, items=items)
            else:
                self._publish(cursor, target, new, replace=mode != "error")

        self._write(prepare)
        try:
            with self._incoming(files, columns, kinds, target, new, tag) as (source, items, rows):
                swapped = mode != "append" and not self._is_in_snapshots(target)
                if source is not new and swapped:
                    with self._session(write=True) as cursor:
                        self._run_tagged(cursor, "create_marked_as", tag, table=new, source=source, items=items)
                log.info("Publishing %d rows as %s.%s", rows, target.db, target.name)
                self._write(lambda cursor: publish(cursor, source, items))
        except BaseException:
            self._discard(target, new)
            raise
        if source is new and not swapped:
            self._discard(target, new)
        return rows

    @contextmanager
    def _incoming(
        self,
        files: list[Path],
        columns: dict[str, str],
        kinds: dict[str, str],
        target: exp.Table,
        new: exp.Table,
        tag: _OwnershipTag,
    ) -> Iterator[tuple[exp.Table, list[Any], int]]:
        """Yield a table with the files' rows, the expressions to select from it for the target, and the row count."""
        from sqlglot import exp

        from airflow_provider_automl.warehouse.types import arrow_schema

        names = [exp.column(exp.to_identifier(name, quoted=True)) for name in columns]
        if self._external is None:
            with self._session(write=True) as cursor:
                self._run_tagged(cursor, "create_marked", tag, table=new, columns=kinds)
                rows = self._insert(cursor, new, list(columns), parquet_batches(files))
                if (found := self._arrived(cursor, new)) != rows:
                    raise BusyError(
                        f"Trino finds {found} of {rows} rows in {new.db}.{new.name}: another process may be running "
                        "the same load at the same time."
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
            with self._staged(cursor, f"{target.sql()} {tag.load}", columns, readable) as (external, shared):
                if (found := self._arrived(cursor, external)) != rows:
                    raise InputError(
                        f"Trino finds {found} of {rows} rows in {shared.uri}, where this worker wrote them: use a "
                        "staging location that both can reach under that name."
                    )
                yield external, items, rows

    def _arrived(self, cursor: Any, table: exp.Table) -> int:
        """Return the row count of a table of ours; the reported query URL stays that of the write."""
        (row,) = self._fetch_text(cursor, sql.render("count", self.dialect, source=table), user_rows=False)
        return int(str(row["n"]))

    def _insert(self, cursor: Any, table: exp.Table, columns: list[str], batches: Iterator[pa.RecordBatch]) -> int:
        """Insert with statements of as many rows as fit.

        The rows of a statement are one literal, a JSON array of texts that the statement casts: Trino plans that twenty
        times faster than one row constructor per row.
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
                limit = _STATEMENT_BYTES - len(head.encode())
            for row in _rows_as_json(batch):
                length = len(row.encode()) + row.count("'") + 1
                if length > limit:
                    raise InputError(
                        f"A row of {length} bytes does not fit into one statement, which Trino limits to a million "
                        "characters: set a staging location in the connection, so that rows are exchanged as files."
                    )
                if size + length > limit:
                    flush()
                    size = 0
                waiting.append(row)
                size += length
            total += batch.num_rows
        if waiting:
            flush()
        return total

    # ------------------------------------------------------------------------------------------------ publishing

    def _new(self, target: exp.Table, version: str | None = None) -> exp.Table:
        """Return an unused name for a staging table.

        :param version: of the target, if the table is made from it.
        """
        return self._sibling(target, swap.new_name(self._prefix(target), target.name.lower(), version))

    def _prefix(self, target: exp.Table) -> str:
        return self._staging(target, "").name[:-16].lower()

    def _load_of(self, target: exp.Table, key: str) -> str:
        """Return the digest of a load, by its key."""
        return self._staging(target, key).name[-16:]

    def _create_staging(
        self, cursor: Any, target: exp.Table, staging: exp.Table, columns: Mapping[str, str], load: str
    ) -> None:
        """Create an empty staging table of a load."""
        self._run_tagged(cursor, "create_marked", _tag(target, staging, load), table=staging, columns=columns)

    def _publish(
        self, cursor: Any, target: exp.Table, new: exp.Table, *, replace: bool = True, expected: str | None = None
    ) -> None:
        """Replace the target with a staging table; in case of an error, :meth:`_discard` has to be called.

        :param expected: the target's :meth:`_version` when the staging table was made from it.
        :raises _Conflict: the target is no longer that version.
        """
        tagged = target.catalog.lower() not in self._without_comments
        steps = swap.publish(target.name.lower(), new.name, replace=replace, tagged=tagged)
        try:
            self._steps(cursor, target, steps)
        except swap.Changed as error:
            raise _Conflict(f"another session wrote to {target.name}") from error
        except swap.TargetExists:
            self._refuse_existing(cursor, target)
            raise _Conflict(f"another session created {target.name} for a moment") from None
        except Exception as error:
            if self._connector(target) != "hive" or not _RENAME_UNSUPPORTED.search(first_line(error)):
                raise
            log.info("The catalog %s does not support RENAME TABLE (%s).", target.catalog, first_line(error))
            self._publish_over(cursor, target, new, expected)

    def _steps(self, cursor: Any, target: exp.Table, steps: swap.Steps) -> Any:
        return swap.run(steps, partial(self._do, cursor, target))

    def _do(self, cursor: Any, target: exp.Table, step: swap.Step) -> Any:
        """Do a step of publishing a target. Its names are those of tables in the target's schema."""
        match step:
            case swap.Exists(name):
                return self._found(cursor, self._sibling(target, name))
            case swap.Names():
                return self._own_names(cursor, target, self._tables_in_schema(cursor, target))
            case swap.ReadTag(name):
                tag = self._tag_of(cursor, self._sibling(target, name))
                return tag and swap.Tag(tag.name, tag.target, tag.load, tag.created)
            case swap.Version(name):
                table = self._sibling(target, name)
                with suppress(_Conflict), self._conflict_if_gone(table):
                    return self._version(cursor, table)
            case swap.Rename(name, to):
                return self._rename(cursor, self._sibling(target, name), self._sibling(target, to))
            case swap.Drop(name):
                with suppress(_Conflict), self._conflict_if_gone(self._sibling(target, name)):
                    self._run(cursor, "drop_table", table=self._sibling(target, name))
            case swap.Now():
                return datetime.now(UTC)
            case swap.Pause():
                time.sleep(random.uniform(0.02, 0.3))
            case swap.EndQueries(name):
                self._cancel_queries_on(cursor, self._sibling(target, name))
        return None

    def _own_names(self, cursor: Any, target: exp.Table, siblings: Iterable[str]) -> tuple[str, ...]:
        """Return the names beside a target that may be those of its staging tables and backups.

        Without backing tables, and the copies that are made for them: see :meth:`_publish_over`.
        """
        names = self._names_beside(target, siblings)
        others = self._backing_names(cursor, target, names)
        return tuple(name for name in names if name not in others)

    def _names_beside(self, target: exp.Table, siblings: Iterable[str]) -> tuple[str, ...]:
        """Return those of a schema's names that look like a target's staging tables and backups."""
        pattern = re.compile(re.escape(self._prefix(target)) + r"\w{16}(_old|_undone)?")
        return tuple(sorted(name for name in siblings if pattern.fullmatch(name)))

    def _backing_names(self, cursor: Any, target: exp.Table, names: tuple[str, ...]) -> set[str]:
        """Return those of the names that are of backing tables, and of copies of tables that they replace."""
        if self._connector(target) != "hive":
            return set()
        tags = {name: self._tag_of(cursor, self._sibling(target, name)) for name in names}
        backing = {name for name, tag in tags.items() if tag is not None and tag.is_backing}
        copies = {name for name, tag in tags.items() if tag is not None and swap.old(tag.name) == name}
        return backing | copies | {swap.old(name) for name in backing}

    def _publish_over(self, cursor: Any, target: exp.Table, new: exp.Table, expected: str | None) -> None:
        """Recreate the target as an external table over the new table's files, where RENAME TABLE is not supported."""
        from sqlglot import exp

        old = None
        if self._found(cursor, target):
            version = self._version(cursor, target) if expected is None else expected
            old = self._backing_table(cursor, target)
            if old is None:  # a managed table, whose files are deleted with it
                old = self._sibling(target, swap.old(new.name))
                tag = self._tag_of(cursor, new)
                items = [exp.column(exp.to_identifier(name, quoted=True)) for name in self._columns(cursor, target)]
                self._run_tagged(cursor, "create_marked_as", tag, table=old, source=target, items=items)
            if self._version(cursor, target) != version:
                if old.name == self._sibling(target, swap.old(new.name)).name:
                    self._drop_backup(cursor, old)
                raise _Conflict(f"another session wrote to {target.name}")
            self._tag_as_backing(cursor, new)
            self._run(cursor, "drop_table", table=target)
        elif expected is not None:
            raise _Conflict(f"another session dropped {target.name}")
        try:
            self._create_over(cursor, target, new)
        except BaseException:
            if (before := old) is not None:
                self._restore(cursor, target, before, lambda: self._create_over(cursor, target, before))
            raise
        if old is not None:
            self._drop_backup(cursor, old)

    def _create_over(self, cursor: Any, target: exp.Table, backing: exp.Table) -> None:
        """Create the target as an external table over a backing table's files; without files, as an empty table."""
        paths = self._fetch(cursor, "paths", table=backing)
        if not paths:
            self._run(cursor, "create_like", table=target, source=backing)
            return
        tag = self._tag_as_backing(cursor, backing)
        location = str(paths[0]["path"]).rpartition("/")[0] + "/"
        self._run_tagged(cursor, "create_over", tag, table=target, source=backing, location=location)

    def _tag_as_backing(self, cursor: Any, backing: exp.Table) -> _OwnershipTag:
        """Tag a table of ours as the backing table of its target."""
        tag = self._tag_of(cursor, backing)
        assert tag is not None
        tag = replace(tag, name=backing.name, created=datetime.now(UTC), is_backing=True)
        self._run(cursor, "mark", table=backing, mark=str(tag))
        return tag

    def _restore(self, cursor: Any, target: exp.Table, backup: exp.Table, action: Callable[[], object]) -> None:
        """Restore the old table; drop it instead if another session has published in the meantime.

        An empty table without a tag was not published: a session that was about to append created it while there was
        no table.

        :param action: restores the table.
        """
        try:
            try:
                action()
            except Exception as error:
                if not self._is_conflict(error) or self._tag_of(cursor, target) or self._count(cursor, target):
                    raise
                self._run(cursor, "drop_table", table=target)
                action()
        except Exception as error:
            if self._is_conflict(error) and self._found(cursor, target):
                self._drop_backup(cursor, backup)
            else:
                log.warning("Could not restore %s from its backup %s: %s", target.name, backup.name, first_line(error))

    def _drop_backup(self, cursor: Any, backup: exp.Table) -> None:
        """Drop a table that has been replaced. The new rows are published, so a failure is only logged."""
        try:
            self._run(cursor, "drop_table", table=backup)
        except Exception as error:
            log.warning("Could not drop %s, a backup of replaced rows: %s", backup.name, first_line(error))

    def _discard(self, target: exp.Table, new: exp.Table) -> None:
        """Undo a load that failed, or drop its staging table, in a new session; not the target's backing table."""
        try:
            with self._session(write=True) as cursor:
                backing = self._backing_table(cursor, target) if self._connector(target) == "hive" else None
                if backing is None or backing.name != new.name:
                    self._steps(cursor, target, swap.discard(target.name.lower(), new.name))
        except Exception as error:
            log.warning("Could not drop the staging table %s: %s", new.name, first_line(error))

    def _backing_table(self, cursor: Any, target: exp.Table) -> exp.Table | None:
        """Return the backing table of a target of ours; None if it has none."""
        tag = self._tag_of(cursor, target)
        if tag is None or not tag.is_backing:
            return None
        backing = table_of(target.catalog, target.db, tag.name)
        own = self._tag_of(cursor, backing)
        return backing if own is not None and own.is_backing else None

    def _tag_of(self, cursor: Any, table: exp.Table) -> _OwnershipTag | None:
        """Return the ownership tag in a table's comment; None if it has none."""
        names = {"catalog": table.catalog.lower(), "schema": table.db.lower(), "name": table.name.lower()}
        found = self._fetch(cursor, "marks", **names)
        return next((_OwnershipTag.of(str(row["comment"] or "")) for row in found), None)

    def _run_tagged(self, cursor: Any, template: str, tag: _OwnershipTag | None, **params: object) -> None:
        """Create a table with an ownership tag; without one if the connector does not support comments."""
        from sqlglot import exp

        statement = sql.statement(template, self.dialect, mark=str(tag or ""), **params)
        try:
            self._fetch_text(cursor, sql.to_text(statement, self.dialect), user_rows=template in _ROW_TEMPLATES)
        except Exception as error:
            if _error_name(error) != "NOT_SUPPORTED" or "comment" not in first_line(error):
                raise
            self._without_comments.add(params["table"].catalog.lower())  # type: ignore[attr-defined]
            for comment in list(statement.find_all(exp.SchemaCommentProperty)):
                comment.pop()
            self._fetch_text(cursor, sql.to_text(statement, self.dialect), user_rows=template in _ROW_TEMPLATES)

    def _recover(self, cursor: Any, target: exp.Table, siblings: Iterable[str], load: str) -> None:
        """Finish or undo what killed loads of a target left, and drop their tables.

        :param siblings: the names in the target's schema.
        :param load: the digest of the load that begins: earlier tables with the same digest are orphaned.
        """
        names = self._names_beside(target, siblings)
        if not names:
            return
        others = self._backing_names(cursor, target, names)
        others |= {name for name in names if not swap.belongs(name, target.name.lower())}
        self._recover_others(
            cursor, target, {name: self._sibling(target, name) for name in names if name in others}, load
        )
        self._steps(cursor, target, swap.recover(target.name.lower(), load))

    def _recover_others(self, cursor: Any, target: exp.Table, found: Mapping[str, exp.Table], load: str) -> None:
        """As :meth:`_recover`, for backing tables, and for tables of the first version, whose names tell nothing.

        Tables are ours by name and tag. A backup may have the comment of its user: it is ours if the table that was to
        replace it is. Tables of loads that may still run are left alone.
        """
        if not found:
            return
        digest = _digest(target.name)[:8]
        tags = {name: self._tag_of(cursor, table) for name, table in found.items()}
        ours = {name: tag for name, tag in tags.items() if tag is not None and tag.target == digest}
        backups = [name for name in found if name.endswith("_old") and {name, name.removesuffix("_old")} & ours.keys()]
        if not self._found(cursor, target):
            backings = sorted((tag.created, name) for name, tag in ours.items() if tag.is_backing)
            if len(backings) + len(backups) > 1 and backings:
                self._create_over(cursor, target, found[backings[-1][1]])
            elif backups:
                self._rename(cursor, found[backups[0]], target)
            else:
                backings = []
            if backings or backups:
                log.warning("A load of %s was killed while publishing: restored its backup.", target.name)
        exists = self._found(cursor, target)
        current = self._tag_of(cursor, target)
        for name, table in found.items():
            tag = ours.get(name)
            if current is not None and name == current.name and (current.is_backing or tag is None):
                continue
            base = name.removesuffix("_old")
            if tag is not None and tag.is_backing:
                orphaned = current is not None and current.is_backing
            elif base != name:
                # The list of names is not atomic: a backup is only orphaned if the target exists now.
                # The backup's own tag is of the load that wrote it, not of the load that replaced it.
                replaced = current is not None and base == current.name
                stale = (base in ours and ours[base].is_orphaned(load)) or (tag is not None and tag.is_orphaned(load))
                orphaned = exists and (replaced or stale)
            else:
                orphaned = tag is not None and tag.is_orphaned(load)
            if orphaned:
                self._cancel_queries_on(cursor, table)
                self._run(cursor, "drop_table", table=table)

    def _sibling(self, table: exp.Table, name: str) -> exp.Table:
        return table_of(table.catalog, table.db, name)

    def _drop_orphaned_files_tables(self, cursor: Any, external: exp.Table, load: str) -> None:
        """Drop the external tables over staged files that killed processes left."""
        for name in self._tables_in_schema(cursor, external):
            if re.fullmatch(r"automl_files_\w{32}", name):
                table = self._sibling(external, name)
                tag = self._tag_of(cursor, table)
                if tag is not None and tag.name == name and tag.is_orphaned(load):
                    self._run(cursor, "drop_table", table=table)

    def _rename(self, cursor: Any, table: exp.Table, name: exp.Table) -> bool:
        """Rename a table; return whether it was done: not if it is missing, the other exists, or others rename it."""
        try:
            self._run(cursor, "rename_table", table=table, name=name)
        except Exception as error:
            reason = first_line(error)
            if _RENAME_UNSUPPORTED.search(reason):
                raise
            if _error_name(error) in _MISSING | _CONFLICTS:
                return False
            if self._found(cursor, name) or not self._found(cursor, table):
                return False
            if _error_name(error) not in ("HIVE_METASTORE_ERROR", "JDBC_ERROR"):
                raise
            log.warning("Could not rename %s to %s: %s", table.name, name.name, reason)
            return False
        return True

    @contextmanager
    def _conflict_if_gone(self, table: exp.Table) -> Iterator[None]:
        """Raise a conflict if a table that existed a moment ago is gone, or its files are."""
        try:
            yield
        except Exception as error:
            if _error_name(error) in ("TABLE_NOT_FOUND", "NOT_FOUND", "HIVE_FILE_NOT_FOUND", "HIVE_CANNOT_OPEN_SPLIT"):
                raise _Conflict(f"another session renamed {table.name}") from error
            raise

    def _version(self, cursor: Any, table: exp.Table) -> str:
        """Return a fingerprint that changes with a table's rows: the names of its files, else its row count."""
        if self._connector(table) != "hive":
            return str(self._count(cursor, table))
        found = self._fetch(cursor, "paths", table=table)
        return json.dumps(sorted(str(row["path"]).rpartition("/")[2] for row in found))

    def _append_rows(
        self,
        cursor: Any,
        target: exp.Table,
        columns: Mapping[str, str],
        source: exp.Table,
        items: list[exp.Expression],
        delete_where: Mapping[str, object],
        load: str,
    ) -> None:
        from sqlglot import exp

        self._create_table(cursor, target, columns)
        if not delete_where or not self._counts(cursor, target, delete_where)[0]:
            try:
                self._run(cursor, "insert_from", table=target, columns=list(columns), items=items, source=source)
            except Exception as error:
                if not _is_statistics_error(error):
                    raise
                self._rewrite(cursor, target, list(columns), items, source, exp.false(), load)
        elif self._is_in_snapshots(target):
            self._merge(cursor, target, list(columns), items, source, delete_where)
        else:
            self._rewrite(cursor, target, list(columns), items, source, delete_where, load)

    def _rewrite(
        self,
        cursor: Any,
        target: exp.Table,
        columns: list[str],
        items: Sequence[exp.Expression],
        source: exp.Expression,
        condition: object,
        load: str,
    ) -> None:
        """Rewrite a table without the rows that a condition matches, plus those of a source, and publish it."""
        from sqlglot import exp

        version = self._version(cursor, target)
        merged = self._new(target, version)
        tag = _tag(target, merged, load)
        leaving, total = self._counts(cursor, target, condition)
        whole = self._columns(cursor, target)
        given = {name.lower(): item for name, item in zip(columns, items, strict=True)}
        everything = [exp.alias_(given.get(name.lower(), exp.null()).unalias(), name, quoted=True) for name in whole]
        try:
            self._run_tagged(
                cursor,
                "merged",
                tag,
                table=merged,
                columns=list(whole),
                target=target,
                condition=condition,
                items=everything,
                source=source,
            )
            expected = total - leaving + self._count(cursor, source)
            if (found := self._count(cursor, merged)) != expected:
                raise _Conflict(f"{target.name} was replaced while it was read: {found} rows instead of {expected}")
            self._publish(cursor, target, merged, expected=version)
        except BaseException:
            self._discard(target, merged)
            raise

    def _counts(self, cursor: Any, table: exp.Table, condition: object) -> tuple[int, int]:
        """Return how many rows of a table match a condition, and how many it has.

        A query that was planned before another session renamed the table may find no rows.
        """
        if isinstance(condition, Mapping):
            present = {name.lower() for name in self._columns(cursor, table)}
            if missing := [name for name in condition if name.lower() not in present]:
                raise InputError(f"The table {table.db}.{table.name} has no column {', '.join(missing)}.")
        (row,) = self._fetch(cursor, "count_where", source=table, condition=condition)
        matching, total = int(str(row["n"])), int(str(row["total"]))
        if not total and self._count(cursor, table):
            raise _Conflict(f"{table.name} was replaced while it was read")
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
        """In one snapshot, delete the rows that match a condition and insert a source's rows, or a row of literals."""
        from sqlglot import exp

        new = [f"automl_{i}" for i in range(len(columns))]
        rows = exp.select(*(exp.alias_(item.unalias(), name) for item, name in zip(items, new, strict=True)))
        rows = rows.select(exp.alias_("1", "automl_part"))
        if source is not None:
            rows = rows.from_(source)
        marker = exp.select(*(exp.alias_(exp.null(), name) for name in new), exp.alias_("0", "automl_part"))
        self._run(
            cursor,
            "merge",
            table=target,
            source=exp.union(rows, marker, distinct=False).subquery("s"),
            condition=dict(condition),
            columns=columns,
            values=new,
        )

    def _run(self, cursor: Any, template: str, **params: object) -> None:
        """Run a statement to completion: Trino's are not complete before their last page is read."""
        self._fetch(cursor, template, **params)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _tag(target: exp.Table, table: exp.Table, load: str) -> _OwnershipTag:
    return _OwnershipTag(table.name, _digest(target.name)[:8], load, datetime.now(UTC))


def _is_statistics_error(error: Exception) -> bool:
    """Return whether an INSERT failed because Trino cannot read Hive 4's statistics of a timestamp column."""
    return _error_name(error) == "HIVE_INVALID_METADATA" and "statistics" in first_line(error)


def _is_write_error(error: Exception) -> bool:
    """Return whether a statement failed because files cannot be written: no space, no permission."""
    name = str(_error_name(error))
    return name.startswith(("HIVE_WRITER", "HIVE_FILESYSTEM")) or (
        name == "GENERIC_INTERNAL_ERROR" and "IOException" in first_line(error)
    )


def _columns_changed(error: Exception) -> BusyError:
    return BusyError(f"Another session changed the columns while they were read: {first_line(error)}")


def _reason(error: Exception) -> str:
    """Return Trino's message, with that of the innermost cause if it differs."""
    message = first_line(error)
    info = getattr(error, "failure_info", None)
    while isinstance(info, dict) and info.get("cause"):
        info = info["cause"]
    inner = str(info.get("message") or "").splitlines()[0:1] if isinstance(info, dict) else []
    return f"{message} ({inner[0]})" if inner and inner[0] not in message else message


def _cancel(cursor: Any) -> None:
    """Have the server cancel a cursor's query, over a new connection: the cursor's may be in use, or locked."""
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


def _error_name(error: BaseException) -> str | None:
    """Return Trino's name of an error, such as TABLE_NOT_FOUND; None if it is not an error of a query."""
    name = getattr(error, "error_name", None)
    return name if isinstance(name, str) else None


def _schema_of(table: exp.Table) -> exp.Table:
    from sqlglot import exp

    return exp.Table(db=table.args["db"], catalog=table.args.get("catalog"))


def _readable(column: exp.Expression, kind: str) -> exp.Expression:
    """Return a column as a type that Parquet can store; timestamps with time zone are in UTC.

    :raises InputError: the type can neither be stored in Parquet nor cast to text.
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
        f"The column {column.name!r} is {kind}, which cannot be stored in Parquet: leave it out, or cast it to text in "
        "a query."
    )


def _typed(value: exp.Expression, kind: str, *, from_text: bool = False) -> exp.Expression:
    """Return a staged value (timestamps in UTC, without zone), or its text, as a column's type."""
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
    """Convert rows of Trino's JSON, where values that JSON numbers cannot express are text, and bytes are Base64."""
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
                    f"The column {field.name!r} has a value that {kind} cannot represent: {first_line(error)}. Leave "
                    "it out, or cast it to text in a query."
                ) from error
        else:
            array = pa.array(values, kind)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _rows_as_json(batch: pa.RecordBatch) -> Iterator[str]:
    """Yield each row as a JSON array of texts that Trino's CAST reads without loss."""
    from airflow_provider_automl.warehouse.types import cast_text, driver_rows

    for row in driver_rows(batch):
        yield json.dumps([cast_text(value) for value in row], ensure_ascii=False, separators=(",", ":"))


def _conform(files: list[Path], schema: pa.Schema, directory: Path, batch_rows: int) -> int:
    """Rewrite those of Trino's files that do not have the schema; return the number of rows.

    Parquet of the Hive connector has INT96 timestamps, no time zones, and lower-case names. If there are no files, an
    empty one is written.
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
