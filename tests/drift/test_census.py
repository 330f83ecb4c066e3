"""Policies on the census: real data of ``AUTOML_TEST_DATA``, else synthetic, scored by a quickly trained model.

``pytest -s tests/drift/test_census.py`` prints what happened on which day.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_provider_automl.cli import parse
from airflow_provider_automl.drift.policies import History, ask, below, significantly_below, worse_than_baseline
from airflow_provider_automl.hooks.automl import AutoMLHook
from tests.drift.replay import decide, evaluation
from tests.drift.simulation import row
from tests.system.census import tables
from tests.warehouse.delong import delong

CHUNKS = 20
ROWS = 814  # a twentieth of the real test table


class Scored:
    """Labels and a model's scores of rows that it was not trained on."""

    def __init__(self, label: Any, score: Any) -> None:
        self.label, self.score = label, score

    def among(self, rows: Any) -> tuple[float, float]:
        return delong(self.label[rows], self.score[rows])


@pytest.fixture(scope="module")
def census() -> dict[str, Scored]:
    """``kept``: rows not trained on; ``test``; ``married``: those of ``test`` whose income is harder to tell."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.preprocessing import OrdinalEncoder
    from threadpoolctl import threadpool_limits

    train, test = (table.to_pandas() for table in tables())
    features = [name for name in train.columns if name not in ("class", "time")]
    words = [name for name in features if train[name].dtype == object]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(train[words])
    for table in (train, test):
        table[words] = encoder.transform(table[words])
    spouse = list(encoder.categories_[words.index("marital-status")]).index(" Married-civ-spouse")
    fitted = np.random.default_rng(0).random(len(train)) < 0.75
    model = HistGradientBoostingClassifier(random_state=0, max_iter=60)
    with threadpool_limits(1):  # on a busy machine its threads wait for each other for minutes
        model.fit(train[features][fitted], train["class"][fitted] == " >50K")

    def scored(table: Any) -> Scored:
        with threadpool_limits(1):
            return Scored((table["class"] == " >50K").to_numpy(), model.predict_proba(table[features])[:, 1])

    return {
        "kept": scored(train[~fitted]),
        "test": scored(test),
        "married": scored(test[test["marital-status"] == spouse]),
    }


def chunks(scored: Scored, seed: int, count: int) -> list[tuple[float, float]]:
    """AUC and error of so many disjoint chunks of rows in random order, or of samples where they are too few for it."""
    generator = np.random.default_rng(seed)
    rows = len(scored.label)
    if rows >= count * ROWS:
        order = generator.permutation(rows)
        return [scored.among(part) for part in np.array_split(order, count)]
    return [scored.among(generator.choice(rows, ROWS, replace=False)) for _ in range(count)]


def test_chance_seldom_alarms_and_another_population_always_does(census: dict[str, Scored]) -> None:
    baseline = [row(*found, day) for day, found in enumerate(chunks(census["kept"], 1, 5), 1)]
    usual = census["kept"].among(slice(None))[0]
    policies = [worse_than_baseline(), significantly_below(round(usual, 4)), below(0.93)]
    alarms: dict[tuple[str, str], int] = {}
    for population in ("test", "married"):
        found = chunks(census[population], 2, CHUNKS)
        print(f"\n{population}: AUC {np.mean([auc for auc, _ in found]):.4f}, baseline {usual:.4f}")
        for policy in policies:
            drifted = [ask(policy, row(*each, 20), History(baseline)).drifted for each in found]
            alarms[str(policy), population] = sum(map(bool, drifted))
            print(f"  {policy}: {sum(map(bool, drifted))} alarms of {CHUNKS}")
    for policy in policies[:2]:
        assert alarms[str(policy), "test"] <= 4
        assert alarms[str(policy), "married"] == CHUNKS


def happened(census: dict[str, Scored], populations: Sequence[str], start: int = 0) -> list[dict[str, Any]]:
    """Days of 814 rows of these populations, each evaluated, recorded and decided on by the real operators."""
    found = []
    for day, population in enumerate(populations, start):
        rng = np.random.default_rng([17, day])
        scored = census[population]
        auc, error = scored.among(rng.choice(len(scored.label), ROWS, replace=False))
        given = evaluation(auc, f"ml.day_{day}", error=error)
        it = decide(given, day, policy=worse_than_baseline(alpha=0.001))
        followed = ", ".join(each for each in it["followed"] if each != "rest")
        print(f"  day {day:2} {population:8} AUC {auc:.4f}  {it['alarm'] or '':8} {followed}")
        found.append(it)
    return found


def of(found: list[dict[str, Any]], task: str) -> list[int]:
    return [day for day, each in enumerate(found) if task in each["followed"]]


def opened(found: list[dict[str, Any]]) -> int:
    """The day of the alarm: among the first four of the married, of which synthetic data make less of a difference."""
    day = [each["alarm"] for each in found].index("opened")
    assert 10 <= day < 14
    return day


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return AutoMLHook().warehouse


def test_a_population_that_stays_is_trained_for_by_the_month(census: dict[str, Scored], warehouse: Any) -> None:
    print("\na shift that stays:")
    with warehouse._connect(read_only=False, directory=None):
        found = happened(census, [*10 * ["test"], *36 * ["married"]])
    first = opened(found)
    assert [each["alarm"] for each in found] == [*first * [None], "opened", *(len(found) - first - 1) * ["lasting"]]
    assert of(found, "mail") == list(range(first, len(found), 7))
    assert of(found, "retrain") == list(range(first, len(found), 30))


def test_one_that_is_repaired_is_over_within_a_week(census: dict[str, Scored], warehouse: Any) -> None:
    print("\na shift that is repaired:")
    with warehouse._connect(read_only=False, directory=None):
        found = happened(census, [*10 * ["test"], *5 * ["married"], *12 * ["test"]])
    end = [each["alarm"] for each in found].index("over")
    first = opened(found)
    assert 15 < end <= 21
    assert [each["alarm"] for each in found] == [
        *first * [None], "opened", *(end - first - 1) * ["lasting"], "over", *(26 - end) * [None],
    ]  # fmt: skip
    assert of(found, "mail") == [*range(first, end, 7), end]
    assert of(found, "retrain") == [first]


def test_one_that_a_person_accepts_is_silent(census: dict[str, Scored], warehouse: Any) -> None:
    print("\na shift that a person accepts:")
    with warehouse._connect(read_only=False, directory=None):
        found = happened(census, [*10 * ["test"], *6 * ["married"]])
        assert parse(["drift", "accept", "census", "--reason", "only the married are asked now", "--by", "ann"]) == 0
        later = happened(census, [*10 * ["married"], *3 * ["test"]], start=16)
    first = opened(found)
    assert (of(found, "mail"), of(found, "retrain")) == ([first], [first])
    assert {each["alarm"] for each in later} == {None}
    assert (of(later, "mail"), of(later, "retrain")) == ([], [])
