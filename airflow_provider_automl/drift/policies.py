"""Drift policies: pure functions from an evaluation and its predecessors to a decision, without I/O.

A policy is a frozen dataclass whose fields may be Jinja templates; the drift operator renders them before the check.
It prints as the call that creates it: ``below(0.93)``. This module has the public names of the whole package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_automl.drift.combinations import AllOf, AnyOf, Consecutive, all_of, any_of, combined, consecutive
from airflow_provider_automl.drift.decision import CHAMPION, FIRST, OWN, Decision, History, Policy, ask, needs
from airflow_provider_automl.drift.fields import (
    alpha_of,
    is_better_higher,
    is_template,
    min_effect_of,
    number_of,
    require_direction,
    require_standard_error,
    threshold_of,
    window_of,
)
from airflow_provider_automl.drift.measured import (
    Measured,
    Model,
    dataset_of,
    earlier_rows,
    measured_estimate,
    model_of,
    moment,
    named,
)
from airflow_provider_automl.drift.statistics import Estimate, below_value, drop

__all__ = [
    "CHAMPION", "FIRST", "OWN", "Above", "AllOf", "AnyOf", "Below", "Consecutive", "Decision", "History", "Policy",
    "SignificantlyBelow", "WorseThanBaseline", "above", "all_of", "any_of", "ask", "below", "combined", "consecutive",
    "dataset_of", "measured_estimate", "needs", "number_of", "significantly_below", "worse_than_baseline",
]  # fmt: skip

_BOUND: Final = " A value of exactly 0 or 1 shows no variation: its standard error is derived from a one-sided bound."


@dataclass(frozen=True)
class Below:
    """Drift if a metric is worse than a fixed threshold.

    Worse means below if higher values are better, and above for errors and losses such as ``rmse``.
    It ignores noise: a healthy model with a true AUC near the threshold raises occasional false alarms.
    If the metric is missing, ``drifted`` is None.

    :param threshold: a number, or a template that renders to one.
    :param metric: the metric's name in the evaluation.
    """

    threshold: float | str
    metric: str = "auroc"

    def __post_init__(self) -> None:
        if not is_template(self.threshold):
            threshold_of(self.threshold)
        if not is_template(self.metric):
            require_direction(self.metric)

    def __str__(self) -> str:
        return f"below({self.threshold})" if self.metric == "auroc" else f"below({self.threshold}, {self.metric!r})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Compare the metric with the threshold.

        :raises ValueError: the threshold is not a finite number, or the evaluation lacks the metric.
        """
        require_direction(self.metric)
        return _compare(evaluation, self.metric, threshold_of(self.threshold), low=is_better_higher(self.metric))


def below(threshold: float | str, metric: str = "auroc") -> Below:
    """Drift if ``metric`` is worse than ``threshold``; see :class:`Below`.

    >>> decision = below(0.93).check({"auroc": 0.925, "auroc_low": 0.917, "auroc_high": 0.933})
    >>> decision.drifted
    True
    >>> print(decision.detail)
    AUC 0.9250 (95 % interval 0.9170 to 0.9330) is below the threshold 0.93; the threshold lies inside the interval.
    >>> below(60, "rmse").check({"rmse": 71.5}).drifted  # a loss: worse is above
    True
    """
    return Below(threshold, metric)


