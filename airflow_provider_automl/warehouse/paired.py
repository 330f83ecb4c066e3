"""Paired comparison of two models on the same labelled rows, by a single query in the warehouse.

Each model's predictions are in a separate table, joined by a row id. Sampling noise affects both models alike, so
a paired comparison detects smaller differences than a comparison of two separate intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.metrics import Z_95
from airflow_provider_automl.warehouse.base import Warehouse
from airflow_provider_automl.warehouse.formulas import delong_error, fraction, without_exception
from airflow_provider_automl.warehouse.measures import (
    _column,
    _compared,
    _is_numeric,
    _is_unknown,
    _known,
    _require_number,
    refuse_unknown,
)
from airflow_provider_automl.warehouse.query import Query

if TYPE_CHECKING:
    from sqlglot import exp

#: The metrics of :func:`compare_means`, with their default column of predictions.
MEAN_METRICS = {
    "log_loss": "predicted_proba",
    "brier": "predicted_proba",
    "accuracy": "predicted_{label}",
    "mae": "predicted_{label}",
    "mse": "predicted_{label}",
}
_LOSSES = {"log_loss": "log", "brier": "squared", "accuracy": "absolute", "mae": "absolute", "mse": "squared"}

#: Why matched rows are skipped.
_SKIPPED = ("null_labels", "null_scores", "unknown_labels")

# Probabilities are clipped to avoid log(0); this was scikit-learn's value for a long time.
_FLOOR = 1e-15

# A standard error below this share of the difference counts as 0, since it is only rounding.
_NEGLIGIBLE = 1e-12


def compare_auc(
    warehouse: Warehouse,
    champion_table: str | Query,
    challenger_table: str | Query,
    *,
    row_id: str,
    label: str,
    score: str = "predicted_proba",
    positive_class: object,
    challenger_score: str | None = None,
    max_unmatched: float = 0.01,
    classes: Sequence[object] | None = None,
    max_unknown_labels: float = 1.0,
) -> dict[str, Any]:
    """Compare the AUCs of two models on the rows that both have scored, with DeLong's paired test.

    The AUCs are exact, with ties counted half. The variance of their difference is DeLong's, including the covariance
    of both models' placements [1]_, from mid-ranks in O(n log n) [2]_; the difference divided by its standard error is
    assumed to be normal. ``p_greater`` is the probability of this difference or a greater one if the challenger were
    not better (one-sided); ``p_value`` is the two-sided one. The interval is ``difference ± 1.959963984540054 *
    difference_se``, clipped to [-1, 1].

    If the estimated variance is 0, that test does not exist. If both models order the rows identically, the difference
    and ``z`` are 0, and the interval is, in both directions, the one-sided 95 % bound for m = min(positives, negatives)
    pairs without a difference: ``1 - 0.05 ** (1 / m)``, about 3 / m [3]_. If they differ by the same amount on every
    row, there is no interval and no p-value. ``reason`` reports both cases.

    :param champion_table: a table of predictions, or a query that returns them.
    :param challenger_table: the same for the challenger, with the same rows.
    :param row_id: a unique column of both tables: integers, text or dates, but not floating-point numbers.
    :param label: the column of true classes in both tables, which must agree.
    :param score: the champion's column of scores, high for the positive class.
    :param positive_class: the positive class, as in :func:`~.measures.auc`.
    :param challenger_score: the challenger's column of scores; None: the same name as the champion's.
    :param max_unmatched: the maximum share of row ids that only one table has, including NULL ids, from 0 to 1.
    :param classes: the known labels, with or without ``positive_class``: rows with others are skipped and counted.
        None: every label that is not positive is negative.
    :param max_unknown_labels: the maximum share of rows with unknown labels among the matched rows with a label.
    :returns: floats, never NaN: ``champion_auroc``, ``challenger_auroc``, ``difference`` (challenger minus champion),
        ``difference_low``, ``difference_high``, ``difference_se``, ``champion_se``, ``challenger_se``, ``z``,
        ``p_value``, ``p_greater``, of which all but the first three are None, with the reason in ``reason``, if
        there are fewer than two positives or negatives; the compared ``rows``, ``positives``, ``negatives``;
        ``unmatched`` (row ids in only one table, and rows with a NULL id), ``unmatched_share``; ``champion_only``,
        ``challenger_only``, ``null_ids``; matched rows that were skipped: ``rows_skipped``, of them ``null_labels``
        and ``null_scores`` (NULL or NaN in either table), ``unknown_labels``.
    :raises InputError: no such table or column; duplicate row ids, or too many unmatched row ids or unknown labels, or
        contradicting labels (each with its count); only one class; any other error of :func:`~.measures.auc`.

    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson. Comparing the areas under two or more correlated receiver
       operating characteristic curves: a nonparametric approach. Biometrics 44 (1988), 837-845.
    .. [2] X. Sun, W. Xu. Fast implementation of DeLong's algorithm for comparing the areas under correlated receiver
       operating characteristic curves. IEEE Signal Processing Letters 21 (2014), 1389-1393.
    .. [3] J. A. Hanley, A. Lippman-Hand. If nothing goes wrong, is everything all right? JAMA 249 (1983), 1743-1745.
    """
    _check_share(max_unmatched)
    given: dict[str, object] = {}
    ids = []
    sides = (("champion", champion_table, score), ("challenger", challenger_table, challenger_score or score))
    for side, table, scores in sides:
        columns, what = warehouse.columns(table), _named(table, side)
        target = _column(columns, label, "label", what)
        column = _column(columns, scores, "score", what)
        if column == target:
            raise InputError(f"The score column {column!r} of {what} is the label itself: name the model's score.")
        _require_number(columns, column, "score", what, target)
        value, number, positive = _compared(target, columns[target], positive_class)
        ids.append(_row_id(columns, row_id, what))
        given |= {
            side: table,
            f"{side}_id": ids[-1][0],
            f"{side}_label": value,
            f"{side}_number": number,
            f"{side}_positive": positive,
            f"{side}_score": column,
            f"{side}_unknown": _unknown(columns, target, classes, positive_class),
        }
    _check_ids(ids, row_id)
    (found,) = warehouse.run("paired_auc", **given)
    counts = {name: fraction(count) for name, count in found.items()}
    where = (_named(champion_table, "champion"), _named(challenger_table, "challenger"))
    matching = _matching(counts, where, row_id, label, max_unmatched)
    refuse_unknown(
        warehouse, challenger_table, where[1], label, classes or (), matching["unknown_labels"],
        int(counts["matched"]) - matching["null_labels"], max_unknown_labels,
    )  # fmt: skip
    if not counts["positives"] or not counts["negatives"]:
        raise InputError(
            f"{where[0]} and {where[1]} have {int(counts['positives'])} rows of the positive class {positive_class!r} "
            f"in {label!r} and {int(counts['negatives'])} of others, among {int(counts['matched'])} that both have: "
            "AUC needs both classes."
        )
    return _auc_entries(counts) | matching


def compare_means(
    warehouse: Warehouse,
    champion_table: str | Query,
    challenger_table: str | Query,
    *,
    metric: str,
    row_id: str,
    label: str,
    prediction: str | None = None,
    positive_class: object = None,
    challenger_prediction: str | None = None,
    max_unmatched: float = 0.01,
    classes: Sequence[object] | None = None,
    max_unknown_labels: float = 1.0,
) -> dict[str, Any]:
    """Compare two models by a metric that is a mean over rows, on the rows that both have predicted.

    The difference of the means is the mean of the differences per row. Its standard error is their standard deviation
    (with n - 1) divided by the square root of n; the interval is ``difference ± 1.959963984540054 * difference_se``,
    and the test is the paired z-test, which is valid for large n.

    :param metric: ``log_loss`` (probabilities clipped to 1e-15 from 0 and 1) or ``brier``, for a column of the positive
        class's probability; ``accuracy``, for a column of predicted classes; ``mae`` or ``mse``, for numbers.
    :param prediction: the champion's column of predictions; None: ``predicted_proba`` or ``predicted_<label>``, the
        names in prediction tables.
    :param positive_class: for ``log_loss`` and ``brier``: the positive class.
    :param challenger_prediction: the challenger's column; None: the same name as the champion's.
    :param classes: as in :func:`compare_auc`; not for ``mae`` and ``mse``.
    :returns: as :func:`compare_auc`, with the means ``champion`` and ``challenger`` instead of the AUCs, and without
        their standard errors and the counts of classes. A positive ``difference`` means that the challenger is better:
        the champion's mean loss minus the challenger's, or the challenger's accuracy minus the champion's. If all
        differences are 0, only ``accuracy`` and ``brier`` have an interval, with m = rows: other losses are unbounded.
    :raises InputError: an unknown metric; a probability outside [0, 1]; infinite numbers; no row to compare; any other
        error of :func:`compare_auc`.
    """
    if metric not in MEAN_METRICS:
        raise InputError(f"metric is {metric!r}: give one of {', '.join(MEAN_METRICS)}.")
    _check_share(max_unmatched)
    of_probabilities = metric in ("log_loss", "brier")
    if of_probabilities and positive_class is None:
        raise InputError(f"{metric} needs positive_class, the class whose probability was predicted.")
    given: dict[str, object] = {"loss": _LOSSES[metric], "floor": _FLOOR, "ceiling": 1 - _FLOOR}
    ids = []
    for side, table, named in (
        ("champion", champion_table, prediction),
        ("challenger", challenger_table, challenger_prediction or prediction),
    ):
        columns, what = warehouse.columns(table), _named(table, side)
        target = _column(columns, label, "label", what)
        column = _column(columns, named or MEAN_METRICS[metric].format(label=target), "prediction", what)
        if column == target:
            raise InputError(f"The prediction column {column!r} of {what} is the label itself: name the model's own.")
        key, actual, predicted = _actual_and_predicted(metric, columns, target, column, what, positive_class)
        ids.append(_row_id(columns, row_id, what))
        given |= {
            side: table,
            f"{side}_id": ids[-1][0],
            f"{side}_label": key,
            f"{side}_actual": actual,
            f"{side}_predicted": predicted,
            f"{side}_unknown": _unknown(columns, target, classes, positive_class),
        }
    _check_ids(ids, row_id)
    (found,) = warehouse.run("paired_means", **given)
    where = (_named(champion_table, "champion"), _named(challenger_table, "challenger"))
    sums = ("_sum", "_squares", "_predicted")  # may be infinite
    counts = {name: fraction(count) for name, count in found.items() if not name.endswith(sums)}
    matching = _matching(counts, where, row_id, label, max_unmatched)
    refuse_unknown(
        warehouse, challenger_table, where[1], label, classes or (), matching["unknown_labels"],
        int(counts["matched"]) - matching["null_labels"], max_unknown_labels,
    )  # fmt: skip
    if of_probabilities:
        for bound in ("least_predicted", "most_predicted"):
            value = found[bound]
            if value is not None and not 0 <= _float(value) <= 1:
                raise InputError(f"A prediction is {value!r}: {metric} needs probabilities from 0 to 1.")
    n = int(counts["n"])
    if not n:
        raise InputError(
            f"{where[0]} and {where[1]} share {int(counts['matched'])} rows, but none has a label and predictions of "
            "both models: there is nothing to compare."
        )
    return _means(found, n, metric=metric) | matching


# ------------------------------------------------------------------------------------------------ results


def _auc_entries(counts: dict[str, Fraction]) -> dict[str, Any]:
    """Compute AUCs, difference and test from the query's counts, without intermediate rounding."""
    positives, negatives = counts["positives"], counts["negatives"]

    def auc(side: str) -> Fraction:
        return 1 - counts[f"{side}_over_sum"] / (positives * negatives)

    def error(of: str) -> float:
        return delong_error(counts, positives, negatives, f"{of}_")

    difference = float(counts["gain_over_sum"] / (positives * negatives))
    reason = None
    errors: dict[str, float | None] = dict.fromkeys(("champion_se", "challenger_se"))
    if positives < 2 or negatives < 2:
        few = "positive" if positives < 2 else "negative"
        reason = f"there is only one {few} row: a test needs at least two of each class"
        test = _untested()
    else:
        errors = {f"{side}_se": error(side) for side in ("champion", "challenger")}
        alike = not counts["gain_over_squares"] and not counts["gain_under_squares"]
        test, reason = _test(difference, error("gain"), alike, _difference_bound(int(min(positives, negatives))))
        for end, limit in (("difference_low", -1.0), ("difference_high", 1.0)):
            if (value := test[end]) is not None:
                test[end] = max(value, limit) if limit < 0 else min(value, limit)
    return {
        "champion_auroc": float(auc("champion")),
        "challenger_auroc": float(auc("challenger")),
        "difference": difference,
        **test,
        **errors,
        "rows": int(positives + negatives),
        "positives": int(positives),
        "negatives": int(negatives),
        "reason": reason,
    }


