"""AUC and its interval, and what makes it impossible, on an embedded warehouse."""

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
from airflow_provider_automl.warehouse.measures import auc
from tests.warehouse.delong import delong


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def warehouse(file: Path) -> Warehouse:
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    hook = DuckDBHook(database=str(file))
    hook.airflow_connection = None
    return open_warehouse(hook)


def points(*rows: tuple[str, str]) -> Query:
    """Rows of a label and a score, each as SQL."""
    return Query(" UNION ALL ".join(f"SELECT {label} AS y, {score} AS s" for label, score in rows))


def measured(warehouse: Warehouse, *rows: tuple[str, str], positive: object = 1) -> dict[str, Any]:
    result = auc(warehouse, points(*rows), label="y", score="s", positive_class=positive)
    json.dumps(result, allow_nan=False)
    return result


def refused(warehouse: Warehouse, *rows: tuple[str, str], positive: object = 1) -> str:
    with pytest.raises(InputError) as caught:
        measured(warehouse, *rows, positive=positive)
    return str(caught.value)


@pytest.mark.parametrize("shape", ["even", "bunched", "rare", "nearly perfect", "inverse"])
def test_equals_scikit_learn(warehouse: Warehouse, file: Path, shape: str) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(3)
    label = rng.random(200_000) < (0.001 if shape == "rare" else 0.3)
    score = rng.normal(size=len(label)) + (4.5 if shape == "nearly perfect" else 1.5) * label
    score = {"bunched": np.round(score, 1), "inverse": -score}.get(shape, score)
    with duckdb.connect(file) as connection:
        connection.register("arrays", {"y": label, "s": score})
        connection.execute("CREATE TABLE p AS SELECT * FROM arrays")
    result = auc(warehouse, "p", label="y", score="s", positive_class=True)
    expected, error = delong(label, score)
    assert result["auroc"] == pytest.approx(roc_auc_score(label, score), abs=1e-13)
    assert result["auroc"] == pytest.approx(expected, abs=1e-13)
    assert result["auroc_se"] == pytest.approx(error, rel=1e-9)
    assert result["auroc_low"] == pytest.approx(max(0, expected - Z_95 * error), abs=1e-12)
    assert result["auroc_high"] == pytest.approx(min(1, expected + Z_95 * error), abs=1e-12)


def test_ties_count_half_and_zeros_are_equal(warehouse: Warehouse) -> None:
    assert measured(warehouse, ("1", "0.5"), ("0", "0.5"), ("1", "0.5"), ("0", "0.5"))["auroc"] == 0.5
    zeros = [("1", "CAST('-0.0' AS DOUBLE)"), ("0", "CAST('0.0' AS DOUBLE)")] * 2
    assert measured(warehouse, *zeros)["auroc"] == 0.5


def test_infinities_sort(warehouse: Warehouse) -> None:
    rows = [("1", "'inf'"), ("0", "'-inf'"), ("1", "'1e308'"), ("0", "'inf'")]
    result = measured(warehouse, *[(y, f"CAST({s} AS DOUBLE)") for y, s in rows])
    assert result["auroc"] == (1 + 0.5 + 1 + 0) / 4


@pytest.mark.parametrize(("positives", "negatives"), [(2, 2), (3, 50), (400, 100)])
def test_perfect_has_a_one_sided_bound(warehouse: Warehouse, positives: int, negatives: int) -> None:
    perfect = Query(
        f"SELECT CASE WHEN i < {positives} THEN 1 ELSE 0 END AS y, -i AS s FROM range({positives + negatives}) t(i)"
    )
    result = auc(warehouse, perfect, label="y", score="s", positive_class=1)
    bound = 0.05 ** (1 / min(positives, negatives))
    assert (result["auroc"], result["auroc_low"], result["auroc_high"]) == (1.0, bound, 1.0)
    worst = auc(warehouse, perfect, label="y", score="s", positive_class=0)
    assert (worst["auroc"], worst["auroc_low"], worst["auroc_high"]) == (0.0, 0.0, 1 - bound)
    assert result["reason"] is None


def test_the_bound_covers(warehouse: Warehouse) -> None:
    """Of models just below the bound, fewer than one in twenty looks perfect."""
    m = 10
    bound = 0.05 ** (1 / m)
    # The true AUC of two normals a distance d apart is Phi(d / sqrt 2); choose d so that it equals the bound.
    low, high = 0.0, 10.0
    for _ in range(60):
        d = (low + high) / 2
        low, high = (d, high) if 0.5 * (1 + math.erf(d / 2)) < bound else (low, d)
    rng = np.random.default_rng(0)
    perfect = (rng.normal(size=(20_000, m)) + d).min(axis=1) > rng.normal(size=(20_000, m)).max(axis=1)
    assert perfect.mean() <= 0.05


