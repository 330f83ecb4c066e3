"""Install the wheel into deployments that exist already, and run the example DAG there: ``make deployments``.

Each case makes an environment as a team has it, notes what is installed, installs the wheel, and shows that nothing
that was there has moved, that ``pip check`` is content, that Airflow knows the connection form, and that the whole
DAG is green, with AutoGluon in an environment of its own. Takes minutes and downloads; not part of ``make test``.

The cases that end in ``-pip-s3`` and ``-pip-all`` install an extra by pip into an environment with nothing but Airflow,
and have pip resolve it again, from its cache, within a minute: a resolver that finds no way back to the few versions of
botocore that aiobotocore takes walks for hours.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.mail import Mailbox
from tests.system.server import REPO

WORK = REPO / ".test" / "deployments"
UV = str(Path(sys.executable).parent / "uv")
DAG, CHECK = "automl_experiment", "automl_drift_check"


@dataclass(frozen=True)
class Case:
    """One deployment.

    :param packages: what it has; ``as_of``: nothing newer than that day.
    :param extras: of this provider, as its team would ask for.
    :param may_move: what the floors of this provider have to raise there.
    """

    name: str
    packages: Sequence[str]
    extras: str = "duckdb"
    as_of: str | None = None
    may_move: frozenset[str] = frozenset()
    lowest: bool = False


CASES = (
    Case("airflow-3.3.2-hive-pandas-3", ("apache-airflow==3.3.2", "apache-airflow-providers-apache-hive", "pandas>=3")),
    Case(
        "airflow-2.11.2",
        (
            "apache-airflow==2.11.2",
            "apache-airflow-providers-apache-hive",
            "apache-airflow-providers-common-compat",
            "apache-airflow-providers-smtp",
            "apache-airflow-providers-standard",
            "apache-airflow-providers-trino",
        ),
    ),
    Case(
        "airflow-2.11.0-of-its-day",
        (
            "apache-airflow==2.11.0",
            "apache-airflow-providers-apache-hive",
            "apache-airflow-providers-smtp",
            "apache-airflow-providers-standard",
            "apache-airflow-providers-trino",
        ),
        as_of="2025-06-15",
        may_move=frozenset({"apache-airflow-providers-common-compat", "apache-airflow-providers-common-sql"}),
    ),
    Case("lowest-direct-versions", ("apache-airflow==2.11.0",), as_of="2025-06-15", lowest=True,
         may_move=frozenset({"apache-airflow-providers-common-compat", "apache-airflow-providers-common-sql"})),
)  # fmt: skip

# By pip, into a new environment with this Airflow: name, Airflow's version, the extra.
BY_PIP = tuple(
    (f"airflow-{airflow}-pip-{extra}", airflow, extra) for airflow in ("3.3.2", "2.11.2") for extra in ("s3", "all")
)
RESOLVED, INSTALLED = 60, 900  # seconds: a second resolution, from pip's cache; the first one with its installation
NAMES = (*(case.name for case in CASES), *(name for name, *_ in BY_PIP))


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command; returns its output, or ends everything with it."""
    done = subprocess.run(
        [str(part) for part in command], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}")
    return done.stdout


def install(python: Path, *packages: str, options: Sequence[str | Path] = ()) -> None:
    run(UV, "pip", "install", "--system-certs", "--python", python, *options, *packages)


def freeze(python: Path) -> dict[str, str]:
    listed = json.loads(run(UV, "pip", "list", "--python", python, "--format", "json").splitlines()[-1])
    return {package["name"]: package["version"] for package in listed}


def environment(name: str) -> Path:
    """A new virtual environment's interpreter."""
    directory = WORK / name
    shutil.rmtree(directory, ignore_errors=True)
    run(UV, "venv", "--python", sys.executable, directory)
    return directory / "bin" / "python"


