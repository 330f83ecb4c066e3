"""The error that a job raises on purpose."""

from __future__ import annotations


class JobInputError(Exception):
    """The user's input is wrong, and a retry cannot help: exit code 2. The message says what to fix."""
