"""Policies: pure functions from an evaluation, and those before it, to a decision. No I/O; of this package, statistics
and the list of measures are imported.

A policy is a frozen dataclass whose fields may be Jinja templates; the drift operator renders them before it asks.
It prints as what it says: ``below(0.93)``.
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

#: What a policy may need: the evaluations of the version that was evaluated, or those of the champion.
OWN: Final = "own"
CHAMPION: Final = "champion"
#: So many first evaluations of a version are its baseline.
FIRST: Final = 5


@dataclass(frozen=True)
class Decision:
    """What a policy found.

    :param drifted: True, False, or None where there is nothing to compare with yet, or significance cannot be judged.
    :param statistic: the value that was judged, None where it is missing.
    :param threshold: what it was held against.
    :param detail: one plain sentence or two that say why, fit for a mail.
    :param p_value: where significance was judged: the probability of what was found if there is no drift.
    :param compared_with: in words, what the value was held against.
    :param parts: of a combination, each part as it prints, with its own decision. The combination's statistic,
        threshold and p-value are those of the first part that decided.
    :param error: the statistic's standard error, where it is known.
    :param alarm: ``opened``, ``lasting``, ``over``, or None: see :mod:`~airflow_provider_automl.drift.episodes`.
    :param episode_id: names the episode of that alarm.
    :param key: names the check whatever its alpha: what an alarm and a baseline belong to.
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
    """What a policy may compare with.

    :param evaluations: rows of ``automl_eval_results`` as a warehouse gives them (``metrics`` in JSON text), any order.
    :param champion: model name and version that hold the champion's alias; None: there is no such alias.
    :param alarmed: the runs, as DAG and run, in which an alarm was raised or lasted: no baseline is made of these.
    :param kept: baselines that were made before, by model, version, data set and metric: kept, whatever is evaluated
        since.
    """

    evaluations: Sequence[Mapping[str, Any]] = ()
    champion: tuple[str, str | None] | None = None
    alarmed: frozenset[tuple[Any, Any]] = frozenset()
    kept: Mapping[tuple[str, str | None, str, str], Sequence[Estimate]] = field(default_factory=dict)


class Policy(Protocol):
    """Anything with ``check``; every dataclass field that is a string is rendered as a template first.

    A policy that compares with earlier evaluations also has an attribute ``needs``, a tuple of ``"own"`` (the version
    that was evaluated), ``"champion"``, ``"MODEL"`` (all versions) and ``"MODEL/VERSION"``. Then ``check`` is given a
    :class:`History` of their evaluations as its second argument.
    """

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Judge one evaluation, as the evaluation operator returned it.

        The operator adds ``dag_id``, ``run_id`` and ``session_time`` of the run, by which its own row is told.
        """


def needs(policy: object) -> tuple[str, ...]:
    """Whose evaluations a policy compares with; empty if it needs none."""
    return tuple(getattr(policy, "needs", ()))


def ask(policy: Any, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
    """What a policy says of an evaluation; the history is passed to a policy that has ``needs``, empty ones too.

    :raises ValueError: the policy's own parameters are wrong, or the evaluation lacks the measure.
    """
    arguments = (evaluation, history or History()) if hasattr(policy, "needs") else (evaluation,)
    return cast("Decision", policy.check(*arguments))


@dataclass(frozen=True)
class Below:
    """Drift when a measure is worse than a fixed threshold: the documented check.

    Of a measure that is better when higher, worse is below; of an error or a loss, such as ``rmse``, it is above.
    It knows no noise: a healthy model whose true AUC is near the threshold fires now and then.
    A missing measure cannot be judged: ``drifted`` is None.

    :param threshold: a number, or a template that renders to one.
    :param metric: the measure's name in the evaluation.
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
        """Compare the measure with the threshold.

        :raises ValueError: the threshold is not a finite number, or the evaluation has no such measure.
        """
        _require_direction(self.metric)
        return _held_against(evaluation, self.metric, _threshold(self.threshold), low=_is_better_higher(self.metric))


def below(threshold: float | str, metric: str = "auroc") -> Below:
    """Drift when ``metric`` is worse than ``threshold``: below it, of an error or a loss above; see :class:`Below`."""
    return Below(threshold, metric)


