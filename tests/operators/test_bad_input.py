"""Bad input, each through the operator: one clear sentence, no retry, and nothing is written."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.launchers.process import ProcessLauncher
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.tables import AutoMLCensusTablesOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.warehouse.base import Warehouse
from tests.operators.conftest import QUICK, Load, rows, run
from tests.warehouse.conformance import put
from tests.warehouse.conftest import postgres_connection

__all__ = ["postgres_connection"]  # a fixture

pytestmark = pytest.mark.fit


def refused(operator: type, message: str, **arguments: Any) -> None:
    with pytest.raises(AirflowFailException) as failure:
        run(operator, **arguments)
    text = str(failure.value)
    assert re.search(message, text), text
    assert isinstance(failure.value.__cause__, InputError)
    assert "Traceback" not in text
    assert len(text) < 600


@pytest.fixture
def untouched(warehouse: Warehouse, model: dict[str, Any], home: Path) -> Any:
    """What there is before and after: tables, and files of the model store and of staging."""

    def everything() -> tuple[Any, ...]:
        texts = ("SELECT table_schema, table_name FROM information_schema.tables", "FROM automl_test.automl_models")
        with warehouse._session() as cursor:
            tables, models = (cursor.execute(f"{text} ORDER BY ALL").fetchall() for text in texts)
        files = sorted(str(path) for part in ("models", "staging") for path in (home / "automl" / part).rglob("*"))
        return tables, files, models

    before = everything()
    yield
    assert everything() == before


TRAIN: dict[str, Any] = {
    "input_table": "ml.train",
    "target_column": "y",
    "model_name": "refused",
    "hyperparameters": QUICK,
    "time_limit": 60,
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_table": "ml.trains"}, r"trains.*ml\.train"),
        ({"input_table": None}, "sets neither input_table nor sql: set exactly one"),
        ({"sql": "SELECT 1"}, "sets both input_table and sql: set exactly one"),
        ({"input_table": None, "sql": "DROP TABLE ml.train"}, "must be a SELECT"),
        ({"input_table": None, "sql": "SELECT * FROM ml.train; SELECT 1"}, "exactly one"),
        ({"target_column": "why"}, r"no target column 'why'.*its columns are id, x, color, time, y"),
        ({"target_column": "Y"}, r"'Y' \(did you mean 'y'\?\)"),
        ({"ignore_columns": ["ids", "x"]}, r"no column to ignore 'ids' \(did you mean 'id'\?\)"),
        ({"sample_weight": "w"}, "no weight column 'w'"),
        ({"eval_metric": "roc_auk"}, "roc_auk.*roc_auc"),
        ({"presets": "medium_qality"}, "medium_qality.*medium_quality"),
        ({"problem_type": "binari"}, "binari.*binary"),
        ({"positive_class": "yes"}, r"'yes'.*' yes'"),
        ({"time_limit": 0}, "time_limit is 0: expected seconds above 0"),
        ({"time_limit": "-60"}, "time_limit is '-60'"),
        ({"time_limit": "an hour"}, "time_limit is 'an hour'"),
        ({"timeout": "0"}, "timeout is '0'"),
        ({"memory_limit": "lots"}, "lots"),
        ({"model_name": ""}, "model_name"),
        ({"model_name": "a/b"}, "'/'"),
        ({"model_name": "../b"}, r"'\.\.'"),
        ({"model_name": "a\x07"}, r"\\x07"),
        ({"hyperparameters": {"GBMM": {}}}, "GBMM.*GBM"),
        ({"sampling_threshold": 0}, "sampling_threshold is 0"),
        ({"oversampling_threshold": 2}, "oversampling_threshold is 2"),
        ({"share_model": "perhaps"}, "share_model is 'perhaps': expected True or False"),
        ({"python": "/nowhere/python"}, "/nowhere/python"),
        ({"python": "automl"}, "has no interpreter 'automl': it has none"),
        ({"hide_table_contents": "perhaps"}, "hide_table_contents is 'perhaps': expected True or False"),
        ({"report": "perhaps"}, "report is 'perhaps': expected True or False"),
        ({"report": "false", "notebook": "mine.ipynb"}, "report is False, so the notebook 'mine.ipynb' would not"),
        ({"ignore_columns": "ids"}, r"no column to ignore 'ids' \(did you mean 'id'\?\)"),
        ({"ignore_columns": "[1"}, "ignore_columns is '\\[1': expected a list"),
        ({"export_leaderboard": "no good name"}, "'no good name' is not a table name"),
        ({"export_leaderboard": "ml.TRAIN"}, "'ml.TRAIN' is the input table"),
        ({"export_leaderboard": "ml.a", "export_feature_importance": "ml.a"}, "both 'ml.a': use two tables"),
        ({"automl_conn_id": "nowhere"}, "connection 'nowhere' is not defined"),
        ({"warehouse_conn_id": "nowhere"}, "warehouse connection 'nowhere' is not defined"),
    ],
)
def test_training(change: dict[str, Any], message: str) -> None:
    refused(AutoMLTrainOperator, message, **{**TRAIN, **change})


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("y", [None] * 60, "'y' is NULL in all 60 rows"),
        ("y", ["only"] * 60, "only"),
        ("y", [], "no rows"),
    ],
)
def test_training_on_a_target_that_teaches_nothing(load: Load, column: str, values: list[Any], message: str) -> None:
    import pyarrow as pa

    table = load("ml.nothing", {"x": pa.array(range(len(values)), pa.int64()), column: pa.array(values, pa.string())})
    refused(AutoMLTrainOperator, message, **{**TRAIN, "input_table": table})


def test_rows_without_a_label_are_dropped_and_counted(load: Load) -> None:
    data = rows()
    data["y"][:7] = [None] * 7
    result = run(
        AutoMLTrainOperator, **{**TRAIN, "input_table": load("ml.unlabelled", data), "model_name": "unlabelled"}
    )
    assert (result["train_rows"], result["rows_dropped"]) == (193, 7)


NOTHING = {"model_name": "{{ params.none }}", "params": {"none": None}}
NULL_ID = {"input_table": None, "sql": "SELECT * REPLACE (NULLIF(id, 3) AS id) FROM ml.train", "rowid_column": "id"}
EXISTING = {"output_table": "ml.train", "input_table": None, "sql": "SELECT 1 AS a", "output_mode": "error"}
PREDICT: dict[str, Any] = {"model_name": "small", "input_table": "ml.train", "output_table": "out.refused"}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_name": "large"}, "No model 'large' in automl_test.automl_models: available: small"),
        ({"model_version": "1"}, "Model 'small' has no version '1'"),
        ({"model_name": None, "shared_model": "0"}, "No model is shared under '0'"),
        ({"model_name": None}, "selects no model"),
        (NOTHING, "selects no model"),
        ({"input_table": "ml.trian"}, r"ml\.train"),
        ({"output_table": "ml.train"}, "is the input table"),
        ({"output_table": 'ML."train"'}, "is the input table"),
        ({"input_table": None, "sql": "WITH a AS (SELECT * FROM ML.train) SELECT * FROM a", "output_table": "ml.train"},
         "is the input table"),
        ({"model_name": None, "model": {"model_name": "small"}, "model_version": "1"}, "'1' without model_name"),
        ({"batch_rows": 0}, "batch_rows is 0: expected an integer of at least 1"),
        (EXISTING, "exists and output_mode is 'error'"),
        ({"output_mode": "append"}, "output_mode is 'append': expected 'overwrite' or 'error'"),
        ({"rowid_column": "idd"}, r"no row id column 'idd' \(did you mean 'id'\?\)"),
        ({"rowid_column": "color"}, "color"),
        (NULL_ID, "NULL"),
        ({"ignore_columns": ["z"]}, "no column to ignore 'z'"),
        ({"ignore_columns": ["x", "color"]}, "'color'.*'x'|'x'.*'color'"),
        ({"input_table": None, "sql": "SELECT * REPLACE ('a' || x AS x) FROM ml.train"}, "'x'.*text.*number|'x'"),
        ({"input_table": None, "sql": "SELECT *, 1 AS predicted_y FROM ml.train"}, "already has 'predicted_y'"),
        ({"timeout": "soon"}, "timeout is 'soon'"),
    ],
)  # fmt: skip
def test_prediction(change: dict[str, Any], message: str) -> None:
    refused(AutoMLPredictOperator, message, **{**PREDICT, **change})


def test_a_refused_prediction_leaves_the_output_table(load: Load, warehouse: Warehouse, model: dict[str, Any]) -> None:
    load("out.kept", {"x": [1, 2]})
    refused(AutoMLPredictOperator, "'color'", **{**PREDICT, "output_table": "out.kept", "ignore_columns": ["color"]})
    assert warehouse.rows("out.kept", order_by=["x"]) == [{"x": 1}, {"x": 2}]


def test_what_postgres_cannot_keep_is_refused_before_the_prediction(
    postgres_connection: dict[str, Any],
    model: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(postgres_connection))
    warehouse = AutoMLHook(warehouse_conn_id="pg").warehouse
    put(warehouse, "ml.train", pa.table(rows()), tmp_path)
    wide = "SELECT *, {} FROM ml.train"
    floats = [f"CAST(id AS FLOAT) AS c{i}" for i in range(1600)]
    queries = {
        "out.p cannot have columns named 'ctid', .*: rename them": wide.format("1 AS ctid"),
        r"out\.p would have 1,608 columns": wide.format(", ".join(floats)),
        r"Row [\d,]+ would take at least [\d,]+ bytes in out\.p": wide.format(", ".join(floats[:1015])),
    }

    def begun(*_: Any) -> None:
        raise AssertionError("the prediction begins")

    arguments = {"model": model, "output_table": "out.p", "warehouse_conn_id": "pg"}
    with monkeypatch.context() as patch:
        patch.setattr(ProcessLauncher, "run", begun)
        for message, query in queries.items():
            refused(AutoMLPredictOperator, message, sql=query, **arguments)
    assert not warehouse.exists("out.p")
    everything = wide.format(", ".join(["1 AS ctid", *floats]))
    assert run(AutoMLPredictOperator, sql=everything, rowid_column="id", **arguments)["rows"] == 200


def test_empty_input_gives_an_empty_output(warehouse: Warehouse, model: dict[str, Any]) -> None:
    result = run(
        AutoMLPredictOperator, model=model, sql="SELECT * FROM ml.train WHERE FALSE", output_table="out.nothing"
    )
    assert result["rows"] == 0
    columns = ["id", "x", "color", "time", "y", "predicted_y", "predicted_proba", "predicted_probabilities"]
    assert list(warehouse.columns("out.nothing")) == columns


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "manifest", "gone"])
def test_a_model_that_is_not_the_registered_one(model: dict[str, Any], damage: str, home: Path) -> None:
    place = Path(model["model_uri"].removeprefix("file://")) / "model"
    pickle = place / "predictor" / "predictor.pkl"
    marker = home / "loaded"
    evil = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    target = {"manifest": place / "manifest.json", "added": place / "predictor" / "more.pkl"}.get(damage, pickle)
    kept = target.read_bytes() if target.exists() else None
    moved = place.with_name("elsewhere")
    if damage == "missing":
        target.unlink()
    elif damage == "gone":
        place.rename(moved)
    else:
        target.write_bytes(evil)
    try:
        refused(AutoMLPredictOperator, "restore (the model's files|them), or train again", **PREDICT)
    finally:
        if damage == "gone":
            moved.rename(place)
        elif kept is None:
            target.unlink()
        else:
            target.write_bytes(kept)
    assert not marker.exists()


def test_the_registered_one_had_back(model: dict[str, Any]) -> None:
    """Nothing else than the damage was wrong."""
    assert run(AutoMLPredictOperator, **PREDICT)["rows"] == 200


def test_a_model_of_another_autogluon_than_the_named_interpreter(model: dict[str, Any], warehouse: Warehouse) -> None:
    import hashlib
    import json

    manifest = Path(model["model_uri"].removeprefix("file://")) / "model" / "manifest.json"
    kept = manifest.read_bytes()
    manifest.write_text(json.dumps(json.loads(kept) | {"autogluon_version": "1.5.0"}))
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    row = warehouse.rows("automl_test.automl_models", where={"model_name": "small"})[0]
    warehouse.record("automl_test.automl_models", row | {"model_digest": digest})
    try:
        refused(
            AutoMLPredictOperator,
            r"trained with AutoGluon 1\.5\.0.*pip install 'autogluon.tabular\[.*\]==1\.5\.0'",
            python=sys.executable,
            **PREDICT,
        )
    finally:
        manifest.write_bytes(kept)
        warehouse.record("automl_test.automl_models", row)


@pytest.fixture(scope="module")
def scored(model: dict[str, Any]) -> str:
    run(AutoMLPredictOperator, model=model, input_table="ml.train", output_table="out.scored")
    return "out.scored"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": "out.scorde"}, r"out\.scored"),
        ({"score_column": "score"}, "no score column 'score'"),
        ({"score_column": "y"}, "'y' is the label itself"),
        ({"score_column": "color"}, "not a number"),
        ({"target_column": "z"}, "no label column 'z'"),
        ({"positive_class": "yes"}, "' no'.*' yes'|' yes'.*' no'"),
        (
            {"prediction": {"problem_type": "multiclass", "model_name": "m"}},
            "'m' are multiclass, but positive_class is ' yes', which is for binary problems",
        ),
        (
            {"prediction": {"problem_type": "multiclass", "model_name": "m"}, "problem_type": "binary"},
            "'m' are multiclass, but problem_type is 'binary': remove it",
        ),
        ({"problem_type": "quantile"}, "type 'quantile' is not supported: .* one of binary, multiclass, regression"),
        ({"metrics": "{{ params.m }}", "params": {"m": "loglos"}}, r"no metric 'loglos' \(did you mean 'log_loss'\?\)"),
        ({"metrics": "{{ params.m }}", "params": {"m": "rmse"}}, "'rmse' is for regression problems"),
        ({"metrics": ["brier"], "score_column": "x"}, r"outside \[0, 1\] in \d+ rows, .* 16: give .* leave out brier"),
        ({"by": ["colour"]}, r"no group column 'colour' \(did you mean 'color'\?\)"),
        ({"weight_column": "color"}, "weight column 'color' .* not a number"),
        ({"threshold": "high"}, "threshold is 'high': expected a number"),
        ({"beta": -1}, "beta is -1"),
        ({"prediction": {"positive_class": " no"}}, "is the probability of ' no': evaluate with positive_class=' no'"),
    ],
)
def test_evaluation(scored: str, change: dict[str, Any], message: str) -> None:
    arguments = {"table": scored, "target_column": "y", "positive_class": " yes", **change}
    refused(AutoMLEvaluateOperator, message, **arguments)


def test_a_model_store_that_cannot_be_reached_is_found_before_the_fit(
    model: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import json

    (tmp_path / "file").touch()
    for store, message in (
        ("nosuch://bucket/models", "model store nosuch://bucket/models requires a file system that is not installed"),
        (str(tmp_path / "file" / "models"), "Could not create the model store .*/file/models"),
    ):
        extra = {"model_store": store, "path_is_shared": True}
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps({"conn_type": "automl", "extra": extra}))
        refused(AutoMLTrainOperator, message, **{**TRAIN, "automl_conn_id": "elsewhere"})
        reached, said = AutoMLHook("elsewhere").test_connection()
        assert not reached
        assert re.search(message, said)


def test_a_full_disk_of_the_model_store(
    model: dict[str, Any], monkeypatch: pytest.MonkeyPatch, home: Path, warehouse: Warehouse
) -> None:
    def full(source: Path, target: Path) -> None:
        (target / "model").mkdir(parents=True)
        raise shutil.Error([(str(source), str(target), "[Errno 28] No space left on device")])

    monkeypatch.setattr("airflow_provider_automl.models.storage.shutil.move", full)
    refused(AutoMLTrainOperator, "Could not save the trained model: the disk of .* is full. Free some", **TRAIN)
    assert list((home / "automl" / "models" / "refused").iterdir()) == []
    assert warehouse.rows("automl_test.automl_models", where={"model_name": "refused"}) == []


def test_no_census_beside_tables_of_ones_own(model: dict[str, Any], warehouse: Warehouse) -> None:
    arguments = {"train_table": "ml.train", "test_table": "ml.tarin"}
    refused(AutoMLCensusTablesOperator, r"no table ml\.tarin .*\(did you mean ml\.train\?\)", **arguments)
    refused(AutoMLCensusTablesOperator, "drift is 'abc': expected a ratio from 0 to 1", test_table="ml.t", drift="abc")
    assert not warehouse.exists("ml.tarin")
