"""DESIGN's failure table, row by row, as runs of a real Airflow; and the faults that a retry must heal."""

from __future__ import annotations

import os
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_automl.operators.train import TRAINING_KEYS
from airflow_provider_automl.task import TaskIdentity
from airflow_provider_automl.tracking.tables import RESULT_TABLES
from tests.system.conftest import automl_processes, reached, rows
from tests.system.mail import RECIPIENTS, Mailbox
from tests.system.server import AirflowServer

pytestmark = [pytest.mark.airflow, pytest.mark.shares("airflow on DuckDB")]

AFTER_TRAINING = ("predict", "evaluation", "record_evaluation", "drift")
#: Runs that nobody has to act on while they go on: all are started at once.
LEFT_ALONE = ("undisturbed", "killed", "over_memory", "bad_input", "null_metric", "mail_down", "mail_unset")


@pytest.fixture(scope="module")
def started(airflow: AirflowServer) -> dict[str, str]:
    """The runs of these DAGs, started."""
    return {dag_id: airflow.trigger(dag_id) for dag_id in LEFT_ALONE}


def ended(airflow: AirflowServer, started: dict[str, str], dag_id: str) -> tuple[str, str, dict[str, str]]:
    """Wait for one of them; returns its id, its state, and its tasks' states."""
    run_id = started[dag_id]
    state = airflow.wait(dag_id, run_id, timeout=600)
    return run_id, state, airflow.states(dag_id, run_id)


def start_fitting(airflow: AirflowServer, dag_id: str) -> tuple[str, list[int]]:
    """Trigger, wait until the job is fitting, return the run and the job's processes."""
    run_id = airflow.trigger(dag_id)
    staging = airflow.home / "automl" / "staging" / f"train-{run_of(dag_id, run_id, 'train').key}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if "Fitting model" in airflow.task_log(dag_id, run_id, "train"):
            return run_id, automl_processes(staging)
        time.sleep(0.3)
    raise TimeoutError(airflow.task_log(dag_id, run_id, "train")[-3000:])


def gone(pids: list[int], within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.2)
    return False


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def assert_not_after_training(states: dict[str, str]) -> None:
    assert states["train"] == "failed"
    assert states["track_experiment"] == "failed"
    assert {states[task] for task in AFTER_TRAINING} == {"upstream_failed"}


def the_experiment(airflow: AirflowServer, dag_id: str) -> dict[str, Any]:
    found = rows(airflow.env, f"{dag_id}.automl_experiments")
    assert len(found) == 1, found
    return found[0]


def test_bad_input_is_recorded_and_not_retried(airflow: AirflowServer, started: dict[str, str]) -> None:
    run_id, state, states = ended(airflow, started, "bad_input")
    assert state == "failed"
    assert_not_after_training(states)
    assert airflow.tasks("bad_input", run_id)["train"]["try_number"] == 1
    row = the_experiment(airflow, "bad_input")
    assert row["state"] == "failed"
    assert "'clas' (did you mean 'class'?)" in row["error"]
    assert airflow.xcom("bad_input", run_id, "train")["state"] == "failed"
    assert "bad_input" not in {row["model_name"] for row in rows(airflow.env, "automl_test.automl_models")}


def pushes(airflow: AirflowServer, dag_id: str, run_id: str) -> list[str]:
    """The keys that a training's task has pushed to XCom, a request each, by the API server's log."""
    path = re.escape(f"method=POST path=/execution/xcoms/{dag_id}/{run_id}/train/")
    return re.findall(rf"{path}(\S+) ", airflow.log())


def test_a_training_tells_xcom_no_more_than_it_must(airflow: AirflowServer, started: dict[str, str]) -> None:
    """Its dict before it begins, for one that is killed without a word, and at its end; an XCom for each key where it
    succeeds. (The links are pushed by Airflow, whatever there is behind them.)
    """
    links = ["_link_NotebookLink", "_link_QueryLink"]
    run_id, state, _ = ended(airflow, started, "undisturbed")
    assert state == "success"
    assert pushes(airflow, "undisturbed", run_id) == ["return_value", *TRAINING_KEYS, "return_value", *links]
    run_id, state, _ = ended(airflow, started, "bad_input")
    assert state == "failed"
    assert pushes(airflow, "bad_input", run_id) == ["return_value", "return_value", *links]
    assert len(TRAINING_KEYS) == 33


