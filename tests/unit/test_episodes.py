"""An alarm opens, lasts, and is over; by days of a model, replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from airflow_provider_automl.drift.episodes import OPEN, has_episodes, key_of
from airflow_provider_automl.drift.policies import (
    all_of,
    any_of,
    below,
    consecutive,
    significantly_below,
    worse_than_baseline,
)
from tests.drift.days import Days


def test_the_first_drop_is_no_baseline() -> None:
    """Of 0.75, 0.61, 0.60, 0.61 the last three were the baseline once, and the drop was told on one day."""
    assert Days(worse_than_baseline()).days([0.75, 0.61, *12 * [0.60, 0.61]]) == [None, "opened", *24 * ["lasting"]]


def test_a_drop_after_three_days_is_told_every_day() -> None:
    days = Days(worse_than_baseline())
    assert days.days([0.80, 0.81, 0.80]) == [None, None, None]
    found = [days.day(0.70) for _ in range(14)]
    assert [each.alarm for each in found] == ["opened", *13 * ["lasting"]]
    assert {each.drifted for each in found} == {True}
    assert {each.episode_id for each in found} == {"episode 3"}
    assert found[-1].detail.endswith("The alarm is still open, at evaluation 14.")
    assert len(days.kept) == 3


def test_a_baseline_once_made_is_kept() -> None:
    days = Days(worse_than_baseline())
    days.days([0.80, 0.81, 0.80, 0.79, 0.80])
    kept = list(days.kept)
    days.days([0.82, 0.78, 0.81])
    assert days.kept == kept
    assert days.day(0.70).compared_with == "the mean of the first 5 evaluations of m version 1"


@pytest.mark.parametrize("bad", [1, 2, 5, 20])
def test_it_is_over_when_the_measure_is_back(bad: int) -> None:
    days = Days(worse_than_baseline())
    days.days([0.80, 0.81, 0.80, 0.79, 0.80])
    days.days(bad * [0.74])
    found = [days.day(0.80) for _ in range(8)]
    alarms = [each.alarm for each in found]
    end = alarms.index("over")
    assert end < 7
    assert alarms == [*end * ["lasting"], "over", *(7 - end) * [None]]
    assert [each.drifted for each in found] == [*end * [True], *(8 - end) * [False]]
    assert found[end].detail.endswith(
        f"The alarm is over: the metric has recovered at evaluation {bad + end + 1} of the alarm."
    )


def test_what_chance_raised_does_not_last_for_ever() -> None:
    """A low day, then days as good as ever, but none so good that the low day stands out."""
    days = Days(worse_than_baseline(alpha=0.05))
    days.days([0.80, 0.81, 0.80, 0.79, 0.80])
    found = days.days([0.775, *40 * [0.789, 0.790]])
    assert found[:2] == ["opened", "lasting"]
    assert found.index("over") == 28


def test_one_day_that_looks_well_ends_nothing() -> None:
    days = Days(worse_than_baseline())
    days.days([0.80, 0.81, 0.80, 0.79, 0.80])
    assert days.days([0.75, 0.75, 0.75, 0.80, 0.75, 0.75]) == ["opened", *5 * ["lasting"]]


def test_what_cannot_be_judged_neither_opens_nor_ends() -> None:
    days = Days(worse_than_baseline())
    assert days.days([0.80, 0.81, 0.80, 0.79, 0.80, None]) == 6 * [None]
    assert days.days([0.70, None, 0.70]) == ["opened", "lasting", "lasting"]
    null = days.day(None)
    assert (null.drifted, null.alarm, null.episode_id) == (None, "lasting", "episode 6")


@pytest.mark.parametrize("changed", [worse_than_baseline(alpha=0.001), worse_than_baseline(min_effect=0.01)])
def test_another_alpha_in_mid_episode_is_no_new_alarm(changed: Any) -> None:
    days = Days(worse_than_baseline())
    days.days([0.80, 0.81, 0.80, 0.79, 0.80, 0.70])
    days.policy = changed
    assert days.days([0.70, 0.70]) == ["lasting", "lasting"]
    assert key_of(changed) == key_of(worse_than_baseline())


def test_below_keeps_no_state() -> None:
    days = Days(below(0.9))
    found = [days.day(value) for value in (0.95, 0.85, 0.95, 0.85)]
    assert [each.drifted for each in found] == [False, True, False, True]
    assert {each.alarm for each in found} == {None}
    assert not has_episodes(any_of(below(0.9), below(0.8, "accuracy")))


def test_a_fixed_threshold_with_significance() -> None:
    days = Days(significantly_below(0.8))
    assert days.days([0.80, 0.75, 0.75, 0.79, 0.75]) == [None, "opened", *3 * ["lasting"]]
    assert "over" in days.days(7 * [0.81])


def test_consecutive_days_open_one_alarm() -> None:
    days = Days(consecutive(2, worse_than_baseline()))
    days.days([0.80, 0.81, 0.80, 0.79, 0.80])
    assert days.days([0.72, 0.80, 0.72, 0.72, 0.72]) == [None, None, None, "opened", "lasting"]


def test_a_combination_lasts_as_long_as_its_parts() -> None:
    days = Days(any_of(below(0.5), worse_than_baseline()))
    days.days([0.80, 0.81, 0.80, 0.79, 0.80])
    found = [days.day(value) for value in (0.70, 0.70, 0.79, *8 * [0.80])]
    alarms = [each.alarm for each in found]
    assert alarms[:3] == ["opened", "lasting", "lasting"]
    assert alarms.count("over") == 1
    assert found[2].drifted is True
    assert found[2].parts[1][1].alarm == "lasting"
    both = Days(all_of(below(0.75), worse_than_baseline()))
    both.days([0.80, 0.81, 0.80, 0.79, 0.80])
    assert both.days([0.76, 0.70, 0.76]) == [None, "opened", "over"]


def years(shift: float, *, repaired: int | None = None, years: int = 60, seed: int = 3) -> dict[str, Any]:
    """Independent years of days whose measure is one standard error wide, shifted by so many of them from day 30 on."""
    rng = np.random.default_rng(seed)
    told: list[float] = []
    delays: list[int] = []
    ends: list[int] = []
    opened: list[int] = []
    for _ in range(years):
        days = Days(worse_than_baseline())
        alarms: list[str | None] = []
        for day in range(150):
            ill = day >= 30 and (repaired is None or day < repaired)
            alarms.append(days.day(0.8 + 0.01 * (rng.normal() - shift * ill)).alarm)
        opened.append(alarms.count("opened"))
        ill_days = alarms[30 : repaired or 150]
        if shift and any(alarm in OPEN for alarm in ill_days):
            first = next(index for index, alarm in enumerate(ill_days) if alarm in OPEN)
            delays.append(first + 1)
            told.append(float(np.mean([alarm in OPEN for alarm in ill_days[first:]])))
            if repaired and ill_days[-1] in OPEN:
                ends.append(1 + next(i for i, alarm in enumerate(alarms[repaired:]) if alarm not in OPEN))
    return {"opened": opened, "told": told, "delays": delays, "ends": ends}


def test_simulated_days() -> None:
    """A drop of three standard errors that stays is told on 99 days in 100; of four, the repair is seen in a week."""
    lasting = years(3)
    assert np.mean(lasting["told"]) >= 0.99
    assert np.mean(lasting["delays"]) <= 2.5
    repaired = years(4, repaired=80)
    assert np.mean(repaired["told"]) >= 0.99
    assert np.percentile(repaired["ends"], 90) <= 7
    assert len(repaired["ends"]) == 60


def test_every_sequence_of_a_few_days_is_consistent() -> None:
    """Whatever the days are: lasting and over follow an alarm that was opened, with its id."""
    import itertools

    values: Sequence[float | None] = (0.80, 0.70, None)
    for sequence in itertools.product(values, repeat=6):
        days = Days(worse_than_baseline())
        days.days([0.80, 0.81, 0.79])
        open_id = None
        for value in sequence:
            found = days.day(value)
            if found.alarm == "opened":
                assert open_id is None
                open_id = found.episode_id
            elif found.alarm is not None:
                assert found.episode_id == open_id is not None
                open_id = None if found.alarm == "over" else open_id
            else:
                assert open_id is None
