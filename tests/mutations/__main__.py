"""Prove that the tests catch faults: plant them one at a time in a copy of the code, and run the tests for each.

``python -m tests.mutations`` runs the faults of :mod:`tests.mutations.faults` that need no Java server and no running
Airflow; ``--engines`` runs all; names run the faults of those names. The exit status is 1 unless every fault is caught.

A fault is caught if a test fails that passes without it. So each selection of tests first runs without a fault and must
pass. A run that collects nothing, cannot import a test file, or does not end in time proves nothing: its fault counts
as not caught.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.faults import FAULTS, PACKAGE, Fault

REPO = Path(__file__).resolve().parents[2]

#: Seconds after which a run of tests is killed.
_TIME_LIMIT = 1200.0


@dataclass(frozen=True)
class Outcome:
    """What one run of pytest proves.

    :param passed: the number of tests that passed.
    :param failed: ids of the tests that failed, in the order in which they ran.
    :param problem: why the run proves nothing; None if it proves something.
    """

    passed: int
    failed: tuple[str, ...]
    problem: str | None = None
    seconds: float = 0.0
    output: str = ""

    @property
    def green(self) -> bool:
        """Whether every test that ran passed, and at least one did."""
        return not self.failed and self.problem is None


class TextNotFound(Exception):
    """The text that a fault replaces is not in its file exactly once."""


def main() -> int:
    """Run the faults; exit status 1 unless all of them are caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description="Plant faults; tests must fail.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to run (default: all without a server)")
    parser.add_argument("--checkout", type=Path, default=REPO, help="another checkout, for its code and tests")
    parser.add_argument("--engines", action="store_true", help="also the faults that need Java servers or Airflow")
    parser.add_argument("--list", action="store_true", help="list the faults and run nothing")
    arguments = parser.parse_args()
    known = {fault.name: fault for fault in FAULTS}
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"no fault is named {', '.join(unknown)}")
    chosen = [known[name] for name in arguments.names] or [f for f in FAULTS if arguments.engines or f.engine is None]
    if arguments.list:
        for fault in chosen:
            _print(f"{fault.name} ({fault.kind}{f', {fault.engine}' if fault.engine else ''}): {fault.why}")
        return 0
    return 0 if run(chosen, arguments.checkout.resolve()) else 1


def run(faults: list[Fault], checkout: Path) -> bool:
    """Run faults against a checkout and print a line per selection of tests and per fault.

    :returns: whether all faults were caught.
    """
    started = time.monotonic()
    counts = {"caught": 0, "NOT CAUGHT": 0, "no such text": 0}
    with copied(checkout) as clean:
        check_import(clean)
        unplanted: dict[tuple[str, ...], Outcome] = {}
        for fault in faults:
            _baseline(fault, clean, unplanted)
        for fault in faults:
            tests, baseline = _baseline(fault, clean, unplanted)
            begun = time.monotonic()
            verdict, detail = _verdict(fault, checkout, tests, baseline)
            counts[verdict] += 1
            _print(f"{fault.name}: {verdict} {detail} ({time.monotonic() - begun:.1f} s)")
    numbers = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    _print(f"{len(faults)} faults: {numbers}; {time.monotonic() - started:.0f} s")
    return counts["caught"] == len(faults)


def _baseline(fault: Fault, clean: Path, unplanted: dict[tuple[str, ...], Outcome]) -> tuple[tuple[str, ...], Outcome]:
    """Return a fault's tests, as far as this checkout has them, and their outcome without a fault."""
    for tests in filter(None, (fault.tests, fault.before_tests)):
        if tests not in unplanted:
            outcome = unplanted[tests] = run_tests(clean, tests)
            state = f"green, {outcome.passed} passed" if outcome.green else f"NOT GREEN, {_why(outcome)}"
            _print(f"without a fault: {state} ({outcome.seconds:.1f} s): {' '.join(tests)}")
            if not outcome.green:
                _print("    " + "\n    ".join(outcome.output.splitlines()[-15:]))
        if unplanted[tests].problem is None:
            break
    return tests, unplanted[tests]


def _verdict(fault: Fault, checkout: Path, tests: tuple[str, ...], baseline: Outcome) -> tuple[str, str]:
    """Plant a fault and run its tests."""
    with copied(checkout) as tree:
        try:
            plant(fault, tree)
        except TextNotFound as error:
            return "no such text", f"({error})"
        if not baseline.green:
            return "NOT CAUGHT", f"(without the fault its tests are not green: {_why(baseline)})"
        outcome = run_tests(tree, tests)
    if outcome.problem is not None:
        return "NOT CAUGHT", f"({outcome.problem})"
    if not outcome.failed:
        return "NOT CAUGHT", f"({outcome.passed} tests passed)"
    return "caught", f"by {outcome.failed[0]}"


