"""The states of an experiment."""

from __future__ import annotations

from enum import StrEnum


class ExperimentState(StrEnum):
    """State of a training; a ``str``, so that it is valid JSON and a column value."""

    RUNNING = "running"
    COMPLETE = "complete"
    #: Ended with a reported error.
    FAILED = "failed"
    #: The process was killed before it could report; recorded by the downstream tracking task.
    KILLED = "killed"
