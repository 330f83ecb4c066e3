"""The package's exceptions. The type says whether a retry can help.

``jobs``, ``sql`` and ``drift`` import nothing of the package and so do not use these: a job tells its kind of
failure by its exit code, a policy raises ``ValueError``.
"""

from __future__ import annotations

#: How long a message may be: it stands in logs, XComs, tables and mails.
MESSAGE_CHARACTERS = 500


def bounded(text: str, most: int = MESSAGE_CHARACTERS) -> str:
    """Return a text of at most so many characters: of a longer one its beginning and its end.

    >>> bounded("a" * 300 + "b" * 300, 9)
    'aaaa … bb'
    """
    if len(text) <= most:
        return text
    kept = most - 3
    tail = kept // 3
    return f"{text[: kept - tail]} … {text[len(text) - tail :]}"


class AutoMLError(Exception):
    """Anything this provider raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(bounded(message))


class InputError(AutoMLError):
    """What the user gave is wrong: a retry cannot help. The message says what was found and how to mend it."""


class BusyError(AutoMLError):
    """Something is in use by somebody else: a retry may help."""


class JobError(AutoMLError):
    """A job crashed, was killed, or exceeded a limit.

    :param reason: ``crash``, ``memory_limit``, ``timeout`` or ``killed``.
    """

    def __init__(self, message: str, *, reason: str = "crash") -> None:
        super().__init__(message)
        self.reason = reason
