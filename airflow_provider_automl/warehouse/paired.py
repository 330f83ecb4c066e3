"""Two models on the same labelled rows, compared by the warehouse: one query, and no row leaves it.

Both have predicted the same rows into a table each, which a row id tells apart. What chance did to those rows it did to
both models, and so a paired comparison sees smaller differences than two intervals side by side do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse.base import Warehouse
from airflow_provider_automl.warehouse.formulas import Z_95, delong_error, fraction, without_exception
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

#: What :func:`compare_means` compares, and the column of predictions that each reads unless told otherwise.
MEAN_METRICS = {
    "log_loss": "predicted_proba",
    "brier": "predicted_proba",
    "accuracy": "predicted_{label}",
    "mae": "predicted_{label}",
    "mse": "predicted_{label}",
}
_LOSSES = {"log_loss": "log", "brier": "squared", "accuracy": "absolute", "mae": "absolute", "mse": "squared"}

#: Rows of both tables that are left out, by why.
_LEFT_OUT = ("null_labels", "null_scores", "unknown_labels")

# As the logarithm of 0 is none; scikit-learn's long-time value.
_FLOOR = 1e-15

# What a standard error is to be taken for 0, as a share of the difference: what rounding leaves of it.
_NOTHING = 1e-12


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
    """Compare the areas under the ROC curves of two models on the rows that both have scored, by DeLong's paired test.

    The areas are exact, with ties counted half. The variance of their difference is DeLong's, with the covariance of
    both models' placements [1]_ from mid-ranks in O(n log n) [2]_; the difference divided by its standard error is
    taken for normal. ``p_greater`` is the probability of such a difference or a greater one if the challenger were no
    better; ``p_value`` that of one so far from 0 on either side. The interval is ``difference ± 1.959963984540054 *
    difference_se``, cut to [-1, 1].

    Where the variance is estimated as 0 there is no such test. If the models order the rows alike, the difference is 0,
    ``z`` is 0, and the interval is the one-sided 95 % bound either way that m = min(positives, negatives) pairs without
    a difference allow: ``1 - 0.05 ** (1 / m)``, about 3 / m [3]_. If they differ alike on every row, there is no
    interval and no p-value. ``reason`` says so in either case.

    :param champion_table: a table of predictions, or a query of them.
    :param challenger_table: another one, of the same rows.
    :param row_id: a column of both that tells rows apart: whole numbers, text, dates, but no floating numbers.
    :param label: the column of true classes, in both tables. They must say the same.
    :param score: the champion's column of scores, high for the positive class.
    :param positive_class: the class that is positive, as in :func:`~.measures.auc`.
    :param challenger_score: the challenger's column of scores; None: named as the champion's.
    :param max_unmatched: the largest share of row ids that only one table has (NULL ids count), from 0 to 1.
    :param classes: the labels that have a meaning, with or without ``positive_class``: rows of others are left out and
        counted. None: every label that is not positive is negative.
    :param max_unknown_labels: the largest share of such rows, of those of both tables that have a label.
    :returns: floats, never NaN: ``champion_auroc``, ``challenger_auroc``, ``difference`` (challenger minus champion),
        ``difference_low``, ``difference_high``, ``difference_se``, ``champion_se``, ``challenger_se``, ``z``,
        ``p_value``, ``p_greater``, of which all but the first three are None, with the reason in ``reason``, where
        there are fewer than two positives or negatives; ``rows``, ``positives``, ``negatives`` that were compared;
        ``unmatched`` (row ids in one table only, and rows without one), ``unmatched_share``; ``champion_only``,
        ``challenger_only``, ``null_ids``; rows of both that were left out: ``rows_skipped``, of them ``null_labels``
        and ``null_scores`` (NULL or NaN in either table), ``unknown_labels`` (of no class).
    :raises InputError: no such table or column; row ids that occur twice, too many that are unmatched, labels that
        contradict each other or are of no class (each with its count); one class only; whatever
        :func:`~.measures.auc` refuses.

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
            "AUC compares two classes."
        )
    return _areas(counts) | matching


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
    """Compare two models by a measure that is a mean over rows, on the rows that both have predicted.

    The difference of the means is the mean of the differences row by row. Its standard error is their standard
    deviation (with n - 1) divided by the root of n; the interval is ``difference ± 1.959963984540054 *
    difference_se``, and the test that of a normal mean (the "paired z-test"): right for large n.

    :param metric: ``log_loss`` (probabilities clipped to 1e-15 from 0 and 1), ``brier``: of a column of the positive
        class's probability; ``accuracy``: of a column of predicted classes; ``mae``, ``mse``: of a column of numbers.
    :param prediction: that column of the champion's; None: ``predicted_proba`` or ``predicted_<label>``, as predictions
        write them.
    :param positive_class: of ``log_loss`` and ``brier``.
    :param challenger_prediction: the challenger's column; None: named as the champion's.
    :param classes: as of :func:`compare_auc`; not of ``mae`` and ``mse``.
    :returns: as of :func:`compare_auc`, with ``champion`` and ``challenger`` for the two means in place of the areas,
        without their standard errors and the classes' counts. ``difference`` is by how much the challenger is better:
        the champion's mean loss minus the challenger's, or the challenger's accuracy minus the champion's. Where all
        differences are 0 there is a bound as there of ``accuracy`` and ``brier`` only, with m = rows: other losses have
        no limit.
    :raises InputError: an unknown metric; a probability outside of [0, 1]; infinite numbers; no row to compare; and
        what :func:`compare_auc` refuses.
    """
    if metric not in MEAN_METRICS:
        raise InputError(f"metric is {metric!r}: give one of {', '.join(MEAN_METRICS)}.")
    _check_share(max_unmatched)
    of_probabilities = metric in ("log_loss", "brier")
    if of_probabilities and positive_class is None:
        raise InputError(f"{metric} needs positive_class: the class whose probability the predictions are.")
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
    measured = ("_sum", "_squares", "_predicted")  # which may be infinite
    counts = {name: fraction(count) for name, count in found.items() if not name.endswith(measured)}
    matching = _matching(counts, where, row_id, label, max_unmatched)
    refuse_unknown(
        warehouse, challenger_table, where[1], label, classes or (), matching["unknown_labels"],
        int(counts["matched"]) - matching["null_labels"], max_unknown_labels,
    )  # fmt: skip
    if of_probabilities:
        for bound in ("least_predicted", "most_predicted"):
            value = found[bound]
            if value is not None and not 0 <= _float(value) <= 1:
                raise InputError(f"A prediction is {value!r}, no probability: {metric} needs numbers from 0 to 1.")
    n = int(counts["n"])
    if not n:
        raise InputError(
            f"{where[0]} and {where[1]} share {int(counts['matched'])} rows, none of which has a label and a "
            "prediction of both models: there is nothing to compare."
        )
    return _means(found, n, metric=metric) | matching


