"""SQL templates: each query is a ``.sql`` file, which is rendered for an engine.

A file is SQL in sqlglot's DuckDB dialect, restricted to constructs that all engines support
(``tests/unit/test_sql_constructs.py`` rejects others). ``name.sql`` is for all engines; ``ENGINE/name.sql`` is for one
engine, and takes precedence. Parameters are inserted into the parsed statement, never into its text:

==========================  ==============================================================================
in the file                 parameter
==========================  ==============================================================================
``FROM "{name}"``           a table name as a user writes it, or a sqlglot table or subquery
``"{name}"`` as a column    a column name, taken literally; or a list of names, where several are allowed
``("{name}" INT)``          in ``CREATE TABLE``: a mapping of column names to types in DuckDB's spelling
``:name``                   a Python value, which becomes a literal; a mapping becomes ``a = 1 AND b IS NULL``;
                            a list becomes items after ``SELECT`` or in ``IN (…)``, and an array elsewhere
``automl_…(…)``             a macro: an expression with a text per engine, see :mod:`.macros`
==========================  ==============================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from sqlglot import exp

_SLOT = re.compile(r"\{(\w+)\}")


def render(name: str, dialect: str, /, **params: object) -> str:
    """Return the text of the query ``name`` for an engine.

    :param name: the file's name without ``.sql``.
    :param dialect: sqlglot's name of the engine's dialect, such as ``duckdb`` or ``trino``.
    :param params: the values of the file's placeholders, exactly those.
    :raises ValueError: no such query, a missing or unknown parameter, or an invalid table name.
    """
    return to_text(statement(name, dialect, **params), dialect)


def to_text(expression: exp.Expression, dialect: str) -> str:
    """Return a statement's text in an engine's dialect."""
    return expression.sql(dialect=dialect, comments=False)


def statement(name: str, dialect: str, /, **params: object) -> exp.Expression:
    """As :func:`render`, but return the parsed statement, for callers that extend it (order, limit)."""
    from sqlglot import exp

    from airflow_provider_automl.sql import macros

    tree = _parsed(name, dialect).copy()
    used: set[str] = set()

    def given(key: str) -> Any:
        if key not in params:
            raise ValueError(f"the query {name!r} requires a value for {key!r}")
        used.add(key)
        return params[key]

    # Collected before any replacement: parameters are never searched for placeholders.
    slots = [
        (node, key)
        for node in tree.walk()
        if isinstance(node, (exp.Identifier, exp.Placeholder)) and (key := _slot(node)) is not None
    ]
    calls = [node for node in tree.find_all(exp.Anonymous) if macros.is_macro(node)]
    for node, key in slots:
        _fill(node, given(key), dialect)
    for call in calls:
        call.replace(macros.expand(call, dialect))
    if unknown := set(params) - used:
        raise ValueError(f"the query {name!r} has no placeholder {', '.join(sorted(unknown))}")
    return tree


def call(macro: str, dialect: str, /, *arguments: exp.Expression) -> exp.Expression:
    """Return the expansion of a macro, for callers that pass it as a parameter."""
    from sqlglot import exp

    from airflow_provider_automl.sql import macros

    return macros.expand(exp.Anonymous(this=macro, expressions=list(arguments)), dialect)


@cache
def table_slots(name: str, dialect: str) -> frozenset[str]:
    """Return the names of a query's table placeholders."""
    from sqlglot import exp

    tables = _parsed(name, dialect).find_all(exp.Table)
    return frozenset(key for table in tables if isinstance(table.this, exp.Identifier) and (key := _slot(table.this)))