@pytest.mark.parametrize(
    "rows", [[("1", "0.9"), ("0", "0.1"), ("0", "0.95")], [("1", "0.9"), ("1", "0.8"), ("0", "0.85")]]
)
def test_one_of_a_class_has_no_interval(warehouse: Warehouse, rows: list[tuple[str, str]]) -> None:
    result = measured(warehouse, *rows)
    assert result["auroc"] == 0.5
    assert [result[name] for name in ("auroc_low", "auroc_high", "auroc_se")] == [None] * 3
    assert "at least two" in result["reason"]


def test_skipped_rows_are_counted(warehouse: Warehouse) -> None:
    good = [("1", "0.9"), ("1", "0.8"), ("0", "0.1"), ("0", "0.85")]
    bad = [("NULL", "0.5"), ("1", "NULL"), ("NULL", "NULL"), ("0", "CAST('nan' AS DOUBLE)")]
    result = measured(warehouse, *good, *bad)
    assert result == measured(warehouse, *good) | {
        "rows_skipped": 4,
        "null_labels": 2,
        "null_scores": 2,
        "nan_scores": 1,
    }


@pytest.mark.parametrize(
    ("kind", "positive"),
    [
        ("INTEGER", "1"),
        ("INTEGER", 1),
        ("BIGINT", True),
        ("UTINYINT", 1.0),
        ("DOUBLE", "1"),
        ("REAL", 1),
        ("DECIMAL(5,2)", "1.00"),
        ("BOOLEAN", "True"),
        ("BOOLEAN", 1),
        ("VARCHAR", 1),
        ("ENUM ('0', '1')", "1"),
    ],
)
def test_the_positive_class_is_read_as_the_labels_type(warehouse: Warehouse, kind: str, positive: object) -> None:
    def typed(value: int) -> str:
        text = str(value) if kind != "BOOLEAN" else ("true" if value else "false")
        return f"CAST('{text}' AS {kind})"

    rows = [(typed(1), "0.9"), (typed(0), "0.1"), (typed(1), "0.8"), (typed(0), "0.2")]
    assert measured(warehouse, *rows, positive=positive)["auroc"] == 1.0


def test_dates_may_be_classes(warehouse: Warehouse) -> None:
    rows = [("DATE '2026-01-01'", "0.9"), ("DATE '2026-01-02'", "0.1")] * 2
    assert measured(warehouse, *rows, positive="2026-01-01")["auroc"] == 1.0


def test_leading_spaces_count(warehouse: Warehouse) -> None:
    rows = [("' >50K'", "0.9"), ("' <=50K'", "0.1")] * 2
    assert measured(warehouse, *rows, positive=" >50K")["auroc"] == 1.0
    message = refused(warehouse, *rows, positive=">50K")
    assert "'>50K' never occurs" in message
    assert "' <=50K' (2 rows), ' >50K' (2 rows)" in message


def test_at_most_ten_classes_are_listed(warehouse: Warehouse) -> None:
    message = refused(warehouse, *[(f"'class {i:02}'", "0.5") for i in range(30)], positive="x")
    assert message.count("rows)") == 10
    assert message.endswith("and others.")


@pytest.mark.parametrize(
    ("rows", "positive", "reason"),
    [
        ([("1", "0.5"), ("1", "0.6")], 1, "only one class"),
        ([("CAST(NULL AS INTEGER)", "0.5")], 1, "NULL in every row"),
        ([("1", "CAST(NULL AS DOUBLE)"), ("0", "CAST(NULL AS DOUBLE)")], 1, "NULL or NaN in every row with a label"),
        ([("1", "CAST(NULL AS DOUBLE)"), ("0", "0.5")], 1, "has no row with a score"),
        ([("1", "0.5"), ("0", "0.5")], "yes", "cannot be a value"),
        ([("1", "0.5"), ("0", "0.5")], 1.5, "cannot be a value"),
        ([("true", "0.5"), ("false", "0.5")], "yes", "cannot be a value"),
        ([("1", "'0.5'"), ("0", "'0.5'")], 1, "not a number"),
    ],
)
def test_what_cannot_be_measured(
    warehouse: Warehouse, rows: list[tuple[str, str]], positive: object, reason: str
) -> None:
    assert reason in refused(warehouse, *rows, positive=positive)


def test_columns_and_tables_that_are_not_there(warehouse: Warehouse) -> None:
    warehouse.create_table("s.p", {"class": "VARCHAR", "predicted_proba": "DOUBLE"})

    def message(**given: str) -> str:
        options = {"table": "s.p", "label": "class", "score": "predicted_proba", "positive_class": "x"} | given
        with pytest.raises(InputError) as caught:
            auc(warehouse, options.pop("table"), **options)  # type: ignore[arg-type]
        return str(caught.value)

    assert "no score column 'predicted_prob' (did you mean 'predicted_proba'?)" in message(score="predicted_prob")
    assert "no label column 'klass' (did you mean 'class'?)" in message(label="klass")
    assert "its columns are 'class', 'predicted_proba'" in message(label="xyz")
    assert "label itself" in message(score="class")
    assert "label itself" in message(label="predicted_proba")
    assert "is empty" in message()
    assert "no table s.q" in message(table="s.q")
