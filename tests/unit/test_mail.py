"""The mail about drift: what it says, that it escapes everything, that it fetches nothing."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.mail import drift_html, drift_mail, failure_mail
from airflow_provider_automl.tracking.tables import EVAL_RESULTS
from tests.system.server import REPO

EVALUATION = {
    "model_name": "gluon_model_20261124T070000", "model_version": "20261124T070000-0a1b2c3d4e5f-0",
    "test_table": "ml_datasets.gluon_test", "table": "automl_test.predicted", "auroc": 0.92883456789,
    "auroc_low": 0.9246, "auroc_high": 0.9331, "rows_evaluated": 16281, "positives": 3846, "rows_skipped": 0,
}  # fmt: skip
DETAIL = "AUC 0.9288 (95 % interval 0.9246 to 0.9331) is below the threshold 0.93."
DECISION = {"detail": DETAIL, "threshold": 0.93, "p_value": 0.0123456789}

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}&amp;"


class Page(HTMLParser):
    """The texts, the cells of the table, and every attribute that could fetch something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: dict[str, str] = {}
        self.texts: list[str] = []
        self.fetched: list[str] = []
        self._href: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "background", "data") or tag == "link"]
        self.fetched += re.findall(r"url\(|@import", given.get("style") or "")
        self._href = given.get("href") if tag == "a" else None

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())
            if self._href is not None:
                self.links[data.strip()] = self._href


def cells(page: Page) -> dict[str, str]:
    texts = page.texts
    return {text: texts[index + 1] for index, text in enumerate(texts[:-1])}


def test_the_finding_comes_first_and_the_numbers_have_their_interval() -> None:
    page = Page(drift_html(EVALUATION, DECISION, run_id="manual__1", links={"DAG run in Airflow": "https://a/b?c=d&e"}))
    assert page.texts[1:3] == [DETAIL, "Detect drift in model performance. AUC was 0.92883456789."]
    found = cells(page)
    assert found["AUC"] == "0.928835"
    assert found["95 % interval"] == "0.9246 to 0.9331"
    assert (found["Rows"], found["Positives"], found["Threshold"], found["p-value"]) == (
        "16,281", "3,846", "0.93", "0.0123457",
    )  # fmt: skip
    assert page.links == {"DAG run in Airflow": "https://a/b?c=d&e"}
    assert "Rows skipped" not in page.texts
    found = cells(Page(drift_html(EVALUATION, DECISION | {"compared_with": "the threshold 0.93"})))
    assert (found["Compared with"], found.get("Threshold")) == ("the threshold 0.93", None)


@pytest.mark.parametrize(("p_value", "shown"), [(0.0, "below 0.0001"), (3e-7, "below 0.0001"), (0.0002, "0.0002")])
def test_no_p_value_is_0(p_value: float, shown: str) -> None:
    assert cells(Page(drift_html(EVALUATION, DECISION | {"p_value": p_value})))["p-value"] == shown


def test_the_trend_and_what_was_started() -> None:
    found = cells(Page(drift_html(EVALUATION, DECISION, before=[0.93, None, 0.9288], started=["retrain", "call"])))
    assert (found["Previous AUC"], found["Started"]) == ("0.9300, 0.9288", "retrain, call")


def test_a_failure_tells_which_task_and_why_and_escapes_it() -> None:
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t<b>", log_url="https://a/log?x=1&y=2")
    page = Page(failure_mail(ti, InputError(HOSTILE)))
    assert set(page.tags) == {"p", "b", "a"}
    assert HOSTILE in " ".join(page.texts)
    assert page.links["Task log"] == "https://a/log?x=1&y=2"
    assert "failed: no exception was reported; the task or its worker was probably killed." in failure_mail(ti)
    assert len(failure_mail(ti, "x" * 100_000)) < 3000


def test_it_fetches_nothing_and_sets_no_ground_and_no_ink() -> None:
    html = drift_html(EVALUATION, DECISION)
    page = Page(html)
    assert page.fetched == []
    assert not {"img", "script", "style", "link", "iframe"} & set(page.tags)
    assert not re.search(r"[\"; ](background|color)[a-z-]*:", html)
    assert '<meta name="color-scheme" content="light dark">' in html


