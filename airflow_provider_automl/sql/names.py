"""Table and column names: as people write them, as an engine folds them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

#: The column of rows' numbers, where an unload numbers them.
ROW_ID = "row_id"

#: The tables that this package keeps, in whatever schema: rows of a user's never take their place.
OWN_TABLES = frozenset(
    {"automl_experiments", "automl_eval_results", "automl_drift_results", "automl_baselines", "automl_comparisons"}
    | {"automl_models", "automl_model_aliases"}
)

_NAME = r"""(?:[^\s\x00-\x1f."`';,()]+|"(?:[^"\x00-\x1f]|"")+"|`(?:[^`\x00-\x1f]|``)+`)"""
#: What a ``Param`` that names a schema or table may be: at most three parts, joined by dots. (A form's is JavaScript.)
NAME_PATTERN = rf"^(?=.{{1,300}}$){_NAME}(?:\.{_NAME}){{0,2}}$"
#: What a ``Param`` of one line may be: a column, a class, addresses.
LINE_PATTERN = r"^[^\x00-\x1f]{0,1000}$"
#: What a ``Param`` that names a model or an alias may be.
MODEL_PATTERN = r"^[^/\\\x00-\x1f]{1,200}$"
#: What a ``Param`` of seconds, or arithmetic that gives them, may be.
SECONDS_PATTERN = r"^[0-9 .+*/()-]{1,100}$"
#: What a ``Param`` of a size in memory may be.
MEMORY_PATTERN = r"^[0-9.]+ *[kKmMgGtT]?[iI]?[bB]?$"

# One part of a name: in double quotes, in backticks, or bare. A bare part may hold what an identifier in SQL may not
# (a hyphen, a leading digit): it can still mean only one thing.
_PART = re.compile(r'"((?:[^"]|"")+)"|`((?:[^`]|``)+)`|([^\s."`\';,()]+)')


def parse_parts(name: str, dialect: str) -> list[str]:
    """Return the parts of a dotted name, each exactly as the engine knows it.

    >>> parse_parts('"My db".T-1', "postgres")
    ['My db', 't-1']

    Quoted parts are kept; bare ones take the engine's case folding where it has one. Pieces that touch are one part, as
    in a shell, so that a template may put something before or behind a name that is quoted:

    >>> parse_parts('out.predicted_"my table"_1', "postgres")
    ['out', 'predicted_my table_1']

    :raises ValueError: the text is not a name.
    """
    parts = [""]
    position = 0
    while isinstance(name, str) and (match := _PART.match(name, position)):
        quoted, ticked, bare = match.groups()
        if bare is not None:
            parts[-1] += _fold(bare, dialect)
        else:
            parts[-1] += quoted.replace('""', '"') if quoted is not None else ticked.replace("``", "`")
        position = match.end()
        if position == len(name):
            return parts
        if name[position] == ".":
            parts.append("")
            position += 1
    raise ValueError(
        f"{name!r} is not a table name: write schema.table, and put a part with spaces, dots or quotes "
        'in double quotes, such as "my schema"."my table"'
    )


def parse_table(name: str, dialect: str) -> exp.Table:
    """Return a table's name as a sqlglot table of at most catalog, schema and table, every part quoted.

    :raises ValueError: the text is not a table name.
    """
    parts = parse_parts(name, dialect)
    if len(parts) > 3:
        raise ValueError(f"{name!r} has {len(parts)} parts: a table's name has at most catalog.schema.table")
    return table_of(*parts)


def table_of(*parts: str) -> exp.Table:
    """Return a table from its last one, two or three parts (catalog, schema, table), taken literally."""
    from sqlglot import exp

    names = [exp.to_identifier(part, quoted=True) for part in parts]
    return exp.Table(**dict(zip(("this", "db", "catalog"), reversed(names), strict=False)))


def folds_case(dialect: str) -> bool:
    """Return whether the engine takes ``A`` and ``a`` for the same name, even in quotes."""
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
