"""The tracking tables in another database than the data, as ``tracking_conn_id`` of the connection says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.promote import AutoMLPromoteOperator
from airflow_provider_automl.operators.tables import AutoMLCreateTablesOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.tracking.tables import REGISTRY_TABLES, RESULT_TABLES
from airflow_provider_automl.warehouse.base import Warehouse
from tests.operators.conftest import QUICK, rows, run
from tests.warehouse.conformance import put
from tests.warehouse.conftest import postgres_connection

__all__ = ["postgres_connection"]  # a fixture

pytestmark = pytest.mark.fit


def tables_of(warehouse: Warehouse) -> set[str]:
    with warehouse._session() as cursor:
        return {f"{table.db}.{table.name}" for table in warehouse._tables(cursor)}


def test_the_data_on_one_database_and_all_that_is_recorded_on_another(
    postgres_connection: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(postgres_connection))
    automl = {"conn_type": "automl", "extra": {"tracking_conn_id": "pg", "tracking_schema": "tracked"}}
    monkeypatch.setenv("AIRFLOW_CONN_AUTOML_DEFAULT", json.dumps(automl))
    hook = AutoMLHook()
    postgres, data = hook.registry.warehouse, hook.warehouse
    assert (postgres.dialect, data.dialect) == ("postgres", "duckdb")
    put(data, "ml.train", pa.table(rows()), tmp_path)

    made = run(AutoMLCreateTablesOperator, schema="results")
    model = run(
        AutoMLTrainOperator, input_table="ml.train", target_column="y", model_name="elsewhere", hyperparameters=QUICK,
        time_limit=60, ignore_columns=["id"], export_leaderboard="results.leaderboard",
    )  # fmt: skip
    run(AutoMLTrackExperimentOperator, experiment=model, schema="results")
    promoted = run(
        AutoMLPromoteOperator, challenger={"model_name": "elsewhere"}, alias="champion", only_if_vacant=True,
        schema="results",
    )  # fmt: skip
    prediction = run(AutoMLPredictOperator, alias="champion", input_table="ml.train", output_table="results.predicted")
    evaluation = run(
        AutoMLEvaluateOperator,
        prediction=prediction,
        target_column="y",
        positive_class=" yes",
    )
    recorded = run(AutoMLRecordEvaluationOperator, evaluation=evaluation, schema="results")

    assert promoted["promoted"] is True
    assert recorded == {**recorded, "table": "results.automl_eval_results", "recorded": "inserted"}
    assert tables_of(data) == {"ml.train", "results.leaderboard", "results.predicted"}
    assert made["tables"] == [f"results.{table}" for table in RESULT_TABLES]
    assert tables_of(postgres) == {*made["tables"], *(f"tracked.{table}" for table in REGISTRY_TABLES)}
    (row,) = postgres.rows("results.automl_eval_results")
    assert row["auroc"] == evaluation["auroc"]
    assert [row["model_version"] for row in postgres.rows("results.automl_experiments")] == [model["model_version"]]
    assert hook.models.aliases()["champion"]["model_version"] == model["model_version"]
    reached, message = hook.test_connection()
    assert reached, message
    assert "tracking tables: pg (postgres)" in message
