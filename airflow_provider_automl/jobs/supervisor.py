"""The parent of a job's process: it streams the job's lines, holds its limits, and leaves no descendant behind.

AutoGluon forks, notebooks' kernels start sessions of their own, and native code does not hear SIGTERM. So the
supervisor adopts every orphan below it and kills by walking the process tree: when a limit is exceeded, when it is
told to stop, when its own parent dies, and when the job has ended. Standard library only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_automl.jobs import processes
from airflow_provider_automl.jobs.files import FAILURE, LOG, RESULT, VERDICT, read_json, write_json

_TICK = 0.05
_MEMORY_EVERY = 0.2
#: AutoGluon's lines and ours that say what goes on.
_MODEL = re.compile(r"^\s*Fitting model: (\S+)")
_STAGE = re.compile(r"^(?:reading|fitting|saving|loading|measuring|predicting|reporting|checking)\b.*")


class _Output:
    """Passes the job's lines on, keeps them in a file, and remembers the last ones and what they say is being done."""

    def __init__(self, source: BinaryIO, log: Path) -> None:
        self.doing: str | None = None
        self.tail: deque[str] = deque(maxlen=20)
        self._source = source
        self._log = log
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait for the last lines: they come when every holder of the other end is dead."""
        self._thread.join(seconds)

    def _pump(self) -> None:
        listened = True
        with suppress(OSError):
            self._log.unlink(missing_ok=True)
        while line := self._source.readline(65536):
            self._notice(line.decode(errors="replace").rstrip())
            with suppress(OSError), self._log.open("ab") as file:  # a full disk must not cost the job
                file.write(line)
            try:
                while listened and line:
                    line = line[os.write(1, line) :]
            except OSError:
                listened = False  # nobody reads any more; the job must not block on that

    def _notice(self, line: str) -> None:
        if model := _MODEL.match(line):
            self.doing = f"fitting {model[1]}"
        elif stage := _STAGE.match(line):
            self.doing = stage[0].rstrip(". ")
        if line.strip():
            self.tail.append(line)


def supervise(job_file: Path, command: list[str]) -> int:
    """Run ``command`` to its end; returns the exit code and leaves ``verdict.json`` beside the job file.

    :param job_file: its ``memory_limit`` (bytes or null) and ``timeout`` (seconds or null) are held here.
    :returns: 0 done, 2 the user's input is wrong, 1 anything else.
    """
    directory = job_file.parent
    job = read_json(job_file) or {}
    for name in (RESULT, FAILURE, VERDICT):
        (directory / name).unlink(missing_ok=True)
    parent = int(os.environ.get(processes.PARENT) or os.getppid())
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: signals.append(number))
    processes.adopt_orphans()
    processes.die_with_parent(signal.SIGTERM)
    worker = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, processes.PARENT: str(os.getpid())},
        start_new_session=True,
    )
    assert worker.stdout is not None  # it is a pipe
    output = _Output(worker.stdout, directory / LOG)  # type: ignore[arg-type]
    status, ended = _watch(worker.pid, job, parent, signals)
    _kill_rest(worker.pid)
    worker.returncode = -signal.SIGKILL if status is None else status  # reaped here, not by Popen
    output.finish(0.5 if signals else 5)
    verdict = _verdict(directory, status, ended, output)
    write_json(directory / VERDICT, verdict)
    return {"done": 0, "input": 2}.get(verdict["outcome"], 1)


def _watch(worker: int, job: dict[str, Any], parent: int, signals: list[int]) -> tuple[int | None, dict[str, Any]]:
    """Wait until the worker ends or has to be ended; its status (None: still running), and why it has to be ended."""
    limit, timeout = job.get("memory_limit"), job.get("timeout")
    start = time.monotonic()
    next_look = 0.0
    while True:
        status = _reap(worker)
        if status is not None:
            return status, {}
        now = time.monotonic()
        if signals:
            return None, {"outcome": "killed", "why": f"it was told to by {signal.Signals(signals[0]).name}"}
        if os.getppid() != parent:
            return None, {"outcome": "killed", "why": "the process that had started it died"}
        if timeout is not None and now - start > timeout:
            return None, {"outcome": "timeout", "limit": timeout}
        if limit is not None and now >= next_look:
            reached = processes.memory(processes.descendants([os.getpid()]), above=limit)
            if reached > limit:
                return None, {"outcome": "memory_limit", "limit": limit, "reached": reached}
            took = time.monotonic() - now
            next_look = now + max(_MEMORY_EVERY, 10 * took)  # a look at big processes must not slow them
        time.sleep(_TICK)


def _reap(worker: int) -> int | None:
    """Reap whatever child has ended, adopted ones too; the worker's exit code (negative: a signal) if it has."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == worker:
            found = os.waitstatus_to_exitcode(status)


def _kill_rest(worker: int) -> None:
    def rest() -> set[int]:
        _reap(worker)
        return processes.descendants([os.getpid()])

    processes.kill_all(rest)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)  # all there is where there is no /proc
    _reap(worker)


def _verdict(directory: Path, status: int | None, ended: dict[str, Any], output: _Output) -> dict[str, Any]:
    """How the job ended, in one sentence or two."""
    verdict = {"outcome": ended["outcome"], "message": _ended_message(ended, output.doing)} if ended else None
    if verdict is None:
        verdict = _own_end(directory, status or 0, output)
    if verdict["outcome"] not in ("done", "killed") and (directory / RESULT).exists():
        # What the job is for was done, and only the report about it was cut short.
        return {"outcome": "done", "message": None, "cut_short": verdict["message"]}
    return verdict


def _ended_message(ended: dict[str, Any], doing: str | None) -> str:
    while_doing = f" while {doing}" if doing else ""
    if ended["outcome"] == "memory_limit":
        return (
            f"exceeded memory_limit {_size(ended['limit'])}: reached {ended['reached'] / 2**30:.1f} GiB{while_doing}; "
            f"raise memory_limit or lower {_smaller(doing)}"
        )
    if ended["outcome"] == "timeout":
        return f"exceeded timeout {ended['limit']:g} s{while_doing}; raise timeout or lower {_shorter(doing)}"
    return f"The job was killed{while_doing}: {ended['why']}."


def _own_end(directory: Path, status: int, output: _Output) -> dict[str, Any]:
    """The verdict on a worker that ended by itself."""
    failure = read_json(directory / FAILURE)
    if status == 0 and (directory / RESULT).exists():
        return {"outcome": "done", "message": None}
    if failure is not None:
        return {"outcome": failure["outcome"], "message": failure["message"]}
    while_doing = f" while {output.doing}" if output.doing else ""
    if status == -signal.SIGKILL:
        message = (
            f"The job was killed by SIGKILL{while_doing}: most often it is the kernel, for the machine ran out of "
            "memory; set memory_limit, lower sampling_threshold, or give the machine more memory."
        )
        return {"outcome": "killed", "message": message}
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit code {status} and without a result"
    last = "\n".join(output.tail) or "(it printed nothing)"
    return {"outcome": "crash", "message": f"The job ended {how}{while_doing}. Its last lines:\n{last}"}


def _smaller(doing: str | None) -> str:
    return "batch_rows" if doing and doing.startswith("predicting") else "sampling_threshold"


def _shorter(doing: str | None) -> str:
    return "the number of rows" if doing and doing.startswith("predicting") else "time_limit"


def _size(size: int) -> str:
    for unit, power in (("g", 30), ("m", 20), ("k", 10)):
        if size % 2**power == 0:
            return f"{size >> power}{unit}"
    return f"{size} bytes"
