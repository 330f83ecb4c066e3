"""Read and write a model's alarms and baselines.

``automl_drift_results`` has one row per decision, with the alarm and its episode. ``automl_baselines`` has the baseline
of each metric: the first evaluations of a version without an alarm, or a level that a person accepted. A decision uses
decisions of earlier session times only, so a cleared or backfilled day decides as it would have on that day.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_provider_automl.drift.episodes import OPEN, Episode
from airflow_provider_automl.drift.policies import FIRST
from airflow_provider_automl.drift.statistics import WINDOW, Estimate, between_variance, mean_of
from airflow_provider_automl.tracking.store import TrackingTables, record_id, utc
from airflow_provider_automl.tracking.tables import BASELINES, DRIFT_RESULTS

#: ``made_by`` of a baseline that no person accepted.
FIRST_EVALUATIONS = "the first evaluations"


@dataclass(frozen=True)
class Place:
    """The key of a series of decisions: each place has its own alarms and baselines."""

    dag_id: str
    task_id: str
    model_name: str
    model_version: str | None
    dataset: str


@dataclass(frozen=True)
class Baseline:
    """A row of ``automl_baselines``."""

    estimates: tuple[Estimate, ...]
    made_by: str
    made_at: datetime


@dataclass(frozen=True)
class Known:
    """The state before a decision.

    :param episodes: the open alarms, by check key.
    :param alarmed: DAG id and run id of evaluations that are part of an alarm.
    :param own: earlier decisions of the same run, by check key, if the task was cleared.
    :param left: the previous version, by check key, if its alarm is open.
    :param rows: all decisions on this version at this place, oldest first.
    """

    episodes: Mapping[str, Episode] = field(default_factory=dict)
    alarmed: frozenset[tuple[Any, Any]] = frozenset()
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    left: Mapping[str, str | None] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()


class Alarms:
    """The alarms and baselines in the tables of a schema."""

    def __init__(self, tracking: TrackingTables) -> None:
        self.tracking = tracking
        self._baselines: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def known(self, place: Place, run_id: str, now: datetime, models: Iterable[str] = ()) -> Known:
        """The state before the decision of a run.

        :param now: the run's session time.
        :param models: names of further models whose alarmed evaluations are to be excluded from baselines.
        """
        rows = self.tracking.read(DRIFT_RESULTS, model_name=place.model_name)
        others = [row for name in models if name != place.model_name
                  for row in self.tracking.read(DRIFT_RESULTS, model_name=name)]  # fmt: skip
        alarmed = frozenset((row["dag_id"], row["run_id"]) for row in (*rows, *others) if _is_alarmed(row))
        here = _in_order(row for row in rows if _is_at(row, place))
        version = [row for row in here if row["model_version"] == place.model_version]
        own = {row["check_key"]: row for row in version if row["run_id"] == run_id and row.get("check_key")}
        before = [row for row in here if row["run_id"] != run_id and utc(row["session_time"]) <= now]
        accepted = self._accepted(place)
        episodes: dict[str, Episode] = {}
        for key, last in _last(row for row in before if row["model_version"] == place.model_version).items():
            if last["alarm"] in OPEN and last["episode_id"] not in accepted:
                episodes[key] = Episode(last["episode_id"], tuple(_estimates(_within(before, last))))
        left = {
            key: last["model_version"]
            for key, last in _last(before).items()
            if last["model_version"] != place.model_version
            and last["alarm"] in OPEN
            and last["episode_id"] not in accepted
        }
        return Known(episodes, alarmed, own, left, version)

    def baselines(self, place: Place, *, until: datetime | None = None) -> dict[str, Baseline]:
        """The baseline of each metric for a version at this place: the newest accepted one, else the one of the first
        evaluations.

        :param until: ignore baselines made after this time.
        """
        found: dict[str, Baseline] = {}
        for row in self._baseline_rows(place):
            baseline = _baseline(row)
            if until is not None and baseline.made_at > until:
                continue
            other = found.get(row["metric"])
            if other is None or _rank(baseline) > _rank(other):
                found[row["metric"]] = baseline
        return found

    def keep(
        self, place: Place, metric: str, estimates: Sequence[Estimate], *, now: datetime, run_id: str | None
    ) -> None:
        """Store the first evaluations as a metric's baseline, unless it has one."""
        if not any(row["metric"] == metric for row in self._baseline_rows(place)):
            baseline_id = record_id(*_parts(place), metric, FIRST_EVALUATIONS)
            self._write(place, metric, estimates[:FIRST], baseline_id, FIRST_EVALUATIONS, None, now, run_id, None)

    def accept(
        self, place: Place, metric: str, estimates: Sequence[Estimate], *, by: str, reason: str, episode_id: str,
    ) -> str:  # fmt: skip
        """Store the level of the last evaluations, accepted by a person, as the metric's new baseline; closes the open
        alarm.

        :returns: the ``baseline_id``.
        """
        now = datetime.now(UTC)
        baseline_id = record_id(*_parts(place), metric, episode_id, "accepted")
        for row in self._baseline_rows(place):
            if row["metric"] == metric and row["replaced_by"] is None:
                kept = {name: value for name, value in row.items() if name != "recorded_at"}
                self.tracking.record(BASELINES, {**kept, "replaced_by": baseline_id}, record_id=row["record_id"])
        self._write(place, metric, estimates, baseline_id, by, reason, now, None, episode_id)
        return baseline_id

    def _write(
        self, place: Place, metric: str, estimates: Sequence[Estimate], baseline_id: str, by: str, reason: str | None,
        now: datetime, run_id: str | None, episode_id: str | None,
    ) -> None:  # fmt: skip
        level, of_level = mean_of(estimates, between_variance(estimates))
        row = {
            "baseline_id": baseline_id, "dag_id": place.dag_id, "task_id": place.task_id,
            "model_name": place.model_name, "model_version": place.model_version, "dataset": place.dataset or None,
            "metric": metric, "evaluations": json.dumps([[each.value, each.error] for each in estimates]),
            "level": level, "error": math.sqrt(of_level), "made_by": by,
            "reason": reason, "made_at": datetime.now(UTC), "session_time": now,
            "run_id": run_id, "episode_id": episode_id,
        }  # fmt: skip
        self.tracking.record(BASELINES, row, record_id=baseline_id)
        self._baselines.clear()

    def _baseline_rows(self, place: Place) -> list[dict[str, Any]]:
        return [row for row in self._rows(place) if _is_at(row, place) and row["model_version"] == place.model_version]

    def _accepted(self, place: Place) -> set[str]:
        return {row["episode_id"] for row in self._rows(place) if row["episode_id"] is not None}

    def _rows(self, place: Place) -> list[dict[str, Any]]:
        """The baselines of a model in a DAG, cached."""
        of = (place.dag_id, place.model_name)
        if of not in self._baselines:
            self._baselines[of] = self.tracking.read(BASELINES, dag_id=of[0], model_name=of[1])
        return self._baselines[of]


