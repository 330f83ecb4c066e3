"""Loading Parquet files into DuckDB, against ``DuckDBHook.insert_rows``, in rows per second.

``insert_rows`` inserts about a thousand rows per second, so it gets fewer rows: its rate does not depend on them.

    python -m benchmarks.load [--rows 1000000] [--their-rows 3000]
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from benchmarks._measure import Results, compare, scratch

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

#: The minimum ratio of our rows per second to theirs.
TARGET = 500


def predictions(rows: int) -> pa.Table:
    """Rows like those of a prediction: numbers, text, a label and a score."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    label = np.where(rng.random(rows) < 0.24, " >50K", " <=50K")
    return pa.table(
        {
            "age": rng.integers(17, 90, rows),
            "workclass": rng.choice(["Private", "State-gov", "Self-emp"], rows),
            "hours-per-week": rng.integers(1, 99, rows),
            "capital-gain": rng.normal(size=rows),
            "class": label,
            "predicted_class": label,
            "predicted_proba": rng.random(rows),
        }
    )


def hook_of(name: str) -> DuckDBHook:
    """A hook for a new file."""
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    path = scratch("load") / f"{name}.duckdb"
    path.unlink(missing_ok=True)
    hook = DuckDBHook(database=str(path))
    hook.airflow_connection = None
    logging.getLogger(hook.__class__.__module__).setLevel(logging.ERROR)
    return hook


def main() -> None:
    """Run the benchmark; exits 1 if the target is missed."""
    import pyarrow.parquet as pq

    from airflow_provider_automl.warehouse import open_warehouse

    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--their-rows", type=int, default=3_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    data = predictions(options.rows)
    files = scratch("load") / "files"
    files.mkdir(exist_ok=True)
    pq.write_table(data, files / "part-00000.parquet")
    warehouse = open_warehouse(hook_of("ours"))

    hook = hook_of("theirs")
    few = data.slice(0, options.their_rows)
    rows = [tuple(row.values()) for row in few.to_pylist()]
    columns = [f'"{name}"' for name in data.column_names]
    open_warehouse(hook).load(files, "predictions")

    def insert() -> None:
        hook.insert_rows("predictions", rows, target_fields=columns)

    times = compare(lambda: warehouse.load(files, "predictions"), insert, repeats=options.repeats)
    ours, theirs = options.rows / times.ours, len(rows) / times.theirs
    results = Results()
    note = f"{ours:,.0f} against {theirs:,.0f} rows/s, A/A spread {times.spread:.1%}"
    results.line("DuckDB load, rows per second", ours / theirs, TARGET, at_least=True, note=note)
    results.exit()


if __name__ == "__main__":
    main()
