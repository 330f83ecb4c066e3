"""Hive, by HiveServer2."""

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
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_automl import sql
from airflow_provider_automl.errors import AutoMLError, BusyError, InputError
from airflow_provider_automl.sql.names import table_of
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

# How much text one INSERT of rows may have, and how many values. The server's parser takes about a kilobyte a value.
_INSERT_CHARACTERS = 500_000
_INSERT_VALUES = 60_000

# How many characters of a text may want a backslash before it goes in Base64.
_ESCAPED = 1000

# The property of tables that are ours: JSON that says whose, and since when.
_MARK = "automl_mark"

# After so many seconds, what another run left is nobody's.
_ABANDONED = 24 * 3600.0

# Seconds for which work that crossed another session's is tried again.
_CONFLICT_TIMEOUT = 60.0

# As text in quotes. A NUL in octal with all its digits, since a digit may follow.
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\000", "\x1a": "\\Z"}
)


# What a server says of a place where it may not write.
_UNWRITABLE = re.compile(r"denied|AccessControl|No FileSystem|mkdirs|(Unable|Failed) to create|annot create", re.I)

# What SQL-standard authorization says of a place that the user does not own.
_UNOWNED = re.compile(r"Permission denied: Principal .* on Object \[type=(LOCAL|DFS)_URI")

# What a server says that stops under a statement.
_STOPPING = re.compile(r"shut ?down|cancel|stopped SparkContext", re.I)


class _GivenUp(BusyError):
    """The engine gave a statement up, for reasons of its own."""


class _Crossed(Exception):
    """Another session changed the table between two steps of ours."""


