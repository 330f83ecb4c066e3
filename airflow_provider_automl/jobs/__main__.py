"""``python -m airflow_provider_automl.jobs JOB.json``, or ``python -I jobs.pyz JOB.json``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_provider_automl.jobs import processes
from airflow_provider_automl.jobs.files import VERDICT, read_json
from airflow_provider_automl.jobs.supervisor import supervise
from airflow_provider_automl.jobs.worker import work


def main() -> int:
    """Supervise a job in a child process (``JOB.json``), or be that child process (``--work JOB.json``)."""
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "--work":
        return work(Path(arguments[1]))
    if len(arguments) != 1 or not os.path.isfile(arguments[0]):
        print("usage: python -m airflow_provider_automl.jobs JOB.json", file=sys.stderr)
        return 2
    job_file = Path(arguments[0]).absolute()
    code = supervise(job_file, [*_python(), "--work", str(job_file)])
    verdict = read_json(job_file.with_name(VERDICT)) or {}
    if verdict.get("message") and processes.TOKEN not in os.environ:
        print(verdict["message"], file=sys.stderr)  # started by hand: no launcher reports it
    return code


def _python() -> list[str]:
    """The command that runs this program again, with unbuffered output."""
    options = [sys.executable, "-u", "-X", "utf8"]
    archive = Path(__file__).parents[2]
    if archive.is_file():
        return [*options, "-I", str(archive)]
    return [*options, "-m", "airflow_provider_automl.jobs"]


if __name__ == "__main__":
    _code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_code)  # all output is written; threads of native code must not delay the exit