# ------------------------------------------------------------------------------------------------ what was found


def _areas(counts: dict[str, Fraction]) -> dict[str, Any]:
    """Put areas, difference and test together from what the query counted, without any rounding in between."""
    positives, negatives = counts["positives"], counts["negatives"]

    def area(side: str) -> Fraction:
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
        test, reason = _test(difference, error("gain"), alike, _no_more(int(min(positives, negatives))))
        for end, limit in (("difference_low", -1.0), ("difference_high", 1.0)):
            if (value := test[end]) is not None:
                test[end] = max(value, limit) if limit < 0 else min(value, limit)
    return {
        "champion_auroc": float(area("champion")),
        "challenger_auroc": float(area("challenger")),
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
        raise InputError("A label or a prediction is infinite, or too large to be squared: no mean can be compared.")
    if metric == "accuracy":
        champion, challenger = 1 - champion, 1 - challenger
    reason = None
    if n < 2:
        reason = "there is only one row: a test needs at least two"
        test = _untested()
    else:
        error = math.sqrt(squares / n / n / (n - 1) / n)
        bound = _no_more(n) if metric in ("accuracy", "brier") else None  # of the others no loss is too large
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


def _no_more(pairs: int) -> float:
    """So often at most (95 %) do two models differ that did not on so many independent pairs, or rows."""
    return 1 - without_exception(pairs)


def _test(
    difference: float, error: float, alike: bool, bound: float | None
) -> tuple[dict[str, float | None], str | None]:
    """The normal test of a difference, and what stands in for it where there is no variance."""
    if alike:
        none = {"difference_se": 0.0, "z": 0.0, "p_value": 1.0, "p_greater": 0.5}
        ends = {"difference_low": None if bound is None else -bound, "difference_high": bound}
        return ends | none, "the two models do alike on every row, of which there is no test"
    if error <= _NOTHING * abs(difference):
        return _untested() | {"difference_se": 0.0}, "the two models differ alike on every row: the variance is unknown"
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
    """The probability that a standard normal variable is ``z`` or greater."""
    return math.erfc(z / math.sqrt(2)) / 2


def _matching(
    counts: dict[str, Fraction], where: tuple[str, str], row_id: str, label: str, max_unmatched: float
) -> dict[str, Any]:
    """How the rows of both tables match.

    :raises InputError: not as a paired comparison needs it.
    """
    names = ("champion_only", "challenger_only", "null_ids", "matched", *_LEFT_OUT)
    count = {name: int(counts[name]) for name in names}
    for side, table in zip(("champion", "challenger"), where, strict=True):
        if twice := int(counts[f"{side}_duplicates"]):
            raise InputError(
                f"{twice:,} values of the row id column {row_id!r} occur more than once in {table}: name a column that "
                "tells all rows apart."
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
            f"NULL: {count['null_ids']:,}), and at most {max_unmatched:.1%} may be: have both models predict the same "
            "rows, or raise max_unmatched."
        )
    if contradictions := int(counts["contradictions"]):
        raise InputError(
            f"{contradictions:,} of {count['matched']:,} rows have another label in {label!r} of {where[0]} than in "
            f"that of {where[1]}: predict the same table by both models, and name a row id that means one row in both."
        )
    return {
        "unmatched": unmatched,
        "unmatched_share": share,
        **{name: count[name] for name in ("champion_only", "challenger_only", "null_ids")},
        "rows_skipped": sum(count[name] for name in _LEFT_OUT),
        **{name: count[name] for name in _LEFT_OUT},
    }


def _unknown(columns: dict[str, str], label: str, classes: Sequence[object] | None, positive: object) -> exp.Expression:
    """1 where a label is none of the classes, else 0."""
    if classes is None:
        return _is_unknown(None)
    return _is_unknown(_known(columns, label, [*([] if positive is None else [positive]), *classes]))


# ------------------------------------------------------------------------------------------------ what was given


def _named(table: str | Query, side: str) -> str:
    return table if isinstance(table, str) else f"the {side}'s query"


def _check_share(max_unmatched: float) -> None:
    if not 0 <= max_unmatched <= 1:
        raise InputError(f"max_unmatched is {max_unmatched!r}: give a share from 0 to 1, such as 0.01.")


def _row_id(columns: dict[str, str], name: str, what: str) -> tuple[str, str]:
    """The row id column and what its values are, as far as the values of two tables can be equal."""
    column = _column(columns, name, "row id", what)
    kind = columns[column]
    if kind in ("REAL", "DOUBLE"):
        raise InputError(
            f"The row id column {column!r} of {what} is {kind}: floating numbers tell rows apart by chance only. Name "
            "a column of whole numbers, text or dates, or cast it."
        )
    whole = kind.endswith(("INT", "INTEGER"))
    return column, "whole numbers" if whole else kind.partition("(")[0]


def _check_ids(ids: list[tuple[str, str]], row_id: str) -> None:
    (_, champion), (_, challenger) = ids
    if champion != challenger:
        raise InputError(
            f"The row id column {row_id!r} is {champion} in the champion's predictions and {challenger} in the "
            "challenger's, which are never equal: cast one of them."
        )


def _actual_and_predicted(
    metric: str, columns: dict[str, str], label: str, prediction: str, what: str, positive_class: object
) -> tuple[exp.Expression, exp.Expression, exp.Expression]:
    """What tells labels apart, and the two numbers whose distance is the loss: NULL or NaN where there is none."""
    from sqlglot import exp

    from airflow_provider_automl.sql import literal

    def column(name: str) -> exp.Expression:
        kind = "DOUBLE" if _is_numeric(columns[name]) else "VARCHAR"
        return exp.cast(exp.column(exp.to_identifier(name, quoted=True)), kind)

    def flag(is_so: exp.Expression, *of: str) -> exp.Expression:
        """1 or 0; NULL where one of these columns is, and NaN where it is NaN: added as zero times itself."""
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
                f"{columns[prediction]}: accuracy needs predicted classes of the label's own kind."
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
