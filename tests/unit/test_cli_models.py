"""The command line on models and experiments, on an embedded warehouse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_automl.__main__ import main
from airflow_provider_automl.cli import COMMANDS
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.tracking.tables import EVAL_RESULTS, EXPERIMENTS
from tests.faults.models import made


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two versions of a model, and what was recorded of them; returns the AIRFLOW_HOME."""
    home = tmp_path / "home"
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    hook = AutoMLHook()
    with hook.warehouse._connect(read_only=False, directory=None):  # opening a DuckDB file is half of a short session
        for number, version in enumerate(("20261123T070000-a-0", "20261124T070000-a-0")):
            digest = made(tmp_path / version, version)
            uri = hook.models.save(tmp_path / version, "census", version)
            hook.models.register(
                model_name="census", model_version=version, model_uri=uri, model_digest=digest, shared_model=None,
                dag_id="d", run_id="r",
            )  # fmt: skip
            one = {"model_name": "census", "model_version": version, "session_time": f"2026-11-2{3 + number}T07:00:00"}
            options = {"time_limit": 60 * (number + 1), "presets": None}
            hook.tracking().record(EXPERIMENTS, {**one, "state": "complete", "score_val": 0.9, "options": options})
            hook.tracking().record(EVAL_RESULTS, {**one, "auroc": 0.92 + number / 100, "test_table": "ml.test"})
    return home


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    assert main([*arguments, "--output", "json"]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if code == 0 else printed.err.strip().splitlines()[-1]


def test_models_are_listed_shown_and_aliased(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "models", "list")
    assert [row["model_version"] for row in listed] == ["20261123T070000-a-0", "20261124T070000-a-0"]
    old, new = (row["model_version"] for row in listed)
    history = said(capsys, "models", "alias", "champion", "census", old, "--reason", "the first")
    assert [(row["model_version"], row["reason"]) for row in history] == [(old, "the first")]
    said(capsys, "models", "alias", "champion", "census")
    assert [row["model_version"] for row in said(capsys, "models", "alias", "champion")] == [old, new]
    said(capsys, "models", "alias", "champion", "--rollback")
    (shown,) = said(capsys, "models", "show", "--alias", "champion")
    assert shown["model_version"] == old
    assert shown["aliases"] == ["champion"]
    assert shown["training"] == {"score_val": 0.9}
    assert [row["aliases"] for row in said(capsys, "models", "list", "census")] == ["champion", ""]


def test_models_are_shared_deleted_and_downloaded(
    store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (shared,) = said(capsys, "models", "share", "census")
    assert said(capsys, "models", "show", "--shared", shared["shared_model"])[0]["model_name"] == "census"
    version = shared["model_version"]
    reason = "cannot be deleted: it is shared. Unshare it first."
    assert said(capsys, "models", "delete", "census", version, code=1).endswith(reason)
    said(capsys, "models", "unshare", "census", version)
    said(capsys, "models", "delete", "census", version)
    assert len(said(capsys, "models", "list")) == 1
    assert [row["model_version"] for row in said(capsys, "models", "list", "--deleted")] == [version]
    said(capsys, "models", "undelete", "census", version)
    target = tmp_path / "mine"
    said(capsys, "models", "download", "census", version, "--to", str(target))
    assert (target / "predictor" / "model.pkl").read_text() == version
    assert "already exists: give a new one" in said(
        capsys, "models", "download", "census", version, "--to", str(target), code=1
    )


def test_experiments_are_listed_and_compared(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "experiments", "list", "--limit", "1")
    assert [row["model_version"] for row in listed] == ["20261124T070000-a-0"]
    assert said(capsys, "experiments", "list", "--state", "failed") == []
    compared = said(capsys, "experiments", "compare", "census@20261123T070000-a-0", "census")
    found = {row["property"]: [value for key, value in row.items() if key != "property"] for row in compared}
    assert found["auroc"] == [0.92, 0.93]
    assert found["option time_limit"] == [60, 120]
    assert "option presets" not in found  # the same in both


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["models", "show", "cens"], "No model 'cens' in automl_test.automl_models: available: census."),
        (["models", "show"], "Give exactly one of a model name, --alias and --shared."),
        (["models", "show", "--shared", "x"], "No model is shared under 'x' in automl_test.automl_models"),
        (["models", "alias", "champion"], "No alias 'champion': give a model to create it."),
        (["models", "alias", "../x", "census"], "alias '../x' contains '/', '..'"),
        (["models", "undelete", "census", "v"], "Model 'census' has no deleted version 'v'."),
        (["models", "list", "--conn-id", "none"], "The connection 'none' is not defined"),
    ],
)
def test_one_sentence_for_what_is_wrong(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert reason in said(capsys, *arguments, code=1)


def test_every_output(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--output", "yaml"]) == 0
    assert [row["model_name"] for row in yaml.safe_load(capsys.readouterr().out)] == ["census", "census"]
    for output in ("table", "plain"):
        assert main(["models", "show", "census", "--output", output]) == 0
        assert "model_digest" in capsys.readouterr().out


def test_airflow_has_the_same_commands(store: Path) -> None:
    airflow = str(Path(sys.executable).parent / "airflow")
    done = subprocess.run(
        [airflow, "automl", "models", "list", "--output", "json"],
        env={**os.environ, "AIRFLOW_HOME": str(store)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [row["model_name"] for row in json.loads(done.stdout[done.stdout.index("[\n") :])] == ["census", "census"]
    helped = subprocess.run([airflow, "automl", "models", "--help"], capture_output=True, text=True, check=True).stdout
    assert all(command.name in helped for command in COMMANDS["models"][1])
