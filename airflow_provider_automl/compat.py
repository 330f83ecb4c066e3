"""What differs between versions of Airflow, in one place."""

from __future__ import annotations


def has_pages() -> bool:
    """Whether this Airflow serves our pages: plugins with FastAPI apps and their authentication are there from 3.1."""
    from airflow import __version__

    major, minor = (int(part) for part in __version__.split(".")[:2])
    return (major, minor) >= (3, 1)


def base_url() -> str:
    """Where people reach Airflow's web server; no slash at the end."""
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get("api", "base_url", fallback="") or "http://localhost:8080").rstrip("/")
