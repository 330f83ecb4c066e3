"""DeLong's variance in NumPy, to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np


def delong(positive: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return AUC and its standard error, by placements of each class among the other."""
    above, below = np.sort(score[positive]), np.sort(score[~positive])

    def placement(values: Any, among: Any) -> Any:
        return (np.searchsorted(among, values, "left") + np.searchsorted(among, values, "right")) / (2 * len(among))

    v10, v01 = placement(above, below), 1 - placement(below, above)
    variance = v10.var(ddof=1) / len(above) + v01.var(ddof=1) / len(below)
    return float(v10.mean()), float(np.sqrt(variance))


def paired_delong(
    positive: np.ndarray[Any, Any], first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]
) -> tuple[float, float]:
    """Return how much greater the second score's AUC is than the first's, and that difference's standard error."""

    def placements(score: Any) -> tuple[Any, Any]:
        above, below = score[positive], score[~positive]

        def among(values: Any, others: Any) -> Any:
            others = np.sort(others)
            ranks = np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")
            return ranks / (2 * len(others))

        return among(above, below), 1 - among(below, above)

    gains = [after - before for before, after in zip(placements(first), placements(second), strict=True)]
    variance = sum(gain.var(ddof=1) / len(gain) for gain in gains)
    return float(gains[0].mean()), float(np.sqrt(variance))
