"""Create the provider's tables, and the census tables for the examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.contracts import CensusTables, CreatedTables
from airflow_provider_automl.errors import InputError
from airflow_provider_automl.operators._base import AutoMLOperator
from airflow_provider_automl.parameters import parse_ratio
from airflow_provider_automl.task import TaskIdentity
from airflow_provider_automl.tracking.tables import REGISTRY_TABLES, RESULT_TABLES

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AutoMLCreateTablesOperator(AutoMLOperator):
    """Create the schema and this provider's tables if they are missing, and add columns missing in older tables.

    Running it again changes nothing. The model and alias tables are created in the schema that the connection sets.

    :param schema: the schema of the result tables; default: the connection's tracking schema.
    :returns: :class:`~airflow_provider_automl.contracts.CreatedTables`.
    """

    template_fields: Sequence[str] = (*AutoMLOperator.template_fields, "schema")

    def __init__(self, *, schema: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema
        self._remember_given()

    def perform(self, context: Context) -> CreatedTables:
        """Create what is missing."""
        results, registry = self.hook.tracking(self.schema), self.hook.registry
        results.create(RESULT_TABLES)
        registry.create(REGISTRY_TABLES)
        self.log.info(
            "Tables %s are in schema %s, the model registry in %s", RESULT_TABLES, results.schema, registry.schema
        )
        return {
            "schema": results.schema,
            "tables": [results.name(table) for table in RESULT_TABLES],
            "registry_schema": registry.schema,
        }


class AutoMLCensusTablesOperator(AutoMLOperator):
    """Load synthetic census-like tables if they are missing, so that the example DAGs run without further setup.

    An existing table is never changed. If one table exists and has other columns (a user's own data), a missing one is
    an error, because its name is probably mistyped.

    :param train_table: the table to train on.
    :param test_table: the table to predict and evaluate on.
    :param train_rows: number of rows of the training table; ``test_rows``: of the test table.
    :param drift: strength of the drift in the test table's population, from 0 (none) to 1.
    :param seed: seed of the generator.
    :returns: :class:`~airflow_provider_automl.contracts.CensusTables`.
    """

    template_fields: Sequence[str] = (*AutoMLOperator.template_fields, "train_table", "test_table", "drift")

    def __init__(
        self,
        *,
        train_table: str | None = None,
        test_table: str,
        train_rows: int = 32_561,
        test_rows: int = 20_000,
        drift: float | str = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.train_table = train_table
        self.test_table = test_table
        self.train_rows = train_rows
        self.test_rows = test_rows
        self.drift = drift
        self.seed = seed
        self._remember_given()

    def perform(self, context: Context) -> CensusTables:
        """Load what is missing."""
        wanted = [(self.test_table, self.test_rows, parse_ratio(self.drift, "drift"), self.seed + 1)]
        if self.train_table is not None:
            wanted.insert(0, (self.train_table, self.train_rows, 0.0, self.seed))
        present = [table for table, *_ in wanted if self.hook.warehouse.exists(table)]
        for table in present:
            self.log.info("%s exists: unchanged", table)
        missing = [spec for spec in wanted if spec[0] not in present]
        for table, rows, drift, seed in missing:
            self._load(TaskIdentity.of(context), table, rows, drift, seed, existing=present)
            self.log.info("%s was missing: loaded %d synthetic rows with drift %g", table, rows, drift)
        created = [table for table, *_ in missing]
        return {"train_table": self.train_table, "test_table": self.test_table, "created": created}

    def _load(self, task: TaskIdentity, table: str, rows: int, drift: float, seed: int, *, existing: list[str]) -> None:
        try:
            import numpy  # noqa: F401  (datasets needs it)
            import pyarrow.parquet as pq
        except ImportError as error:
            raise InputError(
                f"Loading synthetic data into {table} requires pyarrow and numpy ({error}): pip install "
                "'airflow-provider-automl[duckdb]' (or your warehouse's extra), or create the table yourself."
            ) from error

        from airflow_provider_automl.datasets import census

        data = census(rows, drift=drift, seed=seed)
        for other in existing:
            if not set(data.column_names) <= set(self.hook.warehouse.columns(other)):
                self.hook.warehouse.columns(table)  # raises: next to a user's own table, a missing name is a typo
        with self.work_directory(task) as work:
            pq.write_table(data, work / "census.parquet")  # type: ignore[no-untyped-call]
            self.hook.warehouse.load(work, table, key=task.key)
