"""What differs between versions of Airflow, in one place."""

from __future__ import annotations


def has_pages() -> bool:
    """Whether this Airflow serves our pages: plugins may ask for rights on a DAG of their choice from 3.1.8."""
    from airflow import __version__
    from packaging.version import Version

    return Version(__version__).release >= (3, 1, 8)


def run_url(dag_id: str, run_id: str) -> str:
    """Airflow's page of a run."""
    from urllib.parse import quote

    from airflow import __version__

    dag, run = quote(dag_id, safe=""), quote(run_id, safe="")
    page = f"runs/{run}" if int(__version__.split(".")[0]) >= 3 else f"grid?dag_run_id={run}"
    return f"{base_url()}/dags/{dag}/{page}"


def base_url() -> str:
    """Where people reach Airflow's web server; no slash at the end."""
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get("api", "base_url", fallback="") or "http://localhost:8080").rstrip("/")


def page_path(url: str) -> str:
    """A page of ours by its path, which any host name of this Airflow's has; any other URL as it is."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.path if parts.scheme in ("http", "https") and "/automl/reports/" in parts.path else url
