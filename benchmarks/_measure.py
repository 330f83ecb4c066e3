"""Shared by all benchmarks: run two sides in turn, take medians, and measure the noise by A/A runs.

The two measurements of a ratio are taken within minutes on the same machine. Each benchmark is a script that prints
one line per measurement, and exits 1 if one misses its target.
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
    """The median seconds of two sides."""

    ours: float
    theirs: float
    #: The A/A spread: how far two series of the other side differ; 0.05 is 5 %.
    spread: float

    @property
    def ratio(self) -> float:
        """Our time as a multiple of theirs."""
        return self.ours / self.theirs


def compare(ours: Callable[[], object], theirs: Callable[[], object], *, repeats: int = 5) -> Compared:
    """Time two sides in turn (theirs, ours, theirs, …) after one warm-up run of each.

    The other side runs twice per round: the ratio of its two series is the A/A spread.
    """
    theirs(), ours()
    first, mine, second = [], [], []
    for _ in range(repeats):
        first.append(seconds(theirs))
        mine.append(seconds(ours))
        second.append(seconds(theirs))
    ratio = median(second) / median(first)
    return Compared(median(mine), median(first + second), max(ratio, 1 / ratio) - 1)


def compare_each(
    ours: Mapping[str, Callable[[], object]], theirs: Callable[[], object], *, repeats: int = 1
) -> dict[str, Compared]:
    """Time several sides against one, in turn (theirs, each of ours, theirs, …), without a warm-up run.

    For work that takes minutes, on servers that are warm.
    """
    first, second = [], []
    mine: dict[str, list[float]] = {name: [] for name in ours}
    for _ in range(repeats):
        first.append(seconds(theirs))
        for name, side in ours.items():
            mine[name].append(seconds(side))
        second.append(seconds(theirs))
    ratio = median(second) / median(first)
    spread = max(ratio, 1 / ratio) - 1
    return {name: Compared(median(series), median(first + second), spread) for name, series in mine.items()}


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# On Linux a child's peak includes the memory of the process that forks it, so a small process does the fork.
_WATCH = """
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
os.write(int(sys.argv[1]), str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss).encode())
sys.exit(code)
"""


def peak_rss(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command and return the peak resident memory of its largest process, in bytes.

    :raises subprocess.CalledProcessError: the command failed.
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
    """Prints the measurements of one benchmark, and keeps those that missed their target."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def line(self, name: str, value: float, target: float, *, at_least: bool = False, note: str = "") -> None:
        """Print one measurement: pass or fail, name, value, target."""
        passed = value >= target if at_least else value <= target
        sign = ">=" if at_least else "<="
        status = "pass" if passed else "FAIL"
        print(f"{status}  {name:<52} {value:9.3g}  {sign} {target:g}  {note}".rstrip(), flush=True)
        if not passed:
            self.failed.append(name)

    def info(self, name: str, value: float, *, note: str = "") -> None:
        """Print a measurement without a target."""
        print(f"      {name:<52} {value:9.3g}  {note}".rstrip(), flush=True)

    def exit(self) -> None:
        """Exit the script: 0 if all measurements passed, else 1."""
        sys.exit(1 if self.failed else 0)


def scratch(name: str) -> Path:
    """Return a directory for data that a benchmark keeps between runs."""
    directory = Path(os.environ.get("AUTOML_BENCHMARK_DIR", ".benchmarks")) / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()
