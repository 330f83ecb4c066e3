"""What a caller gives is spliced into a statement, never into its text."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from airflow_provider_automl.sql import literal, render
from airflow_provider_automl.sql.names import parse_parts, parse_table


def test_names_are_quoted_and_values_escaped() -> None:
    text = render(
        "select", "duckdb", columns=['a"b', "{source}"], source='s."x; --"', condition={"c": "o'k", "d": None}
    )
    assert text == """SELECT "a""b", "{source}" FROM "s"."x; --" WHERE "c" = 'o''k' AND "d" IS NULL"""
    assert render("select", "hive", columns=["a"], source="s.t", condition={"c": "o'k"}) == (
        "SELECT `a` FROM `s`.`t` WHERE `c` = 'o\\'k'"
    )
    assert render("select", "trino", columns=["a"], source="s.t", condition={}).endswith("WHERE 1 = 1")


def test_what_is_given_is_not_searched_for_placeholders() -> None:
    text = render("delete", "duckdb", table='"{table}"', condition={"{table}": ":condition"})
    assert text == """DELETE FROM "{table}" WHERE "{table}" = ':condition'"""


def test_everything_must_be_given_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="requires a value for 'source'"):
        render("count", "duckdb")
    with pytest.raises(ValueError, match="no placeholder more"):
        render("count", "duckdb", source="t", more=1)
    with pytest.raises(ValueError, match="no query 'nonsense'"):
        render("nonsense", "duckdb")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (-(2**53) - 1, "-9007199254740993"),
        (0.1, "CAST('0.1' AS DOUBLE)"),
        (float("nan"), "CAST('NaN' AS DOUBLE)"),
        (float("-inf"), "CAST('-Infinity' AS DOUBLE)"),
        (Decimal("1.50"), "CAST('1.50' AS DECIMAL(38, 2))"),
        ("it's", "'it''s'"),
        (dt.date(2026, 1, 2), "CAST('2026-01-02' AS DATE)"),
        (
            dt.datetime(2026, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "CAST('2026-01-02 01:00:00' AS TIMESTAMP(6))",
        ),
    ],
)
def test_literals(value: object, text: str) -> None:
    assert literal(value).sql(dialect="duckdb") == text


def test_a_value_that_is_no_literal() -> None:
    for value in (object(), Decimal("NaN"), [1]):
        with pytest.raises(ValueError, match="literal"):
            literal(value)


@pytest.mark.parametrize(
    ("name", "dialect", "parts"),
    [
        ("a.b", "duckdb", ["a", "b"]),
        ("A.b", "postgres", ["a", "b"]),
        ("A.b", "duckdb", ["A", "b"]),
        ("A.b", "snowflake", ["A", "B"]),
        ('"My ""db"""."t.1"', "postgres", ['My "db"', "t.1"]),
        ("`a b`.c", "hive", ["a b", "c"]),
        ("cat.my-db.2024_t", "trino", ["cat", "my-db", "2024_t"]),
        ("naïve.日本", "duckdb", ["naïve", "日本"]),
        ("select.table", "duckdb", ["select", "table"]),
        ('out.predicted_"My table; DROP TABLE x"_1', "postgres", ["out", "predicted_My table; DROP TABLE x_1"]),
        ('OUT."a"_B`c d`."t"', "postgres", ["out", "a_bc d", "t"]),
    ],
)
def test_names(name: str, dialect: str, parts: list[str]) -> None:
    assert parse_parts(name, dialect) == parts
    assert [part.name for part in parse_table(name, dialect).parts] == parts


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "a.", ".a", "a..b", "a b", 'a"b', '"a" "b"', '"a', '""', 'a""', "a;b", "f(x)", "a, b", "a'b", None],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a table name"):
        parse_parts(name, "duckdb")


def test_a_table_has_at_most_three_parts() -> None:
    with pytest.raises(ValueError, match="at most"):
        parse_table("a.b.c.d", "duckdb")
