"""Metrics and their confidence intervals, computed from sums that the warehouse aggregated.

Sums are added as fractions, so that no rounding is added to the warehouse's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from airflow_provider_automl.errors import InputError, did_you_mean
from airflow_provider_automl.metrics import BINARY, PROBLEMS, Z_95, fitting, wilson_interval

#: The metrics of each problem type, in the order in which they are reported.
METRICS: Final[dict[str, tuple[str, ...]]] = {
    kind: (*fitting(kind), *(("confusion_matrix",) if kind == BINARY else ())) for kind in PROBLEMS
}

#: The entries that report ``confusion_matrix``.
CONFUSION: Final = ("true_positives", "false_positives", "false_negatives", "true_negatives")
#: Metrics that interpret the score as a probability.
OF_PROBABILITIES: Final = ("log_loss", "brier", "expected_calibration_error")
#: Metrics that need the probabilities of all classes.
OF_ALL_CLASSES: Final = ("log_loss", "macro_auroc")
#: Equal-width bins of the calibration table.
BINS: Final = 10
#: Minimum number of rows for the normal approximation of a mean's interval.
NORMAL_ROWS: Final = 30

DELONG = "DeLong"
CLOPPER_PEARSON = "one-sided Clopper-Pearson"
WILSON = "Wilson"
NORMAL = "normal approximation of the mean"

_WEIGHTED = "no interval is computed for a weighted metric: the methods assume rows of equal weight"
_NO_ROWS = "no row has a label, a score and a weight above 0"
#: Why most metrics have none.
NO_INTERVAL: Final = "no interval is computed for this metric"

Sums = Mapping[str, Fraction]


def check_metrics(metrics: Sequence[str] | None, problem_type: str | None = None) -> tuple[str, ...] | None:
    """Return the metrics without duplicates; None, which means all of the problem type, stays None.

    :param problem_type: None if it is not known yet: metrics of any problem type are then accepted.
    :raises InputError: a metric is unknown (the message suggests the closest name), or of another problem type.
    """
    if metrics is None:
        return None
    known = list(dict.fromkeys(name for names in METRICS.values() for name in names))
    fitting = METRICS[problem_type] if problem_type else known
    for name in metrics:
        if name in fitting:
            continue
        if name in known:
            others = " and ".join(kind for kind, names in METRICS.items() if name in names)
            raise InputError(
                f"The metric {name!r} is for {others} problems, and this problem is {problem_type}: choose from "
                f"{', '.join(fitting)}."
            )
        hint = did_you_mean(name, fitting) or f": choose from {', '.join(fitting)}"
        raise InputError(f"There is no metric {name!r}{hint}.")
    if not metrics:
        raise InputError(f"metrics is empty: name at least one of {', '.join(fitting)}, or leave it out for all.")
    return tuple(dict.fromkeys(metrics))


@dataclass(frozen=True)
class Measure:
    """A metric's value, its 95 % interval, and why one of them is missing.

    :param interval: the name of the interval's method.
    :param se: the standard error, if the method has one.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    interval: str | None = None
    se: float | None = None
    reason: str | None = None

    def named(self, name: str) -> dict[str, Any]:
        """Return it as entries of a dict, strict JSON: a number that is not finite is None, with its reason."""
        value, reason = self.value, self.reason
        if value is not None and not math.isfinite(value):
            value, reason = None, f"it is {value}: the sums exceed the range of a double"
        entries = {
            name: value,
            f"{name}_low": self.low,
            f"{name}_high": self.high,
            f"{name}_interval": self.interval,
            f"{name}_reason": reason,
        }
        return entries | ({f"{name}_se": self.se} if self.se is not None else {})


def fraction(value: object) -> Fraction:
    """Return a sum from the warehouse as an exact fraction; NULL is 0.

    :raises InputError: it is infinite or NaN.
    """
    if value is None:
        return Fraction(0)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"A sum over the rows is {value}: weights or values are too large. Scale them down.")
    return Fraction(value) if isinstance(value, (int, float)) else Fraction(str(value))


def add(cells: Iterable[Mapping[str, object]]) -> dict[str, Fraction]:
    """Return the column sums of several rows."""
    total: dict[str, Fraction] = {}
    for cell in cells:
        for name, value in cell.items():
            total[name] = total.get(name, Fraction(0)) + fraction(value)
    return total


