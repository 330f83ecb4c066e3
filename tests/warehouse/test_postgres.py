"""A real Postgres keeps the promises, and so does the generic warehouse over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse import Query, Warehouse, open_warehouse
from airflow_provider_automl.warehouse.postgres import PostgresWarehouse
from tests.warehouse.conformance import Concurrency, Conformance, numbers, put, take
from tests.warehouse.conftest import Connect


@pytest.fixture
def connection(postgres_connection: dict[str, Any]) -> dict[str, Any]:
    return postgres_connection


class TestPostgres(Conformance, Concurrency):
    """As it is opened."""

    flat_rows: ClassVar[tuple[int, int]] = (40_000, 200_000)
    wider: ClassVar[dict[str, str]] = {"TINYINT": "SMALLINT"}

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any]) -> Warehouse:
        return open_warehouse(connect(**connection))

    def test_is_dispatched(self, warehouse: Warehouse) -> None:
        assert isinstance(warehouse, PostgresWarehouse)

    def test_case_in_quotes_counts(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "S.T", numbers(2), tmp_path)
        assert warehouse.exists('"s"."t"')
        assert not warehouse.exists('"S"."T"')
        data = pa.table({"a": [1], "A": [2]})
        put(warehouse, '"S"."T"', data, tmp_path)
        with pytest.raises(InputError, match="alike"):
            warehouse.columns('"S"."T"')

    def test_a_table_that_a_view_reads_is_not_overwritten(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        with warehouse._session(write=True) as cursor:
            cursor.execute("CREATE VIEW s.v AS SELECT id FROM s.t")
        with pytest.raises(InputError, match=r"s\.t cannot be written: cannot drop table s\.t"):
            put(warehouse, "s.t", numbers(5), tmp_path)
        assert warehouse.count("s.v") == 3

    def test_types_without_a_place_in_arrow(self, warehouse: Warehouse, tmp_path: Path) -> None:
        query = Query(
            "SELECT CAST('{\"a\": [1]}' AS JSONB) AS j, ARRAY[1, 2] AS l, CAST('1.50' AS NUMERIC) AS n, "
            "CAST('NaN' AS NUMERIC) AS q, CAST('x' AS CHAR(3)) AS c, INTERVAL '3 days' AS i, CAST('ab' AS BYTEA) AS b"
        )
        data = take(warehouse, query, tmp_path)
        put(warehouse, "s.copy", data, tmp_path)
        assert repr(take(warehouse, "s.copy", tmp_path).to_pylist()) == repr(data.to_pylist())
        (row,) = data.to_pylist()
        assert repr(row.pop("q")) == "nan"
        assert row == {"j": '{"a": [1]}', "l": "[1, 2]", "n": 1.5, "c": "x  ", "i": "3 days, 0:00:00", "b": b"ab"}


class TestGeneric(Conformance):
    """The generic warehouse, with nothing said about the engine but its dialect."""

    wider: ClassVar[dict[str, str]] = {"TINYINT": "SMALLINT"}

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any]) -> Warehouse:
        return Warehouse(connect(**connection), dialect="postgres")
