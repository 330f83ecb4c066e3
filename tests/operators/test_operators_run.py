"""What the operators give, on small tables and real fits."""

from __future__ import annotations

import fcntl
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.models.storage import local_path
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.tables import AutoMLCensusTablesOperator, AutoMLCreateTablesOperator
from airflow_provider_automl.operators.train import TRAINING_KEYS, AutoMLTrainOperator
from airflow_provider_automl.warehouse import Query
from airflow_provider_automl.warehouse.base import Warehouse
from airflow_provider_automl.warehouse.formulas import METRICS
from tests.operators.conftest import QUICK, Load, rows, run

pytestmark = pytest.mark.fit

REPORTED = True


def strict(result: dict[str, Any]) -> dict[str, Any]:
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def test_create_twice_changes_nothing(warehouse: Warehouse) -> None:
    first = strict(run(AutoMLCreateTablesOperator, schema="made"))
    before = {table: warehouse.columns(table) for table in first["tables"]}
    assert run(AutoMLCreateTablesOperator, schema="made") == first
    assert {table: warehouse.columns(table) for table in first["tables"]} == before


def test_a_training_gives_every_documented_key(model: dict[str, Any]) -> None:
    assert set(strict(model)) == set(TRAINING_KEYS)
    assert model["state"] == "complete"
    assert model["error"] is None
    assert model["user_id"] == "ann"
    assert model["positive_class"] == " yes"
    assert model["train_rows"] == 200
    assert model["session_time"] == "2026-11-24T07:00:00+00:00"
    assert model["shared_model"]
    prefix = f"http://localhost:8080/automl/reports/automl_default/small/{model['model_version']}/"
    assert model["notebook_url"] == f"{prefix}report/train.html"
    notebook = json.loads((Path(model["model_uri"].removeprefix("file://")) / "report" / "train.ipynb").read_text())
    executed = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert executed
    assert all(executed)


def test_no_report_is_made_where_none_is_wanted(load: Load, warehouse: Warehouse) -> None:
    model = strict(
        run(
            AutoMLTrainOperator, input_table=load("ml.unreported", rows()), target_column="y", model_name="unreported",
            hyperparameters=QUICK, report="False", export_feature_importance="out.importance",
        )
    )  # fmt: skip
    assert (model["state"], model["notebook_url"], model["notebook_error"]) == ("complete", None, None)
    assert model["options"]["report"] == "False"
    assert {row["index"] for row in warehouse.rows("out.importance")} == {"id", "x", "color"}
    prediction = strict(
        run(AutoMLPredictOperator, model=model, input_table="ml.unreported", output_table="out.u", report=False)
    )
    assert (prediction["rows"], prediction["notebook_url"], prediction["notebook_error"]) == (200, None, None)
    version = Path(model["model_uri"].removeprefix("file://"))
    assert {path.name for path in version.iterdir()} == {"model", "training.json", "feature_importance"}


def test_a_retry_of_a_registered_training_does_not_train_again(load: Load, warehouse: Warehouse) -> None:
    arguments = {
        "run_id": "same", "input_table": load("ml.again", rows()), "target_column": "y", "model_name": "again",
        "hyperparameters": QUICK, "export_leaderboard": "out.leaderboard", "share_model": True,
    }  # fmt: skip
    first = run(AutoMLTrainOperator, **arguments)
    second = run(AutoMLTrainOperator, **arguments)
    assert {**second, "task_attempt_id": None} == {**first, "task_attempt_id": None}
    assert len(warehouse.rows("automl_test.automl_models", where={"model_name": "again"})) == 1
    leaderboard = warehouse.rows("out.leaderboard")
    assert {row["model_version"] for row in leaderboard} == {first["model_version"]}
    assert len({row["model"] for row in leaderboard}) == len(leaderboard)


