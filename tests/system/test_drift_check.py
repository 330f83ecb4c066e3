"""The drift check, run by a real Airflow: the world changes; that is noticed, told and learnt; the better is promoted.

Then the world changes back, and the mail server is down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engines import required
from tests.system.conftest import python, rows
from tests.system.mail import Mailbox, body
from tests.system.server import REPO, AirflowServer

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1500)]

CHECK, TRAINING, ALIAS = "automl_drift_check", "automl_experiment", "census_champion"
CONF = {"output_database": "checked", "fit_time_limit": "10", "mail_to": "a@example.com"}


@dataclass
class Place:
    """An Airflow on one warehouse, its mail server, and one run of the training."""

    airflow: AirflowServer
    mailbox: Mailbox

    def check(self, **conf: Any) -> tuple[str, str, dict[str, str]]:
        """Run the check; returns its id, its state and its tasks'."""
        run_id = self.airflow.trigger(CHECK, {**CONF, **conf})
        state = self.airflow.wait(CHECK, run_id, timeout=600)
        return run_id, state, self.airflow.states(CHECK, run_id)

    def champion(self) -> list[dict[str, Any]]:
        """The alias's history, oldest first."""
        code = (
            "import json; from airflow_provider_automl.hooks.automl import AutoMLHook; "
            f"print('HISTORY', json.dumps(AutoMLHook().models.alias_history({ALIAS!r}), default=str))"
        )
        line = next(line for line in python(self.airflow, code).splitlines() if line.startswith("HISTORY "))
        found: list[dict[str, Any]] = json.loads(line.removeprefix("HISTORY "))
        return found

    def decision(self, run_id: str) -> dict[str, Any]:
        (row,) = [row for row in rows(self.airflow, "checked.automl_drift_results") if row["run_id"] == run_id]
        return row


# Where Trino must be proven, it is proven there alone: the same in five minutes less.
PLACES = ["trino"] if "trino" in required() else ["duckdb", "trino"]


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home: Path = tmp_path_factory.mktemp("airflow")
    env = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False", "PYTHONPATH": str(REPO)}
    if request.param == "trino":
        facts = request.getfixturevalue("trino_server")
        env["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(
            {
                "conn_type": "trino", "host": "127.0.0.1", "port": facts["port"], "login": "airflow",
                "schema": "default", "extra": {"catalog": "iceberg", "protocol": "http"},
            }
        )  # fmt: skip
        extra = {"warehouse_conn_id": "warehouse", "model_store": str(home / "models")}
        env["AIRFLOW_CONN_AUTOML_DEFAULT"] = json.dumps({"conn_type": "automl", "extra": extra})
    with Mailbox(tmp_path_factory.mktemp("mails")) as mailbox:
        server = AirflowServer(home, REPO / "dags", {**env, "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.connection()})
        code = "from tests.system.census import load; load(); load('changed', changed=True)"
        python(server, code)
        server.start()
        try:
            run_id = server.trigger(TRAINING, CONF)
            assert server.wait(TRAINING, run_id, timeout=600) == "success", server.states(TRAINING, run_id)
            yield Place(server, mailbox)
        finally:
            server.stop()


def test_drift_is_recorded_told_and_mended(place: Place) -> None:
    run_id, state, states = place.check()
    assert state == "success", states
    assert states["no_drift"] == "success"
    assert states["retrain"] == states["alert_if_drift_detected"] == "skipped"
    (first,) = place.champion()
    assert first["reason"].startswith("Nobody held the alias")
    (evaluated,) = [row for row in rows(place.airflow, "checked.automl_eval_results") if row["dag_id"] == CHECK]
    assert (evaluated["test_table"], evaluated["model_version"]) == ("ml_datasets.gluon_test", first["model_version"])
    decided = place.decision(run_id)
    assert decided["drifted"] is False
    assert decided["check_name"].startswith("worse_than_baseline('champion'")
    assert decided["p_value"] > 0.4  # the very rows that the training's own evaluation was of

    run_id, state, states = place.check(input_database="changed")
    assert state == "success", states
    assert {name for name, state in states.items() if state != "success"} == {"no_drift"}
    decided = place.decision(run_id)
    assert decided["drifted"] is True
    assert decided["p_value"] < 1e-6
    found = place.airflow.xcom(CHECK, run_id, "promote")
    assert found["promoted"] is True
    assert found["p_value"] < 1e-6
    history = place.champion()
    assert history[:1] == [first]
    assert len(history) == 2
    assert history[1]["model_version"] == found["challenger_version"] != first["model_version"]
    assert "significantly better" in history[1]["reason"]
    told = place.mailbox.about(run_id)
    assert {mail["Subject"] for mail in told} == {"Drift detected", f"{ALIAS} changed"}
    alert = next(body(mail) for mail in told if mail["Subject"] == "Drift detected")
    assert "is significantly below" in alert

    place.mailbox.stop()
    again, state, states = place.check()
    assert state == "failed"
    assert {name for name, state in states.items() if state == "failed"} == {
        "alert_if_drift_detected", "tell_of_promotion",
    }  # fmt: skip
    assert place.decision(again)["drifted"] is True
    assert len(place.champion()) == 3
    assert place.airflow.xcom(CHECK, again, "promote")["promoted"] is True
