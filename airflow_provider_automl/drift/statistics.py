"""The statistics of the drift policies: standard errors, tail probabilities, and tests for a drop and for recovery.

Pure functions. Errors are standard errors in the unit of the metric; p-values are
probabilities from 0 to 1. Higher values are better: callers negate losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from airflow_provider_automl.metrics import Z_95

#: The 95 % quantile of the normal distribution, for one-sided intervals.
Z_ONE_SIDED_95 = 1.6448536269514722

#: The number of last evaluations that recovery is tested on.
WINDOW = 7
#: The longer window, for alarms raised by chance: a healthy metric cannot become significantly better.
LONG_WINDOW = 28
#: The probability of missing a recovery at an evaluation when the true level is the baseline's.
STILL_LOWER = 0.01

#: Degrees of freedom from which Student's t is approximated by the normal distribution.
_NEARLY_NORMAL = 1_000


@dataclass(frozen=True)
class Estimate:
    """The estimate of a metric and its standard error, which is above 0.

    :param is_bound: whether the error is derived from a one-sided bound: see :func:`standard_error`.
    """

    value: float
    error: float
    is_bound: bool = False


@dataclass(frozen=True)
class Drop:
    """The result of a test for a drop.

    :param baseline: the level that the metric was compared with.
    :param spread: the standard deviation between the baseline's evaluations beyond their sampling errors; 0 if these
        explain all of it.
    :param p_value: the probability of a drop at least as large if nothing has changed.
    """

    baseline: float
    spread: float
    p_value: float


def normal_below(z: float) -> float:
    """The probability that a standard normal variable is at most ``z``."""
    return math.erfc(-z / math.sqrt(2)) / 2


def student_below(t: float, degrees: int) -> float:
    """The probability that Student's t with ``degrees`` (1 or more) degrees of freedom is at most ``t``.

    The closed form for integer degrees: M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions (1964), 26.7.3
    and 26.7.4. Its absolute error is below 1e-14, so smaller tail probabilities are indistinguishable from 0.
    """
    if math.isinf(t):
        return 0.0 if t < 0 else 1.0
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= step / (step + 1) * cosine * cosine
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return min(1.0, max(0.0, (1 + within) / 2))


def standard_error(value: float, error: float | None, low: float | None, high: float | None) -> float | None:
    """The standard error of a metric, from its own value or a 95 % interval; None if neither gives one.

    A symmetric 95 % interval has a half width of 1.96 standard errors. A standard error of exactly 0 means that the
    sample showed no variation (an AUC of exactly 0 or 1), not that there is none: the one-sided 95 % bound then gives
    the error, as it is 1.645 standard errors away from the value.
    """
    if error is not None and math.isfinite(error) and error > 0:
        return error
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low <= value <= high):
        return None
    width = high - low
    if width <= 0:
        return None
    if value in (low, high):
        return width / Z_ONE_SIDED_95
    if error is None and abs((high - value) - (value - low)) <= 1e-6 * width:
        return width / (2 * Z_95)
    return None


def below_value(current: Estimate, value: float) -> float:
    """The p-value of a one-sided z-test: the probability of an estimate this low or lower if the truth is ``value``.

    The standard error of an AUC is DeLong's (E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson 1988). It is larger for a
    lower AUC, which makes the test conservative if positives are few: with an AUC of 0.93, 5,000 rows and alpha 0.05,
    the false alarm rate is 4 % at 24 % positives, and 2 % at 50 positive rows.
    """
    return normal_below((current.value - value) / current.error)


def drop(current: Estimate, baseline: Sequence[Estimate], margin: float = 0.0) -> Drop:
    """One-sided test whether ``current`` is lower than the mean of ``baseline`` by more than ``margin``.

    The variance of the difference of independent estimates is the sum of their variances. The mean of the k baseline
    estimates is unweighted: an AUC that is high by chance also has a small standard error, so inverse-variance weights
    would bias the baseline upwards.

    Variation between the baseline's evaluations beyond their standard errors affects the current evaluation as well:
    this between-evaluation variance (the sample variance minus the mean squared standard error; the random-effects
    estimator of L. V. Hedges 1983) is added to that of each evaluation. As it is estimated from k evaluations, the test
    then uses Student's t instead of the normal distribution, with k - 1 degrees of freedom if that variance is all
    there is, and more the smaller its share is (F. E. Satterthwaite 1946). A single evaluation gives no estimate of it:
    the test then accounts for sampling error only. At alpha 0.05 and five evaluations, the false alarm rate is 4 %
    without such variance, and 6 % if it equals the sampling variance.

    :param baseline: one or more estimates, independent of each other and of ``current``.
    :param margin: at least 0.

    >>> baseline = [Estimate(0.931, 0.004), Estimate(0.927, 0.004), Estimate(0.932, 0.004)]
    >>> round(drop(Estimate(0.925, 0.004), baseline).p_value, 3)
    0.14
    """
    count = len(baseline)
    between = between_variance(baseline)
    mean, of_mean = mean_of(baseline, between)
    added = between * (1 + 1 / count)
    total = current.error**2 + of_mean + between
    score = (current.value - mean + margin) / math.sqrt(total)
    degrees = (count - 1) * (total / added) ** 2 if added > 0 else math.inf
    p_value = student_below(score, int(degrees)) if degrees < _NEARLY_NORMAL else normal_below(score)
    return Drop(mean, math.sqrt(between), p_value)


def between_variance(estimates: Sequence[Estimate]) -> float:
    """The variance between estimates beyond their standard errors: sample variance minus mean squared error."""
    if len(estimates) < 2:
        return 0.0
    return max(0.0, variance([each.value for each in estimates]) - fmean(each.error**2 for each in estimates))


def has_recovered(episode: Sequence[Estimate], baseline: Sequence[Estimate], alpha: float, margin: float = 0.0) -> bool:
    """Whether a metric has recovered from a drop.

    The mean of the last evaluations (up to :data:`WINDOW`, never the whole episode) must not be significantly lower
    than the baseline (at :data:`STILL_LOWER`), and must be significantly higher than the episode's evaluations before
    them (at ``alpha``). Alternatively, the mean of the last :data:`LONG_WINDOW` is not significantly lower than the
    baseline.

    Both conditions are needed: for a persistent drop of three standard errors, the first alone would hold at one
    evaluation in nine early in the episode, the second alone at one in twenty. Together they end such an episode at
    fewer than one evaluation in a hundred, and a repaired one after 5 evaluations on average, at most 7 in 19 of 20
    cases. The long window ends alarms raised by chance, in which no evaluations are significantly higher than others.

    :param episode: the evaluations since the alarm was raised, oldest first, the current one last.
    :param baseline: one or more estimates; errors of 0 denote a fixed level.
    :param margin: the smallest drop that counts, at least 0.
    """
    count = min(WINDOW, len(episode) - 1)
    if count < 1:
        return False
    spread = between_variance(baseline)
    level, of_level = mean_of(baseline, spread)

    def is_lower(window: Sequence[Estimate]) -> bool:
        value, of_value = mean_of(window, spread)
        return normal_below((value - level + margin) / math.sqrt(of_value + of_level)) <= STILL_LOWER

    last, before = episode[-count:], episode[:-count]
    value, of_value = mean_of(last, spread)
    value_before, of_before = mean_of(before, spread)
    is_higher = normal_below((value_before - value) / math.sqrt(of_value + of_before)) <= alpha
    if is_higher and not is_lower(last):
        return True
    return len(episode) > LONG_WINDOW and not is_lower(episode[-LONG_WINDOW:])


def mean_of(estimates: Sequence[Estimate], spread: float) -> tuple[float, float]:
    """The mean of one or more estimates and its variance.

    :param spread: the variance between evaluations beyond their errors: see :func:`between_variance`.
    """
    within = fmean(each.error**2 for each in estimates)
    return fmean(each.value for each in estimates), (within + spread) / len(estimates)
