"""Convert Arrow columns of any type to pandas frames for AutoGluon.

Training and prediction use the same conversion, so a column means the same to a model in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import listing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: The range of pandas' nanosecond timestamps; sentinels such as 9999-12-31 are clipped, not rejected.
_EARLIEST, _LATEST = "1677-09-22", "2262-04-11"
#: Infinite dates and timestamps as DuckDB writes them to Parquet: the extreme numbers of days and of timestamp units.
_INFINITE = {2**31 - 1: "infinity", 1 - 2**31: "-infinity", 2**63 - 1: "infinity", 1 - 2**63: "-infinity"}


def kind(arrow_type: pa.DataType) -> str:
    """``number`` (integers, floats, decimals, booleans), ``text``, ``time`` (dates, timestamps) or ``other``."""
    import pyarrow.types as types

    if types.is_dictionary(arrow_type):
        return kind(arrow_type.value_type)
    if types.is_boolean(arrow_type) or types.is_integer(arrow_type) or types.is_floating(arrow_type):
        return "number"
    if types.is_decimal(arrow_type) or types.is_duration(arrow_type) or types.is_time(arrow_type):
        return "number"
    if types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type):
        return "text"
    if types.is_date(arrow_type) or types.is_timestamp(arrow_type):
        return "time"
    return "other"


def canonical(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A column of kind number, text or time, cast to a type that converts to a plain NumPy column.

    Booleans become 8-bit integers, decimals and times of day become doubles, dates and timestamps become UTC
    nanoseconds without a time zone.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_boolean(column.type):
        return column.cast(pa.int8())
    if types.is_decimal(column.type) or types.is_float16(column.type):
        return column.cast(pa.float64())
    if types.is_time32(column.type):
        return column.cast(pa.int32()).cast(pa.float64())
    if types.is_time64(column.type) or types.is_duration(column.type):
        return column.cast(pa.int64()).cast(pa.float64())
    if kind(column.type) == "time":
        # Clip in the column's own unit: the range of another unit may be smaller.
        unit = "s" if types.is_date32(column.type) else getattr(column.type, "unit", "ms")
        naive = column.cast(pa.timestamp(unit, getattr(column.type, "tz", None)), safe=False).cast(pa.timestamp(unit))
        earliest, latest = (pa.scalar(text).cast(pa.timestamp(unit)) for text in (_EARLIEST, _LATEST))
        clipped = pc.min_element_wise(pc.max_element_wise(naive, earliest, skip_nulls=False), latest, skip_nulls=False)
        return clipped.cast(pa.timestamp("ns"))
    return column


def to_pandas(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pd.DataFrame:
    """A frame of columns of kind number, text or time; integers with NULLs become doubles."""
    import pyarrow as pa

    table = pa.table({name: canonical(column) for name, column in columns.items()})
    return table.to_pandas(split_blocks=True, self_destruct=True, date_as_object=False)


def texts(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """A column's values as text, whatever their type, including dates outside Python's range."""
    try:
        return [None if value is None else str(value) for value in column.to_pylist()]
    except (OverflowError, ValueError):
        return [_text(value) for value in column]


def _text(value: pa.Scalar) -> str | None:
    import numpy as np
    import pyarrow.types as types

    if not value.is_valid:
        return None
    stored: Any = value
    if types.is_nested(value.type):
        if types.is_struct(value.type):
            return "{" + ", ".join(f"{name!r}: {_text(part)}" for name, part in stored.items()) + "}"
        return "[" + ", ".join(str(text) for text in texts(stored.values)) + "]"
    try:
        return str(value.as_py())
    except (OverflowError, ValueError):
        if stored.value in _INFINITE:
            return _INFINITE[stored.value]
        unit: Any = "D" if types.is_date32(value.type) else getattr(value.type, "unit", "ms")
        return str(np.datetime64(stored.value, unit)).replace("T", " ")


def to_show(table: pa.Table) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table of any types as a frame to display, and the names of its columns' types.

    Numbers and text keep their pandas types; all other types become text.
    """
    import pandas as pd
    import pyarrow.types as types

    columns: dict[str, pd.Series] = {}
    type_names: dict[str, str] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if kind(column.type) in ("number", "text") and not types.is_time(column.type):
            columns[name] = column.to_pandas()
            type_names[name] = str(columns[name].dtype)
        else:
            columns[name] = pd.Series(texts(column), dtype=object)
            type_names[name] = str(column.type)
    return pd.DataFrame(columns), type_names


def scalar(value: Any) -> Any:
    """A NumPy scalar as a Python scalar."""
    return value.item() if hasattr(value, "item") else value


def listed(values: list[Any], limit: int = 20) -> str:
    """Values for a message: quoted, in order, cut after ``limit`` with a count of the rest."""
    return listing((repr(scalar(value)) for value in values), limit)
