"""Processes and their descendants, by Linux's prctl and /proc. Standard library only.

On other systems every function degrades: orphans are not adopted, descendants are not found, and only a process group
can be killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

#: Set in the environment of a job and so of all its descendants: a token, and the process that it must not outlive.
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
    """Send this process a signal when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Make this process the new parent of its descendants whose own parent dies (a child subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def parents() -> dict[int, int]:
    """Each running process and its parent; zombies are left out."""
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
    """Whether the process is running; a zombie is not."""
    if _PROC.joinpath("self").exists():
        return pid in parents()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def descendants(roots: Iterable[int]) -> set[int]:
    """Every running descendant of these processes, without the processes themselves."""
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
    """Every running process with that token in its environment, and their descendants."""
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
    """SIGKILL what ``find`` returns until it returns nothing; False if processes are left after ``seconds``."""
    end = time.monotonic() + seconds
    while found := find() - {os.getpid()}:
        for pid in found:
            send(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def memory(pids: Iterable[int], above: int = 0) -> int:
    """Bytes of memory that these processes use together, each shared page split among its sharers (PSS).

    :param above: while RSS, a cheaper upper bound that counts shared pages once per process, is not above this many
        bytes, it is returned instead.
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
