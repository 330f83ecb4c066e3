"""What every benchmark here does: run sides in turn, take medians, say how far the same thing differs from itself.

Ratios are of two measurements of the same minute on the same machine. Each benchmark is a script of its own, prints a
line a measurement, and exits 1 when one fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Compared:
    """Seconds that two sides took, as medians."""

    ours: float
    theirs: float
    #: How far the other side differs from itself when it is measured twice: 0.05 is 5 %.
    spread: float

    @property
    def ratio(self) -> float:
        """Our time as a multiple of theirs."""
        return self.ours / self.theirs


def compare(ours: Callable[[], object], theirs: Callable[[], object], *, repeats: int = 5) -> Compared:
    """Time two sides in turn (theirs, ours, theirs, …) after one unmeasured run of each.

    The other side runs twice a round: the ratio of its two series is the A/A spread.
    """
    theirs(), ours()
    first, mine, second = [], [], []
    for _ in range(repeats):
        first.append(seconds(theirs))
        mine.append(seconds(ours))
        second.append(seconds(theirs))
    again = median(second) / median(first)
    return Compared(median(mine), median(first + second), max(again, 1 / again) - 1)


def compare_each(
    ours: Mapping[str, Callable[[], object]], theirs: Callable[[], object], *, repeats: int = 1
) -> dict[str, Compared]:
    """Time several sides against one, in turn (theirs, each of ours, theirs, …), without an unmeasured run.

    For what takes minutes, on servers that are warm.
    """
    first, again = [], []
    mine: dict[str, list[float]] = {name: [] for name in ours}
    for _ in range(repeats):
        first.append(seconds(theirs))
        for name, side in ours.items():
            mine[name].append(seconds(side))
        again.append(seconds(theirs))
    ratio = median(again) / median(first)
    spread = max(ratio, 1 / ratio) - 1
    return {name: Compared(median(series), median(first + again), spread) for name, series in mine.items()}


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# Linux counts the memory of whoever forks a process into the most that the process had: so a small one forks it.
_WATCH = """
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
os.write(int(sys.argv[1]), str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss).encode())
sys.exit(code)
"""


def peak_rss(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command and return the most memory that one of its processes had resident, in bytes.

    :raises subprocess.CalledProcessError: it failed.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader) as kibibytes:
        try:
            watch = [sys.executable, "-I", "-S", "-c", _WATCH, str(writer), *command]
            subprocess.run(watch, env=environment, pass_fds=[writer], check=True)
        finally:
            os.close(writer)
        return int(kibibytes.read()) * 1024


class Results:
    """The lines of one benchmark."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def line(self, name: str, value: float, target: float, *, at_least: bool = False, note: str = "") -> None:
        """Print one measurement: name, ratio, target, pass or fail."""
        good = value >= target if at_least else value <= target
        sign = ">=" if at_least else "<="
        print(f"{'pass' if good else 'FAIL'}  {name:<52} {value:9.3g}  {sign} {target:g}  {note}".rstrip(), flush=True)
        if not good:
            self.failed.append(name)

    def told(self, name: str, value: float, *, note: str = "") -> None:
        """Print a measurement that has no target."""
        print(f"      {name:<52} {value:9.3g}  {note}".rstrip(), flush=True)

    def exit(self) -> None:
        """End the script: 0 when everything passed, else 1."""
        sys.exit(1 if self.failed else 0)


def scratch(name: str) -> Path:
    """Return a directory that a benchmark may keep its data in between runs."""
    directory = Path(os.environ.get("AUTOML_BENCHMARK_DIR", ".benchmarks")) / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()