def open_alarms(tracking: TrackingTables, model_name: str | None = None) -> list[dict[str, Any]]:
    """The open alarms: for each check of a single metric its newest decision's row, with ``opened`` (session time of
    the alarm's first decision), ``evaluations`` (their number), ``metric`` and ``estimates`` (the last ones).
    """
    where = {} if model_name is None else {"model_name": model_name}
    rows = _in_order(tracking.read(DRIFT_RESULTS, **where))
    accepted = {row["episode_id"] for row in tracking.read(BASELINES, **where)} - {None}
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        if row.get("check_key") and (metric := metric_of(row["check_key"])) is not None:
            last[(place_of(row), row["check_key"])] = {**row, "metric": metric}
    found = []
    for row in last.values():
        if row["alarm"] in OPEN and row["episode_id"] not in accepted:
            within = _within(rows, row)
            opened, estimates = within[0]["session_time"], _estimates(within)
            found.append({**row, "opened": opened, "evaluations": len(within), "estimates": estimates[-WINDOW:]})
    return found


def place_of(row: Mapping[str, Any]) -> Place:
    """The place of a decision's row."""
    return Place(row["dag_id"], row["task_id"], row["model_name"], row["model_version"], row["dataset"] or "")


def metric_of(key: str) -> str | None:
    """The metric in a check's key; None for a combined policy, whose parts have keys of their own."""
    match = re.fullmatch(r"(?:consecutive\(\d+, )?(?:worse_than_baseline|significantly_below)\(.*, (\w+)\)\)?", key)
    return match[1] if match else None


def _rank(baseline: Baseline) -> tuple[bool, datetime]:
    return (baseline.made_by != FIRST_EVALUATIONS, baseline.made_at)


def _baseline(row: Mapping[str, Any]) -> Baseline:
    estimates = tuple(Estimate(value, error) for value, error in json.loads(row["evaluations"]))
    return Baseline(estimates, row["made_by"], utc(row["made_at"]))


def _parts(place: Place) -> tuple[str | None, ...]:
    return (place.dag_id, place.task_id, place.model_name, place.model_version, place.dataset)


def _is_at(row: Mapping[str, Any], place: Place) -> bool:
    same = row["dag_id"] == place.dag_id and row.get("task_id") == place.task_id
    return same and (row.get("dataset") or "") == place.dataset


def _is_alarmed(row: Mapping[str, Any]) -> bool:
    """Whether an evaluation is part of an alarm; rows of older provider versions, without alarms, have ``drifted``."""
    if row.get("check_key") is None:
        return bool(row["drifted"])
    return row["alarm"] in OPEN


def _in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort decisions by session time, oldest first."""
    return sorted(rows, key=lambda row: (utc(row["session_time"]), str(row["recorded_at"])))


def _within(rows: Iterable[Mapping[str, Any]], last: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The decisions with the same check and episode as ``last``."""
    return [row for row in rows if all(row.get(key) == last[key] for key in ("episode_id", "check_key"))]


def _last(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The last row of each check, by check key, for sorted rows."""
    return {row["check_key"]: row for row in rows if row.get("check_key")}


def _estimates(rows: Iterable[Mapping[str, Any]]) -> list[Estimate]:
    return [
        Estimate(row["statistic"], row["error"])
        for row in rows
        if row["statistic"] is not None and row["error"] is not None
    ]
