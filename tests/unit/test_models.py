"""The model store and the registry, on a DuckDB file and a local directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.models.store import ModelStore, check_model_name


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModelStore:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return AutoMLHook().models


def save(
    store: ModelStore, tmp_path: Path, name: str, version: str, *, register: bool = True, shared: str | None = None
) -> str:
    files = tmp_path / "work"
    (files / "model").mkdir(parents=True)
    (files / "model" / "manifest.json").write_text(version)
    (files / "training.json").write_text('{"score_val": 0.9}')
    uri = store.save(files, name, version)
    if register:
        store.register(
            model_name=name,
            model_version=version,
            model_uri=uri,
            model_digest="d",
            shared_model=shared,
            dag_id="d",
            run_id="r",
        )
    return uri


def test_a_version_exists_when_its_row_does(store: ModelStore, tmp_path: Path) -> None:
    save(store, tmp_path, "census model é%20", "20261124T070000-abc-0", register=False)
    with pytest.raises(InputError, match="it holds no model yet; train one first"):
        store.find(model_name="census model é%20")
    save(store, tmp_path, "census model é%20", "20261124T070000-abc-0")
    row = store.find(model_name="census model é%20")
    found = store.fetch(row, tmp_path)
    assert found is not None
    assert (found / "manifest.json").read_text() == "20261124T070000-abc-0"
    assert store.training(row) == {"score_val": 0.9}


def test_no_version_given_means_the_newest(store: ModelStore, tmp_path: Path) -> None:
    for version in ("b-0", "a-0", "c-0"):
        save(store, tmp_path, "m", version)
    assert store.find(model_name="m")["model_version"] == "c-0"
    assert store.find(model_name="m", model_version="a-0")["model_version"] == "a-0"
    with pytest.raises(InputError, match="Model 'm' has no version 'x': the newest are b-0, a-0, c-0"):
        store.find(model_name="m", model_version="x")
    save(store, tmp_path, "m2", "d-0")
    assert store.find(model_name="m*")["model_name"] == "m2"
    with pytest.raises(InputError, match="No model 'n' in .*: there are: m, m2"):
        store.find(model_name="n")


def test_a_shared_version_is_found_by_its_uuid_alone(store: ModelStore, tmp_path: Path) -> None:
    save(store, tmp_path, "m", "a-0", shared="b4a568da-e6f3-4057-b694-e2e19bf0e924")
    assert store.find(shared_model="b4a568da-e6f3-4057-b694-e2e19bf0e924")["model_version"] == "a-0"
    with pytest.raises(InputError, match="No model is shared under 'x'"):
        store.find(shared_model="x")


def test_leftovers_of_this_task_instance_go_and_nothing_else(store: ModelStore, tmp_path: Path) -> None:
    save(store, tmp_path, "m", "time-mine-0", register=False)
    save(store, tmp_path, "m", "time-other-0", register=False)
    save(store, tmp_path, "m", "time-mine-1")
    save(store, tmp_path, "m", "time-mine-2")
    base = tmp_path / "home" / "automl" / "models" / "m"
    (base / ".time-mine-3.partial").mkdir()
    store.remove_leftovers("m", "time-mine-4")
    assert sorted(path.name for path in base.iterdir()) == ["time-mine-1", "time-mine-2", "time-other-0"]


@pytest.mark.parametrize("name", ["", None, "a/b", "a\\b", "..", "a..b", "a\nb", "a\0", " a", "a.", "a*", "é" * 101])
def test_names_that_are_no_directories(name: str | None) -> None:
    with pytest.raises(InputError, match="model_name"):
        check_model_name(name)


@pytest.mark.parametrize("name", ["gluon_model_161722236", "a b", "v1.2-x", "модель"])
def test_names_that_are(name: str) -> None:
    assert check_model_name(name) == name