@pytest.mark.parametrize("where", [*EVALUATION, "detail", "threshold", "run_id", "link", "url"])
def test_every_value_is_escaped(where: str) -> None:
    plain = Page(drift_html(EVALUATION, DECISION, run_id="r", links={"t": "https://a"}))
    html = drift_html(
        EVALUATION | ({where: HOSTILE} if where in EVALUATION else {}),
        {**DECISION, **({where: HOSTILE} if where in ("detail", "threshold") else {})},
        run_id=HOSTILE if where == "run_id" else "r",
        links={HOSTILE if where == "link" else "t": f"https://a/{HOSTILE}" if where == "url" else "https://a"},
    )
    page = Page(html)
    assert set(page.tags) == set(plain.tags)
    assert HOSTILE in (" ".join(page.texts) + " ".join(page.links.values()))


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "", None])
def test_other_links_than_to_pages_are_left_out(url: str | None) -> None:
    assert Page(drift_html(EVALUATION, DECISION, links={"t": url})).links == {}


def test_what_is_missing_is_left_out() -> None:
    page = Page(drift_html({"auroc": None, "auroc_low": None}, {"detail": None}))
    assert page.texts == ["Drift detected", "Drift was detected.", "Detect drift in model performance. AUC was None."]


SAME = ("model_name", "model_version", "test_table")


@pytest.mark.parametrize("name", ["automl_experiment", "automl_drift_check"])
def test_the_example_dags_send_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendered as Airflow renders it, with what the tasks before have left."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    dag = runpy.run_path(str(REPO / "dags" / f"{name}.py"))["dag"]
    task = dag.get_task("alert_if_drift_detected")
    left = {
        ("evaluation", "return_value"): EVALUATION, ("drift", "detail"): DETAIL, ("drift", "threshold"): 0.93,
        ("drift", "return_value"): ["retrain", "alert_if_drift_detected"],
        ("predict", "notebook_url"): "http://localhost:8080/automl/reports/x",
    }  # fmt: skip

    def xcom_pull(task_ids: str, key: str = "return_value") -> Any:
        return left.get((task_ids, key))

    ti = SimpleNamespace(
        dag_id=dag.dag_id, run_id="manual__2026-11-26T07:00:00+00:00", task_id=task.task_id, xcom_pull=xcom_pull
    )
    tracking = AutoMLHook().tracking("automl_test")
    for day, auroc in enumerate([0.91, 0.92, 0.93, 0.94, 0.95, 0.96], 20):
        row = {**EVALUATION, "auroc": auroc, "session_time": f"2026-11-{day}T07:00:00+00:00", "run_id": f"run {day}"}
        tracking.record(
            EVAL_RESULTS, {key: row[key] for key in (*SAME, "auroc", "session_time", "run_id")}, record_id=f"{day}"
        )
        tracking.record(EVAL_RESULTS, {"model_name": "other", "auroc": 0.5}, record_id=f"other {day}")
    params = {key: dag.params.get_param(key).value for key in dag.params}
    task.render_template_fields({"ti": ti, "params": params, "dag": dag})
    page = Page(task.html_content)
    assert page.texts[1] == DETAIL
    found = cells(page)
    assert found["Started"] == "retrain"
    assert found["Previous AUC"] == "0.9200, 0.9300, 0.9400, 0.9500, 0.9600"
    assert page.links["DAG run in Airflow"].endswith(f"/dags/{name}/runs/manual__2026-11-26T07%3A00%3A00%2B00%3A00")
    assert page.links["Prediction notebook"] == "http://localhost:8080/automl/reports/x"
    assert page.links["Training report"].endswith(
        "/automl/reports/automl_default/gluon_model_20261124T070000/20261124T070000-0a1b2c3d4e5f-0/report/train.html"
    )
    assert drift_mail(ti, predict=None).count("Notebook") == 0
