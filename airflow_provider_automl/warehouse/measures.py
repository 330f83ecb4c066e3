"""A model's metrics, computed by the warehouse over a table of predictions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_provider_automl import sql
from airflow_provider_automl.errors import InputError, did_you_mean, listing
from airflow_provider_automl.warehouse.base import Warehouse
from airflow_provider_automl.warehouse.formulas import (
    BINS,
    CONFUSION,
    METRICS,
    OF_ALL_CLASSES,
    OF_PROBABILITIES,
    Measure,
    add,
    area,
    binary,
    calibration,
    check_metrics,
    fraction,
    hivemall_binary,
    hivemall_multiclass,
    hivemall_regression,
    multiclass,
    of_probabilities,
    regression,
)
from airflow_provider_automl.warehouse.query import Query

if TYPE_CHECKING:
    from sqlglot import exp

_INTEGERS = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)$")
_FLOATS = re.compile(r"(REAL|DOUBLE|DECIMAL)$")
_DECIMALS = re.compile(r"DECIMAL\(")
_TIMES = re.compile(r"(DATE|TIMESTAMP\w*)$")
_LISTED_CLASSES = 10


def auc(warehouse: Warehouse, table: str | Query, *, label: str, score: str, positive_class: object) -> dict[str, Any]:
    """Return the area under the ROC curve, exact with ties counted half, and its 95 % confidence interval.

    One query, one scan. The AUC equals scikit-learn's ``roc_auc_score`` to the last digit or two; the standard error is
    DeLong's [1]_. The interval is ``auroc ± 1.959963984540054 * auroc_se``, clipped to [0, 1].

    For an AUC of exactly 1 the estimated variance is 0, and the interval would have no width. It gets a one-sided 95 %
    bound instead: with m = min(positives, negatives), m disjoint pairs of a positive and a negative are independent,
    each is ordered correctly with a probability of at most the true AUC, and all m were. With an AUC below
    ``0.05 ** (1 / m)`` that happens in less than 5 % of cases [2]_ (about 1 - 3/m, the "rule of three" [3]_). The
    bound is conservative, as it uses only m of the pairs. An AUC of exactly 0 is the mirror image.

    :param table: a table of predictions, or a query that returns them.
    :param label: the column of true classes. Rows with NULL or NaN are counted and skipped, not taken as negatives.
    :param score: a numeric column that is high for the positive class. Rows with NULL or NaN are counted and skipped;
        infinities are ordinary values.
    :param positive_class: the positive class; all others are negative. It is converted to the column's type: for a
        column of integers ``"1"`` and ``1`` are the same. Text is compared exactly, including leading spaces.
    :returns: ``auroc``, ``auroc_low``, ``auroc_high``, ``auroc_se`` (floats, never NaN; all but ``auroc`` are None,
        with the reason in ``reason``, if there are fewer than two positives or negatives), ``positives``,
        ``negatives``, ``rows_evaluated``, ``rows_skipped``, and of the skipped ones ``null_labels``, ``nan_labels``,
        ``null_scores``, ``nan_scores`` (a row may be counted both for its label and for its score).
    :raises InputError: there is no such table or column; the score is the label itself or not numeric; the positive
        class cannot be a value of the column or never occurs; there is only one class, or no row to evaluate.

    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson. Comparing the areas under two or more correlated receiver
       operating characteristic curves: a nonparametric approach. Biometrics 44 (1988), 837-845.
    .. [2] C. J. Clopper, E. S. Pearson. The use of confidence or fiducial limits illustrated in the case of the
       binomial. Biometrika 26 (1934), 404-413.
    .. [3] J. A. Hanley, A. Lippman-Hand. If nothing goes wrong, is everything all right? JAMA 249 (1983), 1743-1745.
    """
    data = _Data.of(warehouse, table, label, (), None)
    score = data.numeric(score, "score")
    value, number, positive = _compared(data.label, data.columns[data.label], positive_class)
    (found,) = warehouse.run("auc", source=table, score=score, label=value, label_number=number, positive=positive)
    counts = {name: fraction(count) for name, count in found.items()}
    positives, negatives = int(counts["positives"]), int(counts["negatives"])
    if not positives or not negatives:
        raise InputError(_reason_without_auc(data, score, positive_class, positives, negatives))
    return _auc_entries(counts)


def _auc_entries(counts: dict[str, Fraction]) -> dict[str, Any]:
    """Compute AUC, standard error and interval from the query's counts, without intermediate rounding."""
    measure = area(counts)
    evaluated = int(counts["positives"] + counts["negatives"])
    return {
        "auroc": measure.value,
        "auroc_low": measure.low,
        "auroc_high": measure.high,
        "auroc_se": measure.se,
        "positives": int(counts["positives"]),
        "negatives": int(counts["negatives"]),
        "rows_evaluated": evaluated,
        "rows_skipped": int(counts["n"]) - evaluated,
        "null_labels": int(counts["null_labels"]),
        "nan_labels": int(counts["nan_labels"]),
        "null_scores": int(counts["null_scores"]),
        "nan_scores": int(counts["nan_scores"]),
        "reason": measure.reason,
    }


