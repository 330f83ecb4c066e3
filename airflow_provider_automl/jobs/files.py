"""Names and format of the files that a job, its supervisor and its launcher exchange."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Next to ``job.json``: the job's result, why it failed, and the supervisor's verdict on how it ended.
RESULT, FAILURE, VERDICT = "result.json", "failure.json", "verdict.json"
#: The job's output so far.
LOG = "job.log"


def strict(value: Any) -> Any:
    """``value`` for strict JSON: NaN and infinities become None, NumPy scalars Python scalars, other objects text."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [strict(item) for item in value]
    return str(value)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON atomically."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(strict(value), file, allow_nan=False, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read what :func:`write_json` wrote; None if the file does not exist."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return value