@dataclass(frozen=True)
class Above:
    """Drift when a measure is above a fixed limit, whichever way it is better: a plain upper limit.

    A missing measure cannot be judged: ``drifted`` is None.

    :param limit: a number, or a template that renders to one.
    :param metric: the measure's name in the evaluation.
    """

    limit: float | str
    metric: str

    def __post_init__(self) -> None:
        if not _is_template(self.limit):
            _threshold(self.limit)

    def __str__(self) -> str:
        return f"above({self.limit}, {self.metric!r})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Compare the measure with the limit.

        :raises ValueError: the limit is not a finite number, or the evaluation has no such measure.
        """
        return _held_against(evaluation, self.metric, _threshold(self.limit), low=False)


def above(limit: float | str, metric: str) -> Above:
    """Drift when ``metric`` is above ``limit``; see :class:`Above`."""
    return Above(limit, metric)


def _held_against(evaluation: Mapping[str, Any], metric: str, threshold: float, *, low: bool) -> Decision:
    """Whether a measure is beyond a threshold.

    :param low: whether below it is beyond, else above.
    """
    measured = _Measured.of(evaluation, metric)
    against = f"the threshold {threshold:g}"
    if measured.value is None:
        return Decision(None, None, threshold, measured.why_missing, compared_with=against)
    drifted = measured.value < threshold if low else measured.value > threshold
    beyond = "below" if low else "above"
    noise = (
        " The threshold lies inside the interval, so this may be noise."
        if measured.low is not None and measured.high is not None and measured.low <= threshold <= measured.high
        else ""
    )
    detail = f"{measured.text} is {beyond if drifted else f'not {beyond}'} {against}.{noise}"
    return Decision(drifted, measured.value, threshold, detail, compared_with=against)


@dataclass(frozen=True)
class SignificantlyBelow:
    """Drift when a measure is worse than a fixed threshold by more than chance explains: a one-sided z-test.

    Of a measure that is better when higher, worse is below; of an error or a loss, such as ``rmse``, it is above.
    Of a model whose true AUC is the threshold, ``alpha`` of the evaluations raise a false alarm; of a better one fewer.
    The standard error is DeLong's, see :mod:`~airflow_provider_automl.drift.statistics`.
    A missing measure, or too few rows for a standard error, cannot be judged: ``drifted`` is None.

    :param threshold: a number, or a template that renders to one.
    :param alpha: the share of false alarms that is accepted, above 0 and below 1; or a template.
    :param metric: the measure's name in the evaluation: one that has a standard error.
    :raises ValueError: on construction, what can be known to be wrong by then.
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
            _require_judged(self.metric)

    def __str__(self) -> str:
        return f"significantly_below({self.threshold}{_said(self, 'alpha', 'metric')})"

    @property
    def key(self) -> str:
        """Names the check, whatever its alpha."""
        return f"significantly_below({self.threshold}, {self.metric})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Test the measure against the threshold.

        :raises ValueError: a parameter is wrong, or the evaluation has no such measure or no standard error of it.
        """
        threshold, alpha = _threshold(self.threshold), _alpha(self.alpha)
        _require_judged(self.metric)
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
        place = f"{'below' if sign > 0 else 'above'} {against}"
        detail = (
            f"{measured.text} is {_relation(drifted, sign * measured.value < sign * threshold, place)}: were the truth "
            f"{threshold:g}, so {'low' if sign > 0 else 'high'} a value would come by chance with probability "
            f"{_probability(p_value)} (alpha {alpha:g}).{_BOUND if measured.is_bound else ''}"
        )
        return Decision(drifted, measured.value, threshold, detail, p_value, against)


def significantly_below(threshold: float | str, alpha: float | str = 0.05, metric: str = "auroc") -> SignificantlyBelow:
    """Drift when ``metric`` is worse than ``threshold`` by more than chance explains; see
    :class:`SignificantlyBelow`.
    """
    return SignificantlyBelow(threshold, alpha, metric)


@dataclass(frozen=True)
class WorseThanBaseline:
    """Drift when a measure is worse than earlier evaluations by more than chance explains: a one-sided two-sample test.

    Both the current evaluation's chance error and the baseline's are in the test, and so is what the baseline's
    evaluations differ by beyond it: :func:`~airflow_provider_automl.drift.statistics.drop` says how. The evaluation's
    own run is never part of its baseline, and evaluations that repeat another one (same table, same result) count once.

    A missing measure cannot be judged, nor can one without a baseline: ``drifted`` is None.

    :param baseline: ``"own"``: the first five evaluations of the version that was evaluated; ``"champion"``: those of
        the version that holds the champion's alias; ``"MODEL/VERSION"``: those of that version; ``"MODEL"``: those of
        the version of that model which was first evaluated last; a whole number n: the last n evaluations of the
        version that was evaluated (a slow decline takes such a baseline along). Or a template.
    :param alpha: the share of false alarms that is accepted, above 0 and below 1; or a template.
    :param min_effect: only a drop that is significantly larger than this counts, 0 or above, in the measure's own
        scale (0.005 of AUC, say); or a template.
    :param metric: the measure's name in the evaluation: one that has a standard error.
    :raises ValueError: on construction, what can be known to be wrong by then.
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
            _require_judged(self.metric)

    def __str__(self) -> str:
        return f"worse_than_baseline({_said(self, 'baseline', 'alpha', 'min_effect', 'metric').removeprefix(', ')})"

    @property
    def key(self) -> str:
        """Names the check, whatever its alpha and margin."""
        return f"worse_than_baseline({self.baseline}, {self.metric})"

    @property
    def needs(self) -> tuple[str, ...]:
        """Whose evaluations the baseline is made of."""
        return (OWN,) if _window(self.baseline) is not None else (str(self.baseline),)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Test the measure against the baseline.

        :raises ValueError: a parameter is wrong, or the evaluation has no such measure or no standard error of it.
        """
        alpha, margin = _alpha(self.alpha), _min_effect(self.min_effect)
        _require_judged(self.metric)
        higher = _is_better_higher(self.metric)
        sign = 1 if higher else -1
        measured = _Measured.of(evaluation, self.metric)
        if measured.value is None:
            return Decision(None, None, None, measured.why_missing)
        history = history or History()
        if (model := self._model(evaluation, history)) is None:
            return _no_baseline(measured, "no version holds the champion's alias")
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
            caution += f" The baseline's evaluations vary beyond chance, by {found.spread:.4f}, which is allowed for."
        elif len(estimates) == 1:
            caution += " How much evaluations vary beyond chance is not known from a single one."
        drifted = p_value <= alpha
        threshold = level - sign * margin
        place = f"{'below' if higher else 'above'} {level:.4f}, {what}"
        relation = _relation(
            drifted, sign * measured.value < sign * threshold, f"more than {margin:g} {place}" if margin else place
        )
        truth = f"were the true difference {margin:g}" if margin else "were there no true difference"
        detail = (
            f"{measured.text} is {relation}: {truth}, so {'low' if higher else 'high'} a value would come by chance "
            f"with probability {_probability(p_value)} (alpha {alpha:g}).{caution}"
        )
        return Decision(drifted, measured.value, threshold, detail, p_value, what)

    def _model(self, evaluation: Mapping[str, Any], history: History) -> _Model | None:
        """The version that the baseline is of; None: nobody holds the champion's alias."""
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
        """The estimates that the measure is held against, oldest first: those that were kept, else of the evaluations
        of the same data set that raised no alarm.
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
            # The same predictions evaluated again are no new evidence.
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
    """Drift when ``metric`` is worse than earlier evaluations beyond chance; see :class:`WorseThanBaseline`."""
    return WorseThanBaseline(baseline, alpha, min_effect, metric)


@dataclass(frozen=True)
class AnyOf:
    """Drift when one of several policies says so. Where none does and one cannot tell, ``drifted`` is None, as in SQL.

    Each policy has its own false alarms: together they have up to their sum.
    """

    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        _check_policies("any_of", self.policies)

    def __str__(self) -> str:
        return f"any_of({', '.join(map(str, self.policies))})"

    @property
    def needs(self) -> tuple[str, ...]:
        """What any of its policies needs."""
        return _all_needs(self.policies)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Ask every policy."""
        return _combined(self.policies, evaluation, history, decisive=True)


