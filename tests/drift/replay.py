"""Days of a check by the real operators: an evaluation is recorded and decided on, as tasks of a DAG would.

``python -m tests.drift.replay`` has them live through simulated years of AUC and RMSE on DuckDB, and holds each day
against the model in memory of :mod:`tests.drift.years`: minutes.
"""

from __future__ import annotations

import datetime
import logging
import os
import tempfile
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_automl.drift.policies import worse_than_baseline
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator
from airflow_provider_automl.operators.evaluate import AutoMLRecordEvaluationOperator
from tests.drift.days import START
from tests.operators.conftest import Ti


def evaluation(auroc: float | None, table: str, *, error: float = 0.004, **more: Any) -> dict[str, Any]:
    """An evaluation's dict."""
    return {
        "model_name": "census", "model_version": "1", "test_table": table, "auroc": auroc,
        "auroc_reason": None if auroc is not None else "there is no positive row to compare with",
        "metrics": {"auroc_se": error if auroc is not None else None}, "problem_type": "binary", **more,
    }  # fmt: skip


def decide(
    given: dict[str, Any], day: int, *, policy: Any = None, run_id: str = "", dag_id: str = "d", task_id: str = "drift",
    time: datetime.datetime | None = None, **drift: Any,
) -> dict[str, Any]:  # fmt: skip
    """Record an evaluation of a day and decide on it; what was pushed to XCom, and ``followed``.

    :param time: the run's time; default: that day at 07:00.
    :param drift: arguments of the drift operator.
    """
    run_id = run_id or f"day {day}"
    time = time or START + datetime.timedelta(day)
    dag = DAG(dag_id, schedule=None, start_date=START)
    schema = {"schema": drift["schema"]} if "schema" in drift else {}
    record = AutoMLRecordEvaluationOperator(task_id="record", dag=dag, evaluation=given, **schema)
    task = AutoMLDriftBranchOperator(
        task_id=task_id, dag=dag, policy=policy or worse_than_baseline(), evaluation=given, if_drifted="retrain",
        if_stable="rest", if_lasting="lasts", alert="mail", **drift,
    )  # fmt: skip
    task >> [EmptyOperator(task_id=name, dag=dag) for name in ("retrain", "mail", "rest", "lasts")]
    ti = Ti(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=-1, try_number=1, max_tries=0, pushed={})
    dag_run = SimpleNamespace(logical_date=time, run_after=time, triggering_user_name=None)
    context: Any = {"ti": ti, "dag_run": dag_run, "params": {}, "run_id": run_id}
    record.execute({**context, "task": record})
    context["task"] = task
    task.render_template_fields(context)
    followed = task.choose_branch(context)
    return {**ti.pushed, "followed": [followed] if isinstance(followed, str) else followed}


def days(values: Iterable[float | None], start: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Days one after the other, from day ``start`` on."""
    return [decide(evaluation(value, f"ml.day_{day}"), day, **more) for day, value in enumerate(values, start)]


def main() -> None:
    """Print how each year went; the first day that differs from the model ends it."""
    import structlog

    from airflow_provider_automl.hooks.automl import AutoMLHook
    from tests.drift.days import Days
    from tests.drift.years import WORLDS, values_of

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for metric in ("auroc", "rmse"):
        for world in WORLDS:
            os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="automl-year-")
            policy = worse_than_baseline(metric=metric)
            model, mails, trainings, alarms = Days(policy, metric), 0, 0, 0
            with AutoMLHook().warehouse._connect(read_only=False, directory=None):
                for day, (value, error) in enumerate(values_of(metric, world, 0)):
                    expected = model.day(value, error)
                    given = {
                        "model_name": "m", "model_version": "1", "test_table": f"t{day}",
                        "auroc": value if metric == "auroc" else None,
                        "metrics": {f"{metric}_se": error, **({} if metric == "auroc" else {metric: value})},
                        "problem_type": "binary" if metric == "auroc" else "regression",
                    }  # fmt: skip
                    found = decide(given, day, policy=policy)
                    for name in ("drifted", "alarm", "statistic", "threshold", "p_value"):
                        assert found[name] == getattr(expected, name), (metric, world, day, name, found, expected)
                    retrained = len(model.retrained) > trainings
                    assert retrained == ("retrain" in found["followed"]), (metric, world, day, found)
                    mails += "mail" in found["followed"]
                    trainings += "retrain" in found["followed"]
                    alarms += found["alarm"] == "opened"
            print(f"{metric}, {world}: {alarms} alarms, {mails} mails, {trainings} trainings; as the model", flush=True)


if __name__ == "__main__":
    main()