@dataclass(frozen=True)
class Above:
    """Drift if a metric is above a fixed limit, whichever direction is better.

    If the metric is missing, ``drifted`` is None.

    :param limit: a number, or a template that renders to one.
    :param metric: the metric's name in the evaluation.
    """

    limit: float | str
    metric: str

    def __post_init__(self) -> None:
        if not is_template(self.limit):
            threshold_of(self.limit)

    def __str__(self) -> str:
        return f"above({self.limit}, {self.metric!r})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Compare the metric with the limit.

        :raises ValueError: the limit is not a finite number, or the evaluation lacks the metric.
        """
        return _compare(evaluation, self.metric, threshold_of(self.limit), low=False)


def above(limit: float | str, metric: str) -> Above:
    """Drift if ``metric`` is above ``limit``; see :class:`Above`.

    >>> above(0.05, "expected_calibration_error").check({"expected_calibration_error": 0.08}).drifted
    True
    """
    return Above(limit, metric)


def _compare(evaluation: Mapping[str, Any], metric: str, threshold: float, *, low: bool) -> Decision:
    """Compare a metric with a threshold.

    :param low: whether below the threshold is drift; otherwise above it is.
    """
    measured = Measured.of(evaluation, metric)
    against = f"the threshold {threshold:g}"
    if measured.value is None:
        return Decision(None, None, threshold, measured.why_missing, compared_with=against)
    drifted = measured.value < threshold if low else measured.value > threshold
    noise = (
        "; the threshold lies inside the interval"
        if measured.low is not None and measured.high is not None and measured.low <= threshold <= measured.high
        else ""
    )
    detail = f"{measured.text} is {_side(measured.value, threshold)} {against}{noise}."
    return Decision(drifted, measured.value, threshold, detail, compared_with=against)


@dataclass(frozen=True)
class SignificantlyBelow:
    """Drift if a metric is significantly worse than a fixed threshold: a one-sided z-test.

    Worse means below if higher values are better, and above for errors and losses such as ``rmse``.
    If the true AUC equals the threshold, a share ``alpha`` of the evaluations raises a false alarm; if it is better,
    fewer do. The standard error of AUC is DeLong's, see :mod:`~airflow_provider_automl.drift.statistics`.
    If the metric is missing, or there are too few rows for a standard error, ``drifted`` is None.

    :param threshold: a number, or a template that renders to one.
    :param alpha: the accepted false alarm rate, above 0 and below 1; or a template.
    :param metric: the metric's name in the evaluation; it must have a standard error.
    :raises ValueError: on construction, a parameter that is no template is invalid.
    """

    threshold: float | str
    alpha: float | str = 0.05
    metric: str = "auroc"

    def __post_init__(self) -> None:
        if not is_template(self.threshold):
            threshold_of(self.threshold)
        if not is_template(self.alpha):
            alpha_of(self.alpha)
        if not is_template(self.metric):
            require_standard_error(self.metric)

    def __str__(self) -> str:
        return f"significantly_below({self.threshold}{_args(self, 'alpha', 'metric')})"

    @property
    def key(self) -> str:
        """Identifies the check independently of its alpha."""
        return f"significantly_below({self.threshold}, {self.metric})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Test the metric against the threshold.

        :raises ValueError: a parameter is invalid, or the evaluation lacks the metric.
        """
        threshold, alpha = threshold_of(self.threshold), alpha_of(self.alpha)
        require_standard_error(self.metric)
        sign = 1 if is_better_higher(self.metric) else -1
        measured = Measured.of(evaluation, self.metric)
        against = f"the threshold {threshold:g}"
        if measured.value is None:
            return Decision(None, None, threshold, measured.why_missing, compared_with=against)
        estimate = measured.estimate
        if estimate is None:
            return Decision(None, measured.value, threshold, measured.why_no_error, compared_with=against)
        p_value = below_value(Estimate(sign * estimate.value, estimate.error), sign * threshold)
        drifted = p_value <= alpha
        worse = f"{'below' if sign > 0 else 'above'} {against}"
        not_worse = f"{_side(measured.value, threshold)} {against}"
        relation = _relation(drifted, sign * measured.value < sign * threshold, worse, not_worse)
        detail = (
            f"{measured.text} is {relation}: if the true value were {threshold:g}, a value this "
            f"{'low' if sign > 0 else 'high'} would occur by chance with probability {_probability(p_value)} "
            f"(alpha {alpha:g}).{_BOUND if measured.is_bound else ''}"
        )
        return Decision(drifted, measured.value, threshold, detail, p_value, against)


def significantly_below(threshold: float | str, alpha: float | str = 0.05, metric: str = "auroc") -> SignificantlyBelow:
    """Drift if ``metric`` is significantly worse than ``threshold``; see :class:`SignificantlyBelow`.

    >>> decision = significantly_below(0.93).check({"auroc": 0.925, "auroc_low": 0.917, "auroc_high": 0.933})
    >>> decision.drifted, round(decision.p_value, 3)  # lower than 0.93, but chance explains it
    (False, 0.11)
    """
    return SignificantlyBelow(threshold, alpha, metric)


