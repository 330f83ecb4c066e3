"""Recording exactly once, on a DuckDB file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.tracking.store import TrackingTables, record_id
from airflow_provider_automl.tracking.tables import COLUMNS, EVAL_RESULTS, EXPERIMENTS, MODELS

EVALUATION = {
    "session_time": "2023-05-18T07:19:18+00:00",
    "model_name": "gluon_model_161722236",
    "test_table": "ml_datasets.gluon_test",
    "auroc": 0.9238149699,
    "rows_evaluated": 16281,
    "metrics": {"auroc_se": 0.002},
}


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TrackingTables:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return AutoMLHook().tracking('"my schema"')


def test_record_ids_differ_by_every_part() -> None:
    assert record_id("a", "b", None) == record_id("a", "b", None)
    assert (
        len({record_id("a", "b"), record_id("ab"), record_id("a", None), record_id("a", "None"), record_id("a")}) == 5
    )


def test_the_same_record_again_writes_nothing(tracking: TrackingTables) -> None:
    assert tracking.record(EVAL_RESULTS, EVALUATION, record_id="x") == "inserted"
    (first,) = tracking.read(EVAL_RESULTS)
    assert tracking.record(EVAL_RESULTS, EVALUATION, record_id="x") == "unchanged"
    assert tracking.read(EVAL_RESULTS) == [first]
    assert tracking.record(EVAL_RESULTS, {**EVALUATION, "auroc": 0.9}, record_id="x") == "replaced"
    (row,) = tracking.read(EVAL_RESULTS)
    assert row["auroc"] == 0.9
    assert row["metrics"] == '{"auroc_se": 0.002}'
    assert str(row["session_time"]) == "2023-05-18 07:19:18"
    assert list(row) == list(COLUMNS[EVAL_RESULTS])


def test_without_a_record_id_every_call_records(tracking: TrackingTables) -> None:
    for _ in range(2):
        tracking.record(EVAL_RESULTS, EVALUATION)
    assert len(tracking.read(EVAL_RESULTS)) == 2


def test_at_once(tracking: TrackingTables) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: tracking.record(EVAL_RESULTS, EVALUATION, record_id="x"), range(16)))
    assert sorted(set(outcomes)) == ["inserted", "unchanged"]
    assert outcomes.count("inserted") == 1
    assert len(tracking.read(EVAL_RESULTS)) == 1


def test_an_older_table_gets_the_columns_it_lacks(tracking: TrackingTables) -> None:
    older = {column: COLUMNS[EXPERIMENTS][column] for column in list(COLUMNS[EXPERIMENTS])[:7]}
    tracking.warehouse.create_table(tracking.name(EXPERIMENTS), {**older, "their own": "BIGINT"})
    tracking.record(EXPERIMENTS, {"model_name": "m", "options": {"a": [1]}}, record_id="x")
    (row,) = tracking.warehouse.rows(tracking.name(EXPERIMENTS))
    assert row["model_name"] == "m"
    assert row["options"] == '{"a": [1]}'
    assert "their own" in row
    assert set(COLUMNS[EXPERIMENTS]) <= set(row)


def test_reading_a_missing_table(tracking: TrackingTables) -> None:
    assert tracking.read(EVAL_RESULTS) == []


def test_only_the_newest_row_of_a_record_counts(tracking: TrackingTables) -> None:
    """Where an engine has no transactions, a row that supersedes another lies beside it."""
    tracking.create([MODELS])
    moments = [datetime(2026, 11, 25, 7, minute, tzinfo=UTC).replace(tzinfo=None) for minute in range(4)]
    written = [  # model_version, shared_model, record_id, recorded_at
        ("2", None, "x", moments[2]),  # no longer shared
        ("1", "u", "x", moments[1]),
        ("3", "u", "y", moments[3]),
        ("3", "u", "y", moments[3]),  # by two at one moment
        ("theirs", "u", None, None),
        ("theirs too", "u", None, moments[0]),
    ]
    names = ("model_version", "shared_model", "record_id", "recorded_at")
    with tracking.warehouse._session(write=True) as cursor:
        table = tracking.warehouse._qualified(tracking.name(MODELS))
        for values in written:
            tracking.warehouse._run(cursor, "insert", table=table, columns=list(names), items=list(values))
    assert [row["model_version"] for row in tracking.read(MODELS)] == ["theirs", "theirs too", "2", "3"]
    found = tracking.read(MODELS, shared_model="u")
    assert [row["model_version"] for row in found] == ["theirs", "theirs too", "3"]
    assert list(found[0]) == list(COLUMNS[MODELS])
