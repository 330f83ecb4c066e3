"""An engine in memory, and every order in which the steps of several processes on it can follow each other."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import permutations, product
from types import CodeType, GeneratorType
from typing import Any, NamedTuple

from airflow_provider_automl.errors import BusyError
from airflow_provider_automl.warehouse import swap
from airflow_provider_automl.warehouse.swap import Tag

TARGET, PREFIX = "t", "t_automl_"
#: Tables of somebody else's: one whose name looks like one of ours, and what loads of another target with the same
#: prefix have left (a backup alone, and both).
THEIRS = (
    PREFIX + "0" * 16,
    swap.old(swap.new_name(PREFIX, "another", nonce="111111")),
    swap.new_name(PREFIX, "another", nonce="222222"),
    swap.old(swap.new_name(PREFIX, "another", nonce="222222")),
)
BEGUN = datetime(2026, 11, 28, tzinfo=UTC)
Rows = tuple[str, ...]


class Lost(Exception):
    """The answer did not arrive."""


# Steps of the processes around the swap.


@dataclass(frozen=True)
class Make:
    """Create a table of rows; -> False: there is one."""

    name: str
    rows: Rows
    tag: Tag | None


@dataclass(frozen=True)
class Insert:
    """-> False: there is no such table."""

    name: str
    row: str


@dataclass(frozen=True)
class Read:
    """-> the rows, or None."""

    name: str


@dataclass(frozen=True)
class Plan:
    """Begin to read: -> what identifies the table, or None."""

    name: str


@dataclass(frozen=True)
class Fetch:
    """Read what was planned: the rows; none of a table whose files were moved; None: of one that is gone."""

    born: str


@dataclass(frozen=True)
class Table:
    rows: Rows
    tag: Tag | None
    born: str  # its first name, which identifies it wherever it is renamed to


Catalog = tuple[tuple[str, Table], ...]


@dataclass(frozen=True)
class Engine:
    """What the catalog does otherwise than the simplest one.

    :param moves_files: a rename moves a table's files: who planned to read it finds no rows, without an error.
    :param tags: whether a table can have a tag.
    """

    moves_files: bool = False
    tags: bool = True

    def do(self, catalog: Catalog, step: Any) -> tuple[Catalog, Any]:  # noqa: C901  # a case for each step
        tables = dict(catalog)

        def changed() -> Catalog:
            return tuple(sorted(tables.items()))

        match step:
            case swap.Exists(name):
                return catalog, name in tables
            case swap.ReadTag(name):
                return catalog, tables[name].tag if name in tables else None
            case swap.Version(name):
                return catalog, ",".join(tables[name].rows) if name in tables else None
            case swap.Rename(name, to):
                if name not in tables or to in tables:
                    return catalog, False
                tables[to] = tables.pop(name)
                return changed(), True
            case swap.Drop(name):
                tables.pop(name, None)
                return changed(), None
            case swap.EndQueries() | swap.Pause():
                return catalog, None
            case swap.Now():
                return catalog, BEGUN + timedelta(hours=1)
            case Make(name, rows, tag):
                if name in tables:
                    return catalog, False
                tables[name] = Table(rows, tag if self.tags else None, name)
                return changed(), True
            case Insert(name, row):
                if name not in tables:
                    return catalog, False
                into = tables[name]
                tables[name] = Table(tuple(sorted((*into.rows, row))), into.tag, into.born)
                return changed(), True
            case Read(name):
                return catalog, tables[name].rows if name in tables else None
            case Plan(name):
                return catalog, tables[name].born if name in tables else None
            case Fetch(born):
                found = [(name, table.rows) for name, table in tables.items() if table.born == born]
                if not found:
                    return catalog, None
                ((name, rows),) = found
                return catalog, () if self.moves_files and name != TARGET else rows
        raise TypeError(step)


# Processes.


def tag(name: str, load: str) -> Tag:
    return Tag(name, "target", load, BEGUN)


def overwriting(letter: str, *, load: str | None = None, tagged: bool = True) -> Any:
    """Replace all rows by one row."""
    new = swap.new_name(PREFIX, TARGET, nonce=letter * 6)
    yield from swap.recover(TARGET, load or letter)
    made = yield Make(new, (letter,), tag(new, load or letter))
    if not made:
        return "failed"
    try:
        yield from swap.publish(TARGET, new, tagged=tagged)
    except (BusyError, Lost):
        yield from swap.discard(TARGET, new)
        return "failed"
    return "done"


def creating(letter: str, *, tagged: bool = True) -> Any:
    """Make the table of one row, if there is none."""
    new = swap.new_name(PREFIX, TARGET, nonce=letter * 6)
    yield from swap.recover(TARGET, letter)
    yield Make(new, (letter,), tag(new, letter))
    try:
        yield from swap.publish(TARGET, new, replace=False, tagged=tagged)
    except (swap.TargetExists, BusyError, Lost):
        yield from swap.discard(TARGET, new)
        return "failed"
    return "done"


def rewriting(letter: str, *, tries: int = 2, tagged: bool = True) -> Any:
    """Add a row by replacing the table, as an append that deletes others does."""
    yield from swap.recover(TARGET, letter)
    for attempt in range(tries):
        version = yield swap.Version(TARGET)
        if version is None:
            continue
        rows = yield Read(TARGET)
        if rows is None:
            continue
        new = swap.new_name(PREFIX, TARGET, version, nonce=letter * 5 + str(attempt))
        yield Make(new, tuple(sorted((*rows, letter))), tag(new, letter))
        try:
            yield from swap.publish(TARGET, new, tagged=tagged)
            return "done"
        except swap.Changed:
            yield from swap.discard(TARGET, new)
        except (BusyError, Lost):
            yield from swap.discard(TARGET, new)
            return "failed"
    return "failed"


def appending(letter: str, *, tries: int = 3) -> Any:
    """Add a row."""
    for _ in range(tries):
        there = yield swap.Exists(TARGET)
        if not there:
            free = yield from swap.may_create(TARGET)
            if free:
                yield Make(TARGET, (), None)
        done = yield Insert(TARGET, letter)
        if done:
            return "done"
    return "failed"


def recovering(load: str) -> Any:
    yield from swap.recover(TARGET, load)
    return "done"


def reading() -> Any:
    """Read the target; -> its rows, or None: an error. No rows are believed only when they are found twice."""
    for _ in range(2):
        born = yield Plan(TARGET)
        if born is None:
            return None
        rows = yield Fetch(born)
        if rows != ():
            return rows
    return rows


# The search.


@dataclass(frozen=True)
class Op:
    """A process, and what it is to do.

    ``set`` replaces all rows by one, ``create`` does so if there is no table, ``add`` adds one, ``read`` reads them.
    """

    make: Callable[[], Any]
    kind: str | None
    letter: str = ""


class World(NamedTuple):
    """A state of all: catalogs, and where processes stand, by their numbers.

    :param lists: of each process that has begun to list names, those that there were.
    """

    catalog: int
    states: tuple[int, ...]
    dead: tuple[int, ...]
    crashes: int
    losses: int
    lists: tuple[tuple[int, frozenset[str]], ...]


@dataclass
class Found:
    states: int = 0
    ends: int = 0
    faults: list[str] = field(default_factory=list)


_END = object()


class Search:
    """Every order of the processes' steps.

    :param rows: of the target at the beginning; None: there is none.
    :param crashes: how many of the processes may die, each before any of its steps.
    :param losses: how many steps may fail, after they were done or without.
    :param stale: whether a list of names is of two moments.
    """

    def __init__(
        self, ops: list[Op], *, rows: Rows | None = ("o",), crashes: int = 0, losses: int = 0, stale: bool = False,
        engine: Engine = Engine(),
    ) -> None:  # fmt: skip
        self.ops, self.engine, self.stale, self.initial = ops, engine, stale, rows
        self.crashes, self.losses = crashes, losses
        tables = {name: Table(("theirs",), None, name) for name in THEIRS}
        if rows is not None:
            tables[TARGET] = Table(rows, None, TARGET)
        self.found = Found()
        self.trace: list[str] | None = None
        # A process's state is a number: of the first answers that led to it.
        self._histories: list[list[tuple[Any, ...]]] = [[] for _ in ops]
        self._steps: list[list[Any]] = [[] for _ in ops]
        self._known: list[dict[Any, int]] = [{} for _ in ops]
        self._after: list[dict[tuple[int, Any], int]] = [{} for _ in ops]
        self._catalogs: list[Catalog] = []
        self._numbers: dict[Catalog, int] = {}
        self._done: dict[tuple[int, Any], tuple[int, Any]] = {}
        self._ends: dict[Any, list[str]] = {}
        self.start = self._number(tuple(sorted(tables.items())))

    def _number(self, catalog: Catalog) -> int:
        number = self._numbers.setdefault(catalog, len(self._catalogs))
        if number == len(self._catalogs):
            self._catalogs.append(catalog)
        return number

    def _do(self, catalog: int, step: Any) -> tuple[int, Any]:
        done = self._done.get((catalog, step))
        if done is None:
            after, answer = self.engine.do(self._catalogs[catalog], step)
            done = self._done[catalog, step] = self._number(after), answer
        return done

    def _state(self, process: int, history: tuple[Any, ...]) -> int:
        """The state of a process after these answers."""
        running = self.ops[process].make()
        try:
            step = next(running)
            for answer in history:
                step = running.throw(Lost()) if answer is Lost else running.send(answer)
            stands = _stands(running)
        except StopIteration as stop:
            step = stands = (_END, stop.value)
        except (Lost, BusyError):
            step = stands = (_END, "failed")
        state = self._known[process].setdefault((stands, step), len(self._steps[process]))
        if state == len(self._steps[process]):
            self._steps[process].append(step)
            self._histories[process].append(history)
        return state

    def _next(self, process: int, state: int, answer: Any) -> int:
        key = (state, answer)
        after = self._after[process].get(key)
        if after is None:
            after = self._after[process][key] = self._state(process, (*self._histories[process][state], answer))
        return after

    def run(self, limit: int = 1_000_000) -> Found:
        """Search; raises ``RuntimeError`` if there are more states than ``limit``."""
        states = tuple(self._state(process, ()) for process in range(len(self.ops)))
        first = World(self.start, states, (), self.crashes, self.losses, ())
        seen: dict[World, World | None] = {first: None}
        stack = [first]
        while stack:
            here = stack.pop()
            if len(seen) > limit:
                raise RuntimeError(f"more than {limit} states")
            steps = [
                (process, step)
                for process, state in enumerate(here.states)
                if process not in here.dead and not _is_end(step := self._steps[process][state])
            ]
            if not steps:
                if self._ended(here) and self.trace is None:
                    self.trace = self._traced(seen, here)
                continue
            # What is of no matter to others comes first: that is one order for all.
            alone = next((each for each in steps if isinstance(each[1], (swap.Pause, swap.Now, swap.EndQueries))), None)
            for process, step in [alone] if alone else steps:
                for after in self._follow(here, process, step, may_die=alone is None):
                    if after not in seen:
                        seen[after] = here
                        stack.append(after)
        self.found.states = len(seen)
        return self.found

    def _follow(self, here: World, process: int, step: Any, *, may_die: bool) -> Iterator[World]:
        """Yield what may follow if a process does its next step, or dies before it."""
        if here.crashes and may_die:
            lists = tuple(each for each in here.lists if each[0] != process)
            dead = tuple(sorted((*here.dead, process)))
            yield here._replace(dead=dead, crashes=here.crashes - 1, lists=lists)
        if isinstance(step, swap.Names):
            yield from self._list(here, process)
            return
        after, answer = self._do(here.catalog, step)
        yield self._told(here, process, answer)._replace(catalog=after)
        if here.losses and isinstance(step, (swap.Rename, swap.Drop, Make, Insert)):
            failed = self._told(here, process, Lost)._replace(losses=here.losses - 1)
            yield failed._replace(catalog=after)
            yield failed

    def _list(self, here: World, process: int) -> Iterator[World]:
        """A list of names: of two moments, each name that changed in between may be in it or not."""
        names = frozenset(name for name, _ in self._catalogs[here.catalog] if name.startswith(PREFIX))
        begun = dict(here.lists)
        if self.stale and process not in begun:
            yield here._replace(lists=tuple(sorted({**begun, process: names}.items())))
            return
        before = begun.pop(process, names)
        unsure = sorted(before ^ names)
        for chosen in product((False, True), repeat=len(unsure)):
            some = {name for name, take in zip(unsure, chosen, strict=True) if take}
            told = self._told(here, process, tuple(sorted((before & names) | some)))
            yield told._replace(lists=tuple(sorted(begun.items())))

    def _told(self, here: World, process: int, answer: Any) -> World:
        state = self._next(process, here.states[process], answer)
        return here._replace(states=(*here.states[:process], state, *here.states[process + 1 :]))

    def _ended(self, here: World) -> bool:
        """Look at what is there when all have ended, and somebody has recovered; return whether it is wrong."""
        self.found.ends += 1
        steps = [self._steps[process][state] for process, state in enumerate(here.states)]
        results = tuple("dead" if process in here.dead else step[1] for process, step in enumerate(steps))
        if (problems := self._ends.get((here.catalog, results))) is None:
            problems = self._ends[here.catalog, results] = self._problems(self._catalogs[here.catalog], results)
        for problem in problems:
            if len(self.found.faults) < 3:
                before = [(name, table.rows) for name, table in self._catalogs[here.catalog]]
                self.found.faults.append(f"{problem}; the processes: {results}; before recovery: {before}")
        return bool(problems)

    def _traced(self, seen: dict[World, World | None], state: World) -> list[str]:
        """The steps that led to a state."""
        lines: list[str] = []
        while (before := seen[state]) is not None:
            for process, (one, other) in enumerate(zip(before.states, state.states, strict=True)):
                if one != other:
                    tables = {name: table.rows for name, table in self._catalogs[state.catalog] if name not in THEIRS}
                    lost = " (answer lost)" if before.losses != state.losses else ""
                    lines.append(f"{process}: {self._steps[process][one]}{lost} -> {tables}")
            if before.dead != state.dead:
                lines.append(f"{set(state.dead) - set(before.dead)} dies")
            state = before
        return lines[::-1]

    def _problems(self, catalog: Catalog, results: tuple[Any, ...]) -> list[str]:
        recovery = recovering("nobody's")
        answer: Any = None
        with suppress(StopIteration):
            while True:
                step = recovery.send(answer)
                if isinstance(step, swap.Names):
                    answer = tuple(sorted(name for name, _ in catalog if name.startswith(PREFIX)))
                else:
                    catalog, answer = self.engine.do(catalog, step)
        tables = dict(catalog)
        rows = tables[TARGET].rows if TARGET in tables else None
        changes = [
            (op, result) for op, result in zip(self.ops, results, strict=True) if op.kind in ("set", "create", "add")
        ]
        done = [op for op, result in changes if result == "done"]
        problems = []
        if rows not in self._explained(done, [op for op, result in changes if result != "done"]):
            problems.append(f"the target has {rows}")
        for op, result in zip(self.ops, results, strict=True):
            if op.kind == "read" and result not in (None, "dead", *self._explained([], [op for op, _ in changes])):
                problems.append(f"a reader saw {result}")
        left = [name for name in tables if name.endswith(("_old", "_undone")) and name not in THEIRS]
        if left and self.engine.tags:
            problems.append(f"left: {left}")
        undisturbed = len(self.ops) == 1 and not self.crashes and not self.losses
        if undisturbed and results != ("done",) and (self.ops[0].kind != "create" or self.initial is None):
            problems.append("it failed, though nothing was in its way")
        if lost := [name for name in THEIRS if name not in tables or tables[name].rows != ("theirs",)]:
            problems.append(f"gone: {lost}")
        return problems

    def _explained(self, done: list[Op], maybe: list[Op]) -> set[Rows | None]:
        """What the target may hold if these were done one after the other, in some order, and some of those."""
        found: set[Rows | None] = set()
        for mask in product((False, True), repeat=len(maybe)):
            some = [op for op, take in zip(maybe, mask, strict=True) if take]
            for order in permutations([*done, *some]):
                rows = self.initial
                for op in order:
                    if op.kind == "create" and rows is not None:
                        break
                    rows = tuple(sorted((*(rows or ()), op.letter))) if op.kind == "add" else (op.letter,)
                else:
                    found.add(rows)
        if self.initial is None and any(op.kind == "add" for op in maybe):
            found.add(())  # it was created, to be appended to
        return found


def _is_end(step: Any) -> bool:
    return isinstance(step, tuple) and step[0] is _END


def _stands(process: Any) -> tuple[Any, ...]:
    """Where a generator stands: in each of its frames the place, and the values of its variables but for dead ones.

    What is neither in a variable nor told by the place is missed: a generator that yields in the midst of an expression
    must not have computed anything in it before.
    """
    parts = []
    while isinstance(process, GeneratorType):
        frame = process.gi_frame
        live = _live(frame.f_code)[frame.f_lasti]
        # What a loop still has before it is in no variable: it is told by what it goes through and by where it is.
        variables = tuple(
            (name, repr(value))
            for name, value in sorted(frame.f_locals.items())
            if name in live or not (value is None or isinstance(value, (bool, Tag, datetime)))
        )
        parts.append((frame.f_code.co_name, frame.f_lasti, variables))
        process = process.gi_yieldfrom
    return tuple(parts)


@cache
def _live(code: CodeType) -> dict[int, frozenset[str]]:
    """The variables that may be read after each instruction before they are written."""
    instructions = list(dis.get_instructions(code))
    at = {instruction.offset: number for number, instruction in enumerate(instructions)}
    handlers = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    after: list[list[int]] = []
    for number, instruction in enumerate(instructions):
        following = []
        if instruction.opname not in ("RETURN_VALUE", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD",
                                      "JUMP_BACKWARD_NO_INTERRUPT"):  # fmt: skip
            following.append(number + 1)
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            following.append(at[instruction.argval])
        following += [at[each.target] for each in handlers if each.start <= instruction.offset < each.end]
        after.append([each for each in following if each < len(instructions)])
    before: list[frozenset[str]] = [frozenset()] * len(instructions)
    changed = True
    while changed:
        changed = False
        for number in range(len(instructions) - 1, -1, -1):
            instruction = instructions[number]
            live = frozenset().union(*(before[each] for each in after[number]))
            if instruction.opname in ("STORE_FAST", "DELETE_FAST"):
                live -= {instruction.argval}
            elif "FAST" in instruction.opname or "DEREF" in instruction.opname:
                live |= {instruction.argval}
            if live != before[number]:
                before[number] = live
                changed = True
    return {
        instruction.offset: frozenset().union(*(before[each] for each in after[number]))
        for number, instruction in enumerate(instructions)
    }
