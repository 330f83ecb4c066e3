"""One attempt of a task at a warehouse's work, in a process of its own, which may be killed at any moment."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

#: What an attempt does, in turn. ``publish`` begins within ``load``, when the warehouse says so in its log.
STAGES = ("unload", "load", "publish", "record")


@dataclass(frozen=True)
class Work:
    """What a task does: the rows of a table into another one, and a row that says so.

    :param connection: the warehouse's Airflow connection.
    :param key: the task instance: the same in its retry.
    :param directory: the task's own, in this worker's staging.
    """

    connection: dict[str, Any]
    staging: str | None
    source: str
    target: str
    results: str
    key: str
    directory: str
    context: dict[str, str] = field(default_factory=dict)

    def open(self) -> Any:
        """The warehouse, as a deployment opens it."""
        os.environ["AIRFLOW_CONN_FAULTS"] = json.dumps(self.connection)
        from airflow.providers.common.compat.sdk import BaseHook

        from airflow_provider_automl.warehouse import open_warehouse

        return open_warehouse(BaseHook.get_hook("faults"), lock_timeout=60, staging=self.staging)


def attempt(work: Work, to: Connection) -> None:
    """Do it. Sends ``(stage, None)`` as a stage begins, ``("done", None)``, or ``("failed", error)``; SIGUSR1 cancels,
    as ``on_kill`` does.
    """
    from airflow.sdk.execution_time.context import set_current_context

    os.environ.update(work.context)
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    task: Any = set_current_context({"ti": SimpleNamespace(map_index=-1)})  # type: ignore[typeddict-item]
    task.__enter__()
    sending = threading.Lock()

    def say(stage: str, error: str | None = None) -> None:
        with sending:
            to.send((stage, error))

    class Publishing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Publishing "):
                say("publish")

    logger = logging.getLogger("airflow_provider_automl.warehouse")
    logger.addHandler(Publishing())
    logger.setLevel(logging.INFO)
    try:
        warehouse = work.open()
        signal.signal(signal.SIGUSR1, lambda *_: warehouse.cancel())
        directory = Path(work.directory)
        shutil.rmtree(directory, ignore_errors=True)
        say("unload")
        rows = warehouse.unload(work.source, directory)
        say("load")
        warehouse.load(directory, work.target, key=work.key)
        say("record")
        warehouse.record(work.results, {"record_id": work.key, "rows": rows, "recorded_at": datetime.now(UTC)})
    except BaseException as error:
        say("failed", f"{type(error).__name__}: {error}")
        # A driver's thread may keep the process: what it was to say is said.
        time.sleep(0.05)
        os._exit(1)
    say("done")
    sys.stdout.flush()
    os._exit(0)