def any_of(*policies: Policy) -> AnyOf:
    """Drift when one of ``policies`` says so; see :class:`AnyOf`."""
    return AnyOf(policies)


@dataclass(frozen=True)
class AllOf:
    """Drift when all of several policies say so. Where none denies it and one cannot tell, ``drifted`` is None."""

    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        _check_policies("all_of", self.policies)

    def __str__(self) -> str:
        return f"all_of({', '.join(map(str, self.policies))})"

    @property
    def needs(self) -> tuple[str, ...]:
        """What any of its policies needs."""
        return _all_needs(self.policies)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Ask every policy."""
        return _combined(self.policies, evaluation, history, decisive=False)


def all_of(*policies: Policy) -> AllOf:
    """Drift when all of ``policies`` say so; see :class:`AllOf`."""
    return AllOf(policies)


@dataclass(frozen=True)
class Consecutive:
    """Drift when a policy finds it at this evaluation and at the n - 1 evaluations of the same version before it.

    Those before are judged anew, each by what was recorded before it; one that cannot be judged neither counts nor
    breaks the row.
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
        """The version's own evaluations, and what its policy needs."""
        return _all_needs((self.policy,), OWN)

    def check(self, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
        """Ask the policy of this evaluation and, if that is drift, of those before it.

        :raises ValueError: n is no whole number of 1 or above, or the policy raises it.
        """
        wanted = _times(self.n)
        history = history or History()
        now = ask(self.policy, evaluation, history)
        parts = ((str(self.policy), now),)
        if now.drifted is not True:
            return replace(now, parts=parts)
        earlier = _earlier(evaluation, history.evaluations, until_now=True)
        held = 1
        for index in range(len(earlier) - 1, -1, -1):
            if held == wanted:
                break
            if _model_of(earlier[index]) != _model_of(evaluation):
                continue
            try:
                before = ask(self.policy, earlier[index], replace(history, evaluations=earlier[:index]))
            except ValueError:  # that row has no such measure
                break
            if before.drifted is None:
                continue
            if not before.drifted:
                break
            held += 1
        drifted = held == wanted
        detail = f"{now.detail} That held at {held} of the {wanted} evaluations in a row that make it drift."
        return replace(now, drifted=drifted, detail=detail, parts=parts)


def consecutive(n: int | str, policy: Policy) -> Consecutive:
    """Drift when ``policy`` finds it at ``n`` evaluations in a row; see :class:`Consecutive`."""
    return Consecutive(n, policy)


# ------------------------------------------------------------------------------------------------------ evaluations

#: A model's name and version.
_Model = tuple[str, str | None]

_BOUND: Final = " A value of exactly 0 or 1 shows no variation: a one-sided bound stands for its standard error."


@dataclass(frozen=True)
class _Measured:
    """A measure of one evaluation, with whatever is known of its error."""

    label: str
    value: float | None
    error: float | None
    low: float | None
    high: float | None
    reason: str | None

    @classmethod
    def of(cls, evaluation: Mapping[str, Any], metric: str, *, lenient: bool = False) -> _Measured:
        """Read a measure from an evaluation's dict or row.

        :param lenient: a measure that is not there, or no number, is missing; otherwise it is an error.
        :raises ValueError: there is no such measure, or it is no number.
        """
        problem, known = evaluation.get("problem_type"), metrics.ALL.get(metric)
        if not lenient and known is not None and problem in metrics.PROBLEMS and problem not in known.problems:
            raise ValueError(
                f"{metric!r} is a measure of {' and '.join(known.problems)} problems, and this evaluation is of a "
                f"{problem} one: name one of {', '.join(metrics.fitting(problem))}."
            )
        measures = {**_metrics(evaluation), **evaluation}
        value = measures.get(metric)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            if not lenient:
                raise ValueError(f"{metric!r} of the evaluation is {value!r}, not a number: name a measure.")
            value = None
        if metric not in measures and not lenient:
            there = ", ".join(sorted(name for name, value in measures.items() if isinstance(value, float)))
            raise ValueError(f"The evaluation has no measure {metric!r}: it has {there or 'none'}.")
        return cls(
            label="AUC" if metric == "auroc" else metric,
            value=value if value is not None and math.isfinite(value) else None,
            error=measures.get(f"{metric}_se"),
            low=measures.get(f"{metric}_low"),
            high=measures.get(f"{metric}_high"),
            reason=measures.get(f"{metric}_reason"),
        )

    @property
    def estimate(self) -> Estimate | None:
        """The value and its standard error; None where either is missing."""
        if self.value is None:
            return None
        error = standard_error(self.value, self.error, self.low, self.high)
        bound = self.value in (self.low, self.high) and not self.error
        return Estimate(self.value, error, bound) if error is not None else None

    @property
    def is_bound(self) -> bool:
        """Whether the standard error is made of a one-sided bound."""
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
        """That there is no value, and why."""
        why = self.reason or "the evaluation gave no value"
        return f"{self.label} is missing, so nothing can be judged: {why}."

    @property
    def why_no_error(self) -> str:
        """That significance cannot be judged, and why."""
        why = self.reason or "the evaluation gave no standard error of it and no symmetric interval"
        return f"{self.text}: its significance cannot be judged, for {why}."


def _metrics(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Further measures: a mapping in an evaluation's dict, JSON text in its row."""
    metrics = evaluation.get("metrics")
    if isinstance(metrics, str):
        try:
            metrics = json.loads(metrics)
        except ValueError:
            metrics = None
    return metrics if isinstance(metrics, Mapping) else {}


def dataset_of(evaluation: Mapping[str, Any]) -> str:
    """The data set that was evaluated, whatever its table is called; "" if it has no name."""
    return str(evaluation.get("dataset") or "")


def _model_of(evaluation: Mapping[str, Any]) -> _Model:
    version = evaluation.get("model_version")
    return str(evaluation.get("model_name")), None if version is None else str(version)


def _named(model: _Model) -> str:
    name, version = model
    return name if version is None else f"{name} version {version}"


def _moment(row: Mapping[str, Any]) -> tuple[str, str]:
    """What evaluations are ordered by."""
    return _time(row.get("session_time")), _time(row.get("recorded_at"))


def _time(value: object) -> str:
    """A time as text that sorts by time: UTC without zone; empty for none, so that it comes first."""
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
        raise ValueError(f"{name} was given no policy: give one, such as below(0.93).")
    for policy in policies:
        if not callable(getattr(policy, "check", None)):
            raise ValueError(f"{name} was given {policy!r}, which is no policy: give one, such as below(0.93).")


def _all_needs(policies: Sequence[object], *more: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*more, *(need for policy in policies for need in needs(policy))]))


