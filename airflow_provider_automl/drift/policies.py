"""Drift policies: pure functions from an evaluation and its predecessors to a decision, without I/O. Within this
package they import only the statistics, the registry of metrics, and what messages are made of.

A policy is a frozen dataclass whose fields may be Jinja templates; the drift operator renders them before the check.
It prints as the call that creates it: ``below(0.93)``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

from airflow_provider_automl import metrics
from airflow_provider_automl.drift.statistics import Estimate, below_value, drop, standard_error
from airflow_provider_automl.errors import did_you_mean

#: What a policy may need: evaluations of the evaluated version, or of the champion.
OWN: Final = "own"
CHAMPION: Final = "champion"
#: The number of first evaluations that make up a version's baseline.
FIRST: Final = 5


@dataclass(frozen=True)
class Decision:
    """A policy's decision.

    :param drifted: True, False, or None if there is no baseline yet or significance cannot be tested.
    :param statistic: the value that was tested; None if it is missing.
    :param threshold: the value that it was compared with.
    :param detail: the reason in one or two sentences, suitable for a mail.
    :param p_value: if significance was tested: the probability of such a value if there is no drift.
    :param compared_with: a description of what the value was compared with.
    :param parts: for a combination, the text of each part and its decision. The combination's statistic, threshold
        and p-value are those of the first decisive part.
    :param error: the standard error of the statistic, if known.
    :param alarm: ``opened``, ``lasting``, ``over``, or None: see :mod:`~airflow_provider_automl.drift.episodes`.
    :param episode_id: ID of the alarm's episode.
    :param key: identifies the check independently of its alpha; alarms and baselines belong to it.
    """

    drifted: bool | None
    statistic: float | None
    threshold: float | None
    detail: str
    p_value: float | None = None
    compared_with: str | None = None
    parts: tuple[tuple[str, Decision], ...] = ()
    error: float | None = None
    alarm: str | None = None
    episode_id: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class History:
    """The evaluations that a policy may compare with.

    :param evaluations: rows of ``automl_eval_results`` as read from a warehouse (``metrics`` as JSON text), in any
        order.
    :param champion: model name and version with the champion alias; None: there is no such alias.
    :param alarmed: the runs (DAG ID, run ID) with an open alarm, which are excluded from baselines.
    :param kept: stored baselines by model, version, data set and metric; later evaluations do not change them.
    """

    evaluations: Sequence[Mapping[str, Any]] = ()
    champion: tuple[str, str | None] | None = None
    alarmed: frozenset[tuple[Any, Any]] = frozenset()
    kept: Mapping[tuple[str, str | None, str, str], Sequence[Estimate]] = field(default_factory=dict)


class Policy(Protocol):
    """Any object with ``check``; its dataclass fields that are strings are rendered as templates first.

    A policy that compares with earlier evaluations also has an attribute ``needs``, a tuple of ``"own"`` (the evaluated
    version), ``"champion"``, ``"MODEL"`` (all versions) and ``"MODEL/VERSION"``. Its ``check`` then receives a
    :class:`History` of these evaluations as second argument.
    """

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Check one evaluation, as returned by the evaluation operator.

        The drift operator adds ``dag_id``, ``run_id`` and ``session_time`` of the run, which identify its own row.
        """


def needs(policy: object) -> tuple[str, ...]:
    """The evaluations that a policy compares with; empty if it needs none."""
    return tuple(getattr(policy, "needs", ()))


