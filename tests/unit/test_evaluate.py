"""Every measure on an embedded warehouse: values by hand, intervals, groups, and what cannot be measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.metrics import Z_95
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.formulas import METRICS, NO_INTERVAL, NORMAL_ROWS, check_metrics, wilson
from airflow_provider_automl.warehouse.measures import auc, evaluate
from tests.warehouse.samples import binary_sample, table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def warehouse(file: Path) -> Warehouse:
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    hook = DuckDBHook(database=str(file))
    hook.airflow_connection = None
    return open_warehouse(hook)


def rows(names: str, *values: str) -> Query:
    """Rows as SQL: ``rows("y, s", "1, 0.5", "0, 0.25")``."""
    return Query(f"SELECT * FROM (VALUES {', '.join(f'({row})' for row in values)}) t({names})")


BINARY = {"problem_type": "binary", "label": "y", "score": "s", "positive_class": 1}
CLASSES = {"problem_type": "multiclass", "label": "y", "prediction": "p"}
NUMBERS = {"problem_type": "regression", "label": "y", "prediction": "p"}


def measured(warehouse: Warehouse, source: str | Query, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    result = evaluate(warehouse, source, **{**options, **more})
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def refused(warehouse: Warehouse, source: str | Query, options: dict[str, Any], **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        measured(warehouse, source, options, **more)
    return str(caught.value)


FOUR = rows("y, s, w, g", "1, 0.9, 1, 'a'", "1, 0.4, 2, 'a'", "0, 0.6, 1, 'b'", "0, 0.1, 4, NULL")


def test_by_hand(warehouse: Warehouse) -> None:
    got = measured(warehouse, FOUR, BINARY)
    assert (got["positives"], got["negatives"], got["rows_evaluated"], got["rows_skipped"]) == (2, 2, 4, 0)
    assert got["auroc"] == 0.75
    assert got["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert got["log_loss"] == pytest.approx(-(math.log(0.9) + 2 * math.log(0.4) + math.log(0.9)) / 4)
    assert got["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert [got[name] for name in ("accuracy", "precision", "recall", "f1")] == [0.5] * 4
    assert got["ks"] == 0.5
    assert got["expected_calibration_error"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)
    assert got["calibration"][0] == {"low": 0.1, "high": 0.2, "rows": 1, "mean_score": 0.1, "positive_rate": 0.0}
    assert [got[name] for name in ("true_positives", "false_positives", "true_negatives")] == [1, 1, 1]
    lower = measured(warehouse, FOUR, BINARY, threshold=0.4, beta=2)
    assert lower["recall"] == 1
    assert lower["fbeta"] == pytest.approx(5 * 2 / (5 * 2 + 1))


def test_every_number_has_its_details(warehouse: Warehouse) -> None:
    got = measured(warehouse, FOUR, BINARY)
    for name in METRICS["binary"]:
        if name != "confusion_matrix":
            details = [got[f"{name}_{detail}"] for detail in ("low", "high", "interval")]
            assert (None in details) == (details == [None] * 3)
            assert got[f"{name}_reason"] or None not in details
    assert got["accuracy_interval"] == "Wilson"
    assert got["auroc_interval"] == "DeLong"
    assert got["f1_reason"] == NO_INTERVAL
    assert got["brier_reason"] == "4 rows are too few for an interval of a mean: at least 30 are needed"


def test_is_auc_to_the_last_digit(warehouse: Warehouse, file: Path) -> None:
    rng = np.random.default_rng(5)
    with duckdb.connect(file) as connection:
        connection.register("arrays", table([binary_sample(rng) for _ in range(40)]))
        connection.execute("CREATE TABLE p AS SELECT y, s FROM arrays")
    got = measured(warehouse, "p", BINARY)
    expected = auc(warehouse, "p", label="y", score="s", positive_class=1)
    assert expected.pop("reason") is None
    assert {name: got[name] for name in expected} == expected


def test_wilson_is_that_of_a_published_table() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29 by Wilson's method."""
    from fractions import Fraction

    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        got = wilson(Fraction(hits), Fraction(n))
        assert (got.low, got.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_intervals_of_means(warehouse: Warehouse, file: Path) -> None:
    rng = np.random.default_rng(2)
    y, p = rng.normal(size=500) + 1e6, rng.normal(size=500) + 1e6
    s, label = rng.random(500), rng.random(500) < 0.4
    with duckdb.connect(file) as connection:
        connection.register("arrays", {"y": y, "p": p, "s": s, "label": label})
        connection.execute("CREATE TABLE p AS SELECT * FROM arrays")
    numbers = measured(warehouse, "p", NUMBERS)
    binary = measured(warehouse, "p", {**BINARY, "label": "label", "positive_class": True})
    loss = -np.log(np.where(label, s, 1 - s))
    for got, name, each in (
        (numbers, "bias", p - y), (numbers, "mae", abs(p - y)), (numbers, "mse", (p - y) ** 2),
        (binary, "brier", (label - s) ** 2), (binary, "log_loss", loss),
    ):  # fmt: skip
        error = each.std(ddof=1) / math.sqrt(500)
        assert got[f"{name}_se"] == pytest.approx(error, rel=1e-9)
        assert got[f"{name}_low"] == pytest.approx(each.mean() - Z_95 * error, rel=1e-9, abs=1e-9)
        assert got[f"{name}_high"] == pytest.approx(each.mean() + Z_95 * error, rel=1e-9, abs=1e-9)
    assert numbers["rmse_high"] == pytest.approx(math.sqrt(numbers["mse_high"]))


def test_groups_beside_all_rows(warehouse: Warehouse) -> None:
    got = measured(warehouse, FOUR, BINARY, by=["g"], metrics=["auroc", "accuracy", "recall"])
    assert got["auroc"] == 0.75
    assert [group["group"] for group in got["groups"]] == [{"g": "a"}, {"g": "b"}, {"g": None}]
    assert [group["auroc_reason"] for group in got["groups"]] == [
        "there is no negative row to compare with",
        "there is no positive row to compare with",
        "there is no positive row to compare with",
    ]
    assert [group["accuracy"] for group in got["groups"]] == [0.5, 0, 1]
    assert got["groups"][1]["recall"] == 0
    assert "counted as 0" in got["groups"][1]["recall_reason"]


def test_a_group_without_a_score_has_no_numbers(warehouse: Warehouse) -> None:
    source = rows("y, s, g", "1, 0.9, 'a'", "0, 0.1, 'a'", "1, NULL, 'b'")
    got = measured(warehouse, source, BINARY, by=["g"], hivemall=True)
    group = got["groups"][1]
    assert group["rows_skipped"] == group["null_scores"] == 1
    assert all(value is None for name, value in group.items() if name in METRICS["binary"])
    assert group["true_positives"] is None
    assert group["hivemall_auc"] is None


def test_groups_of_several_columns_and_a_bound(warehouse: Warehouse) -> None:
    source = "SELECT i % 2 AS y, i / {0} AS s, i % {1} AS a, DATE '2026-01-01' AS d FROM range({0}) t(i)"
    got = measured(warehouse, Query(source.format(2000, 10)), BINARY, by=["a", "D"], metrics=["accuracy"])
    assert len(got["groups"]) == 10
    assert got["groups"][0]["group"] == {"a": 0, "d": "2026-01-01"}
    assert sum(group["rows_evaluated"] for group in got["groups"]) == 2000
    for count in (1001, 30_000):
        message = refused(warehouse, Query(source.format(60_000, count)), BINARY, by=["a"])
        assert "at most 1,000" in message


def test_weights(warehouse: Warehouse) -> None:
    got = measured(warehouse, FOUR, BINARY, weight="w")
    assert got["auroc"] == pytest.approx(1 - 2 * 1 / (3 * 5))
    assert got["auroc_low"] is None
    assert "weighted" in got["auroc_reason"]
    assert got["accuracy"] == pytest.approx(5 / 8)
    twice = Query(f"SELECT * FROM ({FOUR.sql}) UNION ALL SELECT 1, 0.5, NULL, 'a'")
    assert measured(warehouse, twice, BINARY, weight="w") == got | {"null_weights": 1, "rows_skipped": 1}
    bad = rows("y, s, w, p", "1, 0.9, -1, 1", "0, 0.1, 'NaN'::DOUBLE, 0", "1, 0.5, 'inf'::DOUBLE, 1", "0, 0.2, 1, 1")
    for options in (BINARY, CLASSES, NUMBERS):
        assert "'w' of the query is negative or not finite in 3 rows" in refused(warehouse, bad, options, weight="w")
    none = rows("y, s, w", "1, 0.9, 0", "0, 0.1, 1")
    assert "is 0 in every positive row" in refused(warehouse, none, BINARY, weight="w")
    assert "'g' of the query is VARCHAR, not a number" in refused(warehouse, FOUR, BINARY, weight="g")
    assert "metrics are unweighted" in refused(warehouse, FOUR, BINARY, weight="w", hivemall=True)


def test_scores_that_are_no_probabilities(warehouse: Warehouse) -> None:
    source = rows("y, s", "1, 2.5", "0, -1e300", "1, 0.5", "0, 0.25")
    got = measured(warehouse, source, BINARY)
    assert got["auroc"] == 1
    assert got["average_precision"] == 1
    for name in ("log_loss", "brier", "expected_calibration_error", "accuracy"):
        assert got[name] is None
        assert "outside [0, 1] in 2 rows, from -1e+300 to 2.5" in got[f"{name}_reason"]
    assert got["calibration"] is None
    assert measured(warehouse, source, BINARY, metrics=["accuracy"])["accuracy"] == 1
    message = refused(warehouse, source, BINARY, metrics=["brier"])
    assert "2 rows, from -1e+300 to 2.5: give probabilities, or leave out brier" in message


def test_several_classes_by_hand(warehouse: Warehouse) -> None:
    texts = ['{"1": 0.5, "2": 0.3, "3": 0.2}', '{"1": 0.1, "2": 8e-1, "3": 0.1}', '{"1": 0.2, "2": 0.5, "3": 0.3}']
    source = rows("y, p, j", f"1, 1, '{texts[0]}'", f"2, 2.0, '{texts[1]}'", f"3, 2, '{texts[2]}'", "NULL, 1, NULL")
    got = measured(warehouse, source, CLASSES, probabilities="j")
    assert (got["rows_evaluated"], got["null_labels"]) == (3, 1)
    assert got["accuracy"] == pytest.approx(2 / 3)
    assert got["balanced_accuracy"] == pytest.approx(2 / 3)
    assert got["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert got["log_loss"] == pytest.approx(-(math.log(0.5) + math.log(0.8) + math.log(0.3)) / 3)
    assert got["macro_auroc"] == 1
    without = measured(warehouse, source, CLASSES)
    assert without["macro_auroc"] is None
    assert "no column of all classes' probabilities" in without["macro_auroc_reason"]
    columns = Query(f"SELECT y, p, 0.2 AS a, 0.3 AS b FROM ({source.sql}) WHERE y < 3")
    got = measured(warehouse, columns, CLASSES, probabilities={"1": "a", "2": "b"}, metrics=["log_loss"])
    assert got["log_loss"] == pytest.approx(-(math.log(0.2) + math.log(0.3)) / 2)
    assert len(measured(warehouse, source, CLASSES, probabilities="j", by=["p"])["groups"]) == 2
    new = Query(f"SELECT * FROM ({source.sql}) UNION ALL SELECT 4, 1, '{texts[0]}'")
    assert "1 classes of the rows have no probability, such as '4'; classes with probabilities: " in str(
        measured(warehouse, new, CLASSES, probabilities="j")["log_loss_reason"]
    )


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (BINARY, {"metrics": ["auc"]}, "no metric 'auc' (did you mean 'auroc'?)."),
        (BINARY, {"metrics": ["rmse"]}, "'rmse' is for regression problems, and this problem is binary: choose from"),
        (NUMBERS, {"metrics": ["log_loss"]}, "for binary and multiclass problems, and this problem is regression"),
        (BINARY, {"metrics": []}, "metrics is empty"),
        (BINARY, {"threshold": math.nan}, "threshold is nan"),
        (BINARY, {"beta": 0}, "beta is 0"),
        (BINARY, {"problem_type": "quantile"}, "problem_type is 'quantile'"),
        (BINARY, {"score": None}, "name the score column and the positive class"),
        (BINARY, {"prediction": "s"}, "the threshold (0.5) decides"),
        (BINARY, {"positive_class": 7}, "7 never occurs"),
        (BINARY, {"score": "y"}, "'y' is the label itself"),
        (BINARY, {"by": ["sex"]}, "no group column 'sex'"),
        (BINARY, {"label": "z"}, "no label column 'z'"),
        (NUMBERS, {"positive_class": 1}, "the problem is regression, not binary"),
        (NUMBERS, {"prediction": None}, "name the prediction column"),
        (NUMBERS, {"prediction": "g"}, "'g' of the query is VARCHAR, not a number"),
        (NUMBERS, {"label": "g", "prediction": "s"}, "but a regression needs numeric labels"),
        (CLASSES, {"prediction": "w", "metrics": ["log_loss"]}, "all classes' probabilities, or leave out log_loss"),
        (CLASSES, {"prediction": "w", "probabilities": "g"}, "holds 'a': give probabilities as JSON text"),
    ],
)
def test_what_is_refused(warehouse: Warehouse, options: dict[str, Any], more: dict[str, Any], message: str) -> None:
    assert message in refused(warehouse, FOUR, options, **more)


