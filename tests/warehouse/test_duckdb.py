"""DuckDB keeps the promises, and waits for its file."""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.duckdb import DuckDBWarehouse
from tests.warehouse.conformance import Concurrency, Conformance, Measures, child, numbers, put, take
from tests.warehouse.conftest import Connect


@pytest.fixture
def connection(tmp_path: Path) -> dict[str, Any]:
    return {"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")}


@pytest.fixture
def warehouse(connect: Connect, connection: dict[str, Any]) -> Warehouse:
    return open_warehouse(connect(**connection), lock_timeout=60)


class TestDuckDB(Conformance, Concurrency, Measures):
    """Through DuckDB's own Parquet reader and writer."""

    flat_rows: ClassVar[tuple[int, int]] = (300_000, 1_500_000)

    def test_is_dispatched(self, warehouse: Warehouse) -> None:
        assert isinstance(warehouse, DuckDBWarehouse)

    def test_a_schema_named_like_the_file(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "warehouse.t", numbers(3), tmp_path)
        assert warehouse.count("warehouse.t") == 3
        assert warehouse.same_table("warehouse.t", "warehouse.warehouse.T")

    def test_types_of_its_own(self, warehouse: Warehouse, tmp_path: Path) -> None:
        expected: list[tuple[str, str, Any]] = [
            ("[1, NULL]", "INT[]", [1, None]),
            ("ARRAY_VALUE(1, 2)", "INT[2]", [1, 2]),
            ("{'a': 1, 'b': 'x'}", "STRUCT(a INT, b TEXT)", {"a": 1, "b": "x"}),
            ("MAP {'a': 1}", "MAP(TEXT, INT)", [("a", 1)]),
            ("UNION_VALUE(a := 1)", "UNION(a INT)", "1"),
            ("{'a': UNION_VALUE(q := 1)}", "STRUCT(a UNION(q INT))", "{'a': 1}"),
            (
                "[CAST('6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11' AS UUID)]",
                "UUID[]",
                "[6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11]",
            ),
            ("CAST('a' AS ENUM ('a', 'b'))", "ENUM('a', 'b')", "a"),
            ("CAST('6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11' AS UUID)", "UUID", "6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11"),
            ("CAST(5 AS HUGEINT)", "HUGEINT", 5.0),
            ("CAST(5 AS UHUGEINT)", "UHUGEINT", 5.0),
            ("CAST(5 AS UTINYINT)", "UTINYINT", 5),
            ("CAST(18446744073709551615 AS UBIGINT)", "UBIGINT", 2**64 - 1),
            ("CAST('101' AS BIT)", "BIT", "101"),
            ("CAST('123' AS BIGNUM)", "BIGNUM", "123"),
            ("TIME '10:00:00.5'", "TIME", dt.time(10, 0, 0, 500000)),
            ("CAST('10:00:00.123456789' AS TIME_NS)", "TIME_NS", dt.time(10, 0, 0, 123456)),
            ("CAST('10:00:00+02' AS TIMETZ)", "TIMETZ", "10:00:00+02"),
            ("CAST('2026-03-29 01:30:00' AS TIMESTAMP_S)", "TIMESTAMP_S", "2026-03-29 01:30:00"),
            ("CAST('2026-03-29 01:30:00.123' AS TIMESTAMP_MS)", "TIMESTAMP_MS", "2026-03-29 01:30:00.123000"),
            ("CAST('2026-03-29 01:30:00.123456789' AS TIMESTAMP_NS)", "TIMESTAMP_NS", "2026-03-29 01:30:00.123456789"),
            ("CAST('2026-03-29 01:30:00+02' AS TIMESTAMPTZ)", "TIMESTAMPTZ", "2026-03-28 23:30:00+00:00"),
            ("INTERVAL '1 month 3 days'", "INTERVAL", "1 month 3 days"),
            ("CAST('\\x00ff' AS BLOB)", "BLOB", b"\x00ff"),
            ("CAST('{\"a\": 1}' AS JSON)", "JSON", '{"a": 1}'),
            ("CAST(1.5 AS DECIMAL(38, 3))", "DECIMAL(38,3)", Decimal("1.500")),
        ]
        select = "SELECT " + ", ".join(f"{text} AS c{i}" for i, (text, _, _) in enumerate(expected))
        with warehouse._session(write=True) as cursor:
            cursor.execute(f"CREATE TABLE everything AS {select}")
        columns = warehouse.columns("everything")
        (row,) = take(warehouse, "everything", tmp_path).to_pylist()
        for i, (text, kind, value) in enumerate(expected):
            got = str(row[f"c{i}"]) if kind.startswith("TIMESTAMP") else row[f"c{i}"]
            assert (text, columns[f"c{i}"], repr(got)) == (text, kind, repr(value))
        put(warehouse, "copy", take(warehouse, "everything", tmp_path), tmp_path)
        assert repr(take(warehouse, "copy", tmp_path).to_pylist()) == repr([row])

    def test_a_view_stays_when_its_table_is_overwritten(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        with warehouse._session(write=True) as cursor:
            cursor.execute("CREATE VIEW s.v AS SELECT id FROM s.t")
        put(warehouse, "s.t", numbers(5), tmp_path)
        assert warehouse.count("s.v") == 5

    def test_a_failed_append_keeps_the_rows_that_it_was_to_replace(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        with pytest.raises(InputError, match=r"s\.t cannot be written"):
            put(warehouse, "s.t", pa.table({"id": ["one"]}), tmp_path, mode="append", delete_where={"id": 1})
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()

    def test_a_statement_is_cancelled(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """By another thread, and by a signal's handler, as Airflow does it."""
        forever = Query("SELECT a.range FROM range(1000000000000) AS a WHERE a.range % 7 = 8")
        put(warehouse, "s.t", numbers(3), tmp_path)
        took: list[float] = []

        def cancel(*_: object) -> None:
            begun = time.monotonic()
            warehouse.cancel()
            took.append(time.monotonic() - begun)

        before = signal.signal(signal.SIGUSR1, cancel)
        try:
            for work in (cancel, lambda: os.kill(os.getpid(), signal.SIGUSR1)):
                threading.Timer(1, work).start()
                begun = time.monotonic()
                with pytest.raises(BusyError, match="gave the work up: INTERRUPT Error"):
                    warehouse.unload(forever, tmp_path / "out")
                assert time.monotonic() - begun < 10
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert len(took) == 2
        assert max(took) < 2
        assert warehouse.count("s.t") == 3

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
            return str(warehouse.run("memory_limit")[0]["memory_limit"])

        assert limit() == "2.0 GiB"
        assert limit(memory_limit="3GiB") == "3.0 GiB"
        assert limit(settings={"max_memory": "1GiB"}) == "1.0 GiB"

    def test_a_database_that_cannot_be_kept(self, connect: Connect, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="in memory"):
            open_warehouse(connect(conn_type="duckdb", host="")).count("t")
        with pytest.raises(InputError, match="does not exist"):
            open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "no" / "x.duckdb"))).count("t")
        assert not os.listdir(tmp_path)
