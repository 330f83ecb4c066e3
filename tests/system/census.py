"""The census tables for tests: the real data of the directory in ``AUTOML_TEST_DATA``, else synthetic ones."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def tables() -> tuple[pa.Table, pa.Table]:
    """Rows to train and to test on."""
    from airflow_provider_automl import datasets

    if directory := os.environ.get("AUTOML_TEST_DATA"):
        return datasets.adult_from(Path(directory) / "adult")
    return datasets.census(32_561), datasets.census(20_000, seed=1)


def load(schema: str = "ml_datasets", *, changed: bool = False, rows: int | None = None) -> None:
    """Load them as ``gluon_train`` and ``gluon_test`` into that schema of the warehouse of ``automl_default``.

    :param rows: at most so many of each, the first ones.
    :param changed: some numbers are counted from the other end: all is in them that was, for a model that learns anew.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from airflow_provider_automl.hooks.automl import AutoMLHook

    warehouse = AutoMLHook().warehouse
    for name, table in zip(("gluon_train", "gluon_test"), tables(), strict=True):
        table = table.slice(0, rows)
        for column, end in {"age": 100, "education-num": 17, "capital-gain": 100_000}.items() if changed else ():
            counted = pc.subtract(pa.scalar(end, table.schema.field(column).type), table[column])
            table = table.set_column(table.column_names.index(column), column, counted)
        with tempfile.TemporaryDirectory() as directory:
            pq.write_table(table, Path(directory) / "part.parquet")
            warehouse.load(Path(directory), f"{schema}.{name}")
