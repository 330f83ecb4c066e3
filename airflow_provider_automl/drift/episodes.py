"""Alarms that last: an alarm opens, lasts until the measure is back, and is over. Pure functions.

An alarm is not a matter of one day. While a model is ill, some days look well by chance, and an alarm that comes and
goes is not believed; an alarm that is raised anew every day starts a training every day. So a check that found drift is
in an *episode*, on every day, until :func:`~airflow_provider_automl.drift.statistics.has_recovered` says that the
measure is back, a person accepts the new level, or another version takes the model's place. A day that cannot be judged
neither opens nor ends one. Evaluations within an episode are never part of a baseline.

``below`` and ``above``, and policies of somebody's own, keep no state: each day is judged by itself.
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
#: In these an episode goes on at the next evaluation.
OPEN: Final = (OPENED, LASTING)


@dataclass(frozen=True)
class Episode:
    """An alarm that is not over.

    :param evaluations: those since it was raised that could be judged, oldest first.
    """

    episode_id: str
    evaluations: tuple[Estimate, ...] = ()


def key_of(policy: object) -> str:
    """Names a check whatever its alpha and margin: a change of these in mid-episode is no new alarm."""
    if isinstance(policy, (AnyOf, AllOf)):
        name = "any_of" if isinstance(policy, AnyOf) else "all_of"
        return f"{name}({', '.join(map(key_of, policy.policies))})"
    if isinstance(policy, Consecutive):
        return f"consecutive({policy.n}, {key_of(policy.policy)})"
    return str(getattr(policy, "key", policy))


def has_episodes(policy: object) -> bool:
    """Whether a policy's alarms last: whether any part of it judges significance."""
    if isinstance(policy, (AnyOf, AllOf)):
        return any(map(has_episodes, policy.policies))
    if isinstance(policy, Consecutive):
        return has_episodes(policy.policy)
    return isinstance(policy, (SignificantlyBelow, WorseThanBaseline))


def is_due(done: Iterable[datetime], now: datetime, after: timedelta | None) -> bool:
    """Whether something was not done within a time span of now.

    :param done: when it was done.
    :param after: None: it is due every time.
    """
    return after is None or all(abs(now - time) >= after for time in done)


def retrains(decision: Decision, done: Sequence[datetime], now: datetime, after: timedelta | None, most: int) -> bool:
    """Whether a version whose alarm opens or lasts is trained again.

    :param done: when that was started before.
    :param after: an alarm that lasts starts no other within this time of the last; None: no limit.
    :param most: so many a version.
    """
    return decision.alarm in OPEN and bool(decision.drifted) and len(done) < most and is_due(done, now, after)


def settle(
    policy: Any, evaluation: Mapping[str, Any], history: History, episodes: Mapping[str, Episode], new_id: str
) -> Decision:
    """What a policy says of an evaluation, given which alarms are open.

    ``drifted`` is True while an alarm lasts, whatever this day's own test says, and None on a day that cannot be
    judged.

    :param episodes: those that are open before this evaluation, by the check's key.
    :param new_id: names an episode that opens here.
    :raises ValueError: the policy's own parameters are wrong, or the evaluation lacks the measure.
    """
    if isinstance(policy, (AnyOf, AllOf)):
        parts = tuple((str(part), settle(part, evaluation, history, episodes, new_id)) for part in policy.policies)
        decision = combined(parts, decisive=isinstance(policy, AnyOf))
        if not has_episodes(policy):
            return decision
        return _by_its_parts(decision, episodes.get(key_of(policy)), new_id, key_of(policy))
    decision = ask(policy, evaluation, history)
    if not has_episodes(policy):
        return decision
    judge = policy.policy if isinstance(policy, Consecutive) else policy
    return _settled(judge, decision, evaluation, history, episodes.get(key_of(policy)), new_id, key_of(policy))


def _by_its_parts(decision: Decision, episode: Episode | None, new_id: str, key: str) -> Decision:
    """A combination's alarm: its parts have episodes of their own, and it lasts as long as they have it drift."""
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
        return replace(lasting, drifted=None, detail=f"{decision.detail} The alarm lasts.")
    since = (*episode.evaluations, estimate)
    sign = 1 if metrics.ALL[policy.metric].higher_is_better else -1
    back = has_recovered(
        [Estimate(sign * each.value, each.error) for each in since],
        [Estimate(sign * each.value, each.error) for each in reference],
        number_of(policy.alpha),
        number_of(getattr(policy, "min_effect", 0.0)),
    )
    if back:
        said = f"The alarm is over: at its evaluation {len(since)} the measure is back."
        return replace(
            decision, drifted=False, alarm=OVER, episode_id=episode.episode_id, detail=f"{decision.detail} {said}"
        )
    said = f"The alarm lasts, at its evaluation {len(since)}."
    return replace(lasting, drifted=True, detail=f"{decision.detail} {said}")


def _reference(policy: Any, evaluation: Mapping[str, Any], history: History) -> Sequence[Estimate]:
    """What a measure must be back at."""
    if isinstance(policy, SignificantlyBelow):
        return [Estimate(number_of(policy.threshold), 0.0)]
    found: Sequence[Estimate] = policy.baseline_of(evaluation, history)
    return found
