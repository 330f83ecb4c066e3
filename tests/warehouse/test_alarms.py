"""Days of a check by the real operators: the same alarms, mails, trainings and rows on every engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from airflow_provider_automl.drift.policies import worse_than_baseline
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.tracking.store import utc
from airflow_provider_automl.tracking.tables import BASELINES, DRIFT_RESULTS
from tests.drift.days import Days
from tests.drift.replay import days
from tests.system.conftest import reached

SCHEMA = "automl_alarms"
GOOD, BAD = 0.93, 0.88
HEALTHY = [0.930, 0.931, 0.929, 0.930, 0.932]


class Story(NamedTuple):
    """What is evaluated day by day, and what comes of it."""

    values: list[float | None]
    retrain_after: int
    remind_after: int
    alarms: list[str | None]
    retrained: list[int]
    told: list[int]


#: Healthy; a drop that lasts; two days that cannot be judged; better again.
MONTH = Story(
    [
        *HEALTHY, 0.928, *[BAD, BAD - 0.001] * 5, None, None, *[BAD] * 3,
        *[GOOD, GOOD + 0.002, GOOD - 0.001] * 3,
    ],
    8, 6, [*6 * [None], "opened", *20 * ["lasting"], "over", None, None], [6, 14, 22], [6, 12, 18, 24, 27],
)  # fmt: skip
#: The same kinds of days, fewer of each: a day costs Hive six seconds, Trino one.
FORTNIGHT = Story(
    [*HEALTHY, BAD, None, BAD - 0.001, BAD, 0.98, 0.98, 0.98],
    3, 2, [*5 * [None], "opened", *4 * ["lasting"], "over", None], [5, 8], [5, 7, 9, 10],
)  # fmt: skip


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AutoMLHook]:
    connection = {"conn_type": "duckdb", "host": str(tmp_path / "w.duckdb")}
    if request.param == "postgres":
        connection = request.getfixturevalue("postgres_connection")
    elif request.param != "duckdb":
        server = request.getfixturevalue(f"{request.param}_server")
        connection = {"host": "127.0.0.1", "port": server["port"], "login": "airflow"}
        if request.param == "hive":
            connection |= {"conn_type": "hiveserver2"}
        else:
            connection |= {"conn_type": "trino", "schema": "default", "extra": {"catalog": "memory"}}
    extra = {"warehouse_conn_id": "warehouse", "tracking_schema": SCHEMA}
    found = {"automl_default": {"conn_type": "automl", "extra": extra}, "warehouse": connection}
    env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in found.items()}
    with reached({"AIRFLOW_HOME": str(tmp_path), **env}) as hook:
        _emptied(hook)
        if request.param == "duckdb":
            with hook.warehouse._connect(read_only=False, directory=None):  # which takes half of a session
                yield hook
        else:
            yield hook
        _emptied(hook)


def _emptied(hook: AutoMLHook) -> None:
    for table in ("automl_eval_results", DRIFT_RESULTS, BASELINES):
        hook.warehouse.drop_table(f"{SCHEMA}.{table}")


@pytest.mark.parametrize(
    ("place", "story"),
    [
        pytest.param("duckdb", MONTH, id="duckdb"),
        pytest.param("postgres", MONTH, id="postgres", marks=pytest.mark.engine),
        pytest.param("trino", FORTNIGHT, id="trino", marks=[pytest.mark.engine, pytest.mark.shares("trino memory")]),
        pytest.param("hive", FORTNIGHT, id="hive", marks=[pytest.mark.engine, pytest.mark.shares("hive")]),
    ],
    indirect=["place"],
)
def test_is_what_the_model_says_on_every_engine(place: AutoMLHook, story: Story) -> None:
    """The model in memory, of which years are simulated, and the tables of a real engine."""
    model = Days(worse_than_baseline())
    expected = [model.day(value, 0.004) for value in story.values]
    found = days(story.values, schema=SCHEMA, retrain_after=story.retrain_after, remind_after=story.remind_after)
    rows = sorted(place.tracking(SCHEMA).read(DRIFT_RESULTS), key=lambda row: utc(row["session_time"]))
    assert len(rows) == len(story.values)
    for row, decision in zip(rows, expected, strict=True):
        for name in ("statistic", "threshold", "p_value", "error"):
            value = getattr(decision, name)
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-12, abs=1e-15)), name
        assert (row["drifted"], row["alarm"]) == (decision.drifted, decision.alarm)
        if decision.statistic is not None:
            assert row["detail"] == decision.detail.replace("m version 1", "census version 1")
    assert [day["alarm"] for day in found] == story.alarms
    assert len({row["episode_id"] for row in rows if row["alarm"]}) == 1
    assert [number for number, day in enumerate(found) if "retrain" in day["followed"]] == story.retrained
    assert [number for number, day in enumerate(found) if "mail" in day["followed"]] == story.told
    assert [bool(row["retrain"]) for row in rows] == ["retrain" in day["followed"] for day in found]
    assert [bool(row["told"]) for row in rows] == ["mail" in day["followed"] for day in found]
    (baseline,) = place.tracking(SCHEMA).read(BASELINES)
    assert json.loads(baseline["evaluations"]) == [[each.value, each.error] for each in model.kept]
    assert baseline["level"] == pytest.approx(0.9304, rel=1e-12)
    assert utc(baseline["session_time"]) == utc(rows[4]["session_time"])
