"""Policies of policies: any of several, all of them, or one several times in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_automl.drift.decision import OWN, Decision, History, Policy, ask, needs
from airflow_provider_automl.drift.fields import is_template, times_of
from airflow_provider_automl.drift.measured import earlier_rows, model_of


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

    >>> from airflow_provider_automl.drift.policies import above, any_of, below
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
        if not is_template(self.n):
            times_of(self.n)
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
        wanted = times_of(self.n)
        history = history or History()
        now = ask(self.policy, evaluation, history)
        parts = ((str(self.policy), now),)
        if now.drifted is not True:
            return replace(now, parts=parts)
        earlier = earlier_rows(evaluation, history.evaluations, until_now=True)
        count = 1
        for index in range(len(earlier) - 1, -1, -1):
            if count == wanted:
                break
            if model_of(earlier[index]) != model_of(evaluation):
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
