"""A real Trino keeps the promises: on Hive tables through staging, on Iceberg and in memory through the cursor."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pyarrow as pa
import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.trino import TrinoWarehouse, _digest, _OwnershipTag, _tag
from tests.engines import Facts
from tests.warehouse.conformance import (
    INF,
    NAMES,
    SPARED,
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

KEPT = ("information_schema", "default", "system", "pg_catalog", "public")


def emptied(warehouse: TrinoWarehouse) -> None:
    """Drop every schema of the connection's catalog. Its metastore of files escapes their names in its list."""
    with warehouse._session() as cursor:
        schemas = [unquote(str(row["schema_name"])) for row in warehouse._fetch(cursor, "schemas")]
        for schema in schemas:
            if schema not in KEPT and not schema.startswith(SPARED):
                cursor.execute(f"DROP SCHEMA {quoted(schema)} CASCADE").fetchall()


def only(*names: str) -> Callable[[type], type]:
    """Leave of the tests that a class inherits those named: what the others prove is proven elsewhere."""

    def chosen(cls: type) -> type:
        for name in dir(cls):
            if name.startswith("test_") and name not in cls.__dict__ and name not in names:
                setattr(cls, name, None)
        return cls

    return chosen


def without(*names: str) -> Callable[[type], type]:
    """Leave out these tests, which are proven elsewhere."""

    def chosen(cls: type) -> type:
        for name in names:
            assert hasattr(cls, name), name
            setattr(cls, name, None)
        return cls

    return chosen


#: What Trino says of a SELECT, of names and of logins is no connector's matter: it is proven on the memory catalog.
OF_TRINO = (
    "test_auc_equals_scikit_learn",
    "test_two_models_are_compared_on_the_same_rows",
    "test_what_cannot_be_compared_is_counted",
    "test_a_query_only_reads",
    "test_a_query_is_cancelled",
    "test_a_server_that_is_away_may_come_back",
    "test_columns_that_differ_by_case",
    "test_names_of_one_two_and_three_parts",
    "test_rows",
)


def running(warehouse: Warehouse, text: str) -> list[dict[str, object]]:
    return warehouse.run("running", name=text)