def test_predict_evaluate_record(model: dict[str, Any], warehouse: Warehouse) -> None:
    from sklearn.metrics import roc_auc_score

    prediction = strict(run(AutoMLPredictOperator, model=model, input_table="ml.train", output_table="out.p"))
    assert prediction["rows"] == 200
    assert prediction["positive_class"] == " yes"
    predicted = warehouse.rows("out.p")
    assert list(predicted[0]) == [*rows(1), "predicted_y", "predicted_proba", "predicted_probabilities"]
    assert {row["predicted_y"] for row in predicted} <= {" yes", " no"}
    assert json.loads(str(predicted[0]["predicted_probabilities"])).keys() == {" yes", " no"}
    evaluation = strict(run(AutoMLEvaluateOperator, prediction=prediction))
    expected = roc_auc_score([row["y"] == " yes" for row in predicted], [row["predicted_proba"] for row in predicted])
    assert evaluation["auroc"] == pytest.approx(expected, abs=1e-12)
    assert evaluation["test_table"] == "ml.train"
    assert evaluation["groups"] == []
    assert sum(each["rows"] for each in evaluation["calibration"]) == 200
    metrics = evaluation["metrics"]
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert set(metrics) >= {
        "auroc_se",
        "log_loss",
        "brier",
        "f1",
        "true_positives",
        "ks",
        "null_labels",
        "null_weights",
    }
    grouped = {"metrics": "brier", "by": '["color"]', "threshold": "{{ params.t }}", "params": {"t": 0.3}}
    chosen = strict(run(AutoMLEvaluateOperator, prediction=prediction, **grouped))
    assert "accuracy" not in chosen["metrics"]
    assert chosen["auroc"] == evaluation["auroc"]
    assert [group["group"] for group in chosen["groups"]] == [{"color": name} for name in ("blue", "green", "red")]
    assert all({"auroc", "brier", "brier_low", "rows_evaluated"} <= group.keys() for group in chosen["groups"])
    for attempt in ("inserted", "unchanged"):
        recorded = strict(run(AutoMLRecordEvaluationOperator, run_id="r", evaluation=evaluation))
        assert recorded["recorded"] == attempt
    tracked = strict(run(AutoMLTrackExperimentOperator, experiment=model))
    assert tracked["recorded"] == "inserted"


def test_row_id_and_predictions_only(model: dict[str, Any], warehouse: Warehouse) -> None:
    arguments = {"input_table": "ml.train", "output_table": "out.ids", "rowid_column": "id"}
    assert run(AutoMLPredictOperator, shared_model=model["shared_model"], **arguments)["rows"] == 200
    assert list(warehouse.columns("out.ids")) == ["id", "predicted_y", "predicted_proba", "predicted_probabilities"]
    assert sorted(int(str(row["id"])) for row in warehouse.rows("out.ids")) == list(range(200))


def test_rows_are_numbered_by_columns(model: dict[str, Any], warehouse: Warehouse) -> None:
    """Whatever the columns are called: they are quoted here."""
    arguments = {"model": model, "input_table": "ml.train", "output_table": "out.numbered"}
    run(AutoMLPredictOperator, order_by='["x", "id"]', **arguments)
    assert list(warehouse.columns("out.numbered"))[:2] == ["row_id", "id"]
    found = warehouse.rows("out.numbered", order_by=["row_id"])
    assert [row["row_id"] for row in found] == list(range(1, 201))
    assert [(row["x"], row["id"]) for row in found] == sorted((row["x"], row["id"]) for row in found)
    run(AutoMLPredictOperator, order_by="id", rowid_column="row_id", **arguments)
    assert next(iter(warehouse.columns("out.numbered"))) == "row_id"
    for order, reason in (
        ("(SELECT 1)", "expected a list of names"),
        (["x) --"], "has no column to order by"),
        ([], "order_by is empty"),
    ):
        with pytest.raises(AirflowFailException, match=reason):
            run(AutoMLPredictOperator, order_by=order, **arguments)
    with pytest.raises(AirflowFailException, match="already has a column 'row_id'"):
        run(
            AutoMLPredictOperator,
            **(arguments | {"input_table": "out.numbered", "output_table": "out.o"}),
            order_by="row_id",
        )


