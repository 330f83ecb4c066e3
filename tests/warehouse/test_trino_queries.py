"""Trino's queries tell whose they are, are ended when nobody waits for them, and log in as the connection says."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trino.auth

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.trino import TrinoWarehouse
from tests.engines import Facts
from tests.warehouse.conformance import child, numbers, put
from tests.warehouse.conftest import Connect

OWN = f"of process {os.getpid()}"  # others may run such queries on the same server
ENDLESS = f"SELECT comment FROM tpch.sf1000.lineitem WHERE comment LIKE '%{{}}%' OR comment = '{OWN}'"

# Run in a child, which is then a task of Airflow's.
TASK = (
    "import os; from types import SimpleNamespace; "
    "from airflow.sdk.execution_time.context import set_current_context; "
    "os.environ.update(AIRFLOW_CTX_DAG_ID='dag é', AIRFLOW_CTX_DAG_RUN_ID='manual__2026-03-29T01:30:00+00:00', "
    "AIRFLOW_CTX_TASK_ID='train', AIRFLOW_CTX_TRY_NUMBER='{attempt}'); "
    "task = set_current_context({{'ti': SimpleNamespace(map_index={map_index})}}); task.__enter__(); "
)


pytestmark = pytest.mark.shares("trino memory")


@pytest.fixture
def connection(trino_server: Facts) -> dict[str, Any]:
    return {
        "conn_type": "trino",
        "host": "127.0.0.1",
        "port": trino_server["port"],
        "login": "tester",
        "schema": "home",
        "extra": {"catalog": "memory"},
    }


@pytest.fixture
def warehouse(connect: Connect, connection: dict[str, Any]) -> Iterator[Warehouse]:
    warehouse = open_warehouse(connect(**connection))
    yield warehouse
    for row in warehouse.run("running", name=OWN):
        with warehouse._session() as cursor:
            assert isinstance(warehouse, TrinoWarehouse)
            warehouse._cancel_query(cursor, row["query_id"])


def running(warehouse: Warehouse, text: str) -> list[dict[str, object]]:
    return warehouse.run("running", name=text)


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def told(connection: dict[str, Any], query_id: str) -> dict[str, Any]:
    """What the server knows of a query's session."""
    url = f"http://127.0.0.1:{connection['port']}/v1/query/{query_id}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-Trino-User": "tester"})) as answer:
        session: dict[str, Any] = json.load(answer)["session"]
    return session


