"""What a run of the tests costs: seconds, and seconds of processor time, by part, by scope, by server and by test.

``AUTOML_TEST_COSTS=DIR make test`` measures; ``python -m tests.costs DIR`` prints the tables of docs/testing.md.
Processor time is that of a test's whole process tree: jobs, Airflow, and servers of its own. The servers that all tests
share are counted apart.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

_TICKS = os.sysconf("SC_CLK_TCK")
_FIELDS = ("kind", "name", "scope", "begun", "seconds", "processor")


def used(roots: Iterable[int]) -> float:
    """Seconds of processor time that processes and all their descendants, dead ones too, have used.

    Those of a dead process count once whoever began it has waited for it.
    """
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
            children[int(fields[1])].append(int(entry.name))
    total, todo = 0, list(roots)
    while todo:
        pid = todo.pop()
        total += ticks.get(pid, 0)
        todo += children[pid]
    return total / _TICKS


def note(kind: str, name: str, scope: str, begun: float, processor: float) -> None:
    """Add what something cost that ends now, if the run is measured.

    :param kind: ``test`` or ``server``.
    :param begun: as ``time.time()`` gave it.
    :param processor: seconds of processor time.
    """
    if directory := os.environ.get("AUTOML_TEST_COSTS"):
        Path(directory).mkdir(parents=True, exist_ok=True)
        with Path(directory, f"{os.getpid()}.csv").open("a", newline="") as file:
            now = time.time()
            csv.writer(file).writerow([kind, name, scope, f"{begun:.2f}", f"{now - begun:.2f}", f"{processor:.2f}"])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure a test, with its fixtures."""
    if not os.environ.get("AUTOML_TEST_COSTS"):
        yield
        return
    from tests.schedule import scope_of

    begun, before = time.time(), used([os.getpid()])
    yield
    note("test", item.nodeid, scope_of(item), begun, used([os.getpid()]) - before)


def read(directory: Path) -> list[dict[str, Any]]:
    """What was noted, oldest first."""
    rows: list[dict[str, Any]] = []
    for path in directory.glob("*.csv"):
        with path.open(newline="") as file:
            rows += csv.DictReader(file, _FIELDS)
    for row in rows:
        row |= {name: float(row[name]) for name in ("begun", "seconds", "processor")}
    return sorted(rows, key=lambda row: row["begun"])


def table(title: str, rows: list[dict[str, Any]], name: str, most: int | None = None) -> str:
    """A Markdown table of what rows with the same value of a column cost together, the dearest first."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        for index, value in enumerate((1, row["seconds"], row["processor"])):
            totals[row[name]][index] += value
    lines = [f"| {title} | tests | minutes | processor minutes |", "|---|---|---|---|"]
    ordered = sorted(totals.items(), key=lambda item: -item[1][1])
    for key, (count, seconds, processor) in ordered[:most]:
        lines.append(f"| {key} | {count:.0f} | {seconds / 60:.1f} | {processor / 60:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.costs", description=__doc__)
    parser.add_argument("directory", type=Path)
    rows = read(parser.parse_args().directory)
    if not rows:
        sys.exit("Nothing was measured there.")
    tests = [row for row in rows if row["kind"] == "test"]
    servers = [row for row in rows if row["kind"] == "server"]
    for row in tests:
        row["file"] = row["name"].partition("::")[0]
        row["part"] = "/".join(row["file"].split("/")[:2])
    begun, ended = rows[0]["begun"], max(row["begun"] + row["seconds"] for row in rows)
    processor = sum(row["processor"] for row in rows)
    print(f"{len(tests)} tests in {(ended - begun) / 60:.1f} minutes; {processor / 60:.1f} processor minutes\n")
    print(table("part", tests, "part"), table("server, shared by all tests", servers, "name"), sep="\n\n")
    print(table("scope", tests, "scope", 40), table("test", tests, "name", 60), sep="\n\n")


if __name__ == "__main__":
    main()