def _combined(
    policies: Sequence[Policy], evaluation: Mapping[str, Any], history: History | None, *, decisive: bool
) -> Decision:
    """Ask all policies, and put their answers together."""
    return combined(tuple((str(policy), ask(policy, evaluation, history)) for policy in policies), decisive=decisive)


def combined(parts: tuple[tuple[str, Decision], ...], *, decisive: bool) -> Decision:
    """One answer is decisive; without it, not knowing is; else all have given the other answer."""
    answers = [part.drifted for _, part in parts]
    drifted = decisive if decisive in answers else None if None in answers else not decisive
    deciding = [part for _, part in parts if part.drifted is drifted]
    own = replace(deciding[0], alarm=None, episode_id=None, key=None, error=None)
    return replace(own, detail=" ".join(part.detail for part in deciding), parts=parts)


def measured_estimate(evaluation: Mapping[str, Any], metric: str) -> Estimate | None:
    """A measure of an evaluation with its standard error; None where one of them is missing."""
    return _Measured.of(evaluation, metric, lenient=True).estimate


# -------------------------------------------------------------------------------------------------------- parameters


def _is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def number_of(value: object) -> float:
    """A finite number from itself or its text, else NaN."""
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
        raise ValueError(f"min_effect is {value!r}: give a number, 0 or above, such as 0.005.")
    return number


