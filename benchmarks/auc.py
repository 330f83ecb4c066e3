"""AUC with its interval in the warehouse, against pulling the columns and computing the same in Python.

The other side is the fastest way in Python: DuckDB through Arrow, scikit-learn's ``roc_auc_score``, and DeLong's
variance by sorted NumPy arrays. Both sides start from the same file and open their own connection.

    python -m benchmarks.auc [--rows 1000000 10000000 50000000]
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._measure import Results, compare, peak_rss, scratch

SHAPES = ("even", "bunched")
#: The maximum ratio of the two sides' times, by number of rows.
TARGETS = {1_000_000: 1.5, 10_000_000: 1.1}
#: From this many rows on, only the memory of our side is measured.
MEMORY_ONLY = 50_000_000
MEMORY_GIB = 4.0


def make(rows: int) -> Path:
    """Return a DuckDB file with one table per shape: all scores distinct, and a thousand distinct scores."""
    import duckdb

    path = scratch("auc") / f"{rows}.duckdb"
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with duckdb.connect(unfinished) as connection:
            connection.execute("SELECT setseed(0.5)")
            connection.execute(
                "CREATE TABLE even AS SELECT CASE WHEN y THEN ' >50K' ELSE ' <=50K' END AS label, "
                "1 / (1 + exp(1 - z - CASE WHEN y THEN 2 ELSE 0 END)) AS score FROM (SELECT random() < 0.24 AS y, "
                "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS z FROM range(?))",
                [rows],
            )
            connection.execute("CREATE TABLE bunched AS SELECT label, round(score * score, 3) AS score FROM even")
        unfinished.rename(path)
    return path


def ours(path: Path, shape: str) -> dict[str, Any]:
    """Evaluate in the warehouse, as the evaluation task does."""
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    from airflow_provider_automl.warehouse import open_warehouse
    from airflow_provider_automl.warehouse.measures import evaluate

    hook = DuckDBHook(database=str(path))
    hook.airflow_connection = None
    return evaluate(
        open_warehouse(hook), shape, label="label", problem_type="binary", score="score", positive_class=" >50K"
    )


def theirs(path: Path, shape: str) -> dict[str, float]:
    """Pull the columns through Arrow and evaluate in Python."""
    import duckdb
    import pyarrow.compute as pc
    from sklearn.metrics import roc_auc_score

    from tests.warehouse.delong import delong

    with duckdb.connect(path, read_only=True) as connection:
        data = connection.sql(f"SELECT label, score FROM {shape}").to_arrow_table()
    label = pc.equal(data["label"], " >50K").to_numpy()
    score = data["score"].to_numpy()
    return {"auroc": float(roc_auc_score(label, score)), "auroc_se": delong(label, score)[1]}


def main() -> None:
    """Run the benchmark; exits 1 if a target is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[*TARGETS, MEMORY_ONLY])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--once", choices=SHAPES, help="evaluate once on our side, and print the result")
    options = parser.parse_args()
    results = Results()
    for rows in options.rows:
        path = make(rows)
        for shape in [options.once] if options.once else SHAPES:
            name = f"AUC + interval, {rows / 1e6:g} M rows, {shape} scores"
            if options.once:
                print(ours(path, shape))
            elif rows >= MEMORY_ONLY:
                peak = peak_rss([sys.executable, "-m", "benchmarks.auc", "--rows", str(rows), "--once", shape]) / 2**30
                results.line(f"{name}: peak GiB", peak, MEMORY_GIB)
            else:
                got, expected = ours(path, shape), theirs(path, shape)
                tolerance = 1e-12 if rows <= 1_000_000 else 1e-10
                for metric in ("auroc", "auroc_se"):
                    difference = abs(got[metric] - expected[metric])
                    results.line(f"{name}: {metric} differs by", difference, tolerance)
                times = compare(partial(ours, path, shape), partial(theirs, path, shape), repeats=options.repeats)
                target = next((target for limit, target in TARGETS.items() if rows <= limit), max(TARGETS.values()))
                note = f"{times.ours:.2f} s against {times.theirs:.2f} s, A/A spread {times.spread:.1%}"
                results.line(f"{name}: time", times.ratio, target, note=note)
    results.exit()


if __name__ == "__main__":
    main()
