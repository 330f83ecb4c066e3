"""A user's own SELECT, which is inspected here but sent to the engine verbatim.

The engine's own parser checks that it is a single SELECT (``Warehouse._admit``). It is then embedded in parentheses, on
separate lines, wherever one of our statements reads a table. sqlglot would rewrite parts of it (an interval, a typed
literal), so it is only used to find the referenced tables.
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

#: The alias of an embedded query.
ALIAS = "automl_query"

# Dialects with: backslash escapes in '…'; dollar-quoted text, $tag$…$tag$; nested comments.
_BACKSLASHES = frozenset({"hive", "spark"})
_DOLLARS = frozenset({"postgres", "duckdb"})
_NESTED = frozenset({"postgres", "duckdb", "spark"})

# First words of statements that are not queries.
_STATEMENTS = frozenset(
    {"alter", "analyze", "attach", "begin", "cache", "call", "checkpoint", "comment", "commit", "copy", "create"}
    | {"deallocate", "delete", "detach", "do", "drop", "execute", "explain", "export", "grant", "import", "insert"}
    | {"install", "load", "lock", "merge", "msck", "optimize", "pragma", "prepare", "refresh", "replace", "reset"}
    | {"revoke", "rollback", "set", "truncate", "uncache", "update", "use", "vacuum"}
)

# Whitespace and comments between tokens.
_GAP = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_FLAGS = re.IGNORECASE | re.DOTALL
# How a SELECT can run code on the servers or read their files, anywhere in the text and however it is quoted.
# (A string or comment that merely looks like one of these is rejected too.)
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
    """A user's own SELECT, in the engine's dialect, usable wherever a table is read."""

    sql: str

    def text(self, dialect: str) -> str:
        """Return the statement verbatim, without trailing semicolons, comments and whitespace.

        :raises InputError: the statement is empty, or there is more than one.
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
                raise InputError("A query must be exactly one SELECT statement; found text after a semicolon.")
            end = stop
        if not end:
            raise InputError("A query must be exactly one SELECT statement; found none.")
        return self.sql[:end]

    def check(self, dialect: str, *, code: bool = False) -> None:
        """Reject other statements, and queries that write or run code, as far as detectable without the engine.

        :param code: whether the query may run code on the engine's servers, or read their files.
        :raises InputError: the message names what was found.
        """
        text = self.text(dialect)
        words = (text[start:stop] for kind, start, stop in scan(text, dialect) if kind == "word")
        if (first := next(words, "").lower()) in _STATEMENTS:
            raise InputError(f"A query must be a SELECT; found {first.upper()}.")
        for pattern in () if code else _RUNS_CODE.get(dialect, ()):
            if found := re.search(pattern, text, _FLAGS):
                raise InputError(
                    f"The query contains {' '.join(found[0].split())[:60]!r}, with which a SELECT can run code or "
                    f'read files on the servers of {dialect}: remove it, or allow it with "allow_code_in_select": '
                    "true in the extra of the warehouse's connection."
                )
        tree = self.parse(dialect)
        if tree is not None and (writes := _writes(tree)):
            raise InputError(f"A query must only read; found {writes} in it.")

    def parse(self, dialect: str) -> exp.Expression | None:
        """Return the statement as parsed by sqlglot; None if it cannot parse it."""
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        try:
            tree = sqlglot.parse_one(self.text(dialect), dialect=dialect)
        except (SqlglotError, RecursionError):
            return None
        return tree if isinstance(tree, (exp.Select, exp.SetOperation, exp.Subquery)) else None

    def tables(self, dialect: str) -> list[exp.Table]:
        """Return the tables that the query references, names case-folded as the engine does.

        If sqlglot cannot parse the query, return every word of it, since any could be a table.
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
    """Return a query's text in parentheses, as a FROM item of another statement.

    :param with_text: common table expressions for the start of the other statement, without the WITH keyword.
    """
    from sqlglot import exp

    alias = exp.TableAlias(this=exp.to_identifier(ALIAS))
    if not with_text:
        # sqlglot sees a table with an odd name, and does not look inside.
        return exp.Table(this=exp.Var(this=f"(\n{text}\n)"), alias=alias)
    query = exp.Subquery(this=exp.Var(this=f"\n{text}\n"), alias=alias)
    query.set("with_", exp.With(expressions=[exp.Var(this=f"\n{with_text}\n")]))
    return query


def framed_text(source: exp.Expression) -> str | None:
    """Return the text passed to :func:`framed` without ``with_text``; None for any other expression."""
    from sqlglot import exp

    is_framed = isinstance(source, exp.Table) and isinstance(source.this, exp.Var)
    return str(source.this.name)[2:-2] if is_framed else None


def scan(text: str, dialect: str) -> Iterator[tuple[str, int, int]]:
    """Yield the tokens of a text: kind (``blank``, ``comment``, ``text``, ``word`` or ``mark``), start and end."""
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
    """Split a query into its leading common table expressions, without the WITH keyword, and the rest."""
    pieces = [piece for piece in scan(text, dialect) if piece[0] not in ("blank", "comment")]
    if not pieces or text[slice(*pieces[0][1:])].lower() != "with":
        return "", text
    depth, before = 0, ""
    for _, start, stop in pieces[1:]:
        piece = text[start:stop]
        # The list ends where a closing parenthesis at depth 0 is followed by anything but a comma.
        if depth == 0 and before == ")" and piece != "," and piece.lower() != "as":
            return text[pieces[0][2] : start].strip(), text[start:]
        depth += (piece == "(") - (piece == ")")
        before = piece
    return "", text
