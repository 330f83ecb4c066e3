"""Two local users of one machine, one of them hostile, with write access to shared staging and to the model store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.model_files import read_manifest, write_manifest
from airflow_provider_automl.models.store import ModelStore
from airflow_provider_automl.operators._base import private_files
from airflow_provider_automl.warehouse.exchange import Exchange

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two other users")

OURS, HOSTILE = 61_001, 61_002
CANARY = "canary-of-a-row"


@contextmanager
def running(user: int, work: Callable[[], object]) -> Iterator[Callable[[], Any]]:
    """Have a user do something in a process of its own; what is yielded waits for its result, or raises what it raised.

    (Forked: what it needs is imported already, for that user may not be able to read this checkout.)
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            os.umask(0o022)
            told = {"result": work()}
        except BaseException:
            told = {"error": traceback.format_exc()}
        with os.fdopen(write, "w") as pipe:
            json.dump(told, pipe)
        os._exit(0)
    os.close(write)
    ended = False

    def result() -> Any:
        nonlocal ended
        with os.fdopen(read) as pipe:
            told = json.loads(pipe.read() or '{"error": "it was killed"}')
        os.waitpid(pid, 0)
        ended = True
        if "error" in told:
            raise AssertionError(told["error"])
        return told["result"]

    try:
        yield result
    finally:
        if not ended:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
            os.waitpid(pid, 0)


