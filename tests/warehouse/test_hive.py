"""A real Hive keeps the promises, as far as an engine without transactions can."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.warehouse import Query, Warehouse
from airflow_provider_automl.warehouse.hive import HiveWarehouse, open_hive
from tests.engines import Facts
from tests.warehouse.conformance import INF, NAMES, TYPES, Conformance, numbers, put, quoted, take
from tests.warehouse.conftest import Connect


def emptied(warehouse: HiveWarehouse) -> HiveWarehouse:
    """The warehouse, without what another test left in it."""
    with warehouse._session(write=True) as cursor:
        for schema in warehouse._schemas(cursor):
            if schema != "default":
                cursor.execute(f"DROP DATABASE `{schema.replace('`', '``')}` CASCADE")
        for table in warehouse._tables_of(cursor, "default"):
            warehouse._run(cursor, "drop_table", table=table)
    return warehouse


class WithoutTransactions(Conformance):
    """What holds instead of the promises that need a transaction, ``DELETE``, or double quotes around names."""

    #: Columns, schemas and tables whose names the engine takes.
    taken: ClassVar[set[str]]

    def tables(self, warehouse: Warehouse) -> list[tuple[object, object]]:
        with warehouse._session() as cursor:
            return sorted((table.db, table.name) for table in warehouse._tables(cursor))

    @pytest.mark.parametrize("name", NAMES)
    def test_any_name(self, warehouse: Warehouse, tmp_path: Path, name: str) -> None:
        """Names that the engine cannot have are refused by one sentence."""
        if name in self.taken:
            super().test_any_name(warehouse, tmp_path, name)
            return
        data = pa.table({name: [1, 2, None], "other": ["a", "b", "c"]})
        with pytest.raises(InputError, match="cannot (name|be stored by).* takes"):
            put(warehouse, f"{quoted(name)}.{quoted(name)}", data, tmp_path)
        assert self.tables(warehouse) == []

    def test_a_query_may_stand_for_a_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """Names are quoted by backticks; Hive folds them to lower case."""
        put(warehouse, "s.t", numbers(10), tmp_path)
        query = Query(
            "WITH few AS (SELECT id, x FROM s.t WHERE id < 4) SELECT id, x AS `a b` FROM few ORDER BY id DESC;"
        )
        assert list(warehouse.columns(query)) == ["id", "a b"]
        assert warehouse.count(query) == 4
        assert sorted(take(warehouse, query, tmp_path)["id"].to_pylist()) == [0, 1, 2, 3]
        assert take(warehouse, query, tmp_path, max_rows=3, seed=1).num_rows == 3

    def test_a_row_is_recorded_once(self, warehouse: Warehouse) -> None:
        """Another row of the same key supersedes the one that was there, which stays."""
        columns = {
            "record_id": "VARCHAR",
            "text": "VARCHAR",
            "score": "DOUBLE",
            "rows": "BIGINT",
            "flag": "BOOLEAN",
            "session_time": "TIMESTAMP",
            "more": "VARCHAR",
            "recorded_at": "TIMESTAMP",
        }
        warehouse.create_table("s.r", columns)
        moment = dt.datetime(2026, 3, 29, 3, 30, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2)))
        row = {
            "record_id": "a",
            "text": "it's 50%\n${system:user.name} \\ 🙂",
            "score": 0.1 + 0.2,
            "rows": 2**53 + 1,
            "flag": True,
            "session_time": moment,
            "recorded_at": moment,
        }
        later = {"recorded_at": moment + dt.timedelta(1)}
        assert warehouse.record("s.r", row) == "inserted"
        assert warehouse.record("s.r", row | later) == "unchanged"
        (found,) = warehouse.rows("s.r")
        stored = moment.astimezone(dt.UTC).replace(tzinfo=None)
        assert found == row | {"more": None, "session_time": stored, "recorded_at": stored}
        assert warehouse.record("s.r", row | later | {"score": INF}) == "replaced"
        assert warehouse.record("s.r", row | later | {"score": INF}) == "unchanged"
        again = {"recorded_at": moment + dt.timedelta(2)}
        assert warehouse.record("s.r", row | again) == "replaced"  # what was superseded is said anew
        assert [r["score"] for r in warehouse.rows("s.r", order_by=["recorded_at"])] == [0.1 + 0.2, INF, 0.1 + 0.2]
        with pytest.raises(InputError, match="no column nonsense"):
            warehouse.record("s.r", {"record_id": "c", "nonsense": 1})
        with pytest.raises(InputError, match="record_id"):
            warehouse.record("s.r", {"text": "without key"})

    def test_what_a_killed_publishing_left_is_put_back(self, warehouse: HiveWarehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        target = warehouse._qualified("s.t")
        with warehouse._session(write=True) as cursor:
            warehouse._run(cursor, "rename_table", table=target, name=warehouse._aside(target))
        assert put(warehouse, "s.t", numbers(2, 3), tmp_path, mode="append") == 2
        assert [row["id"] for row in warehouse.rows("s.t", order_by=["id"])] == [0, 1, 2, 3, 4]
        assert self.tables(warehouse) == [("s", "t")]

    def test_a_server_that_is_not_there(self, connect: Connect) -> None:
        with pytest.raises(BusyError, match="cannot be reached"):
            open_hive(connect(conn_type="hiveserver2", host="127.0.0.1", port=1))


class HiveTypes(WithoutTransactions):
    """Hive's names and types."""

    taken: ClassVar[set[str]] = {"plain", "with-hyphen", 'with"quote', "with'quote", "with`tick", "select"}

    def test_every_type_comes_back_as_it_went(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """A time with zone becomes one without, in UTC."""
        data = pa.table({name: pa.array(values, kind) for name, (kind, _, values) in TYPES.items()})
        assert put(warehouse, "s.types", data, tmp_path) == 4
        utc = {"TIMESTAMPTZ": "TIMESTAMP"}
        assert warehouse.columns("s.types") == {n: utc.get(kind, kind) for n, (_, kind, _) in TYPES.items()}
        back = take(warehouse, "s.types", tmp_path).sort_by("big")
        data = data.set_column(data.column_names.index("zoned"), "zoned", data["zoned"].cast(pa.timestamp("us")))
        assert back.schema.remove_metadata() == data.schema
        for name in TYPES:
            assert repr(back[name].to_pylist()) == repr(data.sort_by("big")[name].to_pylist()), name

    def test_the_engines_own_types(self, warehouse: Warehouse, tmp_path: Path) -> None:
        query = Query(
            "SELECT ARRAY(1.5, 2) AS l, MAP('a', 1) AS m, STRUCT('q\"') AS s, CAST('x' AS CHAR(3)) AS c, "
            "UNHEX('ff00') AS b, NULL AS n, CAST('2020-01-01 00:00:00.123456789' AS TIMESTAMP) AS t, "
            "CAST('7.10' AS DECIMAL(38, 2)) AS d, CAST(3 AS SMALLINT) AS i"
        )
        (row,) = take(warehouse, query, tmp_path).to_pylist()
        row["c"] = row["c"].rstrip()  # Hive fills it up or not, as its plan has it
        assert row == {
            "l": "[1.5,2]",
            "m": '{"a":1}',
            "s": '{"col1":"q\\""}',
            "c": "x",
            "b": b"\xff\x00",
            "n": None,
            "t": dt.datetime(2020, 1, 1, 0, 0, 0, 123456),  # noqa: DTZ001 - without zone, as stored
            "d": Decimal("7.10"),
            "i": 3,
        }

    def test_a_local_time_becomes_utc(self, warehouse: Warehouse, tmp_path: Path) -> None:
        with warehouse._session(write=True) as cursor:
            cursor.execute("CREATE TABLE z (t TIMESTAMP WITH LOCAL TIME ZONE) STORED AS TEXTFILE")
            cursor.execute(
                "INSERT INTO z SELECT CAST('2026-03-29 03:30:00 Europe/Berlin' AS TIMESTAMP WITH LOCAL TIME ZONE)"
            )
        assert warehouse.columns("z") == {"t": "TIMESTAMPTZ"}
        (row,) = take(warehouse, "z", tmp_path).to_pylist()
        assert row["t"].isoformat() == "2026-03-29T01:30:00"


class TestHive(HiveTypes):
    """Rows go through the cursor."""

    @pytest.fixture
    def connection(self, hive_server: Facts) -> dict[str, Any]:
        return {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": hive_server["port"], "login": "airflow"}

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any]) -> HiveWarehouse:
        return emptied(open_hive(connect(**connection)))

    def test_is_told_apart(self, warehouse: Warehouse) -> None:
        assert type(warehouse) is HiveWarehouse


class TestHiveWithStaging(TestHive):
    """Rows go through a directory that both reach."""

    @pytest.fixture
    def warehouse(self, connect: Connect, connection: dict[str, Any], tmp_path: Path) -> Iterator[HiveWarehouse]:
        shared = tmp_path / "shared"
        shared.mkdir()
        yield emptied(open_hive(connect(**connection), staging=shared.as_uri()))
        assert list(shared.iterdir()) == []
