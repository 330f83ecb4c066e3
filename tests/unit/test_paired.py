"""Two models on the same rows: DeLong's paired test and paired means, on an embedded warehouse.

``AUTOML_SAMPLES=2000`` draws more random samples than the default.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from MLstatkit import Delong_test

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.metrics import Z_95
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.measures import auc
from airflow_provider_automl.warehouse.paired import compare_auc, compare_means
from tests.warehouse.delong import paired_delong

SAMPLES = int(os.environ.get("AUTOML_SAMPLES", "28"))
INF, NAN = float("inf"), float("nan")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    hook = DuckDBHook(database=str(tmp_path_factory.mktemp("warehouse") / "warehouse.duckdb"))
    hook.airflow_connection = None
    return open_warehouse(hook)


def load(warehouse: Warehouse, directory: Path, name: str, columns: dict[str, Any]) -> str:
    files = directory / f"{name}-{len(list(directory.iterdir()))}"
    files.mkdir()
    pq.write_table(pa.table(columns), files / "part-0.parquet")
    warehouse.load(files, name)
    return name


def two(warehouse: Warehouse, directory: Path, label: Any, first: Any, second: Any, seed: int = 0) -> tuple[str, str]:
    """The predictions of two models on the same rows, in different orders."""
    order = np.random.default_rng(seed).permutation(len(label))
    ids = np.arange(len(label))
    return (
        load(warehouse, directory, "champion", {"id": ids, "y": label, "s": first}),
        load(warehouse, directory, "challenger", {"id": ids[order], "y": label[order], "s": second[order]}),
    )


def compared(warehouse: Warehouse, tables: tuple[str | Query, str | Query], **more: Any) -> dict[str, Any]:
    result = compare_auc(warehouse, *tables, **{"row_id": "id", "label": "y", "score": "s", "positive_class": 1} | more)
    json.dumps(result, allow_nan=False)
    return result


def sample(rng: np.random.Generator, rows: int, shape: str) -> tuple[Any, Any, Any]:
    """A label and the scores of two models that are alike, with what makes ranks hard."""
    label = (rng.random(rows) < {"rare": 0.02}.get(shape, 0.3)).astype("int64")
    label[:2], label[2:4] = 1, 0
    common = rng.normal(size=rows) + {"nearly perfect": 3.5, "perfect but one": 40.0}.get(shape, 1.2) * label
    noise = {"alike": 1e-3}.get(shape, 0.5)
    first, second = (common + noise * rng.normal(size=rows) for _ in range(2))
    if shape == "perfect but one":
        second[0] = -50.0
    if shape == "bunched":
        first, second = np.round(first, 1), np.round(second)
    if shape == "inverse":
        second = -second
    return label, first, second


SHAPES = ["even", "bunched", "rare", "nearly perfect", "perfect but one", "alike", "inverse"]


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_a_published_implementation(warehouse: Warehouse, tmp_path: Path, shape: str) -> None:
    rng = np.random.default_rng(SHAPES.index(shape))
    for number in range(max(1, SAMPLES // len(SHAPES))):
        rows = int(rng.integers(100, 2000))
        label, first, second = sample(rng, rows, shape)
        got = compared(warehouse, two(warehouse, tmp_path, label, first, second, number))
        z, p, _, _, champion, challenger, info = Delong_test(label, first, second, n_boot=1)
        if info["method"] != "delong":  # no variance: it has no test either
            assert not got["difference_se"]
            continue
        assert got["champion_auroc"] == pytest.approx(champion, abs=1e-12)
        assert got["challenger_auroc"] == pytest.approx(challenger, abs=1e-12)
        assert got["difference"] == pytest.approx(challenger - champion, abs=1e-12)
        assert got["difference_se"] == pytest.approx(math.sqrt(info["var_diff"]), abs=1e-12)
        assert got["z"] == pytest.approx(z, rel=1e-6)
        assert got["p_value"] == pytest.approx(p, rel=1e-5, abs=1e-300)
        assert got["p_greater"] == pytest.approx(p / 2 if z > 0 else 1 - p / 2, rel=1e-5, abs=1e-300)
        assert got["difference_low"] == pytest.approx(got["difference"] - Z_95 * got["difference_se"], abs=1e-15)
        assert (got["rows"], got["positives"], got["unmatched"]) == (rows, label.sum(), 0)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(warehouse: Warehouse, tmp_path: Path, seed: int) -> None:
    """Placements, pair by pair, with infinities, zeros of both signs and ties; to the last digits."""
    rng = np.random.default_rng(seed)
    label = (rng.random(300) < 0.4).astype("int64")
    first = rng.choice([-INF, -1.5, -0.0, 0.0, 2.0, 1e308, INF], 300)
    second = np.where(rng.random(300) < 0.5, first, rng.normal(size=300))
    got = compared(warehouse, two(warehouse, tmp_path, label, first, second))
    difference, error = paired_delong(label == 1, first, second)
    assert got["difference"] == pytest.approx(difference, abs=1e-14)
    assert got["difference_se"] == pytest.approx(error, rel=1e-12)
    alone = auc(warehouse, "champion", label="y", score="s", positive_class=1)
    assert (got["champion_auroc"], got["champion_se"]) == (alone["auroc"], pytest.approx(alone["auroc_se"], rel=1e-13))
    back = compared(warehouse, ("challenger", "champion"))
    assert (back["difference"], back["z"]) == (-got["difference"], -got["z"])
    assert back["p_greater"] == pytest.approx(1 - got["p_greater"])


def test_agrees_with_the_bootstrap(warehouse: Warehouse, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    label, first, second = sample(rng, 600, "even")
    got = compared(warehouse, two(warehouse, tmp_path, label, first, second))
    drawn = [rng.integers(0, 600, 600) for _ in range(500)]
    differences = [paired_delong(label[rows] == 1, first[rows], second[rows])[0] for rows in drawn]
    assert got["difference_se"] == pytest.approx(np.std(differences, ddof=1), rel=0.15)


def test_large_tables_keep_their_digits(warehouse: Warehouse, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    label, first, second = sample(rng, 100_000, "alike")
    got = compared(warehouse, two(warehouse, tmp_path, label, first, second))
    difference, error = paired_delong(label == 1, first, second)
    assert got["difference"] == pytest.approx(difference, abs=1e-14)
    assert got["difference_se"] == pytest.approx(error, rel=1e-9)


# ------------------------------------------------------------------------------------------------ what is compared


def table(*rows: tuple[object, object, object]) -> Query:
    """Rows of an id, a label and a score."""

    def text(value: object) -> str:
        return "NULL" if value is None else f"CAST('{value}' AS DOUBLE)" if isinstance(value, float) else repr(value)

    return Query(" UNION ALL ".join(f"SELECT {text(i)} AS id, {text(y)} AS y, {text(s)} AS s" for i, y, s in rows))


GOOD = [(1, 1, 0.9), (2, 1, 0.4), (3, 0, 0.5), (4, 0, 0.1), (5, 1, 0.7), (6, 0, 0.6)]
OTHER = [(1, 1, 0.8), (2, 1, 0.7), (3, 0, 0.1), (4, 0, 0.2), (5, 1, 0.3), (6, 0, 0.4)]


def test_what_is_missing_in_either_is_left_out_of_both(warehouse: Warehouse) -> None:
    alone = compared(warehouse, (table(*GOOD), table(*OTHER)))
    champion = [(7, None, 0.5), (8, 1, None), (9, 1, NAN), (10, 0, 0.2), (11, 1, 0.1)]
    challenger = [(7, 1, 0.5), (8, 1, 0.5), (9, 1, 0.5), (10, 0, NAN), (11, None, None)]
    got = compared(warehouse, (table(*GOOD, *champion), table(*OTHER, *challenger)))
    assert got == alone | {"rows_skipped": 5, "null_labels": 2, "null_scores": 3, "unknown_labels": 0}


def test_a_nan_label_is_none(warehouse: Warehouse) -> None:
    rows = [(i, float(y), s) for i, y, s in GOOD]
    got = compared(warehouse, (table(*rows, (7, NAN, 0.5)), table(*rows, (7, NAN, 0.5))))
    assert (got["rows"], got["null_labels"], got["difference"]) == (6, 1, 0.0)


def test_unmatched_ids_are_counted_and_refused_above_a_share(warehouse: Warehouse) -> None:
    tables = (table(*GOOD, (7, 1, 0.5), (None, 1, 0.5)), table(*OTHER, (8, 0, 0.5), (9, 0, 0.5), (None, 1, 0.5)))
    got = compared(warehouse, tables, max_unmatched=0.5)
    counts = ("rows", "unmatched", "champion_only", "challenger_only", "null_ids")
    assert [got[name] for name in counts] == [6, 5, 1, 2, 2]
    assert got["unmatched_share"] == 5 / 11
    with pytest.raises(InputError, match=r"5 of 11 row ids \(45\.5%\) in 'id' are in one table only \(.*query: 1, .*2"):
        compared(warehouse, tables, max_unmatched=0.45)
    with pytest.raises(InputError, match="max_unmatched is 2: give a share from 0 to 1"):
        compared(warehouse, tables, max_unmatched=2)
    with pytest.raises(InputError, match=r"2 of 2 row ids \(100\.0%\)"):
        compared(warehouse, (table((1, 1, 0.5)), table((2, 1, 0.5))), max_unmatched=1)


@pytest.mark.parametrize("side", ["champion", "challenger"])
def test_ids_that_occur_twice_are_refused(warehouse: Warehouse, side: str) -> None:
    twice = table(*GOOD, (1, 1, 0.9), (1, 1, 0.9), (2, 1, 0.3))
    tables = (twice, table(*GOOD)) if side == "champion" else (table(*GOOD), twice)
    with pytest.raises(InputError, match=f"2 values of the row id column 'id' occur more than once in the {side}'s"):
        compared(warehouse, tables)


def test_a_row_id_that_is_none_costs_no_more(warehouse: Warehouse, tmp_path: Path) -> None:
    """Joined, 200,000 rows of two ids would be twenty billion."""
    rows = np.arange(200_000)
    for name in ("champion", "challenger"):
        load(warehouse, tmp_path, name, {"id": rows % 2, "y": rows % 2, "s": rows / 7})
    with pytest.raises(InputError, match="2 values of the row id column 'id' occur more than once in champion"):
        compared(warehouse, ("champion", "challenger"))


def test_labels_that_contradict_each_other_are_refused(warehouse: Warehouse) -> None:
    other = [(i, 1 - y if i > 4 else y, s) for i, y, s in OTHER]
    with pytest.raises(InputError, match="2 of 6 rows have different labels in 'y' of"):
        compared(warehouse, (table(*GOOD), table(*other)))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(1, 1, 0.5), (2, 1, 0.6)], "2 rows of the positive class 1 in 'y' and 0 of others"),
        ([(1, 0, 0.5), (2, 0, 0.6)], "0 rows of the positive class 1 in 'y' and 2 of others"),
        ([(1.0, 0, 0.5), (2.0, 1, 0.6)], "'id' of the champion's query is DOUBLE: floating-point numbers"),
        ([("a", 0, 0.5), ("b", 1, 0.6)], "is VARCHAR in the champion's predictions and an integer in the"),
        ([(1, 0, "x"), (2, 1, "y")], "The score column 's' of the champion's query is VARCHAR, not a number"),
    ],
)
def test_what_cannot_be_compared(warehouse: Warehouse, rows: list[Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        compared(warehouse, (table(*rows), table(*(GOOD if len({y for _, y, _ in rows}) > 1 else rows))))


def test_columns_that_are_not_there(warehouse: Warehouse) -> None:
    tables = (table(*GOOD), table(*OTHER))
    with pytest.raises(InputError, match=r"champion's query has no row id column 'row_id' \(did you mean 'id'\?\)"):
        compared(warehouse, tables, row_id="row_id")
    with pytest.raises(InputError, match="the challenger's query has no score column 'p'"):
        compared(warehouse, tables, challenger_score="p")
    with pytest.raises(InputError, match="The score column 'y' of .* is the label itself"):
        compared(warehouse, tables, score="y")


def test_empty_tables(warehouse: Warehouse, tmp_path: Path) -> None:
    none = np.array([], dtype="int64")
    load(warehouse, tmp_path, "nothing", {"id": none, "y": none, "s": none})
    with pytest.raises(InputError, match="nothing and nothing are empty"):
        compared(warehouse, ("nothing", "nothing"))


def test_one_of_a_class_has_no_test(warehouse: Warehouse) -> None:
    got = compared(warehouse, (table(*GOOD[1:4]), table(*OTHER[1:4])))
    assert (got["champion_auroc"], got["challenger_auroc"], got["difference"]) == (0.5, 1.0, 0.5)
    assert [got[name] for name in ("difference_low", "difference_se", "champion_se", "z", "p_greater")] == [None] * 5
    assert "only one positive row" in got["reason"]


def test_models_that_order_alike_have_a_bound(warehouse: Warehouse) -> None:
    """An interval of no width would call any two models equal on six rows."""
    scaled = [(i, y, s * 2 - 5) for i, y, s in GOOD]
    got = compared(warehouse, (table(*GOOD), table(*scaled)))
    bound = 1 - 0.05 ** (1 / 3)
    assert (got["difference"], got["difference_low"], got["difference_high"]) == (0.0, -bound, bound)
    assert (got["z"], got["p_value"], got["p_greater"]) == (0.0, 1.0, 0.5)
    assert "identically on every row" in got["reason"]


def test_the_interval_is_cut(warehouse: Warehouse) -> None:
    wrong = [(1, 1, 0.1), (2, 1, 0.2), (3, 0, 0.15), (4, 0, 0.9), (5, 0, 0.8)]
    right = [(1, 1, 0.9), (2, 1, 0.8), (3, 0, 0.1), (4, 0, 0.2), (5, 0, 0.3)]
    got = compared(warehouse, (table(*wrong), table(*right)))
    assert got["difference"] + Z_95 * got["difference_se"] > 1
    assert got["difference_high"] == 1.0
    back = compared(warehouse, (table(*right), table(*wrong)))
    assert back["difference_low"] == -1.0


def test_a_difference_without_variance_has_no_p_value(warehouse: Warehouse) -> None:
    """A perfect model against one that is all wrong: z would be infinite, on four rows as on a million."""
    right = [(1, 1, 0.9), (2, 1, 0.8), (3, 0, 0.1), (4, 0, 0.2)]
    got = compared(warehouse, (table(*[(i, y, -s) for i, y, s in right]), table(*right)))
    assert (got["difference"], got["difference_se"], got["p_greater"], got["difference_low"]) == (1.0, 0.0, None, None)
    assert "variance is unknown" in got["reason"]


# ------------------------------------------------------------------------------------------------ means


def means(warehouse: Warehouse, tables: tuple[str | Query, str | Query], metric: str, **more: Any) -> dict[str, Any]:
    given = {"metric": metric, "row_id": "id", "label": "y", "prediction": "s"} | more
    result = compare_means(warehouse, *tables, **given)
    json.dumps(result, allow_nan=False)
    return result


def expected(losses: tuple[Any, Any]) -> tuple[float, float]:
    gain = losses[0] - losses[1]
    return gain.mean(), gain.std(ddof=1) / math.sqrt(len(gain))


@pytest.mark.parametrize("metric", ["log_loss", "brier"])
@pytest.mark.parametrize("kind", ["int64", "float64", "str"])
def test_probabilities(warehouse: Warehouse, tmp_path: Path, metric: str, kind: str) -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    rng = np.random.default_rng(1)
    label = (rng.random(500) < 0.3).astype("int64")
    scores = [np.clip(rng.normal(0.3 + 0.4 * label, 0.3), 0, 1) for _ in range(2)]  # exactly 0 and 1 among them
    assert {0.0, 1.0} <= set(scores[0])
    tables = two(warehouse, tmp_path, label.astype(kind), *scores)
    got = means(warehouse, tables, metric, positive_class=1)
    if metric == "log_loss":
        both = [np.maximum(np.column_stack([1 - p, p]), 1e-15) for p in scores]  # scikit-learn's own floor is lower
        losses = tuple(-np.log(p[np.arange(500), label]) for p in both)
        values = [log_loss(label, p) for p in both]
    else:
        losses = tuple((label - p) ** 2 for p in scores)
        values = [brier_score_loss(label, p) for p in scores]
    difference, error = expected(losses)  # type: ignore[arg-type]
    assert [got["champion"], got["challenger"]] == pytest.approx(values, abs=1e-12)
    assert got["difference"] == pytest.approx(difference, abs=1e-12)
    assert got["difference_se"] == pytest.approx(error, rel=1e-9)
    assert got["z"] == pytest.approx(difference / error, rel=1e-8)
    assert got["rows"] == 500


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_numbers(warehouse: Warehouse, tmp_path: Path, metric: str) -> None:
    from scipy.stats import norm
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    rng = np.random.default_rng(2)
    label = rng.normal(size=400) * 100
    scores = [label + rng.normal(size=400) * width for width in (10, 8)]
    got = means(warehouse, two(warehouse, tmp_path, label, *scores), metric)
    power, measure = (1, mean_absolute_error) if metric == "mae" else (2, mean_squared_error)
    difference, error = expected(tuple(np.abs(label - score) ** power for score in scores))  # type: ignore[arg-type]
    assert [got["champion"], got["challenger"]] == pytest.approx([measure(label, score) for score in scores], rel=1e-12)
    assert (got["difference"], got["difference_se"]) == (pytest.approx(difference), pytest.approx(error))
    assert got["p_greater"] == pytest.approx(norm.sf(difference / error), rel=1e-9)
    assert got["p_value"] == pytest.approx(2 * norm.sf(abs(difference / error)), rel=1e-9)


def test_large_alike_differences_keep_their_digits(warehouse: Warehouse, tmp_path: Path) -> None:
    """Sums of squares would lose all sixteen digits here."""
    rng = np.random.default_rng(3)
    label = np.zeros(1000)
    tables = two(warehouse, tmp_path, label, 1e8 + np.round(rng.normal(size=1000), 6), label)
    got = means(warehouse, tables, "mae")
    exact = np.array(warehouse.rows("champion", order_by=["id"]))
    gain = np.array([row["s"] for row in exact])
    assert got["difference_se"] == pytest.approx(np.std(gain - 1e8, ddof=1) / math.sqrt(1000), rel=1e-6)


@pytest.mark.parametrize(("metric", "bound"), [("accuracy", 1 - 0.05 ** (1 / 6)), ("mae", None)])
def test_predictions_that_are_alike(warehouse: Warehouse, metric: str, bound: float | None) -> None:
    got = means(warehouse, (table(*GOOD), table(*GOOD)), metric)
    assert (got["difference"], got["difference_high"], got["p_value"], got["p_greater"]) == (0.0, bound, 1.0, 0.5)
    assert got["difference_low"] == (None if bound is None else -bound)


def test_differences_that_are_alike_but_for_rounding(warehouse: Warehouse) -> None:
    """0.1 is no multiple of a power of two: the sum of a thousand is not quite a hundred."""
    # By a list, for DuckDB multiplies a constant.
    text = "SELECT range AS id, 0 AS y, CAST([{0}, {0}][1 + range % 2] AS DOUBLE) AS s FROM RANGE(1000)"
    first, second = (Query(text.format(value)) for value in (0.1, 0))
    assert warehouse.rows(Query(f"SELECT SUM(s) AS total FROM ({first.sql})"))[0]["total"] != 100
    got = means(warehouse, (first, second), "mae")
    assert got["difference"] == pytest.approx(0.1)
    assert (got["difference_se"], got["z"], got["p_greater"]) == (0.0, None, None)
    assert "variance is unknown" in got["reason"]


@pytest.mark.parametrize("kind", ["text", "number", "boolean"])
def test_accuracy_of_any_number_of_classes(warehouse: Warehouse, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(4)
    classes = {"text": np.array([" a", "b", "c"]), "number": np.array([1, 2, 7]), "boolean": np.array([True, False])}
    label = rng.choice(classes[kind], 300)
    first, second = (np.where(rng.random(300) < right, label, classes[kind][0]) for right in (0.5, 0.7))
    got = means(warehouse, two(warehouse, tmp_path, label, first, second), "accuracy")
    difference, error = expected((first != label, (second != label).astype(float)))
    assert (got["champion"], got["challenger"]) == pytest.approx((np.mean(first == label), np.mean(second == label)))
    assert (got["difference"], got["difference_se"]) == (pytest.approx(difference), pytest.approx(error))
    assert got["difference"] > 0


@pytest.mark.parametrize("metric", ["accuracy", "mae", "log_loss"])
def test_what_is_missing_is_left_out_of_means_too(warehouse: Warehouse, metric: str) -> None:
    champion = [(7, None, 0.5), (8, 1.0, None), (9, 1.0, NAN), (10, NAN, 0.2)]
    challenger = [(7, 1.0, 0.5), (8, 1.0, 0.5), (9, 1.0, 0.5), (10, 0.0, 0.5)]
    good, other = ([(i, float(y), s) for i, y, s in rows] for rows in (GOOD, OTHER))
    alone = means(warehouse, (table(*good), table(*other)), metric, positive_class=1)
    got = means(warehouse, (table(*good, *champion), table(*other, *challenger)), metric, positive_class=1)
    assert got == alone | {"rows_skipped": 4, "null_labels": 2, "null_scores": 2, "unknown_labels": 0}


@pytest.mark.parametrize(
    ("metric", "champion", "reason"),
    [
        ("rmse", GOOD, "metric is 'rmse': give one of log_loss, brier, accuracy, mae, mse"),
        ("brier", [(1, 1, 1.5), *GOOD[1:]], "A prediction is 1.5: brier needs probabilities from 0 to 1"),
        ("mse", [(1, 1, INF), *GOOD[1:]], "is infinite, or too large"),
        ("accuracy", [(1, 1, "x")], "accuracy needs predicted classes of the label's type"),
        ("mae", [(1, "a", 0.5)], "The label column 'y' of the champion's query is VARCHAR, not a number"),
        ("mae", [(1, 1, 0.5), (1, 1, 0.5)], "occur more than once"),
        ("mae", [(i, NAN, s) for i, _, s in GOOD], "share 6 rows, but none has a label and predictions of both"),
        ("mae", [(i, 1 - y, s) for i, y, s in GOOD], "6 of 6 rows have different labels"),
    ],
)
def test_means_that_cannot_be_compared(warehouse: Warehouse, metric: str, champion: list[Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        means(warehouse, (table(*champion), table(*OTHER)), metric, positive_class=1)


def test_probabilities_need_a_positive_class(warehouse: Warehouse) -> None:
    with pytest.raises(InputError, match="log_loss needs positive_class"):
        means(warehouse, (table(*GOOD), table(*OTHER)), "log_loss")


@pytest.mark.parametrize("metric", ["auroc", "log_loss", "brier", "accuracy"])
def test_labels_of_no_class_are_left_out_and_counted(warehouse: Warehouse, tmp_path: Path, metric: str) -> None:
    """Not negatives: a third label, which neither model knows, is no row to be compared on."""
    rng = np.random.default_rng(3)
    label, first, second = sample(rng, 300, "even")
    first, second = (1 / (1 + np.exp(-each)) for each in (first, second))
    names = np.where(label == 1, "yes", "no").astype(object)
    names[:5] = None
    if metric == "accuracy":
        first, second = (np.where(each > 0.5, "yes", "no") for each in (first, second))

    def compare(tables: tuple[str, str], **more: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"row_id": "id", "label": "y", "positive_class": "yes", **more}
        if metric == "auroc":
            return compare_auc(warehouse, *tables, score="s", **options)
        return compare_means(warehouse, *tables, metric=metric, prediction="s", **options)

    expected = compare(two(warehouse, tmp_path, names, first, second))
    strange = np.concatenate([names, ["YES", "maybe", "maybe"]])
    first, second = (np.concatenate([each, each[10:13]]) for each in (first, second))
    tables = two(warehouse, tmp_path, strange, first, second)
    found = compare(tables, classes=["no", "yes"])
    assert (found["unknown_labels"], found["null_labels"], found["rows_skipped"]) == (3, 5, 8)
    for name in ("difference", "difference_se", "p_value", "rows"):
        assert found[name] == expected[name], name
    with pytest.raises(InputError, match="3 of 298 labels in 'y' of challenger are none of the classes 'no', 'yes': "):
        compare(tables, classes=["no", "yes"], max_unknown_labels=0.01)
