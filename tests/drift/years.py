"""Simulated years of a check: alarms of a healthy model, how soon a drop is told, on which days, and when it is over.

``python -m tests.drift.years`` prints the table of docs/drift.md: 200 years of 365 days of each metric and world. Each
day is a sample of rows, measured and with its standard error as an evaluation has them; worlds are in units of that
error (SE). ``python -m tests.drift.years 20 0.005 auroc mae``: 20 years, another alpha, these metrics.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from airflow_provider_automl.drift.policies import worse_than_baseline
from airflow_provider_automl.warehouse.formulas import f_with_error, mean, regression, wilson
from tests.drift.days import Days
from tests.drift.simulation import Floats, evaluate, regression_sums
from tests.drift.simulation import wilson as interval_of

DAYS, ONSET, REPAIR = 365, 30, 120
ROWS, POSITIVES = 2_000, 480
METRICS = ("auroc", "accuracy", "f1", "log_loss", "rmse", "mae")
#: What becomes of a model, in SE by day: it stays as it is; becomes worse and stays so; is repaired; goes down slowly.
WORLDS: dict[str, Callable[[int], float]] = {
    "healthy": lambda day: 0.0,
    "1 SE": lambda day: float(day >= ONSET),
    "2 SE": lambda day: 2.0 * (day >= ONSET),
    "3 SE": lambda day: 3.0 * (day >= ONSET),
    "4 SE": lambda day: 4.0 * (day >= ONSET),
    "4 SE, repaired": lambda day: 4.0 * (ONSET <= day < REPAIR),
    "ramp to 4 SE": lambda day: min(4.0, 4.0 * max(0, day - ONSET) / 60),
}
Values = tuple[Floats, Floats]


def measured(metric: str, rng: np.random.Generator, ability: Floats, rows: int = ROWS) -> Values:
    """A metric and its standard error of a sample of rows for each ability: how far apart the classes' scores lie, or,
    of a regression, the inverse of its errors' size.
    """
    if metric in ("rmse", "mae"):
        errors = rng.normal(size=(len(ability), rows)) / np.reshape(ability, (-1, 1))
        found = [_regression(metric, each) for each in errors]
        return np.array([each[0] for each in found]), np.array([each[1] for each in found])
    positives = round(rows * POSITIVES / ROWS)
    positive = rng.normal(size=(len(ability), positives)) + np.reshape(ability, (-1, 1))
    negative = rng.normal(size=(len(ability), rows - positives))
    if metric == "auroc":
        return evaluate(positive, negative)
    # The score is the probability by which a model that was fitted at ability 2 would go.
    probability = [
        1 / (1 + np.exp(-(2 * each - 2 + np.log(positives / (rows - positives))))) for each in (positive, negative)
    ]
    found = [_classes(metric, p, q) for p, q in zip(*probability, strict=True)]
    return np.array([each[0] for each in found]), np.array([each[1] for each in found])


def _classes(metric: str, p: Floats, q: Floats) -> tuple[float, float]:
    if metric == "log_loss":
        losses = np.concatenate([-np.log(p), -np.log1p(-q)])
        about = Fraction(float(((losses - losses.mean()) ** 2).sum()))
        found = mean(Fraction(float(losses.sum())), Fraction(len(losses)), about)
    else:
        tp, fp = Fraction(int((p >= 0.5).sum())), Fraction(int((q >= 0.5).sum()))
        if metric == "accuracy":
            found = wilson(tp + len(q) - fp, Fraction(len(p) + len(q)))
        else:
            found = f_with_error(tp, fp, len(p) - tp, 1.0, weighted=False)
    assert found.value is not None
    assert found.se is not None
    return found.value, found.se


def _regression(metric: str, error: Floats) -> tuple[float, float]:
    found = regression(regression_sums(error), weighted=False)[metric]
    assert found.value is not None
    assert found.se is not None
    return found.value, found.se


@cache
def abilities(metric: str) -> tuple[Floats, Floats]:
    """By how many SE a metric is worse at each of some abilities: what interpolation needs."""
    rng = np.random.default_rng(1)
    best = 1.0 if metric in ("rmse", "mae") else 2.0
    ability = np.linspace(best, best * 0.75, 26)
    values, _ = measured(metric, rng, np.repeat(ability, 400))
    level = np.poly1d(np.polyfit(ability, values.reshape(26, 400).mean(axis=1), 3))
    _, error = measured(metric, rng, np.full(400, best))
    return np.abs(level(ability) - level(best)) / error.mean(), ability


@dataclass
class Year:
    """What a check did in a year: the days on which it alarmed, on which alarms opened, and trainings."""

    alarmed: Floats
    opened: list[int]
    trainings: int


def values_of(metric: str, world: str, number: int) -> list[tuple[float, float]]:
    """A year's evaluations in a world: the metric and its standard error, day by day."""
    worse, ability = abilities(metric)
    wanted = np.interp([WORLDS[world](day) for day in range(DAYS)], worse, ability)
    rng = np.random.default_rng([1, METRICS.index(metric), list(WORLDS).index(world), number])
    return [(float(value), float(error)) for value, error in zip(*measured(metric, rng, wanted), strict=True)]


