"""The engines' servers; what a run of the tests does about them: has them at hand first, says which were proven."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engines import BESIDE, ENGINES, Facts, Missing, engine, required

_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ  # of a run by several processes, each with servers of its own

if _IS_WORKER or "AIRFLOW_HOME" not in os.environ:  # before Airflow is imported: it makes files there
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="automl-tests-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

# The servers' Java: compiled once and fast, for what runs for minutes (an eighth of their processor time less).
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

_ENGINE = "engine"  # a test's property, reported with its outcome


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say of a test which engines it proves something about."""
    item.user_properties += [(_ENGINE, name) for name in _engines(item)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have one process run all tests of Trino, one all of Hive, and go by files for the others: servers are slow to
    start. (xdist's own groups by a mark do not work with pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByServers(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file == "tests/system/test_compose.py":  # Trino of its own, for all its tests
                return "trino"
            slow = [name for name in ("trino", "hive") if name in nodeid.lower()]
            return slow[0] if slow else file

    return ByServers(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Download what the engines are made of, if it is not in the cache: minutes that belong to no test."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in _engines(item)}
    if "trino" in wanted:
        wanted.update(BESIDE.values())
    for name in sorted(wanted & ENGINES.keys()):
        with suppress(Missing):  # its fixture says so
            ENGINES[name].install()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run of all tests that leaves a required engine unproven has failed."""
    config = session.config
    if _IS_WORKER:
        return
    chosen = config.args_source is config.ArgsSource.ARGS or config.option.keyword or config.option.markexpr
    if exitstatus == pytest.ExitCode.OK and not chosen and not config.option.collectonly:
        outcomes = _outcomes(config.pluginmanager.getplugin("terminalreporter"))
        if any("passed" not in outcomes.get(name, ()) for name in required()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the engines proven, and those that are not."""
    outcomes = _outcomes(terminalreporter)
    if not outcomes and not required():
        return
    terminalreporter.section("engines")
    for name, counts in sorted(outcomes.items()):
        proven = "passed" in counts and not counts.keys() & {"failed", "error"}
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        terminalreporter.line(f"{name}: {'proven' if proven else 'NOT proven'} ({said})")
    for name in sorted(required() - outcomes.keys()):
        terminalreporter.line(f"{name}: NOT proven (no test of it was run)")


def _server(name: str, factory: pytest.TempPathFactory, **beside: Facts) -> Iterator[Facts]:
    """A server of this run's own, with its logs in pytest's temporary directory.

    Where it cannot be had, the test is skipped, or fails if ``AUTOML_REQUIRE_ENGINES`` names the engine.
    """
    try:
        ENGINES[name].install()
    except Missing as missing:
        (pytest.fail if name in required() else pytest.skip)(str(missing))
    # Not in pytest's directory, which another run of the same user closes to the user that Postgres runs as.
    home = Path(tempfile.mkdtemp(prefix=f"automl-{name}-"))
    try:
        with engine(name, home=home, beside=beside) as facts:
            yield facts
    finally:
        shutil.copytree(home, factory.mktemp(name), dirs_exist_ok=True)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Postgres: port, host, login, schema."""
    yield from _server("postgres", tmp_path_factory)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """S3: endpoint, bucket, region, access_key, secret_key."""
    yield from _server("s3", tmp_path_factory)


@pytest.fixture(scope="session")
def hive_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Hive: port, metastore, dir."""
    yield from _server("hive", tmp_path_factory)


@pytest.fixture(scope="session")
def spark_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Spark's Thrift server: port, dir."""
    yield from _server("spark", tmp_path_factory)


@pytest.fixture(scope="session")
def trino_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Trino: port, catalogs, staging. Its catalogs are over the other servers, as far as these can be had."""
    beside = {}
    for name in BESIDE.values():
        with suppress(pytest.skip.Exception):
            beside[name] = request.getfixturevalue(f"{name}_server")
    yield from _server("trino", tmp_path_factory, **beside)


def _outcomes(terminalreporter: pytest.TerminalReporter) -> dict[str, Counter[str]]:
    """How many tests of each engine came out how."""
    found: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            for name in {str(value) for key, value in getattr(report, "user_properties", ()) if key == _ENGINE}:
                found.setdefault(name, Counter())[outcome] += 1
    return found


def _engines(item: pytest.Item) -> set[str]:
    """Those whose server's fixture the test asks for; DuckDB, which has no server, by its module's name."""
    asked = {name.removesuffix("_server") for name in getattr(item, "fixturenames", ()) if name.endswith("_server")}
    return (asked & ENGINES.keys()) | ({"duckdb"} if item.path.name == "test_duckdb.py" else set())
