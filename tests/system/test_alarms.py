"""An alarm by real Airflow with a real mail server: opened, lasting, over, opened again, accepted."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.drift.replay import decide, evaluation
from tests.system.conftest import reached, rows
from tests.system.mail import Mailbox, body
from tests.system.server import AirflowServer

pytestmark = [pytest.mark.airflow, pytest.mark.shares("airflow on DuckDB")]

HEALTHY = [0.930, 0.931, 0.929, 0.930, 0.932]
PLACE = {"schema": "alarms", "dag_id": "alarms"}


def run(airflow: AirflowServer, mailbox: Mailbox, auroc: float) -> dict[str, Any]:
    """A day's run; its alarm, the task that was followed, its mail, and how many trainings there are by then."""
    run_id = airflow.trigger("alarms", {"auroc": auroc})
    assert airflow.wait("alarms", run_id) == "success", airflow.states("alarms", run_id)
    states = airflow.states("alarms", run_id)
    mails = mailbox.about(run_id)
    trainings = airflow.get("/api/v2/dags/trained_for_an_alarm/dagRuns")["total_entries"]
    return {
        "alarm": airflow.xcom("alarms", run_id, "drift", "alarm"),
        "followed": [name for name in ("retrain", "rest", "lasts") if states[name] == "success"],
        "mails": [mail["Subject"] for mail in mails],
        "text": "".join(map(body, mails)),
        "trainings": trainings,
    }


def recorded(airflow: AirflowServer, values: list[float]) -> None:
    """Days that go by without Airflow: each is recorded and decided on as by a run of it, at this moment."""
    with reached(airflow.env):
        for value in values:
            now = datetime.now(UTC)
            decide(evaluation(value, f"ml.{now:%H%M%S%f}"), 0, time=now, run_id=f"meanwhile {now}", **PLACE)


def test_what_follows_an_alarm(airflow: AirflowServer, mailbox: Mailbox) -> None:
    recorded(airflow, HEALTHY)
    opened = run(airflow, mailbox, 0.88)
    assert (opened["alarm"], opened["followed"], opened["trainings"]) == ("opened", ["retrain"], 1)
    assert opened["mails"] == ["Drift detected"]
    assert "is significantly below 0.9304, the mean of the first 5 evaluations of census version 1" in opened["text"]

    lasting = run(airflow, mailbox, 0.881)
    assert (lasting["alarm"], lasting["followed"], lasting["trainings"]) == ("lasting", ["lasts"], 1)
    assert lasting["mails"] == []

    recorded(airflow, [*[0.882, 0.879] * 3, *[0.930, 0.931] * 3])
    over = run(airflow, mailbox, 0.932)
    assert (over["alarm"], over["followed"], over["trainings"]) == ("over", ["rest"], 1)
    assert over["mails"] == ["Drift is over"]
    assert over["text"].count("<p>") == 2  # what is over, and the link to the run
    assert "The alarm is over: the metric has recovered at evaluation 15 of the alarm." in over["text"]

    recorded(airflow, [0.900, 0.901, 0.899])
    command = [sys.executable, "-m", "airflow_provider_automl", "drift", "accept", "census", "--schema", "alarms"]
    done = subprocess.run(
        [*command, "--reason", "a new market", "--by", "ann"],
        env={**os.environ, **airflow.env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    accepted = run(airflow, mailbox, 0.900)
    assert (accepted["alarm"], accepted["followed"], accepted["trainings"]) == (None, ["rest"], 1)
    assert accepted["mails"] == []
    baselines = rows(airflow.env, "alarms.automl_baselines")
    assert {(row["made_by"], row["reason"]) for row in baselines} == {
        ("the first evaluations", None), ("ann", "a new market"),
    }  # fmt: skip