def open_hive(hook: DbApiHook, *, lock_timeout: float = 600.0, staging: str | None = None) -> HiveWarehouse:
    """Return the warehouse behind a ``hiveserver2`` connection: the server itself says whether it is Hive or Spark.

    :raises BusyError: the server cannot be reached.
    :raises InputError: it refuses the connection's user.
    """
    from TCLIService import ttypes  # type: ignore[import-untyped]

    from airflow_provider_automl.warehouse.spark import SparkWarehouse

    with connected(hook) as connection:
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
    found", and one that was planned before may fail, or find nothing at all, since the files are elsewhere: an unload
    and a count look again. None ever sees some of the rows. (``INSERT OVERWRITE`` would show readers an empty or a
    partial table for longer, and would lose the old rows if the server died in it.)
    A client killed between the two leaves both tables whole, under other names: the next load of the same target puts
    the old one back, then goes on. Of two that publish the same table, the later one stays. A view is refused.

    The new table is a new one: grants, partitions, buckets, format and properties of the old one are not kept, and the
    files of an external one stay where they are.

    **Appending.** One ``INSERT``. With ``delete_where`` and rows that it means, a table like the old one is filled and
    published as above, since Hive's plain tables have no ``DELETE``; again, if another session's rows came meanwhile
    (those that come in the very moment of a rename may be lost with the old table).
    An ``INSERT`` whose answer was lost may have been done: a retry with ``delete_where`` replaces those rows.

    **Recording.** A row is inserted unless the newest row of that key, by ``recorded_at``, is the same. Another one is
    inserted beside it and supersedes it. Two that write the same row at the same moment may both insert it.

    **Leftovers.** Staging tables are told by their name and by a property: a user's table that is named alike is left.
    A load drops those of its target that have its key or are older than a day.

    **Types.** Times with zone become TIMESTAMP in UTC, since Hive's Parquet has none with a zone; the session's zone
    is set to UTC. Arrays, maps, structs and unions are read as JSON text, through the cursor. Intervals become text.

    :param staging: a URI or directory that the engine and this process both reach; None: rows go through the cursor.
    """

    engine = "Hive"
    capabilities = Capabilities(cancel=True)
    #: For each session. The first: statistics say how many rows there were, not always how many there are, and never
    #: of a table with a quote in its name. No statistics of columns: Trino, on the same metastore, does not read those
    #: of a time, and refuses to INSERT where there are some. The last one: rows may hold ``${…}``, which must not be
    #: replaced by the server's properties.
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
    #: Neutral types that become another one here.
    narrower: ClassVar[dict[str, str]] = {"TIMESTAMPTZ": "TIMESTAMP", "NULL": "VARCHAR", "HUGEINT": "DECIMAL(38,0)"}
    #: Types of columns that staged files cannot hold: rows with such go through the cursor.
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
        """Hang up: the server cancels what runs in a session whose client is gone."""
        for cursor in list(self._cursors):
            cursor.hang_up()

    # ------------------------------------------------------------------------------------------------ rows in

    def record(self, table: str, row: Mapping[str, object], *, key: str = "record_id") -> str:
        """As :meth:`.Warehouse.record`, without transactions: see the class.

        ``replaced`` means that this row supersedes the other, which stays beneath it.
        """
        target = self._qualified(table)
        if row.get(key) is None:
            raise InputError(f"A row of {table} needs a value for {key}.")
        deadline = time.monotonic() + min(self.lock_timeout, _CONFLICT_TIMEOUT)
        while True:
            try:
                with self._explained(table), self._session(write=True) as cursor:
                    return self._record(cursor, table, target, row, key)
            except _GivenUp:  # as Spark does when two insert into the same table; what is there now decides
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
        if not self._keeps_inserts:
            now = self._fetch(cursor, "select", columns=list(columns), source=target, condition={own_key: row[key]})
            if not any(_same_row(other, wanted) for other in now):
                raise _GivenUp(f"{self.engine} lost a row of {table} that it had taken.")
        return "replaced" if found else "inserted"

    def _load(
        self, files: list[Path], target: exp.Table, *, mode: Mode, key: str, delete_where: dict[str, object]
    ) -> int:
        from airflow_provider_automl.warehouse.types import neutral_columns

        columns = self._storable(neutral_columns(parquet_schema(files)))
        mark = {"target": _dotted(target), "key": _digest(key) if key else "", "since": int(time.time())}
        staging, merged = (self._scratch(target) for _ in range(2))
        try:
            with self._session(write=True) as cursor:
                self._create_schema(cursor, target)
                self._refuse_view(cursor, target)
                self._recover(cursor, target)
                self._sweep(cursor, target, mark)
                if self.staging is None:
                    self._run(cursor, "create_marked", table=staging, columns=columns, mark=json.dumps(mark))
                    rows = self._insert(cursor, staging, list(columns), parquet_batches(files))
                else:
                    rows = self._insert_files(cursor, staging, columns, files, mark)
                if (arrived := self._count(cursor, staging)) != rows:
                    raise BusyError(f"{self.engine} stored {arrived} of {rows} rows: {_dotted(target)} is as it was.")
                log.info("Publishing %d rows as %s", rows, _dotted(target))
                if mode == "append":
                    self._append_to(cursor, target, columns, staging, rows, merged, delete_where, mark)
                else:
                    self._publish(cursor, staging, target, mode=mode)
        finally:
            # In a session of its own: this one may have been cut in the middle of a statement.
            with suppress(Exception), self._session(write=True) as cursor:
                for leftover in (staging, merged):
                    self._run(cursor, "drop_table", table=leftover)
        return rows

    def _append_to(
        self,
        cursor: Cursor,
        target: exp.Table,
        columns: Mapping[str, str],
        staging: exp.Table,
        rows: int,
        merged: exp.Table,
        delete_where: dict[str, object],
        mark: dict[str, object],
    ) -> None:
        self._create_table(cursor, target, columns)
        deadline = time.monotonic() + min(self.lock_timeout, _CONFLICT_TIMEOUT)
        while True:
            try:
                version = self._version(cursor, target)
                with self._crossed_if(partial(self._is_new, cursor, target, version)):
                    leaving, total = self._counts(cursor, target, delete_where)
                    if self._keeps_inserts and not leaving:
                        self._run(cursor, "append", table=target, columns=list(columns), source=staging)
                        return
                    self._merge(cursor, target, columns, staging, merged, delete_where, mark)
                    if (found := self._count(cursor, merged)) != total - leaving + rows:
                        raise _Crossed(f"it was replaced while it was read: {found} rows, not {total - leaving + rows}")
                self._swap(cursor, merged, target, expected=version)
                return
            except _Crossed as error:
                if not delete_where and self._keeps_inserts:
                    raise BusyError(f"Another session changed {_dotted(target)} meanwhile: {error}") from error
                self._await_turn(cursor, target, error, deadline)

    #: Whether an INSERT that went well has its rows in the table, whoever else inserts at that moment.
    _keeps_inserts: ClassVar[bool] = True

    def _counts(self, cursor: Cursor, table: exp.Table, condition: dict[str, object]) -> tuple[int, int]:
        """Return how many rows a condition means, and how many a table has.

        A query that was planned before another session renamed the table may find no row of it. Where there is no
        condition and an INSERT is enough, nothing is counted.
        """
        if not condition:
            return 0, 0 if self._keeps_inserts else self._count(cursor, table)
        (row,) = self._fetch(cursor, "count_where", source=table, condition=condition)
        matching, total = int(str(row["n"])), int(str(row["total"]))
        if not total and self._count(cursor, table):
            raise _Crossed("it was replaced while it was read")
        return matching, total

    def _merge(
        self,
        cursor: Cursor,
        target: exp.Table,
        columns: Mapping[str, str],
        staging: exp.Table,
        merged: exp.Table,
        delete_where: dict[str, object],
        mark: dict[str, object],
    ) -> None:
        """Fill a table like the target with the rows that stay and those that come."""
        whole = list(self._columns(cursor, target))
        self._run(cursor, "drop_table", table=merged)
        cursor.execute(
            f"CREATE TABLE {self._text(merged)} LIKE {self._text(target)} "
            f"TBLPROPERTIES ({_quoted(_MARK)}={_quoted(json.dumps(mark))})"
        )
        if delete_where:
            self._run(cursor, "keep", table=merged, columns=whole, source=target, condition=delete_where)
        else:
            self._run(cursor, "append", table=merged, columns=whole, source=target)
        self._run(cursor, "append", table=merged, columns=list(columns), source=staging)

    def _insert(self, cursor: Any, table: exp.Table, columns: list[str], batches: Iterator[pa.RecordBatch]) -> int:
        """Insert Arrow batches, by statements of many rows, whose values are text that the statement casts."""
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
        # sqlglot would take a second a thousand rows to build and print what is put in here.
        head, tail = text.rsplit("automl_rows", 1)
        return head + ", ".join(self._row_word + row for row in rows) + tail

    #: What stands before a row in parentheses.
    _row_word: ClassVar[str] = "STRUCT"

    def _rows_of(self, names: list[str]) -> exp.Expression:
        """Return a table of rows, which stand where it says ``automl_rows``."""
        from sqlglot import exp

        listed = ", ".join(names)
        return exp.Var(this=f"(SELECT INLINE(ARRAY(automl_rows)) AS ({listed})) AS q")

    def _insert_files(
        self, cursor: Cursor, table: exp.Table, columns: dict[str, str], files: list[Path], mark: dict[str, object]
    ) -> int:
        """Make the staging table of Parquet files, by way of a copy where the engine reads it."""
        from pyhive.exc import Error  # type: ignore[import-untyped]

        from airflow_provider_automl.warehouse.types import arrow_schema

        rows = parquet_rows(files)
        key = f"{mark['target']} {mark['key'] or uuid.uuid4().hex}"
        with tempfile.TemporaryDirectory() as scratch, self._exchange().directory(key) as shared:
            shared.put(parquet_as(files, arrow_schema(columns), Path(scratch)))
            try:
                source = self._files(cursor, columns, shared.uri)
                seen = not rows or bool(self._fetch(cursor, "first_file", source=source))
            except Error as error:  # the server's own words; one that went away says none
                if _STOPPING.search(first_line(error)):
                    raise
                self._refuse_unowned(shared.uri, error)
                raise InputError(f"{self._unseen(shared.uri)}: {first_line(error)}") from error
            if not seen:
                raise InputError(f"{self._unseen(shared.uri)}: it finds no file there.")
            self._run(
                cursor, "create_marked_as", table=table, mark=json.dumps(mark), columns=list(columns), source=source
            )
        return rows

    def _unseen(self, uri: str) -> str:
        return (
            f"{self.engine}'s servers cannot read {uri}, where this worker wrote (set the connection's staging to a "
            "place that both reach)"
        )

    def _files(self, cursor: Cursor, columns: Mapping[str, str], uri: str) -> exp.Table:
        """Return a table of this session over Parquet files."""
        table = table_of(self._home["current_schema"], f"automl_{uuid.uuid4().hex}")
        text = sql.render("files", self.dialect, table=table, columns=columns, location=uri)
        cursor.execute(text.replace("CREATE EXTERNAL", "CREATE TEMPORARY EXTERNAL", 1))
        return table

    # ------------------------------------------------------------------------------------------------ publishing

    def _publish(self, cursor: Cursor, staging: exp.Table, target: exp.Table, *, mode: Mode) -> None:
        """Have the staging table take the target's name; again, for a while, if another session's work crosses it."""
        deadline = time.monotonic() + min(self.lock_timeout, _CONFLICT_TIMEOUT)
        while True:
            if mode == "error":
                self._refuse_existing(cursor, target)
            try:
                self._swap(cursor, staging, target)
                return
            except _Crossed as error:
                self._await_turn(cursor, target, error, deadline)

    def _swap(self, cursor: Cursor, staging: exp.Table, target: exp.Table, *, expected: object = None) -> None:
        """Have the staging table take the target's name, once.

        :param expected: what :meth:`_version` said of the target when the staging table was made from it.
        :raises _Crossed: another session's work came between: all is as before.
        """
        self._refuse_view(cursor, target)
        if not self._found(cursor, target):
            if expected is not None:
                raise _Crossed(f"{_dotted(target)} is gone")
            self._rename(cursor, staging, target)
            return
        aside, mine = self._aside(target), uuid.uuid4().hex
        self._set_mark(cursor, target, {"aside": _dotted(target), "by": mine})
        try:
            self._rename(cursor, target, aside)
            if expected is not None and self._version(cursor, aside) != expected:
                raise _Crossed(f"another session wrote to {_dotted(target)}")
            self._rename(cursor, staging, target)
        except BaseException:
            with suppress(Exception), self._session(write=True) as fresh:
                self._recover(fresh, target)
            raise
        with suppress(_Crossed), self._crossed_if(lambda: not self._found(cursor, aside)):
            # Another session may have dropped it already, and wait to have the new table back under that very name.
            if self._mark_of(cursor, aside).get("by") == mine:
                self._run(cursor, "drop_table", table=aside)

    def _refuse_view(self, cursor: Cursor, target: exp.Table) -> None:
        if "VIEW" in (self._kind(cursor, target) or ""):
            raise InputError(f"The table {_dotted(target)} cannot be written: it is a view.")

    def _rename(self, cursor: Cursor, table: exp.Table, name: exp.Table) -> None:
        with self._crossed_if(lambda: self._found(cursor, name) or not self._found(cursor, table)):
            self._run(cursor, "rename_table", table=table, name=name)

    def _await_turn(self, cursor: Cursor, target: exp.Table, error: _Crossed, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise BusyError(f"Another session kept changing {_dotted(target)}: {error}") from error
        time.sleep(random.uniform(0.05, 0.5))  # so that two do not meet again
        self._recover(cursor, target)

    def _recover(self, cursor: Cursor, target: exp.Table) -> None:
        """Put back, or drop, what one that was killed while it published left aside."""
        aside = self._aside(target)
        if not self._found(cursor, aside):
            return
        try:
            mark = self._mark_of(cursor, aside)
        except Exception:
            if self._found(cursor, aside):
                raise
            return  # the session that publishes has dropped it meanwhile
        if mark.get("aside") != _dotted(target):
            if not self._found(cursor, aside):
                return  # nothing is said of a table that is gone
            raise InputError(
                f"The table {_dotted(aside)}, which is none of ours, has the name under which the old "
                f"{_dotted(target)} waits while a new one is published: rename it."
            )
        with suppress(_Crossed):
            if self._found(cursor, target):
                with self._crossed_if(lambda: not self._found(cursor, aside) or not self._found(cursor, target)):
                    if self._mark_of(cursor, target) or self._count(cursor, target):
                        self._run(cursor, "drop_table", table=aside)
                        return
                    # One that found no table for a moment made an empty one to append to: nothing was published.
                    self._run(cursor, "drop_table", table=target)
            log.warning("A load of %s was cut off while it published: its old rows are put back.", _dotted(target))
            self._rename(cursor, aside, target)  # its mark stays: another session may have set it anew by now

    def _aside(self, target: exp.Table) -> exp.Table:
        return self._staging(target, "the old table while a new one is published")

    def _scratch(self, target: exp.Table) -> exp.Table:
        """Return a name beside the target that nobody has yet."""
        return self._staging(target, uuid.uuid4().hex)

    def _sweep(self, cursor: Cursor, target: exp.Table, mark: Mapping[str, object]) -> None:
        """Drop what dead runs of this load left beside the target."""
        prefix = self._staging(target, "").name[:-16]
        for schema, name, _ in cursor.tables(target.db, prefix + "%"):
            table = table_of(schema, name)
            if not re.fullmatch(re.escape(prefix) + "[0-9a-f]{16}", name, re.IGNORECASE):
                continue
            with suppress(Exception):  # it may be gone by now
                found = self._mark_of(cursor, table)
                old = float(str(found.get("since") or "inf")) < time.time() - _ABANDONED
                if found.get("target") == mark["target"] and (old or found.get("key") == mark["key"] != ""):
                    log.warning("The table %s, which a dead run left, is dropped.", _dotted(table))
                    self._run(cursor, "drop_table", table=table)

    def _mark_of(self, cursor: Cursor, table: exp.Table) -> dict[str, object]:
        """Return what the property of ours says of a table; nothing for another's."""
        try:
            found = json.loads(self._properties(cursor, table).get(_MARK, "{}"))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _set_mark(self, cursor: Cursor, table: exp.Table, mark: Mapping[str, object]) -> None:
        change = f"SET TBLPROPERTIES ({_quoted(_MARK)}={_quoted(json.dumps(mark))})"
        with self._crossed_if(lambda: not self._found(cursor, table)):
            cursor.execute(f"ALTER TABLE {self._text(table)} {change}")

    @contextmanager
    def _crossed_if(self, crossed: Callable[[], bool]) -> Iterator[None]:
        """Take a statement's failure for another session's doing, if that is to be seen."""
        try:
            yield
        except (AutoMLError, _Crossed):
            raise
        except Exception as error:
            if crossed():
                raise _Crossed(first_line(error)) from error
            raise

    def _properties(self, cursor: Cursor, table: exp.Table) -> Mapping[str, str]:
        cursor.execute(f"SHOW TBLPROPERTIES {self._text(table)}")
        return mapping_of(cursor.fetchall())

    def _is_new(self, cursor: Cursor, table: exp.Table, version: object) -> bool:
        return self._version(cursor, table) != version

    def _version(self, cursor: Cursor, table: exp.Table) -> object:
        """Return what changes when rows of a table change."""
        with self._crossed_if(lambda: not self._found(cursor, table)):
            found = self._properties(cursor, table)
        return {name: found.get(name) for name in ("numFiles", "numRows", "totalSize")}

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
            raise BusyError(f"{self.engine} read nothing where there are rows: the table was being replaced.")
        return rows

    def _batches(self, cursor: Cursor, text: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        cursor.execute(text)
        yield from cursor.batches(schema, min(batch_rows, 10_000))

    def _readable_as(self, column: exp.Expression, kind: str) -> exp.Expression | None:
        """Return what to select for a column whose type PyHive or Parquet lacks; None for the column itself."""
        from sqlglot import exp

        wanted = {"TIMESTAMPTZ": "TIMESTAMP", "INTERVAL": "VARCHAR", "NULL": "VARCHAR"}.get(kind)
        return exp.cast(column, wanted) if wanted else None

    def _unload_files(self, cursor: Cursor, query: exp.Select, columns: Mapping[str, str], path: Path) -> int:
        """Have the engine write the rows as Parquet files, and take those."""
        import pyarrow.parquet as pq

        with self._exchange().directory(str(path.parent.absolute())) as shared:  # the same in a retry
            with self._writes(shared.uri):
                written = self._write_files(cursor, sql.to_text(query, self.dialect), shared.uri)
            rows = int(str(self._fetch(cursor, "count", source=written)[0]["n"]))
            taken = shared.take(path.parent)
        here = sum(pq.read_metadata(file).num_rows for file in taken)  # type: ignore[no-untyped-call]
        if here != rows:
            raise InputError(
                f"{self.engine} wrote {rows} rows to {shared.uri}, where this worker finds {here}: set the "
                "connection's staging to a place that both reach."
            )
        if not taken:
            from airflow_provider_automl.warehouse.types import arrow_schema

            pq.write_table(arrow_schema(columns).empty_table(), path)  # type: ignore[no-untyped-call]
        return rows

    @contextmanager
    def _writes(self, uri: str) -> Iterator[None]:
        """Tell a staging place where the engine may not write from a query that fails."""
        from pyhive.exc import Error

        try:
            yield
        except Error as error:  # the server's own words; one that went away says none
            said = first_line(error)
            self._refuse_unowned(uri, error)
            if (
                not _is_users_fault(error)
                and not _STOPPING.search(said)
                and (_UNWRITABLE.search(said) or uri.rpartition(":")[2] in said)
            ):
                raise InputError(
                    f"{self.engine}'s servers cannot write to {uri}, which this worker can: set the connection's "
                    f"staging to a place that both reach: {said}"
                ) from error
            raise

    def _refuse_unowned(self, uri: str, error: Exception) -> None:
        """Tell a staging place that only its owner may use, whatever the server may."""
        if _UNOWNED.search(said := first_line(error)):
            raise InputError(
                f"{self.engine} lets only the owner of {uri}, the user that this worker runs as, use it: log in as "
                f"that user, or have staging be a directory without file://: {said}"
            ) from error

    def _write_files(self, cursor: Cursor, query: str, uri: str) -> exp.Table:
        """Have the engine write a query's rows to a place, and return a table over them."""
        table = table_of(self._home["current_schema"], f"automl_{uuid.uuid4().hex}")
        cursor.execute(
            f"CREATE TEMPORARY EXTERNAL TABLE {self._text(table)} STORED AS PARQUET LOCATION {_quoted(uri)} AS {query}"
        )
        return table

    def _count(self, cursor: Any, source: exp.Expression) -> int:
        """As the base's; nothing is believed only when it is said twice, by a server that is well."""
        count = super()._count(cursor, source)
        if not count:
            self._refuse_ill(cursor)
            count = super()._count(cursor, source)
        return count

    def _refuse_ill(self, cursor: Cursor) -> None:
        """After a result that is empty, see whether the server is to be believed.

        Where tasks run in the server itself (Tez in local mode), one that failed may have all later ones read nothing,
        without an error, until the server is restarted.
        """
        if not self._fetch(cursor, "canary")[0]["n"]:
            raise BusyError(
                f"{self.engine}'s server (connection {self.hook.get_conn_id()}) finds no row where there is one, as it "
                "does after a task failed inside it: nothing that it says is to be believed before it is restarted."
            )

    # ------------------------------------------------------------------------------------------------ what is there

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        """Yield a cursor of a session; there is no transaction. The server's errors come as PEP 249 has them."""
        from pyhive.exc import OperationalError

        with connected(self.hook) as connection:
            cursor = Cursor(connection, comment=self._comment())
            self._cursors.add(cursor)
            try:
                self._prepare(cursor)
                yield cursor
            except OperationalError as error:
                raise _GivenUp(f"{self.engine} gave a statement up: {first_line(error)[:2000]}") from error
            finally:
                self._cursors.discard(cursor)

    def _prepare(self, cursor: Cursor) -> None:
        """Set what this class needs, and say which task this is."""
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
                        f"to {value}, which its tables need: have the server allow it, or set it there: "
                        f"{first_line(error)}"
                    ) from error
        if not self._says_who:
            return
        for name, value in self._names().items():
            with suppress(Exception):
                cursor.set(name, value)

    @cached_property
    def _says_who(self) -> bool:
        connection = self.hook.get_connection(self.hook.get_conn_id())
        return bool(connection.extra_dejson.get("run_set_variable_statements", True))

    def _names(self) -> dict[str, str]:
        """Return what tells this task in the server's lists and logs."""
        name = task_name()
        return task_context() | ({"hive.query.name": name, "mapreduce.job.name": name} if name else {})

    def _comment(self) -> str:
        """Return what each statement says of this task, where no setting does."""
        return ""

    @contextmanager
    def _explained(self, *sources: str | Query) -> Iterator[None]:
        tables = " and ".join(source for source in sources if isinstance(source, str))
        with (
            self._writing(f"{self.engine} refuses to work with {tables or 'the query'}"),
            super()._explained(*sources),
        ):
            yield

    def _source(self, source: str | Query) -> exp.Expression:
        """As the base's; where a subquery cannot begin with WITH, its expressions go to the front of the statement."""
        if isinstance(source, str) or self._nests_with:
            return super()._source(source)
        with_text, text = leading_ctes(source.text(self.dialect), self.dialect)
        return framed(text, with_text=with_text)

    def _admit(self, cursor: Any, text: str) -> None:
        """By EXPLAIN, which takes one statement."""
        cursor.execute(f"EXPLAIN\n{text}")

    #: Whether a subquery may begin with WITH; else sqlglot moves that to the front of the statement.
    _nests_with: ClassVar[bool] = False

    def _describe(self, cursor: Any, source: exp.Expression) -> list[tuple[str, str]]:
        """Ask for no rows, and read the types that the server tells."""
        cursor.execute(sql.render("describe", self.dialect, source=source))
        found: list[tuple[str, str]] = cursor.types()
        return found

    def _tables(self, cursor: Any) -> list[exp.Table]:
        return [table_of(schema, name) for schema, name, _ in cursor.tables("%")]

    def _kind(self, cursor: Cursor, table: exp.Table) -> str | None:
        """Return TABLE, VIEW or the like; None if nothing has that name."""
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
            if not present():  # now, by another session
                raise

    def _create_table(self, cursor: Any, table: exp.Table, columns: Mapping[str, str]) -> None:
        """Make it, or add what is missing; again, if another session's columns crossed these."""
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

    def _exchange(self) -> Exchange:
        from airflow_provider_automl.warehouse.exchange import Exchange

        assert self.staging is not None
        return Exchange(self.staging)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _quoted(text: str) -> str:
    return "'" + text.translate(_ESCAPES) + "'"


def _text_rows(batch: pa.RecordBatch) -> tuple[list[str], frozenset[int]]:
    """Return each row as ``('1', 'a', NULL)``, and which columns of texts are in Base64.

    Those are: Hive takes time by the square of how many characters of a text have a backslash before them, and
    compiles nobody else's query meanwhile.
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
