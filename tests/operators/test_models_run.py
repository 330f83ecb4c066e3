"""Operators and models: many trainings at once, aliases, reports that cannot be kept, other versions of AutoGluon."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.launchers.process import describe_interpreter
from airflow_provider_automl.models.storage import local_path
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.warehouse.base import Warehouse
from tests.engines import required
from tests.engines.cache import CONFIG, Missing, made
from tests.operators.conftest import QUICK, Load, rows, run

pytestmark = pytest.mark.fit


def test_four_trainings_of_one_name_at_once(load: Load) -> None:
    table = load("ml.at_once", rows())

    def train(seed: int) -> dict[str, Any]:
        return run(
            AutoMLTrainOperator, input_table=table, target_column="y", model_name="at once", hyperparameters=QUICK,
            random_seed=seed, hide_table_contents=True, report_time_limit=300,
        )  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        trained = list(pool.map(train, range(4)))
    versions = {model["model_version"]: model for model in trained}
    assert len(versions) == 4
    registered = AutoMLHook().models.versions("at once")
    assert {row["model_version"]: row["model_digest"] for row in registered} == {
        version: model["model_digest"] for version, model in versions.items()
    }
    assert [AutoMLHook().models.manifest(row)["model_version"] for row in registered] == [
        row["model_version"] for row in registered
    ]


def test_an_alias_names_the_model(model: dict[str, Any], warehouse: Warehouse) -> None:
    with pytest.raises(AirflowFailException, match=r"No alias 'champion' in automl_test.automl_model_aliases"):
        run(AutoMLPredictOperator, alias="champion", input_table="ml.train", output_table="out.alias")
    AutoMLHook().models.set_alias("champion", model, assigned_by="ann")
    prediction = run(AutoMLPredictOperator, alias="champion", input_table="ml.train", output_table="out.alias")
    assert prediction["model_version"] == model["model_version"]
    assert warehouse.count("out.alias") == 200
    with pytest.raises(AirflowFailException, match="selects more than one model"):
        run(AutoMLPredictOperator, alias="champion", model_name="small", input_table="ml.train", output_table="out.a")


def test_a_prediction_keeps_its_report_beside_the_model(model: dict[str, Any]) -> None:
    prediction = run(
        AutoMLPredictOperator, model=model, input_table="ml.train", output_table="out.reported", report=True
    )
    assert prediction["notebook_error"] is None
    prefix = f"http://localhost:8080/automl/reports/automl_default/small/{model['model_version']}/"
    assert prediction["notebook_url"].startswith(f"{prefix}predictions/")
    where = local_path(model["model_uri"])
    assert where is not None
    report = where / prediction["notebook_url"].removeprefix(prefix)
    assert "200 predictions" in report.read_text()
    assert json.loads((report.parent / "run.json").read_text())["dag_id"] == "d"


def test_a_report_that_cannot_be_kept_loses_no_prediction(model: dict[str, Any], warehouse: Warehouse) -> None:
    where = local_path(model["model_uri"])
    assert where is not None
    kept = where / "predictions"
    aside = where.parent / "aside"
    if kept.exists():
        kept.rename(aside)
    kept.write_text("a file where the directory should be")  # root writes to what is read-only
    try:
        prediction = run(
            AutoMLPredictOperator, model=model, input_table="ml.train", output_table="out.unreported", report=True
        )
    finally:
        kept.unlink()
        if aside.exists():
            aside.rename(kept)
    assert prediction["notebook_url"] is None
    assert prediction["notebook_error"].startswith("Could not save the report next to the model: ")
    assert warehouse.count("out.unreported") == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "Could not read the notebook"),
        ("no json", "is not a notebook: expected an .ipynb file of format 4"),
        ('{"cells": []}', "has no code cell"),
        ('{"cells": [{"cell_type": "code"}], "nbformat": 3}', "not in format 4"),
    ],
)
def test_notebooks_that_are_none(load: Load, tmp_path: Path, content: str | None, reason: str) -> None:
    """Refused before anything is fitted."""
    table = load("ml.refused", rows())
    notebook = tmp_path / "mine.ipynb"
    if content is not None:
        notebook.write_text(content)
    for operator, arguments in (
        (AutoMLTrainOperator, {"target_column": "y", "model_name": "refused", "hyperparameters": QUICK}),
    ):
        with pytest.raises(AirflowFailException, match=reason):
            run(operator, input_table=table, notebook=str(notebook), **arguments)
    assert AutoMLHook().models.versions("refused") == []


def test_a_model_of_another_autogluon(
    load: Load, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Refused before it is loaded, with the line that installs; or run by the interpreter that has its version."""
    old = str(older_autogluon() / "bin" / "python")
    version = describe_interpreter(old)["autogluon"]
    assert version == "1.5.0"
    table = load("ml.older", rows())
    model = run(
        AutoMLTrainOperator, input_table=table, target_column="y", model_name="older", hyperparameters=QUICK,
        python=old, report=True,
    )  # fmt: skip
    assert model["autogluon_version"] == version
    assert "papermill, nbconvert, ipykernel, altair, vl-convert-python is not installed in" in model["notebook_error"]
    predict = {"model": model, "input_table": table, "output_table": "out.older"}
    with pytest.raises(
        AirflowFailException,
        match=r"was trained with Python 3\.\d+\.\d+ and AutoGluon 1\.5\.0, but no interpreter has both "
        r"\(default: Python .*, AutoGluon 1\.6.*\)\. Create one: .* install 'autogluon.tabular\[.*\]==1\.5\.0'",
    ):
        run(AutoMLPredictOperator, **predict)
    assert not warehouse.exists("out.older")
    interpreters = {"gone": str(tmp_path / "none"), "last year": old}
    connection = {"conn_type": "automl", "extra": {"interpreters": interpreters}}
    monkeypatch.setenv("AIRFLOW_CONN_AUTOML_DEFAULT", json.dumps(connection))
    assert run(AutoMLPredictOperator, **predict)["rows"] == 200
    assert warehouse.count("out.older") == 200
    monkeypatch.setenv("AIRFLOW_CONN_AUTOML_DEFAULT", "")


def older_autogluon() -> Path:
    """An environment with another version, kept in the cache."""
    requirements = CONFIG / "autogluon-old.txt"

    def make(directory: Path) -> None:
        python = str(directory / "bin" / "python")
        for command in (
            [sys.executable, "-m", "venv", str(directory)],
            [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, "-r", str(requirements)],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Missing(f"An older AutoGluon could not be installed: {done.stderr.strip()[-300:]}")

    try:
        return made(f"autogluon-old-py{sys.version_info[0]}.{sys.version_info[1]}", make, requirements.read_text())
    except Missing as missing:
        (pytest.fail if required() else pytest.skip)(str(missing))