@pytest.mark.parametrize("options", [BINARY, CLASSES, NUMBERS])
def test_a_day_with_nothing_to_evaluate(warehouse: Warehouse, options: dict[str, Any]) -> None:
    """It is told, with the reason at each measure, and is no error."""
    null = rows("y, s, p", "NULL::INTEGER, 0.5, 1.0")
    names = {"binary": "auroc", "multiclass": "accuracy", "regression": "rmse"}
    name = names[options["problem_type"]]
    got = measured(warehouse, null, options)
    assert (got[name], got["rows_evaluated"], got["rows_skipped"], got["null_labels"]) == (None, 0, 1, 1)
    assert "is NULL in every row" in got[f"{name}_reason"]
    got = measured(warehouse, Query(f"SELECT * FROM ({null.sql}) WHERE s > 1"), options)
    assert (got[name], got["rows_evaluated"], got["rows_skipped"]) == (None, 0, 0)
    assert "is empty" in got[f"{name}_reason"]
    unscored = rows("y, s, p", "1, NULL::DOUBLE, NULL::DOUBLE")
    assert "is NULL" in refused(warehouse, unscored, options)  # a prediction that went wrong


@pytest.mark.parametrize("label", [0, 1])
def test_a_day_of_one_class(warehouse: Warehouse, label: int) -> None:
    """What compares two classes is missing, with the reason; what does not is there."""
    same = rows("y, s, p", f"{label}, 0.5, {label}", f"{label}, 0.6, {label}")
    got = measured(warehouse, same, BINARY)
    assert (got["auroc"], got["positives"], got["negatives"]) == (None, 2 * label, 2 - 2 * label)
    assert ("only one class" if label else "never occurs") in got["auroc_reason"]
    assert got["accuracy"] == label
    assert got["log_loss"] > 0
    got = measured(warehouse, same, CLASSES)
    assert got["accuracy"] == 1
    assert got["macro_auroc"] is None


