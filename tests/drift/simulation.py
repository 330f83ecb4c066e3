"""Evaluations of a simulated model: scores are normal in each class, and the classes lie apart (binormal)."""

from __future__ import annotations

import json
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

#: The documented case: 5,000 rows a day, a quarter of them positive (as in the census), and a good model.
ROWS, PREVALENCE, AUC = 5_000, 0.24, 0.93

_AT_ONCE = 2_000_000  # scores


def evaluate(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """AUC and DeLong's standard error of many samples at once: a row each, scores without ties."""
    p, q = positive.shape[1], negative.shape[1]
    is_positive = np.argsort(np.concatenate([positive, negative], axis=1), axis=1) < p
    negatives_below = np.cumsum(~is_positive, axis=1) / q
    positives_above = 1 - np.cumsum(is_positive, axis=1) / p
    v10 = np.where(is_positive, negatives_below, 0.0)
    v01 = np.where(is_positive, 0.0, positives_above)
    area = v10.sum(axis=1) / p
    spread_p = ((v10**2).sum(axis=1) - p * area**2) / (p - 1)
    spread_q = ((v01**2).sum(axis=1) - q * area**2) / (q - 1)
    return area, np.sqrt(spread_p / p + spread_q / q)


def separation(auc: float | Floats) -> Floats:
    """How many standard deviations the classes lie apart where the true AUC is that."""
    return np.sqrt(2) * np.vectorize(NormalDist().inv_cdf)(auc)


def scores(
    generator: np.random.Generator,
    samples: int,
    auc: float | Floats,
    *,
    rows: int = ROWS,
    prevalence: float = PREVALENCE,
) -> tuple[Floats, Floats]:
    """Scores of positives and of negatives, a row a sample; ``auc`` may be another one in each sample."""
    p = round(rows * prevalence)
    positive = generator.standard_normal((samples, p)) + np.reshape(separation(auc), (-1, 1))
    return positive, generator.standard_normal((samples, rows - p))


def evaluations(
    generator: np.random.Generator,
    samples: int,
    auc: float | Floats = AUC,
    *,
    rows: int = ROWS,
    prevalence: float = PREVALENCE,
) -> tuple[Floats, Floats]:
    """AUC and standard error of so many samples, in bounded memory."""
    found = []
    step = max(1, _AT_ONCE // rows)
    for start in range(0, samples, step):
        here = auc if isinstance(auc, float) else auc[start : start + step]
        part = scores(generator, min(step, samples - start), here, rows=rows, prevalence=prevalence)
        found.append(evaluate(*part))
    return np.concatenate([area for area, _ in found]), np.concatenate([error for _, error in found])


def row(auc: float, error: float, day: int) -> dict[str, Any]:
    """An evaluation as ``automl_eval_results`` has it."""
    return {
        "session_time": f"2026-01-{day:02} 07:00:00",
        "model_name": "census",
        "model_version": "1",
        "test_table": f"day_{day}",
        "auroc": float(auc),
        "metrics": json.dumps({"auroc_se": float(error)}),
        "dag_id": "check",
        "run_id": str(day),
    }


def wilson(hits: int, of: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """E. B. Wilson's interval (1927) of a proportion, 95 % unless told otherwise."""
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return float(middle - half), float(middle + half)


def regression_sums(error: Floats) -> dict[str, Fraction]:
    """What ``errors.sql`` adds up of predictions that are off by this much; the rest is made up."""
    size, square = np.abs(error), error**2

    def about(values: Floats) -> Fraction:
        return Fraction(float(((values - values.mean()) ** 2).sum()))

    zero, one, count = Fraction(0), Fraction(1), Fraction(len(error))
    median = Fraction(float(np.median(size)))
    return {
        "n": count, "w": count, "error_sum": Fraction(float(error.sum())), "error_squares": about(error),
        "size_sum": Fraction(float(size.sum())), "size_squares": about(size),
        "square_sum": Fraction(float(square.sum())), "square_squares": about(square),
        "actual_sum": zero, "actual_squares": one, "ratio_sum": one, "least": zero, "most": one,
        "median_low": median, "median_high": median, "centred_sum": zero, "centred_cubes": zero,
        "centred_fourths": one, "crossed": zero, "crossed_squares": one,
    }  # fmt: skip
