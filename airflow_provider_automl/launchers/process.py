"""Run a job on this machine: a process of its own, under any interpreter that has AutoGluon."""

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

#: What a job cannot do without.
_NEEDED = ("autogluon.tabular", "pandas", "pyarrow")
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
    """Runs one job at a time in a process tree of its own and kills all of it when told to.

    :param python: the interpreter; None is this one.
    :param memory_limit: such as ``8g``: bounds the tree's memory (PSS); Linux only.
    :param timeout: seconds; hard.
    :param log: called with every line that the job prints.
    :raises InputError: ``memory_limit`` is no size.
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
        """Check that the interpreter is there and has what a job needs.

        :raises InputError: names everything that is missing, and the line that installs it.
        """
        packages = describe_interpreter(self.python)["packages"]
        if missing := [name for name in _NEEDED if packages[name] is None]:
            install = f"{self.python} -m pip install {_AUTOGLUON}"
            if self._own:
                install = (
                    "name an interpreter that has them as 'default' in interpreters of the automl connection, such as "
                    '{"default": "/opt/automl/bin/python"} (docs/existing-deployment.md); or have them beside Airflow: '
                    "pip install 'airflow-provider-automl[automl]'"
                )
            raise InputError(f"{self.python} has no {', '.join(missing)}: {install}")

    def run(self, job: dict[str, Any], directory: Path) -> dict[str, Any]:
        """Run a job to its end and return its result.

        :param job: its description; the limits are added.
        :param directory: for ``job.json``, ``jobs.pyz`` and what the job leaves beside them; made if missing.
        :raises InputError: the user's input is wrong.
        :raises JobError: it crashed, was killed, or exceeded a limit (``reason``).
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
        """Kill the job and everything that it started, within 5 seconds; from any thread, or a signal's handler.

        A job that has not started yet never will.
        """
        self._killed = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        processes.send(process.pid, signal.SIGTERM)  # the supervisor kills its descendants and ends
        end = time.monotonic() + 2.5
        while time.monotonic() < end and processes.alive(process.pid):
            time.sleep(0.02)
        processes.send(process.pid, signal.SIGKILL)
        processes.kill_all(lambda: processes.marked(self._token), seconds=1.5)

    def _told_to_stop(self) -> bool:
        return self._killed

    def _stream(self, command: list[str], directory: Path) -> int:
        """Start it, pass its lines on until it ends, leave nothing behind; returns the exit code."""
        if self._told_to_stop():
            raise JobError("The job was killed before it started.", reason="killed")
        try:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to our group must not kill the supervisor before it has killed
            )
        except OSError as error:
            raise InputError(f"The interpreter {self.python} could not be started: {error}.") from error
        self._process = process
        try:
            if self._told_to_stop():  # between the check above and now
                self.kill()
            assert process.stdout is not None  # it is a pipe
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
        """Ours, without what would lead another interpreter to our packages, and without Airflow's secrets."""
        unwanted = ("AIRFLOW", "_AIRFLOW", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        return {**kept, processes.TOKEN: self._token, processes.PARENT: str(os.getpid())}

    def _conclude(self, directory: Path, code: int) -> dict[str, Any]:
        verdict = read_json(directory / VERDICT)
        if self._killed:
            raise JobError("The job was killed, as this task was told to stop.", reason="killed")
        if verdict is None:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise JobError(f"The job's supervisor ended {how}, and the job was killed.", reason="killed")
        if verdict["outcome"] == "input":
            raise InputError(verdict["message"])
        if verdict["outcome"] != "done":
            raise JobError(verdict["message"], reason=verdict["outcome"])
        result = read_json(directory / RESULT)
        if result is None:
            raise JobError(f"The job left no {RESULT}.")
        if verdict.get("cut_short"):
            result["notebook_error"] = verdict["cut_short"]
        return result


def describe_interpreter(python: str | None) -> dict[str, Any]:
    """What an interpreter is and has.

    :returns: ``python`` and ``autogluon`` (versions as text, the latter None if it is not installed), ``packages``
        (name to version or None).
    :raises InputError: there is no such interpreter, or it cannot be run.
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
        raise InputError(f"{python} does not run as a Python interpreter: {error}.") from error
    return {**found, "autogluon": found["packages"]["autogluon.tabular"]}


def build_archive(path: Path) -> None:
    """Zip the ``jobs`` room so that ``python path`` runs it; the same files give the same bytes."""
    package = Path(__file__).parents[1]
    files = [package / "__init__.py"]
    files += sorted(file for file in (package / "jobs").rglob("*") if file.suffix in (".py", ".ipynb"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (
            ("__main__.py", _ENTRY.encode()),
            *((file.relative_to(package.parent).as_posix(), file.read_bytes()) for file in files),
        ):
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)


def _no_interpreter(python: str) -> InputError:
    return InputError(
        f"There is no interpreter {python}: make it (python3 -m venv ENVIRONMENT), install into it "
        f"(ENVIRONMENT/bin/python -m pip install {_AUTOGLUON}), and give its path."
    )