def years(metric: str, world: str, count: int, alpha: float = 0.05) -> Iterator[Year]:
    """Independent years of a model in a world."""
    for number in range(count):
        check = Days(worse_than_baseline(alpha=alpha, metric=metric), metric)
        found = [check.day(value, error) for value, error in values_of(metric, world, number)]
        alarms = [decision.alarm for decision in found]
        yield Year(
            np.array([decision.drifted is True for decision in found]),
            [day for day, alarm in enumerate(alarms) if alarm == "opened"],
            len(check.retrained),
        )


def told(metric: str, world: str, count: int, alpha: float = 0.05) -> dict[str, Any]:
    """The figures of a world, each with its 95 % interval over years."""
    found = list(years(metric, world, count, alpha))
    figures: dict[str, Any] = {"opened": _mean([len(year.opened) for year in found])}
    figures["trainings"] = max(year.trainings for year in found)
    if world == "healthy":
        figures["days"] = _mean([float(year.alarmed.sum()) for year in found])
        return figures
    last = REPAIR if "repaired" in world else DAYS
    delays, shares, ends = [], [], []
    for year in found:
        first = next((day for day in range(ONSET, last) if year.alarmed[day]), None)
        if first is None:
            continue
        delays.append(first - ONSET + 1)
        shares.append(float(year.alarmed[first:last].mean()))
        if last < DAYS and year.alarmed[last - 1]:
            ends.append(next(day for day in range(last, DAYS) if not year.alarmed[day]) - last + 1)
    figures["delay"] = np.median(delays)
    figures["delay95"] = np.percentile(delays, 95)
    figures["share"] = _mean(shares)
    if ends:
        figures["end"] = np.median(ends)
        figures["end within 7"] = interval_of(sum(end <= 7 for end in ends), len(ends))
        figures["ends"] = np.mean([end <= 7 for end in ends])
    return figures


def _mean(values: list[float]) -> tuple[float, float]:
    """A mean and the half width of its 95 % interval."""
    return float(np.mean(values)), 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5


def main(arguments: list[str]) -> None:
    """Print the table."""
    count = int(arguments[0]) if arguments else 200
    alpha = float(arguments[1]) if len(arguments) > 1 else 0.05
    print(f"{count} years per line, {ROWS} rows per day; worse_than_baseline(alpha={alpha:g})\n")
    print("| metric | world | alarms per year | days in an alarm | days to the first alarm, median (95th percentile) | "
          "bad days in an alarm, after the first alarm | over after, median | within 7 | max trainings |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for metric in arguments[2:] or METRICS:
        for world in WORLDS:
            it = told(metric, world, count, alpha)
            cells = [
                metric, world, "{:.1f} ± {:.1f}".format(*it["opened"]),
                "{:.1f} ± {:.1f}".format(*it["days"]) if "days" in it else "",
                f"{it['delay']:.0f} ({it['delay95']:.0f})" if "delay" in it else "",
                "{:.2%} ± {:.2%}".format(*it["share"]) if "share" in it else "",
                f"{it['end']:.0f}" if "end" in it else "",
                "{:.0%} ({:.0%} to {:.0%})".format(it["ends"], *it["end within 7"]) if "ends" in it else "",
                str(it["trainings"]),
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
