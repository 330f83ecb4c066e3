"""A real Trino keeps the promises: on Hive tables through staging, on Iceberg and in memory through the cursor."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import AutoMLError, BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.trino import TrinoWarehouse
from tests.engines import Facts
from tests.warehouse.conformance import INF, NAMES, Concurrency, Conformance, child, numbers, put, quoted, take
from tests.warehouse.conftest import Connect


def emptied(warehouse: TrinoWarehouse) -> None:
    """Drop every schema of the connection's catalog. Its metastore of files escapes their names in its list."""
    with warehouse._session() as cursor:
        schemas = [unquote(str(row["schema_name"])) for row in warehouse._fetch(cursor, "schemas")]
        for schema in schemas:
            if schema not in ("information_schema", "default", "system"):
                cursor.execute(f"DROP SCHEMA {quoted(schema)} CASCADE").fetchall()


def running(warehouse: Warehouse, text: str) -> list[dict[str, object]]:
    return warehouse.run("running", name=text)


class OnTrino(Conformance, Concurrency):
    """What holds on every catalog; a subclass names one."""

    catalog: ClassVar[str]
    staged: ClassVar[bool] = False
    flat_rows: ClassVar[tuple[int, int]] = (40_000, 200_000)

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
        staging = trino_server["staging"] if self.staged else None
        warehouse = open_warehouse(connect(**connection), lock_timeout=120, staging=staging)
        assert isinstance(warehouse, TrinoWarehouse)
        emptied(warehouse)
        yield warehouse
        if staging:
            assert [*Path(staging.removeprefix("file://")).iterdir()] == []

    def tables(self, warehouse: Warehouse) -> list[tuple[object, object]]:
        return sorted(super().tables(warehouse))

    @pytest.mark.parametrize("name", NAMES)
    def test_any_name(self, warehouse: Warehouse, tmp_path: Path, name: str) -> None:
        """Names fold to lower case."""
        super().test_any_name(warehouse, tmp_path, name.lower())
        if name != name.lower():
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
        query = Query(
            "SELECT TIMESTAMP '2026-03-29 01:30:00.123456789' AS nanos, TIMESTAMP '2026-03-29 01:30:00.5' AS tenths, "
            "TIMESTAMP '2026-03-29 01:30:00.123456 Europe/Paris' AS zoned, X'00FF' AS bytes, CAST('x' AS CHAR(3)) AS c, "
            "ARRAY[1, NULL] AS a, MAP(ARRAY['k'], ARRAY[1.5]) AS m, "
            "CAST(ROW(1, 'x') AS ROW(n INTEGER, s VARCHAR)) AS r, JSON '{\"a\": [1]}' AS j, "
            "UUID '12151fd2-7586-11e9-8f9e-2a86e4085a59' AS u, TIME '01:02:03.123456' AS t, INTERVAL '3' DAY AS i, "
            "IPADDRESS '10.0.0.1' AS ip, NULL AS nothing, CAST('12345678901234567890123456789012345.678' AS DECIMAL(38, 3)) AS d"
        )
        data = take(warehouse, query, tmp_path)
        (row,) = data.to_pylist()
        assert row == {
            "nanos": dt.datetime(2026, 3, 29, 1, 30, 0, 123457),  # noqa: DTZ001 - without zone, as stored
            "tenths": dt.datetime(2026, 3, 29, 1, 30, 0, 500000),  # noqa: DTZ001
            "zoned": dt.datetime(2026, 3, 29, 0, 30, 0, 123456, tzinfo=dt.UTC),
            "bytes": b"\x00\xff",
            "c": "x  ",
            "a": "[1,null]",
            "m": '{"k":1.5}',
            "r": '{"n":1,"s":"x"}',
            "j": '{"a":[1]}',
            "u": "12151fd2-7586-11e9-8f9e-2a86e4085a59",
            "t": "01:02:03.123456",
            "i": "3 00:00:00.000",
            "ip": "10.0.0.1",
            "nothing": None,
            "d": Decimal("12345678901234567890123456789012345.678"),
        }
        put(warehouse, "s.copy", data, tmp_path)
        assert repr(take(warehouse, "s.copy", tmp_path).to_pylist()[0]["bytes"]) == repr(row["bytes"])
        assert take(warehouse, query, tmp_path, max_rows=1).num_rows == 1
        doubled = Query(f"{query.sql} UNION ALL {query.sql}")
        assert take(warehouse, doubled, tmp_path, max_rows=1).to_pylist() == data.to_pylist()
        with pytest.raises(InputError, match="'h' is .* no place in Parquet"):
            take(warehouse, Query("SELECT APPROX_SET(1) AS h"), tmp_path)

    def test_a_query_is_cancelled(self, warehouse: Warehouse) -> None:
        endless = Query("SELECT comment FROM tpch.sf1000.lineitem WHERE comment LIKE '%quick%'")
        with ThreadPoolExecutor() as pool:
            counting = pool.submit(warehouse.count, endless)
            deadline = time.monotonic() + 60
            while not running(warehouse, "sf1000") and time.monotonic() < deadline:
                time.sleep(0.1)
            warehouse.cancel()
            with pytest.raises(Exception):  # noqa: B017 - the client words it by when it learns of it
                counting.result(timeout=60)
        assert not running(warehouse, "sf1000")

    def test_refusals_are_the_users_fault(self, connect: Connect, connection: dict[str, Any], tmp_path: Path) -> None:
        writer = open_warehouse(connect(**connection))
        writer.create_table("s.t", {"a": "BIGINT"})
        for call in (
            lambda: writer.create_table("tpch.tiny.t", {"a": "BIGINT"}),
            lambda: put(writer, "tpch.tiny.t", numbers(1), tmp_path),
        ):
            with pytest.raises(InputError, match=r"tpch\.tiny\.t cannot be (made|written): This connector does not"):
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
        assert [r["score"] for r in warehouse.rows("s.r", order_by=["recorded_at"])] == [0.1 + 0.2, INF, 0.1 + 0.2, None]
        with pytest.raises(InputError, match="no column nonsense"):
            warehouse.record("s.r", {"record_id": "c", "nonsense": 1})
        with pytest.raises(InputError, match="record_id"):
            warehouse.record("s.r", {"score": 1.0})

    def test_a_reader_sees_the_old_table_or_the_new_one(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Or, for a moment, none; never some of the rows. A query may also fail whose files are dropped under it."""
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
        assert set(seen) == {1000, 2000}
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

    def test_one_killed_while_it_publishes(self, warehouse: TrinoWarehouse, tmp_path: Path) -> None:
        """The old table waits under its other name, and is put back by whoever loads next."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        tables = self.tables(warehouse)
        target = warehouse._qualified("s.t")
        with warehouse._session(write=True) as cursor:
            warehouse._rename(cursor, target, warehouse._aside(target))
        assert not warehouse.exists("s.t")
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "part-0.parquet").write_bytes(b"")
        assert put(warehouse, "s.t", numbers(2, 3), tmp_path, mode="append") == 2
        assert warehouse.count("s.t") == 5
        assert self.tables(warehouse) == tables


