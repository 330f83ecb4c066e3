"""The warehouse: a SQL database that holds the tables, reached through an Airflow connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse.base import Capabilities, Warehouse
from airflow_provider_automl.warehouse.query import Query

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

__all__ = ["Capabilities", "Query", "Warehouse", "open_warehouse"]


def open_warehouse(hook: DbApiHook, *, lock_timeout: float = 600.0, staging: str | None = None) -> Warehouse:
    """Return the warehouse for a hook. This is the only place that distinguishes engines.

    :param hook: a hook of the common-sql provider, as returned by ``BaseHook.get_hook(conn_id)``.
    :param lock_timeout: seconds to wait for a lock of another process, such as that of DuckDB's file.
    :param staging: a URI or directory that the engine's servers and this process both reach, to exchange rows as files;
        None: use the cursor. DuckDB and Postgres do not need it.
    :raises InputError: the connection's type is not supported.
    """
    if hook.conn_type == "duckdb":
        from airflow_provider_automl.warehouse.duckdb import DuckDBWarehouse

        return DuckDBWarehouse(hook, dialect="duckdb", lock_timeout=lock_timeout)
    if hook.conn_type == "postgres":
        from airflow_provider_automl.warehouse.postgres import PostgresWarehouse

        return PostgresWarehouse(hook, dialect="postgres", lock_timeout=lock_timeout)
    if hook.conn_type == "trino":
        from airflow_provider_automl.warehouse.trino import TrinoWarehouse

        return TrinoWarehouse(hook, lock_timeout=lock_timeout, staging=staging)
    if hook.conn_type == "hiveserver2":
        from airflow_provider_automl.warehouse.hive import open_hive

        return open_hive(hook, lock_timeout=lock_timeout, staging=staging)
    raise InputError(
        f"The connection {hook.get_conn_id()} is of type {hook.conn_type}, which is not supported: use a connection of "
        "type duckdb, postgres, trino or hiveserver2 (Hive or Spark)."
    )