def _column(columns: dict[str, str], name: str, role: str, what: str) -> str:
    """Return a column's name as in the table: an exact match, else one that differs only in case."""
    if name in columns:
        return name
    by_fold = {column.lower(): column for column in columns}
    if found := by_fold.get(str(name).lower()):
        return found
    hint = did_you_mean(name, columns) or f": its columns are {_listed(columns)}"
    raise InputError(f"{what} has no {role} column {name!r}{hint}.")


def _listed(names: Iterable[object]) -> str:
    """Return names for a message, at most ten."""
    return listing(map(repr, names), _LISTED_CLASSES)


def _is_numeric(kind: str) -> bool:
    return bool(_INTEGERS.match(kind) or _FLOATS.match(kind) or _DECIMALS.match(kind))


def _require_number(columns: dict[str, str], column: str, role: str, what: str, label: str) -> None:
    """:raises InputError: the column is not numeric; the message names those that are, except the label."""
    if not _is_numeric(columns[column]):
        numeric = [name for name, kind in columns.items() if _is_numeric(kind) and name != label]
        choices = f"numeric columns are {_listed(numeric)}" if numeric else "no column is numeric"
        raise InputError(f"The {role} column {column!r} of {what} is {columns[column]}, not a number; {choices}.")


def _compared(label: str, kind: str, positive: object) -> tuple[exp.Expression, exp.Expression, object]:
    """Return the SQL operands to compare a label with the positive class.

    :returns: the label, the label as DOUBLE if it may be NaN (else NULL), and the class as a value of the label's type.
    """
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


def _reason_without_auc(data: _Data, score: str, positive_class: object, positives: int, negatives: int) -> str:
    """Return why there is no AUC, with the classes that were found."""
    what, label = data.what, data.label
    found = data.warehouse.run("classes", source=data.table, label=label, score=score, most=_LISTED_CLASSES + 2)
    classes = [row for row in found if row["label"] is not None and row["label"] == row["label"]]
    if not found:
        return f"{what} is empty: there is nothing to evaluate."
    if not classes:
        return f"The label column {label!r} of {what} is NULL in every row: there is nothing to evaluate."
    listed = ", ".join(f"{row['label']!r} ({row['n']} rows)" for row in classes[:_LISTED_CLASSES])
    listed += " and others" if len(classes) > _LISTED_CLASSES else ""
    if not positives and not negatives:
        return f"The score column {score!r} of {what} is NULL or NaN in every row with a label; classes: {listed}."
    if not positives:
        unscored = [row for row in classes if not row["scored"] and str(row["label"]) == str(positive_class)]
        if unscored:
            return f"The positive class {positive_class!r} of {what} has no row with a score in {score!r}."
        return f"The positive class {positive_class!r} never occurs in {label!r} of {what}; classes found: {listed}."
    return (
        f"{what} has only one class, {positive_class!r}, among the rows with a score, and AUC needs two. "
        f"Classes found: {listed}."
    )


# ---------------------------------------------------------------------------------------------------- all metrics

#: Maximum number of groups: the results of more would be too large to be stored.
MOST_GROUPS = 1000
#: Maximum number of classes for metrics of probabilities: each class is ranked over all rows.
MOST_CLASSES = 200
_MAX_PAIRS = 200_000
#: Probabilities are clipped to this distance from 0 and 1 in a log loss.
_CLIP = 1e-15
#: Labels closer to 0 are replaced by this in a relative error.
_EPSILON = 2.220446049250313e-16
#: Why a row is skipped, by bit of its code.
_SKIPPED = {
    1: "null_labels", 2: "nan_labels", 4: "null_weights", 16: "null_scores", 32: "nan_scores", 128: "unknown_labels",
}  # fmt: skip
_NO_LABEL, _BAD_WEIGHT, _HUGE, _UNKNOWN = 1 | 2, 8, 64, 128
#: Maximum absolute value of a label or prediction: the sum of the errors' fourth powers must fit a DOUBLE.
_MAX_NUMBER = 1e75


