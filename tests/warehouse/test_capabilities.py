"""What an engine declares is proven, and a false declaration is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse import Capabilities, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.duckdb import DuckDBWarehouse
from airflow_provider_automl.warehouse.hive import HiveWarehouse
from airflow_provider_automl.warehouse.postgres import PostgresWarehouse
from airflow_provider_automl.warehouse.spark import SparkWarehouse
from airflow_provider_automl.warehouse.trino import TrinoWarehouse
from tests.warehouse.conformance import numbers, put
from tests.warehouse.conftest import Connect


def broken(warehouse: Warehouse, tmp_path: Path) -> list[str]:
    """What a warehouse declares and does not keep."""
    kept = {"atomic_replace": _replaces, "ddl_transactional": _leaves_nothing, "read_only": _reads_only}
    found = []
    for name in [name for name in kept if getattr(warehouse.capabilities, name)]:
        put(warehouse, "s.t", numbers(10), tmp_path)
        if not kept[name](warehouse, tmp_path):
            found.append(name)
    return found


def _replaces(warehouse: Warehouse, tmp_path: Path) -> bool:
    """Whether who reads finds the table, old or new, while it is replaced."""
    seen: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.append(warehouse.count("s.t"))
            except Exception as error:
                seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(6):
        put(warehouse, "s.t", numbers(20 if turn % 2 else 10), tmp_path)
    done.set()
    reader.join()
    return len(seen) > 1 and set(map(str, seen)) <= {"10", "20"}


def _leaves_nothing(warehouse: Warehouse, tmp_path: Path) -> bool:
    """Whether a load that fails in its midst leaves no table, and the old one as it was."""
    directory = tmp_path / "broken"
    directory.mkdir()
    file = directory / "part-0.parquet"
    pq.write_table(numbers(200_000), file, row_group_size=1000)
    whole, middle = file.read_bytes(), file.stat().st_size // 2
    file.write_bytes(whole[:middle] + b"\xff" * 5000 + whole[middle + 5000 :])

    def tables() -> list[str]:
        with warehouse._session() as cursor:
            return sorted(str(table) for table in warehouse._tables(cursor))

    before, count = tables(), warehouse.count("s.t")
    for target in ("s.t", "s.other"):
        with pytest.raises(Exception, match=r"\S"):  # each reader has its own
            warehouse.load(directory, target)
    return tables() == before and warehouse.count("s.t") == count


def _reads_only(warehouse: Warehouse, tmp_path: Path) -> bool:
    """Whether the session that queries run in lets nothing be written."""
    count = warehouse.count("s.t")
    for statement in ("CREATE TABLE s.made AS SELECT 1 AS a", "DELETE FROM s.t", "DROP TABLE s.t"):
        try:
            with warehouse._session() as cursor:
                cursor.execute(statement)
        except Exception:
            continue
        return False
    return warehouse.count("s.t") == count and not warehouse.exists("s.made")


@pytest.fixture
def duckdb(connect: Connect, tmp_path: Path) -> Any:
    return connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb"))


def test_duckdb_keeps_what_it_declares(duckdb: Any, tmp_path: Path) -> None:
    assert broken(open_warehouse(duckdb), tmp_path) == []


def test_postgres_keeps_what_it_declares(connect: Connect, postgres_connection: dict[str, Any], tmp_path: Path) -> None:
    assert broken(open_warehouse(connect(**postgres_connection)), tmp_path) == []


class DropsFirst(DuckDBWarehouse):
    """Says that it replaces in one step, and drops the old table before the new one is there."""

    def _load(self, files: list[Path], target: Any, **how: Any) -> int:
        self._write(lambda cursor: self._run(cursor, "drop_table", table=target))
        time.sleep(0.3)
        return super()._load(files, target, **how)


class LeavesTables(DuckDBWarehouse):
    """Says that a load that fails leaves nothing, and makes a table beside the target in a transaction of its own."""

    def _load(self, files: list[Path], target: Any, **how: Any) -> int:
        beside = self._staging(target, "left")
        self._write(lambda cursor: self._create_missing(cursor, beside, {"a": "BIGINT"}))
        loaded = super()._load(files, target, **how)
        self._write(lambda cursor: self._run(cursor, "drop_table", table=beside))
        return loaded


class Writes(DuckDBWarehouse):
    """Says that what reads cannot write, and opens every session for both."""

    @contextmanager
    def _session(self, *, write: bool = False, directory: Path | None = None) -> Iterator[Any]:
        with super()._session(write=True, directory=directory) as cursor:
            yield cursor


@pytest.mark.parametrize(
    ("kind", "promise"), [(DropsFirst, "atomic_replace"), (LeavesTables, "ddl_transactional"), (Writes, "read_only")]
)
def test_a_false_declaration_is_found(duckdb: Any, tmp_path: Path, kind: type[DuckDBWarehouse], promise: str) -> None:
    assert promise in broken(kind(duckdb, lock_timeout=30), tmp_path)


def test_every_engine_declares(connect: Connect) -> None:
    kinds = (DuckDBWarehouse, PostgresWarehouse, TrinoWarehouse, HiveWarehouse, SparkWarehouse)
    assert all(isinstance(kind.capabilities, Capabilities) and kind.engine for kind in kinds)
    assert not hasattr(Warehouse, "capabilities")
    for conn_type in ("sqlite", "mysql"):
        with pytest.raises(InputError, match=f"is of type {conn_type}, which is not supported: use a"):
            open_warehouse(_Hook(conn_type))  # type: ignore[arg-type]


class _Hook:
    """What is asked of a hook before anything is connected."""

    def __init__(self, conn_type: str) -> None:
        self.conn_type = conn_type

    def get_conn_id(self) -> str:
        return "other"
