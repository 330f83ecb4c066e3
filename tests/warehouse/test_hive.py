"""A real Hive keeps the promises, as far as an engine without transactions can."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.sql.names import table_of
from airflow_provider_automl.warehouse import Query, Warehouse
from airflow_provider_automl.warehouse.exchange import Exchange, Shared
from airflow_provider_automl.warehouse.hive import HiveWarehouse, open_hive
from airflow_provider_automl.warehouse.hiveserver2 import Cursor
from airflow_provider_automl.warehouse.measures import evaluate
from tests.engines import Facts, Missing, required
from tests.engines.hive import Hive, hivemall
from tests.warehouse.conformance import (
    INF,
    NAMES,
    SPARED,
    TYPES,
    Concurrency,
    Conformance,
    Measures,
    child,
    numbers,
    put,
    quoted,
    take,
)
from tests.warehouse.conftest import Connect
from tests.warehouse.swapping import Swapping

_TICKS = os.sysconf("SC_CLK_TCK")


def emptied(warehouse: HiveWarehouse) -> HiveWarehouse:
    """The warehouse, without what another test left in it."""
    with warehouse._session(write=True) as cursor:
        for schema in cursor.schemas():
            if schema not in ("default", "global_temp") and not schema.startswith(SPARED):
                cursor.execute(f"DROP DATABASE `{schema.replace('`', '``')}` CASCADE")
        for schema, name, kind in cursor.tables("default"):
            if name.startswith(SPARED):
                continue
            cursor.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {warehouse._text(table_of(schema, name))}")
    return warehouse


def tables(warehouse: HiveWarehouse) -> set[str]:
    """Names of those in the schema ``s``."""
    with warehouse._session() as cursor:
        return {name for _, name, _ in cursor.tables("s")}


class WithoutTransactions(Conformance):
    """What holds instead of the promises that need a transaction, ``DELETE``, or double quotes around names."""

    tried: ClassVar[str] = "with'quote"
    replaced: ClassVar[Sequence[int]] = (2,)  # by one of the hardest name

    def tables(self, warehouse: Warehouse) -> list[tuple[object, object]]:
        with warehouse._session() as cursor:
            found = [(table.db, table.name) for table in warehouse._tables(cursor)]
        return sorted(each for each in found if not each[each[0] == "default"].startswith(SPARED))

    def test_any_name_of_a_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Names that the engine cannot have are refused by one sentence."""
        super().test_any_name_of_a_table(warehouse, tmp_path)
        before = self.tables(warehouse)
        for name in NAMES:
            if name not in self.taken:
                data = pa.table({name: [1, 2, None], "other": ["a", "b", "c"]})
                with pytest.raises(InputError, match="is not (a valid .* name|allowed) in .*: (choose|rename)"):
                    put(warehouse, f"{quoted(name)}.{quoted(name)}", data, tmp_path)
        assert self.tables(warehouse) == before == []

    def test_a_query_may_stand_for_a_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Names are quoted by backticks; Hive folds them to lower case."""
        put(warehouse, "s.t", numbers(10), tmp_path)
        query = Query(
            "WITH few AS (SELECT id, x FROM s.t WHERE id < 4) SELECT id, x AS `a b` FROM few ORDER BY id DESC;"
        )
        assert list(warehouse.columns(query)) == ["id", "a b"]
        assert warehouse.count(query) == 4
        assert sorted(take(warehouse, query, tmp_path)["id"].to_pylist()) == [0, 1, 2, 3]
        assert take(warehouse, query, tmp_path, max_rows=3, seed=1).num_rows == 3

    def test_a_row_is_recorded_once(self, warehouse: Warehouse) -> None:
        """Another row of the same key supersedes the one that was there, which stays."""
        columns = {
            "record_id": "VARCHAR",
            "text": "VARCHAR",
            "score": "DOUBLE",
            "rows": "BIGINT",
            "flag": "BOOLEAN",
            "session_time": "TIMESTAMP",
            "more": "VARCHAR",
            "recorded_at": "TIMESTAMP",
        }
        warehouse.create_table("s.r", columns)
        moment = dt.datetime(2026, 3, 29, 3, 30, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2)))
        row = {
            "record_id": "a",
            "text": "it's 50%\n${system:user.name} \\ 🙂",
            "score": 0.1 + 0.2,
            "rows": 2**53 + 1,
            "flag": True,
            "session_time": moment,
            "recorded_at": moment,
        }
        later = {"recorded_at": moment + dt.timedelta(1)}
        assert warehouse.record("s.r", row) == "inserted"
        assert warehouse.record("s.r", row | later) == "unchanged"
        (found,) = warehouse.rows("s.r")
        stored = moment.astimezone(dt.UTC).replace(tzinfo=None)
        assert found == row | {"more": None, "session_time": stored, "recorded_at": stored}
        assert warehouse.record("s.r", row | later | {"score": INF}) == "replaced"
        assert warehouse.record("s.r", row | later | {"score": INF}) == "unchanged"
        again = {"recorded_at": moment + dt.timedelta(2)}
        assert warehouse.record("s.r", row | again) == "replaced"  # what was superseded is said anew
        assert [r["score"] for r in warehouse.rows("s.r", order_by=["recorded_at"])] == [0.1 + 0.2, INF, 0.1 + 0.2]
        with pytest.raises(InputError, match="no column nonsense"):
            warehouse.record("s.r", {"record_id": "c", "nonsense": 1})
        with pytest.raises(InputError, match="record_id"):
            warehouse.record("s.r", {"text": "without key"})

    def test_a_users_query_reaches_the_engine_as_it_is_written(self, warehouse: Warehouse, tmp_path: Path) -> None:
        query = Query("SELECT NAMED_STRUCT('x', 1, 'y z', 'a') AS s -- sqlglot would print STRUCT(1, 'a')")
        assert take(warehouse, query, tmp_path)["s"].to_pylist() == ['{"x":1,"y z":"a"}']
        query = Query(
            "WITH a AS (SELECT 1 AS x), b AS (SELECT x FROM a)\nSELECT x FROM b UNION ALL SELECT 2 AS x ; -- so"
        )
        assert warehouse.count(query) == 2

    def test_what_loads_of_the_first_version_left_is_cleaned_up(self, warehouse: HiveWarehouse, tmp_path: Path) -> None:
        """Killed between its two renames, and others that are dead, at work, another target's, and the user's own."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        target = warehouse._qualified("s.t")
        backup = warehouse._staging(target, "the old table while a new one is published")
        now, key = int(time.time()), warehouse._load_of(target, "task")
        tags: dict[str, dict[str, object] | None] = {
            "same key": {"target": "s.t", "key": key, "since": now},
            "old": {"target": "s.t", "key": "", "since": now - 90_000},
            "at work": {"target": "s.t", "key": "another", "since": now},
            "another's": {"target": "s.u", "key": key, "since": now - 90_000},
            "the user's": None,
        }
        names = {what: warehouse._staging(target, what) for what in tags}
        with warehouse._session(write=True) as cursor:
            tag = json.dumps({"aside": "s.t", "by": "x"})
            cursor.execute(f"ALTER TABLE {warehouse._text(target)} SET TBLPROPERTIES ('automl_mark'='{tag}')")
            warehouse._run(cursor, "rename_table", table=target, name=backup)
            for what, found in tags.items():
                if found is None:
                    warehouse._run(cursor, "create_table", table=names[what], columns={"a": "BIGINT"})
                else:
                    columns = {"a": "BIGINT"}
                    warehouse._run(cursor, "create_marked", table=names[what], columns=columns, mark=json.dumps(found))
        assert put(warehouse, "s.t", numbers(2, 3), tmp_path, mode="append", key="task") == 2
        assert [row["id"] for row in warehouse.rows("s.t", order_by=["id"])] == [0, 1, 2, 3, 4]
        kept = {name for _, name in self.tables(warehouse)} - {"t"}
        assert kept == {names[what].name for what in ("at work", "another's", "the user's")}

    def test_a_table_that_goes_or_changes_before_it_is_read(
        self, warehouse: HiveWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        described = warehouse._columns

        def then(change: str) -> Any:
            def columns(cursor: Any, source: Any) -> dict[str, str]:
                found = described(cursor, source)
                with warehouse._session(write=True) as other:
                    other.execute(change)
                return found

            return columns

        put(warehouse, "s.t", numbers(3), tmp_path)
        monkeypatch.setattr(warehouse, "_columns", then("ALTER TABLE s.t RENAME TO s.u"))
        # Spark knows which files it wanted.
        with pytest.raises((InputError, BusyError), match=r"no table s\.t|FILE_NOT_EXIST"):
            warehouse.unload("s.t", tmp_path / "gone")
        monkeypatch.setattr(warehouse, "_columns", described)
        put(warehouse, "s.t", pa.table({"other": [1]}), tmp_path)
        swap = "ALTER TABLE s.t RENAME TO s.old"
        with warehouse._session(write=True) as cursor:
            warehouse._run(cursor, "create_table", table=warehouse._qualified("s.new"), columns={"z": "BIGINT"})

        def replaced(cursor: Any, source: Any) -> dict[str, str]:
            found = then(swap)(cursor, source)
            with warehouse._session(write=True) as other:
                other.execute("ALTER TABLE s.new RENAME TO s.t")
            return dict(found)

        monkeypatch.setattr(warehouse, "_columns", replaced)
        with pytest.raises((InputError, BusyError), match=r"rejected the query on s\.t: .*other|FILE_NOT_EXIST"):
            warehouse.unload("s.t", tmp_path / "changed")

    def test_a_view_that_comes_during_a_load(
        self, warehouse: HiveWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        publish = warehouse._publish

        def late(cursor: Any, *arguments: Any, **options: Any) -> None:
            cursor.execute("CREATE VIEW s.v AS SELECT id FROM s.t")
            publish(cursor, *arguments, **options)

        monkeypatch.setattr(warehouse, "_publish", late)
        with pytest.raises(InputError, match=r"s\.v cannot be written: it is a view"):
            put(warehouse, "s.v", numbers(1), tmp_path)
        assert self.tables(warehouse) == [("s", "t"), ("s", "v")]

    def test_two_columns_that_differ_by_case(self, warehouse: Warehouse, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Duplicate column name 'a'"):
            put(warehouse, "s.t", pa.table({"a": [1], "A": [2]}), tmp_path)
        assert not warehouse.exists("s.t")

    def test_long_rows(self, warehouse: Warehouse, tmp_path: Path) -> None:
        long = "é'\\\n" * 500_000
        data = pa.table({"a": [long, "short", long[:-1]], "b": [b"\0\x1a" * 300_000, None, b"\x001"]})
        put(warehouse, "s.t", data, tmp_path)
        assert take(warehouse, "s.t", tmp_path).sort_by("a").to_pylist() == data.sort_by("a").to_pylist()

    def test_a_statement_is_cancelled(self, warehouse: HiveWarehouse, slow: Slow) -> None:
        """At once for the client; the server, which sees it hang up, ends the work."""
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(lambda: warehouse.count(Query(slow.query)))
            try:
                used, ends = slow.used(), slow.ends()
                while slow.used() - used < 3:
                    assert not asking.done()
                    time.sleep(0.1)
                busy = slow.work(3)
            finally:
                begun = time.monotonic()
                warehouse.cancel()
            assert time.monotonic() - begun < 0.2
            with pytest.raises(BusyError, match="was cancelled"):
                asking.result()
            assert time.monotonic() - begun < 2
        deadline = time.monotonic() + 60
        while slow.ends() == ends and slow.work(3) > busy / 4:
            assert time.monotonic() < deadline
        assert warehouse.count(Query("SELECT 1 AS a")) == 1

    def test_an_answer_that_was_lost(
        self, warehouse: HiveWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The work was done, but nobody knows: it is not done again, and the old table stays."""
        from thrift.transport.TTransport import TTransportException

        put(warehouse, "s.t", numbers(3), tmp_path)
        execute = Cursor._execute
        lost = []

        def once(self: Cursor, text: str) -> None:
            execute(self, text)
            if "CAST(c0 AS" in text or ("automl_mark" in text and " AS SELECT" in text):
                lost.append(text)
                raise TTransportException(message="the answer was lost")

        monkeypatch.setattr(Cursor, "_execute", once)
        with pytest.raises(BusyError, match="went away: the answer was lost"):
            put(warehouse, "s.t", numbers(5), tmp_path, key="task")
        assert len(lost) == 1
        monkeypatch.setattr(Cursor, "_execute", execute)
        assert warehouse.count("s.t") == 3
        assert self.tables(warehouse) == [("s", "t")]
        put(warehouse, "s.t", numbers(5), tmp_path, key="task")
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(5).to_pylist()

    def test_a_server_that_is_not_there(self, connect: Connect) -> None:
        with pytest.raises(BusyError, match="cannot be reached"):
            open_hive(connect(conn_type="hiveserver2", host="127.0.0.1", port=1))


class Slow:
    """A query that takes minutes, and how much the server works."""

    def __init__(self, query: str, server: Facts, says: str = "") -> None:
        self.query = query
        self._log = Path(server["log"])
        self._says = says
        self._pids = [pid for pid, _ in server["processes"]]

    def ends(self) -> int:
        """How often the server said that it ended a query: one that does the work itself cannot stop a task at once."""
        return self._log.read_text(errors="replace").count(self._says) if self._says else 0

    def used(self) -> float:
        """Seconds of processor time."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._pids]
        return sum(int(user) + int(system) for *_, user, system in (each[:13] for each in fields)) / _TICKS

    def work(self, seconds: float) -> float:
        """How many processors it keeps busy, over that time."""
        used, begun = self.used(), time.monotonic()
        time.sleep(seconds)
        return (self.used() - used) / (time.monotonic() - begun)


class Staged:
    """What goes wrong with a staging location."""

    @pytest.fixture
    def elsewhere(self, warehouse: HiveWarehouse, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
        """The engine is told of another place than the one that this process reaches, as on another machine."""
        assert warehouse.staging is not None
        exchange = Elsewhere(warehouse.staging)
        monkeypatch.setattr(warehouse, "_exchange", lambda: exchange)
        return exchange

    def test_the_engine_does_not_see_what_was_staged(
        self, warehouse: HiveWarehouse, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        elsewhere.told = (tmp_path / "another disk").as_uri()
        with pytest.raises(InputError, match=r"servers cannot read file:.*another.*where this worker wrote"):
            put(warehouse, "s.t", numbers(3), tmp_path)
        with pytest.raises(InputError, match=r"wrote 1 rows to file:.*another.* where this worker finds 0"):
            warehouse.unload(Query("SELECT 1 AS a"), tmp_path / "out")

    def test_the_engine_may_not_write_there(
        self, warehouse: HiveWarehouse, tmp_path: Path, elsewhere: Elsewhere
    ) -> None:
        (tmp_path / "a file").touch()
        elsewhere.told = (tmp_path / "a file" / "below").as_uri()
        # Hive itself does not notice, on a local disk.
        told = (
            r"(servers cannot write to|wrote 1 rows to) file:.*below, (which this worker can|where this worker finds 0)"
        )
        with pytest.raises(InputError, match=told):
            warehouse.unload(Query("SELECT 1 AS a"), tmp_path / "out")

    def test_this_worker_may_not_write_there(self, warehouse: HiveWarehouse, tmp_path: Path) -> None:
        (tmp_path / "a file").touch()
        warehouse.staging = (tmp_path / "a file" / "below").as_uri()
        for work in (
            lambda: put(warehouse, "s.t", numbers(3), tmp_path),
            lambda: warehouse.unload(Query("SELECT 1 AS a"), tmp_path / "out"),
        ):
            with pytest.raises(InputError, match=r"This worker cannot use the staging location file:.*below"):
                work()
        warehouse.staging = None  # for the fixture


class Elsewhere(Exchange):
    """A staging location of which the engine is told another address."""

    told = ""

    @contextmanager
    def directory(self, key: str) -> Iterator[Shared]:
        with super().directory(key) as shared:
            shared.uri = self.told
            yield shared


class Together(Concurrency):
    """What an engine without transactions keeps of what holds when several do it at once."""

    def test_a_reader_sees_the_old_table_or_the_new_one(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Or for a moment none, or nothing in it, since the files are elsewhere; never some of the rows."""
        put(warehouse, "s.t", numbers(1000), tmp_path)
        seen: list[int] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                try:
                    seen.append(len(warehouse.rows("s.t")))
                except (InputError, BusyError):
                    seen.append(-1)

        with ThreadPoolExecutor() as pool:
            reader = pool.submit(read)
            try:
                for turn in range(4):
                    put(warehouse, "s.t", numbers(2000 if turn % 2 == 0 else 1000), tmp_path)
            finally:
                done.set()
            reader.result()
        assert set(seen) <= {1000, 2000, -1, 0}
        assert seen.count(-1) + seen.count(0) < len(seen) / 2

    def test_many_record_the_same_row(self, warehouse: Warehouse) -> None:
        """At the same moment two may insert it; all that is read is the same row."""
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        row = {"record_id": "r", "score": 0.5}
        with ThreadPoolExecutor(3) as pool:
            results = list(pool.map(lambda _: warehouse.record("s.r", row), range(3)))
        assert set(results) <= {"inserted", "unchanged"}
        assert warehouse.record("s.r", row) == "unchanged"
        found = warehouse.rows("s.r")
        assert 1 <= len(found) <= 3
        assert all(each == row for each in found)

    def test_many_make_the_same_table(self, warehouse: Warehouse) -> None:
        """Of two that add different columns at the same moment, one's may be lost: whoever needs it adds it again."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: warehouse.create_table("made.t", {"a": "BIGINT", "c": "DOUBLE"}), range(4)))
            assert set(warehouse.columns("made.t")) == {"a", "c"}
            list(pool.map(lambda i: warehouse.create_table("made.t", {"a": "BIGINT", f"c{i % 2}": "DOUBLE"}), range(4)))
        for i in range(2):
            warehouse.create_table("made.t", {f"c{i}": "DOUBLE"})
        assert set(warehouse.columns("made.t")) == {"a", "c", "c0", "c1"}

    def test_many_record_rows_of_their_own(self, warehouse: Warehouse) -> None:
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        with ThreadPoolExecutor(4) as pool:
            results = list(
                pool.map(lambda i: warehouse.record("s.r", {"record_id": f"r{i}", "score": i / 2}), range(4))
            )
        assert set(results) <= {"inserted", "unchanged"}
        assert {row["record_id"] for row in warehouse.rows("s.r")} == {"r0", "r1", "r2", "r3"}

    test_processes_record_the_same_row = None  # type: ignore[assignment]  # as threads do

    def test_many_append(self, warehouse: Warehouse, tmp_path: Path) -> None:
        def append(turn: int) -> None:
            data = pa.table({"model": [f"m{turn % 2}"] * 3})
            put(warehouse, "new.board", data, tmp_path, mode="append", delete_where={"model": f"m{turn % 2}"})

        append(0)
        append(1)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(append, range(2)))
        assert warehouse.count("new.board") == 6

    def test_two_publish_the_same_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda rows: put(warehouse, "s.t", numbers(rows), tmp_path), [10, 20, 30, 40]))
        assert len(warehouse.rows("s.t")) in {10, 20, 30, 40}
        assert self.tables(warehouse) == [("s", "t")]  # type: ignore[attr-defined]

    def test_a_killed_load_leaves_the_old_table(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        files = tmp_path / "many"
        files.mkdir()
        pq.write_table(numbers(1_000_000), files / "part-0.parquet")
        load = f"warehouse.load(Path({str(files)!r}), 's.t', key='task')"
        with child(connection, f"print('loading', flush=True); {load}") as process:
            assert process.stdout is not None
            process.stdout.readline()
            deadline = time.monotonic() + 60
            while len(self.tables(warehouse)) == 1:  # type: ignore[attr-defined]
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()
        put(warehouse, "s.t", numbers(5), tmp_path, key="task")
        assert len(warehouse.rows("s.t")) == 5
        assert self.tables(warehouse) == [("s", "t")]  # type: ignore[attr-defined]


class HiveTypes(WithoutTransactions):
    """Hive's names and types."""

    taken: ClassVar[Sequence[str]] = ("plain", "with-hyphen", 'with"quote', "with'quote", "with`tick", "select")

    def test_every_type_comes_back_as_it_went(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """A time with zone becomes one without, in UTC."""
        data = pa.table({name: pa.array(values, kind) for name, (kind, _, values) in TYPES.items()})
        assert put(warehouse, "s.types", data, tmp_path) == 4
        utc = {"TIMESTAMPTZ": "TIMESTAMP"}
        assert warehouse.columns("s.types") == {n: utc.get(kind, kind) for n, (_, kind, _) in TYPES.items()}
        back = take(warehouse, "s.types", tmp_path).sort_by("big")
        data = data.set_column(data.column_names.index("zoned"), "zoned", data["zoned"].cast(pa.timestamp("us")))
        assert back.schema.remove_metadata() == data.schema
        for name in TYPES:
            assert repr(back[name].to_pylist()) == repr(data.sort_by("big")[name].to_pylist()), name

    def test_the_engines_own_types(self, warehouse: Warehouse, tmp_path: Path) -> None:
        plain = {
            "CAST('x' AS CHAR(3))": "x",
            "CAST('y' AS VARCHAR(3))": "y",
            "UNHEX('ff00')": b"\xff\x00",
            "NULL": None,
            "CAST('2020-01-01 00:00:00.123456789' AS TIMESTAMP)": dt.datetime(2020, 1, 1, 0, 0, 0, 123456),  # noqa: DTZ001 - without zone, as stored
            "CAST('9999-12-31 23:59:59.999999' AS TIMESTAMP)": dt.datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001 - without zone, as stored
            "CAST('7.10' AS DECIMAL(38, 2))": Decimal("7.10"),
            "CAST(3 AS SMALLINT)": 3,
            "CAST(1.5 AS FLOAT)": 1.5,
            "INTERVAL '1-2' YEAR TO MONTH": "1-2",
            "INTERVAL '1 02:03:04.5' DAY TO SECOND": "1 02:03:04.500000000",
        }
        nested = {
            "ARRAY(1.5, 2)": "[1.5,2]",
            "MAP('a', 1)": '{"a":1}',
            "STRUCT('q\"')": '{"col1":"q\\""}',
            "CREATE_UNION(1, 7, 'a')": '{1:"a"}',
            "ARRAY(NAMED_STRUCT('d', DATE'2020-01-01'))": '[{"d":"2020-01-01"}]',
        }
        for values in (plain, plain | nested):  # with nested ones, all go through the cursor
            names = {f"c{i}": value for i, value in enumerate(values.values())}
            text = ", ".join(f"{expression} AS {name}" for expression, name in zip(values, names, strict=True))
            (row,) = take(warehouse, Query(f"SELECT {text}"), tmp_path).to_pylist()
            row["c0"] = row["c0"].rstrip()  # Hive fills it up or not, as its plan has it
            assert row == names

    def test_a_local_time_becomes_utc(self, warehouse: Warehouse, tmp_path: Path) -> None:
        with warehouse._session(write=True) as cursor:
            cursor.execute("CREATE TABLE z (t TIMESTAMP WITH LOCAL TIME ZONE) STORED AS TEXTFILE")
            cursor.execute(
                "INSERT INTO z SELECT CAST('2026-03-29 03:30:00 Europe/Berlin' AS TIMESTAMP WITH LOCAL TIME ZONE)"
            )
        assert warehouse.columns("z") == {"t": "TIMESTAMPTZ"}
        (row,) = take(warehouse, "z", tmp_path).to_pylist()
        assert row["t"].isoformat() == "2026-03-29T01:30:00"


# Ten thousand rows of each.
SLOW = (
    "SELECT 1 AS one FROM {} LATERAL VIEW EXPLODE(SPLIT(SPACE(99), ' ')) a AS a "
    "LATERAL VIEW EXPLODE(SPLIT(SPACE(99), ' ')) b AS b"
)


class OnHive(HiveTypes, Together):
    """Hive, either way."""

    @pytest.fixture
    def connection(self, hive_server: Facts) -> dict[str, Any]:
        return {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": hive_server["port"], "login": "airflow"}

    @pytest.fixture
    def slow(self, warehouse: Warehouse, hive_server: Facts, tmp_path: Path) -> Slow:
        put(warehouse, "s.many", numbers(20_000), tmp_path)
        return Slow(SLOW.format("s.many"), hive_server, says="Shutting down task")


class TestHive(OnHive, Swapping, Staged, Measures):
    """Rows go through a directory that both reach."""

    test_memory_is_flat = test_a_killed_load_leaves_the_old_table = None  # without staging there is more to it

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any], tmp_path: Path) -> Iterator[HiveWarehouse]:
        shared = tmp_path / "shared"
        shared.mkdir()
        yield emptied(open_hive(connect(**connection), staging=shared.as_uri()))
        assert list(shared.iterdir()) == []


class TestHivemall:
    """``hivemall=True`` gives what the real functions of Hivemall give, on the same rows of the same server."""

    @pytest.fixture
    def jar(self) -> Path:
        try:
            return hivemall()
        except Missing as missing:
            pytest.skip(str(missing))

    @pytest.fixture
    def warehouse(self, connect: Connect, hive_server: Facts, tmp_path: Path) -> HiveWarehouse:
        connection = {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": hive_server["port"], "login": "airflow"}
        (tmp_path / "shared").mkdir()
        return emptied(open_hive(connect(**connection), staging=(tmp_path / "shared").as_uri()))

    def test_is_the_real_one(self, warehouse: HiveWarehouse, jar: Path, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        n = 2000
        y = (rng.random(n) < 0.2).astype("int32")
        s = np.clip(np.round(rng.normal(0.4, 0.3, n) + 0.3 * y, 2), 0, 1)  # ties, and probabilities of 0 and 1
        put(warehouse, "s.p", pa.table({"y": y, "s": s, "e": rng.normal(size=n), "five": np.full(n, 5.0)}), tmp_path)
        queries = {
            "hivemall_auc": "SELECT auc(s, y) FROM (SELECT s, y FROM s.p ORDER BY s DESC) q",
            "hivemall_logloss": "SELECT logloss(s, CAST(y AS DOUBLE)) FROM s.p",
            "hivemall_fmeasure": "SELECT fmeasure(y, IF(s >= 0.3, 1, 0), '-beta 2.') FROM s.p",
            "hivemall_fmeasure_binary": "SELECT fmeasure(y, IF(s >= 0.3, 1, 0), '-beta 2. -average binary') FROM s.p",
            **{f"hivemall_{name}": f"SELECT {name}(e, s) FROM s.p" for name in ("rmse", "mse", "mae", "r2")},
            "constant": "SELECT r2(e, five) FROM s.p",
            "classes": "SELECT fmeasure(array(CAST(s * 10 AS INT)), array(y)) FROM s.p",
        }
        classes = {
            "auc": "AUC", "logloss": "LogarithmicLoss", "fmeasure": "FMeasure", "rmse": "RootMeanSquaredError",
            "mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "r2": "R2",
        }  # fmt: skip
        real = {}
        with warehouse._session(write=True) as cursor:
            cursor.execute(f"ADD JAR {jar}")
            # Without this Hive drops the order that Hivemall's AUC needs, and the AUC is wrong in silence.
            cursor.execute("SET hive.remove.orderby.in.subquery=false")
            for name, java in classes.items():
                cursor.execute(f"CREATE TEMPORARY FUNCTION {name} AS 'hivemall.evaluation.{java}UDAF'")
            for name, query in queries.items():
                cursor.execute(query)
                ((real[name],),) = cursor.fetchall()
        binary = {"problem_type": "binary", "score": "s", "positive_class": 1, "threshold": 0.3, "beta": 2.0}
        numbers = {"problem_type": "regression", "label": "s", "prediction": "e"}
        buckets = Query("SELECT CAST(s * 10 AS INT) AS a, y FROM s.p")
        ours = {
            **evaluate(warehouse, "s.p", label="y", hivemall=True, **binary),
            **evaluate(warehouse, "s.p", hivemall=True, **numbers),
        }
        constant = evaluate(warehouse, "s.p", hivemall=True, **{**numbers, "label": "five"})
        several = evaluate(warehouse, buckets, label="a", problem_type="multiclass", prediction="y", hivemall=True)
        ours |= {"constant": constant["hivemall_r2"], "classes": several["hivemall_fmeasure"]}
        assert constant["r2"] == 0 != real["constant"]
        for name, value in real.items():
            assert ours[name] == pytest.approx(value, rel=1e-9), name


class ByCursor:
    """Rows go through the cursor. What is not about the way of rows is as with staging, and is proven there."""

    test_names_as_people_write_them = test_a_missing_table_is_named_with_the_nearest = test_a_query_only_reads = None
    test_rows = test_overwrite_error_and_append = test_a_view_is_not_overwritten = None
    test_tables_are_made_once_and_only_grow = test_a_row_is_recorded_once = None
    test_auc_equals_scikit_learn = test_what_cannot_be_compared_is_counted = None
    test_two_models_are_compared_on_the_same_rows = None
    test_what_a_killed_publishing_left_is_put_back = test_only_what_dead_runs_of_ours_left_is_dropped = None
    test_a_users_table_that_stands_in_the_way_is_left = test_a_view_that_comes_during_a_load = None
    test_a_table_that_goes_or_changes_before_it_is_read = test_two_columns_that_differ_by_case = None
    test_a_statement_is_cancelled = test_a_server_that_is_not_there = test_is_told_apart = None
    test_a_reader_sees_the_old_table_or_the_new_one = test_many_record_the_same_row = None
    test_many_record_rows_of_their_own = test_a_failed_load_leaves_the_old_table = None
    test_many_make_the_same_table = test_many_append = test_two_publish_the_same_table = None
    test_a_sample_is_drawn_again_alike = test_a_query_may_stand_for_a_table = None
    test_any_name_of_a_table = None

    tried = "select"


class TestHiveByCursor(ByCursor, OnHive):
    """Rows go through the cursor."""

    test_memory_is_flat = None  # this process's, which does the same with Spark: see there

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any]) -> HiveWarehouse:
        return emptied(open_hive(connect(**connection)))

    def test_thrifts_c_reads_and_python_reads_the_same(
        self, warehouse: HiveWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = numbers(1_000).append_column("text", pa.array([None, "é", ""] * 333 + [None]))
        put(warehouse, "s.t", rows, tmp_path)

        def read(by_c: bool) -> list[dict[str, Any]]:
            with warehouse._session() as cursor:
                cursor.execute("SELECT 1")
                assert cursor.fetchall() == [(1,)]
                assert (cursor._connection.client._iprot._fast_decode is not None) == by_c
            directory = tmp_path / str(by_c)
            warehouse.unload("s.t", directory)
            return pq.read_table(directory).sort_by("id").to_pylist()

        by_c = read(True)
        assert by_c == rows.to_pylist()
        monkeypatch.setitem(sys.modules, "thrift.protocol.fastbinary", None)  # as where it is not compiled
        assert read(False) == by_c

    def test_each_session_says_which_task_it_is(
        self, connect: Connect, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for key, value in {"DAG_ID": "d", "TASK_ID": "t.u", "DAG_RUN_ID": "run; 1", "TRY_NUMBER": "2"}.items():
            monkeypatch.setenv(f"AIRFLOW_CTX_{key}", value)
        said = {
            "hive.query.name": "airflow d.t.u run_ 1 try 2",
            "mapreduce.job.name": "airflow d.t.u run_ 1 try 2",
            "airflow.ctx.dag_run_id": "run; 1",
            "hive.variable.substitute": "false",
        }
        for extra, names in (
            ({}, said),
            ({"run_set_variable_statements": False}, {"hive.variable.substitute": "false"}),
        ):
            warehouse = open_hive(connect(**connection, extra=json.dumps(extra)))
            with warehouse._session() as cursor:
                for name in said:
                    cursor.execute(f"SET {name}")
                    ((line,),) = cursor.fetchall()
                    assert (line == f"{name}={names[name]}") if name in names else "undefined" in line

    def test_a_setting_that_the_server_forbids(self, warehouse: HiveWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        """Is only wanted; one that has the value anyway is no matter."""
        monkeypatch.setattr(warehouse, "settings", {"hive.security.metastore.authorization.manager": "x"})
        with pytest.raises(InputError, match="does not let this user set hive.security.metastore.*Cannot modify"):
            warehouse.exists("s.t")


def test_the_login_reaches_the_driver(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of every kind are the hook's own."""
    given: list[dict[str, Any]] = []

    def driver(**options: Any) -> None:
        given.append(options)
        raise ConnectionRefusedError("not tried")

    monkeypatch.setattr("pyhive.hive.connect", driver)
    common = {"conn_type": "hiveserver2", "host": "h", "port": 10001, "schema": "their"}
    ldap = {"login": "me", "password": "secret", "extra": json.dumps({"auth_mechanism": "LDAP"})}
    kerberos = {"extra": json.dumps({"kerberos_service_name": "hs2"})}
    for connection, expected in (
        ({}, {"auth": "NONE", "username": "airflow", "password": None}),
        (ldap, {"auth": "LDAP", "username": "me", "password": "secret"}),
        (kerberos, {"auth": "KERBEROS", "kerberos_service_name": "hs2", "username": "airflow"}),
    ):
        if connection is kerberos:
            monkeypatch.setenv("AIRFLOW__CORE__SECURITY", "kerberos")
        with pytest.raises(BusyError, match="not tried"):
            open_hive(connect(**common, **connection))
        here = {"host": "h", "port": 10001, "database": "their"}
        assert given[-1] | expected | here == given[-1]


@pytest.mark.engine
@pytest.mark.shares("a Hive that dies")
class TestFaults:
    """A server that refuses, falls ill, and dies; one of these tests' own."""

    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
        try:
            Hive.install()
        except Missing as missing:
            (pytest.fail if "hive" in required() else pytest.skip)(str(missing))
        server = Hive(tmp_path_factory.mktemp("hive"))
        try:
            yield server
        finally:
            server.stop()
            server.clear()

    @pytest.fixture
    def connection(self, server: Hive) -> dict[str, Any]:
        facts = server.facts or server.start()
        return {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": facts["port"], "login": "airflow"}

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any], tmp_path: Path) -> HiveWarehouse:
        return open_hive(connect(**connection), staging=(tmp_path / "shared").as_uri())

    def test_a_login_that_is_refused(self, server: Hive, connect: Connect) -> None:
        server.authentication = "LDAP"
        server.start()
        connection = {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": server.facts["port"], "login": "me"}
        ldap = json.dumps({"auth_mechanism": "LDAP"})
        with pytest.raises(InputError, match="rejected the login: .*Error validating the login"):
            open_hive(connect(**connection, password="wrong", extra=ldap))
        server.kill()
        server.authentication = "NONE"
        with pytest.raises(BusyError, match="cannot be reached"):
            open_hive(connect(**connection))
        server.start()
        with pytest.raises(InputError, match=r"cannot log in|rejected the login"):
            open_hive(connect(**connection, extra=json.dumps({"auth_mechanism": "KERBEROS"})))
        with pytest.raises(InputError, match="could not open a session: .*nowhere"):
            open_hive(connect(**connection, schema="nowhere"))

    def test_a_server_that_fell_ill_is_not_believed(self, warehouse: HiveWarehouse, tmp_path: Path) -> None:
        """After a task failed inside it, Hive in local mode reads nothing at all, and says nothing of it."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        (tmp_path / "broken").mkdir()
        whole = tmp_path / "broken" / "part-0.parquet"
        pq.write_table(numbers(200_000), whole, row_group_size=1000)
        data = whole.read_bytes()
        whole.write_bytes(data[: len(data) // 2] + b"\\xff" * 5000 + data[len(data) // 2 + 5000 :])
        with warehouse._session(write=True) as cursor:
            cursor.execute(
                "CREATE EXTERNAL TABLE s.broken (id BIGINT, x DOUBLE) STORED AS PARQUET "
                f"LOCATION '{(tmp_path / 'broken').as_uri()}'"
            )
        with pytest.raises(BusyError, match="aborted the statement: .*Vertex failed"):
            warehouse.unload("s.broken", tmp_path / "out")
        for work in (
            lambda: warehouse.unload("s.t", tmp_path / "out"),
            lambda: warehouse.count(Query("SELECT id FROM s.t GROUP BY id")),
            lambda: warehouse.unload(Query("SELECT id FROM s.t GROUP BY id"), tmp_path / "out"),
        ):
            with pytest.raises(BusyError, match="until it is restarted"):
                work()
        warehouse.staging = None
        with pytest.raises(BusyError, match="until it is restarted|stored 0 of 5 rows"):
            put(warehouse, "s.t", numbers(5), tmp_path)
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()

    def test_killed_in_mid_query_and_in_mid_load(self, server: Hive, warehouse: HiveWarehouse, tmp_path: Path) -> None:
        server.kill()
        server.start()
        put(warehouse, "s.t", numbers(3), tmp_path)
        put(warehouse, "s.many", numbers(1000), tmp_path)
        endless = Slow(SLOW.format("s.many") + " LATERAL VIEW EXPLODE(SPLIT(SPACE(9999), ' ')) c AS c", server.facts)
        files = tmp_path / "many"
        files.mkdir()
        pq.write_table(numbers(1_000_000), files / "part-0.parquet")
        warehouse.staging = None  # takes minutes
        with ThreadPoolExecutor() as pool:
            used = endless.used()
            works = [
                pool.submit(warehouse.count, Query(endless.query)),
                pool.submit(warehouse.load, files, "s.t", key="task"),
            ]
            deadline = time.monotonic() + 120
            while endless.used() - used < 5 or tables(warehouse) - {"broken"} == {"many", "t"}:
                assert [work.result() for work in works if work.done()] == []
                assert time.monotonic() < deadline
                time.sleep(0.1)
            server.kill()
            for work in works:
                with pytest.raises(BusyError, match="went away"):
                    work.result()
        with pytest.raises(BusyError, match="cannot be reached"):
            warehouse.count("s.t")
        server.start()
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()
        assert put(warehouse, "s.t", numbers(4), tmp_path, key="task") == 4
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(4).to_pylist()
        assert tables(warehouse) - {"broken"} == {"many", "t"}