def evaluate(
    warehouse: Warehouse,
    table: str | Query,
    *,
    label: str,
    problem_type: str,
    score: str | None = None,
    prediction: str | None = None,
    probabilities: str | Mapping[str, str] | None = None,
    positive_class: object = None,
    metrics: Sequence[str] | None = None,
    by: Sequence[str] = (),
    weight: str | None = None,
    threshold: float = 0.5,
    beta: float = 1.0,
    hivemall: bool = False,
    classes: Sequence[object] | None = None,
    max_unknown_labels: float = 1.0,
) -> dict[str, Any]:
    """Return the metrics of predictions, computed by the warehouse: no row leaves it.

    Binary and regression problems take one query and one scan, groups included. Multiclass problems take one scan for
    metrics of predicted classes, and one for metrics of probabilities, which ranks each row once per class. Each number
    equals that of scikit-learn's function of the same name to 1e-9, with these differences: in a log loss,
    probabilities are clipped to 1e-15 from 0 and 1 (scikit-learn: 2.2e-16); ``bias`` (the mean of prediction minus
    label), ``ks`` (as in SciPy's ``ks_2samp``) and ``expected_calibration_error`` do not exist there.

    :param table: a table of predictions, or a query that returns them.
    :param label: the column of true classes or numbers. Rows where it is NULL or NaN are skipped and counted.
    :param problem_type: ``binary``, ``multiclass`` or ``regression``.
    :param score: binary: a numeric column that is high for the positive class.
    :param prediction: multiclass, regression: the column of predicted classes or numbers.
    :param probabilities: multiclass: the column of all classes' probabilities as JSON text, ``{"class": 0.1, ...}``; or
        a mapping of each class to its column.
    :param positive_class: binary: see :func:`auc`.
    :param metrics: names from :data:`.formulas.METRICS`; default: all of that problem type.
    :param by: columns to group by; each combination of their values, including NULL, is also evaluated separately.
    :param weight: a numeric column of row weights, at least 0. Rows where it is NULL are skipped and counted.
    :param threshold: binary: scores at or above it are predictions of the positive class.
    :param beta: of ``fbeta``: the weight of recall relative to precision.
    :param hivemall: add the values that Apache Hivemall 0.5.2 computes, as ``hivemall_…``.
    :param classes: binary, multiclass: the known labels, including the positive class. Rows with other labels are
        skipped and counted. None: all labels are known, and all but the positive class are negative.
    :param max_unknown_labels: the maximum share of rows with unknown labels among those with a label, from 0 to 1.
    :returns: ``problem_type``, ``rows_evaluated``, ``rows_skipped`` and of these ``null_labels``, ``nan_labels``,
        ``null_weights``, ``null_scores``, ``nan_scores`` (multiclass and regression: predictions),
        ``unknown_labels``;
        binary: ``positives``, ``negatives`` (rows); for each metric ``<name>`` (float or None), ``<name>_low`` and
        ``<name>_high`` (its 95 % interval, or None), ``<name>_interval`` (the method's name, or None),
        ``<name>_reason`` (why the value or its interval is missing, or how an edge case is defined, or None) and,
        if the method has one, ``<name>_se``; ``calibration`` (binary: the table of
        :func:`.formulas.calibration`, else None); ``groups``: the same for each combination of ``by``, without
        ``calibration`` but with ``group``, its values. Strict JSON.
    :raises InputError: as :func:`auc`; an unknown metric, or one of another problem type; weights that are
        negative or not finite; scores outside [0, 1] if a requested metric needs probabilities (by default, such a
        metric is None, with the reason); infinite labels or predictions; more than 1,000 groups; a larger share
        of unknown labels than ``max_unknown_labels``.
    """
    if problem_type not in METRICS:
        raise InputError(f"problem_type is {problem_type!r}: give one of {', '.join(METRICS)}.")
    wanted = check_metrics(metrics, problem_type)
    if not math.isfinite(threshold):
        raise InputError(f"threshold is {threshold}: give a number, such as 0.5.")
    if not 0 < beta < math.inf:
        raise InputError(f"beta is {beta}: give a number above 0, such as 1.")
    if hivemall and weight is not None:
        raise InputError(
            "hivemall=True cannot be combined with a weight column: Hivemall's metrics are unweighted. Leave one out."
        )
    if problem_type != "binary" and positive_class is not None:
        raise InputError(
            f"positive_class is {positive_class!r}, but the problem is {problem_type}, not binary: leave it out, or "
            "give problem_type='binary' and a score column."
        )
    data = _Data.of(warehouse, table, label, by, weight)
    options = _Options(wanted, threshold, beta, hivemall, max_unknown_labels)
    if problem_type == "binary":
        if score is None or positive_class is None:
            raise InputError("A binary problem is evaluated by scores: name the score column and the positive class.")
        if prediction is not None:
            raise InputError(
                f"The prediction column {prediction!r} is not used in a binary problem, where the threshold "
                f"({threshold:g}) decides: leave it out, or give another problem_type."
            )
        return _binary(data, options, data.numeric(score, "score"), positive_class, classes)
    if prediction is None:
        raise InputError(f"A {problem_type} problem is evaluated by predictions: name the prediction column.")
    if problem_type == "regression":
        return _regression(data, options, data.numeric(prediction, "prediction"))
    return _multiclass(data, options, data.column(prediction, "prediction"), probabilities, classes)


def labels_of(warehouse: Warehouse, table: str | Query, *, label: str) -> list[tuple[str, int]]:
    """Return the (at most twelve) most frequent labels of a table with their row counts, without NULL and NaN.

    :raises InputError: there is no such table or column.
    """
    data = _Data.of(warehouse, table, label, (), None)
    found = warehouse.run("labels", source=table, label=data.label, most=12)
    rows = [row for row in found if row["label"] is not None and row["label"] == row["label"]]
    return [(_class_text(row["label"]), int(str(row["n"]))) for row in rows]


def classes_of(warehouse: Warehouse, table: str | Query, *, label: str, probabilities: str) -> list[str]:
    """Return the classes in a column of all classes' probabilities.

    :raises InputError: there is no such table or column, or it holds no probabilities.
    """
    return _probabilities(_Data.of(warehouse, table, label, (), None), probabilities)[0]