class OnTrino(Conformance):
    """What holds on every catalog; a subclass names one."""

    catalog: ClassVar[str]
    staged: ClassVar[bool] = False
    taken: ClassVar[Sequence[str]] = [name.lower() for name in NAMES]
    replaced: ClassVar[Sequence[int]] = (2,)  # by one of the hardest name

    @pytest.fixture
    def connection(self, trino_server: Facts) -> dict[str, Any]:
        return {
            "conn_type": "trino",
            "host": "127.0.0.1",
            "port": trino_server["port"],
            "login": "tester",
            "schema": "home",
            "extra": {"catalog": self.catalog},
        }

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any], trino_server: Facts) -> Iterator[Warehouse]:
        if self.catalog not in trino_server["catalogs"]:
            pytest.skip(f"the server that Trino's catalog {self.catalog} needs cannot be had")
        staging = self.staging(trino_server) if self.staged else None
        warehouse = open_warehouse(connect(**connection), lock_timeout=120, staging=staging)
        assert isinstance(warehouse, TrinoWarehouse)
        emptied(warehouse)
        yield warehouse
        if staging:
            assert self.staged_files(staging) == []

    def staging(self, trino_server: Facts) -> str:
        return f"{trino_server['staging']}/{type(self).__name__}"

    def staged_files(self, staging: str) -> list[Path]:
        return list(Path(staging.removeprefix("file://")).glob("*"))

    def tables(self, warehouse: Warehouse) -> list[tuple[object, object]]:
        """But for what the tests of the whole workflow, whose connections name the schema default, have there."""
        found = super().tables(warehouse)
        return sorted(each for each in found if not (each[0] == "default" and str(each[1]).startswith(SPARED)))

    def test_any_name_of_a_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Names fold to lower case."""
        super().test_any_name_of_a_table(warehouse, tmp_path)
        name = "Mixed Case"
        table = f"{quoted(name)}.{quoted(name)}"
        put(warehouse, table, pa.table({name: [1]}), tmp_path)
        assert warehouse.exists(table)
        assert list(warehouse.columns(table)) == [name.lower()]

    def test_a_query_may_stand_for_a_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Trino leaves the order of a query that is read from out."""
        put(warehouse, "s.t", numbers(10), tmp_path)
        query = Query(
            'WITH few AS (SELECT id, x FROM s.t WHERE id < 4) SELECT id, x AS "A b" FROM few ORDER BY id DESC;'
        )
        assert list(warehouse.columns(query)) == ["id", "A b"]
        assert warehouse.count(query) == 4
        data = take(warehouse, query, tmp_path)
        assert sorted(data["id"].to_pylist()) == [0, 1, 2, 3]
        assert data.column_names == ["id", "A b"]
        assert take(warehouse, query, tmp_path, max_rows=3, seed=1).num_rows == 3

    def test_names_of_one_two_and_three_parts(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "t", numbers(1), tmp_path)
        put(warehouse, f"{self.catalog}.other.t", numbers(2), tmp_path)
        assert warehouse.count(f"{self.catalog}.home.t") == 1
        assert warehouse.count("other.T") == 2
        assert warehouse.same_table("T", f"{self.catalog.upper()}.Home.t")
        assert warehouse.count("tpch.tiny.nation") == 25
        assert not warehouse.exists("no_such_catalog.s.t")
        for call in (
            lambda: warehouse.count("no_such_catalog.s.t"),
            lambda: put(warehouse, "no_such_catalog.s.t", numbers(1), tmp_path),
            lambda: warehouse.create_schema("no_such_catalog.s"),
        ):
            with pytest.raises(InputError, match="no_such_catalog"):
                call()

    def test_types_of_its_own(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Kept, made text, or refused with a sentence; the same by the cursor and by staging."""
        long = "12345678901234567890123456789012345.678"
        query = Query(
            "SELECT TIMESTAMP '2026-03-29 01:30:00.123456789' AS nanos, TIMESTAMP '2026-03-29 01:30:00.5' AS tenths, "
            "TIMESTAMP '2026-03-29 01:30:00.123456789012' AS picos, TIMESTAMP '2026-03-29 01:30:00' AS seconds, "
            "TIMESTAMP '2026-03-29 01:30:00.123456 Europe/Paris' AS zoned, "
            "TIMESTAMP '2026-03-29 01:30:00.123456789 +02:00' AS zoned_nanos, "
            "X'00FF' AS bytes, CAST('x' AS CHAR(3)) AS c, CAST('x' AS VARCHAR(3)) AS v, "
            "ARRAY[1, NULL] AS a, MAP(ARRAY['k'], ARRAY[1.5]) AS m, "
            "CAST(ROW(1, 'x') AS ROW(n INTEGER, s VARCHAR)) AS r, JSON '{\"a\": [1]}' AS j, "
            "UUID '12151fd2-7586-11e9-8f9e-2a86e4085a59' AS u, TIME '01:02:03.123456' AS t, "
            "TIME '01:02:03 +02:00' AS tz, INTERVAL '3' DAY AS i, INTERVAL '3' MONTH AS months, "
            f"IPADDRESS '10.0.0.1' AS ip, NULL AS nothing, CAST('{long}' AS DECIMAL(38, 3)) AS d"
        )
        data = take(warehouse, query, tmp_path)
        (row,) = data.to_pylist()
        assert row == {
            "nanos": dt.datetime(2026, 3, 29, 1, 30, 0, 123457),  # noqa: DTZ001 - without zone, as stored
            "tenths": dt.datetime(2026, 3, 29, 1, 30, 0, 500000),  # noqa: DTZ001
            "picos": dt.datetime(2026, 3, 29, 1, 30, 0, 123457),  # noqa: DTZ001
            "seconds": dt.datetime(2026, 3, 29, 1, 30),  # noqa: DTZ001
            "zoned": dt.datetime(2026, 3, 29, 0, 30, 0, 123456, tzinfo=dt.UTC),
            "zoned_nanos": dt.datetime(2026, 3, 28, 23, 30, 0, 123457, tzinfo=dt.UTC),
            "bytes": b"\x00\xff",
            "c": "x  ",
            "v": "x",
            "a": "[1,null]",
            "m": '{"k":1.5}',
            "r": '{"n":1,"s":"x"}',
            "j": '{"a":[1]}',
            "u": "12151fd2-7586-11e9-8f9e-2a86e4085a59",
            "t": "01:02:03.123456",
            "tz": "01:02:03+02:00",
            "i": "3 00:00:00.000",
            "months": "0-3",
            "ip": "10.0.0.1",
            "nothing": None,
            "d": Decimal(long),
        }
        put(warehouse, "s.copy", data, tmp_path)
        assert repr(take(warehouse, "s.copy", tmp_path).to_pylist()[0]["bytes"]) == repr(row["bytes"])
        assert take(warehouse, query, tmp_path, max_rows=1).num_rows == 1
        doubled = Query(f"{query.sql} UNION ALL {query.sql}")
        assert take(warehouse, doubled, tmp_path, max_rows=1).to_pylist() == data.to_pylist()
        for value in ("APPROX_SET(1)", "TDIGEST_AGG(1.0)", "QDIGEST_AGG(1)"):
            with pytest.raises(InputError, match="'h' is .*, which cannot be stored in Parquet"):
                take(warehouse, Query(f"SELECT {value} AS h"), tmp_path)

    def test_two_publish_at_once(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """One wins, whole; nothing is left of the other."""
        put(warehouse, "s.t", numbers(1), tmp_path)
        tables = self.tables(warehouse)
        for _ in range(3):
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda rows: put(warehouse, "s.t", numbers(rows), tmp_path / str(rows)), (1000, 2000)))
            rows = warehouse.rows("s.t", order_by=["id"])
            assert rows in (numbers(1000).to_pylist(), numbers(2000).to_pylist())
            assert self.tables(warehouse) == tables

    def test_columns_that_differ_by_case(self, warehouse: Warehouse, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Duplicate column name 'a'"):
            put(warehouse, "s.t", pa.table({"a": [1], "A": [2]}), tmp_path)
        assert not warehouse.exists("s.t")

    def test_a_table_that_changes_meanwhile(
        self, connect: Connect, connection: dict[str, Any], warehouse: Warehouse, tmp_path: Path
    ) -> None:
        """Between the look at its columns and the reading of its rows; between a load's rows and their publishing."""
        between = Meddled(connect(**connection), staging=warehouse.staging, lock_timeout=5)
        put(warehouse, "s.t", numbers(3), tmp_path)
        between.after_columns = lambda: warehouse.drop_table("s.t")
        with pytest.raises(InputError, match=r"no table s\.t"):
            take(between, "s.t", tmp_path)
        put(warehouse, "s.t", numbers(3), tmp_path)
        between.after_columns = lambda: put(warehouse, "s.t", pa.table({"id": [1]}), tmp_path)
        with pytest.raises(InputError, match=r"s\.t: .*'x' cannot be resolved"):
            take(between, "s.t", tmp_path)
        put(warehouse, "s.t", numbers(3), tmp_path)
        between.after_columns = lambda: put(warehouse, "s.t", pa.table({"id": ["one"], "x": [0.5]}), tmp_path)
        with pytest.raises(BusyError, match="changed the columns"):
            take(between, "s.t", tmp_path)
        tables = self.tables(warehouse)
        between.after_rows = lambda: warehouse.drop_table("s.t")
        assert put(between, "s.t", numbers(4), tmp_path) == 4
        assert warehouse.count("s.t") == 4
        between.after_rows = lambda: put(warehouse, "s.t", pa.table({"id": ["one"]}), tmp_path)
        with pytest.raises(InputError, match=r"s\.t cannot be written"):
            put(between, "s.t", pa.table({"id": [1]}), tmp_path, mode="append")
        assert warehouse.rows("s.t") == [{"id": "one"}]
        assert len(self.tables(warehouse)) == len(tables)

    def test_a_query_is_cancelled(self, warehouse: Warehouse) -> None:
        own = uuid.uuid4().hex  # others may run such queries on the same server
        endless = Query(f"SELECT comment FROM tpch.sf1000.lineitem WHERE comment LIKE '%quick%' OR comment = '{own}'")
        with ThreadPoolExecutor() as pool:
            counting = pool.submit(warehouse.count, endless)
            deadline = time.monotonic() + 60
            while not running(warehouse, f"{own}'\n)"):  # not the statement that looks at it before
                assert time.monotonic() < deadline
                time.sleep(0.1)
            warehouse.cancel()
            with pytest.raises(Exception):  # noqa: B017 - the client words it by when it learns of it
                counting.result(timeout=60)
        assert not running(warehouse, own)

    def test_refusals_are_the_users_fault(
        self, connect: Connect, connection: dict[str, Any], warehouse: Warehouse, tmp_path: Path
    ) -> None:
        writer = open_warehouse(connect(**connection))
        writer.create_table("s.t", {"a": "BIGINT"})
        for call in (
            lambda: writer.create_table("tpch.tiny.t", {"a": "BIGINT"}),
            lambda: put(writer, "tpch.tiny.t", numbers(1), tmp_path),
        ):
            message = r"(create table tpch\.tiny\.t|tpch\.tiny\.t cannot be written): This connector does not"
            with pytest.raises(InputError, match=message):
                call()
        reader = open_warehouse(connect(**connection | {"login": "reader"}))
        assert reader.count("s.t") == 0
        for call in (
            lambda: reader.create_table("s.other", {"a": "BIGINT"}),
            lambda: put(reader, "s.t", numbers(1), tmp_path),
            lambda: put(reader, "s.t", pa.table({"a": [1]}), tmp_path, mode="append"),
            lambda: reader.record("s.t", {"a": 1}, key="a"),
            lambda: reader.drop_table("s.t"),
            lambda: open_warehouse(connect(**connection | {"login": "outsider"})).count("s.t"),
        ):
            with pytest.raises(InputError, match="Access Denied"):
                call()
        assert writer.count("s.t") == 0
        homeless = open_warehouse(connect(**{k: v for k, v in connection.items() if k != "schema"}))
        with pytest.raises(InputError, match="names no schema"):
            homeless.count("t")
        assert homeless.count("tpch.tiny.nation") == 25

    def test_a_server_that_is_away_may_come_back(self, connect: Connect, connection: dict[str, Any]) -> None:
        with pytest.raises(BusyError, match="cannot be reached"):
            open_warehouse(connect(**connection | {"port": 1})).count("t")


class Meddled(TrinoWarehouse):
    """Somebody else does something, once, between two steps."""

    after_columns: Callable[[], object] | None = None
    after_rows: Callable[[], object] | None = None

    def _columns(self, cursor: Any, source: Any) -> dict[str, str]:
        found = super()._columns(cursor, source)
        work, self.after_columns = self.after_columns, None
        if work is not None:
            work()
        return found

    def _write(self, work: Callable[[Any], Any]) -> Any:
        """The last thing that a load writes is what it publishes."""
        if work.__qualname__.endswith("_load.<locals>.<lambda>"):
            self.meddle()
        return super()._write(work)

    def meddle(self) -> None:
        work, self.after_rows = self.after_rows, None
        if work is not None:
            work()


class Several(Concurrency):
    """What holds when several write at once; rows by statements are dear, hence few."""

    flat_rows: ClassVar[tuple[int, int]] = (20_000, 80_000)


class WithoutSnapshots(OnTrino):
    """What holds instead where a table cannot be replaced, nor its rows be deleted, in one step."""

    def test_a_row_is_recorded_once(self, warehouse: Warehouse) -> None:
        """Another row of the same key supersedes the one that was there, which stays."""
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE", "recorded_at": "TIMESTAMP"})
        moments = [dt.datetime(2026, 3, 29, hour, 30, 0, 123456, tzinfo=dt.UTC) for hour in range(5)]
        row = {"record_id": "it's 50%\n🙂", "score": 0.1 + 0.2, "recorded_at": moments[0]}
        assert warehouse.record("s.r", row) == "inserted"
        assert warehouse.record("s.r", row | {"recorded_at": moments[1]}) == "unchanged"
        (found,) = warehouse.rows("s.r")
        assert found == row | {"recorded_at": moments[0].replace(tzinfo=None)}
        other = row | {"score": INF, "recorded_at": moments[2]}
        assert [warehouse.record("s.r", other) for _ in range(2)] == ["replaced", "unchanged"]
        assert warehouse.record("s.r", row | {"recorded_at": moments[3]}) == "replaced"
        assert warehouse.record("s.r", {"record_id": "b", "recorded_at": moments[4]}) == "inserted"
        assert [r["score"] for r in warehouse.rows("s.r", order_by=["recorded_at"])] == [
            0.1 + 0.2,
            INF,
            0.1 + 0.2,
            None,
        ]
        with pytest.raises(InputError, match="no column nonsense"):
            warehouse.record("s.r", {"record_id": "c", "nonsense": 1})
        with pytest.raises(InputError, match="record_id"):
            warehouse.record("s.r", {"score": 1.0})


class SeveralWithoutSnapshots(Several):
    """What holds instead where a table is published by two renames, and rows are never deleted."""

    def test_a_reader_sees_the_old_table_or_the_new_one(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Or, for a moment, none; never some of the rows. A query may also fail whose files are moved under it.

        Seldom, one that was planned just before a rename finds an empty directory.
        """
        put(warehouse, "s.t", numbers(1000), tmp_path)
        seen: list[int] = []
        failed: list[str] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                try:
                    seen.append(warehouse.count("s.t"))
                except Exception as error:
                    failed.append(str(error))

        with ThreadPoolExecutor() as pool:
            reader = pool.submit(read)
            try:
                for turn in range(10):
                    put(warehouse, "s.t", numbers(2000 if turn % 2 == 0 else 1000), tmp_path)
            finally:
                done.set()
            reader.result()
        assert {1000, 2000} <= set(seen) <= {0, 1000, 2000}
        assert seen.count(0) <= 2  # of ten turns
        assert len(failed) < len(seen)

    def test_many_record_the_same_row(self, warehouse: Warehouse) -> None:
        """Those of one moment may all insert; whoever reads takes one of a key."""
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        with ThreadPoolExecutor(8) as pool:
            results = list(
                pool.map(lambda i: warehouse.record("s.r", {"record_id": f"r{i % 2}", "score": 0.5}), range(16))
            )
        assert set(results) <= {"inserted", "unchanged"}
        assert len({tuple(row.items()) for row in warehouse.rows("s.r")}) == 2
        assert [warehouse.record("s.r", {"record_id": f"r{i}", "score": 0.5}) for i in range(2)] == ["unchanged"] * 2

    def test_processes_record_the_same_row(self, warehouse: Warehouse, connection: dict[str, Any]) -> None:
        """As :meth:`test_many_record_the_same_row`."""
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        code = "print([warehouse.record('s.r', {'record_id': 'r', 'score': 0.5}) for _ in range(5)])"
        with child(connection, code) as first, child(connection, code) as second:
            printed = first.communicate(timeout=120)[0] + second.communicate(timeout=120)[0]
        assert printed.count("inserted") in (1, 2)
        assert printed.count("unchanged") == 10 - printed.count("inserted")


@pytest.mark.shares("trino files")
@without(*OF_TRINO)
class TestHive(SeveralWithoutSnapshots, Swapping, WithoutSnapshots):
    """Plain Parquet tables of the Hive connector, with staging."""

    catalog = "files"
    staged = True
    wider: ClassVar[dict[str, str]] = {"TIMESTAMPTZ": "TIMESTAMP"}

    def test_every_type_comes_back_as_it_went(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Hive has no time with zone: it comes back as the time in UTC."""
        from tests.warehouse.conformance import TYPES

        data = pa.table({name: pa.array(values, kind) for name, (kind, _, values) in TYPES.items()})
        assert put(warehouse, "s.types", data, tmp_path) == 4
        assert warehouse.columns("s.types") == {
            name: self.wider.get(neutral, neutral) for name, (_, neutral, _) in TYPES.items()
        }
        back = take(warehouse, "s.types", tmp_path)
        expected = data.set_column(data.column_names.index("zoned"), "zoned", data["zoned"].cast(pa.timestamp("us")))
        assert back.schema.remove_metadata() == expected.schema
        key = [repr(row["int"]) for row in expected.to_pylist()]
        rows = {repr(row["int"]): repr(row) for row in back.to_pylist()}
        assert [rows[k] for k in key] == [repr(row) for row in expected.to_pylist()]

    def test_what_loads_of_the_first_version_left_is_cleaned_up(
        self, warehouse: TrinoWarehouse, tmp_path: Path
    ) -> None:
        """Killed between its two renames, and others that are dead, at work, and the user's own."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        target = warehouse._qualified("s.t")
        load = warehouse._load_of(target, "task")
        now = dt.datetime.now(dt.UTC)
        names = {what: warehouse._staging(target, what).name for what in ("killed", "old", "at work", "the user's")}
        tags = {
            "killed": _OwnershipTag(names["killed"], _digest("t")[:8], load, now),
            "old": _OwnershipTag(names["old"], _digest("t")[:8], "0" * 16, now - dt.timedelta(days=2)),
            "at work": _OwnershipTag(names["at work"], _digest("t")[:8], "1" * 16, now),
            "the user's": None,
        }
        with warehouse._session(write=True) as cursor:
            for what, tag in tags.items():
                table = warehouse._sibling(target, names[what])
                warehouse._run_tagged(cursor, "create_marked", tag, table=table, columns={"id": "BIGINT"})
            assert warehouse._rename(cursor, target, warehouse._sibling(target, names["killed"] + "_old"))
        assert put(warehouse, "s.t", numbers(2, 3), tmp_path, mode="append", key="task") == 2
        assert [row["id"] for row in warehouse.rows("s.t", order_by=["id"])] == [0, 1, 2, 3, 4]
        kept = {name for _, name in self.tables(warehouse)} - {"t"}
        assert kept == {names["at work"], names["the user's"]}

    def test_staging_that_trino_does_not_see(
        self, connect: Connect, connection: dict[str, Any], warehouse: Warehouse, tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        apart = open_warehouse(connect(**connection), staging="ftp://127.0.0.1/none")
        with pytest.raises(InputError, match="staging location ftp"):
            put(apart, "s.t", numbers(1), tmp_path)
        file = tmp_path / "a-file"
        file.write_text("")
        unwritable = open_warehouse(connect(**connection), staging=str(file))
        with pytest.raises(InputError, match="worker cannot use the staging location"):
            take(unwritable, "s.t", tmp_path)
        assert warehouse.count("s.t") == 3


@pytest.mark.shares("trino files")
@only(
    "test_every_type_comes_back_as_it_went",
    "test_types_of_its_own",
    "test_overwrite_error_and_append",
    "test_several_files_are_one_table",
    "test_a_failed_load_leaves_the_old_table",
    "test_a_killed_load_leaves_the_old_table",
    "test_a_table_that_changes_meanwhile",
    "test_memory_is_flat",
)
class TestHiveByCursor(TestHive):
    """The same tables without staging: rows as statements."""

    staged = False

    def test_a_row_that_fits_no_statement(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", pa.table({"text": ["short"]}), tmp_path)
        tables = self.tables(warehouse)
        with pytest.raises(InputError, match="row of 1000005 bytes does not fit into one statement, .* staging"):
            put(warehouse, "s.t", pa.table({"text": ["short", "é" * 500_000]}), tmp_path)
        assert warehouse.rows("s.t") == [{"text": "short"}]
        assert self.tables(warehouse) == tables
        fits = ["'" * 400_000, "é" * 400_000, "x" * 900_000]
        put(warehouse, "s.t", pa.table({"text": fits}), tmp_path)
        assert sorted(map(len, (str(row["text"]) for row in warehouse.rows("s.t")))) == [400_000, 400_000, 900_000]

    def test_a_batch_whose_answer_is_lost_is_not_doubled(
        self, connect: Connect, connection: dict[str, Any], warehouse: Warehouse, tmp_path: Path
    ) -> None:
        """The client asks again, of itself; the server starts a query only when it is asked for its result."""
        with Lossy(connection["port"]) as lossy:
            through = open_warehouse(connect(**connection | {"port": lossy.port}))
            assert put(through, "s.t", numbers(40_000), tmp_path) == 40_000
            assert put(through, "s.t", numbers(40_000, 40_000), tmp_path, mode="append") == 40_000
            assert lossy.lost["POST"] > 2
            assert lossy.lost["GET"] > 2
        assert sorted(row["id"] for row in warehouse.rows("s.t")) == list(range(80_000))


class Lossy:
    """A way to a server that loses the answer to every fifth request, after the server has done what it was asked."""

    def __init__(self, port: int) -> None:
        self.behind = port
        self.lost = Counter[str]()
        self.requests = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def __enter__(self) -> Lossy:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self.carry, args=(self.socket.accept()[0],), daemon=True).start()

    def carry(self, front: socket.socket) -> None:
        """One connection: requests that come whole, one after another, as the client sends them."""
        with front, socket.create_connection(("127.0.0.1", self.behind)) as back, suppress(OSError):
            while request := self.message(front):
                self.requests += 1
                back.sendall(request)
                answer = self.message(back)
                if self.requests % 5 == 0:
                    self.lost[request.split(b" ", 1)[0].decode()] += 1
                    return
                front.sendall(answer)

    def message(self, peer: socket.socket) -> bytes:
        """A message of HTTP: its head, and a body by its length or in chunks."""
        got = b""
        while b"\r\n\r\n" not in got:
            if not (more := peer.recv(65536)):
                return b""
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        chunked = re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head)
        while (length and len(body) < int(length[1])) or (chunked and not body.endswith(b"0\r\n\r\n")):
            body += peer.recv(65536)
        return head + b"\r\n\r\n" + body


@pytest.mark.shares("trino memory")
class TestMemory(Swapping, WithoutSnapshots, Measures):
    """The memory connector, without staging."""

    catalog = "memory"
    test_any_name_of_a_table = None  # is Trino's matter, not a connector's: it is proven on Hive tables


@pytest.mark.shares("trino iceberg")
@without(*OF_TRINO, "test_memory_is_flat", "test_a_sample_is_drawn_again_alike")  # the same statements on Hive tables
class TestIceberg(Several, OnTrino):
    """Iceberg, without staging."""

    catalog = "iceberg"
    wider: ClassVar[dict[str, str]] = {"TINYINT": "INTEGER", "SMALLINT": "INTEGER"}
    test_any_name_of_a_table = None  # as in memory

    def test_many_record_the_same_row(self, warehouse: Warehouse) -> None:
        """There is one row; of those that wrote it at the same moment, several may have been told so."""
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        with ThreadPoolExecutor(8) as pool:
            results = list(
                pool.map(lambda i: warehouse.record("s.r", {"record_id": f"r{i % 2}", "score": 0.5}), range(16))
            )
        assert set(results) == {"inserted", "unchanged"}
        assert warehouse.count("s.r") == 2

    def test_processes_record_the_same_row(self, warehouse: Warehouse, connection: dict[str, Any]) -> None:
        """As :meth:`test_many_record_the_same_row`."""
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        code = "print([warehouse.record('s.r', {'record_id': 'r', 'score': 0.5}) for _ in range(5)])"
        with child(connection, code) as first, child(connection, code) as second:
            printed = first.communicate(timeout=120)[0] + second.communicate(timeout=120)[0]
        assert printed.count("inserted") in (1, 2)
        assert printed.count("inserted") + printed.count("unchanged") == 10
        assert warehouse.count("s.r") == 1


@pytest.mark.shares("trino iceberg")
@only(
    "test_every_type_comes_back_as_it_went",
    "test_types_of_its_own",
    "test_overwrite_error_and_append",
    "test_a_failed_load_leaves_the_old_table",
    "test_a_reader_sees_the_old_table_or_the_new_one",
    "test_two_publish_at_once",
)
class TestIcebergStaged(TestIceberg):
    """Iceberg, staged by a catalog of the Hive connector."""

    staged = True


@pytest.mark.shares("trino lake")
@only(
    "test_every_type_comes_back_as_it_went",
    "test_types_of_its_own",
    "test_overwrite_error_and_append",
    "test_a_failed_load_leaves_the_old_table",
)
class TestLake(TestHive):
    """Hive tables on S3, whose metastore renames nothing: a table is an external one over the files of another."""

    catalog = "lake"

    @pytest.fixture(autouse=True)
    def worker(self, s3_server: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
        """How this process reaches the same S3."""
        connection = {
            "conn_type": "aws",
            "login": s3_server["access_key"],
            "password": s3_server["secret_key"],
            "extra": {"endpoint_url": s3_server["endpoint"], "region_name": s3_server["region"]},
        }
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(connection))

    def staging(self, trino_server: Facts) -> str:
        return "s3://lake@lake/staging"

    def staged_files(self, staging: str) -> list[Path]:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        root = ObjectStoragePath(staging)
        return list(root.iterdir()) if root.exists() else []

    def tables(self, warehouse: Warehouse) -> list[tuple[object, object]]:
        """Those that hold files of others have names of their own each time."""
        return [
            (schema, re.sub(r"_automl_\w{16}(_old)?$", "_automl_holder", str(name)))
            for schema, name in super().tables(warehouse)
        ]

    def test_the_table_of_the_files_goes_with_the_one_over_them(
        self, warehouse: TrinoWarehouse, tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(2), tmp_path)
        put(warehouse, "s.t", numbers(3), tmp_path)
        assert self.tables(warehouse) == [("s", "t"), ("s", "t_automl_holder")]
        warehouse.drop_table("s.t")
        assert self.tables(warehouse) == []

    def test_a_table_of_the_users_own_is_replaced(self, warehouse: TrinoWarehouse, tmp_path: Path) -> None:
        """Its files go when it is dropped: they are copied before."""
        warehouse.create_schema("s")
        with warehouse._session(write=True) as cursor:
            cursor.execute("CREATE TABLE s.t AS SELECT 7 AS id").fetchall()
        put(warehouse, "s.t", numbers(3), tmp_path)
        assert warehouse.count("s.t") == 3
        assert self.tables(warehouse) == [("s", "t"), ("s", "t_automl_holder")]
        put(warehouse, "s.t", numbers(0), tmp_path)
        assert warehouse.count("s.t") == 0
        assert put(warehouse, "s.t", numbers(2), tmp_path, mode="append") == 2
        assert warehouse.count("s.t") == 2

    def test_one_killed_while_it_publishes(self, warehouse: TrinoWarehouse, tmp_path: Path) -> None:
        """After the old table was dropped, before the new one was made: both hold their rows."""
        from sqlglot import exp

        put(warehouse, "s.t", numbers(3), tmp_path)
        target = warehouse._qualified("s.t")
        new = warehouse._new(target)
        tag = _tag(target, new, warehouse._load_of(target, "task"))
        with warehouse._session(write=True) as cursor:
            items = [exp.column("id"), exp.column("x")]
            warehouse._run_tagged(cursor, "create_marked_as", tag, table=new, source=target, items=items)
            warehouse._tag_as_backing(cursor, new)
            warehouse._run(cursor, "drop_table", table=target)
        assert put(warehouse, "s.t", numbers(2, 3), tmp_path, mode="append", key="task") == 2
        assert warehouse.count("s.t") == 5
        assert self.tables(warehouse) == [("s", "t"), ("s", "t_automl_holder")]

    def test_a_failed_publishing_leaves_the_old_table(
        self, connect: Connect, connection: dict[str, Any], warehouse: TrinoWarehouse, tmp_path: Path
    ) -> None:
        """The new table cannot be made after the old one was dropped: the old one is made again."""

        class Failing(TrinoWarehouse):
            failed = False

            def _tag_as_backing(self, cursor: Any, backing: Any) -> Any:
                tag = super()._tag_as_backing(cursor, backing)
                if not self._found(cursor, self._qualified("s.t")) and not self.failed:
                    self.failed = True
                    raise OSError("the worker has lost its way")
                return tag

        put(warehouse, "s.t", numbers(3), tmp_path)
        tables = self.tables(warehouse)
        failing = Failing(connect(**connection), staging=warehouse.staging)
        with pytest.raises(OSError, match="lost its way"):
            put(failing, "s.t", numbers(5), tmp_path)
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()
        assert self.tables(warehouse) == tables


@pytest.mark.shares("trino postgresql")
@only(
    "test_every_type_comes_back_as_it_went",
    "test_types_of_its_own",
    "test_overwrite_error_and_append",
    "test_a_failed_load_leaves_the_old_table",
    "test_a_row_is_recorded_once",
    "test_two_publish_at_once",
    "test_steps_do_what_the_model_says",
    "test_a_version_is_told_by_its_rows_wherever_it_is_renamed_to",
    "test_of_renames_at_once_one_is_done",
    "test_what_a_killed_load_left_is_finished",
)
class TestPostgresql(Swapping, WithoutSnapshots):
    """Postgres behind Trino, without staging."""

    catalog = "postgresql"
    wider: ClassVar[dict[str, str]] = {"TINYINT": "SMALLINT"}


@pytest.mark.shares("hive")
@only(
    "test_overwrite_error_and_append",
    "test_two_publish_at_once",
    "test_steps_do_what_the_model_says",
    "test_of_renames_at_once_one_is_done",
)
class TestHiveMetastore(TestHive):
    """Tables of Hive's own metastore, which Hive reads and writes as well."""

    catalog = "hive"

    def test_hive_reads_what_trino_wrote_and_the_other_way_round(
        self, connect: Connect, warehouse: Warehouse, hive_server: Facts, tmp_path: Path
    ) -> None:
        from tests.warehouse.conformance import TYPES

        hive = open_warehouse(
            connect(
                conn_type="hiveserver2", host="127.0.0.1", port=hive_server["port"], login="tester", schema="default",
                extra={"run_set_variable_statements": False},
            ), staging=hive_server.get("staging"),
        )  # fmt: skip
        data = pa.table({name: pa.array(values, kind) for name, (kind, _, values) in TYPES.items() if name != "zoned"})
        key = [repr(row["int"]) for row in data.to_pylist()]
        for writer, reader in ((warehouse, hive), (hive, warehouse), (hive, hive), (warehouse, warehouse)):
            assert put(writer, "s.both", data, tmp_path) == 4
            rows = {repr(row["int"]): repr(row) for row in take(reader, "s.both", tmp_path).to_pylist()}
            assert [rows[k] for k in key] == [repr(row) for row in data.to_pylist()]
            assert put(reader, "s.both", data, tmp_path, mode="append") == 4
            assert writer.count("s.both") == 8
        hive.drop_table("s.both")
        assert not warehouse.exists("s.both")