def _means(found: dict[str, Any], n: int, *, metric: str) -> dict[str, Any]:
    champion, challenger, difference = (_float(found[f"{name}_sum"]) / n for name in ("champion", "challenger", "gain"))
    squares = _float(found["deviation_squares"])
    if not all(math.isfinite(value) for value in (champion, challenger, difference, squares)):
        raise InputError("A label or a prediction is infinite, or too large to be squared: exclude it with a query.")
    if metric == "accuracy":
        champion, challenger = 1 - champion, 1 - challenger
    reason = None
    if n < 2:
        reason = "there is only one row: a test needs at least two"
        test = _untested()
    else:
        error = math.sqrt(squares / n / n / (n - 1) / n)
        bound = _difference_bound(n) if metric in ("accuracy", "brier") else None  # other losses are unbounded
        test, reason = _test(difference, error, not error and not difference, bound)
    return {
        "champion": champion,
        "challenger": challenger,
        "difference": difference,
        **test,
        "rows": n,
        "reason": reason,
    }


def _untested() -> dict[str, float | None]:
    return dict.fromkeys(("difference_low", "difference_high", "difference_se", "z", "p_value", "p_greater"))


def _difference_bound(pairs: int) -> float:
    """Return the 95 % bound of a difference, if all of these independent pairs (or rows) show none."""
    return 1 - without_exception(pairs)


