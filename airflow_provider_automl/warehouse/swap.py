"""Replace a table as a whole on an engine that cannot change two tables in one step.

The new rows of a table ``t`` are in a table of their own beside it, the *staging table* ``n``. Publishing takes three
statements, each of which the engine does whole or not at all::

    1.  rename t to b      (the backup: ``n`` with ``_old`` behind its name)
    2.  rename n to t
    3.  drop b

A process may die between any two of them, and any number of others may do the same with the same table. Two things
keep the table whole all the same:

* Every name except ``t`` is used once. So what is seen of ``n`` and ``b`` stays true, whoever acts meanwhile:

  ======= ======= ==================================================================================
  ``b``   ``n``   what is due
  ======= ======= ==================================================================================
  absent  present step 1, by the owner of ``n`` only
  present present step 2, by anybody who finds no ``t``: the load had begun to publish
  present absent  step 3, by anybody who finds ``t``: it was published
  absent  absent  nothing: it was published, and the backup dropped
  ======= ======= ==================================================================================

* What step 2 does is decided by the names and the backup alone, so that all who do it decide alike. A staging table
  that was made *from* ``t`` (an append that replaces rows) is published only if the backup is the version that it was
  made from: its name has a digest of that version. Else others have written to ``t`` meanwhile, and step 2 is to
  rename ``b`` to ``t`` again.

The functions here do no I/O. They are generators that yield a step (:class:`Exists`, :class:`Rename` …) and are sent
its result. :func:`run` does the steps of one on an engine; ``tests/swap`` tries every order in which the steps of
several processes can follow each other, with one that dies at any step, answers that are lost, and outdated lists.

Conditions on the engine: a rename is atomic, fails where its target exists, and keeps the table's rows and tag.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from airflow_provider_automl.errors import BusyError

log = logging.getLogger(__name__)

#: After so long, a staging table belongs to no load any more.
ABANDONED = timedelta(days=1)
#: How often a table must be found missing before it is created: others may be replacing it, and each time it is looked
#: for, it may be missing for another one's sake.
LOOKS = 4
#: How often publishing is tried while others change the table.
ATTEMPTS = 20

_OLD = "_old"
_UNDONE = "_undone"
_ANY = "any"


@dataclass(frozen=True)
class Tag:
    """What a table of ours says of itself (in its comment or a property of it), wherever it is renamed to.

    :param name: its first name.
    :param target: a digest of the target's name.
    :param load: a digest of the target's name and of the load's key: the same for each attempt of a task.
    :param begun: when the load began.
    """

    name: str
    target: str
    load: str
    begun: datetime

    def is_dead(self, load: str, now: datetime) -> bool:
        """Whether its load has ended: a later attempt of the same task asks, or a day has passed."""
        return self.load == load or now - self.begun > ABANDONED


# -------------------------------------------------------------------------------------------------- steps


@dataclass(frozen=True)
class Names:
    """-> tuple[str, ...]: the tables with the target's prefix, others' too. The list need not be of one moment."""


@dataclass(frozen=True)
class Exists:
    """-> bool."""

    name: str


@dataclass(frozen=True)
class ReadTag:
    """-> Tag | None; None: there is no such table, or it has no tag of ours."""

    name: str


@dataclass(frozen=True)
class Version:
    """-> str | None: what changes when rows of a table change; None: there is no such table."""

    name: str


@dataclass(frozen=True)
class Rename:
    """-> bool: done; False: refused, because the one is missing or the other exists."""

    name: str
    to: str


@dataclass(frozen=True)
class Drop:
    """-> None. A table that is missing is no error."""

    name: str


@dataclass(frozen=True)
class EndQueries:
    """-> None: end what other sessions run with a table."""

    name: str


@dataclass(frozen=True)
class Now:
    """-> datetime, in UTC."""


@dataclass(frozen=True)
class Pause:
    """-> None: let others get on."""


Step = Names | Exists | ReadTag | Version | Rename | Drop | EndQueries | Now | Pause
Steps = Generator[Step, Any, Any]


def run(steps: Steps, do: Callable[[Step], Any]) -> Any:
    """Do the steps of one of the functions below, one after the other, and return its result.

    :param do: does a step on an engine; its errors are the function's to handle.
    """
    try:
        step = next(steps)
        while True:
            try:
                answer = do(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as stop:
        return stop.value


# -------------------------------------------------------------------------------------------------- names


def new_name(prefix: str, target: str, version: str | None = None, *, nonce: str = "") -> str:
    """Return a name for a staging table that no table has had: the prefix and 16 hexadecimal digits.

    They are six that are random, four that belong to the target, and six that belong to the version. So others with the
    same prefix (it is cut, and has no special characters) are told apart, and who finishes the load knows what to do.

    :param prefix: what all names beside the target begin with.
    :param version: of the target, if the table is made from it; None if it replaces any version.
    :param nonce: the six digits, for tests.
    """
    nonce = nonce or secrets.token_hex(3)
    return f"{prefix}{nonce}{_digits(target, 4)}{_check(nonce, _ANY if version is None else version)}"


def _digits(text: str, number: int) -> str:
    return sha256(text.encode()).hexdigest()[:number]


def _check(nonce: str, version: str) -> str:
    return _digits(f"{nonce}\n{version}", 6)


def old(name: str) -> str:
    """Return the backup's name for a staging table's."""
    return name + _OLD


def belongs(name: str, target: str) -> bool:
    """Whether a name with the target's prefix is that of a staging table of the target, or of its backup."""
    return name.removesuffix(_OLD).removesuffix(_UNDONE)[-10:-6] == _digits(target, 4)