def try_case(case: Case, wheel: Path, autogluon: Path, time_limit: str) -> None:
    """Install, compare, check, run; says each result in a line."""
    started = time.monotonic()
    python = environment(case.name)
    dated = ["--exclude-newer", case.as_of] if case.as_of else []
    install(python, *case.packages, options=dated)
    before = freeze(python)
    # As docs/existing-deployment.md says: nothing that is installed may move but what the floors raise.
    kept = WORK / f"{case.name}-installed.txt"
    kept.write_text("\n".join(f"{name}=={version}" for name, version in before.items() if name not in case.may_move))
    wanted, options = [f"airflow-provider-automl[{case.extras}] @ {wheel.as_uri()}"], ["--constraint", kept]
    if case.lowest:  # what pyproject.toml asks for, asked for directly
        project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
        wanted += [*project["dependencies"], *project["optional-dependencies"][case.extras]]
        options += ["--resolution", "lowest-direct"]
    install(python, *wanted, options=options)
    after = freeze(python)
    moved = {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
    print(f"{case.name}: {len(before)} packages were there, {len(after) - len(before)} were added, {len(moved)} moved")
    if case.lowest:
        floors = {name: version for name, version in after.items() if any(re.match(rf"{name}\b", w) for w in wanted)}
        print("    floors: " + ", ".join(f"{name} {version}" for name, version in floors.items()))
    for name, (old, new) in moved.items():
        print(f"    {name} {old} -> {new}" + ("" if name in case.may_move else "   NOT ALLOWED"))
    if set(moved) - case.may_move:
        sys.exit(f"{case.name}: the installation moved what it must not")
    run(UV, "pip", "check", "--python", python)
    home = WORK / f"{case.name}-home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    connection = {"conn_type": "automl", "extra": {"interpreters": json.dumps({"default": str(autogluon)})}}
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW_CONN_AUTOML_DEFAULT": json.dumps(connection),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    run(python, "-m", "airflow_provider_automl", "dags", "copy", home / "dags", env=env)
    run(python.parent / "airflow", "db", "migrate", env=env)
    run(python.parent / "airflow", "dags", "reserialize", env=env)  # as the DAG processor does: one triggers the other
    fields = run(python, "-c", _FORM, env=env).splitlines()[-1]
    print(f"    connection form: {fields}")
    with Mailbox(home / "mails") as mailbox:
        env["AIRFLOW_CONN_SMTP_DEFAULT"] = mailbox.connection()
        test_dag(python, DAG, {"fit_time_limit": time_limit, "drift_auc_threshold": 1}, env)
        (mail,) = mailbox.mails()
    test_dag(python, CHECK, {}, env)  # it finds no drift: a training of its own would wait for a scheduler
    tables = run(python, "-c", _TABLES, env=env).splitlines()[-1]
    print(f"    {DAG} is green: {tables}; {mail['Subject']!r} went to {mail['To']}")
    print(f"    {CHECK} is green: the second evaluation is recorded, and the first champion")
    print(f"    pip check is content; {time.monotonic() - started:.0f} s in all", flush=True)


def by_pip(python: Path, limit: int, *arguments: str) -> tuple[float, float]:
    """Run ``pip install``; returns its seconds by the clock and of the processor, or ends everything with it."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    log = python.parent.parent / f"pip{'-dry-run' * ('--dry-run' in arguments)}.log"
    with log.open("w") as output:
        try:
            code: int | str = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            code = f"no end within {limit} s"
    if code:
        sys.exit(f"{' '.join(command)}: {code}\n{log.read_text()[-6000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def try_pip(name: str, airflow: str, extra: str, wheel: Path) -> None:
    """Install an extra by pip, twice from the same start: once whole, then as a dry run that has all in its cache."""
    wanted = f"airflow-provider-automl[{extra}] @ {wheel.as_uri()}"
    python = environment(name)
    install(python, "pip", f"apache-airflow=={airflow}")
    before = freeze(python)
    seconds, busy = by_pip(python, INSTALLED, wanted)
    after = freeze(python)
    run(python, "-m", "pip", "check")
    moved = [(old, version, after.get(old)) for old, version in before.items() if after.get(old) != version]
    print(f"{name}: by pip {before['pip']} in {seconds:.0f} s ({busy:.0f} s of processor); pip check is content;")
    print(f"    {len(before)} packages were there, {len(after) - len(before)} were added, {len(moved)} moved")
    for package, old, new in moved:
        print(f"    {package} {old} -> {new}")
    python = environment(name)
    install(python, "pip", f"apache-airflow=={airflow}")
    seconds, busy = by_pip(python, RESOLVED, "--dry-run", wanted)
    print(f"    resolved again in {seconds:.0f} s ({busy:.0f} s of processor), of {RESOLVED}", flush=True)


def test_dag(python: Path, dag_id: str, conf: dict[str, Any], env: dict[str, str]) -> None:
    """Run a DAG once, whole, by that deployment's Airflow."""
    log = run(python.parent / "airflow", "dags", "test", dag_id, "-c", json.dumps(conf), env=env)
    (Path(env["AIRFLOW_HOME"]) / f"{dag_id}.log").write_text(log)


_FORM = """
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
assert "automl" in manager.hooks, manager.hooks.keys()
fields = sorted(name.removeprefix("extra__automl__") for name in manager.connection_form_widgets if "automl" in name)
hidden = manager.field_behaviours["automl"]["hidden_fields"]
assert len(fields) == 7, fields
print(*fields, "| hidden:", *hidden)
"""
_TABLES = """
from importlib import metadata
from airflow_provider_automl.hooks.automl import AutoMLHook
w = AutoMLHook().warehouse
(e,), (r, again) = w.rows("automl_test.automl_experiments"), w.rows("automl_test.automl_eval_results")
assert (again["model_version"], again["auroc"]) == (r["model_version"], r["auroc"])
(champion,) = AutoMLHook().models.alias_history("census_champion")
assert champion["model_version"] == e["model_version"]
assert e["state"] == "complete" and e["model_version"] == r["model_version"] and r["auroc"] > 0.9
print(f"AUC {r['auroc']:.4f} [{r['auroc_low']:.4f}, {r['auroc_high']:.4f}], AutoGluon {e['autogluon_version']},",
      "pandas here", *[d.version for d in metadata.distributions() if d.metadata["Name"] == "pandas"] or ["none"])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--time-limit", default="20", help="seconds of training in each")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(NAMES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    WORK.mkdir(parents=True, exist_ok=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", WORK / "dist", REPO)
    wheel = max((WORK / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    chosen = arguments.cases or NAMES
    for name, airflow, extra in BY_PIP:
        if name in chosen:
            try_pip(name, airflow, extra, wheel)
    cases = [case for case in CASES if case.name in chosen]
    if not cases:
        return
    autogluon = environment("autogluon")
    install(autogluon, "autogluon.tabular[lightgbm,catboost,xgboost]>=1.6,<1.7", "papermill", "nbconvert", "ipykernel")
    for case in cases:
        try_case(case, wheel, autogluon, arguments.time_limit)


if __name__ == "__main__":
    main()