def test_memory_limit_is_recorded(airflow: AirflowServer, started: dict[str, str]) -> None:
    _, state, states = ended(airflow, started, "over_memory")
    assert state == "failed"
    assert_not_after_training(states)
    row = the_experiment(airflow, "over_memory")
    assert row["state"] == "failed"
    assert "exceeded memory_limit 150m: reached " in row["error"]
    assert "raise memory_limit or lower sampling_threshold" in row["error"]


def test_training_killed_without_a_word(airflow: AirflowServer) -> None:
    run_id, pids = start_fitting(airflow, "killed_training")
    supervisor = next(pid for pid in pids if parent(pid) not in pids)
    os.kill(parent(supervisor), signal.SIGKILL)  # the task's own process
    assert gone(pids)
    assert airflow.wait("killed_training", run_id) == "failed"
    assert_not_after_training(airflow.states("killed_training", run_id))
    row = the_experiment(airflow, "killed_training")
    assert row["state"] == "killed"
    assert row["model_name"] == "killed_training"
    assert row["train_table"] == "ml_datasets.gluon_train"


def test_marked_failed_in_airflow(airflow: AirflowServer) -> None:
    run_id, pids = start_fitting(airflow, "mark_failed")
    airflow.mark("mark_failed", run_id, "train", "failed")
    assert gone(pids, within=30)  # Airflow tells a task by its heartbeat, every few seconds
    assert airflow.wait("mark_failed", run_id) == "failed"
    assert the_experiment(airflow, "mark_failed")["state"] in ("killed", "failed")


def test_failing_prediction_leaves_the_table_and_notifies(
    airflow: AirflowServer, started: dict[str, str], mailbox: Mailbox
) -> None:
    assert ended(airflow, started, "undisturbed")[1] == "success"  # its model predicts
    with reached(airflow.env) as hook:
        hook.warehouse.create_table("failing_prediction.predicted", {"x": "BIGINT"})
    run_id = airflow.trigger("failing_prediction")
    assert airflow.wait("failing_prediction", run_id) == "failed"
    states = airflow.states("failing_prediction", run_id)
    assert states["predict"] == "failed"
    assert {states[task] for task in ("evaluation", "record_evaluation", "drift")} == {"upstream_failed"}
    with reached(airflow.env) as hook:
        assert hook.warehouse.columns("failing_prediction.predicted") == {"x": "BIGINT"}
    assert rows(airflow.env, "failing_prediction.automl_eval_results") == []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(m["Subject"] == "failing_prediction failed" for m in mailbox.mails()):
        time.sleep(0.5)
    assert [m[RECIPIENTS] for m in mailbox.mails() if m["Subject"] == "failing_prediction failed"] == [
        "ops@example.com"
    ]


def test_a_day_that_cannot_be_judged_is_no_drift(airflow: AirflowServer, started: dict[str, str]) -> None:
    run_id, state, states = ended(airflow, started, "null_metric")
    assert state == "success"
    assert states["alert"] == states["retrain"] == "skipped"
    assert states["no_drift"] == "success"
    assert "the evaluation was empty" in airflow.xcom("null_metric", run_id, "drift", "detail")
    assert len(rows(airflow.env, "null_metric.automl_eval_results")) == 1
    decided = rows(airflow.env, "automl_test.automl_drift_results")
    assert [row["drifted"] for row in decided if row["dag_id"] == "null_metric"] == [None]


def test_failing_mail_loses_nothing(airflow: AirflowServer, started: dict[str, str]) -> None:
    run_id, state, states = ended(airflow, started, "mail_down")
    assert state == "failed"
    assert states["alert"] == "failed"
    assert airflow.tasks("mail_down", run_id)["alert"]["try_number"] == 2
    assert states["retrain"] == "success"
    assert len(rows(airflow.env, "mail_down.automl_eval_results")) == 1
    assert airflow.xcom("mail_down", run_id, "drift", "drifted") is True


