"""DuckDB keeps the promises, and waits for its file."""

from __future__ import annotations

import datetime as dt
import logging
import os
import resource
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
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

    def test_arrays_become_lists(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Of an ARRAY with a NULL, DuckDB's own Parquet file is one that Arrow cannot read."""
        values = {
            "ARRAY_VALUE(1, 2)": [1, 2],
            "ARRAY_VALUE(ARRAY_VALUE(1), ARRAY_VALUE(2))": [[1], [2]],
            "[ARRAY_VALUE(1, 2)]": [[1, 2]],
            "{'a[3]': ARRAY_VALUE([1], NULL)}": {"a[3]": [[1], None]},
            "MAP {'a': ARRAY_VALUE('b')}": [("a", ["b"])],
            "ARRAY_VALUE(DATE '10000-01-01')": None,
        }
        columns = ", ".join(f"CASE WHEN i % 3 > 0 THEN {text} END AS c{n}" for n, text in enumerate(values))
        query = Query(f"SELECT i, {columns} FROM RANGE(200) AS r(i)")
        warehouse.unload(query, tmp_path / "out")
        with pq.ParquetFile(tmp_path / "out" / "part-00000.parquet") as file:
            for batch in file.iter_batches(batch_size=50):
                for n, value in enumerate(values.values()):
                    if value is not None:
                        assert batch[f"c{n}"].to_pylist() == [value if i % 3 else None for i in batch["i"].to_pylist()]
        assert warehouse.load(tmp_path / "out", "s.t") == 200
        same = " AND ".join(f"a.c{n} IS NOT DISTINCT FROM b.c{n}" for n in range(len(values)))
        both = f"SELECT 1 AS one FROM ({query.text('duckdb')}) AS a JOIN s.t AS b USING (i) WHERE {same}"
        assert warehouse.count(Query(both)) == 200

    def test_a_disk_without_room(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """As on a full disk: the kernel refuses more than a megabyte a file."""
        rows = Query("SELECT i, RANDOM() AS a FROM RANGE(1_000_000) AS r(i)")
        warehouse.unload(rows, tmp_path / "all")
        put(warehouse, "s.t", numbers(3), tmp_path)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        full = r"The disk is full where DuckDB \(connection \w+\) writes {}[^ ]*: File too large; free some"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
            with pytest.raises(BusyError, match=full.format(f"{tmp_path}/out/")):
                warehouse.unload(rows, tmp_path / "out")
            with pytest.raises(BusyError, match=full.format(f"{tmp_path}/warehouse.duckdb")):
                warehouse.load(tmp_path / "all", "s.t")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert warehouse.count("s.t") == 3
        assert warehouse.load(tmp_path / "all", "s.t") == 1_000_000

    def test_a_disk_without_room_for_what_memory_does_not_hold(
        self, connect: Connect, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        warehouse = open_warehouse(connect(**connection, extra={"memory_limit": "100MB"}))
        groups = Query("SELECT MD5(CAST(i AS VARCHAR)) AS a, COUNT(*) AS n FROM RANGE(3_000_000) AS r(i) GROUP BY ALL")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, before[1]))
            with pytest.raises(BusyError, match=r"The disk is full where .*\.tmp|has no disk space to spill to"):
                warehouse.count(groups)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert warehouse.count(groups) == 3_000_000

    def test_a_cell_of_300_megabytes(self, connect: Connect, connection: dict[str, Any], tmp_path: Path) -> None:
        """It takes more memory than a stream of rows is given, unless the connection gives more."""
        large = Query("SELECT REPEAT('x', 300_000_000) AS a")
        message = 'exceeded its memory limit .*: leave out columns with large values, or raise "memory_limit" in'
        with pytest.raises(InputError, match=message):
            open_warehouse(connect(**connection)).unload(large, tmp_path / "out")
        roomy = open_warehouse(connect(**connection, extra={"memory_limit": "4GB"}))
        assert roomy.unload(large, tmp_path / "out") == 1
        with pytest.raises(InputError, match=message):
            open_warehouse(connect(**connection, extra={"memory_limit": "200MB"})).load(tmp_path / "out", "s.t")
        assert roomy.load(tmp_path / "out", "s.t") == 1
        assert roomy.count(Query("SELECT a FROM s.t WHERE LENGTH(a) = 300_000_000")) == 1

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
                with pytest.raises(BusyError, match="aborted the query: INTERRUPT Error"):
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
        with pytest.raises(InputError, match="in-memory"):
            open_warehouse(connect(conn_type="duckdb", host="")).count("t")
        with pytest.raises(InputError, match="does not exist"):
            open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "no" / "x.duckdb"))).count("t")
        assert not os.listdir(tmp_path)
