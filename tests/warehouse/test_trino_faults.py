"""A Trino server that is killed, restarted, or out of room, and staging that one side does not see."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.trino import TrinoWarehouse
from tests.engines import Missing, required
from tests.engines.trino import Trino
from tests.warehouse.conformance import child, numbers, put, take
from tests.warehouse.conftest import Connect

Open = Callable[..., TrinoWarehouse]

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trino]:
    """One of this module's own, with nothing beside it."""
    try:
        Trino.install()
    except Missing as missing:
        (pytest.fail if "trino" in required() else pytest.skip)(str(missing))
    server = Trino(tmp_path_factory.mktemp("trino"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.clear()


@pytest.fixture
def connection(server: Trino) -> dict[str, Any]:
    return {
        "conn_type": "trino",
        "host": "127.0.0.1",
        "port": server.facts["port"],
        "login": "tester",
        "schema": "home",
        "extra": {"catalog": "files"},
    }


@pytest.fixture
def opened(connect: Connect, connection: dict[str, Any]) -> Open:
    def made(staging: str | None = None) -> TrinoWarehouse:
        warehouse = open_warehouse(connect(**connection), staging=staging)
        assert isinstance(warehouse, TrinoWarehouse)
        return warehouse

    return made


def staged(server: Trino) -> list[Path]:
    return [*Path(server.facts["staging"].removeprefix("file://")).iterdir()]


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tables(warehouse: Warehouse) -> list[tuple[object, object]]:
    return sorted((row["table_schema"], row["table_name"]) for row in warehouse.run("tables"))


def test_a_place_that_one_side_does_not_see(
    server: Trino, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``/proc/self/cwd`` is another directory to each process."""
    put(opened(), "s.t", numbers(3), tmp_path)
    before = tables(opened())
    monkeypatch.chdir(tmp_path)
    # Trino makes the directory that it is told of, among its own.
    apart = opened("file:///proc/self/cwd/apart")
    with pytest.raises(
        InputError, match=r"Trino finds 0 of 1 rows in file:///proc/self/cwd/apart.*, where this worker"
    ):
        put(apart, "s.t", numbers(1), tmp_path)
    with pytest.raises(InputError, match=r"Trino wrote 3 rows to file:///proc/self/cwd/apart.* finds 0 of them there"):
        take(apart, "s.t", tmp_path)
    # Or cannot, since there is something else.
    (server.data / "blocked").write_text("")
    blocked = opened("file:///proc/self/cwd/blocked")
    for call in (lambda: put(blocked, "s.t", numbers(1), tmp_path), lambda: take(blocked, "s.t", tmp_path)):
        with pytest.raises(
            InputError, match=r"Trino cannot use .*/blocked through its catalog files: .* servers must reach it"
        ):
            call()
    for wrong, reason in (
        (str(tmp_path / "a-file" / "staging"), "worker cannot use the staging location"),
        ("ftp://127.0.0.1:1/none", "staging location ftp"),
    ):
        (tmp_path / "a-file").write_text("")
        with pytest.raises(InputError, match=reason):
            take(opened(wrong), "s.t", tmp_path)
    assert opened().rows("s.t", order_by=["id"]) == numbers(3).to_pylist()
    assert tables(opened()) == before


def test_no_room_for_trino(server: Trino, opened: Open, tmp_path: Path) -> None:
    """The kernel refuses the server's process files of more than a few bytes, as a full disk does."""
    warehouse = opened(server.facts["staging"])
    put(warehouse, "s.t", numbers(3), tmp_path)
    before = tables(warehouse)
    ((pid, _),) = server.facts["processes"]
    source = Query("SELECT custkey, comment FROM tpch.tiny.customer")
    customers = take(warehouse, source, tmp_path)
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, unlimited[1]))
    try:
        with pytest.raises(BusyError, match=r"Trino cannot write to file://.*File too large"):
            take(warehouse, source, tmp_path)
        with pytest.raises(Exception, match="File too large"):
            put(warehouse, "s.t", customers, tmp_path)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()
    assert tables(warehouse) == before
    assert staged(server) == []


def test_no_room_for_the_worker(server: Trino, opened: Open, connection: dict[str, Any], tmp_path: Path) -> None:
    warehouse = opened(server.facts["staging"])
    put(warehouse, "s.t", numbers(3), tmp_path)
    files = tmp_path / "files"
    files.mkdir()
    foreign = pa.array([None] * 100_000, pa.dictionary(pa.int8(), pa.string()))  # which is written anew for Trino
    pq.write_table(numbers(100_000).append_column("d", foreign), files / "part-0.parquet")
    code = (
        "import resource; warehouse.columns('s.t')\n"
        f"warehouse.staging = {server.facts['staging']!r}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        f"    warehouse.load(Path({str(files)!r}), 's.t')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    with child(connection, f"exec({code!r})") as process:
        printed, _ = process.communicate(timeout=60)
    assert printed.startswith("BusyError")
    assert "full" in printed
    assert warehouse.count("s.t") == 3
    assert staged(server) == []


def test_killed_in_mid_query(server: Trino, opened: Open, tmp_path: Path) -> None:
    """What is asked of it is given up, for a retry; ``cancel`` does not wait for a server that is gone."""
    warehouse = opened()
    endless = Query("SELECT comment FROM tpch.sf1000.lineitem WHERE comment LIKE '%quick%'")
    schema = pa.schema([("comment", pa.string())])
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        counting = pool.submit(warehouse.count, endless)
        stack.callback(warehouse.cancel)  # lest the pool wait for ever
        wait_for(lambda: warehouse.run("running", name="sf1000"))
        # A query that the server, when it is back, has never heard of.
        with pytest.raises(BusyError, match="went away"), warehouse._session() as cursor:
            batches = warehouse._batches(cursor, "SELECT comment FROM tpch.sf1.lineitem", schema, 1000)
            assert next(batches).num_rows == 1000
            server.kill()
            begun = time.monotonic()
            warehouse.cancel()
            assert time.monotonic() - begun < 2
            with pytest.raises(BusyError, match="cannot be reached, or went away"):
                counting.result(timeout=60)
            with pytest.raises(BusyError, match="cannot be reached"):
                opened().count("tpch.tiny.nation")
            server.start()
            list(batches)
    assert opened().count("tpch.tiny.nation") == 25


def test_killed_in_mid_load(server: Trino, opened: Open, tmp_path: Path) -> None:
    """The old tables are whole; the retries load all, and nothing is left. By staging and by statements at once."""
    loads: dict[str, tuple[TrinoWarehouse, int]] = {
        "s.staged": (opened(server.facts["staging"]), 1_000_000),
        "s.stated": (opened(), 100_000),
    }
    for table, (warehouse, rows) in loads.items():
        put(warehouse, table, numbers(3), tmp_path)
        (tmp_path / table).mkdir()
        pq.write_table(numbers(rows), tmp_path / table / "part-0.parquet")
    before = tables(opened())
    started = {table: threading.Event() for table in loads}
    for table, (warehouse, _) in loads.items():
        warehouse.on_query = lambda url, begun=started[table]: begun.set()
    with ThreadPoolExecutor() as pool:
        loading = [pool.submit(each.load, tmp_path / table, table, key="task") for table, (each, _) in loads.items()]
        for begun in started.values():
            assert begun.wait(60)
        server.kill()
        for each in loading:
            with pytest.raises(BusyError, match="cannot be reached, or went away"):
                each.result(timeout=60)
    server.start()
    for table, (warehouse, rows) in loads.items():
        again = opened(warehouse.staging)
        assert again.rows(table, order_by=["id"]) == numbers(3).to_pylist()
        assert again.load(tmp_path / table, table, key="task") == rows
        assert again.count(table) == rows
    assert tables(opened()) == before
    assert staged(server) == []
