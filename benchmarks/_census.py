"""Large census-like tables for the benchmarks, made once and kept."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_automl.hooks.automl import AutoMLHook
from benchmarks._measure import scratch

#: Fixed, so that both sides fit the same: no time limit is set anywhere.
HYPERPARAMETERS = {"GBM": {"num_boost_round": 300}, "XGB": {"n_estimators": 300}}
TARGET, POSITIVE = "class", " >50K"


def home() -> Path:
    """The AIRFLOW_HOME of the benchmarks."""
    return scratch("airflow")


def database() -> Path:
    """The embedded warehouse's file there."""
    return home() / "automl" / "warehouse.duckdb"


def table(rows: int) -> str:
    """The name of a table of so many synthetic rows, which is made if it is missing."""
    import pyarrow.parquet as pq

    from airflow_provider_automl.datasets import census

    name = f"census.rows_{rows}"
    warehouse = AutoMLHook().warehouse
    if not warehouse.exists(name):
        part, size = scratch("census"), 500_000
        for old in part.iterdir():
            old.unlink()
        for start in range(0, rows, size):
            pq.write_table(census(min(size, rows - start), seed=start), part / f"{start:012d}.parquet")
        warehouse.load(part, name)
    return name
