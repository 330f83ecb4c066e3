"""The list of faults fits the code and the tests, and what a run of tests proves is read correctly."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.mutations.__main__ import REPO, TextNotFound, _outcome, plant, run
from tests.mutations.faults import FAULTS, PACKAGE, Fault


def small(**more: str) -> Fault:
    """A fault in a package of one line."""
    given = {"name": "wrong", "file": "__init__.py", "old": "ANSWER = 42", "new": "ANSWER = 41", **more}
    return Fault(kind="none", why="Wrong answers.", tests=("tests/test_answer.py",), **given)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_fits_the_code_and_its_tests_are_there(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / PACKAGE / fault.file
    path.parent.mkdir(parents=True)
    shutil.copy(REPO / PACKAGE / fault.file, path)
    plant(fault, tmp_path)
    assert path.read_text() != (REPO / PACKAGE / fault.file).read_text()
    if path.suffix == ".py":
        compile(path.read_text(), path.name, "exec", dont_inherit=True)
    for argument in fault.tests:
        assert not argument.startswith("tests/") or (REPO / argument.partition("::")[0]).is_file()


def test_names_are_unique() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("text", ["", "ANSWER = 42\nANSWER = 42\n"])
def test_a_text_that_is_not_there_once_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text(text)
    with pytest.raises(TextNotFound, match=r"__init__\.py has the text \d times, not once: 'ANSWER = 42'"):
        plant(small(), tmp_path)
    with pytest.raises(TextNotFound, match=r"there is no file .*/gone\.py"):
        plant(small(file="gone.py"), tmp_path)


PASSED = '<testcase classname="tests.unit.test_a" name="test_b" />'
FAILED = '<testcase classname="tests.unit.test_a.TestC" name="test_b[x.y]"><failure message="no" /></testcase>'
SET_UP = '<testcase classname="tests.unit.test_a" name="test_b"><error message="failed on setup with x" /></testcase>'
BROKEN = '<testcase classname="" name="tests.unit.test_a"><error message="collection failure" /></testcase>'
SKIPPED = '<testcase classname="tests.unit.test_a" name="test_b"><skipped message="no server" /></testcase>'


@pytest.mark.parametrize(
    ("code", "cases", "failed", "problem"),
    [
        (0, PASSED + SKIPPED, (), None),
        (1, PASSED + FAILED, ("tests/unit/test_a.py::TestC::test_b[x.y]",), None),
        (1, SET_UP, ("tests/unit/test_a.py::test_b (failed on setup)",), None),
        (2, BROKEN, (), "cannot be collected: tests.unit.test_a"),
        (1, BROKEN, (), "cannot be collected"),  # as with -x
        (0, SKIPPED, (), "no test passed: 1 were skipped"),
        (5, "", (), "no test was run: pytest's exit status is 5"),  # nothing was selected
        (4, None, (), "exit status is 4"),  # no such file
        (-9, None, (), "exit status is -9"),
        (1, PASSED, (), "its report has 0 failures"),
    ],
)
def test_what_a_run_proves(code: int, cases: str | None, failed: tuple[str, ...], problem: str | None) -> None:
    report = None if cases is None else f"<testsuites><testsuite>{cases}</testsuite></testsuites>"
    outcome = _outcome(code, report)
    assert outcome.failed == failed
    assert (outcome.problem is None) if problem is None else problem in str(outcome.problem)
    assert outcome.green == (problem is None and not failed)


def test_faults_are_planted_in_a_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a checkout of one test, which asks a process of its own; the checkout is not touched."""
    code = tmp_path / PACKAGE / "__init__.py"
    code.parent.mkdir()
    code.write_text("ANSWER = 42\nUNUSED = 1\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_answer.py").write_text(
        "import subprocess, sys\n\ndef test_answer(tmp_path):\n"
        f"    code = 'import {PACKAGE}; assert {PACKAGE}.ANSWER == 42'\n"
        "    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)\n"
    )
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    unseen = small(name="unseen", old="UNUSED = 1", new="UNUSED = 2")
    assert not run([small(), unseen, small(name="gone", old="no such text")], tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("without a fault: green, 1 passed (")
    assert lines[1].startswith("wrong: caught by tests/test_answer.py::test_answer (")
    assert lines[2].startswith("unseen: NOT CAUGHT (1 tests passed) (")
    assert lines[3].startswith(f"gone: no such text ({PACKAGE}/__init__.py has the text 0 times, not once: ")
    assert lines[4].startswith("3 faults: 1 caught, 1 NOT CAUGHT, 1 no such text; ")
    assert code.read_text() == "ANSWER = 42\nUNUSED = 1\n"
