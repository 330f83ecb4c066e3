"""All metrics of a model in the warehouse, against pulling the columns and computing the same by scikit-learn.

The other side is the fastest way in Python: DuckDB through Arrow, scikit-learn's functions, and DeLong's variance by
sorted NumPy arrays. Both sides start from the same file and open their own connection.

    python -m benchmarks.measures [--rows 1000000 10000000]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._measure import Results, compare, peak_rss, scratch

#: The maximum ratio of the two sides' times.
TARGET_TIME = 1.0
#: GiB.
TARGET_MEMORY = 4.0
KINDS = ("binary", "regression")


def make(rows: int) -> Path:
    """Return a DuckDB file with labels, distinct scores, and numeric predictions."""
    import duckdb

    path = scratch("measures") / f"{rows}.duckdb"
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with duckdb.connect(unfinished) as connection:
            connection.execute("SELECT setseed(0.5)")
            connection.execute(
                "CREATE TABLE p AS SELECT CASE WHEN y THEN ' >50K' ELSE ' <=50K' END AS label, "
                "1 / (1 + exp(1 - z - CASE WHEN y THEN 2 ELSE 0 END)) AS score, 100 + 10 * z AS amount, "
                "100 + 10 * z + random() AS predicted FROM (SELECT random() < 0.24 AS y, "
                "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS z FROM range(?))",
                [rows],
            )
        unfinished.rename(path)
    return path


def ours(path: Path, kind: str) -> dict[str, Any]:
    """Evaluate in the warehouse, as the evaluation task does."""
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    from airflow_provider_automl.warehouse import open_warehouse
    from airflow_provider_automl.warehouse.measures import evaluate

    hook = DuckDBHook(database=str(path))
    hook.airflow_connection = None
    warehouse = open_warehouse(hook)
    if kind == "binary":
        return evaluate(warehouse, "p", label="label", problem_type=kind, score="score", positive_class=" >50K")
    return evaluate(warehouse, "p", label="amount", problem_type=kind, prediction="predicted")


def theirs(path: Path, kind: str) -> dict[str, float]:
    """Pull the columns through Arrow and evaluate in Python."""
    import duckdb
    import pyarrow.compute as pc
    from sklearn import metrics

    from tests.warehouse.delong import delong

    with duckdb.connect(path, read_only=True) as connection:
        columns = "label, score" if kind == "binary" else "amount, predicted"
        data = connection.sql(f"SELECT {columns} FROM p").to_arrow_table()
    if kind == "regression":
        y, predicted = (data[name].to_numpy() for name in ("amount", "predicted"))
        named: dict[str, Callable[..., float]] = {
            "rmse": metrics.root_mean_squared_error, "mse": metrics.mean_squared_error,
            "mae": metrics.mean_absolute_error, "mape": metrics.mean_absolute_percentage_error,
            "r2": metrics.r2_score, "median_absolute_error": metrics.median_absolute_error,
            "bias": lambda y, predicted: float(np.mean(predicted - y)),
        }  # fmt: skip
        return {name: float(function(y, predicted)) for name, function in named.items()}
    label = pc.equal(data["label"], " >50K").to_numpy()
    score = data["score"].to_numpy()
    decided = score >= 0.5
    return {
        "auroc": float(metrics.roc_auc_score(label, score)),
        "auroc_se": delong(label, score)[1],
        "average_precision": float(metrics.average_precision_score(label, score)),
        "log_loss": float(metrics.log_loss(label, score)),
        "brier": float(metrics.brier_score_loss(label, score)),
        "accuracy": float(metrics.accuracy_score(label, decided)),
        "precision": float(metrics.precision_score(label, decided)),
        "recall": float(metrics.recall_score(label, decided)),
        "f1": float(metrics.f1_score(label, decided)),
    }


def main() -> None:
    """Run the benchmark; exits 1 if a target is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", choices=[f"{side}-{kind}" for side in ("ours", "theirs") for kind in KINDS])
    options = parser.parse_args()
    results = Results()
    for rows in options.rows:
        path = make(rows)
        if options.once:
            side, kind = options.once.split("-")
            print({"ours": ours, "theirs": theirs}[side](path, kind))
            continue
        for kind in KINDS:
            name = f"all {kind} metrics, {rows / 1e6:g} M rows"
            got, expected = ours(path, kind), theirs(path, kind)
            worst = max(abs(got[each] - value) / max(1.0, abs(value)) for each, value in expected.items())
            results.line(f"{name}: differs by", worst, 1e-9)
            times = compare(partial(ours, path, kind), partial(theirs, path, kind), repeats=options.repeats)
            note = f"{times.ours:.2f} s against {times.theirs:.2f} s, A/A spread {times.spread:.1%}"
            results.line(f"{name}: time", times.ratio, TARGET_TIME, note=note)
            here = [sys.executable, "-m", "benchmarks.measures", "--rows", str(rows), "--once"]
            mine, other = (peak_rss([*here, f"{side}-{kind}"]) / 2**30 for side in ("ours", "theirs"))
            results.line(f"{name}: peak memory in GiB", mine, TARGET_MEMORY, note=f"the other side {other:.2f}")
    results.exit()


if __name__ == "__main__":
    main()
