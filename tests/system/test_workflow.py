"""The example DAGs, run by a real Airflow on the census data."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from airflow_provider_automl.drift.policies import below
from tests.system.conftest import rows
from tests.system.drift_check import DriftCheck
from tests.system.mail import RECIPIENTS, Mailbox, body
from tests.system.server import AirflowServer

pytestmark = [pytest.mark.airflow, pytest.mark.shares("airflow on DuckDB")]

CONF = {
    "fit_time_limit": "15 * 2",
    "output_database": "workflow",
    "mail_to": "a@example.com, b@example.com",
    "mail_bcc": "c@example.com",
    "user_email": "ann@example.com",
}
DOCUMENTED = {
    "automl_experiments": (
        "task_attempt_id", "session_time", "user_id", "user_email", "model_name", "shared_model", "notebook_url",
    ),
    "automl_eval_results": ("session_time", "model_name", "test_table", "auroc"),
}  # fmt: skip


@pytest.fixture(scope="module")
def experiment(airflow: AirflowServer, mailbox: Mailbox) -> str:
    """One run of the whole workflow, without a logical date, as an asset-triggered run has none."""
    run_id = airflow.trigger("automl_experiment", CONF)
    state = airflow.wait("automl_experiment", run_id, timeout=600)
    assert state == "success", airflow.states("automl_experiment", run_id)
    return run_id


def recorded(airflow: AirflowServer, table: str, run_id: str) -> dict[str, Any]:
    """A run's row of a table of the results."""
    (row,) = [row for row in rows(airflow.env, f"workflow.{table}") if row["run_id"] == run_id]
    return row


def test_documented_columns_are_filled(airflow: AirflowServer, experiment: str) -> None:
    for table, columns in DOCUMENTED.items():
        row = recorded(airflow, table, experiment)
        assert tuple(row)[: len(columns)] == columns
        assert all(row[column] is not None for column in columns), row
    tracked = recorded(airflow, "automl_experiments", experiment)
    evaluated = recorded(airflow, "automl_eval_results", experiment)
    assert (tracked["model_name"], tracked["model_version"]) == (evaluated["model_name"], evaluated["model_version"])
    assert evaluated["test_table"] == "ml_datasets.gluon_test"
    assert tracked["notebook_url"].startswith(f"{airflow.url}/automl/reports/automl_default/{tracked['model_name']}/")


def links(airflow: AirflowServer, run_id: str, task_id: str) -> dict[str, str | None]:
    path = f"/api/v2/dags/automl_experiment/dagRuns/{run_id}/taskInstances/{task_id}/links"
    found: dict[str, str | None] = airflow.get(path)["extra_links"]
    return found


@pytest.mark.parametrize(("task_id", "says"), [("train", b"Model quality"), ("predict", b"Predictions")])
def test_reports_are_shown_to_those_who_may_see_the_dag(
    airflow: AirflowServer, experiment: str, task_id: str, says: bytes
) -> None:
    path = links(airflow, experiment, task_id)["Notebook"]
    assert path
    assert path.startswith("/automl/reports/")  # by whatever name, http or https, this Airflow is reached
    url = airflow.url + path
    assert url == airflow.xcom("automl_experiment", experiment, task_id, "notebook_url")
    status, headers, page = airflow.open(url, "admin")
    assert status == 200
    assert says in page
    read = (
        b"Trained on <b>ml_datasets.gluon_train</b>"
        if task_id == "train"
        else b"Predictions for <b>ml_datasets.gluon_test</b>"
    )
    assert read + f" by automl_experiment.{task_id}, ".encode() in page
    assert f'href="/dags/automl_experiment/runs/{quote(experiment)}"'.encode() in page
    own = path.replace("predictions/", "report/").split("/report/")[0] + "/report/train.html"
    assert (f'href="{own}"'.encode() in page) == (task_id == "predict")
    assert re.search(rb"<title>(workflow[.]predicted\S+: predictions by )?gluon_model_\S+ \S+</title>", page)
    assert headers["content-type"] == "text/html; charset=utf-8"
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none';")  # of no origin: without Airflow's cookies
    assert "allow-same-origin" not in policy
    assert airflow.open(url, None)[0] == 401
    hidden, missing = (airflow.open(page, "guest") for page in (url, url.replace("/report/", "/no-report/")))
    assert hidden[0] == missing[0] == 404
    assert hidden[2] == airflow.open(re.sub(r"/\d{8}T", "/20000101T", url), "guest")[2]  # nobody learns what there is
    status, headers, notebook = airflow.open(url.replace(".html", ".ipynb"), "admin")
    assert status == 200
    assert headers["content-disposition"].startswith("attachment")
    assert b'"execution_count"' in notebook
    assert airflow.open(url.replace(".html", ".ipynb"), "guest")[0] == 404


