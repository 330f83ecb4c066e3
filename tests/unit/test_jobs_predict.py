"""The prediction job on a small model."""

from __future__ import annotations

import json
import shutil
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.predict import predict
from tests.unit.test_jobs_train import rows, run

pytestmark = pytest.mark.fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model on x, s and three more, moved away from where it was trained."""
    directory = tmp_path_factory.mktemp("trained")
    generator = np.random.default_rng(3)
    more = {
        "flag": generator.random(300) > 0.5,
        "when": pa.array([datetime(2026, 1, 1 + i % 28) for i in range(300)], pa.timestamp("us")),  # noqa: DTZ001 - no zone
        "amount": pa.array([Decimal(i % 50) / 4 for i in range(300)], pa.decimal128(10, 2)),
    }
    result = run(directory, rows() | more)
    moved = tmp_path_factory.mktemp("moved")
    shutil.move(directory / "model", moved / "model")
    return moved, result


def good(count: int = 10) -> dict[str, Any]:
    return {name: values[:count] for name, values in rows().items() if name != "y"} | {
        "flag": [True, False] * (count // 2),
        "when": pa.array([datetime(2026, 1, 5)] * count, pa.timestamp("us")),  # noqa: DTZ001 - no zone
        "amount": pa.array([Decimal("1.25")] * count, pa.decimal128(10, 2)),
    }


def predict_job(directory: Path, table: Any, result: dict[str, Any], work: Path, **options: Any) -> dict[str, Any]:
    source, output = work / "predict-input", work / "predict-output"
    for path in (source, output):
        shutil.rmtree(path, ignore_errors=True)
    source.mkdir(parents=True)
    table = table if isinstance(table, pa.Table) else pa.table(table)
    pq.write_table(table, source / "part-00000.parquet")
    return {
        "kind": "predict", "input": str(source), "output": str(output), "model_dir": str(directory / "model"),
        "model_digest": result["model_digest"], "rowid_column": None, "ignore_columns": None, "batch_rows": 65536,
        "report": False, "title": "predictions", "hide_table_contents": False,
        **options,
    }  # fmt: skip


def predictions(directory: Path, table: Any, result: dict[str, Any], work: Path | None = None, **options: Any) -> Any:
    """The output table of a prediction by the model in ``directory``."""
    described = predict_job(directory, table, result, work or directory, **options)
    reported = predict(described, work or directory)
    output = pq.read_table(described["output"])
    assert reported["columns"] == output.column_names
    assert reported["rows"] == output.num_rows
    return output


def refused(trained, table: Any, work: Path, **options: Any) -> str:
    with pytest.raises(JobInputError) as error:
        predictions(*trained[:1], table, trained[1], work, **options)
    assert not list(work.glob("predict-output/*.parquet"))
    return str(error.value)


def test_inputs_come_back_as_they_were_then_predictions(trained, tmp_path):
    table = pa.table(good() | {"id": range(10), "tags": [["a"]] * 10})
    out = predictions(trained[0], table, trained[1], tmp_path, batch_rows=3)
    assert out.select(table.column_names).equals(table)
    assert out.column_names[-3:] == ["predicted_y", "predicted_proba", "predicted_probabilities"]
    for row in out.to_pylist():
        by_class = json.loads(row["predicted_probabilities"])
        assert list(by_class) == [" no", " yes"]
        assert sum(by_class.values()) == pytest.approx(1, abs=1e-12)
        assert by_class[" yes"] == row["predicted_proba"]
        assert row["predicted_y"] == (" yes" if row["predicted_proba"] > 0.5 else " no")


def test_predictions_are_autogluons_own(trained, tmp_path):
    from autogluon.tabular import TabularPredictor

    result = run(tmp_path, rows(), proba_calibration=False)
    table = {name: values[:50] for name, values in rows(seed=5).items()}
    import pandas as pd

    predictor = TabularPredictor.load(str(tmp_path / "model" / "predictor"))
    expected = predictor.predict_proba(pd.DataFrame(table))
    out = predictions(tmp_path, table, result)
    assert out["predicted_proba"].to_numpy() == pytest.approx(expected[" yes"].to_numpy(), abs=1e-12)
    assert out["predicted_y"].to_pylist() == predictor.predict(pd.DataFrame(table)).tolist()


def test_only_the_row_id_and_predictions(trained, tmp_path):
    table = good() | {"id": [f"r{i}" for i in range(10)], "predicted_y": ["old"] * 10}
    out = predictions(trained[0], table, trained[1], tmp_path, rowid_column="id")
    assert out.column_names == ["id", "predicted_y", "predicted_proba", "predicted_probabilities"]
    assert out["id"].to_pylist() == table["id"]


def test_features_in_another_order_and_case(trained, tmp_path):
    table = good()
    expected = predictions(trained[0], table, trained[1], tmp_path)["predicted_proba"]
    other = {name.upper(): table[name] for name in reversed(table)}
    assert predictions(trained[0], other, trained[1], tmp_path)["predicted_proba"].equals(expected)


def test_the_exact_name_wins_over_another_case(trained, tmp_path):
    table = good()
    expected = predictions(trained[0], table, trained[1], tmp_path)["predicted_proba"]
    assert predictions(trained[0], {"X": ["no"] * 10, **table}, trained[1], tmp_path)["predicted_proba"].equals(
        expected
    )


def test_other_types_of_the_same_kind_and_text_that_can_be_converted(trained, tmp_path):
    table = good()
    expected = predictions(trained[0], table, trained[1], tmp_path)["predicted_proba"]
    other = table | {
        "x": [repr(float(x)) for x in table["x"]],
        "flag": [int(flag) for flag in table["flag"]],
        "when": [date(2026, 1, 5)] * 10,
        "amount": [1.25] * 10,
    }
    assert predictions(trained[0], other, trained[1], tmp_path)["predicted_proba"].equals(expected)


def test_nulls_in_every_feature(trained, tmp_path):
    table = pa.table(good())
    nothing = pa.table({field.name: pa.nulls(10, field.type) for field in table.schema})
    assert predictions(trained[0], nothing, trained[1], tmp_path)["predicted_proba"].null_count == 0


def test_an_empty_input_gives_an_empty_output_with_its_columns(trained, tmp_path):
    table = pa.table(good())
    full = predictions(trained[0], table, trained[1], tmp_path)
    assert predictions(trained[0], table.slice(0, 0), trained[1], tmp_path).schema == full.schema


def test_missing_features_are_all_named(trained, tmp_path):
    table = good()
    del table["s"], table["x"]
    assert "lacks 2 of the model's 5 features: 'x', 's'" in refused(trained, table, tmp_path)
    assert "'x' (excluded by ignore_columns)" in refused(trained, good(), tmp_path, ignore_columns=["x"])


def test_types_that_cannot_be_converted(trained, tmp_path):
    message = refused(trained, good() | {"x": [[1.0]] * 10, "when": list(range(10))}, tmp_path)
    assert "'x' is of type list<" in message
    assert "the model expects double" in message
    assert "'when' is of type int64, but the model expects timestamp[us]" in message
    message = refused(trained, good() | {"x": ["1", "two"] * 5}, tmp_path)
    assert "'x' is of type string, but the model expects double" in message
    assert "two" in message


@pytest.mark.parametrize("name", ["predicted_y", "predicted_proba", "Predicted_Probabilities"])
def test_columns_that_the_prediction_adds(trained, tmp_path, name):
    assert f"already has {name!r}" in refused(trained, good() | {name: [1] * 10}, tmp_path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, None, None, *range(4, 10)], "NULL in 2 of 10 rows"),
        ([1, 2, 1, *range(3, 10)], "has 1 in more than one row"),
        (["a", "b", "a", *"defghij"], "has 'a' in more than one row"),
        ([float("nan"), *np.arange(9.0)], "NULL in 1 of 10 rows"),
        ([0.0, -0.0, *np.arange(1.0, 9.0)], "has 0.0 in more than one row"),
        ([Decimal("1.0"), Decimal("1.0"), *map(Decimal, range(2, 10))], "in more than one row"),
        (pa.array([2**31 - 1, *range(8), 2**31 - 1], pa.int32()).cast(pa.date32()), "has 'infinity' in more than one"),
        (pa.array([2**62, *range(8), 2**62]).cast(pa.timestamp("us", "UTC")), "has '148108-07-06 14:00:27.387904' in"),
        (pa.array([[date(2026, 1, 1 + i % 9)] for i in range(10)]), "has '[datetime.date(2026, 1, 1)]' in more than"),
    ],
)
def test_row_ids_that_do_not_tell_rows_apart(trained, tmp_path, ids, message):
    assert message in refused(trained, good() | {"id": ids}, tmp_path, rowid_column="id")


def test_row_ids_that_python_has_no_value_for(trained, tmp_path):
    ids = pa.array([2**31 - 1 - i for i in range(10)], pa.int32()).cast(pa.date32())
    directory, result = trained
    output = predictions(directory, good() | {"id": ids}, result, tmp_path, rowid_column="id")
    assert output["id"].combine_chunks().equals(ids)


def test_a_row_id_that_is_not_there(trained, tmp_path):
    assert "no row id column 'ID' (did you mean 'id'?)" in refused(
        trained, good() | {"id": range(10)}, tmp_path, rowid_column="ID"
    )
    assert "no column to ignore 'nope'" in refused(trained, good(), tmp_path, ignore_columns=["nope"])


@pytest.mark.parametrize("harm", ["changed", "missing", "added", "link", "manifest", "no manifest"])
def test_a_model_that_is_not_the_registered_one_is_not_loaded(trained, tmp_path, harm):
    shutil.copytree(trained[0] / "model", tmp_path / "model")
    learner = tmp_path / "model" / "predictor" / "learner.pkl"
    manifest = tmp_path / "model" / "manifest.json"
    if harm == "changed":
        learner.write_bytes(f"cos\nsystem\n(S'touch {tmp_path}/harmed'\ntR.".encode())
    elif harm == "missing":
        learner.unlink()
    elif harm == "added":
        (tmp_path / "model" / "predictor" / "more.pkl").write_bytes(b"")
    elif harm == "link":
        learner.rename(tmp_path / "learner.pkl")
        learner.symlink_to(tmp_path / "learner.pkl")
    elif harm == "manifest":
        manifest.write_text(manifest.read_text().replace("learner", "learned"))
    else:
        manifest.unlink()
    what = "manifest.json" if "manifest" in harm else "more.pkl" if harm == "added" else "learner.pkl"
    message = refused((tmp_path, trained[1]), good(), tmp_path)
    assert what in message
    assert "restore the model's files, or train again" in message
    assert not (tmp_path / "harmed").exists()


def test_a_model_of_another_version_is_refused_with_the_line_that_installs_it(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_provider_automl.jobs.model_files.autogluon_version", lambda: "1.5.0")
    message = refused(trained, good(), tmp_path)
    assert "trained with AutoGluon 1." in message
    assert "this interpreter has 1.5.0" in message
    assert "pip install 'autogluon.tabular[lightgbm,catboost,xgboost]==1." in message


def test_a_multiclass_prediction_has_the_probability_of_the_predicted_class(tmp_path):
    result = run(tmp_path, {"x": np.arange(300.0), "y": pa.array([3, 1, 2] * 100, pa.int16())})
    assert result["problem_type"] == "multiclass"
    out = predictions(tmp_path, {"x": np.arange(10.0)}, result)
    assert out.schema.field("predicted_y").type == pa.int16()
    for row in out.to_pylist():
        by_class = json.loads(row["predicted_probabilities"])
        assert list(by_class) == ["1", "2", "3"]
        assert by_class[str(row["predicted_y"])] == row["predicted_proba"] == max(by_class.values())


@pytest.mark.parametrize(
    "target",
    [
        pa.array([True, False] * 50),
        pa.array([Decimal("1.50"), Decimal("2.00")] * 50, pa.decimal128(5, 2)),
        pa.array([0.5, 1.5] * 50, pa.float32()),
        pa.array(["a", 'q"\n\\ü'] * 50),
    ],
)
def test_the_predicted_label_is_of_the_labels_type(tmp_path, target):
    table = pa.table({"x": [1.0, 0.0] * 50, "y": target})
    result = run(tmp_path, table)
    out = predictions(tmp_path, table, result)
    assert out["predicted_y"].to_pylist() == target.to_pylist()
    assert out.schema.field("predicted_y").type == target.type
    assert all(len(json.loads(text)) == 2 for text in out["predicted_probabilities"].to_pylist())


def test_a_regression_predicts_doubles_and_nothing_else(tmp_path):
    result = run(tmp_path, {"x": np.arange(300.0), "y": np.arange(300)}, hyperparameters={"GBM": {}})
    out = predictions(tmp_path, {"x": [10.0, 250.0], "predicted_proba": [1, 2]}, result)
    assert out.column_names == ["x", "predicted_proba", "predicted_y"]
    assert out.schema.field("predicted_y").type == pa.float64()
    assert out["predicted_y"].to_pylist() == pytest.approx([10, 250], abs=30)


def test_bagged_models_and_a_class_of_one_row(tmp_path):
    table = {"x": np.arange(121.0), "y": ["a", "b"] * 60 + ["c"]}
    few = {"num_boost_round": 2, "ag_args_ensemble": {"fold_fitting_strategy": "sequential_local"}}  # no ray: seconds
    options = {"presets": "good_quality", "hyperparameters": {"GBM": few}, "time_limit": None}
    result = run(tmp_path, table, **options)
    assert result["score_val"] is not None
    assert result["warnings"] == ["Classes with fewer than 10 rows are rarely predicted, if at all: 'c'."]
    assert predictions(tmp_path, {"x": table["x"]}, result)["predicted_proba"].null_count == 0
