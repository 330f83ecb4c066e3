"""Every measure in one place: of which problems it is, which way is better, and how its standard error is known.

This stands at the bottom of the package: what evaluates, what judges drift and what promotes read it, and nothing of
this package is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
PROBLEMS: Final = (BINARY, MULTICLASS, REGRESSION)


@dataclass(frozen=True)
class Metric:
    """One measure.

    :param name: its key in an evaluation, such as ``auroc``.
    :param problems: the problem types of which it is told.
    :param higher_is_better: None: neither way is (``bias`` is best near 0).
    :param error: the method of its standard error; None: it has none, and no significance of it is judged.
    :param title: as people read it.
    """

    name: str
    problems: tuple[str, ...]
    higher_is_better: bool | None
    error: str | None
    title: str


_CLASSES = (BINARY, MULTICLASS)
_MEAN, _SHARE, _DELTA = "of a mean", "of a share (Wilson)", "delta method"

#: In the order in which they are told.
ALL: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("auroc", (BINARY,), True, "DeLong", "AUC"),
        Metric("average_precision", (BINARY,), True, _DELTA, "average precision"),
        Metric("log_loss", _CLASSES, False, _MEAN, "log loss"),
        Metric("brier", (BINARY,), False, _MEAN, "Brier score"),
        Metric("accuracy", _CLASSES, True, _SHARE, "accuracy"),
        Metric("balanced_accuracy", (MULTICLASS,), True, _DELTA, "balanced accuracy"),
        Metric("precision", (BINARY,), True, _SHARE, "precision"),
        Metric("recall", (BINARY,), True, _SHARE, "recall"),
        Metric("f1", (BINARY,), True, _DELTA, "F1"),
        Metric("fbeta", (BINARY,), True, _DELTA, "F-beta"),
        Metric("macro_f1", (MULTICLASS,), True, _DELTA, "macro F1"),
        Metric("weighted_f1", (MULTICLASS,), True, _DELTA, "weighted F1"),
        Metric("macro_auroc", (MULTICLASS,), True, None, "macro AUC"),
        Metric("expected_calibration_error", (BINARY,), False, None, "expected calibration error"),
        Metric("ks", (BINARY,), True, None, "KS"),
        Metric("rmse", (REGRESSION,), False, _DELTA, "RMSE"),
        Metric("mse", (REGRESSION,), False, _MEAN, "MSE"),
        Metric("mae", (REGRESSION,), False, _MEAN, "MAE"),
        Metric("mape", (REGRESSION,), False, None, "MAPE"),
        Metric("r2", (REGRESSION,), True, _DELTA, "R²"),
        Metric("median_absolute_error", (REGRESSION,), False, None, "median absolute error"),
        Metric("bias", (REGRESSION,), None, _MEAN, "bias"),
    )
}  # fmt: skip


def title(name: str) -> str:
    """As people read it; a measure of somebody's own by its name."""
    return ALL[name].title if name in ALL else name


def fitting(problem_type: str, *, judged: bool = False) -> list[str]:
    """The measures of a problem type.

    :param judged: only those that have a standard error and a direction.
    """
    return [
        metric.name
        for metric in ALL.values()
        if problem_type in metric.problems and (not judged or (metric.error and metric.higher_is_better is not None))
    ]


def judged() -> list[str]:
    """The measures whose significance can be judged."""
    return [name for name, metric in ALL.items() if metric.error and metric.higher_is_better is not None]


def nearest(name: str, among: Iterable[str]) -> str:
    """`` (did you mean 'auroc'?)``, or nothing where no name is near."""
    from difflib import get_close_matches

    near = get_close_matches(str(name).lower(), list(among), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
