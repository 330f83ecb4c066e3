"""Provider metadata for Airflow (entry point ``apache_airflow_provider``)."""

from __future__ import annotations

from typing import Any


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "schema": {"type": ["string", "null"]}, "description": description}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    package = "airflow_provider_automl"
    return {
        "package-name": "airflow-provider-automl",
        "name": "AutoML",
        "description": "Machine learning experiments as DAG tasks: AutoGluon trains, SQL computes exact metrics.",
        "integrations": [
            {"integration-name": "AutoML", "external-doc-url": "https://auto.gluon.ai/", "tags": ["service"]}
        ],
        "operators": [
            {
                "integration-name": "AutoML",
                "python-modules": [
                    f"{package}.operators.{name}"
                    for name in ("tables", "train", "experiments", "predict", "evaluate", "drift", "promote")
                ],
            }
        ],
        "hooks": [{"integration-name": "AutoML", "python-modules": [f"{package}.hooks.automl"]}],
        "extra-links": [f"{package}.operators.links.{name}" for name in ("NotebookLink", "QueryLink")],
        "cli": [f"{package}.cli.get_airflow_commands"],
        "connection-types": [
            {
                "hook-class-name": f"{package}.hooks.automl.AutoMLHook",
                "hook-name": "AutoML",
                "connection-type": "automl",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
                    "relabeling": {},
                    "placeholders": {
                        "warehouse_conn_id": "trino_default",
                        "tracking_conn_id": "postgres_default",
                        "tracking_schema": "automl_test",
                        "model_store": "s3://bucket/models",
                        "staging": "s3://bucket/staging",
                        "interpreters": '{"automl": "/opt/automl/bin/python"}',
                        "user_email": "ml-team@example.com",
                    },
                },
                "conn-fields": {
                    "warehouse_conn_id": _text(
                        "Warehouse connection",
                        "Connection of type trino, hiveserver2, postgres or duckdb. Default: an embedded DuckDB file.",
                    ),
                    "tracking_conn_id": _text(
                        "Tracking connection",
                        "Connection to the database of the automl_* tables. Default: the warehouse.",
                    ),
                    "tracking_schema": _text("Tracking schema", "Schema of the automl_* tables."),
                    "model_store": _text("Model store", "Directory or object storage URI for model files."),
                    "staging": _text(
                        "Staging",
                        "Location of Parquet files exchanged between warehouse and job: a URI that the servers of "
                        "Trino or Hive can read and write, or a directory on the worker.",
                    ),
                    "interpreters": _text("Interpreters", "JSON object: names to paths of Python with AutoGluon."),
                    "user_email": _text("User e-mail", "Recorded with experiments whose task sets none."),
                    "path_is_shared": {
                        "label": "Paths are shared",
                        "schema": {"type": ["boolean", "null"], "default": False},
                        "description": "All workers share the default paths below AIRFLOW_HOME.",
                    },
                },
            }
        ],
    }
