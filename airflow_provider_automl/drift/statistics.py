"""The statistics of the policies: standard errors, tails, and whether a measure has become worse.

Pure functions of the standard library. A measure has no unit here; an error is a standard error in the measure's own
scale; a p-value is a probability from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

#: Quantiles of the normal distribution: of a two-sided and of a one-sided interval of 95 %.
Z_TWO_SIDED_95 = 1.959963984540054
Z_ONE_SIDED_95 = 1.6448536269514722

#: So many of the last evaluations tell whether a measure is back.
WINDOW = 7
#: Where these do not tell, so many do: a measure that was never ill is not better than it was.
LONG_WINDOW = 28
#: The share of recoveries that are missed on a day on which the mean of the last evaluations is the baseline's.
STILL_LOWER = 0.01

#: Degrees of freedom from which on Student's t is as good as normal.
_NEARLY_NORMAL = 1_000


@dataclass(frozen=True)
class Estimate:
    """A measure as it was estimated, and its standard error, which is above 0.

    :param is_bound: whether a one-sided bound stands for the error: see :func:`standard_error`.
    """

    value: float
    error: float
    is_bound: bool = False


@dataclass(frozen=True)
class Drop:
    """Whether a measure has dropped.

    :param baseline: what it was held against.
    :param spread: by how much the baseline's evaluations differ beyond chance, as a standard deviation; 0 where chance
        explains it all.
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

    The closed form for whole degrees: M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions (1964), 26.7.3
    and 26.7.4. Its absolute error is below 1e-14, so a tail below that is not told apart from 0.
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
    """The standard error of a measure, from what is known of it; None where nothing tells.

    An interval of 95 % that is symmetric about the value has a half width of 1.96 standard errors. A standard error of
    exactly 0 means that the sample showed no variation (an AUC of exactly 0 or 1), not that there is none: then a
    one-sided bound of 95 % takes its place, which is 1.645 standard errors away from the value.
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
        return width / (2 * Z_TWO_SIDED_95)
    return None


def below_value(current: Estimate, value: float) -> float:
    """The p-value of a one-sided z-test: the probability of an estimate this low or lower if the truth is ``value``.

    The standard error of an AUC is DeLong's (E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson 1988). It is larger for a
    lower AUC, which makes the test conservative where positives are few: at an AUC of 0.93, 5,000 rows and 24 %
    positives it raises 4 false alarms in a hundred at alpha 0.05, with 50 positives 2.
    """
    return normal_below((current.value - value) / current.error)


def drop(current: Estimate, baseline: Sequence[Estimate], margin: float = 0.0) -> Drop:
    """Test one-sidedly whether ``current`` is lower than the mean of ``baseline`` by more than ``margin``.

    The difference of independent estimates has the variance of both. The mean of the k baseline estimates is not
    weighted: an AUC that came out high by chance also has a small standard error, and weights by inverse variance would
    lift the baseline by it.

    Where the baseline's evaluations differ by more than their standard errors explain, evaluations vary from one to the
    next, and so will the current one: that variance, the sample variance less the mean squared standard error, is added
    to each (the estimator of L. V. Hedges 1983 for studies that differ). It is known from k evaluations only, so
    Student's t takes the normal's place, with k - 1 degrees of freedom where that variance is all there is, more the
    less of the whole it is (F. E. Satterthwaite 1946). One evaluation tells nothing of it: then only chance within the
    evaluations is allowed for. At alpha 0.05 and five evaluations 4 false alarms in a hundred are raised where there is
    no such variance, and 6 where it is as large as that of chance.

    :param baseline: one or more estimates, independent of each other and of ``current``.
    :param margin: 0 or above.
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
    """By how much estimates vary beyond their standard errors: the sample variance less the mean squared error."""
    if len(estimates) < 2:
        return 0.0
    return max(0.0, variance([each.value for each in estimates]) - fmean(each.error**2 for each in estimates))


def has_recovered(episode: Sequence[Estimate], baseline: Sequence[Estimate], alpha: float, margin: float = 0.0) -> bool:
    """Whether a measure that had dropped is back: the mean of the last evaluations (up to :data:`WINDOW`, never all of
    an episode) is not significantly lower than the baseline, at :data:`STILL_LOWER`, and significantly higher than the
    episode's evaluations before them, at ``alpha``; or that of the last :data:`LONG_WINDOW` is not lower than the
    baseline.

    Both are needed: of a drop of three standard errors that stays, the first alone would hold on one day in nine of the
    first days, the second alone on one in twenty. Together they end such an episode on fewer than one day in a hundred,
    and one that was repaired after 5 evaluations on average, 7 at most in 19 of 20. The long window ends what chance
    raised: after some days well, the days before are well too, and nothing is higher than they.

    :param episode: the evaluations since the alarm was raised, oldest first, the current one last.
    :param baseline: one or more; errors of 0 are a fixed level.
    :param margin: only a drop that is larger than this is one, 0 or above.
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

    :param spread: by how much evaluations vary beyond their errors, as a variance: see :func:`between_variance`.
    """
    within = fmean(each.error**2 for each in estimates)
    return fmean(each.value for each in estimates), (within + spread) / len(estimates)
