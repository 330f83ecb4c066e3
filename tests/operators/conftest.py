"""Operators run as Airflow's task runner runs them, on an embedded warehouse, with small real AutoGluon fits."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.warehouse.base import Warehouse

QUICK = {"GBM": {"num_boost_round": 10}}
NOW = datetime.datetime(2026, 11, 24, 7, tzinfo=datetime.UTC)


class Ti(SimpleNamespace):
    """A task instance that keeps what is pushed."""

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def run(operator: type, *, run_id: str | None = None, try_number: int = 1, **arguments: Any) -> dict[str, Any]:
    """Render and execute an operator as a task of its own run, by default without a report; returns its dict."""
    dag = DAG("d", schedule=None, start_date=NOW, params=arguments.pop("params", {}))
    if operator in (AutoMLPredictOperator, AutoMLTrainOperator):  # most tests are not about the report
        arguments.setdefault("report", "notebook" in arguments)
    task = operator(task_id=arguments.pop("task_id", "task"), dag=dag, **arguments)
    ti = Ti(
        dag_id="d", run_id=run_id or uuid.uuid4().hex, task_id=task.task_id, map_index=-1, try_number=try_number,
        max_tries=0,
    )  # fmt: skip
    ti.pushed = {}
    dag_run = SimpleNamespace(logical_date=None, run_after=NOW, triggering_user_name="ann")
    context = {"ti": ti, "dag_run": dag_run, "task": task, "params": dag.params, "run_id": ti.run_id}
    task.render_template_fields(context)
    result: dict[str, Any] = task.execute(context)
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An AIRFLOW_HOME of its own for each file of tests."""
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(path))
        yield path


@pytest.fixture(scope="module")
def warehouse(home: Path) -> Warehouse:
    return AutoMLHook().warehouse


Load = Callable[[str, dict[str, list[Any]]], str]


@pytest.fixture(scope="module")
def load(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Make a table of these columns; returns its name."""

    def make(name: str, columns: dict[str, list[Any]]) -> str:
        import pyarrow as pa
        import pyarrow.parquet as pq

        directory = tmp_path_factory.mktemp("load")
        pq.write_table(pa.table(columns), directory / "part.parquet")
        warehouse.load(directory, name)
        return name

    return make


def rows(n: int = 200) -> dict[str, list[Any]]:
    """A learnable table: id, two features, a label of two classes."""
    return {
        "id": list(range(n)),
        "x": [i % 17 for i in range(n)],
        "color": [("red", "green", "blue")[i % 3] for i in range(n)],
        "time": [1_700_000_000 + i for i in range(n)],
        "y": [" yes" if i % 17 > 8 else " no" for i in range(n)],
    }


@pytest.fixture(scope="module")
def model(load: Load, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A training's dict, of a model of column ``y``; with a report if the module is ``REPORTED``."""
    table = load("ml.train", rows())
    return run(
        AutoMLTrainOperator, input_table=table, target_column="y", model_name="small", hyperparameters=QUICK,
        time_limit=60, share_model=True, ignore_columns=["id"], report=getattr(request.module, "REPORTED", False),
    )  # fmt: skip