def _known(columns: Mapping[str, str], label: str, classes: Sequence[object]) -> list[tuple[exp.Expression, object]]:
    """Return the SQL operands to compare a label with each class that can be a value of its column."""
    found = []
    for name in classes:
        try:
            value, _, known = _compared(label, columns[label], name)
        except InputError:
            continue
        found.append((value, known))
    return found


def _is_unknown(known: Sequence[tuple[exp.Expression, object]] | None) -> exp.Expression:
    """Return a SQL expression: 1 if a label is none of these classes (NULL included), else 0; 0 for ``None``."""
    from sqlglot import exp

    if known is None:
        return exp.Literal.number(0)
    case = exp.case()
    for value, positive in known:
        case = case.when(value.copy().eq(sql.literal(positive)), "0")
    return case.else_("1") if known else exp.Literal.number(1)


def refuse_unknown(
    warehouse: Warehouse, table: str | Query, what: str, label: str, classes: Sequence[object], unknown: int,
    labelled: int, max_share: float,
) -> None:  # fmt: skip
    """Reject a table with too many unknown labels.

    :param what: the table's name for the message.
    :param unknown: the number of rows with an unknown label.
    :param labelled: the number of rows with a label.
    :param max_share: the maximum share of unknown labels, from 0 to 1.
    :raises InputError: there are too many; the message names the most frequent ones.
    """
    if unknown <= max_share * labelled:
        return
    columns = warehouse.columns(table)
    label = _column(columns, label, "label", what)
    known = {_class_text(value) for _, value in _known(columns, label, classes)}
    found = labels_of(warehouse, table, label=label)
    others = [f"{text!r} ({n:,} rows)" for text, n in found if text not in known] or ["rare ones"]
    raise InputError(
        f"{unknown:,} of {labelled:,} labels in {label!r} of {what} are none of the classes "
        f"{', '.join(repr(_class_text(name)) for name in classes[:_LISTED_CLASSES])}: {', '.join(others[:5])}. "
        f"Correct them, raise max_unknown_labels (now {max_share:g}) to skip them, or, in a binary problem, list them "
        "in negative_classes."
    )


def _refuse_unknown(data: _Data, options: _Options, counts: Mapping[str, int], classes: Sequence[object]) -> None:
    labelled = counts["rows_evaluated"] + counts["rows_skipped"] - counts["null_labels"] - counts["nan_labels"]
    refuse_unknown(
        data.warehouse, data.table, data.what, data.label, classes, counts["unknown_labels"], labelled,
        options.max_unknown_labels,
    )  # fmt: skip


@dataclass(frozen=True)
class _Options:
    wanted: tuple[str, ...] | None
    threshold: float
    beta: float
    hivemall: bool
    max_unknown_labels: float

    def wants(self, names: Sequence[str]) -> list[str]:
        """Return which of these metrics were explicitly requested."""
        return [name for name in names if self.wanted is not None and name in self.wanted]

    def entries(self, measures: Mapping[str, Measure], problem_type: str) -> dict[str, Any]:
        """Return the result entries of the requested metrics."""
        entries: dict[str, Any] = {}
        for name in self.wanted or METRICS[problem_type]:
            if name == "confusion_matrix":
                entries |= {each: measures[each].value for each in CONFUSION}
            else:
                entries |= measures[name].named(name)
        return entries | {
            name: value
            for each, measure in measures.items()
            if self.hivemall and each.startswith("hivemall_")
            for name, value in ((each, measure.value), (f"{each}_reason", measure.reason))
        }


