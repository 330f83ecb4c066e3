"""Reports on jobs: notebooks of ours and of users', executed by papermill on real fits; and their charts."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_diabetes, load_wine

from airflow_provider_automl.jobs import charts
from airflow_provider_automl.jobs.model_files import read_manifest
from airflow_provider_automl.jobs.predict import predict
from tests.unit.test_jobs_predict import predict_job
from tests.unit.test_jobs_train import job, rows, run

pytestmark = pytest.mark.fit

TRAIN_SECTIONS = [
    "Model quality", "Feature importance", "Models", "Target", "Data", "Excluded data", "Parameters and result",
    "Environment", "Log",
]  # fmt: skip
HOSTILE = '<img src="x" onerror="alert(1)"><script>alert(2)</script>'


class Page(HTMLParser):
    """What a browser would make of a page: its headings, its elements, and their attributes."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.text = Path(path).read_text("utf-8")
        self.headings: list[str] = []
        self.elements: dict[str, int] = {}
        self.attributes: list[tuple[str, str | None]] = []
        self._heading = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.attributes += attrs
        self._heading = tag == "h2"

    def handle_data(self, data: str) -> None:
        if self._heading and data.strip():
            self.headings.append(data.strip())
            self._heading = False

    def check_needs_nothing(self) -> None:
        assert "script" not in self.elements
        assert not [name for name, _ in self.attributes if name.startswith("on")]
        outside = [value for name, value in self.attributes if name in ("src", "href", "xlink:href") and value]
        assert [value for value in outside if not value.startswith(("#", "data:", "/dags/"))] == []
        assert "@import" not in self.text
        assert "Traceback" not in self.text


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("binary")
    (directory / "job.log").write_text("a line of the log\n")
    table = rows(600) | {HOSTILE: np.arange(600) % 7, "flag": np.arange(600) % 2 == 0, "time": np.arange(600)}
    return directory, run(directory, table, report=True, title=HOSTILE)


def test_a_training_of_two_classes(binary: tuple[Path, dict[str, Any]]) -> None:
    """Every section is there, and no text of a table or a name becomes an element."""
    _directory, result = binary
    assert result["notebook_error"] is None
    page = Page(result["notebook_html"])
    assert page.headings == TRAIN_SECTIONS
    page.check_needs_nothing()
    assert page.elements["svg"] == 8  # ROC, precision and recall, calibration, scores, confusion; three more
    assert "img" not in page.elements
    assert "a line of the log" in page.text
    assert "Column time: " in page.text
    assert "held-out rows: no model was fitted on them" in page.text
    notebook = json.loads(Path(result["notebook"]).read_text())
    assert [cell["metadata"].get("tags") for cell in notebook["cells"][:2]] == [["parameters"], ["injected-parameters"]]


def test_curves_are_of_rows_that_were_not_learnt_from(binary: tuple[Path, dict[str, Any]]) -> None:
    directory, result = binary
    held_out = pd.read_parquet(directory / "report" / "held_out.parquet")
    assert 0 < len(held_out) < 300
    assert set(held_out["label"]) == {0, 1}
    from sklearn.metrics import roc_auc_score

    auc = roc_auc_score(held_out["label"], held_out["score"])
    assert auc == pytest.approx(result["score_val"], abs=1e-9)  # the score that AutoGluon took on them
    assert f"AUC {auc:.4f}" in Path(result["notebook_html"]).read_text()


def test_a_bagged_training_shows_out_of_fold_predictions(tmp_path: Path) -> None:
    table = rows(300)
    described = job(tmp_path, table, report=True, presets=None)
    described["hyperparameters"] = {"GBM": {"num_boost_round": 10, "ag_args_ensemble": {"fold_fitting_strategy":
                                    "sequential_local"}}}  # fmt: skip
    described["presets"] = "good_quality"
    from airflow_provider_automl.jobs.train import train

    result = train(described | {"time_limit": 40.0}, tmp_path)
    assert result["notebook_error"] is None
    assert "Out-of-fold predictions" in Path(result["notebook_html"]).read_text()
    assert len(pd.read_parquet(tmp_path / "report" / "held_out.parquet")) == 300


def test_a_training_of_many_classes(tmp_path: Path) -> None:
    frame = load_wine(as_frame=True).frame.rename(columns={"target": "y"})
    frame = pd.concat([frame] * 3)
    result = run(tmp_path, pa.Table.from_pandas(frame, preserve_index=False), report=True, problem_type="multiclass")
    assert result["notebook_error"] is None
    page = Page(result["notebook_html"])
    assert page.headings == TRAIN_SECTIONS
    assert "rows are classified correctly" in page.text
    assert re.search(r"<th>precision</th>\s*<th>recall</th>", page.text)


