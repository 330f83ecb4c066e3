"""The Airflow plugin (entry point ``airflow.plugins``): the operators' links, and from Airflow 3.1.8 the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_automl.compat import has_pages
from airflow_provider_automl.operators.links import NotebookLink, QueryLink


async def pages(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """The pages' application, loaded when somebody asks for one: schedulers and workers read plugins as well."""
    from airflow_provider_automl.ui.app import app

    await app(scope, receive, send)


class AutoMLPlugin(AirflowPlugin):
    """Registers the operators' extra links and the pages below ``/automl``."""

    name = "automl"
    operator_extra_links = [NotebookLink(), QueryLink()]
    fastapi_apps = [{"app": pages, "url_prefix": "/automl", "name": "AutoML"}] if has_pages() else []
