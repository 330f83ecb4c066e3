"""Processes that promote at the same moment, on engines with transactions: one succeeds, and all are told the truth."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_automl.models.store import ModelStore
from airflow_provider_automl.tracking.store import TrackingTables
from airflow_provider_automl.warehouse import open_warehouse
from tests.warehouse.conftest import Connect

PROCESSES = 8


def move(store: ModelStore, version: str, start: Barrier, said: Connection) -> None:
    """In a process of its own: have an alias point at a version, at the same moment as the others."""
    row = store.find(model_name="m", model_version=version)
    history = store.alias_history("champion")
    start.wait(120)
    try:
        store.move_alias("champion", row, since=history[-1] if history else None, assigned_by=version)
        said.send("promoted")
    except Exception as error:
        said.send(f"{type(error).__name__} {error}")


@pytest.fixture(params=["duckdb", "postgres"])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "duckdb":
        return {"conn_type": "duckdb", "host": str(tmp_path / "w.duckdb")}
    found: dict[str, Any] = request.getfixturevalue("postgres_connection")
    return found


def test_of_processes_at_one_moment_one_moves_an_alias(
    connect: Connect, connection: dict[str, Any], tmp_path: Path
) -> None:
    warehouse = open_warehouse(connect(**connection))
    store = ModelStore(str(tmp_path / "models"), TrackingTables(warehouse, "s"))
    versions = [f"v{index}" for index in range(PROCESSES)]
    for version in versions:
        store.register(
            model_name="m", model_version=version, model_uri=store.uri("m", version), model_digest="d",
            shared_model=None, dag_id=None, run_id=None,
        )  # fmt: skip
    forked = multiprocessing.get_context("fork")  # eight that import Airflow themselves would take a minute
    for turn in range(2):  # nobody holds it; the winner holds it
        start, said = forked.Barrier(PROCESSES), {}
        processes = {}
        for version in versions:
            answer, tell = forked.Pipe(duplex=False)
            processes[version] = answer, forked.Process(target=move, args=(store, version, start, tell), daemon=True)
            processes[version][1].start()
        for version, (answer, process) in processes.items():
            assert answer.poll(120)
            said[version] = answer.recv()
            process.join()
        winners = [version for version in versions if said[version] == "promoted"]
        assert len(winners) == 1, said
        won = winners[0]
        told = f"BusyError The alias 'champion' was concurrently assigned to 'm' version '{won}' by {won}: compare with"
        assert all("Nothing was changed" in said[version] for version in versions if version != won), said
        assert all(told in said[version] for version in versions if version not in winners), said
        history = store.alias_history("champion")
        assert ([row["alias_seq"] for row in history], history[-1]["model_version"]) == (
            list(range(1, turn + 2)), winners[0],
        )  # fmt: skip
