"""Report pages on real API servers of several versions of Airflow: ``python -m tests.deployments.pages [VERSION ...]``.

Each version is installed in an environment of its own, with the wheel, and serves a report that a real training has
left. Who may see it is tried with the SimpleAuthManager and, for the newest, with FAB and roles of its own. Below
3.1.8 there are no pages, and the server is as without this provider. Takes minutes and downloads; part of
``make deployments``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from packaging.version import Version

from tests.deployments.__main__ import WORK, environment, install, run
from tests.system.conftest import reached, run_dag
from tests.system.server import REPO, AirflowServer
from tests.system.server import environment as airflow_environment

VERSIONS = ("3.1.7", "3.1.8", "3.2.2", "3.3.2")
FAB = "3.3.2"
#: What a version's own requirements leave open, and does not start with since.
FITTING = {"3.2.2": ("fastapi<0.137",), "3.3.2": ("fastapi<0.137",)}
DAG = "automl_experiment"
#: What a role may read, and whether it sees the reports of a DAG that it may read.
ROLES = {
    "dags": (("DAGs",), False),
    "runs": (("DAGs", "DAG Runs"), False),
    "logs": (("DAGs", "Task Logs"), False),
    "all": (("DAGs", "DAG Runs", "Task Instances", "Task Logs"), True),
    "no_dag": (("DAG Runs", "Task Instances", "Task Logs"), False),
}


@dataclass(frozen=True)
class Report:
    """A report that is there: its path below Airflow's, and the environment that has its warehouse and store."""

    path: str
    env: Mapping[str, str]


def trained() -> Report:
    """One run of the example DAG by this checkout's own environment."""
    home = WORK / "pages"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    warehouse = {"conn_type": "duckdb", "host": str(home / "warehouse.duckdb")}
    automl = {"conn_type": "automl", "extra": {"warehouse_conn_id": "warehouse", "model_store": str(home / "models")}}
    own = {
        "AIRFLOW_CONN_AUTOML_DEFAULT": json.dumps(automl),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse),
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
    }
    env = {**airflow_environment(home, REPO / "dags"), **own, "PYTHONPATH": str(REPO)}
    subprocess.run(["airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    run_dag(env, DAG, {"fit_time_limit": "10", "drift_auc_threshold": 0.5})
    with reached(env) as hook:
        (row,) = hook.models.versions()
    parts = "/".join(quote(part) for part in (row["model_name"], row["model_version"]))
    return Report(f"/automl/reports/automl_default/{parts}/report/train.html", own)


def check(what: str, found: object, expected: object) -> None:
    """Say it; end everything where it is not as expected."""
    print(f"    {what}: {found}", flush=True)
    if found != expected:
        sys.exit(f"{what}: {expected} was expected")


@contextmanager
def served(python: Path, name: str, env: Mapping[str, str], users: dict[str, str] | None) -> Iterator[AirflowServer]:
    """That environment's API server, alone."""
    home = WORK / f"{name}-home"
    shutil.rmtree(home, ignore_errors=True)
    (home / "dags").mkdir(parents=True)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    server = AirflowServer(home, home / "dags", {**env, "PATH": path}, users=users, components=("api-server",))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def try_version(version: str, wheel: Path, report: Report) -> None:
    """Who sees the report by the SimpleAuthManager."""
    name = f"pages-{version}"
    python = environment(name)
    install(
        python,
        f"apache-airflow=={version}",
        *FITTING.get(version, ()),
        f"airflow-provider-automl[duckdb] @ {wheel.as_uri()}",
    )
    # Viewers may read DAGs, runs and logs; who has no role may read nothing.
    with served(python, name, report.env, {"admin": "admin", "viewer": "viewer", "guest": ""}) as server:
        print(f"Airflow {version}, SimpleAuthManager")
        url = server.url + report.path
        if Version(version) < Version("3.1.8"):
            check("the report is shown", b"Model quality" in server.open(url, "admin")[2], False)
            check("the server is well", server.open(f"{server.url}/api/v2/version", "admin")[0], 200)
            return
        for user, expected in {"admin": 200, "viewer": 200, "guest": 404, None: 401}.items():
            status, _, page = server.open(url, user)
            check(f"the page for {user or 'nobody'}", status, expected)
            if expected == 200:
                check("    which shows", b"Model quality" in page, True)
        at_login(server, report)
        missing = server.open(f"{url}x", "admin", browser=True)
        check("what is not there", (missing[0], b"<h1" in missing[2]), (404, True))


def at_login(server: AirflowServer, report: Report) -> None:
    """A browser without a session."""
    status, headers, _ = server.open(server.url + report.path, None, browser=True)
    check("a browser without a session", (status, "/auth/login?next=" in headers.get("location", "")), (302, True))
    status, headers, _ = server.open(server.url + headers["location"], None, browser=True)
    back = parse_qs(urlsplit(headers.get("location", "")).query).get("next")
    check("Airflow's login knows the way back", back == [report.path], True)


def try_fab(version: str, wheel: Path, report: Report) -> None:
    """Who sees the report by roles of FAB's."""
    name = f"pages-{version}-fab"
    python = environment(name)
    wanted = [f"apache-airflow=={version}", *FITTING.get(version, ()), "apache-airflow-providers-fab"]
    install(python, *wanted, f"airflow-provider-automl[duckdb] @ {wheel.as_uri()}")
    manager = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    with served(python, name, {**report.env, "AIRFLOW__CORE__AUTH_MANAGER": manager}, None) as server:
        airflow = python.parent / "airflow"
        print(f"Airflow {version}, FAB")
        for role, (resources, _) in ROLES.items():
            run(airflow, "roles", "create", role, env=server.env)
            run(airflow, "roles", "add-perms", role, "-r", *resources, "-a", "can_read", env=server.env)
        for role in (*ROLES, "Viewer", "User", "Op", "Admin"):
            new = ("--username", role, "--password", role, "--role", role)
            person = ("--firstname", role, "--lastname", role, "--email", f"{role}@example.com")
            run(airflow, "users", "create", *new, *person, env=server.env)
        for role in (*ROLES, "Viewer", "User", "Op", "Admin"):
            sees = ROLES[role][1] if role in ROLES else True
            status = server.open(server.url + report.path, role)[0]
            check(f"the page for {role} ({', '.join(ROLES[role][0]) if role in ROLES else 'as it comes'})",
                  status, 200 if sees else 404)  # fmt: skip
        at_login(server, report)


def main() -> None:
    wanted = sys.argv[1:] or [*VERSIONS, "fab"]
    WORK.mkdir(parents=True, exist_ok=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", WORK / "dist", REPO)
    wheel = max((WORK / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    report = trained()
    for version in wanted:
        if version == "fab":
            try_fab(FAB, wheel, report)
        else:
            try_version(version, wheel, report)


if __name__ == "__main__":
    main()
