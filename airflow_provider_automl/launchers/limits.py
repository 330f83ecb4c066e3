"""Parsing of limits as users write them."""

from __future__ import annotations

import re

from airflow_provider_automl.errors import InputError

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_memory(text: str | int, name: str = "memory_limit") -> int:
    """Parse a size such as ``8g``, ``512m``, ``1.5 GiB`` or ``2147483648`` to bytes; units are powers of 1024.

    :raises InputError: the text is not a size, or the size is below 1 MiB.

    >>> parse_memory("1.5 GiB")
    1610612736
    """
    match = _SIZE.fullmatch(str(text))
    size = int(float(match[1]) * 2 ** _POWERS[match[2].lower()]) if match else 0
    if size < 2**20:
        raise InputError(f"{name} is {text!r}: give a size of at least 1 MiB, such as '8g' or '512m'.")
    return size
