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
        unit = "s" if types.is_date32(column.type) else "us"
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


def scalar(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value


def listed(values: list[Any], most: int = 20) -> str:
    """Values for a message: quoted, in order, not too many."""
    shown = ", ".join(repr(scalar(value)) for value in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
