"""Differences between versions of Airflow."""

from __future__ import annotations


def has_pages() -> bool:
    """Whether this Airflow can serve our pages: plugins can check permissions on any DAG from 3.1.8."""
    from airflow import __version__
    from packaging.version import Version

    return Version(__version__).release >= (3, 1, 8)


def run_url(dag_id: str, run_id: str) -> str:
    """The URL of a DAG run's page in Airflow."""
    from urllib.parse import quote

    from airflow import __version__

    dag, run = quote(dag_id, safe=""), quote(run_id, safe="")
    page = f"runs/{run}" if int(__version__.split(".")[0]) >= 3 else f"grid?dag_run_id={run}"
    return f"{base_url()}/dags/{dag}/{page}"


def base_url() -> str:
    """The base URL of Airflow's web server, without a trailing slash."""
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get("api", "base_url", fallback="") or "http://localhost:8080").rstrip("/")


def page_path(url: str) -> str:
    """The path of one of our pages, valid under any host name of this Airflow; other URLs are unchanged."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.path if parts.scheme in ("http", "https") and "/automl/reports/" in parts.path else url