class TestHive(WithoutSnapshots):
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
        expected = data.set_column(
            data.column_names.index("zoned"), "zoned", data["zoned"].cast(pa.timestamp("us"))
        )
        assert back.schema.remove_metadata() == expected.schema
        key = [repr(row["int"]) for row in expected.to_pylist()]
        rows = {repr(row["int"]): repr(row) for row in back.to_pylist()}
        assert [rows[k] for k in key] == [repr(row) for row in expected.to_pylist()]

    def test_staging_that_trino_does_not_see(
        self, connect: Connect, connection: dict[str, Any], warehouse: Warehouse, tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        apart = open_warehouse(connect(**connection), staging="ftp://127.0.0.1/none")
        with pytest.raises(InputError, match="staging place ftp"):
            put(apart, "s.t", numbers(1), tmp_path)
        file = tmp_path / "a-file"
        file.write_text("")
        unwritable = open_warehouse(connect(**connection), staging=str(file))
        with pytest.raises(InputError, match="worker cannot use the staging place"):
            take(unwritable, "s.t", tmp_path)
        assert warehouse.count("s.t") == 3


class TestHiveByCursor(TestHive):
    """The same tables without staging: rows as statements."""

    staged = False


class TestMemory(WithoutSnapshots):
    """The memory connector, without staging."""

    catalog = "memory"


class TestIceberg(OnTrino):
    """Iceberg, without staging."""

    catalog = "iceberg"
    wider: ClassVar[dict[str, str]] = {"TINYINT": "INTEGER", "SMALLINT": "INTEGER"}


class TestIcebergStaged(TestIceberg):
    """Iceberg, staged by the only catalog of the Hive connector."""

    staged = True
