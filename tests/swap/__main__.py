"""Count the orders of steps, and take each guard of ``warehouse/swap.py`` away in turn: ``python -m tests.swap``.

A guard is a condition: it is replaced by True, and by False. What no search finds is printed: it is a shortcut, or lets
a load fail that could go on, or shows what the search lacks.
"""

from __future__ import annotations

import ast
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider_automl.warehouse import swap
from tests.swap.model import Engine, Search
from tests.swap.sets import FAULTS, PAIRS, SETS

#: In the order in which faults are found soonest.
_KINDS = ("none", "a crash", "stale lists", "a lost answer", "a crash, stale lists")


def searches() -> Iterator[tuple[str, Callable[[], Search]]]:
    """What the tests try, the smallest first: a name of each, and the search."""
    for names in (PAIRS, [name for name in SETS if name not in PAIRS]):
        for fault in _KINDS:
            for name in names:
                for rows in (("o",), None):

                    def tagged(name: str = name, rows: Any = rows, fault: str = fault) -> Search:
                        return Search(SETS[name](tagged=True), rows=rows, **FAULTS[fault])

                    yield f"{name}; {fault}; {'replaced' if rows else 'new'}", tagged
    for fault in _KINDS:
        for name in PAIRS:

            def untagged(name: str = name, fault: str = fault) -> Search:
                return Search(SETS[name](tagged=False), engine=Engine(tags=False), **FAULTS[fault])

            yield f"{name}; {fault}; no comments", untagged


def guards() -> Iterator[tuple[str, str, bool, ast.FunctionDef]]:
    """Yield each function with one condition replaced: its name, the condition, by what, and the function."""
    source = inspect.getsource(swap)
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef) or function.name in ("run", "new_name", "old"):
            continue
        number = sum(1 for node in ast.walk(function) if isinstance(node, ast.If))
        for chosen in range(number):
            for value in (True, False):
                copy = next(
                    node
                    for node in ast.parse(source).body
                    if isinstance(node, ast.FunctionDef) and node.name == function.name
                )
                condition = [node for node in ast.walk(copy) if isinstance(node, ast.If)][chosen]
                text = ast.unparse(condition.test)
                condition.test = ast.copy_location(ast.Constant(value), condition.test)
                yield function.name, text, value, copy


def found_by() -> str | None:
    """The first search that finds a fault, or has no end; None: none does."""
    for name, search in searches():
        try:
            if search().run(300_000).faults:
                return name
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
    return None


def main() -> None:
    """Print the tables."""
    logging.disable()
    swap.ATTEMPTS = 4
    begun, states = time.monotonic(), 0
    for name, search in searches():
        found = search().run()
        states += found.states
        print(f"{found.states:8,} states, {found.ends:6,} ends, {len(found.faults)} faults: {name}", flush=True)
    print(f"{states:,} states in {time.monotonic() - begun:.0f} s")
    survived = 0
    for function, condition, value, changed in guards():
        kept = getattr(swap, function)
        module = ast.fix_missing_locations(ast.Module([changed], []))
        exec(compile(module, swap.__file__, "exec", dont_inherit=True, flags=0x1000000), swap.__dict__)  # annotations
        result = found_by()
        setattr(swap, function, kept)
        survived += result is None
        verdict = f"found by {result}" if result else "NOT FOUND"
        print(f"{function}: if {condition} -> {value}: {verdict}", flush=True)
    print(f"{survived} guards not found")


if __name__ == "__main__":
    main()
