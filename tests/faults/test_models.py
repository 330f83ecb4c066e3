"""Processes that are killed while they work on the model store; ``AUTOML_STORE_KILLS`` says how often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engines import Facts
from tests.faults.models import Kills, on_s3

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("place", ["local", "s3"])
def test_nothing_that_was_said_is_lost(
    place: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    if place == "s3":
        facts: Facts = request.getfixturevalue("s3_server")
        on_s3(facts, monkeypatch.setenv, f"kills-{os.getpid()}")
    kills = Kills(seed=11, scratch=tmp_path / "scratch")
    for turn in range(int(os.environ.get("AUTOML_STORE_KILLS", "10"))):
        kills.kill_one(turn)
        assert kills.problems() == []
    print(f"{place}: killed after {kills.hit}")
    assert len(kills.hit) > 2
