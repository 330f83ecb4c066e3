"""The fields of policies: from text or numbers to what a policy calculates with.

Each function raises ``ValueError`` with what was found and what to give.
"""

from __future__ import annotations

import math

from airflow_provider_automl import metrics
from airflow_provider_automl.errors import did_you_mean


def is_template(value: object) -> bool:
    """Whether a field is a template, and so not known before a task runs."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def number_of(value: object) -> float:
    """A number or its text as a finite float; NaN if it is none."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    return number if math.isfinite(number) else math.nan


def threshold_of(value: object) -> float:
    """A finite number."""
    number = number_of(value)
    if math.isnan(number):
        raise ValueError(f"The drift threshold is {value!r}: give a number, such as 0.93.")
    return number


def alpha_of(value: object) -> float:
    """A probability above 0 and below 1."""
    number = number_of(value)
    if not 0 < number < 1:
        raise ValueError(f"alpha is {value!r}: give a probability above 0 and below 1, such as 0.05.")
    return number


def min_effect_of(value: object) -> float:
    """A number of at least 0."""
    number = number_of(value)
    if not number >= 0:
        raise ValueError(f"min_effect is {value!r}: give a number of at least 0, such as 0.005.")
    return number


def times_of(value: object) -> int:
    """An integer of at least 1."""
    number = number_of(value)
    if not (number >= 1 and number == int(number)):
        raise ValueError(f"n of consecutive is {value!r}: give an integer of at least 1.")
    return int(number)


def window_of(value: object) -> int | None:
    """The number of last evaluations in a baseline; None if the baseline is given by name.

    :raises ValueError: it is neither a valid number nor a name.
    """
    if isinstance(value, str) and value.strip() and not value.strip().isdigit():
        return None
    number = number_of(value)
    if not (number >= 1 and number == int(number)):
        raise ValueError(
            f'baseline is {value!r}: give "own", "champion", a model name, "MODEL/VERSION", or the number of last '
            "evaluations, at least 1."
        )
    return int(number)


def is_better_higher(metric: str) -> bool:
    """Whether a higher value is better, which is assumed for unknown metrics."""
    known = metrics.ALL.get(metric)
    return known is None or known.higher_is_better is not False


def require_direction(metric: str) -> None:
    """:raises ValueError: neither direction is better."""
    known = metrics.ALL.get(metric)
    if known is not None and known.higher_is_better is None:
        raise ValueError(
            f"{metric!r} is best near 0, so neither below nor above is worse: use above(limit, {metric!r})."
        )


def require_standard_error(metric: str) -> None:
    """:raises ValueError: evaluations have no standard error of the metric."""
    known = metrics.judged()
    if metric not in known:
        raise ValueError(
            f"The significance of {metric!r} cannot be tested: evaluations have no standard error of it"
            f"{did_you_mean(metric, known)}. Use {', '.join(known)}, or below(threshold, {metric!r})."
        )
