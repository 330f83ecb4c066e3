"""The branch operator on an embedded warehouse: what it reads, what it records, whom it tells."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator
from scipy import stats

from airflow_provider_automl.drift.policies import (
    all_of,
    any_of,
    below,
    consecutive,
    significantly_below,
    worse_than_baseline,
)
from airflow_provider_automl.errors import InputError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator
from airflow_provider_automl.tracking.store import TrackingTables
from airflow_provider_automl.tracking.tables import BASELINES, DRIFT_RESULTS, EVAL_RESULTS, MODEL_ALIASES

START = datetime.datetime(2026, 11, 1, 7, tzinfo=datetime.UTC)
KEYS = {"drifted", "statistic", "threshold", "p_value", "compared_with", "detail", "remind", "alarm", "episode_id"}


class Ti(SimpleNamespace):
    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture(autouse=True)
def tracking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TrackingTables]:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    hook = AutoMLHook()
    with hook.warehouse._connect(read_only=False, directory=None):  # opening a DuckDB file is half of a short session
        yield hook.tracking()


def evaluation(auroc: float | None = 0.9, **more: Any) -> dict[str, Any]:
    return {
        "model_name": "census", "model_version": "1", "test_table": "ml.today", "table": "out.today", "auroc": auroc,
        "auroc_low": None, "auroc_high": None, "auroc_reason": None, "metrics": {"auroc_se": 0.004}, **more,
    }  # fmt: skip


def evaluated(tracking: TrackingTables, auroc: float, day: int, **more: Any) -> None:
    """What the recording operator leaves."""
    row = {
        **evaluation(auroc), "test_table": f"ml.day_{day}", "session_time": START + datetime.timedelta(day),
        "dag_id": "d", "run_id": f"day {day}", **more,
    }  # fmt: skip
    tracking.record(EVAL_RESULTS, row)


def branch(policy: Any, *, day: int = 20, params: Any = (), dag_id: str = "d", **more: Any) -> tuple[Any, Any]:
    """Where it branches on that day, and what it pushes to XCom."""
    dag = DAG(dag_id, schedule=None, start_date=START)
    arguments = {"evaluation": evaluation(), "if_drifted": ["retrain"], "if_stable": "rest", "alert": "mail", **more}
    task = AutoMLDriftBranchOperator(task_id="drift", dag=dag, policy=policy, **arguments)
    task >> [EmptyOperator(task_id=name, dag=dag) for name in ("retrain", "mail", "rest")]
    ti = Ti(dag_id=dag_id, run_id=f"day {day}", task_id="drift", map_index=-1, try_number=1, max_tries=0, pushed={})
    time = START + datetime.timedelta(day)
    dag_run = SimpleNamespace(logical_date=time, run_after=time, triggering_user_name=None)
    context: Any = {"ti": ti, "dag_run": dag_run, "task": task, "params": dict(params), "run_id": ti.run_id}
    task.render_template_fields(context)
    return task.choose_branch(context), ti.pushed


def test_the_decision_is_recorded_once_before_it_branches(tracking: TrackingTables) -> None:
    policy = significantly_below("{{ params.t }}")
    for _ in range(2):
        followed, pushed = branch(policy, params={"t": 0.93})
    assert followed == ["retrain", "mail"]
    assert pushed.keys() == KEYS
    (row,) = tracking.read(DRIFT_RESULTS)
    assert row["check_name"] == "significantly_below(0.93)"
    assert (row["model_name"], row["model_version"], row["table_name"]) == ("census", "1", "ml.today")
    assert (row["feature"], row["drifted"], row["threshold"], row["statistic"]) == (None, True, 0.93, 0.9)
    assert row["p_value"] == pushed["p_value"] == pytest.approx(stats.norm.cdf(-0.03 / 0.004), rel=1e-9)
    assert row["detail"] == pushed["detail"]
    assert (row["dag_id"], row["run_id"], str(row["session_time"])) == ("d", "day 20", "2026-11-21 07:00:00")


def test_without_a_record_there_is_no_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr(TrackingTables, "record", fail)
    with pytest.raises(OSError, match="the disk is full"):
        branch(below(0.93))


def test_another_schema(tracking: TrackingTables) -> None:
    branch(below(0.93), schema="{{ params.s }}", params={"s": "results"})
    assert len(AutoMLHook().tracking("results").read(DRIFT_RESULTS)) == 1
    assert tracking.read(DRIFT_RESULTS) == []


def test_a_baseline_is_read_from_what_was_recorded(tracking: TrackingTables) -> None:
    followed, pushed = branch(worse_than_baseline(), day=1)
    assert (followed, pushed["drifted"], pushed["remind"]) == ("rest", None, False)
    assert "no baseline yet" in pushed["detail"]
    assert tracking.read(DRIFT_RESULTS)[0]["drifted"] is None
    for day in range(5):
        evaluated(tracking, 0.93, day)
    evaluated(tracking, 0.5, 20)  # this run's own
    evaluated(tracking, 0.5, 0, model_version="2")
    followed, pushed = branch(worse_than_baseline())
    assert followed == ["retrain", "mail"]
    assert pushed["threshold"] == pytest.approx(0.93)
    assert pushed["compared_with"] == "the mean of the first 5 evaluations of census version 1"
    assert branch(worse_than_baseline(), evaluation=evaluation(0.928))[0] == "rest"


def test_the_champion_is_who_holds_the_alias(tracking: TrackingTables) -> None:
    policy = worse_than_baseline("{{ params.b }}")

    def check() -> Any:
        return branch(policy, params={"b": "champion"}, baseline_alias="census_{{ params.b }}")[1]

    evaluated(tracking, 0.95, 1, model_version="7")
    evaluated(tracking, 0.91, 1, model_version="8")
    assert "the champion alias is not assigned to any version" in check()["detail"]
    for seq, version in enumerate(("7", "8", "7"), 1):
        row = {"alias": "census_champion", "alias_seq": seq, "model_name": "census", "model_version": version}
        tracking.record(MODEL_ALIASES, row)
    assert check()["threshold"] == 0.95


def test_named_baselines(tracking: TrackingTables) -> None:
    evaluated(tracking, 0.95, 1, model_name="best", model_version="7")
    evaluated(tracking, 0.94, 2, model_name="best", model_version="8")
    assert branch(worse_than_baseline("best/7"))[1]["threshold"] == 0.95
    assert branch(worse_than_baseline("best"))[1]["threshold"] == 0.94
    # What is needed twice is read once: these three days are three, not six.
    for day in (17, 18, 19):
        evaluated(tracking, 0.8 if day > 17 else 0.95, day)
    both = all_of(worse_than_baseline("census"), consecutive(4, below(0.93)))
    assert branch(both)[1]["detail"].endswith(" Consecutive evaluations with drift: 3 of 4 required.")


def test_nothing_is_read_where_nothing_is_needed(tracking: TrackingTables, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = TrackingTables.read

    def noting(self: TrackingTables, table: str, **where: Any) -> Any:
        read.append(table)
        return original(self, table, **where)

    monkeypatch.setattr(TrackingTables, "read", noting)
    branch(below(0.8))
    assert read == []
    branch(below(0.93))
    assert read == [DRIFT_RESULTS]  # whether it was told before
    read.clear()
    branch(any_of(below(0.8), significantly_below(0.9)))
    assert read == [DRIFT_RESULTS, BASELINES]  # which alarms are open, and which level was accepted
    read.clear()
    branch(worse_than_baseline())
    assert read == [EVAL_RESULTS, DRIFT_RESULTS, BASELINES]


def test_each_part_of_a_combination_is_a_row(tracking: TrackingTables) -> None:
    policy = any_of(below("{{ params.t }}"), all_of(significantly_below(0.95, 0.01), below(0.5)))
    followed, pushed = branch(policy, params={"t": 0.93})
    assert followed == ["retrain", "mail"]
    found = {row["check_name"]: row["drifted"] for row in tracking.read(DRIFT_RESULTS)}
    assert found == {
        "any_of(below(0.93), all_of(significantly_below(0.95, alpha=0.01), below(0.5)))": True,
        "below(0.93)": True,
        "all_of(significantly_below(0.95, alpha=0.01), below(0.5))": False,
        "significantly_below(0.95, alpha=0.01)": True,
        "below(0.5)": False,
    }
    assert pushed.keys() == KEYS


@pytest.mark.parametrize(
    ("after", "days", "told"),
    [
        (datetime.timedelta(days=7), 15, [0, 7, 14]),
        (2, 4, [0, 2]),
        ("{{ params.d }}", 4, [0, 3]),
        (0, 2, [0, 1]),
        (None, 2, [0, 1]),
    ],
)
def test_the_same_cause_is_not_told_every_day(after: Any, days: int, told: list[int]) -> None:
    found = []
    for day in range(days):
        followed, pushed = branch(below(0.93), day=day, remind_after=after, params={"d": 3})
        assert followed == (["retrain", "mail"] if pushed["remind"] else ["retrain"])
        found += [day] if pushed["remind"] else []
    assert found == told


def test_another_cause_is_told_at_once() -> None:
    assert branch(below(0.93), day=1)[1]["remind"] is True
    assert branch(below(0.93), day=1)[1]["remind"] is True  # the same run again
    assert branch(below(0.93), day=2)[1]["remind"] is False
    assert branch(below(0.93), day=2, evaluation=evaluation(model_version="2"))[1]["remind"] is True
    assert branch(below(0.94), day=2)[1]["remind"] is True
    assert branch(below(0.93), day=2, dag_id="of_others")[1]["remind"] is True
    assert branch(below(0.93), day=0)[1]["remind"] is True  # an earlier day, later


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"policy": worse_than_baseline("champion")},
            r"compares with the champion: set baseline_alias to its alias",
        ),
        ({"policy": below(0.9), "remind_after": -1}, "remind_after is -1: expected a timedelta or days"),
    ],
)
def test_what_is_wrong_is_said_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AutoMLDriftBranchOperator(task_id="d", evaluation={}, if_drifted="a", if_stable="b", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": worse_than_baseline(alpha="{{ params.x }}")}, "alpha is '7': give a probability"),
        (
            {"policy": any_of(consecutive(2, significantly_below("{{ params.y }}")))},
            "threshold is 'high': give a number",
        ),
        ({"policy": worse_than_baseline("{{ params.c }}")}, "compares with the champion: set baseline_alias"),
        ({"policy": below(0.9), "remind_after": "{{ params.y }}"}, "remind_after is 'high': expected a timedelta"),
        ({"policy": below(0.9), "alert": "post"}, "alert of task 'drift' is 'post', which is not directly downstream"),
        ({"policy": worse_than_baseline(), "evaluation": {"auroc": 0.9}}, "The evaluation has no model_name"),
        ({"policy": below(0.9), "evaluation": "an evaluation"}, "expected the dict of an evaluation"),
    ],
)
def test_bad_input_fails_at_once(arguments: dict[str, Any], message: str, tracking: TrackingTables) -> None:
    with pytest.raises(AirflowFailException, match=message):
        branch(arguments.pop("policy"), params={"x": 7, "y": "high", "c": "champion"}, **arguments)
    assert tracking.read(DRIFT_RESULTS) == []
