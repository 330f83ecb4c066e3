"""DuckDB: one file, written by one process at a time.

Each call opens and closes its own connection, and waits while another process holds the file lock. Within a process,
writes are serialized; readers open the file read-only, so that several processes can read at once.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_automl import sql
from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse.base import Capabilities, Mode, Warehouse, first_line
from airflow_provider_automl.warehouse.query import Query, framed_text

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook
    from duckdb import DuckDBPyConnection
    from sqlglot import exp

log = logging.getLogger(__name__)

_HOLDER = re.compile(r"held in (?P<command>.+?) \(PID (?P<pid>\d+)\)")
_LOG_EVERY = 30.0

# DuckDB's messages when a file cannot be opened: another process holds the lock; another thread of this process has it
# open in the other mode; another thread of this process is closing it.
_LOCKED = "Could not set lock"
_OTHER_MODE = "different configuration"
_CLOSING = "Unique file handle conflict"

# DuckDB's messages when a disk or quota is full; within JSON if a background thread wrote.
_DISK_FULL = re.compile(
    r"""[\\"]+(?P<path>[^"\\]+)[\\"]+: (?P<why>No space left on device|Disk quota exceeded|File too large)"""
)
# Out of memory because spilling to disk failed.
_NO_SPILL = re.compile("failed to offload|max_temp_directory_size|No space left on device")

# Memory limits, unless the connection sets one: DuckDB's default caches tables in up to 80 % of the machine's memory.
# Above the limit it spills to disk. Unloading and loading stream rows: they only need some buffers per thread, and are
# not slower with them.
_QUERY_MEGABYTES = 2048
_STREAM_MEGABYTES_PER_THREAD = 128

# Values per row group of the Parquet files: each thread holds one row group in memory.
_ROW_GROUP_VALUES = 4_000_000

# One lock per database file: concurrent transactions of one process on the same table would fail instead of waiting.
_writers: dict[str, threading.RLock] = {}
_writers_guard = threading.Lock()
# Sessions of one process on one file share their settings. By file: how many threads wait for other settings.
_settings_guard = threading.Lock()
_waiting: Counter[str] = Counter()
_THREAD = "another thread of this process"

# Types that Parquet lacks or does not round-trip, on their own or inside a nested type.
_AS_TEXT = re.compile(r"\b(UUID|INTERVAL|BIT|BIGNUM|TIMETZ|JSON|VARIANT|GEOMETRY|UNION)\b")

# An array's size in a type; quoted names and values are skipped.
_ARRAY = re.compile(r"""(?P<name>"(?:[^"]|"")*"|'(?:[^']|'')*')|\[\d+\]""")


