"""The drift check on one warehouse: the world changes; that is recorded, mailed and learnt, and the better is promoted.

Then the world changes back, and the mail server is down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.system import census
from tests.system.conftest import reached, rows
from tests.system.mail import Mailbox, body
from tests.system.server import AirflowServer

CHECK, ALIAS = "automl_drift_check", "census_champion"


def check_drift(
    airflow: AirflowServer, mailbox: Mailbox, conf: Mapping[str, Any], changed: str, count: int | None = None
) -> None:
    """Run the check three times, and look at what it did.

    :param mailbox: the mail server of ``smtp_default``; it is stopped.
    :param conf: of the training that went before, which recorded its evaluation.
    :param changed: a schema for the changed world's tables.
    :param count: at most so many rows of these.
    """
    results = conf["output_database"]
    asked = {name: conf[name] for name in ("input_database", "output_database", "fit_time_limit")}
    with reached(airflow.env):
        census.load(changed, changed=True, rows=count)

    def check(**more: Any) -> tuple[str, str, dict[str, str]]:
        run_id = airflow.trigger(CHECK, {**asked, "mail_to": "a@example.com", **more})
        state = airflow.wait(CHECK, run_id, timeout=600)
        return run_id, state, airflow.states(CHECK, run_id)

    def history() -> list[dict[str, Any]]:
        with reached(airflow.env) as hook:
            return hook.models.alias_history(ALIAS)

    def decision(run_id: str) -> dict[str, Any]:
        with reached(airflow.env) as hook:
            (row,) = hook.warehouse.rows(f"{results}.automl_drift_results", where={"run_id": run_id})
        return row

    run_id, state, states = check()
    assert state == "success", states
    assert states["no_drift"] == "success"
    assert states["retrain"] == states["alert_if_drift_detected"] == "skipped"
    (first,) = history()
    assert first["reason"].startswith("Nobody held the alias")
    (evaluated,) = [row for row in rows(airflow.env, f"{results}.automl_eval_results") if row["dag_id"] == CHECK]
    assert evaluated["test_table"] == f"{conf['input_database']}.gluon_test"
    assert evaluated["model_version"] == first["model_version"]
    decided = decision(run_id)
    assert decided["drifted"] is False
    assert decided["check_name"].startswith("worse_than_baseline('champion'")
    assert decided["p_value"] > 0.4  # the very rows that the training's own evaluation was of

    run_id, state, states = check(input_database=changed)
    assert state == "success", states
    assert {name for name, state in states.items() if state != "success"} == {"no_drift", "alarm_lasts"}
    decided = decision(run_id)
    assert decided["drifted"] is decided["told"] is decided["retrain"] is True
    assert decided["alarm"] == "opened"
    assert decided["p_value"] < 1e-6
    found = airflow.xcom(CHECK, run_id, "promote")
    assert found["promoted"] is True
    assert found["p_value"] < 1e-6
    assert history()[:1] == [first]
    assert len(history()) == 2
    assert history()[1]["model_version"] == found["challenger_version"] != first["model_version"]
    assert "significantly better" in history()[1]["reason"]
    told = mailbox.about(run_id)
    assert {mail["Subject"] for mail in told} == {"Drift detected", f"{ALIAS} changed"}
    alert = next(body(mail) for mail in told if mail["Subject"] == "Drift detected")
    assert "is significantly below" in alert

    mailbox.stop()
    again, state, states = check()
    assert state == "failed"
    assert {name for name, state in states.items() if state == "failed"} == {
        "alert_if_drift_detected", "tell_of_promotion",
    }  # fmt: skip
    assert decision(again)["drifted"] is True
    assert decision(again)["alarm"] == "opened"  # another version's, so another alarm
    assert len(history()) == 3
    assert airflow.xcom(CHECK, again, "promote")["promoted"] is True
    compared = rows(airflow.env, f"{results}.automl_comparisons")
    assert [(row["run_id"], row["promoted"]) for row in compared if row["run_id"] in (run_id, again)] == [
        (run_id, True), (again, True),
    ]  # fmt: skip
