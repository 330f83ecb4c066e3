"""Spark's Thrift server keeps the promises as Hive does, with types and names of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from airflow_provider_automl.warehouse import Query, Warehouse
from airflow_provider_automl.warehouse.hive import HiveWarehouse, SparkWarehouse, open_hive
from tests.engines import Facts
from tests.warehouse.conformance import take
from tests.warehouse.conftest import Connect
from tests.warehouse.test_hive import WithoutTransactions, emptied


class TestSpark(WithoutTransactions):
    """Rows go through the cursor."""

    taken: ClassVar[set[str]] = {"plain", "select"}

    @pytest.fixture
    def connection(self, spark_server: Facts) -> dict[str, Any]:
        return {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": spark_server["port"], "login": "airflow"}

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any]) -> HiveWarehouse:
        return emptied(open_hive(connect(**connection)))

    def test_is_told_apart(self, warehouse: Warehouse) -> None:
        assert type(warehouse) is SparkWarehouse

    def test_the_engines_own_types(self, warehouse: Warehouse, tmp_path: Path) -> None:
        query = Query(
            "SELECT ARRAY(1, 2) AS l, MAP('a', 1) AS m, NAMED_STRUCT('x', 'q\"') AS s, UNHEX('ff00') AS b, NULL AS n, "
            "CAST('2020-01-01 00:00:00.123456' AS TIMESTAMP) AS t, CAST('7.10' AS DECIMAL(38, 2)) AS d"
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
        }


class TestSparkWithStaging(TestSpark):
    """Rows go through a directory that both reach."""

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any], tmp_path: Path) -> Iterator[HiveWarehouse]:
        shared = tmp_path / "shared"
        shared.mkdir()
        yield emptied(open_hive(connect(**connection), staging=shared.as_uri()))
        assert list(shared.iterdir()) == []
