"""Alarm episodes: an alarm opens, lasts until the metric has recovered, and is over. Pure functions.

Without episodes, alarms flap: a degraded model passes some checks by chance, and each new alarm would start a training.
A check that found drift therefore stays in an *episode* until the metric has recovered
(:func:`~airflow_provider_automl.drift.statistics.has_recovered`), a person accepts the new level, or another version
replaces the model. Evaluations without a decision neither open nor end an episode. Evaluations within an episode are
never part of a baseline.

``below``, ``above`` and custom policies are stateless: each evaluation is checked on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_automl import metrics
from airflow_provider_automl.drift.policies import (
    AllOf,
    AnyOf,
    Consecutive,
    Decision,
    History,
    SignificantlyBelow,
    WorseThanBaseline,
    ask,
    combined,
    measured_estimate,
    number_of,
)
from airflow_provider_automl.drift.statistics import Estimate, has_recovered

OPENED: Final = "opened"
LASTING: Final = "lasting"
OVER: Final = "over"
#: The states of an open episode.
OPEN: Final = (OPENED, LASTING)


@dataclass(frozen=True)
class Episode:
    """An open alarm.

    :param evaluations: the estimates since the alarm was raised, oldest first.
    """

    episode_id: str
    evaluations: tuple[Estimate, ...] = ()


def key_of(policy: object) -> str:
    """Identify a check independently of alpha and minimum effect, which may change within an episode."""
    if isinstance(policy, (AnyOf, AllOf)):
        name = "any_of" if isinstance(policy, AnyOf) else "all_of"
        return f"{name}({', '.join(map(key_of, policy.policies))})"
    if isinstance(policy, Consecutive):
        return f"consecutive({policy.n}, {key_of(policy.policy)})"
    return str(getattr(policy, "key", policy))


def has_episodes(policy: object) -> bool:
    """Whether a policy has alarm episodes, that is, whether any part of it tests significance."""
    if isinstance(policy, (AnyOf, AllOf)):
        return any(map(has_episodes, policy.policies))
    if isinstance(policy, Consecutive):
        return has_episodes(policy.policy)
    return isinstance(policy, (SignificantlyBelow, WorseThanBaseline))


def is_due(done: Iterable[datetime], now: datetime, after: timedelta | None) -> bool:
    """Whether an action is due again: it was not done within ``after`` of now.

    :param done: the times when it was done.
    :param after: the minimum time between two actions; None: it is always due.
    """
    return after is None or all(abs(now - time) >= after for time in done)


def retrains(decision: Decision, done: Sequence[datetime], now: datetime, after: timedelta | None, limit: int) -> bool:
    """Whether an open alarm starts a retraining of its version.

    :param done: the start times of its earlier retrainings.
    :param after: the minimum time between two retrainings; None: no minimum.
    :param limit: the maximum number of retrainings per version.
    """
    return decision.alarm in OPEN and bool(decision.drifted) and len(done) < limit and is_due(done, now, after)


def settle(
    policy: Any, evaluation: Mapping[str, Any], history: History, episodes: Mapping[str, Episode], new_id: str
) -> Decision:
    """A policy's decision on an evaluation, given the open alarms.

    While an alarm lasts, ``drifted`` is True regardless of this evaluation's own test, and None if the evaluation
    cannot be tested.

    :param episodes: the episodes open before this evaluation, by the check's key.
    :param new_id: ID of an episode that opens here.
    :raises ValueError: the policy's parameters are invalid, or the evaluation lacks the metric.
    """
    if isinstance(policy, (AnyOf, AllOf)):
        parts = tuple((str(part), settle(part, evaluation, history, episodes, new_id)) for part in policy.policies)
        decision = combined(parts, decisive=isinstance(policy, AnyOf))
        if not has_episodes(policy):
            return decision
        return _combined_alarm(decision, episodes.get(key_of(policy)), new_id, key_of(policy))
    decision = ask(policy, evaluation, history)
    if not has_episodes(policy):
        return decision
    test = policy.policy if isinstance(policy, Consecutive) else policy
    return _settled(test, decision, evaluation, history, episodes.get(key_of(policy)), new_id, key_of(policy))


def _combined_alarm(decision: Decision, episode: Episode | None, new_id: str, key: str) -> Decision:
    """A combination's alarm lasts while its decision is drift; its parts have their own episodes."""
    if episode is None:
        alarm = OPENED if decision.drifted else None
        return replace(decision, key=key, alarm=alarm, episode_id=new_id if alarm else None)
    alarm = OVER if decision.drifted is False else LASTING
    return replace(decision, key=key, alarm=alarm, episode_id=episode.episode_id)


def _settled(
    policy: Any,
    decision: Decision,
    evaluation: Mapping[str, Any],
    history: History,
    episode: Episode | None,
    new_id: str,
    key: str,
) -> Decision:
    estimate = measured_estimate(evaluation, policy.metric)
    decision = replace(decision, key=key, error=estimate.error if estimate is not None else None)
    if episode is None:
        if not decision.drifted:
            return decision
        return replace(decision, alarm=OPENED, episode_id=new_id)
    lasting = replace(decision, alarm=LASTING, episode_id=episode.episode_id)
    reference = _reference(policy, evaluation, history)
    if decision.statistic is None or estimate is None or not reference:
        return replace(lasting, drifted=None, detail=f"{decision.detail} The alarm is still open.")
    since = (*episode.evaluations, estimate)
    sign = 1 if metrics.ALL[policy.metric].higher_is_better else -1
    recovered = has_recovered(
        [Estimate(sign * each.value, each.error) for each in since],
        [Estimate(sign * each.value, each.error) for each in reference],
        number_of(policy.alpha),
        number_of(getattr(policy, "min_effect", 0.0)),
    )
    if recovered:
        text = f"The alarm is over: the metric has recovered at evaluation {len(since)} of the alarm."
        return replace(
            decision, drifted=False, alarm=OVER, episode_id=episode.episode_id, detail=f"{decision.detail} {text}"
        )
    text = f"The alarm is still open, at evaluation {len(since)}."
    return replace(lasting, drifted=True, detail=f"{decision.detail} {text}")


def _reference(policy: Any, evaluation: Mapping[str, Any], history: History) -> Sequence[Estimate]:
    """The level that a metric must return to."""
    if isinstance(policy, SignificantlyBelow):
        return [Estimate(number_of(policy.threshold), 0.0)]
    found: Sequence[Estimate] = policy.baseline_of(evaluation, history)
    return found
