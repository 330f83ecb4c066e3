"""A real Postgres keeps the promises."""

from __future__ import annotations

import os
import resource
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse, postgres
from airflow_provider_automl.warehouse.postgres import PostgresWarehouse
from tests.engines import ENGINES, Facts, Server
from tests.warehouse.conformance import TYPES, Concurrency, Conformance, Measures, child, numbers, put, take
from tests.warehouse.conftest import Connect

SLEEP = Query("SELECT 1 AS a FROM pg_sleep(60)")


@pytest.fixture
def connection(postgres_connection: dict[str, Any]) -> dict[str, Any]:
    return postgres_connection


@pytest.fixture
def warehouse(connect: Connect, connection: dict[str, Any]) -> Warehouse:
    return open_warehouse(connect(**connection))


@contextmanager
def person(connection: dict[str, Any], *, autocommit: bool = True) -> Iterator[Any]:
    """A cursor of somebody else's session."""
    import psycopg

    user = connection["login"]
    with psycopg.connect(
        host=connection["host"], port=connection["port"], user=user, dbname=connection["schema"], autocommit=autocommit
    ) as session:
        yield session.cursor()


def ask(connection: dict[str, Any], text: str) -> list[tuple[Any, ...]]:
    with person(connection) as cursor:
        cursor.execute(text)
        return list(cursor.fetchall()) if cursor.description else []


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def running(connection: dict[str, Any], beginning: str) -> list[tuple[Any, ...]]:
    return ask(
        connection,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
        f"AND query LIKE '{beginning}%' AND pid <> pg_backend_pid()",
    )


def many(directory: Path, rows: int = 1_000_000) -> Path:
    """A directory of rows that take a while to load."""
    directory.mkdir()
    pq.write_table(numbers(rows), directory / "part-0.parquet", row_group_size=65536)
    return directory


