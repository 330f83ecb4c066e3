"""DeLong's variance in NumPy, to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np


def delong(positive: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return AUC and its standard error, by placements of each class among the other."""
    return _mean_and_error(*_placements(positive, score))


def paired_delong(
    positive: np.ndarray[Any, Any], first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]
) -> tuple[float, float]:
    """Return how much greater the second score's AUC is than the first's, and that difference's standard error."""
    before, after = _placements(positive, first), _placements(positive, second)
    return _mean_and_error(after[0] - before[0], after[1] - before[1])


def _placements(positive: Any, score: Any) -> tuple[Any, Any]:
    """Of each positive the share of negatives below it, of each negative the share of positives above it, ties half."""
    above, below = score[positive], score[~positive]

    def among(values: Any, others: Any) -> Any:
        others = np.sort(others)
        ranks = np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")
        return ranks / (2 * len(others))

    return among(above, below), 1 - among(below, above)


def _mean_and_error(v10: Any, v01: Any) -> tuple[float, float]:
    variance = v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01)
    return float(v10.mean()), float(np.sqrt(variance))