def _why(outcome: Outcome) -> str:
    return outcome.problem or f"failed: {outcome.failed[0]}"


# ------------------------------------------------------------------------------------------------------ the copy


@contextmanager
def copied(checkout: Path) -> Iterator[Path]:
    """Yield a copy of a checkout's files as they are in its work tree, without those that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=checkout, capture_output=True
    )
    if listed.returncode:
        raise SystemExit(f"{checkout} is not a git checkout: {listed.stderr.decode().strip()}")
    tree = Path(tempfile.mkdtemp(prefix="automl-mutation-"))
    try:
        for name in listed.stdout.decode().split("\0"):
            source, target = checkout / name, tree / name
            if source.is_file():  # listed, and not deleted
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def plant(fault: Fault, tree: Path) -> None:
    """Put a fault into a copy of the code.

    :raises TextNotFound: the text that it replaces is not there exactly once.
    """
    path = tree / PACKAGE / fault.file
    if not path.is_file():
        raise TextNotFound(f"there is no file {PACKAGE}/{fault.file}")
    text = path.read_text(encoding="utf-8")
    if (count := text.count(fault.old)) != 1:
        raise TextNotFound(f"{PACKAGE}/{fault.file} has the text {count} times, not once: {fault.old.strip()!r}")
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")


def environment(tree: Path) -> dict[str, str]:
    """The environment in which Python, and every program of its environment, imports the copy's code.

    An editable install is a path at the end of ``sys.path``; what PYTHONPATH names comes before it.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTEST", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(tree)}


def check_import(tree: Path) -> None:
    """Make sure that a process of another directory imports the copy's code, and not an installed one."""
    code = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    with tempfile.TemporaryDirectory() as elsewhere:
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=elsewhere, env=environment(tree), capture_output=True, text=True
        )
    if not Path(found.stdout.strip() or "/").is_relative_to(tree):
        raise SystemExit(f"{sys.executable} does not import the copy's code: {found.stdout}{found.stderr}")


# ------------------------------------------------------------------------------------------------------ the tests


def run_tests(tree: Path, tests: tuple[str, ...]) -> Outcome:
    """Run a selection of a copy's tests until the first failure."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="automl-mutation-run-", ignore_cleanup_errors=True) as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        with subprocess.Popen(
            [*command, f"--basetemp={scratch}/tmp", *tests],
            cwd=tree,
            env=environment(tree),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=_TIME_LIMIT)
            except subprocess.TimeoutExpired:
                problem = f"the tests did not end within {_TIME_LIMIT:.0f} s"
                return Outcome(0, (), problem, time.monotonic() - begun)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # pytest and what it has started, if anything is left
        text = report.read_text(encoding="utf-8") if report.exists() else None
    return _outcome(process.returncode, text, seconds=time.monotonic() - begun, output=output)


def _outcome(code: int, report: str | None, *, seconds: float = 0.0, output: str = "") -> Outcome:
    """Read pytest's exit code and its JUnit report."""
    passed, failed, broken, skipped = 0, [], [], 0
    for case in ET.fromstring(report).iter("testcase") if report else ():
        errors = case.findall("error")
        if any(error.get("message") == "collection failure" for error in errors):
            broken.append(case.get("name", ""))
        elif errors or case.find("failure") is not None:
            failed.append(_node_id(case) + (f" ({errors[0].get('message', '').split(' with ')[0]})" if errors else ""))
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    problem = None
    if broken:
        problem = f"the tests cannot be collected: {broken[0]}"
    elif code not in (0, 1):
        problem = f"no test was run: pytest's exit status is {code}"
    elif bool(failed) != bool(code):
        problem = f"pytest's exit status is {code}, and its report has {len(failed)} failures"
    elif not failed and not passed:
        problem = f"no test passed: {skipped} were skipped"
    return Outcome(passed, tuple(failed), problem, seconds, output)


def _node_id(case: ET.Element) -> str:
    """Return a test's id; the report has the module and the classes in one name, joined by dots."""
    parts = case.get("classname", "").split(".")
    module = next((index for index, part in enumerate(parts) if part.startswith("test_")), len(parts) - 1) + 1
    return "::".join(["/".join(parts[:module]) + ".py", *parts[module:], case.get("name", "")])


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
