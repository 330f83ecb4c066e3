"""A user's query gives the rows that it gives by itself, whatever sqlglot would make of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from tests.engines import Facts
from tests.warehouse.conformance import put
from tests.warehouse.conftest import Connect
from tests.warehouse.verbatim import lost, rows, texts

pytestmark = pytest.mark.timeout(1200)

#: Queries that cannot stand within another statement, each with why.
REFUSED: dict[str, dict[str, str]] = {
    "trino": {"VALUES (1, 'a'), (2, 'b')": "its columns have no names, by which another statement could read them"},
}


def by_itself(cursor: Any, text: str) -> Counter[str]:
    cursor.execute(text)
    return Counter(repr(tuple(row)) for row in cursor.fetchall())


def within(warehouse: Warehouse, cursor: Any, text: str) -> Counter[str]:
    """The rows as an unload reads them, within a session."""
    query = Query(text)
    with warehouse._explained(query):
        query.check(warehouse.dialect)
        warehouse._admit(cursor, query.text(warehouse.dialect))
        source = warehouse._source(query)
        columns = list(warehouse._columns(cursor, source))
        found = warehouse._fetch(cursor, "select", columns=columns, source=source, condition={})
    return Counter(repr(tuple(row.values())) for row in found)


def rewritten(warehouse: Warehouse, engine: str, text: str) -> Counter[str] | None:
    """The rows of what sqlglot writes; None: it does not read it, or the engine does not read what it writes."""
    try:
        (tree,) = sqlglot.parse(Query(text).text(engine), dialect=engine)
        assert tree is not None
        with warehouse._session() as cursor:  # its own: an error ends a transaction
            return by_itself(cursor, tree.sql(engine, comments=False))
    except Exception:
        return None


def check(warehouse: Warehouse, engine: str, tmp_path: Path) -> None:
    put(warehouse, "s.v", rows(), tmp_path)
    tried = list(texts(engine))
    wrong: list[str] = []
    refused: set[str] = set()
    expected: dict[str, Counter[str]] = {}
    with warehouse._session() as cursor:
        for text in tried:
            expected[text] = by_itself(cursor, Query(text).text(engine))
            try:
                if (found := within(warehouse, cursor, text)) != expected[text]:
                    wrong.append(f"{text}\n  by itself {expected[text]}\n  within    {found}")
            except InputError as error:
                refused.add(text)
                wrong += [] if text in REFUSED.get(engine, {}) else [f"{text}\n  is refused: {error}"]
    assert not wrong, "\n".join(wrong)
    assert len(refused) <= 5
    assert len(tried) >= 150
    disagreed = [text for text in lost(engine) if rewritten(warehouse, engine, text) != expected[text]]
    assert len(disagreed) >= 30, disagreed
    assert warehouse.count("s.v") == 12


def test_duckdb(connect: Connect, tmp_path: Path) -> None:
    check(open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb"))), "duckdb", tmp_path)


def test_postgres(connect: Connect, postgres_connection: dict[str, Any], tmp_path: Path) -> None:
    check(open_warehouse(connect(**postgres_connection)), "postgres", tmp_path)


@pytest.mark.shares("trino memory")
def test_trino(connect: Connect, trino_server: Facts, tmp_path: Path) -> None:
    connection = {"conn_type": "trino", "host": "127.0.0.1", "port": trino_server["port"], "login": "tester"}
    check(open_warehouse(connect(**connection, schema="s", extra={"catalog": "memory"})), "trino", tmp_path)


def test_hive(connect: Connect, hive_server: Facts, tmp_path: Path) -> None:
    connection = {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": hive_server["port"], "login": "tester"}
    check(open_warehouse(connect(**connection)), "hive", tmp_path)


def test_spark(connect: Connect, spark_server: Facts, tmp_path: Path) -> None:
    connection = {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": spark_server["port"], "login": "tester"}
    check(open_warehouse(connect(**connection)), "spark", tmp_path)