def literal(value: object) -> exp.Expression:
    """Return a Python value as a literal.

    None, bool, int, float (NaN and infinities too), Decimal, str, date, datetime (an aware one becomes UTC without
    zone).

    :raises ValueError: a value of another type.
    """
    from datetime import UTC, date, datetime
    from decimal import Decimal

    from sqlglot import exp

    if isinstance(value, exp.Expression):
        return value.copy()
    if value is None:
        return exp.null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int):
        return exp.Literal.number(value)
    if isinstance(value, float):
        # Spellings that all engines parse: Hive parses other spellings of NaN and infinity as NULL.
        text = repr(value).replace("inf", "Infinity").replace("nan", "NaN")
        return exp.cast(exp.Literal.string(text), "DOUBLE")
    if isinstance(value, Decimal):
        scale = value.as_tuple().exponent
        if not isinstance(scale, int):
            raise ValueError(f"{value} cannot be written as a decimal literal")
        return exp.cast(exp.Literal.string(format(value, "f")), f"DECIMAL(38, {max(0, -scale)})", dialect="duckdb")
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, datetime):
        naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        # Trino's TIMESTAMP without a precision would round to milliseconds.
        return exp.cast(exp.Literal.string(naive.isoformat(sep=" ")), "TIMESTAMP(6)", dialect="duckdb")
    if isinstance(value, date):
        return exp.cast(exp.Literal.string(value.isoformat()), "DATE")
    raise ValueError(f"a value of type {type(value).__name__} cannot be written as a literal: {value!r}")


def condition(values: Mapping[str, object]) -> exp.Expression:
    """Return ``a = 1 AND b IS NULL`` for a mapping of columns to values; a true condition if it is empty."""
    from sqlglot import exp

    terms: list[exp.Expression] = []
    for column, value in values.items():
        named = exp.column(exp.to_identifier(column, quoted=True))
        terms.append(named.is_(exp.null()) if value is None else named.eq(literal(value)))
    always = exp.EQ(this=exp.Literal.number(1), expression=exp.Literal.number(1))
    return cast("exp.Expression", exp.and_(*terms)) if terms else always


def _slot(node: exp.Expression) -> str | None:
    from sqlglot import exp

    if isinstance(node, exp.Placeholder):
        return node.name or None
    match = _SLOT.fullmatch(node.name)
    return match[1] if match else None


def _fill(node: exp.Expression, value: Any, dialect: str) -> None:
    """Replace a placeholder by its value."""
    from sqlglot import exp

    from airflow_provider_automl.sql.names import parse_table

    parent = node.parent
    if isinstance(node, exp.Placeholder):
        if isinstance(value, Mapping):
            node.replace(condition(value))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            items = [literal(item) for item in value]
            if isinstance(parent, (exp.Select, exp.In)):
                _splice(node, items)
            else:
                node.replace(exp.Array(expressions=items))
        else:
            node.replace(literal(value))
    elif isinstance(parent, exp.Table):
        table = value.copy() if isinstance(value, exp.Expression) else parse_table(value, dialect)
        if alias := parent.args.get("alias"):
            table.set("alias", alias)
        parent.replace(table)
    elif isinstance(parent, exp.ColumnDef):
        _splice(parent, [_column_definition(name, kind) for name, kind in value.items()])
    elif isinstance(parent, exp.Column):
        names = [value] if isinstance(value, str) else value
        _splice(parent, [exp.column(exp.to_identifier(name, quoted=True)) for name in names])
    else:
        names = [value] if isinstance(value, str) else value
        _splice(node, [exp.to_identifier(name, quoted=True) for name in names])


def _splice(node: exp.Expression, items: Sequence[exp.Expression]) -> None:
    """Replace a node by one node, or by several if it is in a list."""
    from sqlglot import exp

    if isinstance(ordered := node.parent, exp.Ordered):
        keys = [ordered.copy() for _ in items]
        for key, item in zip(keys, items, strict=True):
            key.set("this", item)
        _splice(ordered, keys)
        return
    if node.index is None:
        (item,) = items
        node.replace(item)
        return
    assert node.parent is not None
    assert node.arg_key is not None
    siblings = list(node.parent.args[node.arg_key])
    siblings[node.index : node.index + 1] = items
    node.parent.set(node.arg_key, siblings)


def _column_definition(name: str, kind: str) -> exp.ColumnDef:
    from sqlglot import exp

    return exp.ColumnDef(
        this=exp.to_identifier(name, quoted=True), kind=exp.DataType.build(kind, dialect="duckdb", udt=True)
    )


@cache
def _parsed(name: str, dialect: str) -> exp.Expression:
    from sqlglot import parse_one

    text = _path(name, dialect).read_text(encoding="utf-8")
    return cast("exp.Expression", parse_one(text, dialect="duckdb"))


def _path(name: str, dialect: str) -> Path:
    here = Path(__file__).parent
    for path in (here / dialect / f"{name}.sql", here / f"{name}.sql"):
        if path.is_file():
            return path
    raise ValueError(f"there is no query {name!r} for {dialect}")
