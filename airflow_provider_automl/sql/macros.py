"""Macros: expressions that differ between engines, with one text per dialect and a ``default``.

In a text, ``a0``, ``a1`` and ``a2`` are the call's arguments, ``arguments`` is all of them, ``texts`` is all of them
cast to text, with NULL as the empty string. A text may call other macros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

# The texts are in the engine's dialect.
MACROS: dict[str, dict[str, str]] = {
    # Whether a DOUBLE is NaN. Trino's NaN equals nothing; Hive compares NaN by its bits in some plans only.
    "automl_is_nan": {
        "default": "a0 = CAST('NaN' AS DOUBLE PRECISION)",
        "duckdb": "ISNAN(a0)",
        "trino": "IS_NAN(a0)",
        "spark": "ISNAN(a0)",
        "hive": "CAST(a0 AS STRING) = 'NaN'",
    },
    # A number as DOUBLE. Hive groups -0.0 and 0.0 separately, although they are one score; adding 0.0 makes both 0.0.
    "automl_double": {
        "default": "CAST(a0 AS DOUBLE PRECISION)",
        "hive": "CAST(a0 AS DOUBLE) + CAST(0 AS DOUBLE)",
    },
    # Why a label and a prediction, both DOUBLE, have no error: the sum of the reasons' codes; 0 if they have an error.
    "automl_no_error": {
        "default": (
            "CASE WHEN a0 IS NULL THEN 1 ELSE 0 END + CASE WHEN automl_is_nan(a0) THEN 2 ELSE 0 END"
            " + CASE WHEN a1 IS NULL THEN 16 ELSE 0 END + CASE WHEN automl_is_nan(a1) THEN 32 ELSE 0 END"
            " + CASE WHEN automl_is_nan(a0) OR automl_is_nan(a1) THEN 0"
            " WHEN ABS(a0) > a2 OR ABS(a1) > a2 THEN 64 ELSE 0 END"
        ),
    },
    # The quotient of two DOUBLEs, the second not 0. The meaning of `/` depends on engine and types.
    "automl_ratio": {"default": "(a0) / (a1)"},
    # The match of the first group of a regular expression in a text, as DOUBLE; NULL if there is none.
    "automl_number_in": {
        "default": "CAST(NULLIF(REGEXP_EXTRACT(a0, a1, 1), '') AS DOUBLE)",
        "postgres": "CAST(SUBSTRING(a0 FROM a1) AS DOUBLE PRECISION)",
    },
    # A key that orders rows pseudo-randomly: a function of only the seed (first) and the row's values.
    "automl_shuffle_key": {
        "default": "MD5(CONCAT_WS('|', texts))",
        "duckdb": "HASH(arguments)",
        "postgres": "MD5(CAST(ROW(arguments) AS TEXT))",
        "trino": "MD5(TO_UTF8(JSON_FORMAT(CAST(ROW(arguments) AS JSON))))",
        "hive": "MD5(CONCAT_WS('|', texts))",
        "spark": "XXHASH64(arguments)",
    },
}


def is_macro(node: exp.Anonymous) -> bool:
    """Return whether a call in a query is a macro."""
    return node.name.lower() in MACROS


def expand(call: exp.Anonymous, dialect: str) -> exp.Expression:
    """Return the expansion of a macro call in an engine's dialect."""
    from sqlglot import exp, parse_one

    texts = MACROS[call.name.lower()]
    tree = exp.paren(parse_one(texts.get(dialect, texts["default"]), dialect=dialect))
    for inner in [node for node in tree.find_all(exp.Anonymous) if is_macro(node)]:
        inner.replace(expand(inner, dialect))
    arguments = call.expressions
    for node in list(tree.find_all(exp.Column)):
        if node.name == "arguments":
            _spread(node, arguments)
        elif node.name == "texts":
            _spread(node, [_as_text(argument) for argument in arguments])
        elif node.name in ("a0", "a1", "a2"):
            node.replace(arguments[int(node.name[1])].copy())
    return tree


def _spread(node: exp.Expression, items: list[exp.Expression]) -> None:
    assert node.parent is not None
    assert node.arg_key is not None
    siblings = list(node.parent.args[node.arg_key])
    siblings[node.index : (node.index or 0) + 1] = [item.copy() for item in items]
    node.parent.set(node.arg_key, siblings)


def _as_text(item: exp.Expression) -> exp.Expression:
    from sqlglot import exp

    return exp.Coalesce(this=exp.cast(item.copy(), "TEXT"), expressions=[exp.Literal.string("")])
