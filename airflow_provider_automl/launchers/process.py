"""Run a job in a separate local process, under any Python interpreter with AutoGluon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_automl.errors import InputError, JobError
from airflow_provider_automl.jobs import processes
from airflow_provider_automl.jobs.files import RESULT, VERDICT, read_json
from airflow_provider_automl.launchers.limits import parse_memory

#: The packages that a job requires.
_REQUIRED = ("autogluon.tabular", "pandas", "pyarrow")
_AUTOGLUON = "'autogluon.tabular[lightgbm,catboost,xgboost]'"
_DESCRIBE = """
import json, platform
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
names = ("autogluon.tabular", "pandas", "pyarrow", "papermill", "nbconvert", "ipykernel")
print(json.dumps({"python": platform.python_version(), "packages": {name: version(name) for name in names}}))
"""
_ENTRY = """\
import os
import sys

from airflow_provider_automl.jobs.__main__ import main

code = main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
"""


class ProcessLauncher:
    """Runs one job at a time in its own process tree, and can kill the whole tree.

    :param python: path of the interpreter; default: the current one.
    :param memory_limit: limit of the tree's memory (PSS), such as ``8g``; Linux only.
    :param timeout: hard limit in seconds.
    :param log: called with each line of the job's output.
    :raises InputError: ``memory_limit`` is not a size.
    """

    def __init__(
        self,
        python: str | None = None,
        *,
        memory_limit: str | None = None,
        timeout: float | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.python = python or sys.executable
        self.memory_limit = parse_memory(memory_limit) if memory_limit is not None else None
        self.timeout = timeout
        self.log = log or (lambda line: None)
        self._own = python is None
        self._token = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def preflight(self) -> None:
        """Check that the interpreter exists and has the packages that a job requires.

        :raises InputError: something is missing; the message names all of it and how to install it.
        """
        packages = describe_interpreter(self.python)["packages"]
        if missing := [name for name in _REQUIRED if packages[name] is None]:
            install = f"{self.python} -m pip install {_AUTOGLUON}"
            if self._own:
                install = (
                    "set 'default' in the interpreters of the automl connection to an interpreter that has them, such "
                    'as {"default": "/opt/automl/bin/python"} (docs/existing-deployment.md); or install them beside '
                    "Airflow: pip install 'airflow-provider-automl[automl]'"
                )
            raise InputError(f"{self.python} lacks {', '.join(missing)}: {install}")

    def run(self, job: dict[str, Any], directory: Path) -> dict[str, Any]:
        """Run a job to completion and return its result.

        :param job: the job description; the limits are added to it.
        :param directory: receives ``job.json``, ``jobs.pyz`` and the files that the job writes; created if missing.
        :raises InputError: the job rejected the user's input.
        :raises JobError: the job crashed, was killed, or exceeded a limit (``reason``).
        """
        if not os.path.isfile(self.python):
            raise _no_interpreter(self.python)
        directory.mkdir(parents=True, exist_ok=True)
        for name in (RESULT, VERDICT):
            (directory / name).unlink(missing_ok=True)
        archive = directory / "jobs.pyz"
        build_archive(archive)
        job_file = directory / "job.json"
        limits = {"memory_limit": self.memory_limit, "timeout": self.timeout}
        job_file.write_text(json.dumps({**job, **limits}, allow_nan=False, ensure_ascii=False), encoding="utf-8")
        code = self._stream([self.python, "-I", "-X", "utf8", str(archive), str(job_file)], directory)
        return self._conclude(directory, code)

    def kill(self) -> None:
        """Kill the job and all its descendants within 5 seconds. Safe in any thread and in a signal handler.

        A job that has not started yet will not start.
        """
        self._killed = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        processes.send(process.pid, signal.SIGTERM)  # the supervisor kills its descendants and exits
        end = time.monotonic() + 2.5
        while time.monotonic() < end and processes.alive(process.pid):
            time.sleep(0.02)
        processes.send(process.pid, signal.SIGKILL)
        processes.kill_all(lambda: processes.marked(self._token), seconds=1.5)

    def _stop_requested(self) -> bool:
        return self._killed

    def _stream(self, command: list[str], directory: Path) -> int:
        """Run a command, pass on its output until it exits, kill what remains of its tree; returns the exit code."""
        if self._stop_requested():
            raise JobError("The job was killed before it started.", reason="killed")
        try:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to our group must not end the supervisor before it kills the job
            )
        except OSError as error:
            raise InputError(f"Could not start the interpreter {self.python}: {error}.") from error
        self._process = process
        try:
            if self._stop_requested():  # since the check above
                self.kill()
            assert process.stdout is not None  # stdout=PIPE
            while line := process.stdout.readline(65536):
                self.log(line.decode(errors="replace").rstrip("\r\n"))
            return process.wait()
        except BaseException:
            self.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
            processes.kill_all(lambda: processes.marked(self._token))

    def _environment(self) -> dict[str, str]:
        """This process's environment without Airflow's secrets and without variables of this Python installation."""
        unwanted = ("AIRFLOW", "_AIRFLOW", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        return {**kept, processes.TOKEN: self._token, processes.PARENT: str(os.getpid())}

    def _conclude(self, directory: Path, code: int) -> dict[str, Any]:
        verdict = read_json(directory / VERDICT)
        if self._killed:
            raise JobError("The job was killed because the task was stopped.", reason="killed")
        if verdict is None:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise JobError(f"The job's supervisor was terminated {how}, and the job was killed.", reason="killed")
        if verdict["outcome"] == "input":
            raise InputError(verdict["message"])
        if verdict["outcome"] != "done":
            raise JobError(verdict["message"], reason=verdict["outcome"])
        result = read_json(directory / RESULT)
        if result is None:
            raise JobError(f"The job wrote no {RESULT}.")
        if verdict.get("cut_short"):
            result["notebook_error"] = verdict["cut_short"]
        return result


def describe_interpreter(python: str | None) -> dict[str, Any]:
    """The versions of an interpreter and of its packages.

    :param python: path of the interpreter; default: the current one.
    :returns: ``python`` and ``autogluon`` (versions as text, the latter None if not installed), ``packages`` (name to
        version or None).
    :raises InputError: the interpreter does not exist, or cannot be run.
    """
    python = python or sys.executable
    if not os.path.isfile(python):
        raise _no_interpreter(python)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        run = subprocess.run(
            [python, "-I", "-c", _DESCRIBE], capture_output=True, text=True, timeout=60, env=environment, check=True
        )
        found: dict[str, Any] = json.loads(run.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InputError(f"Could not run {python} as a Python interpreter: {error}.") from error
    return {**found, "autogluon": found["packages"]["autogluon.tabular"]}


def build_archive(path: Path) -> None:
    """Zip the ``jobs`` package, and what it imports of this one, so that ``python path`` runs it.

    The archive is reproducible byte for byte.
    """
    package = Path(__file__).parents[1]
    files = [package / "__init__.py", package / "errors.py", package / "metrics.py"]
    files += sorted(file for file in (package / "jobs").rglob("*") if file.suffix in (".py", ".ipynb"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (
            ("__main__.py", _ENTRY.encode()),
            *((file.relative_to(package.parent).as_posix(), file.read_bytes()) for file in files),
        ):
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)


def _no_interpreter(python: str) -> InputError:
    return InputError(
        f"No interpreter at {python}: create it (python3 -m venv ENVIRONMENT), install AutoGluon into it "
        f"(ENVIRONMENT/bin/python -m pip install {_AUTOGLUON}), and configure its path."
    )
