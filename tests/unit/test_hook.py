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
    with pytest.raises(InputError, match=r"local to each worker of CeleryExecutor: .* AIRFLOW_CONN_AUTOML_DEFAULT="):
        _ = AutoMLHook().settings
    connection(monkeypatch, path_is_shared=True)
    assert AutoMLHook().settings.embedded is not None
    connection(monkeypatch, warehouse_conn_id="trino_default", model_store="s3://bucket/models")
    assert AutoMLHook().settings.embedded is None


def test_embedded_is_allowed_in_dags_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setattr("sys.argv", ["airflow", "dags", "test", "automl_experiment"])
    assert AutoMLHook().settings.embedded is not None


@pytest.mark.parametrize(
    ("staging", "own", "shared"),
    [
        (None, None, None),
        ("/mnt/staging", "/mnt/staging", None),
        ("file:///mnt/my%20staging", "/mnt/my staging", "file:///mnt/my%20staging"),
        ("s3://bucket/staging", None, "s3://bucket/staging"),
        ("s3://conn@bucket/staging", None, "s3://conn@bucket/staging"),
        ("hdfs://namenode:8020/staging", None, "hdfs://namenode:8020/staging"),
    ],
)
def test_staging_by_a_uri_is_shared_with_the_warehouse(
    monkeypatch: pytest.MonkeyPatch, home: Path, staging: str | None, own: str | None, shared: str | None
) -> None:
    for name, kind in (("TRINO_MINE", "trino"), ("TRINO_OTHER", "trino")):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": kind, "host": "nowhere.invalid"}))
    connection(monkeypatch, warehouse_conn_id="trino_mine", staging=staging)
    assert AutoMLHook().staging("key") == Path(own or home / "automl" / "staging") / "key"
    assert AutoMLHook().warehouse.staging == shared
    assert AutoMLHook(warehouse_conn_id="trino_other").warehouse.staging == shared


@pytest.mark.parametrize("staging", ["bucket/staging", "s3:bucket", "s3://", "file://shared/staging", "://x"])
def test_staging_that_is_no_place(monkeypatch: pytest.MonkeyPatch, staging: str) -> None:
    connection(monkeypatch, staging=staging)
    with pytest.raises(InputError, match="staging of the connection 'automl_default' is .*: expected a URI"):
        _ = AutoMLHook().settings


def test_the_same_connection_is_one_warehouse(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRINO_MINE", "TRINO_OTHER"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "trino", "host": "nowhere.invalid"}))
    connection(monkeypatch, warehouse_conn_id="trino_mine")
    hook = AutoMLHook(warehouse_conn_id="trino_mine")
    assert hook.opened == []
    assert hook.warehouse is hook.registry.warehouse
    assert hook.opened == [hook.warehouse]
    hook = AutoMLHook(warehouse_conn_id="trino_other")
    assert hook.warehouse is not hook.registry.warehouse
    assert hook.opened == [hook.warehouse, hook.registry.warehouse]


def test_tracking_tables_in_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRINO_MINE", "TRINO_OTHER", "TRINO_TRACKING"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "trino", "host": "nowhere.invalid"}))
    connection(monkeypatch, warehouse_conn_id="trino_mine", tracking_conn_id="trino_tracking")
    for data in (None, "trino_mine", "trino_other"):
        hook = AutoMLHook(warehouse_conn_id=data)
        tracking = hook.tracking("results").warehouse
        assert tracking is hook.registry.warehouse is hook.models.tracking.warehouse
        assert tracking.hook.get_conn_id() == "trino_tracking"
        assert hook.warehouse.hook.get_conn_id() == (data or "trino_mine")
        assert hook.opened == [hook.warehouse, tracking]  # which all end their queries when the task is killed
    hook = AutoMLHook(warehouse_conn_id="trino_tracking")
    assert hook.warehouse is hook.registry.warehouse


def test_tracking_tables_stay_where_the_connection_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRINO_MINE", "TRINO_OTHER"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "trino", "host": "nowhere.invalid"}))
    connection(monkeypatch, warehouse_conn_id="trino_mine", tracking_conn_id="trino_mine")
    hook = AutoMLHook(warehouse_conn_id="trino_other")
    assert hook.tracking().warehouse is hook.registry.warehouse
    assert hook.tracking().warehouse.hook.get_conn_id() == "trino_mine"
    connection(monkeypatch, warehouse_conn_id="trino_mine")
    hook = AutoMLHook(warehouse_conn_id="trino_other")
    assert hook.tracking().warehouse is hook.warehouse


def test_a_missing_tracking_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, tracking_conn_id="nowhere")
    with pytest.raises(InputError, match="The tracking connection 'nowhere' is not defined"):
        _ = AutoMLHook().registry
    reached, message = AutoMLHook().test_connection()
    assert not reached
    assert message.startswith("tracking tables: The tracking connection 'nowhere' is not defined")


def test_a_missing_warehouse_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, warehouse_conn_id="nowhere")
    with pytest.raises(InputError, match="The warehouse connection 'nowhere' is not defined"):
        _ = AutoMLHook().warehouse


def test_a_warehouse_that_is_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", "smtp://mail.example.com")
    with pytest.raises(InputError, match="of type 'smtp', which is not a SQL database"):
        _ = AutoMLHook(warehouse_conn_id="mail").warehouse


def test_a_missing_provider_is_one_sentence_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "airflow.providers.duckdb.hooks.duckdb", None)
    with pytest.raises(
        InputError, match=r"requires the extra 'duckdb': pip install 'airflow-provider-automl\[duckdb\]'"
    ):
        _ = AutoMLHook().warehouse


@pytest.mark.parametrize("interpreters", ["{", "[1]", '"x"'])
def test_interpreters_must_be_json(monkeypatch: pytest.MonkeyPatch, interpreters: str) -> None:
    connection(monkeypatch, interpreters=interpreters)
    with pytest.raises(InputError, match="expected JSON such as"):
        _ = AutoMLHook().settings


def test_connection_test_says_what_it_reached(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    reached, message = AutoMLHook().test_connection()
    assert reached, message
    assert "duckdb" in message
    assert "AutoGluon 1." in message
    assert "shared with the warehouse" not in message
    connection(monkeypatch, staging=(home / "shared").as_uri())
    reached, message = AutoMLHook().test_connection()
    assert reached, message
    assert f"staging: {home / 'shared'}" in message
    assert f"staging shared with the warehouse: file://{home}/shared, which is not used by duckdb" in message
    connection(monkeypatch, interpreters='{"broken": "/nowhere/python"}', warehouse_conn_id="nowhere")
    reached, message = AutoMLHook().test_connection()
    assert not reached
    assert "'nowhere' is not defined" in message
    assert "/nowhere/python" in message