@dataclass(frozen=True)
class _Data:
    """The data to evaluate: rows, groups and weights."""

    warehouse: Warehouse
    table: str | Query
    columns: dict[str, str]
    label: str
    by: tuple[str, ...]
    weight: str | None

    @classmethod
    def of(cls, warehouse: Warehouse, table: str | Query, label: str, by: Sequence[str], weight: str | None) -> _Data:
        columns = warehouse.columns(table)
        data = cls(warehouse, table, columns, label, (), None)
        label = _column(columns, label, "label", data.what)
        data = replace(data, label=label)
        groups = tuple(dict.fromkeys(_column(columns, name, "group", data.what) for name in by))
        return replace(data, by=groups, weight=weight if weight is None else data.numeric(weight, "weight"))

    @property
    def what(self) -> str:
        return self.table if isinstance(self.table, str) else "the query"

    @property
    def keys(self) -> list[str]:
        """The group columns' names in a query: a flag (1: a group, 0: all rows), then the group's values."""
        return [f"k{index}" for index in range(len(self.by) + 1)] if self.by else []

    @property
    def weights(self) -> dict[str, Any]:
        """The parameters of a query over weighted rows."""
        from sqlglot import exp

        weight = exp.Literal.number(1) if self.weight is None else exp.cast(_quoted(self.weight), "DOUBLE")
        return {"weight": weight, "infinity": math.inf}

    def column(self, name: str, role: str) -> str:
        found = _column(self.columns, name, role, self.what)
        if found == self.label:
            raise InputError(
                f"The {role} column {found!r} is the label itself: name the column that holds the model's {role}."
            )
        return found

    def numeric(self, name: str, role: str) -> str:
        found = self.column(name, role)
        _require_number(self.columns, found, role, self.what, self.label)
        return found

    def run(self, template: str, *, classes: int = 0, limit: int, **params: object) -> list[dict[str, object]]:
        """Run a query over all rows and each group, crossed with each class if there are any; return its rows."""
        from sqlglot import exp

        source = self.warehouse._source(self.table)
        keys, groups = self.keys, []
        if self.by:
            source = self._cross_joined(source, "automl_scope", 2)
            scope = exp.column("automl_scope")
            groups = [exp.alias_(scope, keys[0])]
            for key, name in zip(keys[1:], self.by, strict=True):
                groups.append(exp.alias_(exp.case().when(scope.eq(1), _quoted(name)), key))
        if classes:
            source = self._cross_joined(source, "automl_class", classes)
            keys = [*keys, "k"]
            groups.append(exp.alias_(exp.column("automl_class"), "k"))
        found = self.warehouse.run(template, source=source, groups=groups, keys=keys, limit=limit, **params)
        if len(found) == limit:
            raise InputError(
                f"There are too many groups by {_listed(self.by)}, or too many classes, in {self.what}: at most "
                f"{MOST_GROUPS:,} groups are supported. Group by fewer columns, or by ones with fewer values."
            )
        return found

    def _cross_joined(self, source: exp.Expression, name: str, count: int) -> exp.Expression:
        from sqlglot import exp

        numbers: exp.Query = exp.select(exp.alias_(exp.Literal.number(0), name))
        for number in range(1, count):
            numbers = exp.union(numbers, exp.select(exp.alias_(exp.Literal.number(number), name)), distinct=False)
        joined = sql.statement(
            "crossed", self.warehouse.dialect, source=source, numbers=numbers.subquery("automl_numbers")
        )
        assert isinstance(joined, exp.Query)
        return joined.subquery("automl_rows")

    def split(
        self, rows: list[dict[str, object]]
    ) -> tuple[list[dict[str, object]], list[tuple[dict[str, Any], list[dict[str, object]]]]]:
        """Return the result rows of the whole table, and those of each group with the group's values."""
        if not self.by:
            return rows, []
        overall: list[dict[str, object]] = []
        groups: dict[tuple[Any, ...], list[dict[str, object]]] = {}
        for row in rows:
            scope, *values = (row.pop(key) for key in self.keys)
            if not scope:
                overall.append(row)
            else:
                groups.setdefault(tuple(map(_plain, values)), []).append(row)
        if len(groups) > MOST_GROUPS:
            raise InputError(
                f"There are {len(groups):,} groups by {_listed(self.by)} in {self.what}: at most "
                f"{MOST_GROUPS:,} are supported. Group by fewer columns, or by ones with fewer values."
            )
        order = sorted(groups, key=lambda values: [(value is None, str(value)) for value in values])
        return overall, [(dict(zip(self.by, values, strict=True)), groups[values]) for values in order]

    def check_weights(self, bad: int) -> None:
        if bad:
            raise InputError(
                f"The weight column {self.weight!r} of {self.what} is negative or not finite in {bad:,} rows: weights "
                "must be finite and at least 0."
            )


def _binary(
    data: _Data, options: _Options, score: str, positive_class: object, classes: Sequence[object] | None
) -> dict[str, Any]:
    value, number, positive = _compared(data.label, data.columns[data.label], positive_class)
    unknown = _is_unknown(None if classes is None else _known(data.columns, data.label, [positive_class, *classes]))
    rows = _scores(
        data, options, score=_quoted(score), label=value, label_number=number, positive=positive, unknown_label=unknown
    )  # fmt: skip
    overall, groups = data.split(rows)
    cells, counts = _counted(overall, "cell", sign=-1)
    data.check_weights(counts.pop("bad_weights"))
    _refuse_unknown(data, options, counts, classes or [])
    positives = int(sum(fraction(cell["n_p"]) for cell in cells))
    negatives = counts["rows_evaluated"] - positives
    why = None
    if not positives or not negatives:
        why = _reason_without_auc(data, score, positive_class, positives, negatives)
        unscored = not counts["rows_evaluated"] and counts["rows_skipped"] > _without_label(counts)
        # If the classes are not known, a positive class that is none of several labels is probably mistyped.
        mistyped = classes is None and negatives and len(labels_of(data.warehouse, data.table, label=data.label)) > 1
        if unscored or (mistyped and not positives):
            raise InputError(why)
    for name, key in (("positive", "p"), ("negative", "q")) if why is None else ():
        if not any(fraction(cell[key]) for cell in cells):
            raise InputError(f"The weight column {data.weight!r} of {data.what} is 0 in every {name} row.")
    outside = _outside(data, options, cells, f"The score column {score!r}")

    def computed(cells: list[dict[str, object]]) -> dict[str, Any]:
        measures = binary(cells, beta=options.beta, weighted=data.weight is not None)
        if options.hivemall:
            measures |= hivemall_binary(measures, beta=options.beta)
        if outside:
            measures |= dict.fromkeys(
                [name for name in (*OF_PROBABILITIES, "hivemall_auc", "hivemall_logloss") if name in measures],
                Measure(None, reason=outside),
            )
            if options.wanted is None:
                at_threshold = ("accuracy", "precision", "recall", "f1", "fbeta", *CONFUSION)
                measures |= dict.fromkeys(at_threshold, Measure(None, reason=outside))
        return options.entries(measures, "binary")

    def group(rows: list[dict[str, object]]) -> dict[str, Any]:
        cells, counts = _counted(rows, "cell", sign=-1)
        counts.pop("bad_weights")
        positives = int(sum(fraction(cell["n_p"]) for cell in cells))
        return {
            "positives": positives,
            "negatives": counts["rows_evaluated"] - positives,
            **counts,
            **computed(cells),
        }

    return {
        "problem_type": "binary",
        **_with_reason(group(overall), why),
        "calibration": None if outside else calibration(cells),
        "groups": [{"group": values, **group(rows)} for values, rows in groups],
    }


