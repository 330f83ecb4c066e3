"""Real servers for tests, benchmarks and people: Trino, Hive, Spark, S3 and Postgres as processes of this machine.

``python -m tests.engines trino up`` has one stand until ``down``; ``engine("trino")`` has one for a ``with`` block, and
dies with the process that asked. All listen on 127.0.0.1, on free ports. What they are made of is downloaded once, by
Maven and pip as they are configured here, checked, and kept for every checkout (``tests/engines/cache.py``).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.engines.cache import Missing
from tests.engines.hive import Hive
from tests.engines.postgres import Postgres
from tests.engines.s3 import S3
from tests.engines.server import FACTS, Facts, Server, runs
from tests.engines.spark import Spark
from tests.engines.trino import BESIDE, Trino

__all__ = ["BESIDE", "ENGINES", "Facts", "Missing", "Server", "directory", "engine", "required", "standing"]

#: In the order in which they start: Trino's catalogs use the others.
ENGINES: dict[str, type[Server]] = {each.name: each for each in (Postgres, S3, Hive, Spark, Trino)}


def directory(name: str) -> Path:
    """Where a person's server lives: below ``AUTOML_ENGINES_DIR``, by default ``.engines`` in the checkout."""
    root = os.environ.get("AUTOML_ENGINES_DIR")
    return (Path(root) if root else Path(__file__).resolve().parents[2] / ".engines").resolve() / name


def standing(name: str) -> Facts | None:
    """What a person's server says of itself, if it is up."""
    try:
        facts: Facts = json.loads((directory(name) / FACTS).read_text())
    except FileNotFoundError:
        return None
    return facts if all(runs(*process) for process in facts["processes"]) else None


def required() -> set[str]:
    """The engines that must be proven, by ``AUTOML_REQUIRE_ENGINES`` (``trino,hive``): a missing one is a failure."""
    return {name.strip() for name in os.environ.get("AUTOML_REQUIRE_ENGINES", "").split(",")} - {""}


@contextmanager
def engine(
    name: str, *, home: Path | None = None, beside: Mapping[str, Facts] | None = None, lasting: bool = False
) -> Iterator[Facts]:
    """A server of that kind: a fresh one, or with ``AUTOML_ENGINES_DIR`` the one that a person has up there.

    :param home: its directory, which keeps its logs when it is gone; without one, nothing is kept.
    :param beside: the facts of other servers, by name, for Trino's catalogs.
    :param lasting: whether it is to work for an hour, not for a minute.
    :raises Missing: it cannot be had on this machine; says what to install.
    :raises RuntimeError: it did not start; with the end of its log.
    """
    if os.environ.get("AUTOML_ENGINES_DIR") and (facts := standing(name)):
        yield facts
        return
    made = home or Path(tempfile.mkdtemp(prefix=f"automl-{name}-"))
    server = ENGINES[name](made, beside=beside)
    server.lasting = lasting
    try:
        yield server.start()
    finally:
        server.stop()
        server.clear()
        if home is None:
            shutil.rmtree(made, ignore_errors=True)