def _test(
    difference: float, error: float, alike: bool, bound: float | None
) -> tuple[dict[str, float | None], str | None]:
    """Return the z-test of a difference, or its substitute and the reason if there is no variance."""
    if alike:
        none = {"difference_se": 0.0, "z": 0.0, "p_value": 1.0, "p_greater": 0.5}
        ends = {"difference_low": None if bound is None else -bound, "difference_high": bound}
        return ends | none, "the two models perform identically on every row: there is no variance to test with"
    if error <= _NEGLIGIBLE * abs(difference):
        reason = "the two models differ by the same amount on every row: the variance is unknown"
        return _untested() | {"difference_se": 0.0}, reason
    z = difference / error
    return {
        "difference_low": difference - Z_95 * error,
        "difference_high": difference + Z_95 * error,
        "difference_se": error,
        "z": z,
        "p_value": math.erfc(abs(z) / math.sqrt(2)),
        "p_greater": greater(z),
    }, None


def greater(z: float) -> float:
    """Return the probability that a standard normal variable is ``z`` or greater."""
    return math.erfc(z / math.sqrt(2)) / 2


def _matching(
    counts: dict[str, Fraction], where: tuple[str, str], row_id: str, label: str, max_unmatched: float
) -> dict[str, Any]:
    """Return the counts of matched, unmatched and skipped rows of both tables.

    :raises InputError: they do not allow a paired comparison.
    """
    names = ("champion_only", "challenger_only", "null_ids", "matched", *_SKIPPED)
    count = {name: int(counts[name]) for name in names}
    for side, table in zip(("champion", "challenger"), where, strict=True):
        if twice := int(counts[f"{side}_duplicates"]):
            raise InputError(
                f"{twice:,} values of the row id column {row_id!r} occur more than once in {table}: name a unique "
                "column."
            )
    unmatched = count["champion_only"] + count["challenger_only"] + count["null_ids"]
    every = unmatched + count["matched"]
    if not every:
        raise InputError(f"{where[0]} and {where[1]} are empty: there is nothing to compare.")
    share = unmatched / every
    if share > max_unmatched or not count["matched"]:
        raise InputError(
            f"{unmatched:,} of {every:,} row ids ({share:.1%}) in {row_id!r} are in one table only "
            f"({where[0]}: {count['champion_only']:,}, {where[1]}: {count['challenger_only']:,}, "
            f"NULL: {count['null_ids']:,}), and max_unmatched is {max_unmatched:.1%}: have both models predict the "
            "same rows, or raise max_unmatched."
        )
    if contradictions := int(counts["contradictions"]):
        raise InputError(
            f"{contradictions:,} of {count['matched']:,} rows have different labels in {label!r} of {where[0]} and "
            f"{where[1]}: predict the same table with both models, and name a row id that identifies the same row in "
            "both."
        )
    return {
        "unmatched": unmatched,
        "unmatched_share": share,
        **{name: count[name] for name in ("champion_only", "challenger_only", "null_ids")},
        "rows_skipped": sum(count[name] for name in _SKIPPED),
        **{name: count[name] for name in _SKIPPED},
    }


