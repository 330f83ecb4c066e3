"""The registry of metrics: their problem types, which direction is better, and the method of the standard error.

Evaluation, drift policies, promotion and reports use it; it imports nothing of this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
PROBLEMS: Final = (BINARY, MULTICLASS, REGRESSION)

#: The 97.5 % quantile of the normal distribution: a 95 % interval is so many standard errors wide on each side.
Z_95: Final = 1.959963984540054


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: its key in an evaluation, such as ``auroc``.
    :param problems: the problem types that it is reported for.
    :param higher_is_better: None if neither direction is better (``bias`` is best near 0).
    :param error: the method of its standard error; None: it has none, so its significance cannot be tested.
    """

    name: str
    problems: tuple[str, ...]
    higher_is_better: bool | None
    error: str | None


_CLASSES = (BINARY, MULTICLASS)
_MEAN, _SHARE, _DELTA = "of a mean", "of a share (Wilson)", "delta method"

#: In the order in which they are reported.
ALL: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("auroc", (BINARY,), True, "DeLong"),
        Metric("average_precision", (BINARY,), True, _DELTA),
        Metric("log_loss", _CLASSES, False, _MEAN),
        Metric("brier", (BINARY,), False, _MEAN),
        Metric("accuracy", _CLASSES, True, _SHARE),
        Metric("balanced_accuracy", (MULTICLASS,), True, _DELTA),
        Metric("precision", (BINARY,), True, _SHARE),
        Metric("recall", (BINARY,), True, _SHARE),
        Metric("f1", (BINARY,), True, _DELTA),
        Metric("fbeta", (BINARY,), True, _DELTA),
        Metric("mcc", _CLASSES, True, _DELTA),
        Metric("macro_f1", (MULTICLASS,), True, _DELTA),
        Metric("weighted_f1", (MULTICLASS,), True, _DELTA),
        Metric("macro_auroc", (MULTICLASS,), True, None),
        Metric("expected_calibration_error", (BINARY,), False, None),
        Metric("ks", (BINARY,), True, None),
        Metric("rmse", (REGRESSION,), False, _DELTA),
        Metric("mse", (REGRESSION,), False, _MEAN),
        Metric("mae", (REGRESSION,), False, _MEAN),
        Metric("mape", (REGRESSION,), False, None),
        Metric("r2", (REGRESSION,), True, _DELTA),
        Metric("median_absolute_error", (REGRESSION,), False, None),
        Metric("bias", (REGRESSION,), None, _MEAN),
    )
}  # fmt: skip


def fitting(problem_type: str) -> list[str]:
    """The metrics of a problem type.

    >>> fitting("regression")
    ['rmse', 'mse', 'mae', 'mape', 'r2', 'median_absolute_error', 'bias']
    """
    return [metric.name for metric in ALL.values() if problem_type in metric.problems]


def judged() -> list[str]:
    """The metrics whose significance can be tested."""
    return [name for name, metric in ALL.items() if metric.error and metric.higher_is_better is not None]


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """The centre and the half width of Wilson's 95 % score interval of a share of ``n`` rows [1]_.

    ``(p + z²/2n ± z * sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n)``: inside [0, 1] and good at its ends, where the
    textbook's ``p ± z * sqrt(p (1 - p) / n)`` fails.

    .. [1] E. B. Wilson. Probable inference, the law of succession, and statistical inference. Journal of the American
       Statistical Association 22 (1927), 209-212.
    """
    square = Z_95**2
    whole = 1 + square / n
    half = Z_95 * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / whole
    return (share + square / (2 * n)) / whole, half