# ---------------------------------------------------------------------------------------------------- intervals


def wilson(hits: Fraction, n: Fraction, *, weighted: bool = False, empty: str = "") -> Measure:
    """Return the proportion ``hits / n`` with its :func:`~airflow_provider_automl.metrics.wilson_interval`.

    The standard error is the interval's half width divided by z: never 0.

    :param empty: the reason to report if n is 0, where the proportion is 0 as in scikit-learn.
    """
    if not n:
        return Measure(0.0, reason=empty)
    share = float(hits / n)
    if weighted:
        return Measure(share, reason=_WEIGHTED)
    centre, half = wilson_interval(share, float(n))
    # The ends are exactly 0 or 1 if no row, or every row, is a hit, regardless of rounding.
    low = 0.0 if not hits else max(0.0, min(share, centre - half))
    high = 1.0 if hits == n else min(1.0, max(share, centre + half))
    return Measure(share, low, high, WILSON, half / Z_95)


def mean(
    total: Fraction, n: Fraction, squares_about_mean: Fraction, *, weighted: bool = False, least: float | None = None
) -> Measure:
    """Return a mean with ``mean ± 1.96 * sqrt(variance / n)``, by the central limit theorem.

    :param squares_about_mean: the sum of the squared deviations from the mean, ``n - 1`` times the variance.
    :param least: the lower bound of the mean, at which the interval is clipped.
    """
    if not n:
        return Measure(None, reason=_NO_ROWS)
    value = float(total / n)
    if weighted:
        return Measure(value, reason=_WEIGHTED)
    if n < NORMAL_ROWS:
        rows = "1 row is" if n == 1 else f"{n} rows are"
        return Measure(value, reason=f"{rows} too few for an interval of a mean: at least {NORMAL_ROWS} are needed")
    error = math.sqrt(max(0.0, float(squares_about_mean / (n - 1) / n)))
    low, high = value - Z_95 * error, value + Z_95 * error
    return Measure(value, low if least is None else max(least, low), high, NORMAL, error)


def area(sums: Sums, *, weighted: bool = False) -> Measure:
    """Return the AUC, from the sums of ``auc.sql`` and ``scores.sql``; see :func:`.measures.auc`."""
    positives, negatives = sums["positives"], sums["negatives"]
    if not positives or not negatives:
        return Measure(None, reason=f"there is no {'positive' if not positives else 'negative'} row to compare with")
    exact = 1 - sums["over_sum"] / (positives * negatives)
    if weighted:
        return Measure(min(1.0, max(0.0, float(exact))), reason=_WEIGHTED)
    value = float(exact)
    if positives < 2 or negatives < 2:
        few = "positive" if positives < 2 else "negative"
        return Measure(value, reason=f"there is only one {few} row: an interval needs at least two of each class")
    if exact in (0, 1):
        bound = without_exception(int(min(positives, negatives)))
        low, high = (bound, 1.0) if exact == 1 else (0.0, 1.0 - bound)
        return Measure(value, low, high, CLOPPER_PEARSON, 0.0)
    error = delong_error(sums, positives, negatives)
    return Measure(value, max(0.0, value - Z_95 * error), min(1.0, value + Z_95 * error), DELONG, error)


def delong_error(sums: Sums, positives: Fraction, negatives: Fraction, of: str = "") -> float:
    """Return DeLong's standard error of an AUC, or of a paired difference of two: see :func:`.measures.auc`.

    :param sums: ``over_sum``, ``over_squares``, ``under_sum``, ``under_squares``, each after the prefix ``of``.
    :param positives: rows, at least two, as ``negatives``.
    """
    spread_p = (sums[f"{of}over_squares"] - sums[f"{of}over_sum"] ** 2 / positives) / negatives**2
    spread_q = (sums[f"{of}under_squares"] - sums[f"{of}under_sum"] ** 2 / negatives) / positives**2
    variance = spread_p / (positives * (positives - 1)) + spread_q / (negatives * (negatives - 1))
    return math.sqrt(max(0.0, float(variance)))


