"""What evaluations contain: a metric with its error, the model, and which evaluations are earlier."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_automl import metrics
from airflow_provider_automl.drift.statistics import Estimate, standard_error

#: A model's name and version.
Model = tuple[str, str | None]


@dataclass(frozen=True)
class Measured:
    """A metric of one evaluation, with its standard error and interval if known."""

    label: str
    value: float | None
    error: float | None
    low: float | None
    high: float | None
    reason: str | None

    @classmethod
    def of(cls, evaluation: Mapping[str, Any], metric: str, *, lenient: bool = False) -> Measured:
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


def model_of(evaluation: Mapping[str, Any]) -> Model:
    """The model and the version that were evaluated."""
    version = evaluation.get("model_version")
    return str(evaluation.get("model_name")), None if version is None else str(version)


def named(model: Model) -> str:
    """A model for messages."""
    name, version = model
    return name if version is None else f"{name} version {version}"


def moment(row: Mapping[str, Any]) -> tuple[str, str]:
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


def earlier_rows(
    evaluation: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, until_now: bool = False
) -> list[Mapping[str, Any]]:
    """The rows of other runs, oldest first.

    :param until_now: only those whose session time is not after this evaluation's.
    """
    run = (evaluation.get("dag_id"), evaluation.get("run_id"))
    others = [row for row in rows if run == (None, None) or (row.get("dag_id"), row.get("run_id")) != run]
    now = _time(evaluation.get("session_time"))
    return sorted((row for row in others if not until_now or not now or moment(row)[0] <= now), key=moment)


def measured_estimate(evaluation: Mapping[str, Any], metric: str) -> Estimate | None:
    """A metric of an evaluation with its standard error; None if either is missing."""
    return Measured.of(evaluation, metric, lenient=True).estimate