def _scores(data: _Data, options: _Options, *, classes: int = 0, **params: object) -> list[dict[str, object]]:
    from sqlglot import exp

    weights: list[exp.Expression] = []
    if data.weight is None:
        counted = exp.column("positives")
        p, q = exp.cast(counted, "BIGINT"), exp.cast(exp.column("n") - counted, "BIGINT")
    else:
        for index, name in enumerate(("q_weight", "p_weight")):
            own = exp.case().when(exp.column("positive").eq(index), exp.column("weight")).else_("0")
            weights.append(exp.Alias(this=exp.Sum(this=own), alias=exp.to_identifier(name)))
        p, q = exp.cast(exp.column("p_weight"), "DOUBLE"), exp.cast(exp.column("q_weight"), "DOUBLE")
    return data.run(
        "scores", classes=classes, p=p, q=q, weights=weights, bins=BINS, least=_CLIP,
        threshold=float(options.threshold), limit=(MOST_GROUPS + 2) * (BINS + 28) * max(1, classes),
        **data.weights, **params,
    )  # fmt: skip


def _outside(data: _Data, options: _Options, cells: list[dict[str, object]], column: str) -> str:
    """Return why scores are not probabilities; empty if they are.

    :raises InputError: a requested metric needs probabilities.
    """
    outside = [cell for cell in cells if fraction(cell["cell"]) == BINS]
    if not outside:
        return ""
    count = int(sum(fraction(cell["n"]) for cell in outside))
    low = min(float(str(cell["least"])) for cell in outside)
    high = max(float(str(cell["most"])) for cell in outside)
    finding = f"{column} of {data.what} is outside [0, 1] in {count:,} rows, from {low:g} to {high:g}"
    if named := options.wants((*OF_PROBABILITIES, *OF_ALL_CLASSES)):
        raise InputError(f"{finding}: give probabilities, or leave out {' and '.join(named)}.")
    return f"{finding}: it is not a probability"


def _with_reason(entries: dict[str, Any], why: str | None) -> dict[str, Any]:
    """Return the entries with the reason why nothing can be evaluated, for every metric that is missing."""
    if why is None:
        return entries
    missing = [key for key in entries if key.endswith("_reason") and entries[key.removesuffix("_reason")] is None]
    return entries | dict.fromkeys(missing, why.removesuffix("."))


def _without_label(counts: Mapping[str, int]) -> int:
    """Return the number of rows without a known label."""
    return counts["null_labels"] + counts["nan_labels"] + counts["unknown_labels"]


def _counted(
    rows: list[dict[str, object]], code: str, *, sign: int = 1
) -> tuple[list[dict[str, object]], dict[str, int]]:
    """Return the result rows that are evaluated, and the numbers of evaluated and skipped table rows."""
    counts = {"rows_evaluated": 0, "rows_skipped": 0, **dict.fromkeys(_SKIPPED.values(), 0), "bad_weights": 0}
    cells = []
    for row in rows:
        bits, n = sign * int(str(row[code])), int(str(row["n"]))
        if bits <= 0 if sign < 0 else bits == 0:
            cells.append(row)
            counts["rows_evaluated"] += n
            continue
        counts["rows_skipped"] += n
        if bits & _NO_LABEL:
            bits &= ~_UNKNOWN
        for bit, name in (*_SKIPPED.items(), (_BAD_WEIGHT, "bad_weights")):
            counts[name] += n if bits & bit else 0
    return cells, counts


# ---------------------------------------------------------------------------------------------------- multiclass


