"""The example DAGs as a user finds them in Airflow."""

from __future__ import annotations

import inspect
import itertools
import runpy
import sys
from typing import Any

import pytest

from tests.system.server import REPO

WORKFLOW = [
    "create_db_tbl_if_not_exists", "train", "track_experiment", "predict", "evaluation", "record_evaluation", "drift",
]  # fmt: skip


def dag(name: str) -> Any:
    return runpy.run_path(str(REPO / "dags" / f"{name}.py"))["dag"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPO / "dags").glob("*.py")))
def test_the_trigger_form_can_be_sent_as_it_is(name):
    """Airflow's form takes an empty text for a missing value, and refuses it unless the type allows null."""
    made = dag(name)
    assert (made.catchup, made.max_active_runs) == (False, 1)
    for key in made.params:
        param = made.params.get_param(key)
        assert param.description, key
        assert param.value not in (None, "") or "null" in param.schema["type"], key


def test_the_experiment_is_the_documented_workflow():
    made = dag("automl_experiment")
    for before, after in itertools.pairwise(WORKFLOW):
        assert after in made.get_task(before).downstream_task_ids
    assert made.get_task("drift").downstream_task_ids == {"alert_if_drift_detected", "no_drift"}
    assert made.schedule is None


def test_the_evaluation_alone_is_on_another_engine():
    made = dag("automl_two_engines")
    for before, after in itertools.pairwise(WORKFLOW[:-1]):
        assert after in made.get_task(before).downstream_task_ids
    named = {task.task_id: task.warehouse_conn_id for task in made.tasks if task.warehouse_conn_id is not None}
    assert named == {"evaluation": "{{ params.evaluation_conn_id }}"}


def test_a_person_is_asked_between_comparison_and_promotion():
    made = dag("automl_promote_with_approval")
    assert made.get_task("compare").compare_only
    assert not made.get_task("promote").compare_only
    for before, after in itertools.pairwise(["predict_challenger", "compare", "is_better", "approve", "promote"]):
        assert after in made.get_task(before).downstream_task_ids
    for name in ("champion_exists", "is_better"):
        inspect.signature(made.get_task(name).python_callable)  # Airflow asks for it; a built-in type has none
    assert made.get_task("approve").task_type == "ApprovalOperator"
    assert made.get_task("approve").defaults == ["Reject"]  # nobody answered


def test_where_nobody_can_be_asked_there_is_no_such_dag(monkeypatch):
    """Below Airflow 3.1 the operator's module refuses to be imported."""
    monkeypatch.setattr("airflow.providers.standard.version_compat.AIRFLOW_V_3_1_PLUS", False)
    monkeypatch.delitem(sys.modules, "airflow.providers.standard.operators.hitl", raising=False)
    assert "dag" not in runpy.run_path(str(REPO / "dags" / "automl_promote_with_approval.py"))


def test_the_drift_check_is_daily_at_seven_in_los_angeles_and_does_not_train():
    made = dag("automl_drift_check")
    assert "train" not in made.task_ids
    assert made.get_task("drift").downstream_task_ids == {
        "alert_if_drift_detected", "retrain", "no_drift", "alarm_lasts",
    }  # fmt: skip
    assert made.schedule == "0 7 * * *"
    assert str(made.timezone) == "America/Los_Angeles"