def test_a_query_tells_its_task(
    connect: Connect, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the connection says for itself is kept."""
    for name, value in {"DAG_ID": "my dag, é", "TASK_ID": "t", "DAG_RUN_ID": "r:1+2", "TRY_NUMBER": "3"}.items():
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)
    extra = {"client_tags": ["mine"], "source": "ours", "session_properties": {"query_max_run_time": "1h"}}
    warehouse = open_warehouse(connect(**connection | {"extra": connection["extra"] | extra}))
    urls: list[str] = []
    warehouse.on_query = urls.append
    assert warehouse.query_url is None
    warehouse.columns("tpch.tiny.nation")
    warehouse.exists("tpch.tiny.nation")
    assert urls == []
    warehouse.unload("tpch.tiny.nation", tmp_path / "out")
    (url,) = urls
    assert warehouse.query_url == url
    session = told(connection, url.rpartition("?")[2])
    assert session["source"] == "ours"
    assert sorted(session["clientTags"]) == ["dag:my dag%2C %C3%A9", "mine", "run:r:1+2", "task:t", "try:3"]
    assert session["systemProperties"] == {"query_max_run_time": "1h"}
    assert json.loads(session["clientInfo"])["task_id"] == "t"
    put(warehouse, "s.t", numbers(3), tmp_path)
    assert len(urls) == 2
    with urllib.request.urlopen(warehouse.query_url) as page:
        assert page.status == 200


def test_a_page_is_told_of_while_its_query_runs(warehouse: Warehouse, tmp_path: Path) -> None:
    started = threading.Event()
    warehouse.on_query = lambda url: started.set()
    with ThreadPoolExecutor() as pool:
        unloading = pool.submit(warehouse.unload, Query(ENDLESS.format("quick")), tmp_path / "out")
        assert started.wait(60)
        wait_for(lambda: running(warehouse, OWN))
        begun = time.monotonic()
        warehouse.cancel()
        assert time.monotonic() - begun < 2
        with pytest.raises(BusyError, match="aborted the query|went away"):
            unloading.result(timeout=60)
    assert not running(warehouse, OWN)


def test_a_query_is_cancelled_by_a_signal(warehouse: Warehouse, connection: dict[str, Any]) -> None:
    """As Airflow's ``on_kill`` does: on the thread that the query has, within its request."""
    code = (
        "import signal, time; from airflow_provider_automl.warehouse import Query\n"
        "def stop(*_):\n"
        "    begun = time.monotonic(); warehouse.cancel(); print('took', time.monotonic() - begun, flush=True)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "try:\n"
        f"    warehouse.count(Query({ENDLESS.format('signal')!r}))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    with child(connection, f"exec({code!r})") as process:
        wait_for(lambda: running(warehouse, f"{OWN}'\n)"))  # not the statement that looks at it before
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    assert float(printed.split()[1]) < 2
    assert "BusyError Trino" in printed
    assert not running(warehouse, "%signal%")


def test_a_retry_ends_what_its_killed_predecessor_runs(
    warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
) -> None:
    """And nothing that another task instance runs, or a later try."""

    def unloading(mark: str, **task: int) -> str:
        query = ENDLESS.format(mark)
        out = str(tmp_path / mark)
        return TASK.format(**task) + (
            "from airflow_provider_automl.warehouse import Query; "
            "warehouse.on_query = lambda url: print(url, flush=True); "
            f"warehouse.unload(Query({query!r}), Path({out!r}))"
        )

    tries = {"later": (3, 0), "sibling": (1, 1), "first": (1, 0)}  # one that begins ends those before it
    with ExitStack() as stack:
        for mark, (attempt, map_index) in tries.items():
            process = stack.enter_context(child(connection, unloading(mark, attempt=attempt, map_index=map_index)))
            assert process.stdout
            assert process.stdout.readline().startswith("http")  # the query, not one that asks for its columns
            wait_for(lambda mark=mark: running(warehouse, f"%{mark}%"))
            process.send_signal(signal.SIGKILL)
    assert all(running(warehouse, f"%{mark}%") for mark in tries)
    retry = TASK.format(attempt=2, map_index=0) + "print(warehouse.count('tpch.tiny.nation'))"
    with child(connection, retry) as process:
        assert process.communicate(timeout=60)[0].split() == ["25"]
    assert not running(warehouse, "%first%")
    assert running(warehouse, "%sibling%")
    assert running(warehouse, "%later%")


def test_statements_commit_by_themselves(connect: Connect, connection: dict[str, Any], tmp_path: Path) -> None:
    """Though the connection asks for transactions."""
    extra = connection["extra"] | {"isolation_level": "READ_COMMITTED"}
    warehouse = open_warehouse(connect(**connection | {"extra": extra}))
    assert put(warehouse, "s.t", numbers(3), tmp_path) == 3
    assert warehouse.count("s.t") == 3


@pytest.mark.parametrize("kind", ["none", "password", "jwt", "jwt file", "certs", "kerberos"])
def test_every_way_to_log_in_reaches_the_client(connect: Connect, tmp_path: Path, kind: str) -> None:
    (tmp_path / "token").write_text("from a file")
    extra: dict[str, Any] = {
        "none": {},
        "password": {},
        "jwt": {"auth": "jwt", "jwt__token": "a token"},
        "jwt file": {"auth": "jwt", "jwt__file": str(tmp_path / "token")},
        "certs": {"auth": "certs", "certs__client_cert_path": "/c.pem", "certs__client_key_path": "/k.pem"},
        "kerberos": {"auth": "kerberos", "kerberos__service_name": "trino", "kerberos__principal": "me@REALM"},
    }[kind]
    expected = {
        "none": None,
        "password": trino.auth.BasicAuthentication("user", "secret"),
        "jwt": trino.auth.JWTAuthentication("a token"),
        "jwt file": trino.auth.JWTAuthentication("from a file"),
        "certs": trino.auth.CertificateAuthentication("/c.pem", "/k.pem"),
        "kerberos": trino.auth.KerberosAuthentication(service_name="trino", principal="me@REALM"),
    }[kind]
    hook = connect(
        conn_type="trino",
        host="trino.example",
        port=8443,
        login="user",
        password="secret" if kind == "password" else None,
        schema="home",
        extra={"catalog": "hive", "protocol": "https", "verify": "false"} | extra,
    )
    warehouse = open_warehouse(hook)
    assert isinstance(warehouse, TrinoWarehouse)
    connection = warehouse._connect()
    if kind == "kerberos":
        assert isinstance(connection.auth, trino.auth.KerberosAuthentication)
        assert (connection.auth._service_name, connection.auth._principal) == ("trino", "me@REALM")
    else:
        assert connection.auth == expected
    assert (connection.http_scheme, connection.host, connection.port) == ("https", "trino.example", 8443)
    assert connection._http_session.verify is False


def test_wrong_logins_are_the_users_fault(connect: Connect, connection: dict[str, Any]) -> None:
    for changed, reason in (
        ({"password": "secret"}, "TLS/SSL is required"),
        ({"password": "secret", "extra": {"protocol": "https", "verify": "false"}}, "TLS to Trino failed"),
        ({"extra": {"auth": "certs"}}, "lacks 'certs__client_cert_path'"),
        ({"extra": {"auth": "jwt"}}, "exactly one parameter"),
        ({"password": "secret", "extra": {"auth": "jwt", "jwt__token": "t"}}, "Multiple authentication methods"),
        ({"login": None}, "rejected the login .* 401"),
    ):
        with pytest.raises(InputError, match=reason):
            open_warehouse(connect(**connection | changed)).count("tpch.tiny.nation")
