"""Engines for the conformance suite, each reached as a deployment reaches it: by an Airflow connection."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines import BESIDE, ENGINES, Facts, Missing, engine, required

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


def _server(name: str, factory: pytest.TempPathFactory, **beside: Facts) -> Iterator[Facts]:
    """A server of this run's own, with its logs in pytest's temporary directory.

    Where it cannot be had, the test is skipped, or fails if ``AUTOML_REQUIRE_ENGINES`` names the engine.
    """
    try:
        ENGINES[name].install()
    except Missing as missing:
        (pytest.fail if name in required() else pytest.skip)(str(missing))
    with engine(name, home=factory.mktemp(name), beside=beside) as facts:
        yield facts


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Postgres: port, host, login, schema."""
    yield from _server("postgres", tmp_path_factory)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """S3: endpoint, bucket, region, access_key, secret_key."""
    yield from _server("s3", tmp_path_factory)


@pytest.fixture(scope="session")
def hive_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Hive: port, metastore, dir."""
    yield from _server("hive", tmp_path_factory)


@pytest.fixture(scope="session")
def spark_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Spark's Thrift server: port, dir."""
    yield from _server("spark", tmp_path_factory)


@pytest.fixture(scope="session")
def trino_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Trino: port, catalogs, staging. Its catalogs are over the other servers, as far as these can be had."""
    beside = {}
    for name in BESIDE.values():
        with suppress(pytest.skip.Exception):
            beside[name] = request.getfixturevalue(f"{name}_server")
    yield from _server("trino", tmp_path_factory, **beside)


@pytest.fixture
def postgres_connection(postgres_server: Facts) -> Iterator[dict[str, Any]]:
    """A fresh database of that server, as an Airflow connection."""
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
    yield {"conn_type": "postgres", **server, "login": "postgres", "schema": name}
    administer(f"DROP DATABASE {name} WITH (FORCE)")
