"""Fixtures of the warehouses' tests."""

from __future__ import annotations

from tests.warehouse.conftest import connect, postgres_connection

__all__ = ["connect", "postgres_connection"]
