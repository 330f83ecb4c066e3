"""DuckDB keeps the promises, and waits for its file."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.duckdb import DuckDBWarehouse
from tests.warehouse.conformance import Concurrency, Conformance, child, numbers, put, take
from tests.warehouse.conftest import Connect


@pytest.fixture
def connection(tmp_path: Path) -> dict[str, Any]:
    return {"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")}


@pytest.fixture
def warehouse(connect: Connect, connection: dict[str, Any]) -> Warehouse:
    return open_warehouse(connect(**connection), lock_timeout=60)


class TestDuckDB(Conformance, Concurrency):
    """Through DuckDB's own Parquet reader and writer."""

    flat_rows: ClassVar[tuple[int, int]] = (300_000, 1_500_000)

    def test_is_dispatched(self, warehouse: Warehouse) -> None:
        assert isinstance(warehouse, DuckDBWarehouse)

    def test_a_schema_named_like_the_file(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "warehouse.t", numbers(3), tmp_path)
        assert warehouse.count("warehouse.t") == 3
        assert warehouse.same_table("warehouse.t", "warehouse.warehouse.T")

    def test_types_that_parquet_lacks_become_text(self, warehouse: Warehouse, tmp_path: Path) -> None:
        query = Query(
            "SELECT CAST('6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11' AS UUID) AS u, INTERVAL 3 DAY AS i, "
            "CAST('{\"a\": 1}' AS JSON) AS j, CAST('a' AS ENUM ('a', 'b')) AS e, [1, 2] AS l, CAST(5 AS HUGEINT) AS h"
        )
        (row,) = take(warehouse, query, tmp_path).to_pylist()
        assert row == {
            "u": "6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11",
            "i": "3 days",
            "j": '{"a": 1}',
            "e": "a",
            "l": [1, 2],
            "h": 5.0,
        }

    def test_a_held_file_is_waited_for(
        self, warehouse: Warehouse, connection: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        warehouse.create_table("s.t", {"a": "BIGINT"})
        hold = "s = warehouse._session(write=True); s.__enter__(); print(1, flush=True); import sys; sys.stdin.read()"
        with child(connection, hold, stdin=True) as holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            holder.stdout.readline()
            warehouse.lock_timeout = 0.2
            for call in (lambda: warehouse.count("s.t"), lambda: warehouse.record("s.t", {"a": 1}, key="a")):
                with pytest.raises(BusyError, match=rf"held by process {holder.pid} \("):
                    call()
            warehouse.lock_timeout = 60
            threading.Timer(1, holder.stdin.close).start()
            with caplog.at_level(logging.INFO):
                started = time.monotonic()
                assert warehouse.record("s.t", {"a": 1}, key="a") == "inserted"
            assert 0.5 < time.monotonic() - started < 30
            assert any(f"held by process {holder.pid}" in message for message in caplog.messages)

    def test_two_processes_read_at_once(self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        hold = "s = warehouse._session(); s.__enter__(); print(1, flush=True); input()"
        with child(connection, hold, stdin=True) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            warehouse.lock_timeout = 0
            assert warehouse.count("s.t") == 3

    def test_threads_read_and_write_at_once(self, warehouse: Warehouse) -> None:
        warehouse.create_table("s.t", {"a": "BIGINT"})
        with warehouse._session(), warehouse._session(), pytest.raises(BusyError, match="another thread"):
            warehouse.lock_timeout = 0
            warehouse.record("s.t", {"a": 1}, key="a")
        with warehouse._session(write=True):
            assert warehouse.count("s.t") == 0

    def test_memory_is_bounded_unless_the_connection_says(self, connect: Connect, connection: dict[str, Any]) -> None:
        def limit(**extra: Any) -> str:
            warehouse = open_warehouse(connect(**connection, extra=extra))
            return str(warehouse.run("memory_limit")[0].popitem()[1])

        assert limit() == "2.0 GiB"
        assert limit(memory_limit="3GiB") == "3.0 GiB"
        assert limit(settings={"max_memory": "1GiB"}) == "1.0 GiB"

    def test_a_database_that_cannot_be_kept(self, connect: Connect, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="in memory"):
            open_warehouse(connect(conn_type="duckdb", host="")).count("t")
        with pytest.raises(InputError, match="does not exist"):
            open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "no" / "x.duckdb"))).count("t")
        assert not os.listdir(tmp_path)
