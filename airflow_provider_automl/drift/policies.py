"""Policies: pure functions from an evaluation to a decision. No I/O, and nothing of this package is imported.

A policy is a frozen dataclass whose fields may be Jinja templates; the drift operator renders them before it asks.
It prints as what it says: ``below(0.93)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Decision:
    """What a policy found.

    :param drifted: True, False, or None where there is nothing to compare with yet.
    :param statistic: the value that was judged, None where it is missing.
    :param threshold: what it was held against.
    :param detail: one plain sentence that says why.
    """

    drifted: bool | None
    statistic: float | None
    threshold: float | None
    detail: str


class Policy(Protocol):
    """Anything with ``check``; every dataclass field that is a string is rendered as a template first."""

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Judge one evaluation, as the evaluation operator returned it."""


@dataclass(frozen=True)
class Below:
    """Drift when a measure is below a fixed threshold: the documented check.

    It knows no noise: a healthy model whose true AUC is near the threshold fires now and then.
    A missing measure counts as drift.

    :param threshold: a number, or a template that renders to one.
    :param metric: the measure's name in the evaluation.
    """

    threshold: float | str
    metric: str = "auroc"

    def __str__(self) -> str:
        return f"below({self.threshold})" if self.metric == "auroc" else f"below({self.threshold}, {self.metric!r})"

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        """Compare the measure with the threshold.

        :raises ValueError: the threshold is not a finite number, or the evaluation has no such measure.
        """
        try:
            threshold = float(self.threshold)
        except (TypeError, ValueError):
            threshold = math.nan
        if not math.isfinite(threshold):
            raise ValueError(f"The drift threshold is {self.threshold!r}: give a number, such as 0.93.")
        measures = {**(evaluation.get("metrics") or {}), **evaluation}
        if self.metric not in measures:
            known = ", ".join(sorted(name for name, value in measures.items() if isinstance(value, float)))
            raise ValueError(f"The evaluation has no measure {self.metric!r}: it has {known or 'none'}.")
        value = measures[self.metric]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"{self.metric!r} of the evaluation is {value!r}, not a number: name a measure.")
        label = "AUC" if self.metric == "auroc" else self.metric
        if value is None or not math.isfinite(value):
            why = evaluation.get(f"{self.metric}_reason") or "the evaluation gave no value"
            return Decision(True, None, threshold, f"{label} is missing, which counts as drift: {why}")
        interval = ""
        low, high = evaluation.get(f"{self.metric}_low"), evaluation.get(f"{self.metric}_high")
        if low is not None and high is not None:
            interval = f" (95 % interval {low:.4f} to {high:.4f})"
        relation = "below" if value < threshold else "not below"
        noise = (
            " The threshold lies inside the interval, so this may be noise."
            if low is not None and high is not None and low <= threshold <= high
            else ""
        )
        detail = f"{label} {value:.4f}{interval} is {relation} the threshold {threshold:g}.{noise}"
        return Decision(value < threshold, value, threshold, detail)


def below(threshold: float | str, metric: str = "auroc") -> Below:
    """Drift when ``metric`` is below ``threshold``; see :class:`Below`."""
    return Below(threshold, metric)
