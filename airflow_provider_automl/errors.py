"""The package's exceptions, and what their messages are made of. An exception's type tells whether a retry can help.

``jobs``, ``sql`` and ``drift`` raise none of them: a job reports the kind of its failure by exit code, a policy raises
``ValueError``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

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


def listing(names: Iterable[object], limit: int = 20) -> str:
    """Names for a message: the first ``limit``, and how many more there are.

    >>> listing(["age", "sex", "time"], 2)
    'age, sex and 1 more'
    """
    texts = [str(name) for name in names]
    more = f" and {len(texts) - limit:,} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is most similar, whatever its case and outer spaces; None if none is similar.

    >>> closest("Row_ID", ["class", "row id"])
    'row id'
    """
    by_fold = {other.strip().lower(): other for other in known}
    near = get_close_matches(str(name).strip().lower(), by_fold, n=1, cutoff=0.5)
    return by_fold[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`` (did you mean 'auroc'?)``, or an empty text if no known name is similar."""
    near = closest(name, known)
    return "" if near is None else f" (did you mean {near!r}?)"


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
