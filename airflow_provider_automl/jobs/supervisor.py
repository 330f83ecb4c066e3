"""The parent of a job's process: it streams the job's output, enforces its limits, and leaves no descendant behind.

AutoGluon forks, notebook kernels start their own sessions, and native code ignores SIGTERM. So the supervisor adopts
every orphaned descendant and kills by walking the process tree: when a limit is exceeded, on a termination signal,
when its own parent dies, and after the job has ended. Standard library only.
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
#: Lines by AutoGluon and by the job that report progress.
_MODEL = re.compile(r"^\s*Fitting model: (\S+)")
_STAGE = re.compile(r"^(?:reading|fitting|saving|loading|measuring|predicting|reporting|checking)\b.*")


class _Output:
    """Forwards the job's output, writes it to a log file, and keeps the last lines and the current stage."""

    def __init__(self, source: BinaryIO, log: Path) -> None:
        self.stage: str | None = None
        self.tail: deque[str] = deque(maxlen=20)
        self._source = source
        self._log = log
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait for the last lines: the pipe is closed once every process that writes to it has ended."""
        self._thread.join(seconds)

    def _pump(self) -> None:
        readable = True
        with suppress(OSError):
            self._log.unlink(missing_ok=True)
        while line := self._source.readline(65536):
            self._parse(line.decode(errors="replace").rstrip())
            with suppress(OSError), self._log.open("ab") as file:  # a full disk must not fail the job
                file.write(line)
            try:
                while readable and line:
                    line = line[os.write(1, line) :]
            except OSError:
                readable = False  # the reader is gone; the job must not block on that

    def _parse(self, line: str) -> None:
        if model := _MODEL.match(line):
            self.stage = f"fitting {model[1]}"
        elif stage := _STAGE.match(line):
            self.stage = stage[0].rstrip(". ")
        if line.strip():
            self.tail.append(line)


def supervise(job_file: Path, command: list[str]) -> int:
    """Run ``command`` to its end, and write ``verdict.json`` next to the job file.

    :param job_file: its ``memory_limit`` (bytes or null) and ``timeout`` (seconds or null) are enforced here.
    :returns: the exit code: 0 if the job is done, 2 if the user's input is wrong, 1 otherwise.
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
    """Wait until the worker ends or must be killed; its status (None: still running), and why it must be killed."""
    limit, timeout = job.get("memory_limit"), job.get("timeout")
    start = time.monotonic()
    next_check = 0.0
    while True:
        status = _reap(worker)
        if status is not None:
            return status, {}
        now = time.monotonic()
        if signals:
            return None, {"outcome": "killed", "why": f"its supervisor received {signal.Signals(signals[0]).name}"}
        if os.getppid() != parent:
            return None, {"outcome": "killed", "why": "the process that started it died"}
        if timeout is not None and now - start > timeout:
            return None, {"outcome": "timeout", "limit": timeout}
        if limit is not None and now >= next_check:
            reached = processes.memory(processes.descendants([os.getpid()]), above=limit)
            if reached > limit:
                return None, {"outcome": "memory_limit", "limit": limit, "reached": reached}
            took = time.monotonic() - now
            next_check = now + max(_MEMORY_EVERY, 10 * took)  # measuring large processes must not slow them down
        time.sleep(_TICK)


def _reap(worker: int) -> int | None:
    """Reap all children that have ended, adopted ones too; the worker's exit code (negative: a signal) if it ended."""
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
        os.killpg(worker, signal.SIGKILL)  # all that works without /proc
    _reap(worker)


def _verdict(directory: Path, status: int | None, ended: dict[str, Any], output: _Output) -> dict[str, Any]:
    """How the job ended: an outcome, and a message of one or two sentences."""
    verdict = {"outcome": ended["outcome"], "message": _killed_message(ended, output.stage)} if ended else None
    if verdict is None:
        verdict = _exit_verdict(directory, status or 0, output)
    if verdict["outcome"] not in ("done", "killed") and (directory / RESULT).exists():
        # The model or the predictions are complete; only the report was cut short.
        return {"outcome": "done", "message": None, "cut_short": verdict["message"]}
    return verdict


def _killed_message(ended: dict[str, Any], stage: str | None) -> str:
    during = f" while {stage}" if stage else ""
    if ended["outcome"] == "memory_limit":
        return (
            f"exceeded memory_limit {_size(ended['limit'])}: reached {ended['reached'] / 2**30:.1f} GiB{during}; "
            f"raise memory_limit or lower {_memory_option(stage)}"
        )
    if ended["outcome"] == "timeout":
        return f"exceeded timeout {ended['limit']:g} s{during}; raise timeout or lower {_time_option(stage)}"
    return f"The job was killed{during}: {ended['why']}."


def _exit_verdict(directory: Path, status: int, output: _Output) -> dict[str, Any]:
    """The verdict on a worker that ended without the supervisor killing it."""
    failure = read_json(directory / FAILURE)
    if status == 0 and (directory / RESULT).exists():
        return {"outcome": "done", "message": None}
    if failure is not None:
        return {"outcome": failure["outcome"], "message": failure["message"]}
    during = f" while {output.stage}" if output.stage else ""
    if status == -signal.SIGKILL:
        message = (
            f"The job was killed by SIGKILL{during}, probably by the kernel's out-of-memory killer: set memory_limit, "
            f"lower {_memory_option(output.stage)}, or give the machine more memory."
        )
        return {"outcome": "killed", "message": message}
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit code {status} and without a result"
    last = "\n".join(output.tail) or "(no output)"
    return {"outcome": "crash", "message": f"The job ended {how}{during}. Its last lines:\n{last}"}


def _memory_option(stage: str | None) -> str:
    return "batch_rows" if stage and stage.startswith("predicting") else "sampling_threshold"


def _time_option(stage: str | None) -> str:
    return "the number of rows" if stage and stage.startswith("predicting") else "time_limit"


def _size(size: int) -> str:
    for unit, power in (("g", 30), ("m", 20), ("k", 10)):
        if size % 2**power == 0:
            return f"{size >> power}{unit}"
    return f"{size} bytes"
