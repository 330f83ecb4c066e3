"""What every run of the tests does about engines: has them at hand before the first test, says which were proven."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest

from tests.engines import BESIDE, ENGINES, Missing, required

_ENGINE = "engine"  # a test's property, reported with its outcome


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say of each test which engines it proves something about."""
    for item in items:
        item.user_properties += [(_ENGINE, name) for name in _engines(item)]


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


def _outcomes(terminalreporter: pytest.TerminalReporter) -> dict[str, Counter[str]]:
    """How many tests of each engine came out how."""
    found: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            for name in {str(value) for key, value in report.user_properties if key == _ENGINE}:
                found.setdefault(name, Counter())[outcome] += 1
    return found


def _engines(item: pytest.Item) -> set[str]:
    """Those whose server's fixture the test asks for; DuckDB, which has no server, by its module's name."""
    asked = {name.removesuffix("_server") for name in getattr(item, "fixturenames", ()) if name.endswith("_server")}
    return (asked & ENGINES.keys()) | ({"duckdb"} if item.path.name == "test_duckdb.py" else set())