def _times(value: object) -> int:
    number = number_of(value)
    if not (number >= 1 and number == int(number)):
        raise ValueError(f"n of consecutive is {value!r}: give a whole number, 1 or above.")
    return int(number)


def _window(value: object) -> int | None:
    """How many of the last evaluations a baseline is; None where it is named otherwise.

    :raises ValueError: it is neither a number of evaluations nor a name.
    """
    if isinstance(value, str) and value.strip() and not value.strip().isdigit():
        return None
    number = number_of(value)
    if not (number >= 1 and number == int(number)):
        raise ValueError(
            f'baseline is {value!r}: give "own", "champion", a model\'s name, "MODEL/VERSION", or how many of the last '
            "evaluations, 1 or above."
        )
    return int(number)


def _is_better_higher(metric: str) -> bool:
    """Whether a higher value is better; of a measure of somebody's own it is taken to be."""
    known = metrics.ALL.get(metric)
    return known is None or known.higher_is_better is not False


def _require_direction(metric: str) -> None:
    """:raises ValueError: neither way is better."""
    known = metrics.ALL.get(metric)
    if known is not None and known.higher_is_better is None:
        raise ValueError(
            f"{metric!r} is best near 0, so neither below nor above is worse: use above(limit, {metric!r})."
        )


def _require_judged(metric: str) -> None:
    """:raises ValueError: no evaluation has a standard error of that measure."""
    known = metrics.judged()
    if metric not in known:
        raise ValueError(
            f"The significance of {metric!r} cannot be judged, for no evaluation has a standard error of it"
            f"{metrics.nearest(metric, known)}: use {', '.join(known)}, or below(threshold, {metric!r})."
        )


# ------------------------------------------------------------------------------------------------------------- words


def _said(policy: Any, *names: str) -> str:
    """The fields that differ from their defaults, as arguments; the first of them may stand without its name."""
    said = ""
    for name in names:
        value = getattr(policy, name)
        if value != type(policy).__dataclass_fields__[name].default:
            as_number = name in ("alpha", "min_effect") or isinstance(value, int)
            text = str(value) if as_number else repr(value)
            said += f", {text}" if name == "baseline" else f", {name}={text}"
    return said


def _relation(drifted: bool, beyond: bool, place: str) -> str:
    if drifted:
        return f"significantly {place}"
    return f"{place}, but not significantly" if beyond else f"not {place}"


def _probability(value: float) -> str:
    return "below 0.0001" if value < 0.0001 else f"{value:.4f}"
