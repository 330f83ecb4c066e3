"""Processes that make one server, in a directory of their own: begun, waited for, ended, and begun again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

#: How to reach a server, and where its log is. ``processes``: its processes, each as its id and when it was born.
Facts = dict[str, Any]

FACTS = "facts.json"
_BECOME = Path(__file__).with_name("become.py")
_PATIENCE = 300.0  # seconds; the slowest needs 30 on two idle cores


class Server(ABC):
    """One server. ``start`` after ``stop`` or ``kill`` has it back with the same ports and the same data.

    :param directory: its own; ``data`` in it goes with ``clear``, the logs stay.
    :param beside: the facts of other servers that it may use, by name.
    :param tied: whether it dies with this process, however that ends (on Linux).
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: What it gets when this process dies.
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    #: Whether it is to work for an hour, not for a minute.
    lasting = False

    def __init__(self, directory: Path, *, beside: Mapping[str, Facts] | None = None, tied: bool = True) -> None:
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.beside = dict(beside or {})
        self.facts: Facts = {}
        self._tied = tied
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    @abstractmethod
    def install(cls) -> None:
        """Have the cache hold what the server is made of.

        :raises Missing: it cannot be had.
        """

    @abstractmethod
    def prepare(self) -> Facts:
        """Choose the ports and write what the server reads; once."""

    @abstractmethod
    def launch(self) -> None:
        """Start the processes by ``run``."""

    def start(self) -> Facts:
        """Start it and wait until it answers. The same dict each time.

        :raises RuntimeError: it does not, with the end of its log.
        """
        self.install()
        try:
            if not self.facts:
                self.data.mkdir(parents=True)
                self.facts.update(self.prepare())
            self.launch()
        except BaseException:
            self.stop()
            raise
        self.facts["processes"] = [(process.pid, _born(process.pid)) for process in self._processes]
        (self.directory / FACTS).write_text(json.dumps(self.facts, indent=2))
        return self.facts

    def stop(self) -> None:
        """End it in good order, or after half a minute without."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def clear(self) -> None:
        """Remove all but the logs."""
        shutil.rmtree(self.data, ignore_errors=True)
        (self.directory / FACTS).unlink(missing_ok=True)

    def log(self, process: str) -> Path:
        """Where that process writes."""
        return self.directory / f"{process}.log"

    def run(
        self, process: str, command: Iterable[str | Path], ready: Callable[[], bool], *,
        env: Mapping[str, str | Path] | None = None, user: str | None = None,
    ) -> None:  # fmt: skip
        """Start a process in ``data`` and wait until it is ready.

        :param process: names its log.
        :param env: added to this process's environment.
        :param user: whom it runs as.
        """
        parent = str(os.getpid()) if self._tied else "0"
        log = self.log(process)
        with log.open("ab") as output:
            running = subprocess.Popen(
                [sys.executable, "-I", _BECOME, parent, str(int(self.death_signal)), user or "-", *map(str, command)],
                env={**os.environ, **{key: str(value) for key, value in (env or {}).items()}},
                cwd=self.data, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._processes.append(running)
        deadline = time.monotonic() + _PATIENCE
        while not ready():
            if running.poll() is not None:
                raise RuntimeError(f"{process} ended with status {running.returncode}; {log} ends:\n{_tail(log)}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{process} is not up after {_PATIENCE:.0f} s; {log} ends:\n{_tail(log)}")
            time.sleep(0.1)

    def _end(self, number: signal.Signals) -> None:
        end([(process.pid, _born(process.pid)) for process in self._processes if process.poll() is None], number)
        for process in self._processes:
            process.wait()
        self._processes.clear()


def free_ports(count: int) -> list[int]:
    """That many ports of 127.0.0.1 which nobody has."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listens(port: int) -> bool:
    """Whether something on 127.0.0.1 takes connections at that port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def runs(pid: int, born: str) -> bool:
    """Whether that very process runs: not a later one with its id, not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _born(pid) == born


def end(processes: Iterable[tuple[int, str]], number: signal.Signals, *, seconds: float = 30) -> None:
    """Send a signal to processes, the last one first, and SIGKILL to those that are there ``seconds`` later."""
    for pid, born in reversed(list(processes)):
        for each in (number, signal.SIGKILL):
            deadline = time.monotonic() + seconds
            if runs(pid, born):
                with suppress(ProcessLookupError):
                    os.killpg(pid, each)
            while runs(pid, born) and time.monotonic() < deadline:
                time.sleep(0.05)


def _born(pid: int) -> str:
    """When a process began, in the kernel's ticks; "" where it is a zombie or there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
