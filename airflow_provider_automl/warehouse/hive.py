"""Hive, through HiveServer2."""

from __future__ import annotations

import json
import logging
import random
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_automl import sql
from airflow_provider_automl.errors import AutoMLError, BusyError, InputError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse import swap
from airflow_provider_automl.warehouse.base import (
    Capabilities,
    Mode,
    Warehouse,
    _dotted,
    _is_users_fault,
    _same_row,
    first_line,
    newest_rows,
    parquet_as,
    parquet_batches,
    parquet_rows,
    parquet_schema,
)
from airflow_provider_automl.warehouse.hiveserver2 import Cursor, connected, mapping_of, task_context, task_name
from airflow_provider_automl.warehouse.query import framed, leading_ctes

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlglot import exp

    from airflow_provider_automl.warehouse.exchange import Exchange
    from airflow_provider_automl.warehouse.query import Query

log = logging.getLogger(__name__)

# Max characters and values per INSERT. The server's parser uses about a kilobyte of memory per value.
_INSERT_CHARACTERS = 500_000
_INSERT_VALUES = 60_000

# A text with more characters to escape than this is sent as Base64.
_ESCAPED = 1000

# The table property with our ownership tag, as JSON. Stored in warehouses: do not change, nor its keys.
_TAG_PROPERTY = "automl_mark"

# Seconds for which work that conflicts with another session's is retried.
_CONFLICT_TIMEOUT = 60.0

# Escapes in a string literal. NUL has all three octal digits, since a digit may follow.
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\000", "\x1a": "\\Z"}
)


# How a server reports a location where it may not write.
_UNWRITABLE = re.compile(r"denied|AccessControl|No FileSystem|mkdirs|(Unable|Failed) to create|annot create", re.I)

# How SQL-standard authorization reports a location that the user does not own.
_NOT_OWNER = re.compile(r"Permission denied: Principal .* on Object \[type=(LOCAL|DFS)_URI")

# How a server reports that it is shutting down, or that it cancelled the statement.
_STOPPING = re.compile(r"shut ?down|cancel|stopped SparkContext", re.I)


# How a server reports that a table is missing, or exists: another session may have undone it by now.
_RACED = re.compile(r"not.found|be found|not exist|already.exist|NoSuchObject|AlreadyExists", re.I)


class _Aborted(BusyError):
    """The engine aborted a statement for reasons unrelated to the statement."""


class _Conflict(Exception):
    """Another session changed the table between two steps of ours."""


def open_hive(hook: DbApiHook, *, lock_timeout: float = 600.0, staging: str | None = None) -> HiveWarehouse:
    """Return the warehouse of a ``hiveserver2`` connection. The server reports whether it is Hive or Spark.

    :raises BusyError: the server cannot be reached.
    :raises InputError: it rejects the connection's user.
    """
    from TCLIService import ttypes  # type: ignore[import-untyped]

    from airflow_provider_automl.warehouse.spark import SparkWarehouse

    with connected(hook) as connection:
        request = ttypes.TGetInfoReq(connection.sessionHandle, ttypes.TGetInfoType.CLI_DBMS_NAME)
        name = str(connection.client.GetInfo(request).infoValue.stringValue)
    kind = SparkWarehouse if "spark" in name.lower() else HiveWarehouse
    return kind(hook, lock_timeout=lock_timeout, staging=staging)