def test_sampling_draws_at_most_so_many_rows(model: dict[str, Any]) -> None:
    result = run(
        AutoMLTrainOperator, input_table="ml.train", target_column="y", model_name="sampled", hyperparameters=QUICK,
        sampling_threshold=150,
    )  # fmt: skip
    assert result["train_rows"] == 150


@pytest.mark.parametrize(
    ("target", "problem_type", "predicted"),
    [
        ("color", "multiclass", ["predicted_color", "predicted_proba", "predicted_probabilities"]),
        ("amount", "regression", ["predicted_amount"]),
    ],
)
def test_other_problems(load: Load, warehouse: Warehouse, target: str, problem_type: str, predicted: list[str]) -> None:
    data = {**rows(300), "amount": [i % 17 * 1.5 + i % 3 for i in range(300)], "hue": [i % 3 for i in range(300)]}
    table = load(f"ml.{problem_type}", data)
    model = run(
        AutoMLTrainOperator, input_table=table, target_column=target, model_name=problem_type, hyperparameters=QUICK
    )
    assert model["problem_type"] == problem_type
    assert model["positive_class"] is None
    output = f"out.{problem_type}"
    prediction = run(AutoMLPredictOperator, model=model, input_table=table, output_table=output)
    assert list(warehouse.columns(output))[len(data) :] == predicted
    evaluation = strict(run(AutoMLEvaluateOperator, prediction=prediction, hivemall=True))
    assert (evaluation["problem_type"], evaluation["auroc"], evaluation["positives"]) == (problem_type, None, None)
    assert evaluation["auroc_reason"] == f"the AUC requires a binary problem, and the problem is {problem_type}"
    assert evaluation["rows_evaluated"] == 300
    metrics = evaluation["metrics"]
    assert set(METRICS[problem_type]) <= metrics.keys()
    found = warehouse.rows(output)
    if problem_type == "multiclass":
        assert metrics["accuracy"] == sum(row[target] == row[predicted[0]] for row in found) / 300
        assert metrics["hivemall_fmeasure"] == metrics["accuracy"]
        assert metrics["macro_auroc"] > 0.5
        assert metrics["log_loss_low"] <= metrics["log_loss"] <= metrics["log_loss_high"]
    else:
        errors = [abs(float(str(row[predicted[0]])) - float(str(row[target]))) for row in found]
        assert metrics["mae"] == pytest.approx(sum(errors) / 300)
    recorded = strict(run(AutoMLRecordEvaluationOperator, evaluation=evaluation))
    (row,) = warehouse.rows("automl_test.automl_eval_results", where={"record_id": recorded["record_id"]})
    assert json.loads(str(row["metrics"])) == metrics
    assert row["auroc"] is None


def test_a_retry_writes_its_own_output_again_where_none_may_exist(model: dict[str, Any], warehouse: Warehouse) -> None:
    """As after a SIGKILL between publishing and success."""
    arguments = {
        "model": model, "input_table": "ml.train", "output_table": "out.once", "output_mode": "error", "run_id": "once",
    }  # fmt: skip
    assert run(AutoMLPredictOperator, **arguments)["rows"] == 200
    assert run(AutoMLPredictOperator, **arguments, try_number=2)["rows"] == 200
    assert warehouse.count("out.once") == 200
    with pytest.raises(AirflowFailException, match="exists and output_mode is 'error'"):
        run(AutoMLPredictOperator, **{**arguments, "run_id": "another"}, try_number=2)


def test_what_killed_tasks_left_in_staging_is_removed(model: dict[str, Any], home: Path) -> None:
    staging = home / "automl" / "staging"
    for name, machine in (("dead-1", socket.gethostname()), ("living-1", socket.gethostname()), ("far-1", "elsewhere")):
        (staging / name).mkdir(parents=True)
        (staging / name / ".owner").write_text(machine)
    with (staging / "living-1" / ".owner").open() as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        run(AutoMLPredictOperator, model=model, input_table="ml.train", output_table="out.swept")
        assert {path.name for path in staging.iterdir() if path.is_dir()} == {"living-1", "far-1"}


