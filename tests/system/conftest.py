from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.mail import Mailbox
from tests.system.server import REPO, AirflowServer, free_port


@pytest.fixture(scope="session")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    with Mailbox(tmp_path_factory.mktemp("mails")) as box:
        yield box


@pytest.fixture(scope="module")  # its servers take a quarter of a processor even when they do nothing
def airflow(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> Iterator[AirflowServer]:
    """Airflow with the example DAGs and the failing ones, and the census tables in its embedded warehouse."""
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for name, directory in (("examples", REPO / "dags"), ("failures", REPO / "tests" / "system" / "dags")):
        (dags / name).symlink_to(directory)
    server = AirflowServer(
        home,
        dags,
        {
            "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.connection(),
            "AIRFLOW_CONN_SMTP_DOWN": mailbox.connection(free_port()),
            # A DAG that is unpaused would be run for its last 07:00 too.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            "PYTHONPATH": str(REPO),
        },
        # The guest has no role, and so no access to any DAG.
        users={"admin": "admin", "guest": ""},
    )
    python(server, "from tests.system.census import load; load()")
    server.start()
    yield server
    server.stop()


def python(server: AirflowServer, code: str) -> str:
    """Run ``code`` as a user's script in the server's environment; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **server.env}, cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(server: AirflowServer, table: str) -> list[dict[str, Any]]:
    """All rows of a table of the embedded warehouse."""
    code = (
        "import json; from airflow_provider_automl.hooks.automl import AutoMLHook; "
        f"w, t = AutoMLHook().warehouse, {table!r}; "
        "print('ROWS', json.dumps(w.rows(t) if w.exists(t) else [], default=str))"
    )
    line = next(line for line in python(server, code).splitlines() if line.startswith("ROWS "))
    found: list[dict[str, Any]] = json.loads(line[5:])
    return found


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