def test_numbers_at_their_limits(warehouse: Warehouse) -> None:
    got = measured(warehouse, rows("y, p", "2, 2", "2, 3"), NUMBERS, hivemall=True)
    assert (got["r2"], got["hivemall_r2"]) == (0, 1)
    assert "every label is the same" in got["r2_reason"]
    assert got["hivemall_mae"] == got["mae"] == got["bias"] == got["median_absolute_error"] == 0.5
    zero = measured(warehouse, rows("y, p", "0, 1", "1, 1"), NUMBERS, metrics=["mape"])
    assert zero["mape"] == pytest.approx(0.5 / 2.220446049250313e-16)
    infinite = rows("y, p", "1, 'inf'::DOUBLE", "2, 2")
    assert "is infinite, or beyond 1e+75, in 1 rows" in refused(warehouse, infinite, NUMBERS)
    huge = rows("y, p, w", "1e74, -1e74, 1", "2, 2, 1.7e308", "3, 1e76, 1.7e308")
    assert "beyond 1e+75, in 1 rows" in refused(warehouse, huge, NUMBERS)
    huge = Query(f"SELECT * FROM ({huge.sql}) WHERE p < 1e75")
    assert measured(warehouse, huge, NUMBERS)["mse"] == pytest.approx(2e148)
    assert "weights or values are too large" in refused(warehouse, huge, NUMBERS | {"weight": "w"})
    counted = measured(warehouse, rows("y, p", "1, 'nan'::DOUBLE", "2, 2", "NULL, 1"), NUMBERS)
    assert (counted["rows_evaluated"], counted["nan_scores"], counted["null_labels"]) == (1, 1, 1)
    assert counted["r2"] is None
    few = measured(warehouse, Query(f"SELECT i AS y, i + 0.5 AS p FROM range({NORMAL_ROWS - 1}) t(i)"), NUMBERS)
    assert "29 rows are too few" in few["mae_reason"]


