"""False alarms of simulated days without drift. ``AUTOML_SAMPLES``: how many, default 600."""

from __future__ import annotations

import os

import numpy as np
import pytest

from airflow_provider_automl.drift.policies import History, Policy, ask, significantly_below, worse_than_baseline
from tests.drift.simulation import AUC, Floats, evaluate, evaluations, row, scores, wilson
from tests.warehouse.delong import delong

SAMPLES = int(os.environ.get("AUTOML_SAMPLES", "600"))
#: How far the share may be off by chance: in one run of ten thousand it is further.
Z = 3.72


@pytest.fixture(scope="module")
def days() -> tuple[Floats, Floats]:
    """Six days of each of the samples: five that are the baseline, one to check."""
    auc, error = evaluations(np.random.default_rng(6), SAMPLES * 6)
    return auc.reshape(SAMPLES, 6), error.reshape(SAMPLES, 6)


def test_many_at_once_are_as_one_by_one() -> None:
    positive, negative = scores(np.random.default_rng(1), 3, AUC, rows=500)
    for index, found in enumerate(zip(*evaluate(positive, negative), strict=True)):
        label = np.repeat([True, False], [positive.shape[1], negative.shape[1]])
        assert found == pytest.approx(delong(label, np.concatenate([positive[index], negative[index]])), rel=1e-9)


def share(policy: Policy, days: tuple[Floats, Floats], earlier: int, drop: float = 0.0) -> tuple[int, int]:
    alarms = 0
    for auc, error in zip(*days, strict=True):
        before = [row(auc[day], error[day], day + 1) for day in range(earlier)]
        alarms += ask(policy, row(auc[5] - drop, error[5], 6), History(before)).drifted is True
    return alarms, len(days[0])


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("earlier", [1, 2, 3, 5])
def test_a_baseline_raises_no_more_false_alarms_than_it_says(
    days: tuple[Floats, Floats], earlier: int, alpha: float
) -> None:
    low, _ = wilson(*share(worse_than_baseline(alpha=alpha), days, earlier), Z)
    assert low <= alpha


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_a_threshold_raises_no_more_false_alarms_than_it_says(days: tuple[Floats, Floats], alpha: float) -> None:
    low, _ = wilson(*share(significantly_below(AUC, alpha), days, 0), Z)
    assert low <= alpha


def test_a_drop_of_four_standard_errors_is_seen(days: tuple[Floats, Floats]) -> None:
    drop = 4 * float(days[1].mean())
    assert wilson(*share(worse_than_baseline(), days, 5, drop), Z)[1] >= 0.9
    assert wilson(*share(significantly_below(AUC), days, 0, drop), Z)[1] >= 0.95
    # With a test that never alarms the other tests here would pass.
    alarms, of = share(worse_than_baseline(), days, 5, drop)
    assert alarms / of > 0.8