def _is_of(name: str, version: str | None) -> bool:
    """Whether a staging table replaces a target of this version."""
    nonce, check = name[-16:-10], name[-6:]
    return check == _check(nonce, _ANY) or (version is not None and check == _check(nonce, version))


def _replaces_any(name: str) -> bool:
    return _is_of(name, None)


class Changed(Exception):
    """Others have written to the target since the version that a staging table was made from."""


class TargetExists(Exception):
    """The target exists, which is not to be replaced."""


# -------------------------------------------------------------------------------------------------- publishing


def publish(target: str, new: str, *, replace: bool = True, tagged: bool = True) -> Steps:
    """Give a staging table the target's name.

    :param new: the staging table, complete, with a name from :func:`new_name`.
    :param replace: False: only if there is no target.
    :param tagged: whether the staging table has a tag: not in a catalog without them.
    :raises Changed: the target is not the version that the staging table was made from; it is unchanged.
    :raises TargetExists: ``replace`` is False, and the target exists.
    :raises BusyError: other sessions keep changing the target, or the staging table is gone.
    """
    has_moved = False
    for attempt in range(ATTEMPTS):
        if attempt:
            yield Pause()
            moved = yield Exists(old(new))  # before the other: "moved, and not waiting" then stays true
            waiting = yield Exists(new)
            if not waiting:
                yield from _without(target, new, tagged=tagged)
                return
            if moved:
                has_moved = True
                done = yield from _advance(target, new)
                if done:
                    return
                continue
            if has_moved and not _replaces_any(new):  # another session has undone it
                raise Changed
        moved, done = yield from _begin(target, new, replace=replace)
        if done:
            return
        has_moved = has_moved or moved
    raise BusyError(f"Other sessions keep changing {target}.")


def _begin(target: str, new: str, *, replace: bool) -> Steps:
    """Do all steps, or step 2 only if there is no target; return whether the target has moved, and whether all is done.

    :raises Changed: see :func:`publish`.
    :raises TargetExists: see :func:`publish`.
    """
    there = yield Exists(target)
    if there:
        if not replace:
            raise TargetExists
        moved = yield from _renamed(target, old(new), once=old(new))
        if not moved:
            return False, False
        done = yield from _advance(target, new)
        return True, done
    if not replace or not _replaces_any(new):
        gone = yield from may_create(target)
        if not gone:
            return False, False
        if not _replaces_any(new):
            raise Changed
    done = yield from _renamed(new, target, once=new)
    return False, done


def _advance(target: str, new: str) -> Steps:
    """Do steps 2 and 3 of a load whose backup exists; return whether it is published.

    :raises Changed: the backup is the target again.
    """
    backup = old(new)
    forward = _replaces_any(new)
    if not forward:
        version = yield Version(backup)
        forward = _is_of(new, version)
    if not forward:
        undone = yield from _renamed(backup, target, once=backup)
        if undone:
            raise Changed
    else:
        done = yield from _renamed(new, target, once=new)
        if done:
            yield from _drop_backup(backup)
            return True
    superseded = yield from _superseded(target, new)
    return superseded


def _superseded(target: str, new: str) -> Steps:
    """Whether another load, which found no target for a moment, has taken its place: it counts as the later one."""
    there = yield Exists(target)
    tag = yield ReadTag(target)
    own = yield ReadTag(new)
    moved = yield Exists(old(new))  # after the others: it has not become the target again
    waiting = yield Exists(new)
    if not (there and moved and waiting) or (tag is None and own is not None):  # without a tag: not published
        return False
    yield Drop(new)
    yield from _finish(target, old(new))
    return True