def test_names_without_a_problem_type() -> None:
    assert check_metrics(["rmse", "auroc", "rmse"]) == ("rmse", "auroc")
    with pytest.raises(InputError, match="did you mean 'macro_f1'"):
        check_metrics(["macro_f"])


def test_hivemall_of_two_classes(warehouse: Warehouse) -> None:
    got = measured(warehouse, FOUR, BINARY, hivemall=True, beta=2, threshold=0.4)
    assert got["hivemall_auc"] == got["auroc"]
    assert got["hivemall_logloss"] == got["log_loss"]
    assert got["hivemall_fmeasure"] == got["accuracy"] == 0.75
    assert got["hivemall_fmeasure_binary"] == pytest.approx(got["fbeta"])


# ---------------------------------------------------------------------------------------------------- unknown labels


def with_unknown(most: float = 0.5) -> tuple[Query, dict[str, Any], Query]:
    """80 rows of two classes, 20 of one that the model never saw, and the 80 alone."""
    known = "SELECT i % 8 AS g, CASE WHEN i % 2 = 0 THEN 'yes' ELSE 'no' END AS y, (i * 37 % 83) / 83.0 AS s"
    alone = f"{known} FROM range(80) t(i)"
    both = f"{alone} UNION ALL SELECT 99, 'unknown', 0.9 FROM range(20)"
    options = {"problem_type": "binary", "label": "y", "score": "s", "positive_class": "yes"}
    return Query(both), {**options, "classes": ["no", "yes"], "max_unknown_labels": most}, Query(alone)


