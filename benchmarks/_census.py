"""Large census-like tables for the benchmarks, created once and kept."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks._measure import scratch

#: Fixed and without a time limit, so that both sides fit the same models.
HYPERPARAMETERS = {"GBM": {"num_boost_round": 300}, "XGB": {"n_estimators": 300}}
TARGET, POSITIVE = "class", " >50K"


def home() -> Path:
    """The AIRFLOW_HOME of the benchmarks."""
    return scratch("airflow")


def database() -> Path:
    """The file of the embedded warehouse in :func:`home`."""
    return home() / "automl" / "warehouse.duckdb"


def table(rows: int) -> str:
    """The name of a table with ``rows`` synthetic rows, created if missing."""
    import pyarrow.parquet as pq

    from airflow_provider_automl.datasets import census
    from airflow_provider_automl.hooks.automl import AutoMLHook

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


def census_files(rows: int) -> Path:
    """A directory of Parquet files with ``rows`` rows, created if missing.

    The rows are those of the real census in ``AUTOML_TEST_DATA``, repeated, or else synthetic ones.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.system.census import tables

    kind = "real" if os.environ.get("AUTOML_TEST_DATA") else "synthetic"
    directory = scratch(f"census-files/{kind}-{rows}")
    if not any(directory.iterdir()):
        train, _ = tables()
        unfinished = directory.with_suffix(".unfinished")
        size = 1_000_000
        unfinished.mkdir(exist_ok=True)
        for start in range(0, rows, size):
            wanted = min(size, rows - start)
            part = pa.concat_tables([train] * -(-wanted // train.num_rows)).slice(0, wanted)
            pq.write_table(part, unfinished / f"part-{start // size:05}.parquet")
        directory.rmdir()
        unfinished.rename(directory)
    return directory