def test_missing_smtp_connection_says_what_to_set(airflow: AirflowServer, started: dict[str, str]) -> None:
    run_id, state, states = ended(airflow, started, "mail_unset")
    assert state == "failed"
    assert states["retrain"] == "success"
    assert airflow.tasks("mail_unset", run_id)["alert"]["try_number"] == 1
    assert "AIRFLOW_CONN_SMTP_UNSET=" in airflow.task_log("mail_unset", run_id, "alert")
    assert len(rows(airflow.env, "mail_unset.automl_eval_results")) == 1


def healed(airflow: AirflowServer, started: dict[str, str], dag_id: str, retried: set[str]) -> None:
    """The run is green, those tasks needed a second try, and what is left is what an undisturbed run leaves."""
    run_id, state, states = ended(airflow, started, dag_id)
    assert state == "success", airflow.states(dag_id, run_id)
    tasks = airflow.tasks(dag_id, run_id)
    assert {task for task, ti in tasks.items() if ti["try_number"] == 2} == retried
    assert states["no_drift"] == "success"
    experiment = the_experiment(airflow, dag_id)
    assert experiment["state"] == "complete"
    evaluations = rows(airflow.env, f"{dag_id}.automl_eval_results")
    assert [row["model_version"] for row in evaluations] == [experiment["model_version"]]
    models = [row for row in rows(airflow.env, "automl_test.automl_models") if row["model_name"] == dag_id]
    assert [row["model_version"] for row in models] == [experiment["model_version"]]
    assert [path.name for path in (airflow.home / "automl" / "models" / dag_id).iterdir()] == [
        experiment["model_version"]
    ]
    test_rows = evaluations[0]["rows_evaluated"]
    assert test_rows == evaluations[0]["positives"] + evaluations[0]["negatives"]
    assert len(rows(airflow.env, f"{dag_id}.predicted")) == test_rows
    tables = _tables(airflow, dag_id)
    assert tables == {*RESULT_TABLES, "predicted"}
    keys = {run_of(dag_id, run_id, task_id).key for task_id in tasks}
    left = [path.name for path in (airflow.home / "automl" / "staging").iterdir()]
    assert [name for name in left if name.rpartition("-")[2] in keys] == []


def run_of(dag_id: str, run_id: str, task_id: str) -> TaskIdentity:
    """The run that a task's work directory is named after."""
    ti = SimpleNamespace(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=-1, try_number=1, max_tries=0)
    dag_run = SimpleNamespace(logical_date=None, run_after=datetime.now(UTC), triggering_user_name="anyone")
    return TaskIdentity.of({"ti": ti, "dag_run": dag_run})


def _tables(airflow: AirflowServer, schema: str) -> set[str]:
    with reached(airflow.env) as hook, hook.warehouse._session() as cursor:
        return {table.name for table in hook.warehouse._tables(cursor) if table.db == schema}


def test_undisturbed(airflow: AirflowServer, started: dict[str, str]) -> None:
    healed(airflow, started, "undisturbed", set())


def test_killed_in_every_task(airflow: AirflowServer, started: dict[str, str]) -> None:
    """Between model files and registry row, between load and publish, and between a row and the task's success."""
    healed(airflow, started, "killed", {"train", "track_experiment", "predict", "record_evaluation"})


def test_cleared_training_makes_a_new_version(airflow: AirflowServer, started: dict[str, str]) -> None:
    dag_id = "undisturbed"
    run_id, state, _ = ended(airflow, started, dag_id)
    assert state == "success"
    airflow.clear(dag_id, run_id, ["train"])
    time.sleep(1)
    assert airflow.wait(dag_id, run_id) == "success"
    registered = rows(airflow.env, "automl_test.automl_models")
    models = {row["model_version"] for row in registered if row["model_name"] == dag_id}
    assert len(models) == 2
    airflow.clear(dag_id, run_id, ["track_experiment"])
    time.sleep(1)
    assert airflow.wait(dag_id, run_id) == "success"
    experiments = rows(airflow.env, f"{dag_id}.automl_experiments")
    assert {row["model_version"] for row in experiments} == models
    assert len(experiments) == 2