def test_the_census_is_loaded_once(warehouse: Warehouse) -> None:
    arguments = {"train_table": "census.train", "test_table": "census.test", "train_rows": 300, "test_rows": 200}
    assert run(AutoMLCensusTablesOperator, **arguments)["created"] == ["census.train", "census.test"]
    assert run(AutoMLCensusTablesOperator, **arguments)["created"] == []
    assert run(AutoMLCensusTablesOperator, **{**arguments, "test_table": "census.other"})["created"] == ["census.other"]
    assert [warehouse.count(f"census.{name}") for name in ("train", "test", "other")] == [300, 200, 200]


#: Values that Python's or pandas' types end before, and types that Parquet or pandas has no place of its own for.
ODD = {
    "forever": "DATE 'infinity'",
    "never": "DATE '-infinity'",
    "late": "DATE '10000-01-01'",
    "early": "DATE '0044-03-15 (BC)'",
    "moment": "TIMESTAMP 'infinity'",
    "before": "TIMESTAMP '0044-03-15 (BC) 10:00:00'",
    "zoned": "TIMESTAMPTZ '-infinity'",
    "seconds": "TIMESTAMP_S 'infinity'",
    "milliseconds": "TIMESTAMP_MS 'infinity'",
    "nanoseconds": "TIMESTAMP_NS 'infinity'",
    "midnight": "TIME '24:00:00'",
    "array": "ARRAY_VALUE(1, 2)",
    "nested": "ARRAY_VALUE(ARRAY_VALUE(DATE 'infinity'), ARRAY_VALUE(DATE '2026-01-01'))",
    "list": "[TIMESTAMP 'infinity', NULL]",
    "struct": "{'a': DATE '10000-01-01', 'b': [1]}",
    "map": "MAP {'a': DATE '-infinity'}",
    "enum": "CAST('a' AS ENUM ('a', 'b'))",
    "uuid": "CAST('6f1e7a52-6c5d-4d0a-9f6e-0c8f6f0f2a11' AS UUID)",
    "hugeint": "CAST(5 AS HUGEINT)",
    "bit": "CAST('101' AS BIT)",
    "interval": "INTERVAL '1 month'",
    "blob": "CAST('\\xFF\\x00' AS BLOB)",
    "nothing": "NULL",
}


def test_dates_without_end_and_types_of_duckdb(warehouse: Warehouse, load: Load) -> None:
    """Training, prediction and their reports; and the values arrive as they were, those that Parquet lacks as text."""
    load("ml.plain", rows())
    odd = ", ".join(f"CASE WHEN id % 3 > 0 THEN {text} END AS {name}" for name, text in ODD.items())
    query = f"SELECT id, x, y, {odd} FROM ml.plain"
    trained = run(
        AutoMLTrainOperator, sql=query, target_column="y", model_name="odd", hyperparameters=QUICK, time_limit=60,
        ignore_columns=["id"], report=True,
    )  # fmt: skip
    assert (trained["notebook_error"], trained["state"]) == (None, "complete")
    prediction = run(AutoMLPredictOperator, model=trained, sql=query, output_table="out.odd", report=True)
    assert (prediction["notebook_error"], prediction["rows"]) == (None, 200)
    same = " AND ".join(
        f"a.{name} IS NOT DISTINCT FROM b.{name}"
        if name in ("forever", "never", "array", "nested", "list", "struct", "map", "blob")
        else f"CAST(a.{name} AS VARCHAR) IS NOT DISTINCT FROM CAST(b.{name} AS VARCHAR)"
        for name in ODD
        if name != "hugeint"  # a DOUBLE
    )
    assert warehouse.count(Query(f"SELECT 1 AS a FROM ({query}) AS a JOIN out.odd AS b USING (id) WHERE {same}")) == 200
    where = local_path(trained["model_uri"])
    assert where is not None
    (page,) = where.glob("predictions/*/predict.html")
    for shown in ("-infinity", "10000-01-01", "-043-03-15 10:00:00", "[1, 2]", "date32[day]"):
        assert shown in page.read_text()
