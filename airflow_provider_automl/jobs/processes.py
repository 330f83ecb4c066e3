"""Processes and their descendants, by Linux's own means: prctl and /proc. Standard library only.

Elsewhere every function degrades: nothing is adopted, nothing found, and a process group is all that can be killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

#: Set in a job's environment, and so in all its descendants': a token, and the process that it must not outlive.
TOKEN, PARENT = "AUTOML_JOB_TOKEN", "AUTOML_JOB_PARENT"

_PROC = Path("/proc")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def _prctl(option: int, argument: int) -> None:
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return
    prctl(option, ctypes.c_ulong(argument), 0, 0, 0)


def die_with_parent(number: signal.Signals) -> None:
    """Have this process sent a signal when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Make this process the new parent of its descendants whose own parent dies (a child subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def parents() -> dict[int, int]:
    """Each living process and its parent. Zombies are dead."""
    found = {}
    for entry in _processes():
        try:
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            found[int(entry.name)] = int(parent)
    return found


def alive(pid: int) -> bool:
    """Whether that process runs; a zombie does not."""
    if _PROC.joinpath("self").exists():
        return pid in parents()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def descendants(roots: Iterable[int]) -> set[int]:
    """Every living descendant of these processes, themselves left out."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    stack = list(roots)
    while stack:
        for child in children.get(stack.pop(), ()):
            if child not in found:
                found.add(child)
                stack.append(child)
    return found


def marked(token: str) -> set[int]:
    """Every living process whose environment has that token, and all descendants of these."""
    text = f"{TOKEN}={token}".encode()
    found = set()
    for entry in _processes():
        try:
            if text in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except OSError:
            continue
    return (found & parents().keys()) | descendants(found)


def kill_all(find: Callable[[], set[int]], *, seconds: float = 5.0) -> bool:
    """SIGKILL what ``find`` finds until it finds nothing; False if something is left after ``seconds``."""
    end = time.monotonic() + seconds
    while found := find() - {os.getpid()}:
        for pid in found:
            send(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def memory(pids: Iterable[int], above: int = 0) -> int:
    """Bytes of memory that these processes hold together, each shared page counted once among its sharers (PSS).

    :param above: a cheaper upper bound (RSS, which counts shared pages each time) is returned while it is below this.
    """
    pids = list(pids)
    page = os.sysconf("SC_PAGE_SIZE")
    resident = sum(_first_number(pid, "statm", 1) * page for pid in pids)
    if resident <= above:
        return resident
    return sum(_proportional(pid) for pid in pids)


def _first_number(pid: int, name: str, field: int) -> int:
    try:
        return int((_PROC / str(pid) / name).read_bytes().split()[field])
    except (OSError, IndexError, ValueError):
        return 0


def _proportional(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith((b"Pss:", b"SwapPss:")))


def _processes() -> list[Path]:
    try:
        return [entry for entry in _PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return []