@dataclass(frozen=True)
class WorseThanBaseline:
    """Drift if a metric is significantly worse than earlier evaluations: a one-sided two-sample test.

    The test accounts for the sampling error of the current evaluation and of the baseline, and for variation between
    the baseline's evaluations beyond it; see :func:`~airflow_provider_automl.drift.statistics.drop`. The evaluation's
    own run is never part of its baseline, and repeated evaluations (same table, same result) count once.

    If the metric or the baseline is missing, ``drifted`` is None.

    :param baseline: ``"own"``: the first five evaluations of the evaluated version; ``"champion"``: of the version
        with the champion alias; ``"MODEL/VERSION"``: of that version; ``"MODEL"``: of the version of that model whose
        first evaluation is the most recent; an integer n: the last n evaluations of the evaluated version (such a
        baseline follows a slow decline). Or a template.
    :param alpha: the accepted false alarm rate, above 0 and below 1; or a template.
    :param min_effect: only a drop that is significantly larger than this counts; at least 0, in the metric's unit
        (0.005 of AUC, for example); or a template.
    :param metric: the metric's name in the evaluation; it must have a standard error.
    :raises ValueError: on construction, a parameter that is no template is invalid.
    """

    baseline: str | int = OWN
    alpha: float | str = 0.05
    min_effect: float | str = 0.0
    metric: str = "auroc"

    def __post_init__(self) -> None:
        if not is_template(self.baseline):
            window_of(self.baseline)
        if not is_template(self.alpha):
            alpha_of(self.alpha)
        if not is_template(self.min_effect):
            min_effect_of(self.min_effect)
        if not is_template(self.metric):
            require_standard_error(self.metric)

    def __str__(self) -> str:
        return f"worse_than_baseline({_args(self, 'baseline', 'alpha', 'min_effect', 'metric').removeprefix(', ')})"

    @property
    def key(self) -> str:
        """Identifies the check independently of its alpha and minimum effect."""
        return f"worse_than_baseline({self.baseline}, {self.metric})"

    @property
    def needs(self) -> tuple[str, ...]:
        """The evaluations that the baseline consists of."""
        return (OWN,) if window_of(self.baseline) is not None else (str(self.baseline),)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Test the metric against the baseline.

        :raises ValueError: a parameter is invalid, or the evaluation lacks the metric.
        """
        alpha, margin = alpha_of(self.alpha), min_effect_of(self.min_effect)
        require_standard_error(self.metric)
        higher = is_better_higher(self.metric)
        sign = 1 if higher else -1
        measured = Measured.of(evaluation, self.metric)
        if measured.value is None:
            return Decision(None, None, None, measured.why_missing)
        history = history or History()
        if (model := self._model(evaluation, history)) is None:
            return _no_baseline(measured, "the champion alias is not assigned to any version")
        estimates = self._baseline(evaluation, model, history)
        if not estimates:
            return _no_baseline(measured, f"{named(model)} has no earlier evaluation with a standard error")
        what = self._what(model, len(estimates))
        if (estimate := measured.estimate) is None:
            return Decision(None, measured.value, None, measured.why_no_error, compared_with=what)
        signed = [Estimate(sign * each.value, each.error) for each in (estimate, *estimates)]
        found = drop(signed[0], signed[1:], margin)
        level, p_value = sign * found.baseline, found.p_value
        caution = _BOUND if any(each.is_bound for each in (estimate, *estimates)) else ""
        if found.spread > 0:
            caution += (
                f" The baseline evaluations vary beyond chance (standard deviation {found.spread:.4f}), which the test "
                "accounts for."
            )
        elif len(estimates) == 1:
            caution += " The baseline is a single evaluation, so variation between evaluations is unknown."
        drifted = p_value <= alpha
        threshold = level - sign * margin
        worse = f"{'below' if higher else 'above'} {level:.4f}, {what}"
        not_worse = f"{_side(measured.value, level)} {level:.4f}, {what}"
        if margin:
            worse, not_worse = f"more than {margin:g} {worse}", f"not more than {margin:g} {worse}"
        relation = _relation(drifted, sign * measured.value < sign * threshold, worse, not_worse)
        truth = f"if the true difference were {margin:g}" if margin else "if there were no true difference"
        detail = (
            f"{measured.text} is {relation}: {truth}, a value this {'low' if higher else 'high'} would occur by chance "
            f"with probability {_probability(p_value)} (alpha {alpha:g}).{caution}"
        )
        return Decision(drifted, measured.value, threshold, detail, p_value, what)

    def _model(self, evaluation: Mapping[str, Any], history: History) -> Model | None:
        """The version that the baseline belongs to; None: the champion alias is not assigned."""
        if self.needs == (OWN,):
            return model_of(evaluation)
        if self.baseline == CHAMPION:
            return history.champion
        name, _, version = str(self.baseline).partition("/")
        if version:
            return name, version
        first: dict[str | None, tuple[str, str]] = {}
        for row in earlier_rows(evaluation, history.evaluations):
            if str(row.get("model_name")) == name:
                first.setdefault(model_of(row)[1], moment(row))
        return name, max(first, key=lambda version: first[version], default=None)

    def baseline_of(self, evaluation: Mapping[str, Any], history: History | None = None) -> list[Estimate]:
        """The estimates that the metric is compared with, oldest first: a stored baseline, otherwise evaluations on the
        same data set outside of alarms.
        """
        history = history or History()
        model = self._model(evaluation, history)
        return [] if model is None else self._baseline(evaluation, model, history)

    def _baseline(self, evaluation: Mapping[str, Any], model: Model, history: History) -> list[Estimate]:
        window, dataset = window_of(self.baseline), dataset_of(evaluation)
        if window is None and (kept := history.kept.get((*model, dataset, self.metric))):
            return list(kept)
        found: dict[tuple[Any, ...], Estimate] = {}
        for row in earlier_rows(evaluation, history.evaluations, until_now=window is not None):
            measured = Measured.of(row, self.metric, lenient=True)
            estimate = measured.estimate
            if model_of(row) != model or estimate is None or dataset_of(row) != dataset:
                continue
            if (row.get("dag_id"), row.get("run_id")) in history.alarmed:
                continue
            # Evaluating the same predictions again adds no evidence.
            repeated = (measured.value, *(row.get(key) for key in ("test_table", "positives", "rows_evaluated")))
            found.setdefault(repeated, estimate)
        usable = list(found.values())
        return usable[:FIRST] if window is None else usable[-window:]

    def _what(self, model: Model, count: int) -> str:
        which = "last" if window_of(self.baseline) is not None else "first"
        if count == 1:
            return f"the {which} evaluation of {named(model)}"
        return f"the mean of the {which} {count} evaluations of {named(model)}"


def worse_than_baseline(
    baseline: str | int = OWN, alpha: float | str = 0.05, min_effect: float | str = 0.0, metric: str = "auroc"
) -> WorseThanBaseline:
    """Drift if ``metric`` is significantly worse than earlier evaluations; see :class:`WorseThanBaseline`."""
    return WorseThanBaseline(baseline, alpha, min_effect, metric)


def _no_baseline(measured: Measured, why: str) -> Decision:
    return Decision(None, measured.value, None, f"{measured.text} has no baseline yet: {why}.")


def _args(policy: Any, *names: str) -> str:
    """The fields that differ from their defaults as arguments, each after a comma; ``baseline`` is positional."""
    arguments = ""
    for name in names:
        value = getattr(policy, name)
        if value != type(policy).__dataclass_fields__[name].default:
            as_number = name in ("alpha", "min_effect") or isinstance(value, int)
            text = str(value) if as_number else repr(value)
            arguments += f", {text}" if name == "baseline" else f", {name}={text}"
    return arguments


def _side(value: float, threshold: float) -> str:
    return "below" if value < threshold else "above" if value > threshold else "equal to"


def _relation(drifted: bool, is_worse: bool, worse: str, not_worse: str) -> str:
    if drifted:
        return f"significantly {worse}"
    return f"{worse}, but not significantly" if is_worse else not_worse


def _probability(value: float) -> str:
    return "below 0.0001" if value < 0.0001 else f"{value:.4f}"
