"""Directories of Parquet part files, as the warehouse unloads and loads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs.errors import JobInputError

if TYPE_CHECKING:
    import pyarrow as pa


class Parts:
    """The Parquet files of a directory, in the order of their names; all have the first one's columns.

    :raises JobInputError: there is none.
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
        """All rows in order, at most so many at a time."""
        import pyarrow.parquet as pq

        for path in self.files:
            with pq.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
                for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                    if len(batch):
                        yield batch


def writer(path: Path, schema: pa.Schema) -> Any:
    """A Parquet file to write tables of that schema to; to be closed, or used as a context."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema)  # type: ignore[no-untyped-call]


def write(table: pa.Table, path: Path) -> None:
    """One table into one file."""
    with writer(path, table.schema) as file:
        file.write_table(table)
