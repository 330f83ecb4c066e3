"""The texts in ``tests/golden/`` run on the real engines, as they stand there.

These are the queries that every engine has, and of its own those that need no more than a table. What needs staging,
another session or a marked table of its own is run by the engine's other tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.warehouse import Warehouse, open_warehouse
from tests.engines import Facts
from tests.golden import COLUMNS, DATA, statements
from tests.warehouse.conformance import numbers
from tests.warehouse.conftest import Connect

Run = Callable[..., list[tuple[Any, ...]]]

NEW = "golden.census"
OLD = "golden.census2"


@contextmanager
def texts(warehouse: Warehouse, engine: str, data: Path | None = None) -> Iterator[Run]:
    """A function that runs statements by name, in one session, and returns the rows of the last one."""
    written = statements(engine)
    for table in (NEW, OLD):
        warehouse.drop_table(table)
    with warehouse._session(write=True, directory=data) as cursor:

        def run(*names: str) -> list[tuple[Any, ...]]:
            rows: list[tuple[Any, ...]] = []
            for name in names:
                cursor.execute(written[name].replace(DATA, str(data) if data else DATA))
                rows = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
            return rows

        yield run
    for table in (NEW, OLD):
        warehouse.drop_table(table)


def common(run: Run, *, deletes: bool = True, renames: bool = True) -> None:
    """Run what every engine has."""
    ((schema, *_),) = run("current_schema")
    assert schema
    run("create_schema", "create_schema", "create_table", "create_table", "insert", "append", "append")
    if deletes:
        assert ("golden",) in [row[:1] for row in run("schemas")]
        assert ("golden", "census") in [row[:2] for row in run("tables")]
    assert run("count") == [(4,)]
    assert sorted(int(row[0]) for row in run("numbered")) == [1, 2, 3, 4]
    for name in ("select", "sample", "newest"):
        assert [row[:4] for row in run(name)] == [("a", "it's", 0.5, None)] * 4
    assert run("classes") == [("it's", 4, 4)]
    assert run("labels") == [("it's", 4)]
    (row,) = run("auc")
    assert [int(value) for value in row[:7]] == [4, 0, 0, 0, 0, 0, 4]
    ((_, cell, n, *_),) = run("scores")
    assert (int(cell), int(n)) == (5, 4)
    ((_, code, n, *_),) = run("errors")
    assert (int(code), int(n)) == (1, 4)
    ((key, label, prediction, *counts),) = run("confusion")
    assert (key, label, prediction, *map(int, counts)) == ("it's", "it's", "it's", 0, 4, 4)
    assert [row[-1] for row in run("crossed")] == [0] * 4
    assert run("first") == [("it's",)]
    (row,) = run("paired_auc")
    assert [int(value) for value in row[:10]] == [0, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    (row,) = run("paired_means")
    assert [int(value) for value in row[:10]] == [0, 1, 1, 0, 0, 1, 0, 0, 1, 0]
    run("add_column")
    if deletes:
        run("delete")
        assert run("count") == [(0,)]
    if renames:
        run("rename_table")
    run("drop_table")


def test_duckdb(connect: Connect, tmp_path: Path) -> None:
    warehouse = open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb")))
    pq.write_table(numbers(3), tmp_path / "it's.parquet")
    done: set[str] = set()
    with texts(warehouse, "duckdb", tmp_path) as run:

        def noted(*names: str) -> list[tuple[Any, ...]]:
            done.update(names)
            return run(*names)

        common(noted)
        noted("memory_limit", "load")
        assert noted("bounds") == [(True, False, [f"{tmp_path}/", f"{tmp_path}/w.duckdb.tmp/"])]
        assert [row[:2] for row in noted("describe")] == [("id", "BIGINT"), ("x", "DOUBLE")]
        noted("drop_table", "create_table", "insert", "unload")
        assert noted("unweighted_errors") == noted("errors")
        assert [row[0] for row in noted("describe_files")] == list(COLUMNS)
        noted("append_files")
        assert noted("count") == [(2,)]
    with duckdb.connect() as connection:  # what a session does before it locks its settings
        for name in ("set_memory_limit", "allow_directories", "deny_external_access", "lock_settings"):
            done.add(name)
            connection.execute(statements("duckdb")[name])
    assert done == statements("duckdb").keys()


def test_postgres(connect: Connect, postgres_connection: dict[str, Any]) -> None:
    warehouse = open_warehouse(connect(**postgres_connection))
    done: set[str] = set()
    written = statements("postgres")
    with warehouse._session(write=True) as cursor:

        def run(*names: str) -> list[tuple[Any, ...]]:
            done.update(names)
            for name in names:
                cursor.execute(written[name])
            return list(cursor.fetchall()) if cursor.description else []

        assert run("settings")[0][:4] == ("ISO, MDY", "hex", "1", "off")
        run("lock", "await_claim")
        assert run("claim") == [(True,)]
        assert run("end_holder") == []
        common(run)
        run("create_table", "insert", "create_staging", "describe")
        assert [column[0] for column in cursor.description] == list(COLUMNS)
        assert run("definition")[2] == ("score", "double precision")
        assert run("types") == [(20, "bigint", "b"), (25, "text", "b")]
        done.update(("copy_in", "copy_out"))
        with cursor.copy(written["copy_out"]) as out:
            assert [bytes(row) for row in out] == [b"a,it's,0.5,,2026-11-25 12:00:00\n"]
        with cursor.copy(written["copy_in"]) as into:
            into.write("b,,,,\n")
        assert run("count") == [(2,)]
    assert done == written.keys()


@pytest.mark.shares("trino memory")
def test_trino(connect: Connect, trino_server: Facts) -> None:
    warehouse = open_warehouse(
        connect(
            conn_type="trino",
            host="127.0.0.1",
            port=trino_server["port"],
            login="golden",
            schema="golden",
            extra={"catalog": "memory"},
        )
    )
    warehouse.create_schema("golden")
    with texts(warehouse, "trino") as run:
        common(run, deletes=False)
        run("create_table", "catalogs", "describe", "probe", "count_where", "tables_of_schema")


def test_hive(connect: Connect, hive_server: Facts) -> None:
    by_hiveserver2(connect, hive_server, "hive")


def test_spark(connect: Connect, spark_server: Facts) -> None:
    by_hiveserver2(connect, spark_server, "spark")


def by_hiveserver2(connect: Connect, server: Facts, engine: str) -> None:
    warehouse = open_warehouse(
        connect(conn_type="hiveserver2", host="127.0.0.1", port=server["port"], login=os.environ.get("USER", "golden"))
    )
    warehouse.create_schema("golden")
    with texts(warehouse, engine) as run:
        common(run, deletes=False)
        run("create_table", "describe", "count_where")
