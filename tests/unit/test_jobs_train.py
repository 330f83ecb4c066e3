"""The training job on small tables, by real AutoGluon fits of a second or less."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.jobs import worker
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.model_files import read_manifest
from airflow_provider_automl.jobs.train import _oversample, train

pytestmark = pytest.mark.fit

QUICK = {"GBM": {"num_boost_round": 10}}


def rows(count: int = 300, *, positive: float = 0.4, seed: int = 0) -> dict[str, Any]:
    """Features x (a number) and s (text), and a target y that x tells: ' yes' or ' no'."""
    generator = np.random.default_rng(seed)
    yes = np.arange(count) < max(1, round(count * positive))
    generator.shuffle(yes)
    return {
        "x": generator.normal(size=count) + yes,
        "s": generator.choice(["a", "b", "c"], count),
        "y": np.where(yes, " yes", " no"),
    }


def job(directory: Path, table: pa.Table | dict[str, Any], **options: Any) -> dict[str, Any]:
    """A training job on that table, its files below ``directory``."""
    source = directory / "input"
    source.mkdir(parents=True, exist_ok=True)
    table = table if isinstance(table, pa.Table) else pa.table(table)
    pq.write_table(table, source / "part-00000.parquet")
    return {
        "kind": "train", "input": str(source), "model_dir": str(directory / "model"), "target_column": "y",
        "problem_type": None, "positive_class": None, "eval_metric": "auto", "presets": None,
        "hyperparameters": QUICK, "ignore_columns": None, "time_limit": 60.0, "fi_time_limit": None,
        "oversampling_threshold": 0.001, "proba_calibration": True, "sample_weight": None, "random_seed": 0,
        "hide_table_contents": False, "export_leaderboard": False, "export_feature_importance": False,
        "report": False, "model_name": "m", "model_version": "v1", "memory_limit": None, "title": "m v1",
        **options,
    }  # fmt: skip


def run(directory: Path, table: pa.Table | dict[str, Any], **options: Any) -> dict[str, Any]:
    return train(job(directory, table, **options), directory)


def refused(directory: Path, table: pa.Table | dict[str, Any], **options: Any) -> str:
    """The message with which a training is refused; nothing of a model is there then."""
    with pytest.raises(JobInputError) as error:
        run(directory, table, **options)
    assert not (directory / "model" / "manifest.json").exists()
    return str(error.value)


def test_a_training_leaves_a_model_and_says_what_it_is(tmp_path):
    result = run(tmp_path, rows(), export_leaderboard=True, export_feature_importance=True)
    assert result["problem_type"] == "binary"
    assert result["eval_metric"] == "roc_auc"
    assert result["classes"] == [" no", " yes"]
    assert result["positive_class"] == " yes"
    assert 0.5 < result["score_val"] <= 1
    assert (result["train_rows"], result["rows_dropped"]) == (300, 0)
    manifest = read_manifest(tmp_path / "model", result["model_digest"])
    assert manifest["features"] == {"x": "double", "s": "string"}
    assert manifest["label_type"] == "string"
    assert not {name for name in manifest["files"] if "X.pkl" in name or name.endswith("log.txt")}
    leaderboard = pq.read_table(result["leaderboard"])
    assert {"model", "score_val", "fit_time", "hyperparameters", "model_name", "model_version"} <= set(
        leaderboard.column_names
    )
    importance = pq.read_table(result["feature_importance"])
    assert importance.drop(["model_name", "model_version"]).column_names == [
        "index", "importance", "stddev", "p_value", "n", "p99_high", "p99_low",
    ]  # fmt: skip
    assert set(importance["index"].to_pylist()) == {"x", "s"}


def test_the_result_is_strict_json(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job(tmp_path, rows(60))))
    assert worker.work(path) == 0
    json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)


def test_the_same_seed_gives_the_same_model_another_one_another(tmp_path):
    scores = []
    for index, seed in enumerate((1, 1, 2)):
        directory = tmp_path / str(index)
        scores.append(run(directory, rows(2000), random_seed=seed)["score_val"])
    assert scores[0] == scores[1] != scores[2]


def test_rows_without_a_label_are_dropped_and_counted(tmp_path, capsys):
    table = rows()
    table["y"] = [None, None, *table["y"][2:].tolist()]
    result = run(tmp_path, table)
    assert (result["train_rows"], result["rows_dropped"]) == (298, 2)
    assert "2 rows dropped: their target 'y' is NULL" in capsys.readouterr().out


def test_time_is_ignored_by_default_and_nothing_else(tmp_path):
    table = rows() | {"time": np.arange(300)}
    result = run(tmp_path, table)
    assert read_manifest(tmp_path / "model", result["model_digest"])["ignored"] == {
        "time": "excluded by ignore_columns"
    }


def test_an_empty_list_of_columns_to_ignore_ignores_none(tmp_path):
    result = run(tmp_path, rows() | {"time": np.arange(300)}, ignore_columns=[])
    assert "time" in read_manifest(tmp_path / "model", result["model_digest"])["features"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_column": "Y"}, "no target column 'Y' (did you mean 'y'?): its columns are x, s, y"),
        ({"sample_weight": "w"}, "no weight column 'w'"),
        ({"sample_weight": "s"}, "weight column 's' is of type string"),
        ({"ignore_columns": ["ss", "zzz"]}, "no column to ignore 'ss' (did you mean 's'?), 'zzz'"),
        ({"ignore_columns": ["y"]}, "target column 'y' is among the columns to ignore"),
        ({"ignore_columns": ["x", "s"]}, "no feature"),
        ({"problem_type": "clustering"}, "give one of binary, multiclass, regression"),
        ({"problem_type": "regression"}, "target column 'y' is text"),
        ({"eval_metric": "roc-auc"}, "'roc-auc' is not a metric for binary (did you mean 'roc_auc'?): give one of"),
        ({"eval_metric": "r2"}, "is for regression"),
        ({"presets": "medum_quality"}, "no preset 'medum_quality' (did you mean 'medium_quality'?)"),
        ({"presets": ["good_quality", "x"]}, "no preset 'x'"),
        ({"hyperparameters": "fast"}, "no hyperparameter set 'fast'"),
        ({"hyperparameters": {"LGBM": {}}}, "a model 'LGBM' that AutoGluon does not have (did you mean 'GBM'?)"),
        ({"hyperparameters": {"GBM": 3}}, "hyperparameters of model 'GBM' are 3"),
        ({"hyperparameters": {}}, "give models such as"),
        ({"positive_class": "yes"}, "never occurs in the target column (did you mean ' yes'?): its classes are"),
        ({"positive_class": 7}, "its classes are ' no', ' yes'"),
        ({"time_limit": 0.0}, "give seconds above 0"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_fitted(tmp_path, options, message):
    assert message in refused(tmp_path, rows(40), **options)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (pa.array([None] * 20, pa.string()), "is NULL in all 20 rows"),
        (pa.array([None] * 20, pa.null()), "is of type null"),
        (pa.array([" yes"] * 20), "one value only, ' yes'"),
        (pa.array([1.0] * 19 + [float("inf")]), "infinite"),
        (pa.array([date(2026, 1, 1)] * 20), "is of type date32"),
        (pa.array([[1]] * 20), "is of type list"),
        (pa.array(["a"] * 19 + ["b"]), "only one of them, 'a', has more than one row"),
    ],
)
def test_targets_that_cannot_be_learnt(tmp_path, target, message):
    assert message in refused(tmp_path, pa.table({"x": np.arange(20.0), "y": target}))


def test_an_empty_table_is_refused(tmp_path):
    assert "no rows" in refused(tmp_path, pa.table(rows(40)).slice(0, 0))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([None] + [1.0] * 39, "NULL, NaN or infinite in 1 rows"),
        ([-1.0, -2.0] + [1.0] * 38, "negative in 2 rows"),
        ([0.0] * 40, "not above 0 in every row"),
    ],
)
def test_weights_that_are_none(tmp_path, weights, message):
    assert message in refused(tmp_path, rows(40) | {"w": weights}, sample_weight="w")


def test_weights_weigh_and_are_no_feature(tmp_path):
    from tests.unit.test_jobs_predict import predictions

    table = rows()
    result = run(tmp_path, table | {"w": np.where(table["y"] == " yes", 20, 1)}, sample_weight="w")
    manifest = read_manifest(tmp_path / "model", result["model_digest"])
    assert "w" not in manifest["features"]
    assert manifest["sample_weight"] == "w"
    out = predictions(tmp_path, {"x": table["x"], "s": table["s"]}, result)
    assert np.mean(out["predicted_proba"]) > 0.8  # 0.4 of the rows, most of the weight


@pytest.mark.parametrize(
    ("target", "given", "positive", "classes"),
    [
        (pa.array([0, 1] * 50, pa.int32()), "1", 1, [0, 1]),
        (pa.array([0, 1] * 50, pa.int32()), "0", 0, [1, 0]),
        (pa.array([0, 1] * 50, pa.int32()), None, 1, [0, 1]),
        (pa.array([1.5, 2.0] * 50), "2", 2.0, [1.5, 2.0]),
        (pa.array([True, False] * 50), "false", False, [True, False]),
        (pa.array([True, False] * 50), None, True, [False, True]),
        (pa.array([Decimal("1.00"), Decimal("2.00")] * 50), "1.00", 1.0, [2.0, 1.0]),
        (pa.array(["1", "0"] * 50), 1, "1", ["0", "1"]),
        (pa.array(["a", "b"] * 50).dictionary_encode(), "a", "a", ["b", "a"]),
    ],
)
def test_the_positive_class_is_meant_as_the_label_column_has_it(tmp_path, target, given, positive, classes):
    result = run(tmp_path, pa.table({"x": np.arange(100.0), "y": target}), positive_class=given)
    assert type(result["positive_class"]) is type(positive)
    assert result["positive_class"] == positive
    assert result["classes"] == classes


def test_more_than_two_classes_have_no_positive_one(tmp_path):
    table = pa.table({"x": np.arange(90.0), "y": ["a", "b", "c"] * 30})
    assert "has 3 classes" in refused(tmp_path, table, positive_class="a")
    assert "has 3 classes" in refused(tmp_path, table, problem_type="binary")


def test_classes_with_too_few_rows_are_told(tmp_path):
    table = pa.table({"x": np.arange(203.0), "y": ["a", "b"] * 100 + ["c"] * 3})
    result = run(tmp_path, table)
    assert result["problem_type"] == "multiclass"
    assert result["warnings"] == ["Classes with fewer than 10 rows are rarely predicted, if at all: 'c'."]


def test_a_regression(tmp_path):
    x = np.arange(300.0)
    result = run(tmp_path, {"x": x, "y": 3 * x + 0.5})
    assert (result["problem_type"], result["eval_metric"]) == ("regression", "root_mean_squared_error")
    assert result["classes"] is None
    assert result["positive_class"] is None
    assert "(regression)" in refused(tmp_path / "class", {"x": x, "y": 3 * x + 0.5}, positive_class=3)


def test_columns_of_any_type_can_be_learnt_from_or_are_said_to_be_ignored(tmp_path, capsys):
    count = 60
    table = pa.table(
        {
            "decimal": pa.array([Decimal("1.10") * i for i in range(count)], pa.decimal128(18, 2)),
            "date": pa.array([date(2026, 1, 1 + i % 28) for i in range(count - 1)] + [date(9999, 12, 31)]),
            "timestamp": pa.array([datetime(2026, 1, 1, i % 24) for i in range(count)], pa.timestamp("us", "UTC")),  # noqa: DTZ001 - pyarrow takes it as UTC
            "time of day": pa.array([time(i % 24) for i in range(count)]),
            "bool": pa.array([None if i % 7 == 0 else i % 2 == 0 for i in range(count)]),
            "int": pa.array([None if i % 5 == 0 else i for i in range(count)], pa.int64()),
            "unsigned": pa.array(range(count), pa.uint64()),
            "half": pa.array(np.arange(count, dtype=np.float16)),
            "category": pa.array(["p", "q"] * (count // 2)).dictionary_encode(),
            "inf": pa.array([float("inf"), float("-inf"), float("nan")] * (count // 3)),
            "list": pa.array([[i] for i in range(count)]),
            "struct": pa.array([{"a": i} for i in range(count)]),
            "binary": pa.array([b"x"] * count),
            "null": pa.array([None] * count),
            'quo"te, {x}: [ü]': pa.array(range(count)),
            "y": pa.array([True, False] * (count // 2)),
        }
    )
    result = run(tmp_path, table)
    ignored = read_manifest(tmp_path / "model", result["model_digest"])["ignored"]
    assert set(ignored) == {"list", "struct", "binary", "null"}
    assert "Column 'list' is not used as a feature: of type list<" in capsys.readouterr().out


def test_a_rare_minority_is_oversampled_and_its_probabilities_are_true(tmp_path):
    from tests.unit.test_jobs_predict import predictions

    count, positive = 20_000, 0.01
    result = run(
        tmp_path,
        rows(count, positive=positive),
        oversampling_threshold=0.5,
        hyperparameters={"GBM": {"num_boost_round": 60}},
    )
    manifest = read_manifest(tmp_path / "model", result["model_digest"])
    assert manifest["oversampling"]["training_odds"] == pytest.approx(0.5, abs=1e-4)
    assert manifest["correction"]["prior_odds"] == pytest.approx((positive / (1 - positive)) / 0.5, rel=1e-3)
    fresh = rows(count, positive=positive, seed=1)
    mean = np.mean(predictions(tmp_path, {"x": fresh["x"], "s": fresh["s"]}, result)["predicted_proba"])
    assert mean == pytest.approx(positive, rel=0.3)


def test_no_row_is_both_repeated_and_validated_on():
    frame = pd.DataFrame({"x": range(1000), "y": [" yes"] * 20 + [" no"] * 980})
    asked = {"random_seed": 0, "target_column": "y", "oversampling_threshold": 0.5}
    training, validation, _ = _oversample(asked, frame)
    assert not set(training["x"]) & set(validation["x"])
    assert set(training["x"]) | set(validation["x"]) == set(range(1000))
    assert training["x"].duplicated().any()
    assert not validation["x"].duplicated().any()


def test_a_rare_negative_class_is_corrected_the_other_way_round(tmp_path):
    from tests.unit.test_jobs_predict import predictions

    table = rows(2000, positive=0.02)
    result = run(tmp_path, table, positive_class=" no", oversampling_threshold=0.5)
    assert read_manifest(tmp_path / "model", result["model_digest"])["correction"]["prior_odds"] > 10
    found = predictions(tmp_path, {"x": table["x"], "s": table["s"]}, result)["predicted_proba"]
    assert np.mean(found) == pytest.approx(0.98, abs=0.01)


def test_probabilities_are_calibrated_unless_it_is_switched_off(tmp_path):
    for on in (True, False):
        result = run(tmp_path / str(on), rows(6000), proba_calibration=on)
        correction = read_manifest(tmp_path / str(on) / "model", result["model_digest"])["correction"]
        assert (correction["temperature"] != 1) == on


def test_no_oversampling_where_the_minority_is_large_enough_or_it_is_switched_off(tmp_path):
    for index, options in enumerate(({"oversampling_threshold": 0.0}, {"oversampling_threshold": 0.05})):
        directory = tmp_path / str(index)
        result = run(directory, rows(500, positive=0.1), **options)
        assert read_manifest(directory / "model", result["model_digest"])["oversampling"] is None


@pytest.mark.parametrize("full", ["predictor/learner.pkl", "predictor/predictor.pkl"])
def test_a_full_disk_is_one_sentence_and_leaves_no_manifest(tmp_path, full):
    """The kernel's own device that is always full, where a file is to be written."""
    path = tmp_path / "model" / full
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    job_file = tmp_path / "job.json"
    job_file.write_text(json.dumps(job(tmp_path, rows(60))))
    assert worker.work(job_file) == 2
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert failure["message"].startswith("The disk is full")
    assert not (tmp_path / "result.json").exists()
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_not_one_model_within_the_time_limit(tmp_path):
    assert "could not fit any model: raise time_limit" in refused(tmp_path, rows(), time_limit=0.001)
