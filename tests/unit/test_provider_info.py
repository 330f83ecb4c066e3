from __future__ import annotations

import importlib
import json
from pathlib import Path

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_automl.get_provider_info import get_provider_info
from airflow_provider_automl.hooks.automl import AutoMLHook

FIELDS = {
    "warehouse_conn_id",
    "tracking_conn_id",
    "tracking_schema",
    "model_store",
    "staging",
    "interpreters",
    "user_email",
    "path_is_shared",
}


def schema() -> dict[str, object]:
    import airflow

    path = next(
        Path(p) / "provider_info.schema.json"
        for p in airflow.__path__
        if (Path(p) / "provider_info.schema.json").exists()
    )
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_is_what_airflow_expects() -> None:
    jsonschema.validate(get_provider_info(), schema())
    known = set(schema()["properties"])  # type: ignore[call-overload]
    assert set(get_provider_info()) <= known


def test_names_things_that_exist() -> None:
    info = get_provider_info()
    for module in [*info["hooks"][0]["python-modules"], *info["operators"][0]["python-modules"]]:
        importlib.import_module(module)
    for name in [*info["extra-links"], info["connection-types"][0]["hook-class-name"]]:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)
    assert info["connection-types"][0]["connection-type"] == AutoMLHook.conn_type
    assert set(info["connection-types"][0]["conn-fields"]) == FIELDS


def test_airflow_finds_the_provider() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-automl" in manager.providers
    links = {f"airflow_provider_automl.operators.links.{name}" for name in ("NotebookLink", "QueryLink")}
    assert links <= set(manager.extra_links_class_names)
    assert manager.hooks["automl"].hook_name == "AutoML"  # type: ignore[union-attr]


def test_airflow_makes_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": "automl", "extra": {"tracking_schema": "ml"}}))
    hook = BaseHook.get_connection("mine").get_hook()
    assert isinstance(hook, AutoMLHook)
    assert hook.settings.tracking_schema == "ml"
