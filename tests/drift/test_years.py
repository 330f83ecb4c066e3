"""What is promised of alarms, in a few simulated years; ``python -m tests.drift.years`` has many."""

from __future__ import annotations

import pytest

from tests.drift.years import told, years

COUNT = 6


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "log_loss", "rmse"])
def test_a_drop_that_stays_is_told_every_day_and_one_that_is_repaired_is_over(metric: str) -> None:
    stays, repaired = told(metric, "3 SE", COUNT), told(metric, "4 SE, repaired", COUNT)
    assert stays["delay"] <= 3
    assert stays["share"][0] >= 0.975  # 99 % in many years
    assert max(stays["trainings"], repaired["trainings"]) <= 3
    assert repaired["end"] <= 7
    assert repaired["end within 7"][1] >= 0.8


def test_a_healthy_year_has_few_alarms() -> None:
    found = list(years("auroc", "healthy", COUNT, alpha=0.001))
    assert sum(len(year.opened) for year in found) <= 2 * COUNT
    assert max(year.trainings for year in found) <= 3