def _unknown(columns: dict[str, str], label: str, classes: Sequence[object] | None, positive: object) -> exp.Expression:
    """Return a SQL expression: 1 if a label is none of the classes, else 0."""
    if classes is None:
        return _is_unknown(None)
    return _is_unknown(_known(columns, label, [*([] if positive is None else [positive]), *classes]))


# ------------------------------------------------------------------------------------------------ arguments


def _named(table: str | Query, side: str) -> str:
    return table if isinstance(table, str) else f"the {side}'s query"


def _check_share(max_unmatched: float) -> None:
    if not 0 <= max_unmatched <= 1:
        raise InputError(f"max_unmatched is {max_unmatched!r}: give a share from 0 to 1, such as 0.01.")


def _row_id(columns: dict[str, str], name: str, what: str) -> tuple[str, str]:
    """Return the row id column and its kind of values; only values of the same kind can be equal."""
    column = _column(columns, name, "row id", what)
    kind = columns[column]
    if kind in ("REAL", "DOUBLE"):
        raise InputError(
            f"The row id column {column!r} of {what} is {kind}: floating-point numbers do not identify rows reliably. "
            "Name a column of integers, text or dates, or cast it."
        )
    whole = kind.endswith(("INT", "INTEGER"))
    return column, "an integer" if whole else kind.partition("(")[0]


