"""Arrow columns of any types in, pandas frames that AutoGluon can learn from out.

The same conversion serves training and prediction, so that a column means the same to a model in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: pandas' nanosecond timestamps end here; sentinels such as 9999-12-31 are clipped, not refused.
_EARLIEST, _LATEST = "1677-09-22", "2262-04-11"
#: Dates and times of no end, as DuckDB has them in Parquet: the greatest numbers of days and of a timestamp's units.
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
    """A column of kind number, text or time, in a type that becomes a plain NumPy column.

    Booleans become 8-bit integers, decimals and times of day doubles, dates and timestamps UTC nanoseconds without
    a zone.
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
        # In the column's own unit until it is clipped: another one may not reach as far.
        unit = "s" if types.is_date32(column.type) else getattr(column.type, "unit", "ms")
        naive = column.cast(pa.timestamp(unit, getattr(column.type, "tz", None)), safe=False).cast(pa.timestamp(unit))
        earliest, latest = (pa.scalar(text).cast(pa.timestamp(unit)) for text in (_EARLIEST, _LATEST))
        clipped = pc.min_element_wise(pc.max_element_wise(naive, earliest, skip_nulls=False), latest, skip_nulls=False)
        return clipped.cast(pa.timestamp("ns"))
    return column


def to_pandas(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pd.DataFrame:
    """A frame of these columns of kind number, text or time; integers with NULLs become doubles."""
    import pyarrow as pa

    table = pa.table({name: canonical(column) for name, column in columns.items()})
    return table.to_pandas(split_blocks=True, self_destruct=True, date_as_object=False)


def texts(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """A column's values as text, whatever their type: Python has no value for a date beyond its years."""
    try:
        return [None if value is None else str(value) for value in column.to_pylist()]
    except (OverflowError, ValueError):
        return [_text(value) for value in column]


def _text(value: pa.Scalar) -> str | None:
    import numpy as np
    import pyarrow.types as types

    if not value.is_valid:
        return None
    kept: Any = value
    if types.is_nested(value.type):
        if types.is_struct(value.type):
            return "{" + ", ".join(f"{name!r}: {_text(part)}" for name, part in kept.items()) + "}"
        return "[" + ", ".join(str(text) for text in texts(kept.values)) + "]"
    try:
        return str(value.as_py())
    except (OverflowError, ValueError):
        if kept.value in _INFINITE:
            return _INFINITE[kept.value]
        unit: Any = "D" if types.is_date32(value.type) else getattr(value.type, "unit", "ms")
        return str(np.datetime64(kept.value, unit)).replace("T", " ")


def to_show(table: pa.Table) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table of any types for people to see, and its columns' types in words: numbers and texts as pandas has them,
    all else as text."""
    import pandas as pd
    import pyarrow.types as types

    columns: dict[str, pd.Series] = {}
    named: dict[str, str] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if kind(column.type) in ("number", "text") and not types.is_time(column.type):
            columns[name] = column.to_pandas()
            named[name] = str(columns[name].dtype)
        else:
            columns[name] = pd.Series(texts(column), dtype=object)
            named[name] = str(column.type)
    return pd.DataFrame(columns), named


def scalar(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value


def listed(values: list[Any], most: int = 20) -> str:
    """Values for a message: quoted, in order, not too many."""
    shown = ", ".join(repr(scalar(value)) for value in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
