# ruff: noqa: E501 - lists of queries
"""What a user's query, or a table's name, must not reach: each case with a canary that would be seen."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.measures import evaluate
from tests.system.server import REPO
from tests.warehouse.conformance import numbers, put, take
from tests.warehouse.conftest import Connect

CANARY = "canary_7f3a"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A directory with files that hold the canary."""
    directory = tmp_path / "secret"
    directory.mkdir()
    (directory / "s.csv").write_text(f"a\n{CANARY}\n")
    pq.write_table(pa.table({"a": [CANARY]}), directory / "s.parquet")
    return directory


@pytest.fixture
def duckdb(connect: Connect, tmp_path: Path) -> Warehouse:
    warehouse = open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb")), lock_timeout=5)
    put(warehouse, "s.t", numbers(3), tmp_path)
    return warehouse


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_text('{dir}/s.csv')", "SELECT * FROM read_csv('{dir}/s.csv')", "SELECT * FROM '{dir}/s.csv'",
        "SELECT * FROM read_parquet('{dir}/*.parquet')", "FROM '{dir}/s.parquet'", "SELECT * FROM read_blob('{dir}/s.csv')",
        "SELECT * FROM glob('{dir}/*')", "SELECT * FROM parquet_metadata('{dir}/s.parquet')", "SELECT * FROM sniff_csv('{dir}/s.csv')",
        'SELECT * FROM "{dir}/s.csv"', 'SELECT * FROM "{dir}/"."s"."csv"', "SELECT (SELECT content FROM read_text('{dir}/s.csv')) AS a",
        "SELECT * FROM query('SELECT * FROM read_text(''{dir}/s.csv'')')", "SELECT * FROM query_table(['{dir}/s.csv'])",
        "WITH a AS (SELECT * FROM read_text('{dir}/s.csv')) SELECT * FROM a", "SELECT * FROM read_csv('https://127.0.0.1:1/s.csv')",
        "SELECT * FROM s.t ORDER BY (SELECT content FROM read_text('{dir}/s.csv'))", "SELECT * FROM read_json('{dir}/s.csv')",
        "SELECT * FROM python_object", "SELECT * FROM enable_logging(storage = 'file')", "SELECT * FROM duckdb_logs_parsed('{dir}')",
    ],
)  # fmt: skip
def test_a_query_on_duckdb_reaches_no_file(duckdb: Warehouse, secret: Path, tmp_path: Path, text: str) -> None:
    python_object = pa.table({"a": [CANARY]})
    assert python_object.num_rows == 1
    query = Query(text.replace("{dir}", str(secret)))
    for work in (duckdb.count, duckdb.columns, lambda found: duckdb.unload(found, tmp_path / "out")):
        said: object = 0
        try:
            said = work(query)
        except InputError as error:
            said = error
        assert CANARY not in str(said)
        # It may say of what columns the answer would be; rows of others there are none.
        assert isinstance(said, (InputError, dict)) or said == 0
    for file in (tmp_path / "out").glob("*.parquet"):
        assert CANARY not in str(pq.read_table(file).to_pylist())


@pytest.mark.parametrize("name", ['"{dir}/s.csv"', '"{dir}/"."s"."csv"', '"{dir}"."s.parquet"', "`{dir}/s.parquet`"])
def test_a_tables_name_on_duckdb_is_no_file(duckdb: Warehouse, secret: Path, tmp_path: Path, name: str) -> None:
    table = name.replace("{dir}", str(secret))
    for work in (duckdb.count, duckdb.rows, lambda found: duckdb.unload(found, tmp_path / "out")):
        with pytest.raises(InputError):
            work(table)
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_another_tasks_rows_in_staging_are_out_of_reach(duckdb: Warehouse, tmp_path: Path) -> None:
    mine, theirs = tmp_path / "staging" / "mine", tmp_path / "staging" / "theirs"
    theirs.mkdir(parents=True)
    pq.write_table(pa.table({"a": [CANARY]}), theirs / "part.parquet")
    for path in (theirs / "part.parquet", mine / ".." / "theirs" / "part.parquet"):
        with pytest.raises(InputError, match="has no access to files"):
            duckdb.unload(Query(f"SELECT * FROM read_parquet('{path}')"), mine)
    mine.mkdir(exist_ok=True)
    (mine / "link.parquet").symlink_to(theirs / "part.parquet")
    with pytest.raises(InputError, match="has no access to files"):
        duckdb.unload(Query(f"SELECT * FROM read_parquet('{mine}/link.parquet')"), mine)
    assert duckdb.unload("s.t", mine) == 3


def test_settings_are_locked(duckdb: Warehouse) -> None:
    with duckdb._session() as cursor:
        for statement in ("SET enable_external_access = TRUE", "SET memory_limit = '9GB'", "RESET allowed_directories"):
            with pytest.raises(Exception, match="configuration has been locked"):
                cursor.execute(statement)