class DuckDBWarehouse(Warehouse):
    """A DuckDB file. Loads and unloads use DuckDB's own Parquet reader and writer.

    **Publishing.** A load is one transaction: after a failure or kill, the old table is unchanged. The table is
    recreated: its indexes and constraints are lost; views, which refer to it by name, stay valid.

    **Types.** LIST, STRUCT and MAP stay nested, ARRAY becomes LIST, HUGEINT and UHUGEINT become DOUBLE. Types that
    Parquet lacks are read as text in DuckDB's format: UUID, INTERVAL, BIT, BIGNUM, TIMETZ, JSON, VARIANT, UNION, and
    nested types that contain one of them.

    **Isolation.** A session can access the database file and, while rows are unloaded or loaded, the one directory
    used for it: no other files, no network, no other databases. The settings are then locked for all sessions of this
    process on that file. Extensions and secrets of the connection are loaded before that, but cannot be used to reach
    anything outside. If tables or queries need files, object stores or MotherDuck, set ``"allow_external_access":
    true`` in the connection's extra: anyone who writes a query can then read whatever this process can read.
    """

    engine = "DuckDB"
    capabilities = Capabilities(ddl_transactional=True, atomic_replace=True, read_only=True, cancel=True)

    def __init__(self, hook: DbApiHook, *, dialect: str = "duckdb", lock_timeout: float = 600.0) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout)
        self._connections: set[DuckDBPyConnection] = set()

    def cancel(self) -> None:
        """Interrupt running statements."""
        for connection in list(self._connections):
            with suppress(Exception):
                connection.interrupt()

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        import duckdb

        lock = self._write_lock() if write else nullcontext()
        with lock, self._db_errors(), closing(self._connect(read_only=not write, directory=directory)) as connection:
            self._connections.add(connection)
            try:
                if write:
                    connection.begin()
                yield connection
                if write:
                    connection.commit()
            except duckdb.InterruptException as error:
                raise BusyError(f"DuckDB aborted the query: {first_line(error)}") from error
            finally:
                self._connections.discard(connection)

    @contextmanager
    def _db_errors(self) -> Iterator[None]:
        """Translate errors of a full disk or memory.

        :raises BusyError: a disk is full: that of the exchanged files, of the database or of the spill directory.
        :raises InputError: DuckDB's memory limit is exceeded.
        """
        import duckdb

        name = f"DuckDB (connection {self.hook.get_conn_id()})"
        try:
            yield
        except duckdb.Error as error:
            reason = str(error)
            if isinstance(error, duckdb.OutOfMemoryException) and not _NO_SPILL.search(reason):
                raise InputError(
                    f"{name} exceeded its memory limit ({first_line(error)}): leave out columns with large values, or "
                    'raise "memory_limit" in the extra of the connection.'
                ) from error
            if match := _DISK_FULL.search(reason):
                where = f"The disk is full where {name} writes {match['path']}"
                raise BusyError(f"{where}: {match['why']}; free some space and try again.") from error
            if isinstance(error, duckdb.OutOfMemoryException):
                raise BusyError(
                    f"{name} has no disk space to spill to ({first_line(error)}): free some space, or set another "
                    '"temp_directory" in the extra of the connection.'
                ) from error
            raise

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        path = str(Path(self._database()).resolve())
        with _writers_guard:
            lock = _writers.setdefault(path, threading.RLock())
        if not lock.acquire(timeout=self.lock_timeout):
            raise BusyError(
                f"Another thread of this process held the write lock of {path} for more than {self.lock_timeout:g} s."
            )
        try:
            yield
        finally:
            lock.release()

    def _database(self) -> str:
        database = cast("DuckDBHook", self.hook).get_database()
        if database in ("", ":memory:"):
            raise InputError(
                f"The DuckDB connection {self.hook.get_conn_id()} has no file, and an in-memory database does not "
                "outlive the task: set the connection's host to a path."
            )
        if database.startswith(("md:", "motherduck:")) and not self._allowed("allow_external_access"):
            raise InputError(
                f"The DuckDB connection {self.hook.get_conn_id()} is to a MotherDuck database, which requires network "
                'access: set "allow_external_access": true in its extra.'
            )
        return database

    def _connect(self, *, read_only: bool, directory: Path | None) -> DuckDBPyConnection:
        """Open the file, waiting while another process holds it; give the session access to one directory at most.

        :raises BusyError: the file was held for longer than ``lock_timeout``.
        """
        import duckdb

        hook = cast("DuckDBHook", self.hook)
        database = self._database()
        read_only = (read_only or hook.read_only) and Path(database).exists()
        started = time.monotonic()
        logged = -_LOG_EVERY
        pause = 0.02
        with _settings_guard:
            crowded = _waiting[database] > 0
        if crowded:  # let another thread of this process, which needs other settings, find the file closed
            time.sleep(0.05)
        while True:
            try:
                connection = duckdb.connect(database, read_only=read_only, config=hook.get_connect_config())
                if self._is_bounded(connection, directory):
                    return connection
                connection.close()
                holder = _THREAD
            except duckdb.Error as error:
                reason = str(error)
                if "No such file or directory" in reason:
                    message = f"The directory of the DuckDB file {database} does not exist: create it."
                    raise InputError(message) from error
                if _OTHER_MODE in reason and read_only and not hook.read_only:
                    read_only = False  # another thread of this process is writing: open the file in the same mode
                    continue
                if _OTHER_MODE in reason or _CLOSING in reason:
                    holder = _THREAD
                elif _LOCKED in reason:
                    match = _HOLDER.search(reason)
                    holder = f"process {match['pid']} ({match['command']})" if match else "another process"
                else:
                    raise
            waited = time.monotonic() - started
            if waited >= self.lock_timeout:
                raise BusyError(
                    f"The DuckDB file {database} was held by {holder} for more than {self.lock_timeout:g} s: "
                    "stop that process, or use a warehouse that supports concurrent writers."
                )
            if waited - logged >= _LOG_EVERY:
                logged = waited
                log.info("Waiting for the DuckDB file %s, held by %s (%.0f s so far)", database, holder, waited)
            if holder == _THREAD:
                with _settings_guard:
                    _waiting[database] += 1
                time.sleep(0.02)
                with _settings_guard:
                    _waiting[database] -= 1
            else:
                time.sleep(pause)
                pause = min(1.0, pause * 1.5)

    def _is_bounded(self, connection: DuckDBPyConnection, directory: Path | None) -> bool:
        """Restrict a session's memory and external access, and lock these settings.

        :returns: False if another session of this process has locked them to other values.
        """
        hook = cast("DuckDBHook", self.hook)
        try:
            with _settings_guard:
                ((locked, reaches, allowed),) = connection.execute(sql.render("bounds", self.dialect)).fetchall()
                if locked:
                    return reaches or directory is None or f"{directory.resolve()}/" in (allowed or ())
                hook.load_extensions(connection)
                hook.configure_secrets(connection)
                self._bound_memory(connection, streams=directory is not None)
                if not self._allowed("allow_external_access"):
                    directories = [] if directory is None else [str(directory.resolve())]
                    connection.execute(sql.render("allow_directories", self.dialect, directories=directories))
                    for template in ("deny_external_access", "lock_settings"):
                        connection.execute(sql.render(template, self.dialect))
        except BaseException:
            connection.close()
            raise
        return True

    def _bound_memory(self, connection: Any, *, streams: bool) -> None:
        """Lower DuckDB's memory limit, unless the Airflow connection sets one."""
        import duckdb

        if {"memory_limit", "max_memory"} & set(cast("DuckDBHook", self.hook).get_connect_config()):
            return
        ((current, threads),) = connection.execute(sql.render("memory_limit", self.dialect)).fetchall()
        megabytes = max(256, _STREAM_MEGABYTES_PER_THREAD * int(threads)) if streams else _QUERY_MEGABYTES
        if _megabytes(current) > megabytes:
            # The limit is process-wide: another thread's query may currently exceed the new one.
            with suppress(duckdb.OutOfMemoryException):
                connection.execute(sql.render("set_memory_limit", self.dialect, limit=f"{megabytes}MiB"))

    @property
    def _extra(self) -> Mapping[str, Any]:
        return cast("DuckDBHook", self.hook).connection_extra

    def _admit(self, cursor: Any, text: str) -> None:
        import duckdb

        found = [statement.type for statement in cursor.extract_statements(text)]
        if len(found) != 1:
            raise InputError(f"A query must be exactly one SELECT statement; found {len(found)} statements.")
        if found[0] not in (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI):  # MULTI: PIVOT without a list
            raise InputError(f"A query must be a SELECT; found {found[0].name}.")

    @contextmanager
    def _explained(self, *sources: str | Query) -> Iterator[None]:
        import duckdb

        try:
            with super()._explained(*sources):
                yield
        except duckdb.PermissionException as error:
            raise InputError(
                f"DuckDB (connection {self.hook.get_conn_id()}) has no access to files, network or other databases: "
                f"{first_line(error)}. Load the data into tables, or set "
                '"allow_external_access": true in the extra of the connection.'
            ) from error

    def _is_conflict(self, error: Exception) -> bool:
        import duckdb

        return isinstance(error, duckdb.TransactionException)

    def _complete(self, table: exp.Table) -> exp.Table:
        """Add the catalog too: a schema with the file's name would be ambiguous."""
        if table.catalog:
            return table
        return table_of(self._home["current_catalog"], table.db or self._home["current_schema"], table.name)

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """A query is described on its own: in a subquery, DuckDB renames duplicate columns."""
        if (text := framed_text(source)) is not None:
            return self._described(self._fetch_text(cursor, f"DESCRIBE {text}"))
        return self._described(self._fetch(cursor, "describe", source=source))

    def _described(self, found: list[dict[str, object]]) -> list[tuple[str, str]]:
        from airflow_provider_automl.warehouse.types import neutral_type

        return [(str(row["column_name"]), neutral_type(str(row["column_type"]), self.dialect)) for row in found]

    def _unload(
        self, cursor: Any, query: exp.Expression, columns: Mapping[str, str], path: Path, batch_rows: int
    ) -> int:
        from sqlglot import exp

        assert isinstance(query, exp.Select)
        for column in list(query.expressions):
            kind = "VARCHAR" if _AS_TEXT.search(columns[column.name]) else _as_lists(columns[column.name])
            if kind != columns[column.name]:
                cast = exp.cast(column.copy(), kind, dialect=self.dialect)
                column.replace(exp.alias_(cast, column.name, quoted=True))
        rows = max(1, min(batch_rows, _ROW_GROUP_VALUES // len(columns)))
        copy = sql.render("unload", self.dialect, query=query.subquery(copy=False), path=str(path), batch_rows=rows)
        (count,) = cursor.execute(copy).fetchone()
        return int(count)

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        """Load in one transaction, without a staging table."""
        paths = [str(path) for path in files]

        def work(cursor: Any) -> int:
            self._create_schema(cursor, target)
            if mode == "append":
                columns = dict(self._described(self._fetch(cursor, "describe_files", files=paths)))
                self._create_table(cursor, target, columns)
                if delete_where:
                    self._run(cursor, "delete", table=target, condition=delete_where)
                self._run(cursor, "append_files", table=target, columns=list(columns), files=paths)
            else:
                if mode == "error":
                    self._refuse_existing(cursor, target)
                self._run(cursor, "load", table=target, files=paths)
            ((count,),) = cursor.fetchall()
            return int(count)

        return self._write(work, directory=files[0].parent)


def _as_lists(kind: str) -> str:
    """Return a type with fixed-size arrays replaced by lists: Arrow cannot read DuckDB's Parquet files of NULL arrays.

    >>> _as_lists('STRUCT("a[2]" INT[3][2])')
    'STRUCT("a[2]" INT[][])'
    """
    return _ARRAY.sub(lambda found: found["name"] or "[]", kind)


def _megabytes(text: str) -> float:
    """Parse a size in DuckDB's format, such as ``18.6 GiB``, into MiB."""
    number, unit = text.split()
    return float(number) * {"bytes": 1 / 2**20, "KiB": 1 / 2**10, "MiB": 1, "GiB": 2**10, "TiB": 2**20}[unit]
