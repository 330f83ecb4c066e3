"""The engines' servers, and what a run of the tests does about them; which process runs which test."""

from __future__ import annotations

import atexit
import gc
import importlib.metadata
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests import costs
from tests.engines import BESIDE, ENGINES, Facts, Missing, required
from tests.servers import Answering, Asked, Remote, Servers

_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ  # of a run by several processes

if _IS_WORKER or "AIRFLOW_HOME" not in os.environ:  # before Airflow is imported: it makes files there
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="automl-tests-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

# The servers' Java: compiled once and fast, for what runs for minutes (an eighth of their processor time less); with
# room for all that it compiles, which is 48 MB by default then: Spark spent a fifth of its time on making room; without
# a check of the bytecode that it loads (of Trino's start 29 s of processor time instead of 34, of Hive's 14 instead of
# 15, of Spark's 16 instead of 18).
os.environ.setdefault(
    "JDK_JAVA_OPTIONS",
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m -XX:+UnlockDiagnosticVMOptions "
    "-XX:-BytecodeVerificationRemote",
)

# Threads of OpenMP (LightGBM's, scikit-learn's, XGBoost's) spin while they wait for each other, by default. Where
# processes share the processors, they spin for threads that do not run: for up to half of a training's processor time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_ENGINE = "engine"  # a test's property, reported with its outcome


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say of a test which engines it proves something about."""
    engines = _engines(item)
    item.user_properties += [(_ENGINE, name) for name in engines]
    if engines:
        item.add_marker("engine")


_SERVERS = pytest.StashKey[Asked]()
_ANSWERING = pytest.StashKey[Answering]()
_SCOPES: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    """The servers are those of the process that the run was started with; its workers ask it for them."""
    config.pluginmanager.register(costs)
    if _IS_WORKER:
        config.stash[_SERVERS] = Remote(config.workerinput["servers"])  # type: ignore[attr-defined]
        return
    servers = config.stash[_SERVERS] = Servers(lambda: config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
    config.stash[_ANSWERING] = Answering(server=servers.get, scopes=_SCOPES.update, download=_download)


def pytest_unconfigure(config: pytest.Config) -> None:
    """No server outlives the run."""
    if isinstance(servers := config.stash.get(_SERVERS, None), Servers):
        config.stash[_ANSWERING].close()
        servers.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker whom to ask."""
    node.workerinput["servers"] = node.config.stash[_ANSWERING].address


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By what tests share. (xdist's own groups by a mark do not work with pytest 9.2.)"""
    from tests.schedule import ByScope

    return ByScope(config, log, _SCOPES)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a run by several processes, the longest first."""
    if _IS_WORKER:
        from tests.schedule import longest_first, scope_of

        longest_first(items)
        config.stash[_SERVERS].ask("scopes", {item.nodeid: scope_of(item) for item in items})  # type: ignore[attr-defined]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to download what the engines are made of, if it is not in the cache."""
    if session.config.option.collectonly:
        return
    gc.freeze()  # Airflow and the tests: AutoGluon collects garbage several times for each fit, and would look at them
    wanted = {name for item in session.items for name in _engines(item)}
    if "trino" in wanted:
        wanted.update(BESIDE.values())
    wanted &= ENGINES.keys()
    if wanted:
        servers = session.config.stash[_SERVERS]
        servers.ask("download", wanted) if isinstance(servers, Remote) else _download(wanted)


_downloads: set[str] = set()


def _download(wanted: set[str]) -> None:
    """In the background: tests that need no server, or another one, need not wait for it."""

    def install(names: list[str]) -> None:
        for name in names:
            with suppress(Missing):  # its fixture says so
                ENGINES[name].install()

    names = [name for name in ENGINES if name in wanted - _downloads]
    _downloads.update(names)
    threading.Thread(target=install, args=(names,), daemon=True).start()


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


def _server(request: pytest.FixtureRequest, name: str) -> Facts:
    """A server of this run.

    Where it cannot be had, the test is skipped, or fails if ``AUTOML_REQUIRE_ENGINES`` names the engine.
    """
    try:
        return request.config.stash[_SERVERS].get(name)
    except Missing as missing:
        (pytest.fail if name in required() else pytest.skip)(str(missing))


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Facts:
    """Postgres: port, host, login, schema."""
    return _server(request, "postgres")


@pytest.fixture(scope="session")
def s3_server(request: pytest.FixtureRequest) -> Facts:
    """S3: endpoint, bucket, region, access_key, secret_key."""
    return _server(request, "s3")


@pytest.fixture(scope="session")
def hive_server(request: pytest.FixtureRequest) -> Facts:
    """Hive: port, metastore, dir."""
    return _server(request, "hive")


@pytest.fixture(scope="session")
def spark_server(request: pytest.FixtureRequest) -> Facts:
    """Spark's Thrift server: port, dir."""
    return _server(request, "spark")


@pytest.fixture(scope="session")
def trino_server(request: pytest.FixtureRequest) -> Facts:
    """Trino: port, catalogs, staging. Its catalogs are over the other servers, as far as these can be had."""
    return _server(request, "trino")


@pytest.fixture(scope="session", autouse=True)
def _in_no_order() -> Iterator[None]:
    """Have the rows of a query without ORDER BY come backwards.

    DuckDB and Postgres give the few rows of a test in the order in which they were inserted, and so hide what relies on
    it; the other engines read many small files at once, and hide it on most days.
    """
    from airflow_provider_automl.warehouse import Warehouse

    fetched = Warehouse._fetch_text

    def backwards(self: Warehouse, cursor: Any, text: str) -> list[dict[str, object]]:
        found = fetched(self, cursor, text)
        is_ordered = "ORDER BY" in text.upper() or not text.lstrip("( ").upper().startswith(("SELECT", "WITH"))
        return found if is_ordered else found[::-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Warehouse, "_fetch_text", backwards)
        yield


@pytest.fixture(scope="session", autouse=True)
def _packages_read_once() -> Iterator[None]:
    """Remember what a file of an installed package's metadata says.

    AutoGluon reads those of all packages, twice for a training and once for a prediction: half of what these cost here.
    """
    read: Any = importlib.metadata.Distribution.metadata
    known: dict[str, Any] = {}

    def metadata(self: importlib.metadata.Distribution) -> Any:
        path = str(getattr(self, "_path", ""))
        if not path or path not in known:
            known[path] = read.fget(self)
        return known[path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata.Distribution, "metadata", property(metadata))
        yield


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
