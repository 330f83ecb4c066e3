"""The Airflow plugin (entry point ``airflow.plugins``): what Airflow's web server must know of the operators' links."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_automl.operators.links import NotebookLink


class AutoMLPlugin(AirflowPlugin):
    """Registers the operators' extra links."""

    name = "automl"
    operator_extra_links = [NotebookLink()]
