"""Kills at random moments of work on the model store: versions are saved, aliased, shared and deleted.

A child does so and says what is done; it is killed by SIGKILL at a random moment, again and again. Whatever it had said
must be there, every version that is there must be whole, and what it was in the middle of is all or nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
import uuid
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from airflow_provider_automl.jobs.model_files import read_manifest, write_manifest
from tests.engines import Facts


def on_s3(facts: Facts, set_variable: Callable[[str, str], None], prefix: str) -> None:
    """Have the default connection's models be on that S3 server."""
    keys = {"conn_type": "aws", "login": facts["access_key"], "password": facts["secret_key"]}
    keys["extra"] = {"endpoint_url": facts["endpoint"], "region_name": facts["region"]}
    set_variable("AIRFLOW_CONN_MODELS_KEYS", json.dumps(keys))
    base = f"s3://models_keys@{facts['bucket']}/{prefix}"
    set_variable("AIRFLOW_CONN_AUTOML_DEFAULT", json.dumps({"conn_type": "automl", "extra": {"model_store": base}}))


def made(directory: Path, text: str) -> str:
    """The files of a version whose model is one small file; returns its digest."""
    (directory / "model" / "predictor").mkdir(parents=True)
    (directory / "model" / "predictor" / "model.pkl").write_text(text)
    digest = write_manifest(
        directory / "model", {"autogluon_version": "1.6.3", "python_version": "3.11.7", "model_version": text}
    )
    (directory / "training.json").write_text('{"score_val": 0.9}')
    return digest


def work(turn: int, scratch: Path, environment: dict[str, str], to: Connection) -> None:
    """Save two versions, point the alias at the first one, share it, delete the other; say each when it is done."""
    os.environ.update(environment)
    from airflow_provider_automl.hooks.automl import AutoMLHook

    store = AutoMLHook().models
    to.send(("begin", ""))
    for name in (f"{turn}a-0", f"{turn}b-0"):
        files = scratch / uuid.uuid4().hex
        digest = made(files, name)
        uri = store.save(files, "m", name)
        row = store.register(
            model_name="m", model_version=name, model_uri=uri, model_digest=digest, shared_model=None, dag_id="d",
            run_id="r",
        )  # fmt: skip
        to.send(("saved", name))
        if name.endswith("a-0"):
            store.set_alias("champion", row, assigned_by="me", reason=name)
            to.send(("aliased", name))
            store.share(row)
            to.send(("shared", name))
        else:
            store.delete(row)
            to.send(("deleted", name))
    to.send(("end", ""))
    os._exit(0)


class Kills:
    """A store under kills, by the default connection of this process's environment.

    :param scratch: for files that are not saved yet.
    """

    def __init__(self, seed: int, scratch: Path) -> None:
        self.random = random.Random(seed)
        self.scratch = scratch
        # The server that forks the children was begun in the environment of an earlier test.
        self.environment = {key: value for key, value in os.environ.items() if key.startswith("AIRFLOW_")}
        self.done: dict[str, list[str]] = {"saved": [], "aliased": [], "shared": [], "deleted": []}
        self.hit: dict[str, int] = {}
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.faults.models", "airflow.providers.common.compat.sdk", "duckdb",
            "airflow_provider_automl.hooks.automl", "airflow.providers.duckdb.hooks.duckdb", "sqlglot", "pyarrow",
            "airflow_provider_automl.warehouse.duckdb"])  # fmt: skip
        self._seconds: float | None = None

    def kill_one(self, turn: int) -> None:
        """Start a child, kill it at a random moment, note what it had said. The first one shows how long it takes."""
        receiver, sender = self._processes.Pipe(duplex=False)
        child = self._processes.Process(target=work, args=(turn, self.scratch, self.environment, sender), daemon=True)
        child.start()
        sender.close()
        assert receiver.poll(60)
        assert receiver.recv() == ("begin", "")
        begun = time.monotonic()
        child.join(None if self._seconds is None else self.random.uniform(0, self._seconds))
        child.kill()
        child.join()
        self._seconds = self._seconds or time.monotonic() - begun
        last = "begin"
        while True:
            try:
                last, name = receiver.recv()
            except EOFError:
                break
            if last == "end":
                break
            self.done[last].append(name)
        self.hit[last] = self.hit.get(last, 0) + 1
        receiver.close()

    def problems(self) -> list[str]:
        """What is wrong with the store now."""
        from airflow_provider_automl.hooks.automl import AutoMLHook

        store = AutoMLHook().models
        found: list[str] = []
        there = {row["model_version"]: row for row in store.versions("m")}
        deleted = {row["model_version"] for row in store.versions("m", deleted=True)}
        for name, row in there.items():
            if not self._is_whole(store, row, name):
                found.append(f"the version {name} is there and not whole")
        found += [f"{name} was saved and is gone" for name in self.done["saved"] if name not in {*there, *deleted}]
        found += [f"{name} was deleted and is there" for name in self.done["deleted"] if name in there]
        found += [f"{name} was shared and is not" for name in self.done["shared"] if not there[name]["shared_model"]]
        history = [row["reason"] for row in store.alias_history("champion")]
        if [name for name in history if name in self.done["aliased"]] != self.done["aliased"]:
            found.append(f"the alias went through {history}, and {self.done['aliased']} were said")
        if history and store.find(alias="champion")["model_version"] != history[-1]:
            found.append("the alias does not point at its newest version")
        return found

    def _is_whole(self, store: Any, row: dict[str, Any], name: str) -> bool:
        target = self.scratch / uuid.uuid4().hex
        model = store.fetch(row, target)
        return (
            model is not None
            and read_manifest(model, row["model_digest"])["model_version"] == name
            and store.training(row) == {"score_val": 0.9}
        )