def test_browsers_are_sent_to_the_login_and_see_pages(airflow: AirflowServer, experiment: str) -> None:
    path = links(airflow, experiment, "train")["Notebook"]
    assert path
    status, headers, _ = airflow.open(airflow.url + path, None, browser=True)
    assert (status, headers["location"]) == (302, f"/api/v2/auth/login?next={quote(path, safe='')}")
    status, headers, _ = airflow.open(airflow.url + headers["location"], None, browser=True)
    assert status == 307
    assert parse_qs(urlsplit(headers["location"]).query)["next"] == [path]  # which Airflow's login goes on to
    for user in ("admin", "guest"):
        missing = f"{airflow.url}{path.rpartition('/')[0]}/no.html"
        status, headers, page = airflow.open(missing, user, browser=True)
        assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert b"<h1" in page
        detail = b"The report does not exist, or you are not permitted to see it."
        assert detail in page
        assert airflow.open(missing, user)[2] == b'{"detail":"' + detail + b'"}'


def test_a_registry_that_is_silent_harms_nothing_else(airflow: AirflowServer, experiment: str) -> None:
    """Sixty people ask for reports that are in a database which takes connections and says nothing."""
    good = airflow.url + str(links(airflow, experiment, "train")["Notebook"])
    url = f"{airflow.url}/automl/reports/automl_silent/m/20260101T000000-x-0/report/train.html"
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(airflow.open, url, "admin", browser=True) for _ in range(60)]
        time.sleep(1)
        answers = 0
        while not any(each.done() for each in asked):
            airflow.get("/api/v2/dags")
            answers += 1
            time.sleep(0.2)
        found = {each.result()[0] for each in asked}
        pages = {each.result()[2] for each in asked}
    assert found == {503}
    assert all(b"does not respond" in page for page in pages)
    assert answers >= 3  # of Airflow's own route, while they wait; it used to wait with them
    deadline = time.monotonic() + 60
    while airflow.open(good, "admin")[0] == 503:  # until those that hang have given up
        assert time.monotonic() < deadline
    assert airflow.open(good, "admin")[0] == 200


def test_nothing_but_reports_is_served(airflow: AirflowServer, experiment: str) -> None:
    url = airflow.url + str(links(airflow, experiment, "train")["Notebook"])
    version = url.removesuffix("/report/train.html")
    model = version.rpartition("/")[0]
    for path in (
        f"{version}/training.json", f"{version}/model/manifest.json", f"{version}/report/facts.json",
        f"{version}/report/..%2ftraining.json", f"{version}/report/%2e%2e/training.json",
        f"{version}/predictions/..%2freport/train.html", f"{version}/predictions/x/predict.html",
        f"{model}/..%2f..%2f/report/train.html", f"{model}/20261124T000000-x-0/report/train.html",
        f"{airflow.url}/automl/reports/automl_default/*/x/report/train.html",
        f"{airflow.url}/automl/reports/smtp_default/m/v/report/train.html",
        f"{airflow.url}/automl/reports/not_there/m/v/report/train.html",
        f"{airflow.url}/automl/docs", f"{airflow.url}/automl/openapi.json", f"{airflow.url}/automl/",
    ):  # fmt: skip
        assert airflow.open(path, "admin")[0] == 404, path
        assert airflow.open(path, None)[0] in (401, 404), path


