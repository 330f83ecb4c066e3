"""The package's exceptions. The type tells whether a retry can help.

``jobs``, ``sql`` and ``drift`` do not use them: a job reports the kind of its failure by exit code, a policy raises
``ValueError``.
"""

from __future__ import annotations

import re

#: Maximum length of a message, which goes into logs, XComs, tables and mails.
MESSAGE_CHARACTERS = 500


def bounded(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """Shorten a text to at most ``limit`` characters, keeping its beginning and its end.

    >>> bounded("a" * 300 + "b" * 300, 9)
    'aaaa … bb'
    """
    if len(text) <= limit:
        return text
    kept = limit - 3
    tail = kept // 3
    return f"{text[: kept - tail]} … {text[len(text) - tail :]}"


def shortened(value: object) -> str:
    """A value for a message: in one line of at most 120 characters.

    >>> shortened("SELECT 1\\n  AS one")
    'SELECT 1 AS one'
    """
    return bounded(re.sub(r"\s+", " ", str(value)), 120)


class AutoMLError(Exception):
    """Base class of all exceptions of this provider."""

    def __init__(self, message: str) -> None:
        super().__init__(bounded(message))


class InputError(AutoMLError):
    """The user's input is wrong: a retry cannot help. The message gives the value found and how to fix it."""


class BusyError(AutoMLError):
    """A resource is in use or unreachable: a retry may help."""


class JobError(AutoMLError):
    """A job crashed, was killed, or exceeded a limit.

    :param reason: ``crash``, ``memory_limit``, ``timeout`` or ``killed``.
    """

    def __init__(self, message: str, *, reason: str = "crash") -> None:
        super().__init__(message)
        self.reason = reason
