"""Engines for the conformance suite, each reached as a deployment reaches it: by an Airflow connection."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines import Facts

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


@pytest.fixture
def postgres_connection(postgres_server: Facts) -> Iterator[dict[str, Any]]:
    """A fresh database of that server, as an Airflow connection."""
    with fresh_database(postgres_server) as connection:
        yield connection


@contextmanager
def fresh_database(postgres_server: Facts) -> Iterator[dict[str, Any]]:
    """Create a database on a Postgres server, yield it as an Airflow connection, and drop it."""
    import psycopg2

    name = f"test_{uuid.uuid4().hex}"
    server = {key: postgres_server[key] for key in ("host", "port")}

    def administer(statement: str) -> None:
        connection = psycopg2.connect(**server, user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    administer(f"CREATE DATABASE {name}")
    try:
        yield {"conn_type": "postgres", **server, "login": "postgres", "schema": name}
    finally:
        administer(f"DROP DATABASE {name} WITH (FORCE)")
