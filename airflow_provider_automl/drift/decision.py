"""What a policy is asked, what it may compare with, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from airflow_provider_automl.drift.statistics import Estimate

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
