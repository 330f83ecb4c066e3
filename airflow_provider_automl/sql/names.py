"""Parsing and case folding of table and column names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

#: The row number column of numbered unloads.
ROW_ID = "row_id"

#: The tables of this package, in any schema, which users' data must not replace.
OWN_TABLES = frozenset(
    {"automl_experiments", "automl_eval_results", "automl_drift_results", "automl_baselines", "automl_comparisons"}
    | {"automl_models", "automl_model_aliases"}
)

_NAME = r"""(?:[^\s\x00-\x1f."`';,()]+|"(?:[^"\x00-\x1f]|"")+"|`(?:[^`\x00-\x1f]|``)+`)"""
#: Pattern of a ``Param`` for a schema or table: at most three parts joined by dots. (Forms evaluate it in JavaScript.)
NAME_PATTERN = rf"^(?=.{{1,300}}$){_NAME}(?:\.{_NAME}){{0,2}}$"
#: Pattern of a ``Param`` of one line: a column, a class, addresses.
LINE_PATTERN = r"^[^\x00-\x1f]{0,1000}$"
#: Pattern of a ``Param`` for a model name or an alias.
MODEL_PATTERN = r"^[^/\\\x00-\x1f]{1,200}$"
#: Pattern of a ``Param`` for seconds, also as arithmetic.
SECONDS_PATTERN = r"^[0-9 .+*/()-]{1,100}$"
#: Pattern of a ``Param`` for a memory size.
MEMORY_PATTERN = r"^[0-9.]+ *[kKmMgGtT]?[iI]?[bB]?$"

# One part of a name: in double quotes, in backticks, or unquoted. An unquoted part may contain characters that are
# invalid in SQL identifiers (a hyphen, a leading digit), as it is still unambiguous.
_PART = re.compile(r'"((?:[^"]|"")+)"|`((?:[^`]|``)+)`|([^\s."`\';,()]+)')


def parse_parts(name: str, dialect: str) -> list[str]:
    """Return the parts of a dotted name, each exactly as the engine stores it.

    >>> parse_parts('"My db".T-1', "postgres")
    ['My db', 't-1']

    Quoted parts are kept; the engine's case folding applies to unquoted ones. Adjacent pieces are one part, as in a
    shell, so that a template may add a prefix or suffix to a quoted name:

    >>> parse_parts('out.predicted_"my table"_1', "postgres")
    ['out', 'predicted_my table_1']

    :raises ValueError: the text is not a name.
    """
    parts = [""]
    position = 0
    while isinstance(name, str) and (match := _PART.match(name, position)):
        quoted, ticked, unquoted = match.groups()
        if unquoted is not None:
            parts[-1] += _fold(unquoted, dialect)
        else:
            parts[-1] += quoted.replace('""', '"') if quoted is not None else ticked.replace("``", "`")
        position = match.end()
        if position == len(name):
            return parts
        if name[position] == ".":
            parts.append("")
            position += 1
    raise ValueError(
        f"{name!r} is not a table name: write schema.table, and enclose parts with spaces, dots or quotes "
        'in double quotes, such as "my schema"."my table"'
    )


def parse_table(name: str, dialect: str) -> exp.Table:
    """Parse a table name to a sqlglot table of at most catalog, schema and table, with all parts quoted.

    :raises ValueError: the text is not a table name.
    """
    parts = parse_parts(name, dialect)
    if len(parts) > 3:
        raise ValueError(f"{name!r} has {len(parts)} parts: a table name has at most three, catalog.schema.table")
    return table_of(*parts)


def table_of(*parts: str) -> exp.Table:
    """Return a table from one to three parts (``[[catalog, ]schema, ]table``), taken literally."""
    from sqlglot import exp

    names = [exp.to_identifier(part, quoted=True) for part in parts]
    return exp.Table(**dict(zip(("this", "db", "catalog"), reversed(names), strict=False)))


def folds_case(dialect: str) -> bool:
    """Return whether the engine treats ``A`` and ``a`` as the same name, even in quotes."""
    from sqlglot.dialects.dialect import Dialect, NormalizationStrategy

    return Dialect.get_or_raise(dialect).normalization_strategy is NormalizationStrategy.CASE_INSENSITIVE


def _fold(part: str, dialect: str) -> str:
    from sqlglot.dialects.dialect import Dialect, NormalizationStrategy

    strategy = Dialect.get_or_raise(dialect).normalization_strategy
    if strategy is NormalizationStrategy.LOWERCASE:
        return part.lower()
    if strategy is NormalizationStrategy.UPPERCASE:
        return part.upper()
    return part