def without_exception(n: int) -> float:
    """Return the one-sided lower 95 % confidence bound of a proportion of which ``n`` of ``n`` trials succeeded.

    See :func:`.measures.auc` for its source.
    """
    return float(0.05 ** (1 / n))


# ---------------------------------------------------------------------------------------------------- binary


def binary(cells: Sequence[Mapping[str, object]], *, beta: float, weighted: bool) -> dict[str, Measure]:
    """Return all binary metrics of a score, from one group's rows of ``scores.sql`` that are not skipped.

    ``confusion_matrix`` is reported as ``true_positives``, ``false_positives``, ``false_negatives`` and
    ``true_negatives``.
    """
    if not cells:
        names = [name for name in METRICS["binary"] if name != "confusion_matrix"]
        return dict.fromkeys((*names, *CONFUSION), Measure(None, reason=_NO_ROWS))
    sums = add({name: value for name, value in cell.items() if name not in ("gap", "least", "most")} for cell in cells)
    p, q = sums["p"], sums["q"]
    whole = p + q
    tp, fp = sums["tp"], sums["fp"]
    fn, tn = p - tp, q - fp
    loss, brier = sums["loss_p"] + sums["loss_q"], sums["brier"]
    loss_squares = sums["loss_p_squares"] + sums["loss_q_squares"]
    alone = f"there is no {'positive' if not p else 'negative'} row to compare with"
    gaps = max((fraction(cell["gap"]) for cell in cells), default=Fraction(0))
    off = sum((abs(fraction(cell["p"]) - fraction(cell["shares"])) for cell in cells), Fraction(0))
    return {
        "auroc": area({**sums, "positives": p, "negatives": q}, weighted=weighted),
        "average_precision": _average_precision(sums, p, weighted=weighted),
        "log_loss": mean(loss, whole, _about(loss_squares, loss, whole), weighted=weighted, least=0.0),
        "brier": mean(brier, whole, _about(sums["brier_squares"], brier, whole), weighted=weighted, least=0.0),
        "accuracy": wilson(tp + tn, whole, weighted=weighted, empty=_NO_ROWS),
        "precision": wilson(
            tp, tp + fp, weighted=weighted, empty="no score reaches the threshold: counted as 0, as in scikit-learn"
        ),
        "recall": wilson(
            tp, p, weighted=weighted, empty="there is no positive row: counted as 0, as in scikit-learn"
        ),
        "f1": f_with_error(tp, fp, fn, 1.0, weighted=weighted),
        "fbeta": f_with_error(tp, fp, fn, beta, weighted=weighted),
        "mcc": mcc({(1, 1): tp, (1, 0): fn, (0, 1): fp, (0, 0): tn}, smoothing=0.5, weighted=weighted),
        **{
            name: Measure(float(count))
            for name, count in zip(CONFUSION, (tp, fp, fn, tn), strict=True)
        },
        "expected_calibration_error": Measure(float(off / whole) if whole else None, reason=NO_INTERVAL),
        "ks": Measure(float(gaps / (p * q)), reason=NO_INTERVAL) if p and q else Measure(None, reason=alone),
    }  # fmt: skip


def f_measure(tp: Fraction, fp: Fraction, fn: Fraction, beta: float) -> float:
    """Return ``(1 + b²) tp / ((1 + b²) tp + b² fn + fp)``, or 0 if that is 0 / 0, as in scikit-learn."""
    square = Fraction(beta) ** 2
    divisor = (1 + square) * tp + square * fn + fp
    return float((1 + square) * tp / divisor) if divisor else 0.0


def _average_precision(sums: Sums, positives: Fraction, *, weighted: bool) -> Measure:
    """Return the mean of the precisions at the positives' scores, with its standard error by the delta method.

    AP is a functional of the distribution of labels and scores. The influence of a row with score x and label y is
    ``(n / P) (y (precision(x) + gained(x) - AP) - lost(x))``, where ``gained`` and ``lost`` are the sums, over the
    positives' scores up to x, of ``p / (p + q)`` and of that times the precision (p and q at that score and above in
    the divisor). The variance is the mean of the squared influence, divided by n.
    """
    if not positives:
        return Measure(None, reason="there is no positive row")
    exact = sums["precision_sum"] / positives
    if weighted:
        return Measure(float(exact), reason=_WEIGHTED)
    squares = sums["pull_squares"] - 2 * exact * sums["pull_sum"] + exact**2 * positives + sums["lost_squares"]
    return Measure(float(exact), se=math.sqrt(max(0.0, float(squares))) / float(positives) or None, reason=NO_INTERVAL)


