"""An exact uniqueness check of a column, in constant memory.

Every value becomes 8 bytes: the bits of a number, or a hash of anything else. These are partitioned by value into
files that are small enough to sort in memory. Where two hashes are equal, the values themselves are compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.frames import kind, texts
from airflow_provider_automl.jobs.parquet import Parts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ROWS_PER_FILE = 8_000_000
_BATCH_ROWS = 1 << 18


def check(parts: Parts, column: str, scratch: Path) -> None:
    """Check that ``column`` has no NULL and no duplicate.

    :param scratch: a directory for temporary files, 8 bytes per row.
    :raises JobInputError: there are NULLs (the message counts them) or duplicates (the message shows one).
    """
    buckets = 1 + parts.rows // _ROWS_PER_FILE
    fix = "set rowid_column to a column with a unique, non-NULL value per row"
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        paths = [Path(directory, str(bucket)) for bucket in range(buckets)]
        nulls = 0
        for values in _batches(parts, column):
            nulls += values.null_count
            _spread(_bits(values), paths)
        if nulls:
            raise JobInputError(f"The row id column {column!r} is NULL in {nulls:,} of {parts.rows:,} rows: {fix}.")
        candidates = _repeated(paths)
    if len(candidates) and (value := _first_duplicate(parts, column, candidates)) is not None:
        raise JobInputError(f"The row id column {column!r} has {value[0]!r} in more than one row: {fix}.")


def _batches(parts: Parts, column: str) -> Iterator[pa.Array]:
    import pyarrow as pa
    import pyarrow.compute as pc

    for batch in parts.batches([column], _BATCH_ROWS):
        values = batch.column(0)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_floating(values.type):  # NaN counts as NULL, and -0.0 equals 0.0
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), pc.add(values, 0.0))
        yield values


def _bits(values: pa.Array) -> np.ndarray:
    """8 bytes per value; equal values have equal bytes."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if kind(values.type) == "time":
        width = pa.int32() if pa.types.is_date32(values.type) else pa.int64()
        values = values.cast(width)
    if pa.types.is_integer(values.type):
        bits: np.ndarray = values.drop_null().to_numpy(zero_copy_only=False).astype(np.uint64, casting="unsafe")
        return bits
    if kind(values.type) == "other":
        written = np.array(texts(values.drop_null()), dtype=object)
    else:
        written = values.drop_null().cast(pa.string()).to_numpy(zero_copy_only=False)
    hashes: np.ndarray = pd.util.hash_array(written, categorize=False)
    return hashes


def _spread(bits: np.ndarray, paths: Sequence[Path]) -> None:
    import numpy as np

    mixed = bits * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)  # spreads consecutive numbers evenly
    bucket = mixed % np.uint64(len(paths))
    for index, path in enumerate(paths):
        with path.open("ab") as file:
            bits[bucket == index].tofile(file)


def _repeated(paths: Sequence[Path]) -> np.ndarray:
    import numpy as np

    found = []
    for path in paths:
        bits = np.fromfile(path, dtype=np.uint64)
        bits.sort()
        found.append(np.unique(bits[1:][bits[1:] == bits[:-1]])[:1000])
    return np.concatenate(found)


def _first_duplicate(parts: Parts, column: str, candidates: np.ndarray) -> tuple[Any] | None:
    """The first value that occurs twice among those with the bytes of ``candidates``."""
    import numpy as np

    seen: set[Any] = set()
    for values in _batches(parts, column):
        found = values.filter(np.isin(_bits(values), candidates))
        for value in found.to_pylist() if kind(values.type) in ("number", "text") else texts(found):
            if value in seen:
                return (value,)
            seen.add(value)
    return None