def test_auc_is_scikit_learns(airflow: AirflowServer, experiment: str) -> None:
    from sklearn.metrics import roc_auc_score

    evaluated = recorded(airflow, "automl_eval_results", experiment)
    predicted = rows(airflow.env, evaluated["predictions_table"])
    labels = [row["class"] == " >50K" for row in predicted]
    scores = [row["predicted_proba"] for row in predicted]
    assert evaluated["auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert evaluated["auroc"] >= 0.91  # 0.927 by its first models
    assert 0.002 <= (evaluated["auroc_high"] - evaluated["auroc_low"]) / 2 <= 0.006


def test_drift_is_mailed_and_says_why(airflow: AirflowServer, mailbox: Mailbox, experiment: str) -> None:
    evaluated = recorded(airflow, "automl_eval_results", experiment)
    states = airflow.states("automl_experiment", experiment)
    drifted = evaluated["auroc"] < 0.93
    if "AUTOML_TEST_DATA" in os.environ:
        assert drifted  # a healthy model of today scores 0.929 on the real data
    assert states["alert_if_drift_detected"] == ("success" if drifted else "skipped")
    assert states["no_drift"] == ("skipped" if drifted else "success")
    mails = mailbox.about(experiment)
    assert len(mails) == (1 if drifted else 0)
    if drifted:
        assert mails[0]["Subject"] == "Drift detected"
        assert set(mails[0][RECIPIENTS].split(", ")) == {"a@example.com", "b@example.com", "c@example.com"}
        text = body(mails[0])
        assert f"Detect drift in model performance. AUC was {evaluated['auroc']}." in text
        assert escape(below(0.93).check(evaluated).detail) in text


def test_exports_tell_the_version(airflow: AirflowServer, experiment: str) -> None:
    tracked = recorded(airflow, "automl_experiments", experiment)
    for table in ("leaderboard_gluon_train", "feature_importance_gluon_train"):
        exported = rows(airflow.env, f"workflow.{table}")
        assert exported
        assert {row["model_version"] for row in exported} == {tracked["model_version"]}


def test_a_healthy_day_is_neither_mailed_nor_answered(
    airflow: AirflowServer, mailbox: Mailbox, experiment: str
) -> None:
    tracked = recorded(airflow, "automl_experiments", experiment)
    DriftCheck(airflow, mailbox, {**CONF, "model_name": tracked["model_name"]}).nothing_changes()


@pytest.mark.usefixtures("experiment")
def test_drift_is_answered_where_no_mail_can_be_sent(airflow: AirflowServer, mailbox: Mailbox) -> None:
    check = DriftCheck(airflow, mailbox, {"output_database": CONF["output_database"], "fit_time_limit": "5"}, 2_000)
    check.the_world_changes_and_no_mail_can_be_sent()


def test_a_failed_drift_check_is_mailed(airflow: AirflowServer, mailbox: Mailbox) -> None:
    conf = {"model_name": "never trained", "alias": "nobody", "mail_to": "ops@example.com, team@example.com"}
    run_id = airflow.trigger("automl_drift_check", conf)
    assert airflow.wait("automl_drift_check", run_id) == "failed"
    assert airflow.states("automl_drift_check", run_id)["first_champion"] == "failed"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not mailbox.about(run_id):
        time.sleep(0.5)
    (mail,) = mailbox.about(run_id)
    assert mail["Subject"] == "automl_drift_check failed: first_champion, ml_datasets.gluon_test"
    text = body(mail)
    assert "first_champion</b> of <b>automl_drift_check</b> failed: No model &#x27;never trained&#x27; in" in text
    log = f"{airflow.url}/dags/automl_drift_check/runs/{quote(run_id)}/tasks/first_champion"
    assert f'<a href="{log}' in text
    assert set(mail[RECIPIENTS].split(", ")) == {"ops@example.com", "team@example.com"}


def test_airflow_lists_the_connection_form(airflow: AirflowServer) -> None:
    form = next(meta for meta in airflow.get("/ui/connections/hook_meta") if meta["connection_type"] == "automl")
    fields = {"warehouse_conn_id", "tracking_schema", "model_store", "staging", "interpreters", "user_email"}
    assert fields <= set(form["extra_fields"])


def test_no_import_errors(airflow: AirflowServer) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and airflow.get("/api/v2/dags?limit=100")["total_entries"] < 14:
        time.sleep(1)
    assert airflow.get("/api/v2/importErrors")["import_errors"] == []
