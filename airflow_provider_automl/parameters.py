"""Templated values to typed values: what an operator's parameter may be, and what its template may render to.

Each function takes a value and, for its message, the name of the parameter.
"""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow_provider_automl.errors import InputError, shortened


def parse_seconds(value: float | str | None, name: str) -> float | None:
    """Parse seconds: a number, or plain arithmetic such as ``60 * 3``, which is never evaluated as Python.

    :raises InputError: not arithmetic on numbers, not finite, or not above 0.
    """
    if value is None:
        return None
    seconds = _arithmetic(str(value))
    if seconds is None or not 0 < seconds < float("inf"):
        raise InputError(f'{name} is {shortened(repr(value))}: expected seconds above 0, such as 180 or "60 * 3".')
    return seconds


def parse_flag(value: bool | str, name: str) -> bool:
    """Parse a boolean or its text.

    :raises InputError: anything else.
    """
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if (flag := known.get(str(value).strip().lower())) is None:
        raise InputError(f"{name} is {shortened(repr(value))}: expected True or False.")
    return flag


def parse_report(value: bool | str, notebook: str | None) -> bool:
    """Parse whether to create a report.

    :raises InputError: not a boolean, or False although a notebook for the report is set.
    """
    wanted = parse_flag(value, "report")
    if notebook is not None and not wanted:
        raise InputError(
            f"report is False, so the notebook {notebook!r} would not run: remove one of the two arguments."
        )
    return wanted


def parse_whole(value: int | str, name: str, *, minimum: int = 1) -> int:
    """Parse an integer or its text.

    :raises InputError: not an integer, or below ``minimum``.
    """
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = minimum - 1
    if number < minimum:
        raise InputError(f"{name} is {shortened(repr(value))}: expected an integer of at least {minimum}.")
    return number


def parse_ratio(value: float | str, name: str) -> float:
    """Parse a ratio from 0 to 1: a number or its text.

    :raises InputError: anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise InputError(f"{name} is {shortened(repr(value))}: expected a ratio from 0 to 1.")
    return number


def parse_number(value: float | str, name: str) -> float:
    """Parse a number or its text.

    :raises InputError: anything else.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}: expected a number.") from None


def parse_days(value: timedelta | float | str | None, name: str) -> timedelta | None:
    """Parse a timedelta or a number of days.

    :raises InputError: not a number of days, or below 0.
    """
    if value is None:
        return None
    try:
        span = value if isinstance(value, timedelta) else timedelta(days=float(value))
    except (TypeError, ValueError, OverflowError):
        span = timedelta(-1)
    if span < timedelta(0):
        raise InputError(f"{name} is {value!r}: expected a timedelta or days, such as 7, or None for no minimum.")
    return span


def parse_names(value: Sequence[str] | str | None, name: str) -> list[str] | None:
    """Parse names, such as column names: a list, its JSON, or one name.

    :raises InputError: not a list of strings.
    """
    if value is None:
        return None
    names: Any = value
    if isinstance(value, (str, int)):
        is_list = isinstance(value, str) and value.lstrip().startswith(("[", "("))
        names = _parse_literal(str(value)) if is_list else [str(value)]
    if isinstance(names, (list, tuple)):
        names = [str(item) if isinstance(item, int) else item for item in names]
    if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
        raise InputError(f'{name} is {shortened(repr(value))}: expected a list of names, such as ["id", "time"].')
    return names


def parse_classes(value: Any, name: str) -> list[Any]:
    """Parse classes: a list, its JSON, or one class."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else list(parse_names(str(value), name) or ())


def parse_object(value: Any, name: str) -> Any:
    """Parse the text of a JSON object or a Python dict; returns any other value unchanged.

    :raises InputError: a text that begins with a brace and is neither.
    """
    if not isinstance(value, str) or not value.strip().startswith("{"):
        return value
    if not isinstance(found := _parse_literal(value), dict):
        raise InputError(
            f'{name} is {shortened(value)}, which is not an object: expected JSON such as {{"GBM": {{}}}}.'
        )
    return found


def _parse_literal(text: str) -> Any:
    """Parse JSON or a Python literal, such as a rendered list; None if the text is neither."""
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return parse(text.strip())
    return None


def _arithmetic(text: str) -> float | None:
    operators: dict[type, Any] = {
        ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    }  # fmt: skip

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return float(node.value)
        if isinstance(node, ast.BinOp) and type(node.op) in operators:
            return float(operators[type(node.op)](value(node.left), value(node.right)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        raise ValueError(text)

    try:
        return value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
        return None