def _without(target: str, new: str, *, tagged: bool) -> Steps:
    """End a load whose staging table is gone: another session has published it, or dropped it as orphaned.

    :raises BusyError: it cannot be seen that it was published.
    """
    backup = old(new)
    tag = yield ReadTag(target)
    moved = yield Exists(backup)
    if moved:
        gone = yield from _is_gone(target)
        if gone:
            yield from _renamed(backup, target, once=backup)
        else:
            yield from _finish(target, backup)
    if tagged and (tag is None or tag.name != new):
        raise BusyError(f"The staging table {new} is gone: another attempt of the same load has dropped it.")


def _finish(target: str, backup: str) -> Steps:
    """Do step 3 of a load that others have published, if they have."""
    there = yield Exists(target)
    if there:
        yield from _drop_backup(backup)


def _drop_backup(backup: str) -> Steps:
    """The load is done, whether or not this succeeds: the next one tries again."""
    try:
        yield Drop(backup)
    except Exception as error:
        log.warning("Could not drop %s, a backup of replaced rows: %s", backup, error)


def _renamed(name: str, to: str, *, once: str) -> Steps:
    """Rename; return whether it was done. After an error that left it undecided: False, so that the caller looks.

    :param once: which of the two names is used once, by this step only: it tells whether it was done.
    """
    try:
        done = yield Rename(name, to)
    except Exception:
        there = yield Exists(once)
        if there != (once == to):
            raise
        return False
    return done


def _is_gone(target: str) -> Steps:
    """Whether there is no target, and no load is about to publish one."""
    for _ in range(LOOKS):
        there = yield Exists(target)
        if there:
            return False
        names = yield from _own_names(target)
        if names:
            yield Pause()
            yield from _advance_all(target, names)
    there = yield Exists(target)
    return not there


def _own_names(target: str) -> Steps:
    """List the staging tables and backups of the target."""
    names = yield Names()
    return tuple(name for name in names if belongs(name, target))


def _advance_all(target: str, names: tuple[str, ...]) -> Steps:
    """Do step 2 of the loads that had begun to publish."""
    for backup in names:
        new = backup.removesuffix(_OLD)
        if new == backup:
            continue
        moved = yield Exists(backup)
        if not moved:
            continue
        waiting = yield Exists(new)
        if not waiting:
            continue
        there = yield Exists(target)
        with suppress(Changed):
            yield from (_superseded if there else _advance)(target, new)


def recover(target: str, load: str) -> Steps:
    """Finish or undo what killed processes left of loads of the target, and drop their tables.

    :param load: the load that begins: tables of an earlier attempt of it are orphaned.
    """
    names = yield from _own_names(target)
    yield from _advance_all(target, names)
    alone = yield from _alone(names)
    if alone:
        gone = yield from _is_gone(target)
        if gone:
            yield from _renamed(alone[-1], target, once=alone[-1])
    for backup in alone:
        tag = yield ReadTag(target)
        there = yield Exists(target)
        if there and tag is None:
            log.warning(
                "%s was created by another session while a load was being published. %s may have the only copy of its "
                "earlier rows: copy those that you need, then drop it.",
                target,
                backup,
            )
            continue
        yield from _finish(target, backup)
    for name in names:
        if name.endswith(_OLD):
            continue
        new = name.removesuffix(_UNDONE)
        moved = yield Exists(old(new))
        if moved:
            continue
        tag = yield ReadTag(name)
        if tag is not None and tag.name == new:
            now = yield Now()
            if tag.is_dead(load, now):
                yield EndQueries(name)
                yield Drop(name)


def _alone(names: tuple[str, ...]) -> Steps:
    """List the backups whose staging tables are gone: published, or undone before the backup was the target again."""
    found = []
    for backup in names:
        new = backup.removesuffix(_OLD)
        if new == backup:
            continue
        moved = yield Exists(backup)
        if moved:
            waiting = yield Exists(new)
            if not waiting:
                found.append(backup)
    return found


def may_create(target: str) -> Steps:
    """Whether there is no target, nor one that a load has moved away: it may be created."""
    gone = yield from _is_gone(target)
    if not gone:
        return False
    names = yield from _own_names(target)
    alone = yield from _alone(names)
    if alone:
        yield from _renamed(alone[-1], target, once=alone[-1])
        return False
    return True


def discard(target: str, new: str) -> Steps:
    """Undo a load that failed, and drop its staging table; a load that others have finished stays."""
    moved = yield Exists(old(new))
    if not moved:
        yield Drop(new)
        return
    undone = yield from _renamed(new, new + _UNDONE, once=new + _UNDONE)  # from now on nobody publishes it
    if not undone:
        undone = yield Exists(new + _UNDONE)
    if undone:
        yield from _renamed(old(new), target, once=old(new))
        yield Drop(new + _UNDONE)