class HiveWarehouse(Warehouse):
    """Hive, through HiveServer2. Tables are created as Parquet.

    **Publishing.** Without ACID tables, Hive has no transactions. A load fills a staging table in the target's schema,
    then renames the old table to a backup's name and the staging table to the target's, and drops the backup:
    :mod:`.swap`. Each rename is one metastore transaction. Any failure before the first leaves the old table unchanged.
    Between the two renames, for some tenths of a second, the target does not exist: a query that starts then fails with
    "table not found", and one that was planned before may fail or find no rows, since the files have moved; unloads and
    counts check again. No query ever sees only some of the rows. (``INSERT OVERWRITE`` would show readers an empty or
    partial table for longer, and would lose the old rows if the server died during it.)
    What a client that is killed in between leaves is finished by the next load of the same target. If two sessions
    publish the same table, the later one wins. Views are rejected.

    A load creates a new table: grants, partitions, buckets, format and properties of the old one are not kept. The
    files of an external table are not deleted.

    **Appending.** One ``INSERT``. If ``delete_where`` matches rows, a copy of the table without them is filled and
    published as above, since Hive's non-ACID tables have no ``DELETE``. This is repeated if another session added rows
    in the meantime (rows added at the very moment of a rename may be lost with the old table).
    An ``INSERT`` whose response was lost may have succeeded: a retry with ``delete_where`` replaces those rows.

    **Recording.** A row is inserted unless the newest row of that key, by ``recorded_at``, is equal. A newer row
    supersedes the older one, which stays in the table. Two sessions that write the same row at the same time may both
    insert it.

    **Orphaned tables.** Staging tables are recognised by their name and by a table property: a user's table with such a
    name is left alone. A load drops its target's staging tables that have its key or are older than a day.

    **Types.** Timestamps with time zone become TIMESTAMP in UTC, since Hive's Parquet has none with a zone; the
    session's time zone is set to UTC. Arrays, maps, structs and unions are read as JSON text, through the cursor.
    Intervals become text.

    :param staging: a URI or directory that the engine and this process can both reach. If None, rows go through the
        cursor.
    """

    engine = "Hive"
    capabilities = Capabilities(cancel=True)
    #: Settings of each session. ``compute.query.using.stats``: row counts in statistics may be outdated, and are wrong
    #: for tables with a quote in their name. ``column.autogather``: Trino, on the same metastore, cannot read the
    #: statistics of timestamp columns, and then its INSERTs fail. ``variable.substitute``: rows may contain ``${…}``,
    #: which must not be replaced by server properties.
    settings: ClassVar[dict[str, str]] = {
        "hive.compute.query.using.stats": "false",
        "hive.resultset.use.unique.column.names": "false",
        "hive.local.time.zone": "UTC",
        "hive.parquet.write.int64.timestamp": "true",
        "hive.parquet.timestamp.time.unit": "micros",
        "hive.parquet.date.proleptic.gregorian": "true",
        "hive.parquet.date.proleptic.gregorian.default": "true",
        "hive.vectorized.execution.ptf.enabled": "false",
        "hive.stats.column.autogather": "false",
        "hive.variable.substitute": "false",
    }
    #: Neutral types that are stored as another type.
    narrower: ClassVar[dict[str, str]] = {"TIMESTAMPTZ": "TIMESTAMP", "NULL": "VARCHAR", "HUGEINT": "DECIMAL(38,0)"}
    #: Column types that staged files cannot store: rows with such columns go through the cursor.
    by_cursor = re.compile(r".*\]|(ARRAY|MAP|STRUCT|UNION).*", re.DOTALL)

    _table_name = re.compile(r"[A-Za-z0-9_\-'\"`%$#@&!+ ]+")
    _table_characters = "letters from a to z, digits, spaces and _ - ' \" ` % $ # @ & ! +"
    _column_name = re.compile(r"[^ ,;{}()=.:\n\t]+")

    def __init__(
        self, hook: DbApiHook, *, dialect: str = "hive", lock_timeout: float = 600.0, staging: str | None = None
    ) -> None:
        super().__init__(hook, dialect=dialect, lock_timeout=lock_timeout)
        self.staging = staging
        self._cursors: set[Cursor] = set()

    def cancel(self) -> None:
        """Close the connections: the server cancels what runs in a session whose client has disconnected."""
        for cursor in list(self._cursors):
            cursor.hang_up()

    # ------------------------------------------------------------------------------------------------ rows in

    def record(self, table: str, row: Mapping[str, object], *, key: str = "record_id") -> str:
        """As :meth:`.Warehouse.record`, without transactions: see the class.

        ``replaced`` means that this row supersedes the older one, which stays in the table.
        """
        target = self._qualified(table)
        if row.get(key) is None:
            raise InputError(f"A row of {table} needs a value for {key}.")
        deadline = time.monotonic() + min(self.lock_timeout, _CONFLICT_TIMEOUT)
        while True:
            try:
                with self._explained(table), self._session(write=True) as cursor:
                    return self._record(cursor, table, target, row, key)
            except _Aborted:  # Spark, if two sessions insert into the same table; the retry checks what is there
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.05, 0.5))

    def _record(self, cursor: Cursor, table: str, target: exp.Table, row: Mapping[str, object], key: str) -> str:
        columns = self._columns(cursor, target)
        wanted = self._spelled(columns, row, table)
        (own_key,) = self._spelled(columns, {key: row[key]}, table)
        found = self._fetch(cursor, "select", columns=list(columns), source=target, condition={own_key: row[key]})
        if any(_same_row(other, wanted) for other in newest_rows(found)):
            return "unchanged"
        self._run(cursor, "insert", table=target, columns=list(wanted), items=list(wanted.values()))
        if not self._concurrent_inserts:
            now = self._fetch(cursor, "select", columns=list(columns), source=target, condition={own_key: row[key]})
            if not any(_same_row(other, wanted) for other in now):
                raise _Aborted(f"{self.engine} reported that it inserted a row into {table}, but the row is missing.")
        return "replaced" if found else "inserted"

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        from airflow_provider_automl.warehouse.types import neutral_columns

        columns = self._storable(neutral_columns(parquet_schema(files)))
        load = self._load_of(target, key or uuid.uuid4().hex)
        staging = self._new(target)
        try:
            with self._session(write=True) as cursor:
                self._create_schema(cursor, target)
                self._refuse_view(cursor, target)
                self._recover(cursor, target, load)
                if self.staging is None:
                    self._create_staging(cursor, target, staging, columns, load)
                    rows = self._insert(cursor, staging, list(columns), parquet_batches(files))
                else:
                    rows = self._insert_files(cursor, target, staging, columns, files, load)
                if (arrived := self._count(cursor, staging)) != rows:
                    raise BusyError(f"{self.engine} stored {arrived} of {rows} rows: {_dotted(target)} is unchanged.")
                log.info("Publishing %d rows as %s", rows, _dotted(target))
                if mode != "append":
                    if mode == "error":
                        self._refuse_existing(cursor, target)
                    self._publish(cursor, target, staging, replace=mode != "error")
                    return rows
                self._append_to(cursor, target, columns, staging, rows, delete_where, load)
                self._run(cursor, "drop_table", table=staging)
        except BaseException:
            self._discard(target, staging)
            raise
        return rows

    def _append_to(
        self,
        cursor: Cursor,
        target: exp.Table,
        columns: Mapping[str, str],
        staging: exp.Table,
        rows: int,
        delete_where: dict[str, object],
        load: str,
    ) -> None:
        self._create_table(cursor, target, columns)
        deadline = time.monotonic() + min(self.lock_timeout, _CONFLICT_TIMEOUT)
        while True:
            try:
                version = self._version(cursor, target)
                with self._conflict_if(partial(self._is_new, cursor, target, version)):
                    leaving, total = self._counts(cursor, target, delete_where)
                    if self._concurrent_inserts and not leaving:
                        self._run(cursor, "append", table=target, columns=list(columns), source=staging)
                        return
                self._rewrite(cursor, target, columns, staging, delete_where, load, version, total - leaving + rows)
                return
            except _Conflict as error:
                if not delete_where and self._concurrent_inserts:
                    raise BusyError(f"Another session changed {_dotted(target)} at the same time: {error}") from error
                if time.monotonic() > deadline:
                    raise BusyError(f"Another session kept changing {_dotted(target)}: {error}") from error
                time.sleep(random.uniform(0.05, 0.5))  # so that two sessions do not collide again
                self._create_table(cursor, target, columns)

    #: Whether the rows of a successful INSERT are in the table even if other sessions insert at the same time.
    _concurrent_inserts: ClassVar[bool] = True

    def _counts(self, cursor: Cursor, table: exp.Table, condition: dict[str, object]) -> tuple[int, int]:
        """Return how many rows of a table match a condition, and how many it has.

        A query that was planned before another session renamed the table may find no rows. Without a condition, and if
        an INSERT is enough, nothing is counted.
        """
        if not condition:
            return 0, 0 if self._concurrent_inserts else self._count(cursor, table)
        (row,) = self._fetch(cursor, "count_where", source=table, condition=condition)
        matching, total = int(str(row["n"])), int(str(row["total"]))
        if not total and self._count(cursor, table):
            raise _Conflict("it was replaced while it was read")
        return matching, total

    def _rewrite(
        self,
        cursor: Cursor,
        target: exp.Table,
        columns: Mapping[str, str],
        staging: exp.Table,
        delete_where: dict[str, object],
        load: str,
        version: str,
        expected: int,
    ) -> None:
        """Fill a copy of the target with the rows to keep and the new rows, and publish it.

        :param version: the target's :meth:`_version` when the rows to keep were counted.
        :param expected: how many rows the copy must have.
        :raises _Conflict: another session changed the target at the same time; nothing was changed.
        """
        merged = self._new(target, version)
        try:
            with self._conflict_if(partial(self._is_new, cursor, target, version)):
                whole = list(self._columns(cursor, target))
                cursor.execute(
                    f"CREATE TABLE {self._text(merged)} LIKE {self._text(target)} "
                    f"TBLPROPERTIES ({_quoted(_TAG_PROPERTY)}={_quoted(_tag(target, merged, load))})"
                )
                if delete_where:
                    self._run(cursor, "keep", table=merged, columns=whole, source=target, condition=delete_where)
                else:
                    self._run(cursor, "append", table=merged, columns=whole, source=target)
                self._run(cursor, "append", table=merged, columns=list(columns), source=staging)
                if (found := self._count(cursor, merged)) != expected:
                    raise _Conflict(f"it was replaced while it was read: {found} rows, not {expected}")
            self._publish(cursor, target, merged)
        except BaseException:
            self._discard(target, merged)
            raise

    def _insert(self, cursor: Any, table: exp.Table, columns: list[str], batches: Iterator[pa.RecordBatch]) -> int:
        """Insert Arrow batches with multi-row statements, whose values are texts that the statement casts."""
        total = size = 0
        waiting: list[str] = []
        schema: pa.Schema | None = None
        encoded: frozenset[int] = frozenset()

        def flush() -> None:
            if waiting:
                assert schema is not None
                cursor.execute(self._insert_text(table, schema, encoded, waiting))
            waiting.clear()

        for batch in batches:
            rows, now = _text_rows(batch)
            if now != encoded:
                flush()
            schema, encoded = batch.schema, now
            for row in rows:
                if size + len(row) > _INSERT_CHARACTERS or (len(waiting) + 1) * len(columns) > _INSERT_VALUES:
                    flush()
                size = (size if waiting else 0) + len(row)
                waiting.append(row)
            total += batch.num_rows
        flush()
        return total

    def _insert_text(self, table: exp.Table, schema: pa.Schema, encoded: frozenset[int], rows: list[str]) -> str:
        from sqlglot import exp

        from airflow_provider_automl.warehouse.types import neutral_columns

        kinds = self._storable(neutral_columns(schema))
        items = [_from_text(exp.column(f"c{i}"), kind, i in encoded) for i, kind in enumerate(kinds.values())]
        rows_of = self._rows_of([f"c{i}" for i in range(len(kinds))])
        text = sql.render("insert_rows", self.dialect, table=table, columns=list(kinds), items=items, rows=rows_of)
        # Inserted as text: sqlglot would take a second per thousand rows to build and print them.
        head, tail = text.rsplit("automl_rows", 1)
        return head + ", ".join(self._row_prefix + row for row in rows) + tail

    #: The prefix of a row in parentheses.
    _row_prefix: ClassVar[str] = "STRUCT"

    def _rows_of(self, names: list[str]) -> exp.Expression:
        """Return a subquery of rows, with the placeholder ``automl_rows`` for them."""
        from sqlglot import exp

        listed = ", ".join(names)
        return exp.Var(this=f"(SELECT INLINE(ARRAY(automl_rows)) AS ({listed})) AS q")

    def _insert_files(
        self,
        cursor: Cursor,
        target: exp.Table,
        staging: exp.Table,
        columns: dict[str, str],
        files: list[Path],
        load: str,
    ) -> int:
        """Create the staging table from Parquet files, by way of a copy that the engine can read."""
        from pyhive.exc import Error  # type: ignore[import-untyped]

        from airflow_provider_automl.warehouse.types import arrow_schema

        rows, key = parquet_rows(files), f"{_dotted(target)} {load}"
        with tempfile.TemporaryDirectory() as scratch, self._exchange().directory(key) as shared:
            shared.put(parquet_as(files, arrow_schema(columns), Path(scratch)))
            try:
                source = self._files(cursor, columns, shared.uri)
                seen = not rows or bool(self._fetch(cursor, "first_file", source=source))
            except Error as error:  # reported by the server, so it is still there
                if _STOPPING.search(first_line(error)):
                    raise
                self._refuse_not_owner(shared.uri, error)
                raise InputError(f"{self._unreadable(shared.uri)}: {first_line(error)}") from error
            if not seen:
                raise InputError(f"{self._unreadable(shared.uri)}: no file found.")
            tag = _tag(target, staging, load)
            self._run(cursor, "create_marked_as", table=staging, mark=tag, columns=list(columns), source=source)
        return rows

    def _unreadable(self, uri: str) -> str:
        return (
            f"{self.engine}'s servers cannot read {uri}, where this worker wrote (set the connection's staging to a "
            "location that both can reach)"
        )

    def _files(self, cursor: Cursor, columns: Mapping[str, str], uri: str) -> exp.Table:
        """Create and return a temporary table over Parquet files."""
        table = table_of(self._home["current_schema"], f"automl_{uuid.uuid4().hex}")
        text = sql.render("files", self.dialect, table=table, columns=columns, location=uri)
        cursor.execute(text.replace("CREATE EXTERNAL", "CREATE TEMPORARY EXTERNAL", 1))
        return table

    # ------------------------------------------------------------------------------------------------ publishing

    def _new(self, target: exp.Table, version: str | None = None) -> exp.Table:
        """Return an unused name for a staging table.

        :param version: of the target, if the table is made from it.
        """
        return table_of(target.db, swap.new_name(self._prefix(target), target.name.lower(), version))

    def _create_staging(
        self, cursor: Cursor, target: exp.Table, staging: exp.Table, columns: Mapping[str, str], load: str
    ) -> None:
        """Create an empty staging table of a load."""
        self._run(cursor, "create_marked", table=staging, columns=columns, mark=_tag(target, staging, load))

    def _load_of(self, target: exp.Table, key: str) -> str:
        """Return the digest of a load, by its key."""
        return _digest(key)

    def _prefix(self, target: exp.Table) -> str:
        return self._staging(target, "").name[:-16].lower()

    def _publish(self, cursor: Cursor, target: exp.Table, staging: exp.Table, *, replace: bool = True) -> None:
        """Replace the target with a staging table; in case of an error, :meth:`_discard` has to be called.

        :raises _Conflict: the target is no longer the version that the staging table was made from.
        """
        self._refuse_view(cursor, target)
        try:
            self._steps(cursor, target, swap.publish(target.name.lower(), staging.name, replace=replace))
        except swap.Changed as error:
            raise _Conflict(f"another session wrote to {_dotted(target)}") from error
        except swap.TargetExists:
            self._refuse_existing(cursor, target)
            raise _Conflict(f"another session created {_dotted(target)} for a moment") from None

    def _refuse_view(self, cursor: Cursor, target: exp.Table) -> None:
        if "VIEW" in (self._kind(cursor, target) or ""):
            raise InputError(f"The table {_dotted(target)} cannot be written: it is a view.")

    def _discard(self, target: exp.Table, staging: exp.Table) -> None:
        """Undo a failed load, in a new session: the load's may have been cut off in the middle of a statement."""
        try:
            with self._session(write=True) as cursor:
                self._steps(cursor, target, swap.discard(target.name.lower(), staging.name))
        except Exception as error:
            log.warning("Could not drop the staging table %s: %s", _dotted(staging), first_line(error))

    def _recover(self, cursor: Cursor, target: exp.Table, load: str) -> None:
        """Finish or undo what killed loads of the target left, and drop their tables."""
        self._recover_older(cursor, target, load)
        self._steps(cursor, target, swap.recover(target.name.lower(), load))

    def _steps(self, cursor: Cursor, target: exp.Table, steps: swap.Steps) -> Any:
        return swap.run(steps, partial(self._do, cursor, target))

    def _do(self, cursor: Cursor, target: exp.Table, step: swap.Step) -> Any:
        """Do a step of publishing a target. Its names are those of tables in the target's schema."""
        match step:
            case swap.Exists(name):
                return self._found(cursor, self._sibling(target, name))
            case swap.Names():
                pattern = re.compile(re.escape(self._prefix(target)) + r"[0-9a-f]{16}(_old|_undone)?")
                listed = (name.lower() for _, name, _ in cursor.tables(target.db, f"{self._prefix(target)}%"))
                return tuple(name for name in listed if pattern.fullmatch(name))
            case swap.ReadTag(name):
                return self._read_tag(cursor, self._sibling(target, name))
            case swap.Version(name):
                table = self._sibling(target, name)
                with suppress(_Conflict):
                    return self._version(cursor, table) if self._found(cursor, table) else None
            case swap.Rename(name, to):
                return self._rename(cursor, self._sibling(target, name), self._sibling(target, to))
            case swap.Drop(name):
                log.debug("Dropping %s, which a load of %s no longer needs.", name, _dotted(target))
                self._drop(cursor, self._sibling(target, name))
            case swap.Now():
                return datetime.now(UTC)
            case swap.Pause():
                time.sleep(random.uniform(0.05, 0.5))
            case swap.EndQueries():
                pass  # a killed client's have ended with its session
        return None

    def _sibling(self, target: exp.Table, name: str) -> exp.Table:
        return target if name == target.name.lower() else table_of(target.db, name)

    def _drop(self, cursor: Cursor, table: exp.Table) -> None:
        """Drop a table that others may drop or rename at the same time."""
        try:
            self._run(cursor, "drop_table", table=table)
        except AutoMLError:
            raise
        except Exception as error:
            if not _RACED.search(first_line(error)) and self._found(cursor, table):
                raise

    def _rename(self, cursor: Cursor, table: exp.Table, name: exp.Table) -> bool:
        """Rename a table; return whether it was done: not if it is missing, or the other exists."""
        try:
            self._run(cursor, "rename_table", table=table, name=name)
        except AutoMLError:
            raise
        except Exception as error:
            if _RACED.search(first_line(error)) or self._found(cursor, name) or not self._found(cursor, table):
                return False
            raise
        return True

    def _read_tag(self, cursor: Cursor, table: exp.Table) -> swap.Tag | None:
        """Return the ownership tag in a table's properties; None if it has none, or there is no such table."""
        found = self._tag_property(cursor, table)
        if not found.get("target"):
            return None
        begun = datetime.fromtimestamp(float(str(found.get("since") or time.time())), UTC)
        # The first version wrote no name: such a table still has its first one, or is a target.
        name = str(found.get("name", table.name.lower()))
        return swap.Tag(name, str(found["target"]), str(found.get("key", "")), begun)

    def _tag_property(self, cursor: Cursor, table: exp.Table) -> dict[str, object]:
        try:
            found = json.loads(self._properties(cursor, table).get(_TAG_PROPERTY, "{}"))
        except ValueError:
            return {}
        except AutoMLError:
            raise
        except Exception as error:
            if not _RACED.search(first_line(error)) and self._found(cursor, table):
                raise
            return {}
        return found if isinstance(found, dict) else {}

    def _recover_older(self, cursor: Cursor, target: exp.Table, load: str) -> None:
        """Restore, or drop, what killed loads of the first version left. Its names tell nothing, its tags do."""
        for name in self._do(cursor, target, swap.Names()):
            if swap.belongs(name, target.name.lower()):
                continue
            table = self._sibling(target, name)
            tag = self._tag_property(cursor, table)
            if tag.get("aside") == _dotted(target):  # the backup, whose name all loads of a target shared
                if not self._found(cursor, target):
                    log.warning("A load of %s was killed while publishing: restoring its backup.", _dotted(target))
                    self._rename(cursor, table, target)
                elif self._tag_property(cursor, target) or self._count(cursor, target):
                    self._run(cursor, "drop_table", table=table)
            elif tag.get("target") == _dotted(target):
                own = self._read_tag(cursor, table)
                if own is not None and own.is_dead(load, datetime.now(UTC)):
                    self._run(cursor, "drop_table", table=table)

    @contextmanager
    def _conflict_if(self, conflict: Callable[[], bool]) -> Iterator[None]:
        """Raise a conflict when a statement fails, if ``conflict`` finds that another session caused it."""
        try:
            yield
        except (AutoMLError, _Conflict):
            raise
        except Exception as error:
            if conflict():
                raise _Conflict(first_line(error)) from error
            raise

    def _properties(self, cursor: Cursor, table: exp.Table) -> Mapping[str, str]:
        cursor.execute(f"SHOW TBLPROPERTIES {self._text(table)}")
        return mapping_of(cursor.fetchall())

    def _is_new(self, cursor: Cursor, table: exp.Table, version: str) -> bool:
        return self._version(cursor, table) != version

    def _version(self, cursor: Cursor, table: exp.Table) -> str:
        """Return a fingerprint that changes with a table's rows."""
        try:
            found = self._properties(cursor, table)
        except AutoMLError:
            raise
        except Exception as error:
            if not _RACED.search(first_line(error)) and self._found(cursor, table):
                raise
            raise _Conflict(first_line(error)) from error
        return json.dumps([found.get(name) for name in ("numFiles", "numRows", "totalSize")])

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
        staged = self.staging is not None and not any(map(self.by_cursor.fullmatch, columns.values()))
        if staged and all(map(self._column_name.fullmatch, columns)):
            rows = self._unload_files(cursor, query, columns, path)
        else:
            rows = super()._unload(cursor, query, columns, path, batch_rows)
        if not rows and self._count(cursor, query.subquery("q")):
            raise BusyError(f"{self.engine} returned no rows of a table that has rows: it was being replaced.")
        return rows

    def _batches(self, cursor: Cursor, text: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        cursor.execute(text)
        yield from cursor.batches(schema, min(batch_rows, 10_000))

    def _readable_as(self, column: exp.Expression, kind: str) -> exp.Expression | None:
        """Return the expression to select for a column whose type PyHive or Parquet does not support; else None."""
        from sqlglot import exp

        wanted = {"TIMESTAMPTZ": "TIMESTAMP", "INTERVAL": "VARCHAR", "NULL": "VARCHAR"}.get(kind)
        return exp.cast(column, wanted) if wanted else None

    def _unload_files(self, cursor: Cursor, query: exp.Select, columns: Mapping[str, str], path: Path) -> int:
        """Have the engine write the rows as Parquet files, and move those here."""
        import pyarrow.parquet as pq

        with self._exchange().directory(str(path.parent.absolute())) as shared:  # the same key in a retry
            with self._writes(shared.uri):
                written = self._write_files(cursor, sql.to_text(query, self.dialect), shared.uri)
            rows = int(str(self._fetch(cursor, "count", source=written)[0]["n"]))
            taken = shared.take(path.parent)
        here = sum(pq.read_metadata(file).num_rows for file in taken)  # type: ignore[no-untyped-call]
        if here != rows:
            raise InputError(
                f"{self.engine} wrote {rows} rows to {shared.uri}, where this worker finds {here}: set the "
                "connection's staging to a location that both can reach."
            )
        if not taken:
            from airflow_provider_automl.warehouse.types import arrow_schema

            pq.write_table(arrow_schema(columns).empty_table(), path)  # type: ignore[no-untyped-call]
        return rows

    @contextmanager
    def _writes(self, uri: str) -> Iterator[None]:
        """Distinguish a staging location where the engine may not write from a failing query."""
        from pyhive.exc import Error

        try:
            yield
        except Error as error:  # reported by the server, so it is still there
            message = first_line(error)
            self._refuse_not_owner(uri, error)
            if (
                not _is_users_fault(error)
                and not _STOPPING.search(message)
                and (_UNWRITABLE.search(message) or uri.rpartition(":")[2] in message)
            ):
                raise InputError(
                    f"{self.engine}'s servers cannot write to {uri}, which this worker can: set the connection's "
                    f"staging to a location that both can reach: {message}"
                ) from error
            raise

    def _refuse_not_owner(self, uri: str, error: Exception) -> None:
        """Raise an error if SQL-standard authorization lets only the owner use a staging location."""
        if _NOT_OWNER.search(message := first_line(error)):
            raise InputError(
                f"{self.engine} lets only the owner of {uri}, which is this worker's user, use it: log in as that "
                f"user, or give staging as a directory without file://: {message}"
            ) from error

    def _write_files(self, cursor: Cursor, query: str, uri: str) -> exp.Table:
        """Have the engine write a query's rows to a location, and return a table over them."""
        table = table_of(self._home["current_schema"], f"automl_{uuid.uuid4().hex}")
        cursor.execute(
            f"CREATE TEMPORARY EXTERNAL TABLE {self._text(table)} STORED AS PARQUET LOCATION {_quoted(uri)} AS {query}"
        )
        return table

    def _count(self, cursor: Any, source: exp.Expression) -> int:
        """As the base's, but a count of zero is repeated after a check of the server."""
        count = super()._count(cursor, source)
        if not count:
            self._check_server(cursor)
            count = super()._count(cursor, source)
        return count

    def _check_server(self, cursor: Cursor) -> None:
        """Check whether the server still reads rows.

        If tasks run in the server itself (Tez in local mode), all tasks after a failed one may read no rows, without an
        error, until the server is restarted.
        """
        if not self._fetch(cursor, "canary")[0]["n"]:
            raise BusyError(
                f"{self.engine}'s server (connection {self.hook.get_conn_id()}) returns no row where there is one. "
                "This happens after a task failed inside the server: its results are wrong until it is restarted."
            )

    # ------------------------------------------------------------------------------------------------ metadata

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        """Yield a cursor of a session, without transactions. The server's errors are PEP 249 exceptions."""
        from pyhive.exc import OperationalError

        with connected(self.hook) as connection:
            cursor = Cursor(connection, comment=self._comment())
            self._cursors.add(cursor)
            try:
                self._prepare(cursor)
                yield cursor
            except OperationalError as error:
                raise _Aborted(f"{self.engine} aborted the statement: {first_line(error)[:2000]}") from error
            finally:
                self._cursors.discard(cursor)

    def _prepare(self, cursor: Cursor) -> None:
        """Apply the settings that this class requires, and those that name the task."""
        for name, value in self.settings.items():
            try:
                cursor.set(name, value)
            except AutoMLError:
                raise
            except Exception as error:
                cursor.execute(f"SET {name}")
                if f"{name}={value}" not in (str(row[0]) for row in cursor.fetchall()):
                    raise InputError(
                        f"{self.engine} (connection {self.hook.get_conn_id()}) does not let this user set {name} "
                        f"to {value}, which is required: allow it in the server's configuration, or set it there: "
                        f"{first_line(error)}"
                    ) from error
        if not self._sets_context:
            return
        for name, value in self._task_settings().items():
            with suppress(Exception):
                cursor.set(name, value)

    @cached_property
    def _sets_context(self) -> bool:
        connection = self.hook.get_connection(self.hook.get_conn_id())
        return bool(connection.extra_dejson.get("run_set_variable_statements", True))

    def _task_settings(self) -> dict[str, str]:
        """Return settings that name this task in the server's query lists and logs."""
        name = task_name()
        return task_context() | ({"hive.query.name": name, "mapreduce.job.name": name} if name else {})

    def _comment(self) -> str:
        """Return a comment for each statement that names this task, if no setting does."""
        return ""

    @contextmanager
    def _explained(self, *sources: str | Query) -> Iterator[None]:
        tables = " and ".join(source for source in sources if isinstance(source, str))
        with (
            self._writing(f"{self.engine} rejected the query{f' on {tables}' if tables else ''}"),
            super()._explained(*sources),
        ):
            yield

    def _source(self, source: str | Query) -> exp.Expression:
        """As the base's; if a subquery may not begin with WITH, its CTEs move to the start of the statement."""
        if isinstance(source, str) or self._supports_nested_with:
            return super()._source(source)
        with_text, text = leading_ctes(source.text(self.dialect), self.dialect)
        return framed(text, with_text=with_text)

    def _admit(self, cursor: Any, text: str) -> None:
        """Validate with EXPLAIN, which accepts exactly one statement."""
        cursor.execute(f"EXPLAIN\n{text}")

    #: Whether a subquery may begin with WITH; if not, sqlglot moves it to the start of the statement.
    _supports_nested_with: ClassVar[bool] = False

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """Run a query for no rows, and return the types that the server reports."""
        cursor.execute(sql.render("describe", self.dialect, source=source))
        found: list[tuple[str, str]] = cursor.types()
        return found

    def _tables(self, cursor: Any) -> list[exp.Table]:
        return [table_of(schema, name) for schema, name, _ in cursor.tables("%")]

    def _kind(self, cursor: Cursor, table: exp.Table) -> str | None:
        """Return TABLE, VIEW or another kind; None if there is no such table."""
        wanted = (table.db.lower(), table.name.lower())
        pattern = table.name if re.fullmatch(r"\w+", table.name) else "%"
        found = cursor.tables(table.db, pattern.lower())
        return next((kind for schema, name, kind in found if (schema.lower(), name.lower()) == wanted), None)

    def _found(self, cursor: Any, table: exp.Table) -> bool:
        return self._kind(cursor, table) is not None

    def _create_schema(self, cursor: Any, table: exp.Table) -> None:
        from sqlglot import exp

        def present() -> bool:
            return table.db.lower() in map(str.lower, cursor.schemas(table.db))

        if present():
            return
        try:
            self._run(cursor, "create_schema", schema=exp.Table(db=table.args["db"]))
        except Exception:
            if not present():  # else another session has created it
                raise

    def _create_missing(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        """Create a missing table, unless it is missing because a load is about to publish it."""
        self._create_schema(cursor, table)
        if self._steps(cursor, table, swap.may_create(table.name.lower())):
            self._run(cursor, "create_table", table=table, columns=columns)

    def _create_table(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        """Create the table, or add missing columns; retry if another session adds columns at the same time."""
        wanted = self._storable(columns)
        for last in (False, False, False, False, True):
            try:
                super()._create_table(cursor, table, wanted)
                present = {name.lower() for name in self._columns(cursor, table)}
                if all(name.lower() in present for name in wanted):
                    return
            except AutoMLError:
                raise
            except Exception:
                if last:
                    raise
            time.sleep(random.uniform(0.05, 0.5))
        raise BusyError(f"Another session kept changing {_dotted(table)}.")

    def _text(self, table: exp.Table) -> str:
        return sql.to_text(table, self.dialect)

    def _qualified(self, name: str) -> exp.Table:
        table = super()._qualified(name)
        for part in (table.db, table.name):
            if not self._table_name.fullmatch(part):
                raise InputError(
                    f"{part!r} is not a valid table or schema name in {self.dialect}: choose a name of "
                    f"{self._table_characters}."
                )
        return table

    def _storable(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Return columns with the types that they are stored as.

        :raises InputError: a name is not allowed in Hive's Parquet tables.
        """
        for name in columns:
            if not self._column_name.fullmatch(name):
                raise InputError(
                    f"The column name {name!r} is not allowed in {self.dialect}: rename the column without spaces, "
                    "tabs, line breaks, colons and , ; { } ( ) = ."
                )
        return {name: self.narrower.get(kind, kind) for name, kind in columns.items()}

    def _exchange(self) -> Exchange:
        from airflow_provider_automl.warehouse.exchange import Exchange

        assert self.staging is not None
        return Exchange(self.staging)


def _tag(target: exp.Table, table: exp.Table, load: str) -> str:
    """Return the ownership tag of a staging table of a load, as its property stores it."""
    return json.dumps({"name": table.name, "target": _dotted(target), "key": load, "since": int(time.time())})


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _quoted(text: str) -> str:
    return "'" + text.translate(_ESCAPES) + "'"


def _text_rows(batch: pa.RecordBatch) -> tuple[list[str], frozenset[int]]:
    """Return each row as ``('1', 'a', NULL)``, and the indices of the text columns in Base64.

    Base64 is for texts with many characters to escape: Hive's parser takes quadratic time in their number, and compiles
    no other query in the meantime.
    """
    import base64

    from airflow_provider_automl.warehouse.types import cast_text, driver_rows

    def literal(text: str | None, encode: bool) -> str:
        if text is None:
            return "NULL"
        return "'" + base64.b64encode(text.encode()).decode() + "'" if encode else _quoted(text)

    rows = [[cast_text(value) for value in row] for row in driver_rows(batch)]
    escaped = re.compile(r"[\\'\n\r\t\x00\x1a]")
    encoded = frozenset(
        i
        for i, column in enumerate(zip(*rows, strict=True))
        if any(text and len(text) > _ESCAPED and len(escaped.findall(text)) > _ESCAPED for text in column)
    )
    texts = ("(" + ", ".join(literal(text, i in encoded) for i, text in enumerate(row)) + ")" for row in rows)
    return list(texts), encoded


def _from_text(column: exp.Column, kind: str, encoded: bool) -> exp.Expression:
    from sqlglot import exp

    if encoded:
        bytes_of = exp.Anonymous(this="UNBASE64", expressions=[column])
        return exp.Anonymous(this="DECODE", expressions=[bytes_of, exp.Literal.string("UTF-8")])
    if kind == "VARCHAR":
        return column
    if kind == "BLOB":
        return exp.Unhex(this=column)
    return exp.cast(column, exp.DataType.build(kind, dialect="duckdb"))