@contextmanager
def loading(warehouse: Warehouse, connection: dict[str, Any], files: Path, table: str) -> Iterator[Future[int]]:
    """A load that has begun to copy rows."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(warehouse.load, files, table)
        until(lambda: running(connection, "COPY"))
        yield future


class Drivers:
    """What must hold by psycopg 3 and by psycopg2."""

    def test_types_of_its_own(self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path) -> None:
        ask(
            connection,
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (a INT, b TEXT); "
            "CREATE DOMAIN positive AS INT CHECK (VALUE > 0)",
        )
        expected: list[tuple[str, str, Any]] = [
            ("CAST(1.5 AS NUMERIC)", "DECIMAL", 1.5),
            ("CAST('NaN' AS NUMERIC)", "DECIMAL", float("nan")),
            ("CAST(1.5 AS NUMERIC(18, 3))", "DECIMAL(18,3)", Decimal("1.500")),
            ("CAST(12345 AS NUMERIC(3, -2))", "DECIMAL(5,0)", Decimal("12300")),
            ("CAST(0.00012 AS NUMERIC(2, 5))", "DECIMAL(5,5)", Decimal("0.00012")),
            ("CAST(0.5 AS NUMERIC(50, 2))", "DECIMAL(50,2)", 0.5),
            ("CAST('12.50' AS MONEY)", "DECIMAL(19,2)", Decimal("12.50")),
            ("CAST('2026-03-29 01:30:00.123456' AS TIMESTAMP)", "TIMESTAMP", "2026-03-29 01:30:00.123456"),
            ("CAST('2026-03-29 01:30:00+02' AS TIMESTAMPTZ)", "TIMESTAMPTZ", "2026-03-28 23:30:00+00:00"),
            ("CAST('10:11:12.5' AS TIME)", "TIME", "10:11:12.5"),
            ("CAST('10:11:12+02' AS TIMETZ)", "TIMETZ", "10:11:12+02"),
            ("INTERVAL '1 month 3 days'", "INTERVAL", "1 mon 3 days"),
            ("CAST('\\x00ff' AS BYTEA)", "BLOB", b"\x00\xff"),
            ("CAST('' AS BYTEA)", "BLOB", b""),
            ("CAST('x' AS CHAR(3))", "VARCHAR", "x  "),
            ("CAST('x' AS NAME)", "NAME", "x"),
            ("ARRAY[1, NULL, 2]", "INT[]", "[1,null,2]"),
            ("ARRAY['a', 'b\"c']", "TEXT[]", '["a","b\\"c"]'),
            ("ARRAY[CAST('sad' AS mood)]", "MOOD[]", '["sad"]'),
            ("CAST(ROW(1, 'x') AS pair)", "STRUCT", '{"a":1,"b":"x"}'),
            ("CAST('{\"a\": [1]}' AS JSON)", "JSON", '{"a": [1]}'),
            ("CAST('{\"a\":[1]}' AS JSONB)", "JSON", '{"a": [1]}'),
            ("CAST('6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11' AS UUID)", "UUID", "6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11"),
            ("CAST('10.1.2.3/8' AS INET)", "INET", "10.1.2.3/8"),
            ("CAST('happy' AS mood)", "ENUM", "happy"),
            ("CAST(7 AS positive)", "INTEGER", 7),
            ("CAST('[1,5)' AS INT4RANGE)", "INT4RANGE", "[1,5)"),
            ("CAST('101' AS BIT(3))", "BIT", "101"),
            ("CAST('(1,2)' AS POINT)", "POINT", "(1,2)"),
            ("CAST(7 AS OID)", "OID", "7"),
            ("NULL", "VARCHAR", None),
        ]
        select = "SELECT " + ", ".join(f"{text} AS c{i}" for i, (text, _, _) in enumerate(expected))
        ask(connection, f"CREATE TABLE everything AS {select}")
        columns = warehouse.columns("everything")
        (row,) = take(warehouse, "everything", tmp_path).to_pylist()
        for i, (text, kind, value) in enumerate(expected):
            got = str(row[f"c{i}"]) if kind.startswith("TIMESTAMP") else row[f"c{i}"]
            assert (text, columns[f"c{i}"], repr(got)) == (text, kind, repr(value))
        query = Query("SELECT ROW(1, 'x') AS r, CAST(c0 AS TEXT) AS t FROM everything")
        assert take(warehouse, query, tmp_path).to_pylist() == [{"r": '{"f1":1,"f2":"x"}', "t": "1.5"}]
        put(warehouse, "s.copy", take(warehouse, "everything", tmp_path), tmp_path)
        assert repr(take(warehouse, "s.copy", tmp_path).to_pylist()) == repr([row])

    def test_values_that_no_type_keeps(self, warehouse: Warehouse, tmp_path: Path) -> None:
        for text in (
            "CAST('infinity' AS DATE)",
            "CAST('infinity' AS TIMESTAMPTZ)",
            "CAST('0044-03-15 BC' AS DATE)",
            "CAST('NaN' AS NUMERIC(5, 2))",
        ):
            with pytest.raises(InputError, match="column 'the column': "):
                take(warehouse, Query(f'SELECT {text} AS "the column"'), tmp_path)

    def test_null_and_empty_and_whatever_csv_might_take_for_them(self, warehouse: Warehouse, tmp_path: Path) -> None:
        texts = [None, "", " ", "NULL", "\\N", "\\.", '"', '""', ",", "\n", "\r\n", "a\n", "#", "t", "nan", None]
        put(warehouse, "s.t", pa.table({"a": texts}), tmp_path)
        for rows in (1, 3, 65536):
            assert take(warehouse, "s.t", tmp_path, batch_rows=rows)["a"].to_pylist() == texts
        blobs = [None, b"", b"\x00", b"\\x00", bytes(range(256))]
        lists = [None, [], [1, None], [2], [3]]
        put(warehouse, "s.b", pa.table({"b": pa.array(blobs, pa.large_binary()), "l": lists}), tmp_path)
        back = take(warehouse, "s.b", tmp_path)
        assert back["b"].to_pylist() == blobs
        assert back["l"].to_pylist() == [None, "[]", "[1, null]", "[2]", "[3]"]

    def test_every_type_comes_back_as_it_went(self, warehouse: Warehouse, tmp_path: Path) -> None:
        data = pa.table({name: pa.array(values, kind) for name, (kind, _, values) in TYPES.items()})
        put(warehouse, "s.types", data, tmp_path)
        assert repr(take(warehouse, "s.types", tmp_path).to_pydict()) == repr(data.to_pydict())

    def test_whatever_the_server_defaults_to(
        self, connect: Connect, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        odd = "-c datestyle=SQL,DMY -c bytea_output=escape -c extra_float_digits=-15 -c timezone=Asia/Tokyo"
        warehouse = open_warehouse(connect(**connection, extra={"options": odd, "cursor": "dictcursor"}))
        self.test_every_type_comes_back_as_it_went(warehouse, tmp_path)
        self.test_null_and_empty_and_whatever_csv_might_take_for_them(warehouse, tmp_path)
        (row,) = warehouse.rows("s.types", limit=1)
        assert row["small"] == -32768
        query = Query("SELECT CAST('01/02/2026' AS DATE) AS d, CAST(TIMESTAMPTZ '2026-01-01 20:00+00' AS DATE) AS e")
        (row,) = take(warehouse, query, tmp_path).to_pylist()
        assert (str(row["d"]), str(row["e"])) == ("2026-02-01", "2026-01-02"), "the user's own settings hold"

    def test_columns_that_no_table_has(self, warehouse: Warehouse, tmp_path: Path) -> None:
        warehouse.lock_timeout = 60
        for names, message in (
            (["a", "xmin"], r"s\.t cannot have columns named 'xmin', which Postgres reserves .*: rename them"),
            (["tableoid", "cmin", "xmax", "cmax", "ctid"], "'tableoid', 'cmin', 'xmax', 'cmax', 'ctid'"),
            ([f"c{i}" for i in range(1601)], r"s\.t would have 1,601 columns, more than .* limit of 1,600: leave"),
        ):
            data = pa.table({name: [1] for name in names})
            begun = time.monotonic()
            for work in (
                lambda: put(warehouse, "s.t", data, tmp_path),  # noqa: B023 - it runs here
                lambda: put(warehouse, "s.t", data, tmp_path, mode="append"),  # noqa: B023
                lambda: warehouse.create_table("s.t", dict.fromkeys(names, "BIGINT")),  # noqa: B023
                lambda: warehouse.refuse_columns(dict.fromkeys(names, "BIGINT"), "s.t"),  # noqa: B023
            ):
                with pytest.raises(InputError, match=message):
                    work()
            assert time.monotonic() - begun < 10  # nothing is tried again
            assert not warehouse.exists("s.t")
        put(warehouse, "s.t", pa.table({"XMIN": [1], "oid": [2]}), tmp_path)
        warehouse.create_table("s.t", {f"c{i}": "DOUBLE" for i in range(1500)})
        limits = "at most 1600 columns. Its limits are 1,600 columns, .*: leave columns out"
        with pytest.raises(InputError, match=limits):
            warehouse.create_table("s.t", {f"d{i}": "DOUBLE" for i in range(200)})
        assert len(warehouse.columns("s.t")) == 1502

    def test_characters_that_no_text_has(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """None is lost without a word: the client would end a statement at a NUL."""
        with pytest.raises(InputError, match=r"s\.t cannot be written: invalid byte sequence .* 0x00"):
            put(warehouse, "s.t", pa.table({"a": ["x\0y"]}), tmp_path)
        warehouse.create_table("s.t", {"record_id": "VARCHAR", "a": "VARCHAR"})
        row = {"record_id": "1", "a": "x\0y\ud800"}
        assert [warehouse.record("s.t", row) for _ in range(2)] == ["inserted", "unchanged"]
        assert warehouse.rows("s.t") == [{"record_id": "1", "a": "x\ufffdy\ufffd"}]
        for name in ("\0", "\udfff"):
            for work in (
                lambda: warehouse.rows("s.t", where={"a": f"x{name}"}),  # noqa: B023 - it runs here
                lambda: warehouse.columns(f'"s"."{name}"'),  # noqa: B023
                lambda: warehouse.count(Query(f"SELECT 'x{name}' AS a")),  # noqa: B023
                lambda: warehouse.create_table("s.u", {f"a{name}": "BIGINT"}),  # noqa: B023
            ):
                with pytest.raises(InputError, match=r"the character U\+(0000|DFFF) in texts and names: remove it"):
                    work()

    def test_a_directory_without_room(self, warehouse: Warehouse, tmp_path: Path) -> None:
        (tmp_path / "part-00000.parquet").symlink_to("/dev/full")
        with pytest.raises(BusyError, match=rf"The directory {tmp_path} on this worker is full: .*No space left"):
            warehouse.unload(Query("SELECT RANDOM() AS a FROM GENERATE_SERIES(1, 1000)"), tmp_path)

    def test_a_statement_is_cancelled(self, warehouse: Warehouse, connection: dict[str, Any]) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(warehouse.count, SLEEP)
            until(lambda: running(connection, "SELECT COUNT"))
            begun = time.monotonic()
            warehouse.cancel()
            assert time.monotonic() - begun < 2
            with pytest.raises(BusyError, match="canceling statement due to user request"):
                future.result(timeout=5)
        assert time.monotonic() - begun < 5

    def test_a_statement_timeout_is_kept(self, connect: Connect, connection: dict[str, Any]) -> None:
        warehouse = open_warehouse(connect(**connection, extra={"options": "-c statement_timeout=300"}))
        with pytest.raises(BusyError, match="aborted the query: canceling statement due to statement timeout"):
            warehouse.count(SLEEP)

    def test_a_lock_is_waited_for_so_long(
        self, warehouse: Warehouse, connect: Connect, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        own = open_warehouse(connect(**connection, extra={"options": "-c lock_timeout=200"}))
        warehouse.lock_timeout = 0.2
        with person(connection, autocommit=False) as cursor:
            cursor.execute("LOCK TABLE s.t IN SHARE MODE")
            for each in (warehouse, own):
                with pytest.raises(BusyError, match="lock timeout"):
                    put(each, "s.t", numbers(5), tmp_path)
        assert warehouse.count("s.t") == 3

    def test_sessions_are_named(
        self, connect: Connect, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = Query("SELECT application_name AS a FROM pg_stat_activity WHERE pid = pg_backend_pid()")

        def named(**extra: Any) -> Any:
            with open_warehouse(connect(**connection, extra=extra))._session() as cursor:
                cursor.execute(name.sql)
                return cursor.fetchone()[0]

        assert named() == "automl"
        context = {"DAG_ID": "census", "TASK_ID": "train", "TRY_NUMBER": "2", "DAG_RUN_ID": "manual__2026-11-25T" * 9}
        for key, value in context.items():
            monkeypatch.setenv(f"AIRFLOW_CTX_{key}", value)
        assert named() == "automl census.train 2 manual__2026-11-25Tmanual__2026-11-25Tman"
        assert named(application_name="mine") == "mine"
        assert named(options="-c application_name=ours") == "ours"


class TestPostgres(Conformance, Concurrency, Drivers, Measures):
    """As it is opened."""

    flat_rows: ClassVar[tuple[int, int]] = (200_000, 1_000_000)
    wider: ClassVar[dict[str, str]] = {"TINYINT": "SMALLINT"}

    def test_every_type_comes_back_as_it_went(self, warehouse: Warehouse, tmp_path: Path) -> None:
        Conformance.test_every_type_comes_back_as_it_went(self, warehouse, tmp_path)

    def test_is_dispatched(self, warehouse: Warehouse) -> None:
        assert isinstance(warehouse, PostgresWarehouse)

    # -------------------------------------------------------------------------------------------- names

    def test_case_in_quotes_counts(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "S.T", numbers(2), tmp_path)
        assert warehouse.exists('"s"."t"')
        assert not warehouse.exists('"S"."T"')
        data = pa.table({"a": [1], "A": [2]})
        put(warehouse, '"S"."T"', data, tmp_path)
        put(warehouse, '"S"."T"', data, tmp_path)
        with pytest.raises(InputError, match="Duplicate column name"):
            warehouse.columns('"S"."T"')

    def test_names_that_the_server_would_cut(self, warehouse: Warehouse, tmp_path: Path) -> None:
        long = "é" * 32
        with pytest.raises(InputError, match="has 64 bytes, and Postgres would truncate it to 63"):
            put(warehouse, f"s.{long}", numbers(1), tmp_path)
        with pytest.raises(InputError, match="has 64 bytes, and Postgres would truncate it to 63"):
            put(warehouse, "s.t", pa.table({long: [1]}), tmp_path)
        with pytest.raises(InputError, match="has 64 bytes, and Postgres would truncate it to 63"):
            warehouse.create_table("s.t", {long: "BIGINT"})
        put(warehouse, f"s.{long[1:]}", pa.table({long[1:]: [1]}), tmp_path)
        put(warehouse, f"s.{long[1:]}", pa.table({long[1:]: ["a"]}), tmp_path)
        assert list(warehouse.columns(f"s.{long[1:]}")) == [long[1:]]

    def test_rows_that_no_table_holds(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Told before as at the load; what fits by a byte, by its NULLs or as long texts is no row too large."""
        whole, empty = pa.array([1.5] * 3), pa.array([None] * 3, pa.float64())
        of = {
            "doubles": [whole] * 1017,
            "too many": [whole] * 1018,
            "none": [empty] * 1590,
            "some": [whole] * 900 + [empty] * 600,
            "one row": [whole] * 900 + [pa.array([None, None, 1.5])] * 200,
            "texts": [pa.array(["x" * 3, None, "y" * 5000])] * 440,
            "too many texts": [pa.array([None, "x", "y" * 5000])] * 460,
            "decimals": [pa.array([Decimal(0)] * 3, pa.decimal128(30, 2))] * 1500,
            "blobs": [pa.array([b"x" * 20] * 3)] * 460,
        }
        refused = {"too many": 1, "one row": 3, "too many texts": 3, "blobs": 1}
        for name, arrays in of.items():
            data = pa.table({f"c{i}": array for i, array in enumerate(arrays)})
            files = tmp_path / name
            files.mkdir()
            pq.write_table(data, files / "part-0.parquet")
            if name not in refused:
                warehouse.refuse_rows(files, data.column_names, {}, "s.t")
                assert warehouse.load(files, "s.t") == 3, name
                continue
            with pytest.raises(InputError, match=rf"Row {refused[name]} would take at least \S+ bytes in s\.t, more"):
                warehouse.refuse_rows(files, data.column_names, {}, "s.t")
            with pytest.raises(InputError, match="row is too big: .*: leave columns out of the query, or give rowid"):
                warehouse.load(files, "s.t")
            warehouse.refuse_rows(files, data.column_names[:10], {}, "s.t")
        with pytest.raises(InputError, match="Row 1 would take"):
            warehouse.refuse_rows(tmp_path / "doubles", [f"c{i}" for i in range(1017)], {"p": "DOUBLE"}, "s.t")

    def test_a_value_that_the_server_cannot_hold(self, warehouse: Warehouse, tmp_path: Path) -> None:
        quoted = Query("SELECT QUOTE_LITERAL(REPEAT('x', 600000000)) AS a")  # an internal error of the server's
        with pytest.raises(InputError, match="invalid memory alloc request size .* 1 GB per value: leave"):
            warehouse.unload(quoted, tmp_path / "out")

    def test_a_value_that_this_worker_cannot_hold(self, warehouse: Warehouse, tmp_path: Path) -> None:
        large = Query("SELECT REPEAT('x', 100000000) AS a")
        assert warehouse.unload(large, tmp_path / "out") == 1
        before = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        try:
            resource.setrlimit(resource.RLIMIT_AS, (used + 60 * 2**20, before[1]))
            with pytest.raises(BusyError, match=r"This worker ran out of memory for .*: give it more memory, or leave"):
                warehouse.unload(large, tmp_path / "none")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        assert warehouse.load(tmp_path / "out", "s.t") == 1

    # -------------------------------------------------------------------------------------------- publishing

    def test_a_table_is_overwritten_in_place(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        ask(
            connection,
            "CREATE SCHEMA s; CREATE TABLE s.t (id BIGINT PRIMARY KEY, x DOUBLE PRECISION, text VARCHAR(20)); "
            "CREATE INDEX by_x ON s.t (x); CREATE VIEW s.v AS SELECT id FROM s.t; GRANT SELECT ON s.t TO PUBLIC",
        )
        data = numbers(5).append_column("text", pa.array(list("abcde")))
        before = ask(connection, "SELECT CAST('s.t' AS REGCLASS)::OID, relacl::TEXT FROM pg_class WHERE relname = 't'")
        assert put(warehouse, "s.t", data, tmp_path, key="task") == 5
        assert put(warehouse, "s.t", data.select([2, 0, 1]), tmp_path) == 5
        after = ask(connection, "SELECT CAST('s.t' AS REGCLASS)::OID, relacl::TEXT FROM pg_class WHERE relname = 't'")
        assert before == after
        assert ask(connection, "SELECT count(*) FROM pg_indexes WHERE tablename = 't'") == [(2,)]
        assert warehouse.count("s.v") == 5
        assert warehouse.rows("s.t", order_by=["id"]) == data.to_pylist()
        for wrong, reason in (
            (data.set_column(0, "id", pa.array([1] * 5)), "duplicate key"),
            (data.set_column(2, "text", pa.array(["x" * 21] * 5)), "too long"),
        ):
            with pytest.raises(InputError, match=rf"s\.t cannot be written: .*{reason}"):
                put(warehouse, "s.t", wrong, tmp_path)
            with pytest.raises(InputError, match=reason):
                put(warehouse, "s.t", wrong, tmp_path, mode="append")
        with pytest.raises(InputError, match="duplicate key"):
            warehouse.create_table("s.t", {"record_id": "VARCHAR"})
            warehouse.record("s.t", {"record_id": "a", "id": 1})
        assert warehouse.count("s.v") == 5

    def test_a_table_with_other_columns_is_made_anew_unless_a_view_reads_it(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        ask(connection, "ALTER TABLE s.t ALTER x TYPE NUMERIC(18, 3)")
        put(warehouse, "s.t", numbers(4), tmp_path)
        assert warehouse.columns("s.t") == {"id": "BIGINT", "x": "DOUBLE"}
        ask(connection, "CREATE VIEW s.v AS SELECT id FROM s.t; CREATE MATERIALIZED VIEW s.m AS SELECT id FROM s.t")
        with pytest.raises(InputError, match=r"s\.t cannot be written: cannot drop table s\.t because other objects"):
            put(warehouse, "s.t", numbers(5).select(["id"]), tmp_path)
        with pytest.raises(InputError, match=r's\.m cannot be written: "m" is not a table'):
            put(warehouse, "s.m", numbers(5), tmp_path)
        assert warehouse.count("s.v") == 4
        assert warehouse.exists("s.m")
        assert len(self.tables(warehouse)) == 3

    def test_a_transaction_that_reads_keeps_its_rows(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        with person(connection, autocommit=False) as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            put(warehouse, "s.t", numbers(5), tmp_path)
            assert cursor.execute("SELECT count(*) FROM s.t").fetchone() == (3,)
            put(warehouse, "s.t", numbers(7), tmp_path)
            assert cursor.execute("SELECT count(*) FROM s.t").fetchone() == (3,)
        assert warehouse.count("s.t") == 7

    def test_a_reader_of_a_table_that_is_made_anew(self, warehouse: Warehouse, tmp_path: Path) -> None:
        shapes = (numbers(1000), numbers(2000).rename_columns(["id", "y"]))
        put(warehouse, "s.t", shapes[0], tmp_path)
        seen: list[int] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                seen.append(warehouse.count("s.t"))

        with ThreadPoolExecutor() as pool:
            reader = pool.submit(read)
            try:
                for turn in range(10):
                    put(warehouse, "s.t", shapes[1 - turn % 2], tmp_path)
            finally:
                done.set()
            reader.result()
        assert set(seen) == {1000, 2000}

    def test_many_load_the_same_table(self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path) -> None:
        def load(turn: int) -> None:
            data = numbers(1000 + turn)
            data = data.rename_columns(["id", f"x{turn % 2}"]) if turn % 3 else data
            put(warehouse, "made.t", data, tmp_path / str(turn), mode="append" if turn % 4 == 3 else "overwrite")
            assert turn < 0 or warehouse.count("made.t") >= 1000

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(load, range(24)))
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        time.sleep(0.2)
        assert ask(connection, deadlocks) == [(0,)]
        assert self.tables(warehouse) == [("made", "t")]

    def test_a_table_changed_or_dropped_while_rows_come(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        files = many(tmp_path / "many")
        for change in ("ALTER TABLE s.t ADD more INT", "DROP TABLE s.t", "ALTER TABLE s.t ALTER x TYPE REAL"):
            put(warehouse, "s.t", numbers(3), tmp_path)
            with loading(warehouse, connection, files, "s.t") as load:
                ask(connection, change)
                assert load.result() == 1_000_000
            assert warehouse.columns("s.t") == {"id": "BIGINT", "x": "DOUBLE"}
            assert warehouse.count("s.t") == 1_000_000

    def test_a_table_that_is_read_is_not_changed(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        with warehouse._reading("s.t") as cursor:
            warehouse._columns(cursor, warehouse._source("s.t"))
            with pytest.raises(Exception, match="lock timeout"):
                ask(connection, "SET lock_timeout = 100; DROP TABLE s.t")
        ask(connection, "DROP TABLE s.t")

    def test_row_security_hides_no_row_from_a_load(
        self, warehouse: Warehouse, connect: Connect, connection: dict[str, Any], tmp_path: Path, role: str
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        ask(
            connection,
            f"GRANT USAGE ON SCHEMA s TO {role}; GRANT ALL ON s.t TO {role}; "
            "ALTER TABLE s.t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON s.t USING (id > 1)",
        )
        limited = open_warehouse(connect(**connection | {"login": role}))
        assert limited.count("s.t") == 1
        with pytest.raises(InputError, match=r"s\.t cannot be written: query would be affected by row-level security"):
            put(limited, "s.t", numbers(5), tmp_path)
        assert warehouse.count("s.t") == 3

    # -------------------------------------------------------------------------------------------- abandoned, cancelled

    def test_a_retry_ends_its_predecessor(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        files = many(tmp_path / "many", 3_000_000)
        load = f"warehouse.load(Path({str(files)!r}), 's.t', key='task')"
        code = f"\ntry: {load}\nexcept Exception as error: print(type(error).__name__, error, flush=True)"
        with child(connection, code) as process, person(connection) as other:
            other.execute("SELECT pg_advisory_lock(1), pg_advisory_lock(hashtext('s.t'))")
            until(lambda: running(connection, "COPY"))
            process.send_signal(signal.SIGSTOP)
            put(warehouse, "s.t", numbers(4), tmp_path, key="another")
            assert running(connection, "COPY"), "of another key: it is left alone"
            put(warehouse, "s.t", numbers(5), tmp_path, key="task")
            assert not running(connection, "COPY")
            process.send_signal(signal.SIGCONT)
            assert process.stdout is not None
            assert "BusyError Postgres" in process.stdout.read()
            assert other.execute("SELECT 1").fetchone() == (1,)
        assert warehouse.count("s.t") == 5

    def test_a_dead_clients_statement_ends(self, warehouse: Warehouse, connection: dict[str, Any]) -> None:
        with child(connection, f"from airflow_provider_automl.warehouse import Query; warehouse.count({SLEEP!r})"):
            until(lambda: running(connection, "SELECT COUNT"))
        until(lambda: not running(connection, "SELECT COUNT"), 10)

    def test_a_signal_handler_cancels(self, warehouse: Warehouse, connection: dict[str, Any]) -> None:
        took: list[float] = []

        def handler(*_: object) -> None:
            begun = time.monotonic()
            warehouse.cancel()
            took.append(time.monotonic() - begun)

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
            begun = time.monotonic()
            with pytest.raises(BusyError, match="user request"):
                warehouse.count(SLEEP)
            assert time.monotonic() - begun < 10
            assert took[0] < 2
        finally:
            signal.signal(signal.SIGUSR1, before)

    # -------------------------------------------------------------------------------------------- what is not allowed

    def test_what_is_not_granted(
        self, warehouse: Warehouse, connect: Connect, connection: dict[str, Any], tmp_path: Path, role: str
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        limited = open_warehouse(connect(**connection | {"login": role}))

        def refused(reason: str, *works: Callable[[], Any]) -> None:
            for work in works:
                with pytest.raises(InputError, match=f"permission denied for {reason}"):
                    work()

        reads = (
            lambda: limited.count("s.t"),
            lambda: limited.columns("s.t"),
            lambda: take(limited, "s.t", tmp_path),
            lambda: limited.count(Query("SELECT id FROM s.t")),
        )
        refused("schema s", *reads, lambda: put(limited, "s.t", numbers(5), tmp_path))
        assert limited.exists("s.t")
        ask(connection, f"GRANT USAGE ON SCHEMA s TO {role}")
        refused("table t", *reads, lambda: limited.record("s.t", {"id": 1}, key="id"))
        ask(connection, f"GRANT SELECT ON s.t TO {role}")
        assert limited.count("s.t") == 3
        refused("table t", lambda: limited.record("s.t", {"id": 9}, key="id"))
        refused("table t", lambda: put(limited, "s.t", numbers(5), tmp_path))
        refused("table t", lambda: put(limited, "s.t", numbers(5), tmp_path, mode="append"))
        refused("schema s", lambda: put(limited, "s.new", numbers(5), tmp_path))
        refused("schema s", lambda: limited.create_table("s.new", {"a": "BIGINT"}))
        refused("database", lambda: limited.create_schema("new"))
        ask(connection, f"GRANT INSERT, DELETE ON s.t TO {role}")
        assert put(limited, "s.t", numbers(5), tmp_path) == 5, "in place, it need not own the table"
        with pytest.raises(InputError, match="permission denied for schema s|must be owner of table t"):
            put(limited, "s.t", numbers(5).select(["id"]), tmp_path)
        with pytest.raises(InputError, match="must be owner of table t"):
            limited.drop_table("s.t")
        assert warehouse.count("s.t") == 5

    def test_a_connection_that_only_reads(
        self, warehouse: Warehouse, connect: Connect, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        reader = open_warehouse(connect(**connection, extra={"options": "-c default_transaction_read_only=on"}))
        assert reader.count("s.t") == 3
        assert take(reader, "s.t", tmp_path).num_rows == 3
        assert list(reader.columns(Query("SELECT id FROM s.t"))) == ["id"]
        for work in (
            lambda: put(reader, "s.t", numbers(5), tmp_path),
            lambda: reader.record("s.t", {"id": 9}, key="id"),
            lambda: reader.create_table("s.new", {"a": "BIGINT"}),
            lambda: reader.create_schema("new"),
            lambda: reader.drop_table("s.t"),
        ):
            with pytest.raises(InputError, match="in a read-only transaction"):
                work()
        assert warehouse.count("s.t") == 3


class TestByPsycopg2(Drivers):
    """As it is opened where psycopg 3 is missing."""

    @pytest.fixture(autouse=True)
    def _without_psycopg3(self, monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> None:
        monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", False, raising=False)
        with warehouse._session() as cursor:
            assert type(cursor).__module__.startswith("psycopg2")


@pytest.fixture
def role(postgres_server: Facts, connection: dict[str, Any]) -> Iterator[str]:
    """A user who may connect, and no more."""
    name = f"role_{connection['schema'][-12:]}"
    ask(connection, f"CREATE ROLE {name} LOGIN")
    yield name
    ask(connection, f"DROP OWNED BY {name}; DROP ROLE {name}")


# ------------------------------------------------------------------------------------------------ a server that fails


@pytest.fixture(scope="module")
def own_server(postgres_server: Facts) -> Iterator[Server]:
    """A server to harm. Not below pytest's directory: another run of pytest would shut the server's user out of it."""
    with tempfile.TemporaryDirectory(prefix="automl-postgres-") as directory:
        server = ENGINES["postgres"](Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()
            server.clear()


class TestFaults:
    """A server that goes away, is killed, or refuses."""

    @pytest.fixture
    def connection(self, own_server: Server) -> dict[str, Any]:
        facts = {key: own_server.facts[key] for key in ("host", "port", "login", "schema")}
        return {"conn_type": "postgres", **facts}

    def test_a_server_that_is_down(self, warehouse: Warehouse, own_server: Server, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        own_server.stop()
        try:
            for work in (
                lambda: warehouse.count("s.t"),
                lambda: warehouse.exists("s.t"),
                lambda: put(warehouse, "s.t", numbers(5), tmp_path),
                lambda: warehouse.record("s.t", {"id": 1}, key="id"),
            ):
                with pytest.raises(BusyError, match="cannot be reached, or went away: .*failed: Connection refused"):
                    work()
        finally:
            own_server.start()
        assert warehouse.count("s.t") == 3

    @pytest.mark.parametrize("level", ["repeatable read", "serializable"])
    def test_a_server_that_isolates_more(
        self, connect: Connect, connection: dict[str, Any], level: str, tmp_path: Path
    ) -> None:
        """Who waited for another session's lock sees what that has written."""
        options = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
        warehouse = open_warehouse(connect(**connection, extra={"options": options}))
        warehouse.create_table("s.isolated", {"id": "BIGINT", "x": "VARCHAR"})
        try:
            with ThreadPoolExecutor(1) as pool:
                with warehouse._session(write=True) as cursor:
                    warehouse._lock(cursor, warehouse._qualified("s.isolated"))
                    other = pool.submit(warehouse.record, "s.isolated", {"id": 1, "x": "a"}, key="id")
                    until(lambda: running(connection, "SELECT PG_ADVISORY"))
                    cursor.execute("INSERT INTO s.isolated VALUES (1, 'a')")
                assert other.result(timeout=20) == "unchanged"
        finally:
            warehouse.drop_table("s.isolated")

    @pytest.mark.parametrize("extra", [{}, {"connect_timeout": 2}])
    def test_a_server_that_is_silent(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
    ) -> None:
        """It takes the connection and never says a word."""
        monkeypatch.setattr(postgres, "_CONNECT_SECONDS", 30 if extra else 2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            hook = connect(conn_type="postgres", host="127.0.0.1", port=silent.getsockname()[1], extra=extra)
            begun = time.monotonic()
            with pytest.raises(BusyError, match="cannot be reached, or went away: .*time"):
                open_warehouse(hook).count("s.t")
        assert time.monotonic() - begun < 10

    @pytest.mark.faults
    def test_killed_in_a_query(self, warehouse: Warehouse, connection: dict[str, Any], own_server: Server) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(warehouse.count, SLEEP)
            until(lambda: running(connection, "SELECT COUNT"))
            own_server.kill()
            try:
                with pytest.raises(BusyError, match="cannot be reached, or went away: .*"):
                    future.result(timeout=20)
            finally:
                own_server.start()

    @pytest.mark.faults
    @pytest.mark.parametrize("end", ["kill", "stop"])
    @pytest.mark.parametrize("columns", [["id", "x"], ["id", "y"]])
    def test_killed_in_a_load(
        self,
        warehouse: Warehouse,
        connection: dict[str, Any],
        own_server: Server,
        tmp_path: Path,
        end: str,
        columns: Any,
    ) -> None:
        put(warehouse, "s.t", numbers(3).rename_columns(columns), tmp_path)
        tables = warehouse.run("tables")
        with loading(warehouse, connection, many(tmp_path / "many", 3_000_000), "s.t") as load:
            getattr(own_server, end)()
            try:
                with pytest.raises(BusyError, match="went away|aborted the query: terminating connection"):
                    load.result(timeout=60)
            finally:
                own_server.start()
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).rename_columns(columns).to_pylist()
        assert warehouse.run("tables") == tables
        left = "SELECT relname FROM pg_class WHERE relname LIKE '%automl%'"
        until(lambda: not ask(connection, left))
        put(warehouse, "s.t", numbers(5), tmp_path)
        assert warehouse.count("s.t") == 5

    def test_a_session_that_an_administrator_ends(self, warehouse: Warehouse, connection: dict[str, Any]) -> None:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(warehouse.count, SLEEP)
            until(lambda: running(connection, "SELECT COUNT"))
            ((pid,),) = running(connection, "SELECT COUNT")
            ask(connection, f"SELECT pg_terminate_backend({pid})")
            with pytest.raises(BusyError, match="terminating connection due to administrator command"):
                future.result(timeout=20)

    def test_logins_that_are_refused(self, connect: Connect, connection: dict[str, Any], own_server: Server) -> None:
        rules = own_server.data / "cluster" / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text("host all secret 127.0.0.1/32 scram-sha-256\nhost all nobody 127.0.0.1/32 reject\n" + before)
        ask(
            connection,
            "CREATE ROLE secret LOGIN PASSWORD 'right'; CREATE ROLE idle; CREATE ROLE few LOGIN CONNECTION LIMIT 0",
        )
        ask(connection, "SELECT pg_reload_conf()")

        def opened(**changed: Any) -> int:
            return open_warehouse(connect(**connection | changed)).count(Query("SELECT 1 AS a"))

        until(lambda: _raises(InputError, lambda: opened(login="nobody")))
        assert opened(login="secret", password="right") == 1
        for changed, reason in (
            ({"login": "secret", "password": "wrong"}, 'password authentication failed for user "secret"'),
            ({"login": "secret"}, "no password supplied"),
            ({"login": "nobody"}, "pg_hba.conf rejects connection"),
            ({"login": "unknown"}, 'role "unknown" does not exist'),
            ({"login": "idle"}, 'role "idle" is not permitted to log in'),
            ({"schema": "missing"}, 'database "missing" does not exist'),
            ({"extra": {"sslmode": "require"}}, "does not support SSL"),
        ):
            with pytest.raises(InputError, match=rf"rejected the login: .*({reason})"):
                opened(**changed)
        with pytest.raises(BusyError, match='too many connections for role "few"'):
            opened(login="few")


def _raises(kind: type[Exception], work: Callable[[], Any]) -> bool:
    with suppress(BusyError):
        try:
            work()
        except kind:
            return True
    return False
