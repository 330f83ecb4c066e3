"""Directories of Parquet part files, as warehouses unload and load them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs.errors import JobInputError

if TYPE_CHECKING:
    import pyarrow as pa


class Parts:
    """The Parquet files of a directory, sorted by name; all have the schema of the first.

    :raises JobInputError: the directory has no Parquet file.
    """

    def __init__(self, directory: str | Path) -> None:
        import pyarrow.parquet as pq

        self.files = sorted(Path(directory).glob("*.parquet"))
        if not self.files:
            raise JobInputError(f"There is no Parquet file in {directory}.")
        self.schema: pa.Schema = pq.read_schema(self.files[0]).remove_metadata()  # type: ignore[no-untyped-call]
        self.rows: int = sum(pq.read_metadata(file).num_rows for file in self.files)  # type: ignore[no-untyped-call]

    def read(self, columns: Sequence[str]) -> pa.Table:
        """All rows at once."""
        import pyarrow.parquet as pq

        dataset: Any = pq.ParquetDataset(self.files)  # type: ignore[no-untyped-call]
        return dataset.read(columns=list(columns))

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """All rows in order, at most ``rows`` at a time."""
        import pyarrow.parquet as pq

        for path in self.files:
            with pq.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
                for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                    if len(batch):
                        yield batch


def writer(path: Path, schema: pa.Schema) -> Any:
    """Open a Parquet file to write tables of that schema to; close it, or use it as a context manager."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema)  # type: ignore[no-untyped-call]


def write(table: pa.Table, path: Path) -> None:
    """Write one table into one file."""
    with writer(path, table.schema) as file:
        file.write_table(table)
