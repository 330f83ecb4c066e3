"""Alarms by the real operator on an embedded warehouse: what is followed, told, trained and kept, day by day."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_automl.cli import parse
from airflow_provider_automl.drift.policies import any_of, below, worse_than_baseline
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.tracking.store import TrackingTables
from airflow_provider_automl.tracking.tables import BASELINES, COMPARISONS, DRIFT_RESULTS, EVAL_RESULTS
from tests.drift.days import START
from tests.drift.replay import days, decide, evaluation

GOOD, BAD = 0.93, 0.88


@pytest.fixture(autouse=True)
def tracking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TrackingTables]:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    hook = AutoMLHook()
    with hook.warehouse._connect(read_only=False, directory=None):  # opening a DuckDB file is half of a short session
        yield hook.tracking()


def day(number: int, auroc: float | None, *, model_version: str = "1", dataset: str | None = None, **more: Any) -> Any:
    given = evaluation(auroc, f"ml.day_{number}", model_version=model_version, dataset=dataset)
    return decide(given, number, **more)


HEALTHY = [GOOD, GOOD + 0.001, GOOD - 0.001, GOOD, GOOD + 0.002]


def test_one_drift_is_one_alarm(tracking: TrackingTables) -> None:
    days(HEALTHY)
    spans = {"retrain_after": 10, "remind_after": 3}
    found = days([BAD] * 14, 5, **spans)
    assert [each["alarm"] for each in found] == ["opened", *13 * ["lasting"]]
    assert found[0]["followed"] == ["retrain", "mail"]
    retrained = [number for number, each in enumerate(found) if "retrain" in each["followed"]]
    assert retrained == [0, 10]
    assert [number for number, each in enumerate(found) if "mail" in each["followed"]] == [0, 3, 6, 9, 12]
    assert found[1]["followed"] == ["lasts"]
    over = days([GOOD] * 7, 19, **spans)
    alarms = [each["alarm"] for each in over]
    end = alarms.index("over")
    assert over[end]["followed"] == ["rest", "mail"]
    assert end == 6
    assert {each["alarm"] for each in over[end + 1 :]} <= {None}
    (baseline,) = tracking.read(BASELINES)
    assert baseline["level"] == pytest.approx(sum(HEALTHY) / 5)
    assert baseline["made_by"] == "the first evaluations"
    assert len(tracking.read(DRIFT_RESULTS)) == 26


def test_a_challenger_that_lost_closes_retraining_not_the_alarm(tracking: TrackingTables) -> None:
    days(HEALTHY)
    day(5, BAD)
    lost = {
        "champion_name": "census", "champion_version": "1", "promoted": False,
        "session_time": START + datetime.timedelta(5),
    }  # fmt: skip
    tracking.record(COMPARISONS, lost)
    found = days([BAD] * 6, 6, retrain_after=2)
    assert not [each for each in found if "retrain" in each["followed"]]
    assert {each["alarm"] for each in found} == {"lasting"}


def test_no_more_retrainings_than_that() -> None:
    days(HEALTHY)
    found = days([BAD] * 20, 5, retrain_after=2, max_retrainings=3)
    assert [number for number, each in enumerate(found) if "retrain" in each["followed"]] == [0, 2, 4]


def test_a_cleared_day_decides_again_as_it_did(tracking: TrackingTables) -> None:
    days(HEALTHY)
    first = days([BAD, BAD, GOOD, BAD, BAD], 5)
    again = [day(number, value) for number, value in ((5, BAD), (8, BAD), (2, HEALTHY[2]), (6, BAD))]
    assert again[0] == first[0]
    assert again[1] == first[3]
    assert (again[2]["alarm"], again[2]["followed"]) == (None, ["rest"])
    assert again[3] == first[1]
    assert len(tracking.read(DRIFT_RESULTS)) == 10
    assert len(tracking.read(BASELINES)) == 1


def test_a_cleared_day_tells_again_what_it_told() -> None:
    days(HEALTHY)
    first = days([BAD] * 4, 5, remind_after=2)
    assert [number for number, each in enumerate(first) if "mail" in each["followed"]] == [0, 2]
    assert [day(number, BAD, remind_after=2) for number in (7, 8)] == first[2:]


def test_a_drop_before_there_are_five_is_no_baseline(tracking: TrackingTables) -> None:
    days(HEALTHY[:3])
    found = days([BAD] * 8, 3)
    assert [each["alarm"] for each in found] == ["opened", *7 * ["lasting"]]
    assert {each["compared_with"] for each in found} == {"the mean of the first 3 evaluations of census version 1"}
    assert tracking.read(BASELINES) == []
    days([GOOD] * 7, 11)
    last = days([GOOD + 0.0005] * 3, 18)[-1]
    assert last["compared_with"] == "the mean of the first 5 evaluations of census version 1"
    (baseline,) = tracking.read(BASELINES)
    assert baseline["level"] > 0.929


def test_days_that_are_filled_in_later_are_no_baseline(tracking: TrackingTables) -> None:
    days(HEALTHY, 20)
    (before,) = tracking.read(BASELINES)
    found = days([0.95] * 6, 0)
    assert {each["alarm"] for each in found} == {None}
    assert {each["compared_with"] for each in found} == {"the mean of the first 5 evaluations of census version 1"}
    assert tracking.read(BASELINES) == [before]


def test_a_person_accepts_the_level(tracking: TrackingTables, capsys: pytest.CaptureFixture[str]) -> None:
    days(HEALTHY)
    days([BAD] * 8, 5)
    assert parse(["drift", "alarms", "-o", "json"]) == 0
    assert '"evaluations": 8' in capsys.readouterr().out
    assert parse(["drift", "accept", "census", "--reason", "a new market", "--by", "ann", "-o", "json"]) == 0
    assert '"accepted_by": "ann"' in capsys.readouterr().out
    old, new = sorted(tracking.read(BASELINES), key=lambda row: str(row["made_at"]))
    assert (new["made_by"], new["reason"], new["level"]) == ("ann", "a new market", pytest.approx(BAD))
    assert old["replaced_by"] == new["baseline_id"]
    assert [each["alarm"] for each in days([BAD] * 5, 13)] == 5 * [None]
    assert day(18, 0.80)["alarm"] == "opened"
    assert parse(["drift", "accept", "other", "--reason", "x"]) == 1
    assert "Model 'other' has no open alarm" in capsys.readouterr().err


def test_what_was_accepted_is_not_kept_as_the_first_evaluations(tracking: TrackingTables) -> None:
    days(HEALTHY[:3])
    days([BAD] * 6, 3)
    assert parse(["drift", "accept", "census", "--reason", "a new market", "--by", "ann"]) == 0
    days([BAD] * 3, 9)
    assert [row["made_by"] for row in tracking.read(BASELINES)] == ["ann"]


def test_another_version_ends_the_alarm() -> None:
    days(HEALTHY)
    day(5, BAD)
    found = day(6, GOOD, model_version="2")
    assert (found["alarm"], found["drifted"], found["followed"]) == ("over", None, ["rest", "mail"])
    assert "The alarm of version 1 is over: version 2 replaces it." in found["detail"]
    assert day(7, GOOD, model_version="2")["alarm"] is None


def test_a_day_that_cannot_be_judged() -> None:
    days(HEALTHY)
    assert (day(5, None)["drifted"], day(6, BAD)["alarm"]) == (None, "opened")
    null = day(7, None)
    assert (null["drifted"], null["alarm"], null["followed"]) == (None, "lasting", ["lasts"])
    assert day(8, BAD)["alarm"] == "lasting"


def test_the_policys_alpha_changes_in_mid_episode() -> None:
    days(HEALTHY)
    first = day(5, BAD)
    found = day(6, BAD, policy=worse_than_baseline(alpha=0.001))
    assert (found["alarm"], found["episode_id"]) == ("lasting", first["episode_id"])


def test_data_sets_have_alarms_of_their_own() -> None:
    for country, value in (("fr", 0.93), ("de", 0.90)):
        for number in range(5):
            day(number, value, dataset=country, run_id=f"{country} {number}")
    assert day(5, 0.90, dataset="de", run_id="de 5")["alarm"] is None
    assert day(5, 0.90, dataset="fr", run_id="fr 5")["alarm"] == "opened"


def test_a_combination() -> None:
    policy = any_of(below(0.5), worse_than_baseline())
    days(HEALTHY, policy=policy)
    found = days([BAD] * 3, 5, policy=policy)
    assert [each["alarm"] for each in found] == ["opened", "lasting", "lasting"]
    assert [each["followed"] for each in found] == [["retrain", "mail"], ["lasts"], ["lasts"]]


def test_tables_of_an_older_version(tracking: TrackingTables) -> None:
    """They have no baselines: the first five evaluations that were not found drifted become it."""
    for number, (value, drifted) in enumerate([(0.80, True), *((each, False) for each in HEALTHY)]):
        run = {"session_time": START + datetime.timedelta(number), "dag_id": "old", "run_id": f"old {number}"}
        model = {"model_name": "census", "model_version": "1"}
        measured = {"auroc": value, "metrics": {"auroc_se": 0.004}, "test_table": f"ml.old_{number}"}
        tracking.record(EVAL_RESULTS, {**model, **run, **measured})
        tracking.record(DRIFT_RESULTS, {**model, **run, "drifted": drifted, "check_name": "worse_than_baseline()"})
    found = day(30, BAD)
    assert found["alarm"] == "opened"
    assert found["threshold"] == pytest.approx(sum(HEALTHY) / 5)


def test_two_checks_of_one_model_in_one_dag(capsys: pytest.CaptureFixture[str]) -> None:
    for number, value in enumerate([*HEALTHY, BAD, BAD]):
        first = day(number, value)
        second = day(number, value, task_id="strict", policy=worse_than_baseline(min_effect=0.03))
    assert (first["alarm"], second["alarm"]) == ("lasting", "lasting")
    assert first["episode_id"] != second["episode_id"]
    assert parse(["drift", "accept", "census", "--reason", "x"]) == 1
    assert "Several alarms are open: choose one with --episode" in capsys.readouterr().err
    assert parse(["drift", "accept", "census", "--reason", "x", "--episode", second["episode_id"]]) == 0
    assert day(7, BAD)["alarm"] == "lasting"
    assert day(7, BAD, task_id="strict", policy=worse_than_baseline(min_effect=0.03))["alarm"] is None


def test_rows_of_an_alarm_are_deleted(tracking: TrackingTables) -> None:
    """Nothing is known of it then: the next day with drift opens another, against the baseline that was kept."""
    days(HEALTHY)
    first = days([BAD] * 3, 5)
    tracking.warehouse.drop_table(tracking.name(DRIFT_RESULTS))
    found = day(8, BAD)
    assert (found["alarm"], found["compared_with"]) == ("opened", first[0]["compared_with"])
    assert found["episode_id"] != first[0]["episode_id"]
    assert len(tracking.read(BASELINES)) == 1
