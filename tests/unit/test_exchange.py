"""Staging on a disk, without an engine: whose files are taken, and whose are removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from airflow_provider_automl.warehouse.exchange import Exchange


@pytest.fixture
def staging(tmp_path: Path) -> Exchange:
    return Exchange((tmp_path / "staging").as_uri())


def path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def test_files_go_in_and_come_out_and_nothing_is_left(staging: Exchange, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in "ab":
        (tmp_path / name).write_text(name)
    with staging.directory("task") as shared:
        shared.put([tmp_path / "a", tmp_path / "b"])
        assert sorted(file.name for file in path(shared.uri).iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
        for name, text in {".part.crc": "x", "_SUCCESS": "x", "part.crc": "x", "empty": ""}.items():
            (path(shared.uri) / name).write_text(text)
        assert [file.read_text() for file in shared.take(tmp_path / "out")] == ["a", "b"]
    assert list(path(staging.uri).iterdir()) == []


def test_what_the_engine_still_writes_for_a_killed_predecessor_is_not_taken(staging: Exchange, tmp_path: Path) -> None:
    with staging.directory("task") as first, staging.directory("task") as retry:
        assert not path(first.uri).exists()
        path(first.uri).mkdir(parents=True)
        (path(first.uri) / "late.parquet").write_text("x")
        assert retry.take(tmp_path) == []
    assert list(path(staging.uri).iterdir()) == []


def test_only_what_was_left_a_day_ago_is_removed(staging: Exchange) -> None:
    root = path(staging.uri)
    with staging.directory("dead") as dead, staging.directory("alive") as alive:
        (root / "theirs").mkdir()
        long_ago = time.time() - 25 * 60 * 60
        for directory in (path(dead.uri).parent, root / "theirs"):
            os.utime(directory, (long_ago, long_ago))
        with staging.directory("task"):
            assert not path(dead.uri).exists()
            assert path(alive.uri).exists()
    assert [directory.name for directory in root.iterdir()] == ["theirs"]
