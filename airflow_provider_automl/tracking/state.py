"""The states of an experiment."""

from __future__ import annotations

from enum import StrEnum


class ExperimentState(StrEnum):
    """How a training stands; a ``str``, so that it is strict JSON and a column value as it is."""

    RUNNING = "running"
    COMPLETE = "complete"
    #: Ended with an error that it could still tell.
    FAILED = "failed"
    #: Ended without a word: its process was killed. Nobody can record that but the task that comes after it.
    KILLED = "killed"