def f_with_error(tp: Fraction, fp: Fraction, fn: Fraction, beta: float, *, weighted: bool) -> Measure:
    """Return the F-measure with its standard error by the delta method, for multinomial counts.

    ``F = (1 + b²) tp / D`` with ``D = (1 + b²) tp + b² fn + fp`` has the derivatives ``(1 + b²) (b² fn + fp) / D²`` in
    tp, ``-(1 + b²) b² tp / D²`` in fn and ``-(1 + b²) tp / D²`` in fp, whose sum weighted by the counts is 0; so the
    variance is the sum of their squares weighted by the counts. Half a row is added to each count there, so that the
    standard error of a sample without a misclassified row is not 0.
    """
    value = f_measure(tp, fp, fn, beta)
    if weighted:
        return Measure(value, reason=_WEIGHTED)
    square = beta**2
    hits, false, missed = float(tp) + 0.5, float(fp) + 0.5, float(fn) + 0.5
    divisor = (1 + square) * hits + square * missed + false
    by_hits = (1 + square) * (square * missed + false) / divisor**2
    by_missed, by_false = -(1 + square) * square * hits / divisor**2, -(1 + square) * hits / divisor**2
    variance = hits * by_hits**2 + missed * by_missed**2 + false * by_false**2
    return Measure(value, se=math.sqrt(variance), reason=NO_INTERVAL)


def mcc(pairs: Mapping[tuple[Any, Any], Fraction], *, smoothing: float = 0.0, weighted: bool) -> Measure:
    """Return the Matthews correlation coefficient, for any number of classes [1]_, with its standard error.

    ``A / sqrt(B C)`` with ``A = c s - sum(p_k t_k)``, ``B = s² - sum(p_k²)`` and ``C = s² - sum(t_k²)``, where s counts
    the rows, c the correct ones, t_k the rows of class k and p_k the predictions of it. It is 0 if ``B C`` is 0, as in
    scikit-learn. The standard error is by the delta method, for multinomial counts: the derivative in the count of
    class i predicted as j is ``(A' - A (B' / B + C' / C) / 2) / sqrt(B C)`` with ``A' = c - p_i - t_j`` (``+ s`` if i
    is j), ``B' = 2 (s - p_j)`` and ``C' = 2 (s - t_i)``. The coefficient depends on shares only, so the derivatives
    weighted by the counts add up to 0, and the variance is the sum of their squares weighted by the counts.

    :param pairs: the number or weight of rows for each (class, predicted class).
    :param smoothing: added to each count for the standard error, so that it is not 0 without a misclassified row.

    .. [1] J. Gorodkin. Comparing two K-category assignments by a K-category correlation coefficient. Computational
       Biology and Chemistry 28 (2004), 367-374.
    """
    numerator, by_predicted, by_actual = _correlation(pairs)
    value = float(numerator) / math.sqrt(by_predicted * by_actual) if by_predicted and by_actual else 0.0
    if weighted:
        return Measure(value, reason=_WEIGHTED)
    counts = {cell: float(count) + smoothing for cell, count in pairs.items()}
    a, b, c = map(float, _correlation(counts))
    if not b or not c:
        return Measure(value, reason=NO_INTERVAL)
    s = sum(counts.values())
    correct = sum(count for (i, j), count in counts.items() if i == j)
    actual, predicted = _margins(counts)
    variance = 0.0
    for (i, j), count in counts.items():
        by_a = correct - predicted.get(i, 0.0) - actual.get(j, 0.0) + (s if i == j else 0.0)
        by_b, by_c = 2 * (s - predicted[j]), 2 * (s - actual[i])
        variance += count * (by_a - a * (by_b / b + by_c / c) / 2) ** 2 / (b * c)
    return Measure(value, se=math.sqrt(variance) or None, reason=NO_INTERVAL)


