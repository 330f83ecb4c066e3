"""The policies' statistics, against SciPy and by what must not change them."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from airflow_provider_automl.drift.statistics import (
    Z_ONE_SIDED_95,
    Estimate,
    below_value,
    drop,
    normal_below,
    standard_error,
    student_below,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 7, 10, 29, 364, 999])
def test_tails_are_those_of_scipy(degrees: int) -> None:
    for step in range(-200, 201):
        x = step / 10
        assert student_below(x, degrees) == pytest.approx(stats.t.cdf(x, degrees), abs=1e-14)
        assert normal_below(x) == pytest.approx(stats.norm.cdf(x), rel=1e-12)
    assert (student_below(-math.inf, degrees), student_below(math.inf, degrees)) == (0, 1)


def test_below_a_value_by_hand() -> None:
    # (0.92 - 0.93) / 0.005 = -2
    assert below_value(Estimate(0.92, 0.005), 0.93) == pytest.approx(0.022750131948179207, rel=1e-9)


def test_one_evaluation_is_a_two_sample_z_test() -> None:
    # (0.92 - 0.93) / sqrt(0.003 ** 2 + 0.004 ** 2) = -2
    found = drop(Estimate(0.92, 0.004), [Estimate(0.93, 0.003)])
    assert (found.baseline, found.spread) == (0.93, 0)
    assert found.p_value == pytest.approx(stats.norm.cdf(-2), rel=1e-9)


def test_several_that_agree_are_their_mean() -> None:
    # sqrt(0.004 ** 2 + 0.006 ** 2 / 4) = 0.005
    found = drop(Estimate(0.92, 0.004), [Estimate(0.929 + 0.002 * (i % 2), 0.006) for i in range(4)])
    assert found.spread == 0
    assert found.baseline == pytest.approx(0.93)
    assert found.p_value == pytest.approx(stats.norm.cdf(-2), rel=1e-9)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_where_evaluations_differ_by_nothing_but_what_they_are_it_is_the_t_test(count: int) -> None:
    generator = random.Random(count)
    for _ in range(20):
        values = [generator.gauss(0.93, 0.01) for _ in range(count)]
        now = generator.gauss(0.92, 0.01)
        expected = stats.ttest_ind([now], values, alternative="less").pvalue
        exact = 1e-9  # standard errors that explain nothing
        found = drop(Estimate(now, exact), [Estimate(value, exact) for value in values])
        assert found.p_value == pytest.approx(expected, rel=1e-3)


def test_the_degrees_of_freedom_are_satterthwaites() -> None:
    # Values 0.91, 0.93, 0.95 have variance 4e-4; less 1e-4 for chance, 3e-4 is added, times 4/3.
    now, baseline = Estimate(0.90, 0.01), [Estimate(value, 0.01) for value in (0.91, 0.93, 0.95)]
    total = 1e-4 + 1e-4 / 3 + 4e-4
    degrees = int(2 * (total / 4e-4) ** 2)
    found = drop(now, baseline)
    assert degrees == 3
    assert found.spread == pytest.approx(math.sqrt(3e-4))
    assert found.p_value == pytest.approx(stats.t.cdf(-0.03 / math.sqrt(total), degrees), rel=1e-9)


@pytest.mark.parametrize("seed", range(50))
def test_what_changes_a_p_value_and_what_does_not(seed: int) -> None:
    generator = random.Random(seed)

    def estimate() -> Estimate:
        return Estimate(generator.gauss(0.93, 0.01), generator.uniform(0.001, 0.01))

    now, baseline = estimate(), [estimate() for _ in range(generator.randint(1, 8))]
    found = drop(now, baseline)

    def moved(one: Estimate, by: float = 0.0, times: float = 1.0) -> Estimate:
        return Estimate(one.value * times + by, one.error * times)

    assert 0 <= found.p_value <= 1
    shuffled = generator.sample(baseline, len(baseline))
    assert drop(now, shuffled).p_value == pytest.approx(found.p_value, rel=1e-6)
    shifted = drop(moved(now, by=3), [moved(each, by=3) for each in baseline])
    assert shifted.p_value == pytest.approx(found.p_value, rel=1e-6)
    scaled = drop(moved(now, times=7), [moved(each, times=7) for each in baseline])
    assert scaled.p_value == pytest.approx(found.p_value, rel=1e-6)
    assert drop(moved(now, by=-0.001), baseline).p_value < found.p_value
    assert drop(now, baseline, 0.001).p_value > found.p_value
    margin = 0.002
    assert drop(now, baseline, margin).p_value == pytest.approx(drop(moved(now, by=margin), baseline).p_value, rel=1e-6)


@pytest.mark.parametrize(
    ("value", "error", "low", "high", "expected"),
    [
        (0.93, 0.004, 0.9, 0.96, 0.004),  # what is known goes first
        (0.93, None, 0.93 - 1.959963984540054 * 0.004, 0.93 + 1.959963984540054 * 0.004, 0.004),
        (1.0, 0.0, 0.9, 1.0, 0.1 / Z_ONE_SIDED_95),  # a one-sided bound
        (0.0, 0.0, 0.0, 0.2, 0.2 / Z_ONE_SIDED_95),
        (1.0, None, 0.9, 1.0, 0.1 / Z_ONE_SIDED_95),
        (0.93, None, 0.90, 0.94, None),  # Wilson's, say
        (0.93, None, None, None, None),
        (0.93, 0.0, 0.92, 0.94, None),  # a standard error of 0 is none
        (1.0, 0.0, 1.0, 1.0, None),
        (0.93, float("nan"), None, None, None),
        (0.93, None, 0.95, 0.97, None),
    ],
)
def test_where_a_standard_error_comes_from(
    value: float, error: float | None, low: float | None, high: float | None, expected: float | None
) -> None:
    found = standard_error(value, error, low, high)
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-9))
