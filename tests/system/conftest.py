from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_automl.hooks.automl import AutoMLHook
from tests.system import census
from tests.system.mail import Mailbox
from tests.system.server import REPO, AirflowServer, environment, free_port


@pytest.fixture(scope="session")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    with Mailbox(tmp_path_factory.mktemp("mails")) as box:
        yield box


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> Iterator[AirflowServer]:
    """Airflow with the example DAGs and the failing ones, and the census tables in its embedded warehouse."""
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for name, directory in (("examples", REPO / "dags"), ("failures", REPO / "tests" / "system" / "dags")):
        (dags / name).symlink_to(directory)
    silent = socket.create_server(("127.0.0.1", 0), backlog=200)  # takes connections, and never says a word
    server = AirflowServer(
        home,
        dags,
        {
            "AIRFLOW_CONN_SILENT_POSTGRES": f"postgres://u:p@127.0.0.1:{silent.getsockname()[1]}/db",
            "AIRFLOW_CONN_AUTOML_SILENT": json.dumps(
                {"conn_type": "automl", "extra": {"warehouse_conn_id": "silent_postgres"}}
            ),
            "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.connection(),
            "AIRFLOW_CONN_SMTP_DOWN": mailbox.connection(free_port()),
            # A DAG that is unpaused would be run for its last 07:00 too.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            "PYTHONPATH": str(REPO),
            "AUTOML_CANARY": f"canary-{uuid4().hex}",  # a secret of the environment: test_forms.py
        },
        # The guest has no role, and so no access to any DAG.
        users={"admin": "admin", "guest": ""},
    )
    with reached(server.env):
        census.load()
        census.load("few", rows=2_000)
    server.start()
    yield server
    server.stop()
    silent.close()


@contextmanager
def reached(env: Mapping[str, str]) -> Iterator[AutoMLHook]:
    """The warehouse and the models of an Airflow's environment, as its tasks reach them, within a ``with`` block."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
            patch.delenv(name)
        for name, value in env.items():
            if name == "AIRFLOW_HOME" or name.startswith(("AIRFLOW_CONN_", "AWS_")):
                patch.setenv(name, value)
        yield AutoMLHook()


def rows(env: Mapping[str, str], table: str) -> list[dict[str, Any]]:
    """All rows of a table of that warehouse; none if there is no such table."""
    with reached(env) as hook:
        return hook.warehouse.rows(table) if hook.warehouse.exists(table) else []


def run_dag(env: Mapping[str, str], dag_id: str, conf: Mapping[str, Any]) -> None:
    """Run a DAG by ``airflow dags test``: no server, one task after the other in one process."""
    done = subprocess.run(
        ["airflow", "dags", "test", dag_id, "--conf", json.dumps(conf)],
        env=dict(env), cwd=env["AIRFLOW_HOME"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    print(done.stdout[-20000:])
    assert done.returncode == 0


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Airflow for :func:`run_dag`."""
    home = tmp_path_factory.mktemp("airflow")
    subprocess.run(["airflow", "db", "migrate"], env=environment(home, REPO / "dags"), check=True, capture_output=True)
    return home


def automl_processes(needle: str | Path) -> list[int]:
    """Processes whose command line holds ``needle``: a job's, by its directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(needle) in command:
                found.append(int(entry.name))
    return found
