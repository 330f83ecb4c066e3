"""Which processes are tried together, and what may go wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.swap.model import Op, appending, creating, overwriting, recovering, rewriting


def _overwrite(letter: str, *, tagged: bool) -> Op:
    return Op(partial(overwriting, letter, tagged=tagged), "set", letter)


def _create(letter: str, *, tagged: bool) -> Op:
    return Op(partial(creating, letter, tagged=tagged), "create", letter)


def _rewrite(letter: str, *, tagged: bool) -> Op:
    return Op(partial(rewriting, letter, tagged=tagged), "add", letter)


def _append(letter: str, *, tagged: bool) -> Op:
    return Op(partial(appending, letter), "add", letter)


def _recover(letter: str, *, tagged: bool) -> Op:
    return Op(partial(recovering, letter), None)


_MAKE = {"overwrite": _overwrite, "create": _create, "rewrite": _rewrite, "append": _append, "recover": _recover}


def _set(*names: str) -> Callable[..., list[Op]]:
    def ops(*, tagged: bool) -> list[Op]:
        letters = {"overwrite": "pq", "create": "cd", "rewrite": "rs", "append": "ab", "recover": "x", "retry": "p"}
        return [
            _MAKE["recover" if name == "retry" else name](letters[name][names[:i].count(name)], tagged=tagged)
            for i, name in enumerate(names)
        ]

    return ops


_TOGETHER = [
    ("overwrite",),
    ("create",),
    ("append",),
    ("create", "create"),
    ("create", "overwrite"),
    ("create", "append"),
    ("overwrite", "overwrite"),
    ("overwrite", "rewrite"),
    ("rewrite", "rewrite"),
    ("overwrite", "append"),
    ("rewrite", "append"),
    ("overwrite", "recover"),
    ("rewrite", "recover"),
    ("overwrite", "retry"),  # recovers for the same load
    ("overwrite", "append", "recover"),
    ("rewrite", "append", "recover"),
]
SETS = {", ".join(names): _set(*names) for names in _TOGETHER}
PAIRS = [", ".join(names) for names in _TOGETHER if len(names) <= 2]
#: One process dies at any step; one step fails, after it was done or without; a list of names is of two moments.
FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "a crash": {"crashes": 1},
    "a lost answer": {"losses": 1},
    "stale lists": {"stale": True},
    "a crash, stale lists": {"crashes": 1, "stale": True},
}
