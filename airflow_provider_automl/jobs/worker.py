"""The process that does a job's work."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from airflow_provider_automl.jobs import processes
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.files import FAILURE, RESULT, read_json, write_json

_NEEDED = ("autogluon", "pandas", "pyarrow")


def work(job_file: Path) -> int:
    """Run the job, and write ``result.json`` or ``failure.json`` next to the job file. Returns the exit code."""
    processes.die_with_parent(signal.SIGKILL)
    if os.environ.get(processes.PARENT) not in (None, str(os.getppid())):
        return 1  # the supervisor died before the parent-death signal was set
    directory = job_file.parent
    try:
        result = _do(job_file)
    except BaseException as error:
        message = _input_message(error, directory)
        if message is None:
            traceback.print_exc()
            message = "".join(traceback.format_exception_only(error)).strip()
            write_json(directory / FAILURE, {"outcome": "crash", "message": f"The job crashed: {message}"})
            return 1
        write_json(directory / FAILURE, {"outcome": "input", "message": message})
        return 2
    write_json(directory / RESULT, result)
    return 0


def _do(job_file: Path) -> dict[str, Any]:
    job = read_json(job_file)
    if job is None:
        raise JobInputError(f"The job file {job_file} does not exist.")
    if job["kind"] == "train":
        from airflow_provider_automl.jobs.train import train

        return train(job, job_file.parent)
    if job["kind"] == "predict":
        from airflow_provider_automl.jobs.predict import predict

        return predict(job, job_file.parent)
    raise JobInputError(f"Unknown kind of job {job['kind']!r}: give 'train' or 'predict'.")


def _input_message(error: BaseException, directory: Path) -> str | None:
    """The message for the user if they can fix it, else None."""
    if isinstance(error, JobInputError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _NEEDED:
        return (
            f"{error.name} is not installed in {sys.executable}: "
            f"{sys.executable} -m pip install 'autogluon.tabular[lightgbm,catboost,xgboost]'"
        )
    if disk_full(error):
        free = shutil.disk_usage(directory).free
        return f"The disk is full: {free / 2**20:.0f} MiB left at {directory} ({error}); free some space and try again."
    return None


def disk_full(error: BaseException) -> bool:
    """Whether the error says that a disk or a quota is full."""
    return isinstance(error, OSError) and (
        error.errno in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)
    )
