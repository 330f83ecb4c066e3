"""Spark's Thrift server keeps the promises as Hive does, with types and names of its own."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse
from airflow_provider_automl.warehouse.hive import HiveWarehouse, open_hive
from airflow_provider_automl.warehouse.spark import SparkWarehouse
from tests.engines import Facts, Missing, required
from tests.engines.spark import Spark
from tests.warehouse.conformance import Measures, numbers, put, take
from tests.warehouse.conftest import Connect
from tests.warehouse.swapping import Swapping
from tests.warehouse.test_hive import ByCursor, Slow, Staged, Together, WithoutTransactions, emptied, tables


class OnSpark(WithoutTransactions, Together):
    """Spark, either way."""

    taken: ClassVar[Sequence[str]] = ("plain", "select")
    tried = "select"

    @pytest.fixture
    def connection(self, spark_server: Facts) -> dict[str, Any]:
        return {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": spark_server["port"], "login": "airflow"}

    @pytest.fixture
    def slow(self, spark_server: Facts) -> Slow:
        return Slow("SELECT id FROM RANGE(4000000000000) WHERE HASH(id) % 7 = 3", spark_server)

    def test_is_told_apart(self, warehouse: Warehouse) -> None:
        assert type(warehouse) is SparkWarehouse

    def test_names_as_people_write_them(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """With letters, digits and _ only."""
        put(warehouse, "some_schema.my_table", numbers(3), tmp_path)
        assert warehouse.count('"some_schema"."my_table"') == 3
        assert warehouse.exists("some_schema.MY_TABLE")
        assert warehouse.same_table("some_schema.my_table", 'SOME_SCHEMA."my_table"')
        put(warehouse, "bare", numbers(2), tmp_path)
        assert warehouse.same_table("bare", "default.BARE")
        for wrong in ("", "a..b", "a b", "a;b", "a.b.c.d", 'a."b', "drop table x", "some-schema.t"):
            with pytest.raises(InputError, match="table"):
                warehouse.columns(wrong)

    def test_the_engines_own_types(self, warehouse: Warehouse, tmp_path: Path) -> None:
        query = Query(
            "SELECT ARRAY(1, 2) AS l, MAP('a', 1) AS m, NAMED_STRUCT('x', 'q\"') AS s, UNHEX('ff00') AS b, NULL AS n, "
            "CAST('2020-01-01 00:00:00.123456' AS TIMESTAMP) AS t, CAST('7.10' AS DECIMAL(38, 2)) AS d, "
            "CAST('2020-01-01 00:00:00.123456' AS TIMESTAMP_NTZ) AS u, INTERVAL '1' YEAR AS iy, "
            "INTERVAL '1 02' DAY TO HOUR AS id, MAKE_INTERVAL(1, 2) AS ic, PARSE_JSON('{\"a\":1}') AS v, "
            "CAST('x' AS CHAR(3)) AS c, CAST('y' AS VARCHAR(3)) AS w, CAST(1.5 AS FLOAT) AS f, "
            "CAST(3 AS TINYINT) AS i, ARRAY(NAMED_STRUCT('d', DATE'2020-01-01')) AS ls"
        )
        (row,) = take(warehouse, query, tmp_path).to_pylist()
        assert row == {
            "l": "[1,2]",
            "m": '{"a":1}',
            "s": '{"x":"q\\""}',
            "b": b"\xff\x00",
            "n": None,
            "t": dt.datetime(2020, 1, 1, 0, 0, 0, 123456, tzinfo=dt.UTC),
            "d": Decimal("7.10"),
            "u": dt.datetime(2020, 1, 1, 0, 0, 0, 123456),  # noqa: DTZ001 - without zone, as stored
            "iy": "INTERVAL '1' YEAR",
            "id": "INTERVAL '1 02' DAY TO HOUR",
            "ic": "1 years 2 months",
            "v": '{"a":1}',
            "c": "x",
            "w": "y",
            "f": 1.5,
            "i": 3,
            "ls": '[{"d":"2020-01-01"}]',
        }


class TestSpark(OnSpark, Swapping, Staged, Measures):
    """Rows go through a directory that both reach."""

    test_memory_is_flat = test_a_killed_load_leaves_the_old_table = None  # without staging there is more to it

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any], tmp_path: Path) -> Iterator[HiveWarehouse]:
        shared = tmp_path / "shared"
        shared.mkdir()
        yield emptied(open_hive(connect(**connection), staging=shared.as_uri()))
        assert list(shared.iterdir()) == []


class TestSparkByCursor(ByCursor, OnSpark):
    """Rows go through the cursor."""

    flat_rows: ClassVar[tuple[int, int]] = (15_000, 60_000)

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any]) -> HiveWarehouse:
        return emptied(open_hive(connect(**connection)))

    def test_each_statement_says_which_task_it_is(
        self, warehouse: HiveWarehouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In its text, by which Spark describes its jobs."""
        for key, value in {"DAG_ID": "d", "TASK_ID": "t", "DAG_RUN_ID": "run*/1", "TRY_NUMBER": "2"}.items():
            monkeypatch.setenv(f"AIRFLOW_CTX_{key}", value)
        with warehouse._session() as cursor:
            cursor.execute("SET airflow.ctx.dag_id")
            assert cursor.fetchall() == [("airflow.ctx.dag_id", "d")]
            with pytest.raises(Exception, match=r"/\* airflow d\.t run__1 try 2 \*/ SELEC 1"):
                cursor.execute("SELEC 1")


@pytest.mark.engine
@pytest.mark.shares("a Spark that dies")
class TestFaults:
    """A server that dies; one of these tests' own."""

    def test_killed_in_mid_query_and_in_mid_load(
        self, tmp_path_factory: pytest.TempPathFactory, connect: Connect, tmp_path: Path
    ) -> None:
        try:
            Spark.install()
        except Missing as missing:
            (pytest.fail if "spark" in required() else pytest.skip)(str(missing))
        server = Spark(tmp_path_factory.mktemp("spark"))
        try:
            port = server.start()["port"]
            hook = connect(conn_type="hiveserver2", host="127.0.0.1", port=port, login="airflow")
            warehouse = open_hive(hook)
            put(warehouse, "s.t", numbers(3), tmp_path)
            with pytest.raises(InputError, match="could not open a session: .*nowhere"):
                open_hive(
                    connect(conn_type="hiveserver2", host="127.0.0.1", port=port, login="airflow", schema="nowhere")
                )
            with pytest.raises(InputError, match=r"cannot log in|rejected the login"):
                kerberos = json.dumps({"auth_mechanism": "KERBEROS"})
                open_hive(connect(conn_type="hiveserver2", host="127.0.0.1", port=port, extra=kerberos))
            files = tmp_path / "many"
            files.mkdir()
            pq.write_table(numbers(1_000_000), files / "part-0.parquet")
            endless = Slow("SELECT id FROM RANGE(4000000000000) WHERE HASH(id) % 7 = 3", server.facts)
            with ThreadPoolExecutor() as pool:
                used = endless.used()
                works = [
                    pool.submit(warehouse.count, Query(endless.query)),
                    pool.submit(warehouse.load, files, "s.t", key="task"),
                ]
                deadline = time.monotonic() + 120
                while endless.used() - used < 5 or tables(warehouse) == {"t"}:
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
            assert tables(warehouse) == {"t"}
        finally:
            server.stop()
            server.clear()
