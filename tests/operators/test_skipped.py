"""What is downstream of a skipped task is skipped, and of a failed one is not: DAGs run by ``dag.test`` of Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_automl.hooks.automl import AutoMLHook
from tests.system.server import REPO, environment

pytestmark = pytest.mark.airflow

States = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def states(home: Path) -> States:
    """Of each DAG of ``skipped_dags``, the states of its tasks."""
    dags = home / "dags"
    dags.mkdir()
    (dags / "skipped_dags.py").symlink_to(REPO / "tests" / "operators" / "skipped_dags.py")
    env = {**environment(home, dags), "PYTHONPATH": str(REPO)}
    subprocess.run(["airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "dags/skipped_dags.py", "states.json"], env=env, cwd=home, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    print(done.stdout[-30000:])
    assert done.returncode == 0
    (home / "log").write_text(done.stdout)
    found: States = json.loads((home / "states.json").read_text())
    return found


@pytest.fixture(scope="module")
def experiments(home: Path, states: States) -> list[tuple[str, str, str]]:
    """DAG, model and state of each experiment that was recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(home))
        rows: list[dict[str, Any]] = AutoMLHook().warehouse.rows("automl_test.automl_experiments")
    return sorted((row["dag_id"], row["model_name"], row["state"]) for row in rows)


def test_a_healthy_day_is_no_failure(home: Path, states: States) -> None:
    assert states["drift_fine"] == {
        "drift": "success", "fine": "success", "retrain": "skipped", "track": "skipped", "templated": "skipped",
    }  # fmt: skip
    said = "Skipping: task 'retrain', which provides experiment of task 'track', was skipped."
    assert said in (home / "log").read_text()


def test_only_what_failed_is_recorded(states: States, experiments: list[tuple[str, str, str]]) -> None:
    assert {states["drift_retrain"][task] for task in ("retrain", "track", "templated")} == {"failed"}
    assert states["killed"] == {"train": "failed", "track": "failed"}
    assert experiments == [
        ("drift_retrain", "failed", "failed"),  # by the task that has a dict: a template makes text of it
        ("killed", "killed", "killed"),
        ("mapped", "failed", "failed"),
        ("mapped_group", "failed_1", "failed"),
        ("mapped_group", "failed_2", "failed"),
        ("mapped_group", "killed_1", "killed"),
    ]


def test_of_mapped_trainings_each_is_told_by_its_own_state(states: States) -> None:
    ended = ["skipped", "failed", "failed", "skipped", "failed"]
    for task in ("train", "track"):
        assert [states["mapped_group"][f"each.{task}[{index}]"] for index in range(5)] == ended
    mapped = states["mapped"]
    assert [mapped[f"train_some[{index}]"] for index in range(3)] == ["skipped", "failed", "skipped"]
    assert mapped["track_some[0]"] == "failed"  # of the one that left a result
    assert mapped["track_none"] == "skipped"


def test_what_follows_on_skipped_tasks_is_skipped_whatever_its_rule(states: States) -> None:
    chain = dict(states["chain"])
    assert chain.pop("evaluate_given") == "failed"  # it has all it needs, and there is no such table
    assert set(chain.values()) == {"skipped"}, chain
    assert len(chain) == 11