def _multiclass(
    data: _Data,
    options: _Options,
    prediction: str,
    probabilities: str | Mapping[str, str] | None,
    classes: Sequence[object] | None,
) -> dict[str, Any]:
    if named := options.wants(OF_ALL_CLASSES) if probabilities is None else []:
        raise InputError(f"Name the column of all classes' probabilities, or leave out {' and '.join(named)}.")
    rows = data.run("confusion", label=data.label, prediction=prediction, limit=_MAX_PAIRS, **data.weights)
    overall, groups = data.split(rows)
    known = None if classes is None else {_class_text(value) for _, value in _known(data.columns, data.label, classes)}
    pairs, counts = _pairs(overall, known)
    data.check_weights(counts.pop("bad_weights"))
    _refuse_unknown(data, options, counts, classes or [])
    labels = {label for label, _ in pairs}
    why = _check_classes(data, prediction, overall, labels)
    ranked: _Ranked | str | None = why if not labels else None
    if labels and probabilities is not None and (options.wanted is None or options.wants(OF_ALL_CLASSES)):
        ranked = _ranked(data, options, probabilities, labels, classes if counts["unknown_labels"] else None)

    def group(rows: list[dict[str, object]], values: tuple[Any, ...] | None) -> dict[str, Any]:
        pairs, counts = _pairs(rows, known)
        counts.pop("bad_weights")
        measures = multiclass(pairs, weighted=data.weight is not None)
        if ranked is None:
            why = "no column of all classes' probabilities was given"
            measures |= dict.fromkeys(OF_ALL_CLASSES, Measure(None, reason=why))
        elif isinstance(ranked, str):
            measures |= dict.fromkeys(OF_ALL_CLASSES, Measure(None, reason=ranked))
        else:
            measures |= of_probabilities(ranked[values], weighted=data.weight is not None)
        if options.hivemall:
            measures |= hivemall_multiclass(pairs)
        return {**counts, **options.entries(measures, "multiclass")}

    return {
        "problem_type": "multiclass",
        **_with_reason(group(overall, None), why),
        "calibration": None,
        "groups": [{"group": values, **group(rows, tuple(values.values()))} for values, rows in groups],
    }


def _pairs(
    rows: list[dict[str, object]], known: set[str] | None
) -> tuple[dict[tuple[str, str], Fraction], dict[str, int]]:
    """Return the weight of each (class, predicted class), and the numbers of evaluated and skipped rows.

    :param known: the classes, as text; None: all labels are known.
    """
    counts = {"rows_evaluated": 0, "rows_skipped": 0, **dict.fromkeys(_SKIPPED.values(), 0), "bad_weights": 0}
    pairs: dict[tuple[str, str], Fraction] = {}
    for row in rows:
        label, prediction, n, code = row["label"], row["prediction"], int(str(row["n"])), int(str(row["code"]))
        why = {
            "null_labels": label is None,
            "nan_labels": label != label,
            "null_scores": prediction is None,
            "nan_scores": prediction != prediction,
            "null_weights": code == 4,
            "bad_weights": code == _BAD_WEIGHT,
        }
        no_label = why["null_labels"] or why["nan_labels"]
        why["unknown_labels"] = known is not None and not no_label and _class_text(label) not in known
        if any(why.values()):
            counts["rows_skipped"] += n
            for name, holds in why.items():
                counts[name] += n if holds else 0
            continue
        counts["rows_evaluated"] += n
        pair = (_class_text(label), _class_text(prediction))
        pairs[pair] = pairs.get(pair, Fraction(0)) + fraction(row["w"])
    return pairs, counts


def _check_classes(data: _Data, prediction: str, rows: list[dict[str, object]], labels: set[str]) -> str | None:
    """Return why there is nothing to evaluate (no rows, no labels or only one class); None if there is.

    :raises InputError: no row with a label has a prediction.
    """
    if not rows:
        return f"{data.what} is empty: there is nothing to evaluate"
    if all(row["label"] is None or row["label"] != row["label"] for row in rows):
        return f"the label column {data.label!r} of {data.what} is NULL in every row: there is nothing to evaluate"
    if not labels:
        raise InputError(f"The prediction column {prediction!r} of {data.what} is NULL in every row with a label.")
    if len(labels) == 1:
        return f"{data.what} has only one class, {next(iter(labels))!r}, among the rows with a prediction"
    return None


_Ranked = dict[tuple[Any, ...] | None, dict[str, dict[str, Fraction]]]


def _ranked(
    data: _Data,
    options: _Options,
    probabilities: str | Mapping[str, str],
    labels: set[str],
    classes: Sequence[object] | None,
) -> _Ranked | str | None:
    """Return each class's sums of ``scores.sql`` by group, or the reason why there are none.

    :param classes: the known labels; None: all.
    """
    from sqlglot import exp

    names, numbers = _probabilities(data, probabilities)
    if len(names) > MOST_CLASSES:
        return f"there are {len(names)} classes, and metrics of probabilities support at most {MOST_CLASSES}"
    kind = data.columns[data.label]
    compared = [_compared(data.label, kind, name) for name in names]
    texts = [_class_text(positive) for _, _, positive in compared]
    if unknown := sorted(labels - set(texts)):
        return (
            f"{len(unknown)} classes of the rows have no probability, such as {unknown[0]!r}; classes with "
            f"probabilities: {_listed(names)}"
        )
    own, score = exp.case(), exp.case()
    for index, ((_, _, positive), number) in enumerate(zip(compared, numbers, strict=True)):
        is_class = exp.column("automl_class").eq(index)
        own = own.when(is_class, sql.literal(positive))
        score = score.when(is_class.copy(), number)
    value, label_number, _ = compared[0]
    rows = _scores(
        data, options, classes=len(names), score=score, label=value, label_number=label_number, positive=own,
        unknown_label=_is_unknown(None if classes is None else _known(data.columns, data.label, classes)),
    )  # fmt: skip
    overall, groups = data.split(rows)
    cells = [row for row in overall if fraction(row["cell"]) >= 0]
    column = f"The column {probabilities!r}" if isinstance(probabilities, str) else "A column of probabilities"
    if outside := _outside(data, options, cells, column):
        return outside
    none = {key: Fraction(0) for key in (*_SUMS, "p", "q")}
    ranked: _Ranked = {}
    for values, found in [(None, overall), *((tuple(values.values()), rows) for values, rows in groups)]:
        by_class: dict[int, list[dict[str, object]]] = {}
        for row in found:
            if fraction(row["cell"]) >= 0:
                by_class.setdefault(int(str(row["k"])), []).append({name: row[name] for name in none})
        ranked[values] = {name: none | add(by_class.get(index, [])) for index, name in enumerate(names)}
    return ranked


