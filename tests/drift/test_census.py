"""Policies on the census: real data of ``AUTOML_TEST_DATA``, else synthetic, scored by a quickly trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from airflow_provider_automl.drift.policies import History, ask, below, significantly_below, worse_than_baseline
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
