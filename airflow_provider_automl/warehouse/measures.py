"""Measures of a model, counted by the warehouse over a table of predictions."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse.base import Query, Warehouse

if TYPE_CHECKING:
    from sqlglot import exp

#: The 97.5 % quantile of the normal distribution.
Z_95 = 1.959963984540054

_INTEGERS = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)$")
_FLOATS = re.compile(r"(REAL|DOUBLE|DECIMAL)$")
_DECIMALS = re.compile(r"DECIMAL\(")
_TIMES = re.compile(r"(DATE|TIMESTAMP\w*)$")
_MOST_CLASSES = 10


def auc(warehouse: Warehouse, table: str | Query, *, label: str, score: str, positive_class: object) -> dict[str, Any]:
    """Return the area under the ROC curve, exact with ties counted half, and its 95 % confidence interval.

    One query, one scan. It equals scikit-learn's ``roc_auc_score`` to the last digit or two; the standard error is
    DeLong's [1]_. The interval is ``auroc ± 1.959963984540054 * auroc_se``, cut to [0, 1].

    Of an AUC of exactly 1 the variance is estimated as 0, which would be an interval without width. It gets a
    one-sided 95 % bound instead: with m = min(positives, negatives), m disjoint pairs of a positive and a negative are
    independent, each is ordered rightly with probability of at most the true AUC, and all m were. An AUC below
    ``0.05 ** (1 / m)`` would do that in less than 5 % of cases [2]_ (about 1 - 3/m, the "rule of three" [3]_). The
    bound is conservative: it uses m of the pairs only. An AUC of exactly 0 is the mirror image.

    :param table: a table of predictions, or a query of them.
    :param label: the column of true classes. NULL and NaN are counted and left out, not taken as negatives.
    :param score: a numeric column that is high for the positive class. NULL and NaN are counted and left out;
        infinities are ordinary values.
    :param positive_class: the class that is positive; all others are negative. It is read as the column's type: for
        a column of integers ``"1"`` and ``1`` are the same. In text every character counts, leading spaces too.
    :returns: ``auroc``, ``auroc_low``, ``auroc_high``, ``auroc_se`` (floats, never NaN; all but ``auroc`` are None,
        with the reason in ``reason``, if there are fewer than two positives or negatives), ``positives``,
        ``negatives``, ``rows_evaluated``, ``rows_skipped``, and of the skipped ones ``null_labels``, ``nan_labels``,
        ``null_scores``, ``nan_scores`` (a row may be counted in a label's and in a score's).
    :raises InputError: there is no such table or column; the score is the label itself or not numeric; the positive
        class cannot be a value of the column or never occurs; there is one class only, or no row to evaluate.

    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson. Comparing the areas under two or more correlated receiver
       operating characteristic curves: a nonparametric approach. Biometrics 44 (1988), 837-845.
    .. [2] C. J. Clopper, E. S. Pearson. The use of confidence or fiducial limits illustrated in the case of the
       binomial. Biometrika 26 (1934), 404-413.
    .. [3] J. A. Hanley, A. Lippman-Hand. If nothing goes wrong, is everything all right? JAMA 249 (1983), 1743-1745.
    """
    columns = warehouse.columns(table)
    what = table if isinstance(table, str) else "the query"
    label = _column(columns, label, "label", what)
    score = _column(columns, score, "score", what)
    if label == score:
        raise InputError(
            f"The score column {score!r} is the label itself: name the column that holds the model's score."
        )
    if not _is_numeric(columns[score]):
        numeric = [name for name, kind in columns.items() if _is_numeric(kind) and name != label]
        choices = f"numeric columns are {', '.join(map(repr, numeric))}" if numeric else "no column is numeric"
        raise InputError(f"The score column {score!r} of {what} is {columns[score]}, not a number; {choices}.")
    value, number, positive = _compared(label, columns[label], positive_class)
    (found,) = warehouse.run("auc", source=table, score=score, label=value, label_number=number, positive=positive)
    counts = {name: Fraction(str(count)) if count is not None else Fraction(0) for name, count in found.items()}
    positives, negatives = counts["positives"], counts["negatives"]
    if not positives or not negatives:
        raise InputError(_why_not(warehouse, table, what, label, score, positive_class, int(positives), int(negatives)))
    return _measures(counts)


def _measures(counts: dict[str, Fraction]) -> dict[str, Any]:
    """Put AUC, standard error and interval together from what the query counted, without any rounding in between."""
    positives, negatives = counts["positives"], counts["negatives"]
    exact = 1 - counts["over_sum"] / (positives * negatives)
    area = float(exact)
    error = low = high = reason = None
    if positives < 2 or negatives < 2:
        few = "positive" if positives < 2 else "negative"
        reason = f"there is only one {few} row: an interval needs at least two of each class"
    elif exact in (0, 1):
        error = 0.0
        bound = 0.05 ** (1 / float(min(positives, negatives)))
        low, high = (bound, 1.0) if exact == 1 else (0.0, 1.0 - bound)
    else:
        spread_p = (counts["over_squares"] - counts["over_sum"] ** 2 / positives) / negatives**2
        spread_q = (counts["under_squares"] - counts["under_sum"] ** 2 / negatives) / positives**2
        variance = spread_p / (positives * (positives - 1)) + spread_q / (negatives * (negatives - 1))
        error = math.sqrt(max(0.0, float(variance)))
        low, high = max(0.0, area - Z_95 * error), min(1.0, area + Z_95 * error)
    evaluated = int(positives + negatives)
    return {
        "auroc": area,
        "auroc_low": low,
        "auroc_high": high,
        "auroc_se": error,
        "positives": int(positives),
        "negatives": int(negatives),
        "rows_evaluated": evaluated,
        "rows_skipped": int(counts["n"]) - evaluated,
        "null_labels": int(counts["null_labels"]),
        "nan_labels": int(counts["nan_labels"]),
        "null_scores": int(counts["null_scores"]),
        "nan_scores": int(counts["nan_scores"]),
        "reason": reason,
    }


def _column(columns: dict[str, str], name: str, role: str, what: str) -> str:
    """Return a column as the table spells it: the exact name, else the one that differs only in case."""
    from difflib import get_close_matches

    if name in columns:
        return name
    by_fold = {column.lower(): column for column in columns}
    if found := by_fold.get(str(name).lower()):
        return found
    near = get_close_matches(str(name).lower(), by_fold, n=1, cutoff=0.5)
    hint = f"the nearest is {by_fold[near[0]]!r}" if near else f"its columns are {', '.join(map(repr, columns))}"
    raise InputError(f"{what} has no {role} column {name!r}; {hint}.")


def _is_numeric(kind: str) -> bool:
    return bool(_INTEGERS.match(kind) or _FLOATS.match(kind) or _DECIMALS.match(kind))


def _compared(label: str, kind: str, positive: object) -> tuple[exp.Expression, exp.Expression, object]:
    """Return how a label is compared with the positive class: the label, the label where it may be NaN, the value."""
    from sqlglot import exp

    column = exp.column(exp.to_identifier(label, quoted=True))
    never_nan = exp.cast(exp.null(), "DOUBLE")
    text = str(positive).strip()
    wrong = f"The positive class {positive!r} cannot be a value of the label column {label!r}, which is {kind}."
    try:
        if kind == "BOOLEAN":
            return column, never_nan, {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if _INTEGERS.match(kind):
            number = Fraction(int(positive)) if isinstance(positive, bool) else Fraction(text)
            if number.denominator != 1:
                raise InputError(wrong)
            return column, never_nan, int(number)
        if _FLOATS.match(kind):
            as_double = exp.cast(column.copy(), "DOUBLE")
            return as_double, as_double, float(text) if not isinstance(positive, bool) else float(positive)
        if _DECIMALS.match(kind):
            return column, never_nan, Decimal(text) if not isinstance(positive, bool) else Decimal(positive)
        if _TIMES.match(kind):
            return column, never_nan, date.fromisoformat(text) if kind == "DATE" else datetime.fromisoformat(text)
    except (ValueError, KeyError, InvalidOperation) as error:
        raise InputError(wrong) from error
    return (column if kind == "VARCHAR" else exp.cast(column, "VARCHAR")), never_nan, str(positive)


def _why_not(
    warehouse: Warehouse,
    table: str | Query,
    what: str,
    label: str,
    score: str,
    positive_class: object,
    positives: int,
    negatives: int,
) -> str:
    """Say why there is nothing to measure, with the classes that were found."""
    found = warehouse.run("classes", source=table, label=label, score=score, most=_MOST_CLASSES + 2)
    classes = [row for row in found if row["label"] is not None and row["label"] == row["label"]]
    if not found:
        return f"{what} is empty: there is nothing to evaluate."
    if not classes:
        return f"The label column {label!r} of {what} is NULL in every row: there is nothing to evaluate."
    listed = ", ".join(f"{row['label']!r} ({row['n']} rows)" for row in classes[:_MOST_CLASSES])
    listed += " and others" if len(classes) > _MOST_CLASSES else ""
    if not positives and not negatives:
        return f"The score column {score!r} of {what} is NULL or NaN wherever there is a label; classes: {listed}."
    if not positives:
        unscored = [row for row in classes if not row["scored"] and str(row["label"]) == str(positive_class)]
        if unscored:
            return f"The positive class {positive_class!r} of {what} has no row with a score in {score!r}."
        return f"The positive class {positive_class!r} never occurs in {label!r} of {what}; classes found: {listed}."
    return (
        f"{what} has one class only, {positive_class!r}, among the rows with a score: AUC compares two classes. "
        f"Classes found: {listed}."
    )