def test_labels_that_are_no_class_are_counted_and_left_out(warehouse: Warehouse) -> None:
    source, options, alone = with_unknown()
    result = measured(warehouse, source, options)
    assert (result["unknown_labels"], result["rows_skipped"], result["rows_evaluated"]) == (20, 20, 80)
    expected = measured(warehouse, alone, {**options, "classes": None})
    assert expected["unknown_labels"] == 0
    counted = ("unknown_labels", "rows_skipped")
    assert {**result, **dict.fromkeys(counted)} == {**expected, **dict.fromkeys(counted)}
    negative = measured(warehouse, source, {**options, "classes": ["no", "yes", "unknown"]})
    assert (negative["negatives"], negative["unknown_labels"]) == (60, 0)
    assert negative["auroc"] < result["auroc"] - 0.1
    assert negative == measured(warehouse, source, {**options, "classes": None})


def test_unknown_labels_are_told_from_missing_ones_and_by_group(warehouse: Warehouse) -> None:
    source = rows(
        "y, s, g", "'a', 0.9, 1", "'b', 0.1, 1", "'c', 0.5, 1", "'a', 0.2, 2", "'b', 0.4, 2", "NULL, 0.3, 2",
        "'c', NULL, 2",
    )  # fmt: skip
    options = {"problem_type": "binary", "label": "y", "score": "s", "positive_class": "a", "classes": ["a", "b"]}
    result = measured(warehouse, source, options, by=["g"])
    assert (result["unknown_labels"], result["null_labels"], result["null_scores"]) == (2, 1, 1)
    assert [(group["rows_evaluated"], group["unknown_labels"]) for group in result["groups"]] == [(2, 1), (2, 1)]
    numbers = rows("y, s", "1.0, 0.9", "0.0, 0.1", "CAST('NaN' AS DOUBLE), 0.5", "7.0, 0.5")
    result = measured(warehouse, numbers, {**BINARY, "classes": [0, 1]})
    assert (result["nan_labels"], result["unknown_labels"], result["rows_evaluated"]) == (1, 1, 2)


def test_too_many_unknown_labels_are_refused_with_their_names(warehouse: Warehouse) -> None:
    source, options, _ = with_unknown(0.05)
    message = refused(warehouse, source, options)
    assert message.startswith(
        "20 of 100 labels in 'y' of the query are none of the classes 'no', 'yes': 'unknown' (20 rows). Correct them, "
        "raise max_unknown_labels (now 0.05)"
    )
    assert measured(warehouse, source, {**options, "max_unknown_labels": 0.2})["unknown_labels"] == 20


def test_unknown_labels_of_several_classes(warehouse: Warehouse) -> None:
    probabilities = [
        '{"a": 0.6, "b": 0.3, "c": 0.1}',
        '{"a": 0.2, "b": 0.7, "c": 0.1}',
        '{"a": 0.1, "b": 0.2, "c": 0.7}',
    ]
    values = [f"'{y}', '{p}', '{q}'" for y, p, q in zip("abc", "abb", probabilities, strict=True)] * 4
    unknown = f"'new', 'a', '{probabilities[0]}'"
    options = {**CLASSES, "probabilities": "q", "classes": ["a", "b", "c"]}
    alone = measured(warehouse, rows("y, p, q", *values), options)
    result = measured(warehouse, rows("y, p, q", *values, unknown), options)
    assert alone["macro_auroc"] is not None
    counted = ("unknown_labels", "rows_skipped")
    assert (result["unknown_labels"], result["rows_skipped"]) == (1, 1)
    assert {**result, **dict.fromkeys(counted)} == {**alone, **dict.fromkeys(counted)}
    message = refused(warehouse, rows("y, p, q", *values, unknown), options, max_unknown_labels=0.05)
    assert message.startswith(
        "1 of 13 labels in 'y' of the query are none of the classes 'a', 'b', 'c': 'new' (1 rows)."
    )
