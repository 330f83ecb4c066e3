from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.hooks.automl import AutoMLHook


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    return tmp_path


def connection(monkeypatch: pytest.MonkeyPatch, **extra: object) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AUTOML_DEFAULT", json.dumps({"conn_type": "automl", "extra": extra}))


def test_without_a_connection_everything_is_embedded(home: Path) -> None:
    settings = AutoMLHook().settings
    assert settings.embedded == home / "automl" / "warehouse.duckdb"
    assert settings.model_store == str(home / "automl" / "models")
    assert settings.staging == str(home / "automl" / "staging")
    assert not (home / "automl").exists()
    assert AutoMLHook().warehouse.dialect == "duckdb"
    assert (home / "automl").is_dir()


def test_a_named_connection_must_exist() -> None:
    with pytest.raises(InputError, match="The connection 'mine' is not defined: create it"):
        _ = AutoMLHook("mine").settings


def test_embedded_is_refused_under_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with pytest.raises(InputError, match=r"every worker of CeleryExecutor: .* AIRFLOW_CONN_AUTOML_DEFAULT="):
        _ = AutoMLHook().settings
    connection(monkeypatch, path_is_shared=True)
    assert AutoMLHook().settings.embedded is not None
    connection(monkeypatch, warehouse_conn_id="trino_default", model_store="s3://bucket/models")
    assert AutoMLHook().settings.embedded is None


def test_embedded_is_allowed_in_dags_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setattr("sys.argv", ["airflow", "dags", "test", "automl_experiment"])
    assert AutoMLHook().settings.embedded is not None


def test_a_missing_warehouse_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, warehouse_conn_id="nowhere")
    with pytest.raises(InputError, match="The warehouse connection 'nowhere' is not defined"):
        _ = AutoMLHook().warehouse


def test_a_warehouse_that_is_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", "smtp://mail.example.com")
    with pytest.raises(InputError, match="of type 'smtp', which is no SQL database"):
        _ = AutoMLHook(warehouse_conn_id="mail").warehouse


def test_a_missing_provider_is_one_sentence_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "airflow.providers.duckdb.hooks.duckdb", None)
    with pytest.raises(
        InputError, match=r"needs what is not installed: pip install 'airflow-provider-automl\[duckdb\]'"
    ):
        _ = AutoMLHook().warehouse


@pytest.mark.parametrize("interpreters", ["{", "[1]", '"x"'])
def test_interpreters_must_be_json(monkeypatch: pytest.MonkeyPatch, interpreters: str) -> None:
    connection(monkeypatch, interpreters=interpreters)
    with pytest.raises(InputError, match="give JSON such as"):
        _ = AutoMLHook().settings


def test_connection_test_says_what_it_reached(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    reached, message = AutoMLHook().test_connection()
    assert reached, message
    assert "duckdb" in message
    assert "AutoGluon 1." in message
    connection(monkeypatch, interpreters='{"broken": "/nowhere/python"}', warehouse_conn_id="nowhere")
    reached, message = AutoMLHook().test_connection()
    assert not reached
    assert "'nowhere' is not defined" in message
    assert "/nowhere/python" in message