def test_a_second_session_with_a_directory_waits_for_the_first(duckdb: Warehouse, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    done: list[int] = []
    with duckdb._session(directory=first) as cursor:
        thread = threading.Thread(target=lambda: done.append(duckdb.unload("s.t", second)))
        thread.start()
        thread.join(0.5)
        assert done == []
        with pytest.raises(Exception, match="disabled by configuration"):
            cursor.execute(f"COPY s.t TO '{second}/x.parquet'")
    thread.join(10)
    assert done == [3]


def test_a_connection_opens_files_in_so_many_words(connect: Connect, secret: Path, tmp_path: Path) -> None:
    connection = {"conn_type": "duckdb", "host": str(tmp_path / "w.duckdb")}
    opened = open_warehouse(connect(**connection, extra={"allow_external_access": True}))
    assert take(opened, Query(f"SELECT * FROM read_parquet('{secret}/s.parquet')"), tmp_path).to_pylist() == [
        {"a": CANARY}
    ]
    with opened._session(write=True) as cursor:
        cursor.execute(f"CREATE VIEW files AS SELECT * FROM read_parquet('{secret}/s.parquet')")
    closed = open_warehouse(connect(**connection))
    with pytest.raises(InputError, match='"allow_external_access": true in the extra of the connection'):
        closed.count("files")
    with pytest.raises(InputError, match="give true or false"):
        open_warehouse(connect(**connection, extra={"allow_external_access": "yes"})).count("files")
    with pytest.raises(InputError, match="MotherDuck"):
        open_warehouse(connect(conn_type="duckdb", host="md:mine")).count("t")


def test_names_of_ours_are_not_the_users(duckdb: Warehouse, tmp_path: Path) -> None:
    """A query may name its tables and expressions as a statement of ours might."""
    rows = pa.table({"y": ["a", "b"] * 50, "s": [i / 100 for i in range(100)]})
    for name in ("judged", "grouped", "points", "ranked", "placed", "coded", "usable", "q"):
        put(duckdb, name, rows, tmp_path)
        query = Query(f"SELECT * FROM {name}")
        measured = evaluate(duckdb, query, label="y", positive_class="b", score="s", problem_type="binary")
        assert measured["rows_evaluated"] == 100


def test_what_writes_on_postgres_is_refused(
    connect: Connect, postgres_connection: dict[str, Any], tmp_path: Path
) -> None:
    warehouse = open_warehouse(connect(**postgres_connection))
    put(warehouse, "s.t", numbers(3), tmp_path)
    with warehouse._session(write=True) as cursor:
        cursor.execute("CREATE FUNCTION s.wipe() RETURNS INT LANGUAGE SQL AS 'DELETE FROM s.t; SELECT 1'")
    for text in (
        "SELECT s.wipe() AS x",
        "SELECT * FROM s.t WHERE id = (SELECT s.wipe())",
        "SELECT set_config('transaction_read_only', 'off', true) AS a, s.wipe() AS b",
        "WITH gone AS (DELETE FROM s.t RETURNING *) SELECT * FROM gone",
        "SELECT nextval('s.q') AS x",
        "SELECT lo_create(0) AS x",
        "SELECT 1 AS a; COMMIT; DELETE FROM s.t",
        "SELECT 1 AS a) AS q; COMMIT; DELETE FROM s.t; SELECT * FROM (SELECT 1 AS a",
        "SELECT 1 AS a /* ' */; COMMIT; DELETE FROM s.t -- '",
        "SELECT 1 AS a {# ) AS q; COMMIT; DELETE FROM s.t; -- #}",
        "SELECT 1 AS a INTO s.other",
        "COPY s.t TO PROGRAM 'true'",
    ):
        for work in (warehouse.count, lambda query: warehouse.unload(query, tmp_path / "out")):
            with pytest.raises(InputError):
                work(Query(text))
    assert warehouse.count("s.t") == 3
    assert not warehouse.exists("s.other")
    assert warehouse.count(Query("SELECT pg_advisory_xact_lock(1) AS x")) == 1  # of its own transaction


def test_the_documented_grants_on_postgres_are_enough(
    connect: Connect, postgres_connection: dict[str, Any], tmp_path: Path
) -> None:
    """Those of docs/security.md, as they stand there; without one of them, a sentence names what is missing."""
    owner = open_warehouse(connect(**postgres_connection))
    for name in ("gluon_train", "gluon_test"):
        put(owner, f"ml_datasets.{name}", numbers(3), tmp_path)
    page = (REPO / "docs" / "security.md").read_text()
    grants = page.partition("**Postgres**\n\n```sql\n")[2].partition("```")[0]
    assert grants.count(";") == 4
    role = f"role_{uuid.uuid4().hex}"

    def administer(statements: str) -> None:
        with owner._session(write=True) as cursor:
            cursor.execute(statements)

    database = postgres_connection["schema"]
    administer(f"CREATE ROLE {role} LOGIN")
    try:
        administer(grants.replace("airflow", role).replace("DATABASE warehouse", f"DATABASE {database}"))
        warehouse = open_warehouse(connect(**postgres_connection | {"login": role}))
        assert take(warehouse, "ml_datasets.gluon_train", tmp_path).num_rows == 3
        assert take(warehouse, Query("SELECT id FROM ml_datasets.gluon_test"), tmp_path).num_rows == 3
        for _ in range(2):
            assert put(warehouse, "automl_test.predicted", numbers(3), tmp_path) == 3
        warehouse.create_table("automl_test.automl_models", {"record_id": "VARCHAR", "a": "DOUBLE"})
        assert warehouse.record("automl_test.automl_models", {"record_id": "1", "a": 0.5}) == "inserted"
        with pytest.raises(InputError, match="permission denied for schema ml_datasets"):
            put(warehouse, "ml_datasets.mine", numbers(1), tmp_path)
        administer(f"REVOKE SELECT ON ml_datasets.gluon_test FROM {role}")
        with pytest.raises(InputError, match="permission denied for table gluon_test"):
            warehouse.count("ml_datasets.gluon_test")
    finally:
        administer(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_what_ends_the_parentheses_on_duckdb_is_refused(duckdb: Warehouse, tmp_path: Path) -> None:
    for text in (
        "SELECT 1 AS a {# ) AS q; DROP TABLE s.t; -- #}",
        "SELECT 1 AS a) AS q; DROP TABLE s.t; SELECT * FROM (SELECT 1 AS a",
        "SELECT 1 AS a) AS q UNION ALL SELECT * FROM (SELECT 2 AS a",
        "SELECT 1 AS a; DROP TABLE s.t",
        "SELECT 'a; DROP TABLE s.t",
        "SELECT $x$ AS a; DROP TABLE s.t",
        "CALL pragma_version()", "PRAGMA version", "ATTACH 'x.db'", "EXPLAIN SELECT 1", "COPY s.t TO 'x'",
        "-- only a comment",
    ):  # fmt: skip
        with pytest.raises(InputError):
            duckdb.unload(Query(text), tmp_path / "out")
    assert duckdb.count("s.t") == 3


_QUOTES = ("{}", "`{}`", '"{}"')


@pytest.mark.parametrize(
    ("dialect", "name", "rest"),
    [
        *(("hive", name, "('a', 'b')") for name in ("reflect", "java_method", "reflect2", "in_file")),
        *(("spark", name, "('a', 'b')") for name in ("reflect", "java_method", "try_reflect", "read_files")),
    ],
)
@pytest.mark.parametrize("gap", ["", " ", "\n", "/**/", " -- x\n", "/* ) */ "])
@pytest.mark.parametrize("quotes", _QUOTES)
def test_functions_that_run_code_are_refused_however_spelt(
    dialect: str, name: str, rest: str, gap: str, quotes: str
) -> None:
    for spelt in (name, name.upper(), name.title()):
        for text in (
            f"SELECT {quotes.format(spelt)}{gap}{rest} AS x",
            f"SELECT 1 FROM t WHERE a.{spelt}{gap}{rest} = 1",
        ):
            with pytest.raises(InputError, match="can run code or read files"):
                Query(text).check(dialect)
            Query(text).check(dialect, code=True)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("hive", "SELECT TRANSFORM(a) USING 'cat' AS b FROM t"),
        ("hive", "FROM t MAP a USING /* x */ 'cat' AS b SELECT b"),
        ("spark", 'SELECT TRANSFORM(a) USING "cat" AS b FROM t'),
        ("spark", "SELECT * FROM text.`/etc/passwd`"),
        ("spark", "SELECT * FROM `text` . `/etc/passwd`"),
        ("spark", "SELECT * FROM binaryFile/* */.`file:///etc/passwd`"),
        ("spark", "SELECT IDENTIFIER('refl' || 'ect')('a', 'b')"),
        ("trino", "SELECT * FROM TABLE(pg.system.query(query => 'DROP TABLE t'))"),
        ("trino", 'SELECT * FROM TABLE ( "p g" . "system" /* x */ . "QUERY" (query => 1))'),
        ("trino", "SELECT * FROM table(pg.system.execute(query => 'DROP TABLE t'))"),
    ],
)
def test_statements_that_pass_code_on_are_refused(dialect: str, text: str) -> None:
    with pytest.raises(InputError, match="can run code or read files"):
        Query(text).check(dialect)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("hive", "SELECT my_reflect(a), reflection FROM t JOIN u USING (id)"),
        ("spark", "SELECT t.text, t.`a/b`, json.a FROM t JOIN json USING (id)"),
        ("trino", "SELECT query FROM TABLE(sequence(1, 3)) CROSS JOIN query"),
    ],
)
def test_what_only_looks_like_it_is_not(dialect: str, text: str) -> None:
    Query(text).check(dialect)