def ask(policy: Any, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
    """A policy's decision on an evaluation; the history is passed to policies with ``needs``, even if that is empty.

    :raises ValueError: the policy's parameters are invalid, or the evaluation lacks the metric.
    """
    arguments = (evaluation, history or History()) if hasattr(policy, "needs") else (evaluation,)
    return cast("Decision", policy.check(*arguments))


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
        if not _is_template(self.threshold):
            _threshold(self.threshold)
        if not _is_template(self.metric):
            _require_direction(self.metric)

    def __str__(self) -> str:
        return f"below({self.threshold})" if self.metric == "auroc" else f"below({self.threshold}, {self.metric!r})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Compare the metric with the threshold.

        :raises ValueError: the threshold is not a finite number, or the evaluation lacks the metric.
        """
        _require_direction(self.metric)
        return _compare(evaluation, self.metric, _threshold(self.threshold), low=_is_better_higher(self.metric))


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
        if not _is_template(self.limit):
            _threshold(self.limit)

    def __str__(self) -> str:
        return f"above({self.limit}, {self.metric!r})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Compare the metric with the limit.

        :raises ValueError: the limit is not a finite number, or the evaluation lacks the metric.
        """
        return _compare(evaluation, self.metric, _threshold(self.limit), low=False)


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
    measured = _Measured.of(evaluation, metric)
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
        if not _is_template(self.threshold):
            _threshold(self.threshold)
        if not _is_template(self.alpha):
            _alpha(self.alpha)
        if not _is_template(self.metric):
            _require_standard_error(self.metric)

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
        threshold, alpha = _threshold(self.threshold), _alpha(self.alpha)
        _require_standard_error(self.metric)
        sign = 1 if _is_better_higher(self.metric) else -1
        measured = _Measured.of(evaluation, self.metric)
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
        if not _is_template(self.baseline):
            _window(self.baseline)
        if not _is_template(self.alpha):
            _alpha(self.alpha)
        if not _is_template(self.min_effect):
            _min_effect(self.min_effect)
        if not _is_template(self.metric):
            _require_standard_error(self.metric)

    def __str__(self) -> str:
        return f"worse_than_baseline({_args(self, 'baseline', 'alpha', 'min_effect', 'metric').removeprefix(', ')})"

    @property
    def key(self) -> str:
        """Identifies the check independently of its alpha and minimum effect."""
        return f"worse_than_baseline({self.baseline}, {self.metric})"

    @property
    def needs(self) -> tuple[str, ...]:
        """The evaluations that the baseline consists of."""
        return (OWN,) if _window(self.baseline) is not None else (str(self.baseline),)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Test the metric against the baseline.

        :raises ValueError: a parameter is invalid, or the evaluation lacks the metric.
        """
        alpha, margin = _alpha(self.alpha), _min_effect(self.min_effect)
        _require_standard_error(self.metric)
        higher = _is_better_higher(self.metric)
        sign = 1 if higher else -1
        measured = _Measured.of(evaluation, self.metric)
        if measured.value is None:
            return Decision(None, None, None, measured.why_missing)
        history = history or History()
        if (model := self._model(evaluation, history)) is None:
            return _no_baseline(measured, "the champion alias is not assigned to any version")
        estimates = self._baseline(evaluation, model, history)
        if not estimates:
            return _no_baseline(measured, f"{_named(model)} has no earlier evaluation with a standard error")
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

    def _model(self, evaluation: Mapping[str, Any], history: History) -> _Model | None:
        """The version that the baseline belongs to; None: the champion alias is not assigned."""
        if self.needs == (OWN,):
            return _model_of(evaluation)
        if self.baseline == CHAMPION:
            return history.champion
        name, _, version = str(self.baseline).partition("/")
        if version:
            return name, version
        first: dict[str | None, tuple[str, str]] = {}
        for row in _earlier(evaluation, history.evaluations):
            if str(row.get("model_name")) == name:
                first.setdefault(_model_of(row)[1], _moment(row))
        return name, max(first, key=lambda version: first[version], default=None)

    def baseline_of(self, evaluation: Mapping[str, Any], history: History | None = None) -> list[Estimate]:
        """The estimates that the metric is compared with, oldest first: a stored baseline, otherwise evaluations on the
        same data set outside of alarms.
        """
        history = history or History()
        model = self._model(evaluation, history)
        return [] if model is None else self._baseline(evaluation, model, history)

    def _baseline(self, evaluation: Mapping[str, Any], model: _Model, history: History) -> list[Estimate]:
        window, dataset = _window(self.baseline), dataset_of(evaluation)
        if window is None and (kept := history.kept.get((*model, dataset, self.metric))):
            return list(kept)
        found: dict[tuple[Any, ...], Estimate] = {}
        for row in _earlier(evaluation, history.evaluations, until_now=window is not None):
            measured = _Measured.of(row, self.metric, lenient=True)
            estimate = measured.estimate
            if _model_of(row) != model or estimate is None or dataset_of(row) != dataset:
                continue
            if (row.get("dag_id"), row.get("run_id")) in history.alarmed:
                continue
            # Evaluating the same predictions again adds no evidence.
            repeated = (measured.value, *(row.get(key) for key in ("test_table", "positives", "rows_evaluated")))
            found.setdefault(repeated, estimate)
        usable = list(found.values())
        return usable[:FIRST] if window is None else usable[-window:]

    def _what(self, model: _Model, count: int) -> str:
        which = "last" if _window(self.baseline) is not None else "first"
        if count == 1:
            return f"the {which} evaluation of {_named(model)}"
        return f"the mean of the {which} {count} evaluations of {_named(model)}"


def worse_than_baseline(
    baseline: str | int = OWN, alpha: float | str = 0.05, min_effect: float | str = 0.0, metric: str = "auroc"
) -> WorseThanBaseline:
    """Drift if ``metric`` is significantly worse than earlier evaluations; see :class:`WorseThanBaseline`."""
    return WorseThanBaseline(baseline, alpha, min_effect, metric)


@dataclass(frozen=True)
class AnyOf:
    """Drift if any of several policies finds it: a SQL ``OR``, in which None is NULL.

    Its false alarm rate is at most the sum of those of its policies.
    """

    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        _check_policies("any_of", self.policies)

    def __str__(self) -> str:
        return f"any_of({', '.join(map(str, self.policies))})"

    @property
    def needs(self) -> tuple[str, ...]:
        """The needs of all its policies."""
        return _all_needs(self.policies)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Combine the decisions of all policies."""
        return _combined(self.policies, evaluation, history, decisive=True)


def any_of(*policies: Policy) -> AnyOf:
    """Drift if any of ``policies`` finds it; see :class:`AnyOf`.

    >>> policy = any_of(below(0.8), above(0.05, "expected_calibration_error"))
    >>> policy.check({"auroc": 0.9, "expected_calibration_error": 0.08}).drifted
    True
    """
    return AnyOf(policies)


@dataclass(frozen=True)
class AllOf:
    """Drift if all of several policies find it: a SQL ``AND``, in which None is NULL."""

    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        _check_policies("all_of", self.policies)

    def __str__(self) -> str:
        return f"all_of({', '.join(map(str, self.policies))})"

    @property
    def needs(self) -> tuple[str, ...]:
        """The needs of all its policies."""
        return _all_needs(self.policies)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Combine the decisions of all policies."""
        return _combined(self.policies, evaluation, history, decisive=False)


def all_of(*policies: Policy) -> AllOf:
    """Drift if all of ``policies`` find it; see :class:`AllOf`."""
    return AllOf(policies)


@dataclass(frozen=True)
class Consecutive:
    """Drift if a policy finds it in n consecutive evaluations of the same version, including the current one.

    Each earlier evaluation is checked again against the evaluations recorded before it; evaluations that cannot be
    checked are skipped.
    """

    n: int | str
    policy: Policy

    def __post_init__(self) -> None:
        if not _is_template(self.n):
            _times(self.n)
        _check_policies("consecutive", (self.policy,))

    def __str__(self) -> str:
        return f"consecutive({self.n}, {self.policy})"

    @property
    def needs(self) -> tuple[str, ...]:
        """The version's own evaluations, and the needs of its policy."""
        return _all_needs((self.policy,), OWN)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Apply the policy to this evaluation and, if it finds drift, to the earlier ones.

        :raises ValueError: n is not an integer of at least 1, or the policy raises it.
        """
        wanted = _times(self.n)
        history = history or History()
        now = ask(self.policy, evaluation, history)
        parts = ((str(self.policy), now),)
        if now.drifted is not True:
            return replace(now, parts=parts)
        earlier = _earlier(evaluation, history.evaluations, until_now=True)
        count = 1
        for index in range(len(earlier) - 1, -1, -1):
            if count == wanted:
                break
            if _model_of(earlier[index]) != _model_of(evaluation):
                continue
            try:
                before = ask(self.policy, earlier[index], replace(history, evaluations=earlier[:index]))
            except ValueError:  # the row lacks the metric
                break
            if before.drifted is None:
                continue
            if not before.drifted:
                break
            count += 1
        drifted = count == wanted
        detail = f"{now.detail} Consecutive evaluations with drift: {count} of {wanted} required."
        return replace(now, drifted=drifted, detail=detail, parts=parts)


def consecutive(n: int | str, policy: Policy) -> Consecutive:
    """Drift if ``policy`` finds it in ``n`` consecutive evaluations; see :class:`Consecutive`."""
    return Consecutive(n, policy)


# ------------------------------------------------------------------------------------------------------ evaluations

#: A model's name and version.
_Model = tuple[str, str | None]

_BOUND: Final = " A value of exactly 0 or 1 shows no variation: its standard error is derived from a one-sided bound."


@dataclass(frozen=True)
class _Measured:
    """A metric of one evaluation, with its standard error and interval if known."""

    label: str
    value: float | None
    error: float | None
    low: float | None
    high: float | None
    reason: str | None

    @classmethod
    def of(cls, evaluation: Mapping[str, Any], metric: str, *, lenient: bool = False) -> _Measured:
        """Read a metric from an evaluation's dict or row.

        :param lenient: treat a metric that is absent or not a number as missing instead of raising.
        :raises ValueError: the evaluation lacks the metric, or it is not a number.
        """
        problem, known = evaluation.get("problem_type"), metrics.ALL.get(metric)
        if not lenient and known is not None and problem in metrics.PROBLEMS and problem not in known.problems:
            raise ValueError(
                f"{metric!r} is a metric of {' and '.join(known.problems)} problems, but this evaluation is of a "
                f"{problem} problem: use one of {', '.join(metrics.fitting(problem))}."
            )
        values = {**_metrics(evaluation), **evaluation}
        value = values.get(metric)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            if not lenient:
                raise ValueError(f"{metric!r} of the evaluation is {value!r}, not a number: use the name of a metric.")
            value = None
        if metric not in values and not lenient:
            available = ", ".join(sorted(name for name, value in values.items() if isinstance(value, float)))
            raise ValueError(f"The evaluation has no metric {metric!r}; available: {available or 'none'}.")
        return cls(
            label="AUC" if metric == "auroc" else metric,
            value=value if value is not None and math.isfinite(value) else None,
            error=values.get(f"{metric}_se"),
            low=values.get(f"{metric}_low"),
            high=values.get(f"{metric}_high"),
            reason=values.get(f"{metric}_reason"),
        )

    @property
    def estimate(self) -> Estimate | None:
        """The value and its standard error; None if either is missing."""
        if self.value is None:
            return None
        error = standard_error(self.value, self.error, self.low, self.high)
        bound = self.value in (self.low, self.high) and not self.error
        return Estimate(self.value, error, bound) if error is not None else None

    @property
    def is_bound(self) -> bool:
        """Whether the standard error is derived from a one-sided bound."""
        return self.estimate is not None and self.estimate.is_bound

    @property
    def text(self) -> str:
        """``AUC 0.9290 (95 % interval 0.9250 to 0.9330)``."""
        interval = ""
        if self.low is not None and self.high is not None:
            interval = f" (95 % interval {self.low:.4f} to {self.high:.4f})"
        return f"{self.label} {self.value:.4f}{interval}"

    @property
    def why_missing(self) -> str:
        """The message for a missing value."""
        why = self.reason or "the evaluation has no value"
        return f"{self.label} is missing, so drift cannot be tested: {why}."

    @property
    def why_no_error(self) -> str:
        """The message for a missing standard error."""
        why = self.reason or "the evaluation has no standard error and no symmetric interval of it"
        return f"The significance of {self.text} cannot be tested: {why}."


def _metrics(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Further metrics: a mapping in an evaluation's dict, JSON text in its row."""
    found = evaluation.get("metrics")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            found = None
    return found if isinstance(found, Mapping) else {}


def dataset_of(evaluation: Mapping[str, Any]) -> str:
    """The name of the evaluated data set, independent of its table; "" if it has none."""
    return str(evaluation.get("dataset") or "")


def _model_of(evaluation: Mapping[str, Any]) -> _Model:
    version = evaluation.get("model_version")
    return str(evaluation.get("model_name")), None if version is None else str(version)


def _named(model: _Model) -> str:
    name, version = model
    return name if version is None else f"{name} version {version}"


def _moment(row: Mapping[str, Any]) -> tuple[str, str]:
    """The sort key of evaluations."""
    return _time(row.get("session_time")), _time(row.get("recorded_at"))


def _time(value: object) -> str:
    """A time as sortable text in UTC; empty, and so first, if there is none."""
    time: object = value
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            return value
    if not isinstance(time, datetime):
        return ""
    return (time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time).isoformat(timespec="microseconds")


def _earlier(
    evaluation: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, until_now: bool = False
) -> list[Mapping[str, Any]]:
    """The rows of other runs, oldest first.

    :param until_now: only those whose session time is not after this evaluation's.
    """
    run = (evaluation.get("dag_id"), evaluation.get("run_id"))
    others = [row for row in rows if run == (None, None) or (row.get("dag_id"), row.get("run_id")) != run]
    now = _time(evaluation.get("session_time"))
    return sorted((row for row in others if not until_now or not now or _moment(row)[0] <= now), key=_moment)


def _no_baseline(measured: _Measured, why: str) -> Decision:
    return Decision(None, measured.value, None, f"{measured.text} has no baseline yet: {why}.")


# ------------------------------------------------------------------------------------------------------ combinations


def _check_policies(name: str, policies: Sequence[object]) -> None:
    if not policies:
        raise ValueError(f"{name} has no policy: give at least one, such as below(0.93).")
    for policy in policies:
        if not callable(getattr(policy, "check", None)):
            raise ValueError(f"{name} got {policy!r}, which is not a policy: give one, such as below(0.93).")


def _all_needs(policies: Sequence[object], *more: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*more, *(need for policy in policies for need in needs(policy))]))