def done(user: int, work: Callable[[], object]) -> Any:
    with running(user, work) as result:
        return result()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory in which everybody may make files, as ``/tmp`` is one; pytest's own is closed to others."""
    path = Path(tempfile.mkdtemp(prefix="automl-users-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def attempts(*tries: Callable[[], object]) -> list[str]:
    """What succeeded of these, by the number."""
    found = []
    for number, attempt in enumerate(tries):
        with suppress(OSError):
            attempt()
            found.append(str(number))
    return found


def test_work_of_a_task_cannot_be_read_or_changed(shared: Path) -> None:
    """A10: the work directory with its rows, the model in it, and the DuckDB file."""
    home = shared / "home"

    def task() -> None:
        with private_files():
            (home / "staging" / "work").mkdir(parents=True)
            (home / "staging" / "work" / "rows.parquet").write_text(CANARY)
            with duckdb.connect(home / "warehouse.duckdb") as database:
                database.execute(f"CREATE TABLE t AS SELECT '{CANARY}' AS a")

    done(OURS, task)
    rows, database = home / "staging" / "work" / "rows.parquet", home / "warehouse.duckdb"
    assert rows.read_text() == CANARY
    tries = (
        rows.read_text, database.read_bytes, lambda: rows.write_text("x"), lambda: list(home.iterdir()), rows.unlink,
        database.unlink, lambda: home.rename(shared / "mine"), lambda: (home / "x").write_text("x"),
        lambda: shutil.rmtree(home),
    )  # fmt: skip
    assert done(HOSTILE, lambda: attempts(*tries)) == []
    home.chmod(0o755)  # though the way there be open
    assert done(HOSTILE, lambda: attempts(*(each for each in tries if each is not tries[3]))) == []
    assert [stat.S_IMODE(path.stat().st_mode) for path in (rows, database)] == [0o600, 0o600]


def test_what_waits_in_shared_staging_is_not_used(shared: Path) -> None:
    """A9: the name of a load's directory can be known in advance."""
    victim = shared / "victim"
    victim.mkdir()
    victim.chmod(0o755)
    (victim / "file").write_text("x")
    os.chown(victim, OURS, OURS)
    os.chown(victim / "file", OURS, OURS)
    staging = shared / "staging"
    staging.mkdir()
    staging.chmod(0o1777)
    name = staging / ("automl-" + hashlib.sha256(b"load").hexdigest()[:32])

    def load() -> str:
        try:
            with Exchange(staging.as_uri()).directory("load") as exchange:
                (victim / "rows").write_text(CANARY)
                exchange.put([victim / "rows"])
                return Path(exchange.uri.removeprefix("file://")).resolve().as_posix()
        except InputError as error:
            return f"refused: {error}"

    for plant in (
        lambda: name.symlink_to(victim),
        lambda: name.symlink_to(victim / "not there"),
        lambda: name.write_text("a file"),
        lambda: (name.mkdir(), name.chmod(0o777)),
    ):
        done(HOSTILE, plant)
        assert done(OURS, load).startswith("refused: ")
        assert stat.S_IMODE(victim.stat().st_mode) == 0o755
        assert sorted(path.name for path in victim.iterdir()) in (["file"], ["file", "rows"])
        assert (victim / "file").read_text() == "x"
        done(HOSTILE, lambda: name.rmdir() if name.is_dir() and not name.is_symlink() else name.unlink())
    assert done(OURS, load).startswith(str(name))


def test_rows_in_shared_staging_cannot_be_replaced(shared: Path) -> None:
    """A9: while the engine reads them; the sticky bit of the place holds within it."""
    staging = shared / "staging"
    staging.mkdir()
    staging.chmod(0o1777)
    ready, over = shared / "ready", shared / "over"

    def load() -> str:
        (mine := shared / "mine").write_text(CANARY)
        with Exchange(staging.as_uri()).directory("load") as exchange:
            exchange.put([mine])
            ready.write_text(exchange.uri.removeprefix("file://"))
            while not over.exists():
                time.sleep(0.05)
            (found,) = exchange.take(shared / "took")
            return found.read_text()

    (shared / "took").mkdir()
    os.chown(shared / "took", OURS, OURS)
    with running(OURS, load) as result:
        deadline = time.monotonic() + 30
        while not ready.exists() or not ready.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        directory = Path(ready.read_text())
        (file,) = directory.iterdir()

        def replace() -> None:
            (shared / "evil").write_text("evil")
            os.replace(shared / "evil", file)

        tries = (
            lambda: file.write_text("evil"), file.unlink, replace, lambda: directory.rename(staging / "elsewhere"),
            lambda: directory.parent.rename(staging / "elsewhere"), lambda: shutil.rmtree(directory),
            lambda: directory.chmod(0o777), lambda: file.chmod(0o666),
        )  # fmt: skip
        assert done(HOSTILE, lambda: attempts(*tries)) == []
        done(HOSTILE, lambda: (directory / "part-00001.parquet").symlink_to(shared / "ready"))
        over.touch()
        assert result() == CANARY
    assert list(staging.iterdir()) == []


def test_a_model_is_the_one_that_was_checked(shared: Path) -> None:
    """A11: who writes to the store swaps a file between the check and the load, again and again."""
    store = shared / "models"
    version = store / "m" / "v" / "model"
    version.mkdir(parents=True)
    good = b"good" * 100_000
    (version / "predictor.pkl").write_bytes(good)
    digest = write_manifest(version, {})
    for path in (store, store / "m", store / "m" / "v", version):
        path.chmod(0o777)
    for path in version.iterdir():
        path.chmod(0o644)  # whatever the umask is
    over = shared / "over"

    def swap() -> int:
        count = 0
        while not over.exists():
            for content in (b"evil" * 100_000, good, None):
                (shared / "outside").write_bytes(content or good)
                if content is None:  # a link to what is changed at once
                    (version / "new").symlink_to(shared / "outside")
                else:
                    (version / "new").write_bytes(content)
                os.replace(version / "new", version / "predictor.pkl")
                (shared / "outside").write_bytes(b"evil" * 100_000)
                count += 1
        (version / "predictor.pkl").unlink()
        (version / "predictor.pkl").write_bytes(good)
        return count

    def load() -> dict[str, int]:
        found = {"good": 0, "refused": 0, "evil": 0}
        models = ModelStore(str(store), lambda: None)  # type: ignore[arg-type, return-value]
        row = {"model_uri": models.uri("m", "v"), "model_name": "m", "model_version": "v", "model_digest": digest}
        for _ in range(60):
            work = Path(tempfile.mkdtemp(dir=shared))
            try:
                with models.opened(row, work) as model:
                    read_manifest(model, digest)  # as the job does before it loads anything
                    time.sleep(0.002)
                    content = (model / "predictor.pkl").read_bytes()
                    assert model.resolve().is_relative_to(work.resolve())
                    found["good" if content == good else "evil"] += 1
            except (InputError, JobInputError, OSError, shutil.Error):
                found["refused"] += 1
        return found

    with running(HOSTILE, swap) as swapped:
        found = done(OURS, load)
        over.touch()
        assert swapped() > 10
    assert found["evil"] == 0
    assert found["good"] + found["refused"] == 60
    assert found["refused"] > 0
    assert done(OURS, load)["good"] == 60  # when nobody does