def _check_ids(ids: list[tuple[str, str]], row_id: str) -> None:
    (_, champion), (_, challenger) = ids
    if champion != challenger:
        raise InputError(
            f"The row id column {row_id!r} is {champion} in the champion's predictions and {challenger} in the "
            "challenger's, so no row ids match: cast one of them."
        )


def _actual_and_predicted(
    metric: str, columns: dict[str, str], label: str, prediction: str, what: str, positive_class: object
) -> tuple[exp.Expression, exp.Expression, exp.Expression]:
    """Return SQL expressions: the label to compare, and the two numbers whose distance is the loss (or NULL or NaN)."""
    from sqlglot import exp

    from airflow_provider_automl.sql import literal

    def column(name: str) -> exp.Expression:
        kind = "DOUBLE" if _is_numeric(columns[name]) else "VARCHAR"
        return exp.cast(exp.column(exp.to_identifier(name, quoted=True)), kind)

    def flag(is_so: exp.Expression, *of: str) -> exp.Expression:
        """Return a SQL expression: 1 or 0, or NULL or NaN if one of these columns is, by adding it times zero."""
        cases = exp.case()
        for name in of:
            cases = cases.when(column(name).is_(exp.null()), exp.null())
        total: exp.Expression = exp.paren(cases.when(is_so, "1").else_("0"))
        for name in of:
            if _is_numeric(columns[name]):
                total = exp.Add(this=total, expression=exp.Mul(this=column(name), expression=exp.Literal.number(0)))
        return total

    numeric = _is_numeric(columns[label])
    if metric == "accuracy":
        if numeric != _is_numeric(columns[prediction]):
            raise InputError(
                f"The label column {label!r} of {what} is {columns[label]} and the prediction {prediction!r} is "
                f"{columns[prediction]}: accuracy needs predicted classes of the label's type."
            )
        always = exp.EQ(this=exp.Literal.number(1), expression=exp.Literal.number(1))
        right = column(label).eq(column(prediction))
        return column(label), flag(always, label), flag(right, label, prediction)
    _require_number(columns, prediction, "prediction", what, label)
    if metric in ("mae", "mse"):
        _require_number(columns, label, "label", what, label)
        return column(label), column(label), column(prediction)
    value, _, positive = _compared(label, columns[label], positive_class)
    return column(label), flag(value.eq(literal(positive)), label), column(prediction)


def _float(value: object) -> float:
    return float("nan") if value is None else float(str(value))
