"""Column types: conversions between the engines' types, neutral ones (in DuckDB's spelling) and Arrow's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

_ALIASES = {
    "TEXT": "VARCHAR",
    "INT": "INTEGER",
    "CHAR": "VARCHAR",
    "BPCHAR": "VARCHAR",
    "INT128": "HUGEINT",
    "UINT128": "UHUGEINT",
}


def neutral_type(text: str, dialect: str, precision: object = None, scale: object = None) -> str:
    """Return an engine's type in the neutral spelling, such as ``BIGINT``, ``DECIMAL(18,3)`` or ``TIMESTAMP``.

    Text lengths are dropped. Nested types keep their field names; types unknown to sqlglot are returned in upper case.

    :param precision: of a decimal, if the engine reports it separately. A decimal without precision is ``DECIMAL``.
    """
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    if precision is not None and text.lower() in ("numeric", "decimal"):
        return f"DECIMAL({precision},{scale or 0})"
    if text.lower() in ("numeric", "decimal"):
        return "DECIMAL"
    try:
        name = exp.DataType.build(text, dialect=dialect).sql(dialect="duckdb")
    except SqlglotError:
        return text.upper()
    if match := re.fullmatch(r"(\w+)(?:\((\d+)(?:, *(\d+))?\))?", name):
        kind = _ALIASES.get(match[1].upper(), match[1].upper())
        return f"DECIMAL({match[2]},{match[3] or 0})" if kind == "DECIMAL" and match[2] else kind
    return name


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Return the Arrow schema for columns with neutral types.

    A decimal without precision becomes a double; types without a plain Arrow type (arrays, JSON, UUID) become text.
    """
    import pyarrow as pa

    return pa.schema([pa.field(name, _arrow_type(kind)) for name, kind in columns.items()])


def neutral_columns(schema: pa.Schema) -> dict[str, str]:
    """Return the columns and neutral types of an Arrow schema. Lists and structs become text."""
    return {field.name: _neutral_of_arrow(field.type) for field in schema}


def record_batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Convert a driver's rows to an Arrow batch of the given schema."""
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)

    def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        try:
            return pa.array(values, type=kind)  # five times as fast, if the driver's values fit the Arrow type
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
            return pa.array([_to_arrow(value, kind) for value in values], type=kind)

    arrays = [array(values, field.type) for field, values in zip(schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrow_type(kind: str) -> pa.DataType:
    import pyarrow as pa

    plain = {
        "BOOLEAN": pa.bool_(),
        "TINYINT": pa.int8(),
        "SMALLINT": pa.int16(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "REAL": pa.float32(),
        "DOUBLE": pa.float64(),
        "DECIMAL": pa.float64(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
        "BLOB": pa.binary(),
    }
    if kind in plain:
        return plain[kind]
    if match := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind):
        precision, scale = int(match[1]), int(match[2])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.float64()
    return pa.string()


def _neutral_of_arrow(kind: pa.DataType) -> str:
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return _neutral_of_arrow(kind.value_type)
    if t.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if t.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
    for test, name in (
        (t.is_boolean, "BOOLEAN"),
        (t.is_int8, "TINYINT"),
        (lambda k: t.is_int16(k) or t.is_uint8(k), "SMALLINT"),
        (lambda k: t.is_int32(k) or t.is_uint16(k), "INTEGER"),
        (lambda k: t.is_int64(k) or t.is_uint32(k), "BIGINT"),
        (t.is_uint64, "DECIMAL(20,0)"),
        (lambda k: t.is_float16(k) or t.is_float32(k), "REAL"),
        (t.is_float64, "DOUBLE"),
        (t.is_date, "DATE"),
        (lambda k: t.is_binary(k) or t.is_large_binary(k) or t.is_fixed_size_binary(k), "BLOB"),
    ):
        if test(kind):
            return name
    return "VARCHAR"


def _to_arrow(value: Any, kind: pa.DataType) -> Any:
    """Convert a driver's value to one that pyarrow accepts for a type."""
    import pyarrow.types as t

    if value is None:
        return None
    if t.is_string(kind):
        return value if isinstance(value, str) else _text(value)
    if t.is_floating(kind):
        return float(value)
    if t.is_boolean(kind):
        return bool(value)
    if t.is_binary(kind):
        return bytes(value)
    return value


def _text(value: Any) -> str:
    import json

    return json.dumps(value, default=str) if isinstance(value, (dict, list, tuple)) else str(value)


def driver_rows(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    """Convert an Arrow batch to tuples of Python values for database drivers."""
    import pyarrow as pa
    import pyarrow.types as t

    columns = []
    for array in batch.columns:
        if t.is_timestamp(array.type) and array.type.unit == "ns":
            array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False)
        values = array.to_pylist()
        columns.append([_text(v) if isinstance(v, (dict, list)) else v for v in values])
    return list(zip(*columns, strict=True))


def cast_text(value: object) -> str | None:
    """Return a driver's value as text that a CAST parses exactly: bytes as hexadecimal digits, times in UTC."""
    from datetime import UTC, datetime
    from decimal import Decimal

    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat(sep=" ")
    return str(value)