def _combined(
    policies: Sequence[Policy], evaluation: Mapping[str, Any], history: History | None, *, decisive: bool
) -> Decision:
    """Combine the decisions of all policies."""
    return combined(tuple((str(policy), ask(policy, evaluation, history)) for policy in policies), decisive=decisive)


def combined(parts: tuple[tuple[str, Decision], ...], *, decisive: bool) -> Decision:
    """Combine decisions: ``decisive`` if any part has it, else None if any part has it, else the opposite."""
    answers = [part.drifted for _, part in parts]
    drifted = decisive if decisive in answers else None if None in answers else not decisive
    deciding = [part for _, part in parts if part.drifted is drifted]
    own = replace(deciding[0], alarm=None, episode_id=None, key=None, error=None)
    return replace(own, detail=" ".join(part.detail for part in deciding), parts=parts)


def measured_estimate(evaluation: Mapping[str, Any], metric: str) -> Estimate | None:
    """A metric of an evaluation with its standard error; None if either is missing."""
    return _Measured.of(evaluation, metric, lenient=True).estimate


# -------------------------------------------------------------------------------------------------------- parameters


def _is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def number_of(value: object) -> float:
    """A number or its text as a finite float; NaN if it is none."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    return number if math.isfinite(number) else math.nan


def _threshold(value: object) -> float:
    number = number_of(value)
    if math.isnan(number):
        raise ValueError(f"The drift threshold is {value!r}: give a number, such as 0.93.")
    return number


def _alpha(value: object) -> float:
    number = number_of(value)
    if not 0 < number < 1:
        raise ValueError(f"alpha is {value!r}: give a probability above 0 and below 1, such as 0.05.")
    return number


def _min_effect(value: object) -> float:
    number = number_of(value)
    if not number >= 0:
        raise ValueError(f"min_effect is {value!r}: give a number of at least 0, such as 0.005.")
    return number


def _times(value: object) -> int:
    number = number_of(value)
    if not (number >= 1 and number == int(number)):
        raise ValueError(f"n of consecutive is {value!r}: give an integer of at least 1.")
    return int(number)


def _window(value: object) -> int | None:
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


def _is_better_higher(metric: str) -> bool:
    """Whether a higher value is better, which is assumed for unknown metrics."""
    known = metrics.ALL.get(metric)
    return known is None or known.higher_is_better is not False


def _require_direction(metric: str) -> None:
    """:raises ValueError: neither direction is better."""
    known = metrics.ALL.get(metric)
    if known is not None and known.higher_is_better is None:
        raise ValueError(
            f"{metric!r} is best near 0, so neither below nor above is worse: use above(limit, {metric!r})."
        )


def _require_standard_error(metric: str) -> None:
    """:raises ValueError: evaluations have no standard error of the metric."""
    known = metrics.judged()
    if metric not in known:
        raise ValueError(
            f"The significance of {metric!r} cannot be tested: evaluations have no standard error of it"
            f"{did_you_mean(metric, known)}. Use {', '.join(known)}, or below(threshold, {metric!r})."
        )


# ------------------------------------------------------------------------------------------------------------- texts


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
