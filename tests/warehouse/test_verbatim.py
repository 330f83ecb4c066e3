"""A user's query gives the rows that it gives by itself, whatever sqlglot would make of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot.errors import SqlglotError

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

#: So many expressions are asked for at once where a statement is dear.
AT_ONCE = {"trino": 10, "hive": 10, "spark": 10}


def by_itself(cursor: Any, text: str) -> list[tuple[Any, ...]]:
    cursor.execute(text)
    return [tuple(row) for row in cursor.fetchall()]


def within(warehouse: Warehouse, cursor: Any, text: str) -> list[tuple[Any, ...]]:
    """The rows as an unload reads them, within a session."""
    query = Query(text)
    with warehouse._explained(query):
        query.check(warehouse.dialect)
        warehouse._admit(cursor, query.text(warehouse.dialect))
        source = warehouse._source(query)
        columns = list(warehouse._columns(cursor, source))
        found = warehouse._fetch(cursor, "select", columns=columns, source=source, condition={})
    return [tuple(row.values()) for row in found]


def rewritten(warehouse: Warehouse, engine: str, text: str) -> Counter[str] | None:
    """The rows of what sqlglot writes; None: it does not read it, or the engine does not read what it writes."""
    try:
        (tree,) = sqlglot.parse(Query(text).text(engine), dialect=engine)
        assert tree is not None
        with warehouse._session() as cursor:  # its own: an error ends a transaction
            return Counter(map(repr, by_itself(cursor, tree.sql(engine, comments=False))))
    except Exception:
        return None


def parsed(engine: str, text: str) -> bool:
    """Whether sqlglot reads it."""
    try:
        return len(sqlglot.parse(Query(text).text(engine), dialect=engine)) == 1
    except SqlglotError:
        return False


def groups(engine: str) -> Iterator[list[str]]:
    """The queries; of a slow engine, several expressions at once, apart by whether sqlglot reads them."""
    together: dict[bool, list[str]] = {True: [], False: []}
    for text in texts(engine):
        if engine in AT_ONCE and expression(text):
            together[parsed(engine, text)].append(text)
        else:
            yield [text]
    size = AT_ONCE.get(engine, 1)
    for found in together.values():
        yield from (found[i : i + size] for i in range(0, len(found), size))


def expression(text: str) -> str | None:
    """That of a query of one expression of each row."""
    found = re.fullmatch(r"SELECT id, (.*) AS v FROM s\.v", text, re.DOTALL)
    return found[1] if found else None


def merged(group: list[str]) -> str:
    if len(group) == 1:
        return group[0]
    return f"SELECT id, {', '.join(f'{expression(text)} AS v{i}' for i, text in enumerate(group))} FROM s.v"


def apart(group: list[str], found: list[tuple[Any, ...]]) -> dict[str, Counter[str]]:
    """The rows of each query of a group."""
    if len(group) == 1:
        return {group[0]: Counter(map(repr, found))}
    return {text: Counter(repr((row[0], row[i])) for row in found) for i, text in enumerate(group, start=1)}


def check(warehouse: Warehouse, engine: str, tmp_path: Path) -> None:
    put(warehouse, "s.v", rows(), tmp_path)
    wrong: list[str] = []
    refused: set[str] = set()
    expected: dict[str, Counter[str]] = {}
    todo = list(groups(engine))
    with warehouse._session() as cursor:
        while todo:
            group = todo.pop()
            try:
                answers = apart(group, by_itself(cursor, Query(merged(group)).text(engine)))
                found = apart(group, within(warehouse, cursor, merged(group)))
            except Exception as error:
                if len(group) > 1:
                    todo += [[text] for text in group]
                    continue
                if not isinstance(error, InputError):
                    raise
                refused.update(group)
                wrong += [] if group[0] in REFUSED.get(engine, {}) else [f"{group[0]}\n  is refused: {error}"]
            else:
                for text in group:
                    if found[text] != answers[text]:
                        wrong.append(f"{text}\n  by itself {answers[text]}\n  within    {found[text]}")
            expected |= answers
    assert not wrong, "\n".join(wrong)
    assert len(refused) <= 5
    assert len(expected) >= 150
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
