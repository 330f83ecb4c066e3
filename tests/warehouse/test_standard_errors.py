"""Each standard error against what the measure really varies by, over samples of one population."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_automl.warehouse import open_warehouse
from airflow_provider_automl.warehouse.formulas import Measure, f_with_error, mcc, multiclass, regression, wilson
from airflow_provider_automl.warehouse.measures import evaluate
from tests.drift.simulation import regression_sums
from tests.warehouse.conformance import put
from tests.warehouse.conftest import Connect

SAMPLES = 1500
RANKED: dict[str, Any] = {"problem_type": "binary", "score": "p", "positive_class": 1}
NUMBERS: dict[str, Any] = {"problem_type": "regression", "prediction": "p"}
Draw = Callable[[np.random.Generator], Measure]


def counts(rng: np.random.Generator, n: int, *shares: float) -> list[Fraction]:
    return [Fraction(int(count)) for count in rng.multinomial(n, [*shares, 1 - sum(shares)])]


def f(n: int, tp: float, fp: float, fn: float, beta: float) -> Draw:
    return lambda rng: f_with_error(*counts(rng, n, tp, fp, fn)[:3], beta, weighted=False)


def correlation(n: int, tp: float, fp: float, fn: float) -> Draw:
    def draw(rng: np.random.Generator) -> Measure:
        cells = zip([(1, 1), (0, 1), (1, 0), (0, 0)], counts(rng, n, tp, fp, fn), strict=True)
        return mcc(dict(cells), smoothing=0.5, weighted=False)

    return draw


def share(n: int, of: float) -> Draw:
    return lambda rng: wilson(counts(rng, n, of)[0], Fraction(n))


def classes(name: str, n: int, table: list[list[float]]) -> Draw:
    cells = [(str(i), str(j), p) for i, row in enumerate(table) for j, p in enumerate(row)]

    def draw(rng: np.random.Generator) -> Measure:
        drawn = rng.multinomial(n, [p for _, _, p in cells])
        pairs = {(i, j): Fraction(int(c)) for (i, j, _), c in zip(cells, drawn, strict=True) if c}
        return multiclass(pairs, weighted=False)[name]

    return draw


def numbers(name: str, n: int, noise: Callable[[np.random.Generator, int], Any]) -> Draw:
    return lambda rng: regression(regression_sums(noise(rng, n)), weighted=False)[name]


BALANCED = [[0.30, 0.03, 0.02], [0.03, 0.25, 0.04], [0.02, 0.05, 0.26]]
RARE = [[0.80, 0.02, 0.01], [0.03, 0.07, 0.01], [0.01, 0.01, 0.04]]


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(share(1000, 0.85), id="accuracy"),
        pytest.param(share(60, 0.5), id="a share of few rows"),
        pytest.param(f(1000, 0.2, 0.05, 0.05, 1.0), id="f1"),
        pytest.param(f(400, 0.05, 0.02, 0.05, 1.0), id="f1 of few positives"),
        pytest.param(f(1000, 0.3, 0.01, 0.15, 0.5), id="fbeta 0.5"),
        pytest.param(f(1000, 0.3, 0.1, 0.02, 2.0), id="fbeta 2"),
        pytest.param(correlation(1000, 0.2, 0.05, 0.05), id="mcc"),
        pytest.param(correlation(400, 0.05, 0.02, 0.05), id="mcc of few positives"),
        *(
            pytest.param(classes(name, n, table), id=f"{name} {kind}")
            for name in ("accuracy", "balanced_accuracy", "mcc", "macro_f1", "weighted_f1")
            for kind, n, table in (("balanced", 600, BALANCED), ("rare", 1500, RARE))
        ),
        pytest.param(numbers("rmse", 500, lambda rng, n: rng.normal(size=n)), id="rmse"),
        pytest.param(numbers("rmse", 500, lambda rng, n: rng.standard_t(8, size=n)), id="rmse of heavy tails"),
        pytest.param(numbers("mse", 500, lambda rng, n: rng.normal(size=n)), id="mse"),
        pytest.param(numbers("mae", 500, lambda rng, n: rng.normal(1, 2, size=n)), id="mae"),
    ],
)
def test_is_what_the_measure_varies_by(draw: Draw) -> None:
    rng = np.random.default_rng(7)
    drawn = [draw(rng) for _ in range(SAMPLES)]
    varies = np.std([measure.value for measure in drawn])
    told = np.sqrt(np.mean([(measure.se or 0.0) ** 2 for measure in drawn]))
    # A standard deviation of 1,500 samples is known to 2 %, of heavy tails to 4 %.
    assert told == pytest.approx(varies, rel=0.1)


def test_no_error_is_0_where_a_sample_has_no_mistake() -> None:
    assert wilson(Fraction(50), Fraction(50)).se == pytest.approx(0.0182, abs=1e-3)
    perfect = {(1, 1): Fraction(50), (0, 0): Fraction(50), (1, 0): Fraction(0), (0, 1): Fraction(0)}
    assert (mcc(perfect, smoothing=0.5, weighted=False).se or 0) > 0.005
    assert (f_with_error(Fraction(50), Fraction(0), Fraction(0), 1.0, weighted=False).se or 0) > 0.005


def ranked(rng: np.random.Generator, n: int, *, digits: int | None) -> pa.Table:
    positive = (rng.random(n) < 0.25).astype(int)
    score = 1 / (1 + np.exp(-rng.normal(size=n) - 1.3 * positive))
    return pa.table({"y": positive, "p": score if digits is None else np.round(score, digits)})


def fitted(rng: np.random.Generator, n: int, *, mean: float, noise: Callable[[int], Any]) -> pa.Table:
    predicted = rng.normal(mean, 2, size=n)
    return pa.table({"y": predicted + noise(n), "p": predicted})


@pytest.mark.parametrize(
    ("name", "options", "draw"),
    [
        ("average_precision", RANKED, lambda rng, n: ranked(rng, n, digits=None)),
        ("average_precision", RANKED, lambda rng, n: ranked(rng, n, digits=1)),
        ("auroc", RANKED, lambda rng, n: ranked(rng, n, digits=1)),
        ("r2", NUMBERS, lambda rng, n: fitted(rng, n, mean=0, noise=lambda n: rng.normal(size=n))),
        ("r2", NUMBERS, lambda rng, n: fitted(rng, n, mean=1e6, noise=lambda n: rng.standard_t(8, size=n) * 2)),
    ],
)
def test_what_is_added_up_in_sql(
    connect: Connect,
    tmp_path: Path,
    name: str,
    options: dict[str, Any],
    draw: Callable[[np.random.Generator, int], Any],
) -> None:
    """Of 600 samples, each a group of one table."""
    groups, rows = 600, 500
    rng = np.random.default_rng(11)
    table = draw(rng, groups * rows).append_column("g", pa.array(np.repeat(np.arange(groups), rows)))
    warehouse = open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb")))
    put(warehouse, "s.t", table, tmp_path)
    found = evaluate(warehouse, "s.t", label="y", by=["g"], **options)["groups"]
    varies = np.std([group[name] for group in found])
    told = np.sqrt(np.mean([group[f"{name}_se"] ** 2 for group in found]))
    assert told == pytest.approx(varies, rel=0.12)  # which 600 samples tell to 3 %, of heavy tails to 6 %
