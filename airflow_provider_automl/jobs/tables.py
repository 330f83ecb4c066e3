"""Tables that a training exports: the leaderboard (one row per model) and the feature importance (one per feature)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs import parquet
from airflow_provider_automl.jobs.files import strict

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def leaderboard(frame: pd.DataFrame, identity: Mapping[str, str]) -> pa.Table:
    """AutoGluon's leaderboard with extra information; values other than numbers and text become JSON text."""
    return _table(frame, identity)


def feature_importance(frame: pd.DataFrame, identity: Mapping[str, str]) -> pa.Table:
    """The feature importance, with columns index (the feature), importance, stddev, p_value, n, p99_high, p99_low."""
    return _table(frame.rename_axis("index").reset_index(), identity)


def write(table: pa.Table, directory: Path) -> str:
    """Write one Parquet file into a new directory; returns the directory."""
    directory.mkdir(parents=True)
    parquet.write(table, directory / "part-00000.parquet")
    return str(directory)


def _table(frame: pd.DataFrame, identity: Mapping[str, str]) -> pa.Table:
    """A table whose types do not depend on the values: booleans, 64-bit integers, doubles and text."""
    import pandas as pd
    import pyarrow as pa

    columns: dict[str, Any] = {name: pa.array([value] * len(frame), pa.string()) for name, value in identity.items()}
    for name, column in frame.items():
        if pd.api.types.is_bool_dtype(column.dtype):
            columns[str(name)] = pa.array(column, pa.bool_())
        elif pd.api.types.is_integer_dtype(column.dtype):
            columns[str(name)] = pa.array(column, pa.int64())
        elif pd.api.types.is_float_dtype(column.dtype):
            columns[str(name)] = pa.array(column.astype(float), pa.float64(), from_pandas=True)
        else:
            columns[str(name)] = pa.array([_text(value) for value in column], pa.string())
    return pa.table(columns)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    value = strict(sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)
    return None if value is None else json.dumps(value, allow_nan=False, ensure_ascii=False)
