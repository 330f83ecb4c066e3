"""The Airflow plugin (entry point ``airflow.plugins``): extra links, and from Airflow 3.1.8 the report pages."""

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
    """The pages' ASGI application, imported on the first request: schedulers and workers load plugins too."""
    from airflow_provider_automl.ui.app import app

    await app(scope, receive, send)


class AutoMLPlugin(AirflowPlugin):
    """Registers the operators' extra links, and the pages below ``/automl``."""

    name = "automl"
    operator_extra_links = [NotebookLink(), QueryLink()]
    fastapi_apps = [{"app": pages, "url_prefix": "/automl", "name": "AutoML"}] if has_pages() else []
