"""Days of one model in memory: what the tables of a real check would hold, and what it would do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_automl.drift.episodes import OPEN, Episode, retrains, settle
from airflow_provider_automl.drift.policies import FIRST, Decision, History
from airflow_provider_automl.drift.statistics import Estimate

START = datetime(2026, 1, 1, 7, tzinfo=UTC)


@dataclass
class Days:
    """A check day by day: evaluations, the baseline that is kept, which alarms are open, when a training was begun."""

    policy: Any
    metric: str = "auroc"
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    alarmed: set[tuple[Any, Any]] = field(default_factory=set)
    kept: list[Estimate] = field(default_factory=list)
    episodes: dict[str, Episode] = field(default_factory=dict)
    retrained: list[datetime] = field(default_factory=list)

    def day(self, value: float | None, error: float | None = 0.01) -> Decision:
        """The next day's evaluation, and what is decided on it."""
        number = len(self.evaluations)
        now = START + timedelta(number)
        row = {
            "model_name": "m", "model_version": "1", "dag_id": "d", "run_id": f"day {number}",
            "test_table": f"t{number}", "session_time": now.isoformat(), "recorded_at": "",
            self.metric: value,
            f"{self.metric}_se": error if value is not None else None,
        }  # fmt: skip
        key = ("m", "1", "", self.metric)
        history = History(self.evaluations, ("m", "1"), frozenset(self.alarmed), {key: self.kept} if self.kept else {})
        decision = settle(self.policy, row, history, self.episodes, f"episode {number}")
        self._remember(decision)
        if value is not None and error is not None and decision.alarm not in OPEN and len(self.kept) < FIRST:
            self.kept.append(Estimate(value, error))
        if decision.alarm in OPEN:
            self.alarmed.add(("d", row["run_id"]))
        if retrains(decision, self.retrained, now, timedelta(30), 3):
            self.retrained.append(now)
        self.evaluations.append(row)
        return decision

    def _remember(self, decision: Decision) -> None:
        for _, part in decision.parts:
            self._remember(part)
        if decision.key is None:
            return
        if decision.alarm in OPEN and decision.episode_id is not None:
            before = self.episodes.get(decision.key, Episode(decision.episode_id)).evaluations
            own = (
                (Estimate(decision.statistic, decision.error),)
                if decision.statistic is not None and decision.error is not None
                else ()
            )
            self.episodes[decision.key] = Episode(decision.episode_id, (*before, *own))
        else:
            self.episodes.pop(decision.key, None)

    def days(self, values: Iterable[float | None]) -> list[str | None]:
        """What the alarm did on each of the next days."""
        return [self.day(value).alarm for value in values]