def test_a_training_on_numbers(tmp_path: Path) -> None:
    frame = load_diabetes(as_frame=True).frame.rename(columns={"target": "y"})
    result = run(tmp_path, pa.Table.from_pandas(frame, preserve_index=False), report=True)
    assert result["problem_type"] == "regression"
    assert result["notebook_error"] is None
    page = Page(result["notebook_html"])
    assert page.headings == TRAIN_SECTIONS
    assert re.search(r"Half of the predictions are within [\d.]+ of the actual value", page.text)
    held_out = pd.read_parquet(tmp_path / "report" / "held_out.parquet")
    rmse = float(np.sqrt(((held_out["label"] - held_out["predicted"]) ** 2).mean()))
    assert -rmse == pytest.approx(result["score_val"], rel=1e-6)


def test_rows_are_kept_out_of_a_report_that_is_to_hide_them(tmp_path: Path) -> None:
    table = rows(60) | {"secret": [f"secret-{i}" for i in range(60)], "n": np.arange(60) + 987_654_000}
    result = run(tmp_path, table, report=True, hide_table_contents=True)
    for path in (result["notebook"], result["notebook_html"]):
        assert "secret-" not in Path(path).read_text()
        assert "987654059" not in Path(path).read_text()


def test_a_prediction(binary: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    directory, result = binary
    table = {name: values for name, values in rows(200).items() if name != "y"}
    table |= {HOSTILE: np.arange(200) % 7, "flag": np.arange(200) % 2 == 0}
    described = predict_job(directory, table, result, tmp_path, report=True, title=f"into {HOSTILE}")
    keys = ("source", "dag_id", "task_id", "run_id", "session_time")
    described["about"] = {**{key: f"{key} {HOSTILE}" for key in keys}, "links": {f"run {HOSTILE}": "/dags/d/runs/r"}}
    reported = predict(described, tmp_path)
    assert reported["notebook_error"] is None
    page = Page(reported["notebook_html"])
    assert page.headings == ["Predictions", "Data", "Parameters and result", "Environment", "Log"]
    page.check_needs_nothing()
    shown = escape(HOSTILE, quote=False)
    told = f"Predictions for <b>source {shown}</b> by dag_id {shown}.task_id {shown}, session_time {shown}"
    assert told.encode() in Path(reported["notebook_html"]).read_bytes().replace(b"&quot;", b'"')
    assert ("href", "/dags/d/runs/r") in page.attributes
    assert f"<title>into {escape(HOSTILE)}</title>" in Path(reported["notebook_html"]).read_text()
    assert "200 predictions" in page.text
    assert page.elements["svg"] == 2


def test_a_prediction_of_no_rows(binary: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    directory, result = binary
    table = {name: values[:0] for name, values in rows(20).items() if name != "y"}
    table |= {HOSTILE: np.arange(0), "flag": np.arange(0) == 0}
    reported = predict(predict_job(directory, table, result, tmp_path, report=True), tmp_path)
    assert reported["notebook_error"] is None
    assert "There are no predictions" in Path(reported["notebook_html"]).read_text()


# ---------------------------------------------------------------------------------------------------- users' notebooks


def notebook(directory: Path, *cells: str, tags: tuple[str, ...] = ("parameters",)) -> str:
    made = [
        {"cell_type": "code", "id": f"c{i}", "execution_count": None, "outputs": [], "source": text,
         "metadata": {"tags": list(tags) if i == 0 else []}}
        for i, text in enumerate(cells)
    ]  # fmt: skip
    path = directory / "mine.ipynb"
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return str(path)


def reported(tmp_path: Path, *cells: str, tags: tuple[str, ...] = ("parameters",), **options: Any) -> dict[str, Any]:
    """A training with a user's notebook; whatever becomes of that, the model is whole."""
    own = notebook(tmp_path, *cells, tags=tags)
    result = run(tmp_path, rows(60), report=True, notebook=own, **options)
    assert read_manifest(tmp_path / "model", result["model_digest"])
    return result


def test_a_users_own_notebook(tmp_path: Path) -> None:
    """It is given the directory, and may use what ours use."""
    result = reported(
        tmp_path,
        "directory = package = None",
        "import sys; sys.path.insert(0, package)\nfrom airflow_provider_automl.jobs.sections import Report\n"
        "print('rows of the profile:', len(Report(directory).table('profile')))",
    )
    assert result["notebook_error"] is None
    page = Path(result["notebook_html"]).read_text()
    assert "rows of the profile: 3" in page
    assert 'class="highlight' in page  # its code is shown


def test_a_notebook_without_a_cell_of_parameters(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = reported(tmp_path, "print('the directory is', directory)", tags=())
    assert result["notebook_error"] is None
    assert "has no cell tagged 'parameters': parameters are injected at its top" in capfd.readouterr().out
    assert f"the directory is {tmp_path / 'report'}" in Path(result["notebook_html"]).read_text()


def test_a_notebook_that_raises(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = reported(tmp_path, "print('before')", "raise ValueError('it is wrong')", "print('never', 'more')")
    assert result["notebook_error"] == "ValueError: it is wrong"
    page = Path(result["notebook_html"]).read_text()
    assert "before" in page
    assert "it is wrong" in page
    assert "never more" not in page
    assert (
        "The report is incomplete; the job's results are not affected: ValueError: it is wrong"
        in capfd.readouterr().out
    )


def test_a_notebook_that_hangs(tmp_path: Path) -> None:
    began = time.monotonic()
    result = reported(tmp_path, "print('before')", "import time; time.sleep(1000)", report_time_limit=8.0)
    assert time.monotonic() - began < 60
    assert re.search(r"the notebook was stopped after \d+ s: raise report_time_limit", result["notebook_error"])
    assert "before" in Path(result["notebook_html"]).read_text()


def test_a_notebook_that_kills_its_kernel_and_leaves_a_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    result = reported(
        tmp_path,
        "print('before')",
        "import os, subprocess\n"
        f"open({str(pid_file)!r}, 'w').write(str(subprocess.Popen(['sleep', '987'], start_new_session=True).pid))",
        "os.kill(os.getpid(), 9)",
    )
    expected = "The notebook's kernel died: it was killed, possibly by the out-of-memory killer."
    assert result["notebook_error"] == expected
    assert "before" in Path(result["notebook"]).read_text()
    os.kill(int(pid_file.read_text()), signal.SIGKILL)  # an orphan here; in a job, the supervisor's to kill


def test_a_section_that_fails_does_not_take_the_others_with_it(tmp_path: Path, monkeypatch: Any) -> None:
    from airflow_provider_automl.jobs.report import Inputs

    monkeypatch.setattr(Inputs, "table", lambda self, name, table: self.directory.joinpath(f"{name}.parquet").touch())
    result = run(tmp_path, rows(60), report=True)
    assert "ArrowInvalid" in result["notebook_error"]
    page = Page(result["notebook_html"])
    assert page.headings == TRAIN_SECTIONS
    assert "ArrowInvalid" in page.text
    assert "autogluon.tabular" in page.text  # of the environment, which comes after


def test_a_report_for_which_there_is_no_room(tmp_path: Path) -> None:
    """As on a full disk: the kernel refuses files of more than a few bytes."""
    import resource
    import subprocess
    import sys

    described = job(tmp_path, rows(60), report=True)
    (tmp_path / "job.json").write_text(json.dumps(described))
    code = (
        "import json, resource, sys; from pathlib import Path\n"
        "from airflow_provider_automl.jobs import train\n"
        "save = train.save\n"
        "def saved(*all):\n"
        "    result = save(*all); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); return result\n"
        "train.save = saved\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"result = train.train(json.load(open({str(tmp_path / 'job.json')!r})), Path({str(tmp_path)!r}))\n"
        "print('SAID', result['notebook_error'])\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SAID OSError: [Errno 27]" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "model" / "manifest.json").exists()


# ---------------------------------------------------------------------------------------------------- charts


def test_charts_follow_the_readers_colours_and_escape_names() -> None:
    drawn = charts.svg(charts.class_balance([(HOSTILE, 3), ("b", 1)], HOSTILE))
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert "currentColor" in drawn
    assert "prefers-color-scheme:dark" in drawn
    assert 'role="img" aria-label="b is the rarest class, 25.0% of 4 rows' in drawn


def test_a_curve_is_thinned_without_moving() -> None:
    """At most four hundred points, all of them the curve's own, its ends among them."""
    generator = np.random.default_rng(0)
    labels = (generator.random(50_000) < 0.01).astype(int)
    scores = generator.normal(size=50_000) + 2 * labels
    from sklearn.metrics import auc, roc_auc_score, roc_curve

    false, true, _ = roc_curve(labels, scores)
    points = charts._thinned(false, true)
    assert len(points) <= 400
    assert set(map(tuple, points)) <= set(zip(false, true, strict=True))
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert auc(points[:, 0], points[:, 1]) == pytest.approx(roc_auc_score(labels, scores), abs=2e-3)


@pytest.mark.parametrize("positives", [1, 5])
def test_charts_of_few_rows(positives: int) -> None:
    labels = np.array([0] * 5 + [1] * positives)
    scores = np.linspace(0, 1, len(labels))
    for chart in (charts.roc, charts.precision_recall, charts.calibration):
        assert charts.svg(chart(labels, scores)).startswith("<svg")
    assert "svg" in charts.svg(charts.score_distribution(labels, scores, ["no", "yes"]))
    assert "svg" in charts.svg(charts.residuals(scores, scores, "x"))
    assert "svg" in charts.svg(charts.predicted_and_actual(scores, scores, "x"))
