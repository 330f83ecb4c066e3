"""A user's own SELECT. It reaches the engine as it is written: what is done with it here is to look at it.

The engine's own parser says whether it is one SELECT (``Warehouse._admit``). Then it is put between parentheses, on
lines of its own, where a statement of ours reads a table. sqlglot, which would write some of it anew (an interval, a
typed literal), is only asked which tables it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from airflow_provider_automl.errors import InputError

if TYPE_CHECKING:
    from sqlglot import exp

#: What a query of ours is called within a statement of ours.
ALIAS = "automl_query"

# Engines in whose text '…' a backslash hides the next character; that have `…`; $tag$…$tag$; comments in comments.
_BACKSLASHES = frozenset({"hive", "spark"})
_DOLLARS = frozenset({"postgres", "duckdb"})
_NESTED = frozenset({"postgres", "duckdb", "spark"})

# First words of statements that are no query.
_STATEMENTS = frozenset(
    {"alter", "analyze", "attach", "begin", "cache", "call", "checkpoint", "comment", "commit", "copy", "create"}
    | {"deallocate", "delete", "detach", "do", "drop", "execute", "explain", "export", "grant", "import", "insert"}
    | {"install", "load", "lock", "merge", "msck", "optimize", "pragma", "prepare", "refresh", "replace", "reset"}
    | {"revoke", "rollback", "set", "truncate", "uncache", "update", "use", "vacuum"}
)

# Between a name and what follows it.
_GAP = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_FLAGS = re.IGNORECASE | re.DOTALL
# Where a SELECT runs code on the servers, or reads their files: wherever it stands in the text, and however it is
# quoted. (A text or comment that only looks like one of these is refused too.)
_SCRIPT = rf"\busing{_GAP}['\"]"
_PATH = r"(?:\"(?:[^\"]|\"\")*\"|[\w$@-]+)"
_RUNS_CODE = {
    "hive": [rf"\b(?:reflect2?|java_method|in_file|get_splits|get_llap_splits|execute_splits)[`\"]?{_GAP}\(", _SCRIPT],
    "spark": [
        rf"\b(?:(?:try_)?reflect2?|java_method|identifier|read_files|cloud_files|read_state\w*)[`\"]?{_GAP}\(",
        rf"\b(?:text|csv|json|xml|parquet|orc|avro|binaryfile|image|libsvm|delta|hudi)[`\"]?{_GAP}\.{_GAP}[`\"]",
        _SCRIPT,
    ],
    "trino": [
        rf"\btable{_GAP}\({_GAP}(?:{_PATH}{_GAP}\.{_GAP})*\"?(?:query|raw_query|execute|procedure)\"?{_GAP}\(",
    ],
}


@dataclass(frozen=True)
class Query:
    """A user's own SELECT, in the engine's dialect. It may stand wherever a table is read."""

    sql: str

    def text(self, dialect: str) -> str:
        """Return the statement as it is written, without the semicolons, comments and blanks at its end.

        :raises InputError: there is nothing else, or more than one statement.
        """
        end = 0
        semicolon = None
        for kind, start, stop in scan(self.sql, dialect):
            if kind in ("blank", "comment"):
                continue
            if self.sql[start:stop] == ";":
                semicolon = stop if semicolon is None else semicolon
                continue
            if semicolon is not None:
                raise InputError("A query must be exactly one SELECT statement; found something after a semicolon.")
            end = stop
        if not end:
            raise InputError("A query must be exactly one SELECT statement; found none.")
        return self.sql[:end]

    def check(self, dialect: str, *, code: bool = False) -> None:
        """Refuse what can be told without the engine: another statement, one that writes, one that runs code.

        :param code: whether the query may run code on the engine's servers, or read their files.
        :raises InputError: says what was found.
        """
        text = self.text(dialect)
        words = (text[start:stop] for kind, start, stop in scan(text, dialect) if kind == "word")
        if (first := next(words, "").lower()) in _STATEMENTS:
            raise InputError(f"A query must be a SELECT; found {first.upper()}.")
        for pattern in () if code else _RUNS_CODE.get(dialect, ()):
            if found := re.search(pattern, text, _FLAGS):
                raise InputError(
                    f"The query has {' '.join(found[0].split())[:60]!r}, by which a SELECT can run code or read files "
                    f"on the servers of {dialect}: leave it out, or have the warehouse's connection allow it by "
                    '"allow_code_in_select": true in its extra.'
                )
        tree = self.parse(dialect)
        if tree is not None and (writes := _writes(tree)):
            raise InputError(f"A query must only read; found {writes} in it.")

    def parse(self, dialect: str) -> exp.Expression | None:
        """Return the statement as sqlglot understands it; None where it does not."""
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        try:
            tree = sqlglot.parse_one(self.text(dialect), dialect=dialect)
        except (SqlglotError, RecursionError):
            return None
        return tree if isinstance(tree, (exp.Select, exp.SetOperation, exp.Subquery)) else None

    def tables(self, dialect: str) -> list[exp.Table]:
        """Return the tables that it names, as the engine folds their names; where sqlglot does not understand it, every
        word of it, for any of them may be one.
        """
        from sqlglot import exp
        from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

        from airflow_provider_automl.sql.names import table_of

        tree = self.parse(dialect)
        if tree is None:
            text = self.text(dialect)
            parts = [text[start:stop].strip('"`') for kind, start, stop in scan(text, dialect) if kind != "comment"]
            words = [part for part in parts if part.strip() and part != "."]
            return [table_of(*each) for each in [*zip(words, strict=True), *pairwise(words)]]
        tree = normalize_identifiers(tree, dialect=dialect)
        shadows = {cte.alias for cte in tree.find_all(exp.CTE)}
        return [
            found
            for found in tree.find_all(exp.Table)
            if isinstance(found.this, exp.Identifier) and (found.db or found.name not in shadows)
        ]


def framed(text: str, *, with_text: str = "") -> exp.Expression:
    """Return a statement's text between parentheses, as what another statement reads.

    :param with_text: common table expressions that the other statement must begin with, without their WITH.
    """
    from sqlglot import exp

    alias = exp.TableAlias(this=exp.to_identifier(ALIAS))
    if not with_text:
        # To sqlglot it is a table of a strange name, of which it asks nothing.
        return exp.Table(this=exp.Var(this=f"(\n{text}\n)"), alias=alias)
    query = exp.Subquery(this=exp.Var(this=f"\n{text}\n"), alias=alias)
    query.set("with_", exp.With(expressions=[exp.Var(this=f"\n{with_text}\n")]))
    return query


def framed_text(source: exp.Expression) -> str | None:
    """Return the text that :func:`framed` was given without ``with_text``; None: this is something else."""
    from sqlglot import exp

    is_framed = isinstance(source, exp.Table) and isinstance(source.this, exp.Var)
    return str(source.this.name)[2:-2] if is_framed else None


def scan(text: str, dialect: str) -> Iterator[tuple[str, int, int]]:
    """Yield the pieces of a text: kind (``blank``, ``comment``, ``text``, ``word`` or ``mark``), start and end."""
    position, length = 0, len(text)
    while position < length:
        start, char = position, text[position]
        if char.isspace():
            kind = "blank"
            while position < length and text[position].isspace():
                position += 1
        elif text.startswith("--", position):
            kind = "comment"
            end = text.find("\n", position)
            position = length if end < 0 else end
        elif text.startswith("/*", position):
            kind, position = "comment", _comment_end(text, position, nested=dialect in _NESTED)
        elif char in "'\"`":
            kind = "text"
            escaped = char != "`" and (
                dialect in _BACKSLASHES
                or (char == "'" and dialect in _DOLLARS and re.search(r"(?<!\w)[eE]$", text[:start]) is not None)
            )
            position = _quote_end(text, position, backslashes=escaped)
        elif char == "$" and dialect in _DOLLARS and (tag := re.compile(r"\$(?:[^\W\d]\w*)?\$").match(text, position)):
            kind = "text"
            end = text.find(tag[0], tag.end())
            position = length if end < 0 else end + len(tag[0])
        elif char.isalnum() or char == "_":
            kind = "word"
            while position < length and (text[position].isalnum() or text[position] in "_$"):
                position += 1
        else:
            kind, position = "mark", position + 1
        yield kind, start, position


def _comment_end(text: str, start: int, *, nested: bool) -> int:
    depth, position = 1, start + 2
    while depth and position < len(text):
        if text.startswith("*/", position):
            depth, position = depth - 1, position + 2
        elif nested and text.startswith("/*", position):
            depth, position = depth + 1, position + 2
        else:
            position += 1
    return position


def _quote_end(text: str, start: int, *, backslashes: bool) -> int:
    quote, position = text[start], start + 1
    while position < len(text):
        if backslashes and text[position] == "\\":
            position += 2
        elif text[position] != quote:
            position += 1
        elif text.startswith(quote * 2, position):
            position += 2
        else:
            return position + 1
    return min(position, len(text))


def _writes(tree: exp.Expression) -> str | None:
    from sqlglot import exp

    found = tree.find(exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into)
    return found.key.upper() if found else None


def leading_ctes(text: str, dialect: str) -> tuple[str, str]:
    """Return the common table expressions that a query begins with, without their WITH, and the rest of it."""
    pieces = [piece for piece in scan(text, dialect) if piece[0] not in ("blank", "comment")]
    if not pieces or text[slice(*pieces[0][1:])].lower() != "with":
        return "", text
    depth, before = 0, ""
    for _, start, stop in pieces[1:]:
        piece = text[start:stop]
        # The list ends where something other than a comma follows the parenthesis that closes an expression.
        if depth == 0 and before == ")" and piece != "," and piece.lower() != "as":
            return text[pieces[0][2] : start].strip(), text[start:]
        depth += (piece == "(") - (piece == ")")
        before = piece
    return "", text
