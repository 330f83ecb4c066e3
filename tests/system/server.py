"""A real Airflow on 127.0.0.1 for tests, in a home of its own, driven through its REST API.

It is what ``airflow standalone`` starts, but for the triggerer, which no operator here needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
COMPONENTS = ("scheduler", "dag-processor", "api-server")
# What each task would import again: the scheduler's executor forks them.
_PRELOADED = (
    "airflow.sdk.execution_time.task_runner", "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.operators.trigger_dagrun", "airflow.providers.smtp.operators.smtp",
    "airflow.providers.smtp.notifications.smtp", "airflow_provider_automl.hooks.automl",
    "airflow_provider_automl.drift.policies", "airflow_provider_automl.mail", "airflow_provider_automl.operators.drift",
    "airflow_provider_automl.operators.evaluate", "airflow_provider_automl.operators.experiments",
    "airflow_provider_automl.operators.predict", "airflow_provider_automl.operators.promote",
    "airflow_provider_automl.operators.tables", "airflow_provider_automl.operators.train",
    "airflow_provider_automl.warehouse.duckdb", "airflow_provider_automl.warehouse.measures",
    "airflow_provider_automl.warehouse.spark", "airflow_provider_automl.warehouse.trino",
    "airflow.providers.duckdb.hooks.duckdb", "airflow.providers.trino.hooks.trino",
    "airflow.providers.apache.hive.hooks.hive", "duckdb", "sqlglot", "pyarrow.parquet", "trino.dbapi", "pyhive.hive",
)  # fmt: skip
_SCHEDULER = f"import sys, {', '.join(_PRELOADED)}; from airflow.__main__ import main; sys.argv[0] = 'airflow'; main()"
FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}


def free_port(wanted: int = 0) -> int:
    """``wanted`` if nobody has it, else a free port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return int(sock.getsockname()[1])


def environment(home: Path, dags: Path) -> dict[str, str]:
    """Airflow's environment: nothing of the user's own Airflow, everything below ``home``."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_", "PYTHON"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    }


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _is_there(group: int) -> bool:
    """Whether a process of that group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class AirflowServer:
    """Scheduler, API server and DAG processor with the LocalExecutor, on loopback only.

    :param env: what else is set; a ``PATH`` of its own has the ``airflow`` of another environment.
    :param users: names and roles of people who log in, with their names as passwords; None: everyone is admin.
    :param components: the parts that are started.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        env: dict[str, str] | None = None,
        *,
        port: int = 0,
        users: dict[str, str] | None = None,
        components: Sequence[str] = COMPONENTS,
    ) -> None:
        self.home = home
        self.components = components
        self.users = users
        self.port = free_port(port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **environment(home, dags),
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": str(users is None),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{k}:{role}" for k, role in (users or {}).items()),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            # The DAG files do not change.
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            **(env or {}),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tokens: dict[str | None, str] = {}

    def start(self, timeout: float = 180) -> None:
        """Start it and wait until it is healthy.

        :raises RuntimeError: it is not, with the end of its output.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        if self.users is not None:
            passwords = json.dumps({name: name for name in self.users})
            (self.home / "simple_auth_manager_passwords.json.generated").write_text(passwords)
        with (self.home / "airflow.log").open("wb") as log:
            common: dict[str, Any] = {"env": self.env, "stdout": log, "stderr": subprocess.STDOUT, "cwd": self.home}
            subprocess.run(["airflow", "db", "migrate"], **common)
            for component in self.components:
                program = ["python", "-c", _SCHEDULER] if component == "scheduler" else ["airflow"]
                self._processes.append(subprocess.Popen([*program, component], **common, start_new_session=True))
        parts = ["metadatabase", *(each.replace("-", "_") for each in self.components if each != "api-server")]
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not self.ended():
            with contextlib.suppress(OSError, KeyError, ValueError):
                health = json.loads(self.open(f"{self.url}/api/v2/monitor/health", None)[2])
                if all(health[part]["status"] == "healthy" for part in parts):
                    return
            time.sleep(0.5)
        self.stop()
        raise RuntimeError(f"Airflow is not healthy after {timeout:.0f} s:\n{self.log()[-3000:]}")

    def ended(self) -> bool:
        """Whether it, or a part of it, has stopped by itself."""
        return not self._processes or any(process.poll() is not None for process in self._processes)

    def stop(self) -> None:
        """End it and everything that it started."""
        groups = {process.pid for process in self._processes}
        for sig in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 30
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, sig)
            while groups and time.monotonic() < deadline:
                for process in self._processes:
                    process.poll()
                groups = {group for group in groups if _is_there(group)}
                time.sleep(0.1)
        self._processes.clear()

    def log(self) -> str:
        return (self.home / "airflow.log").read_text(errors="replace")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {self.token()}")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()[:2000]}") from error

    def token(self, user: str | None = None) -> str:
        """A user's token; the first user's by default."""
        if user is None and self.users:
            user = next(iter(self.users))
        if user not in self._tokens:
            request = urllib.request.Request(f"{self.url}/auth/token")
            if user is not None:
                request.data = json.dumps({"username": user, "password": user}).encode()
                request.add_header("Content-Type", "application/json")
            with urllib.request.urlopen(request, timeout=60) as response:
                self._tokens[user] = str(json.loads(response.read())["access_token"])
        return self._tokens[user]

    def open(self, url: str, user: str | None, *, browser: bool = False) -> tuple[int, dict[str, str], bytes]:
        """What a user, or nobody, gets at a URL: status, headers in lower case, content. No redirect is followed."""
        request = urllib.request.Request(url)
        if user is not None:
            request.add_header("Authorization", f"Bearer {self.token(user)}")
        if browser:
            request.add_header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        try:
            response = urllib.request.build_opener(_Stay).open(request, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return int(response.status), headers, response.read()

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, logical_date: str | None = None) -> str:
        """Start a run; without a logical date, as an asset-triggered run has none."""
        deadline = time.monotonic() + 90
        while True:
            try:
                self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
                run = self.call(
                    "POST", f"/api/v2/dags/{dag_id}/dagRuns", {"conf": conf or {}, "logical_date": logical_date}
                )
                return str(run["dag_run_id"])
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        found = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {ti["task_id"]: ti for ti in found}

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        return {task_id: ti["state"] for task_id, ti in self.tasks(dag_id, run_id).items()}

    def wait(self, dag_id: str, run_id: str, timeout: float = 420) -> str:
        """Wait until the run ends; returns its state."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if (state := self.run_state(dag_id, run_id)) in ("success", "failed"):
                return state
            time.sleep(0.5)
        raise TimeoutError(f"{dag_id} {run_id} is {self.states(dag_id, run_id)} after {timeout:.0f} s")

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, states: set[str], timeout: float = 240) -> str:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = self.states(dag_id, run_id).get(task_id)
            if state in states:
                return state
            time.sleep(0.3)
        raise TimeoutError(f"{task_id} of {run_id} is {state} after {timeout:.0f} s, not {states}")

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], *, downstream: bool = True) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": task_ids, "only_failed": False,
                "include_downstream": downstream, "reset_dag_runs": True}  # fmt: skip
        self.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        self.call("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": state})

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true"
        return self.get(path)["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The task's whole log, all tries, from the files."""
        paths = self.home.glob(f"logs/dag_id={dag_id}/run_id={run_id}/task_id={task_id}/**/*.log")
        return "\n".join(path.read_text(errors="replace") for path in sorted(paths))