#: The sums that are needed for each class.
_SUMS = ("over_sum", "over_squares", "under_sum", "under_squares", "loss_p", "loss_p_squares")


def _probabilities(data: _Data, probabilities: str | Mapping[str, str]) -> tuple[list[str], list[exp.Expression]]:
    """Return the classes, and a SQL expression for the probability of each."""
    from sqlglot import exp

    if not isinstance(probabilities, str):
        columns = [data.numeric(name, "probability") for name in probabilities.values()]
        return [str(name) for name in probabilities], [_quoted(name) for name in columns]
    column = data.column(probabilities, "probabilities")
    found = data.warehouse.run("first", source=data.table, column=column)
    if not found:
        raise InputError(f"The column {column!r} of {data.what} is NULL in every row: it holds no probabilities.")
    text = str(found[0]["value"])
    try:
        first = json.loads(text)
    except ValueError:
        first = None
    if not isinstance(first, dict) or len(first) < 2:
        raise InputError(
            f"The column {column!r} of {data.what} holds {text[:100]!r}: give probabilities as JSON text, such as "
            '{"a": 0.1, "b": 0.9}, or as one column per class.'
        )
    names = list(first)
    dialect = data.warehouse.dialect
    numbers = []
    for name in names:
        key = re.sub(r"([\\.^$|?*+()\[\]{}])", r"\\\1", json.dumps(name, ensure_ascii=False))
        pattern = exp.Literal.string(rf"[{{,] ?{key} ?: ?([-+0-9.eE]+)")
        numbers.append(sql.call("automl_number_in", dialect, _quoted(column), pattern))
    return names, numbers


def _class_text(value: object) -> str:
    """Return a class as text: 1, 1.0 and Decimal(1) are the same class; text is compared exactly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


# ---------------------------------------------------------------------------------------------------- regression


def _regression(data: _Data, options: _Options, prediction: str) -> dict[str, Any]:
    if not _is_numeric(data.columns[data.label]):
        raise InputError(
            f"The label column {data.label!r} of {data.what} is {data.columns[data.label]}, but a regression needs "
            "numeric labels."
        )
    template, more = "errors", {"tolerance": 1e-12, **data.weights}
    if data.weight is None and data.warehouse.dialect == "duckdb":
        template, more = "unweighted_errors", {}
    rows = data.run(
        template, label=data.label, prediction=prediction, huge=_MAX_NUMBER, least=_EPSILON,
        limit=(MOST_GROUPS + 2) * 24, **more,
    )  # fmt: skip
    overall, groups = data.split(rows)
    cells, counts = _counted(overall, "code")
    data.check_weights(counts["bad_weights"])
    if huge := sum(int(str(row["n"])) for row in overall if int(str(row["code"])) & _HUGE):
        raise InputError(
            f"{data.label!r} or {prediction!r} of {data.what} is infinite, or beyond {_MAX_NUMBER:g}, in {huge:,} "
            "rows: exclude them with a query."
        )
    why = None
    if not overall:
        why = f"{data.what} is empty: there is nothing to evaluate"
    elif not cells:
        if _without_label(counts) < counts["rows_skipped"]:
            raise InputError(
                f"The prediction column {prediction!r} of {data.what} is NULL or NaN in every row with a label."
            )
        why = f"the label column {data.label!r} of {data.what} is NULL in every row: there is nothing to evaluate"

    def group(rows: list[dict[str, object]]) -> dict[str, Any]:
        cells, counts = _counted(rows, "code")
        counts.pop("bad_weights")
        sums = add(cells) if cells else {"w": Fraction(0), "n": Fraction(0)}
        measures = regression(sums, weighted=data.weight is not None)
        if options.hivemall:
            measures |= hivemall_regression(measures, sums)
        return {**counts, **options.entries(measures, "regression")}

    return {
        "problem_type": "regression",
        **_with_reason(group(overall), why),
        "calibration": None,
        "groups": [{"group": values, **group(rows)} for values, rows in groups],
    }


def _quoted(name: str) -> exp.Column:
    from sqlglot import exp

    return exp.column(exp.to_identifier(name, quoted=True))


def _plain(value: object) -> Any:
    """Return a group's value as a JSON type."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