def _margins(pairs: Mapping[tuple[Any, Any], Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the sums of a confusion matrix by class, and by predicted class."""
    actual: dict[Any, Any] = {}
    predicted: dict[Any, Any] = {}
    for (label, prediction), count in pairs.items():
        actual[label] = actual.get(label, 0) + count
        predicted[prediction] = predicted.get(prediction, 0) + count
    return actual, predicted


def _correlation(pairs: Mapping[tuple[Any, Any], Any]) -> tuple[Any, Any, Any]:
    """Return A, B and C of :func:`mcc`."""
    actual, predicted = _margins(pairs)
    rows = sum(pairs.values())
    correct = sum(count for (label, prediction), count in pairs.items() if label == prediction)
    return (
        correct * rows - sum(count * predicted.get(label, 0) for label, count in actual.items()),
        rows**2 - sum(count**2 for count in predicted.values()),
        rows**2 - sum(count**2 for count in actual.values()),
    )


def calibration(cells: Sequence[Mapping[str, object]]) -> list[dict[str, float | int]]:
    """Return the calibration table: for each non-empty bin of scores [low, high), their mean and the positive rate.

    Bins are of equal width, and the last one includes 1. Where a model is calibrated, ``mean_score`` is close to
    ``positive_rate``. (M. P. Naeini, G. F. Cooper, M. Hauskrecht. Obtaining well calibrated probabilities using
    Bayesian binning. AAAI 2015.)
    """
    table = []
    for cell in sorted(cells, key=lambda cell: fraction(cell["cell"])):
        p, whole = fraction(cell["p"]), fraction(cell["p"]) + fraction(cell["q"])
        if whole:
            bin_ = int(fraction(cell["cell"]))
            table.append(
                {
                    "low": bin_ / BINS,
                    "high": (bin_ + 1) / BINS,
                    "rows": int(fraction(cell["n"])),
                    "mean_score": float(fraction(cell["shares"]) / whole),
                    "positive_rate": float(p / whole),
                }
            )
    return table


def _about(squares: Fraction, total: Fraction, n: Fraction) -> Fraction:
    """Return the sum of squared deviations from the mean; exact enough, since the mean of losses is near 0."""
    return squares - total**2 / n if n else Fraction(0)


# ---------------------------------------------------------------------------------------------------- multiclass


def multiclass(pairs: Mapping[tuple[str, str], Fraction], *, weighted: bool) -> dict[str, Measure]:
    """Return the metrics of predicted classes.

    :param pairs: the number or weight of rows for each (class, predicted class).
    """
    whole = sum(pairs.values(), Fraction(0))
    actual, predicted = _margins(pairs)
    right = {label: pairs.get((label, label), Fraction(0)) for label in {*actual, *predicted}}
    if not whole:
        return dict.fromkeys(
            ("accuracy", "balanced_accuracy", "mcc", "macro_f1", "weighted_f1"), Measure(None, reason=_NO_ROWS)
        )
    scores = {
        label: f_measure(hits, predicted.get(label, Fraction(0)) - hits, actual.get(label, Fraction(0)) - hits, 1.0)
        for label, hits in right.items()
    }
    recalls = [right[label] / weight for label, weight in actual.items() if weight]
    balanced = sum(recalls, Fraction(0)) / len(recalls)
    # A mean of independent proportions.
    errors = [wilson(right[label], weight).se or 0.0 for label, weight in actual.items() if weight]
    balanced_error = math.sqrt(sum(error**2 for error in errors)) / len(errors)
    macro = sum(scores.values()) / len(scores)
    by_support = sum(scores[label] * float(weight) for label, weight in actual.items()) / float(whole)
    return {
        "accuracy": wilson(sum(right.values(), Fraction(0)), whole, weighted=weighted),
        "balanced_accuracy": _with_error(float(balanced), balanced_error, weighted),
        "mcc": mcc(pairs, weighted=weighted),
        "macro_f1": _with_error(macro, _f1_error(pairs, {label: 1 / len(scores) for label in scores}), weighted),
        "weighted_f1": _with_error(by_support, _f1_error(pairs, None), weighted),
    }


def _with_error(value: float, error: float, weighted: bool) -> Measure:
    return Measure(value, reason=_WEIGHTED) if weighted else Measure(value, se=error or None, reason=NO_INTERVAL)


def _f1_error(pairs: Mapping[tuple[str, str], Fraction], shares: Mapping[str, float] | None) -> float:
    """Return the standard error of a mean of the classes' F1, by the delta method on the multinomial confusion matrix.

    For a class, ``F = 2 t / (r + c)`` with its correct rows t, its rows r and its predictions c. The derivatives are
    ``2 / (r + c)`` in t, and ``-2 t / (r + c)²`` in r and in c. A cell (i, j) counts in row sum i and column sum j.

    :param shares: each class's weight in the mean; None: its share of the rows, whose derivative is included.
    """
    n = float(sum(pairs.values(), Fraction(0)))
    rows, columns = _margins({cell: float(count) for cell, count in pairs.items()})
    hits = {label: float(pairs.get((label, label), 0)) for label in {*rows, *columns}}
    both = {label: rows.get(label, 0.0) + columns.get(label, 0.0) for label in hits}
    f1 = {label: 2 * hits[label] / both[label] if both[label] else 0.0 for label in hits}
    share = {label: rows.get(label, 0.0) / n for label in hits} if shares is None else shares
    total = sum(share[label] * f1[label] for label in hits)

    def by_sum(label: str) -> float:
        return -share[label] * 2 * hits[label] / both[label] ** 2 if both[label] else 0.0

    variance = mean_gradient = 0.0
    for (label, prediction), count in pairs.items():
        gradient = by_sum(label) + by_sum(prediction)
        if label == prediction:
            gradient += share[label] * 2 / both[label]
        if shares is None:
            gradient += (f1[label] - total) / n
        variance += float(count) * gradient**2
        mean_gradient += float(count) * gradient
    return math.sqrt(max(0.0, variance - mean_gradient**2 / n))


def of_probabilities(sums: Mapping[str, Sums], *, weighted: bool) -> dict[str, Measure]:
    """Return log loss and the macro-averaged one-vs-rest AUC.

    :param sums: for each class, one group's sums of ``scores.sql`` with that class as the positive one.
    """
    whole = sum((each["p"] for each in sums.values()), Fraction(0))
    loss = sum((each["loss_p"] for each in sums.values()), Fraction(0))
    squares = sum((each["loss_p_squares"] for each in sums.values()), Fraction(0))
    areas = {
        name: area({**sums[name], "positives": sums[name]["p"], "negatives": sums[name]["q"]}, weighted=weighted)
        for name in sums
    }
    alone = [name for name, each in areas.items() if each.value is None]
    if alone:
        macro = Measure(None, reason=f"no row, or every row, is of class {', '.join(map(repr, alone[:10]))}")
    else:
        macro = Measure(sum(each.value or 0.0 for each in areas.values()) / len(areas), reason=NO_INTERVAL)
    return {
        "log_loss": mean(loss, whole, _about(squares, loss, whole), weighted=weighted, least=0.0),
        "macro_auroc": macro,
    }


# ---------------------------------------------------------------------------------------------------- regression


def regression(sums: Sums, *, weighted: bool) -> dict[str, Measure]:
    """Return the regression metrics, from one group's row of ``errors.sql``."""
    n = sums["w"]
    if not n:
        return dict.fromkeys(METRICS["regression"], Measure(None, reason=_NO_ROWS))
    mse = mean(sums["square_sum"], n, sums["square_squares"], weighted=weighted, least=0.0)
    value, low, high = (None if end is None else math.sqrt(end) for end in (mse.value, mse.low, mse.high))
    # The derivative of sqrt(x) is 1 / (2 sqrt(x)).
    error = mse.se / (2 * value) if mse.se is not None and value else None
    rmse = Measure(value, low, high, mse.interval and f"root of the MSE's, {mse.interval}", error, reason=mse.reason)
    return {
        "rmse": rmse,
        "mse": mse,
        "mae": mean(sums["size_sum"], n, sums["size_squares"], weighted=weighted, least=0.0),
        "mape": Measure(float(sums["ratio_sum"] / n), reason=NO_INTERVAL),
        "r2": _r2(sums, weighted=weighted),
        "median_absolute_error": Measure(float(sums["median_low"] + sums["median_high"]) / 2, reason=NO_INTERVAL),
        "bias": mean(sums["error_sum"], n, sums["error_squares"], weighted=weighted),
    }


def _r2(sums: Sums, *, weighted: bool) -> Measure:
    """Return ``1 - sum(w (y - f)²) / sum(w (y - mean y)²)``; for a constant y as in scikit-learn: 1 if f = y, else 0.

    The standard error is by the delta method for a quotient of two means: with ``a = (y - f)²`` and
    ``b = (y - mean y)²`` of n rows, whose means are A and B, ``Var = (Var a + (A/B)² Var b - 2 A/B Cov(a, b)) / n B²``.
    """
    if sums["n"] < 2:
        return Measure(None, reason="R² needs at least two rows")
    spread = sums["actual_squares"] - sums["actual_sum"] ** 2 / sums["w"]
    if sums["least"] == sums["most"] or not spread:
        same = "every label is the same: R² is 1 if every prediction is correct, else 0, as in scikit-learn"
        return Measure(0.0 if sums["square_sum"] else 1.0, reason=same)
    value = float(1 - sums["square_sum"] / spread)
    if weighted:
        return Measure(value, reason=_WEIGHTED)
    n, ratio = sums["n"], sums["square_sum"] / spread
    # Central moments, from the moments about a point near the mean.
    off = sums["centred_sum"] / n
    about_point = spread + n * off**2
    fourths = sums["centred_fourths"] - 4 * off * sums["centred_cubes"] + 6 * off**2 * about_point - 3 * n * off**4
    cross_term = sums["crossed_squares"] - 2 * off * sums["crossed"] + off**2 * sums["square_sum"]
    of_errors, of_labels = sums["square_squares"], fourths - spread**2 / n
    covariance = cross_term - sums["square_sum"] * spread / n
    variance = (of_errors + ratio**2 * of_labels - 2 * ratio * covariance) / spread**2
    return Measure(value, se=math.sqrt(max(0.0, float(variance))) or None, reason=NO_INTERVAL)


# ---------------------------------------------------------------------------------------------------- Hivemall


def hivemall_binary(measures: Mapping[str, Measure], *, beta: float) -> dict[str, Measure]:
    """Return what Apache Hivemall 0.5.2 computes for the rows of :func:`binary`.

    ``auc(score, label)`` over rows ordered by score, ``logloss(score, label)``, and
    ``fmeasure(label, predicted, '-beta B -average A')`` of the labels 0 and 1, with A ``micro`` (Hivemall's default, as
    ``hivemall_fmeasure``) and ``binary``.
    """
    if measures["accuracy"].value is None:
        names = ("auc", "logloss", "fmeasure", "fmeasure_binary")
        return {f"hivemall_{name}": Measure(None, reason=_NO_ROWS) for name in names}
    tp, fp, fn, tn = (fraction(measures[name].value) for name in CONFUSION)
    return {
        "hivemall_auc": Measure(measures["auroc"].value),
        "hivemall_logloss": Measure(measures["log_loss"].value),
        "hivemall_fmeasure": Measure(f_measure(tp + tn, fp + fn, fp + fn, beta)),
        "hivemall_fmeasure_binary": Measure(f_measure(tp, fp, fn, beta)),
    }


def hivemall_multiclass(pairs: Mapping[tuple[str, str], Fraction]) -> dict[str, Measure]:
    """Return Hivemall's ``fmeasure(array(label), array(predicted))``: the micro average over classes."""
    right = sum((weight for (label, prediction), weight in pairs.items() if label == prediction), Fraction(0))
    wrong = sum(pairs.values(), Fraction(0)) - right
    return {
        "hivemall_fmeasure": Measure(f_measure(right, wrong, wrong, 1.0)) if pairs else Measure(None, reason=_NO_ROWS)
    }


def hivemall_regression(measures: Mapping[str, Measure], sums: Sums) -> dict[str, Measure]:
    """Return Hivemall's ``rmse``, ``mse``, ``mae`` and ``r2``; its R² for a constant label is always 1."""
    constant = bool(sums["w"]) and sums["least"] == sums["most"]
    return {
        **{f"hivemall_{name}": Measure(measures[name].value) for name in ("rmse", "mse", "mae")},
        "hivemall_r2": Measure(1.0) if constant else Measure(measures["r2"].value, reason=measures["r2"].reason),
    }
