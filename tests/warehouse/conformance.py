"""What every warehouse promises. An engine's test module subclasses this and gives it the ``warehouse`` fixture."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.warehouse import Query, Warehouse
from airflow_provider_automl.warehouse.measures import auc
from airflow_provider_automl.warehouse.paired import compare_auc, compare_means
from benchmarks._measure import peak_rss
from tests.warehouse import samples

INF = float("inf")
#: Schemas of tests of the whole workflow, which may run on the same server at the same time, begin with one of these.
SPARED = ("system_", "automl_")
UTC = dt.UTC

# Each column: its Arrow type, its neutral type, values that have a trap in them.
TYPES: dict[str, tuple[pa.DataType, str, list[Any]]] = {
    "tiny": (pa.int8(), "TINYINT", [-128, 127, None, 0]),
    "small": (pa.int16(), "SMALLINT", [-32768, 32767, None, 0]),
    "int": (pa.int32(), "INTEGER", [-(2**31), 2**31 - 1, None, 0]),
    "big": (pa.int64(), "BIGINT", [-(2**63), 2**63 - 1, None, 2**53 + 1]),
    "decimal": (pa.decimal128(18, 3), "DECIMAL(18,3)", [Decimal("-123456789012345.678"), Decimal("0.001"), None, 0]),
    "real": (pa.float32(), "REAL", [1.5, float("nan"), None, -INF]),
    "double": (pa.float64(), "DOUBLE", [0.1, float("nan"), None, INF]),
    "bool": (pa.bool_(), "BOOLEAN", [True, False, None, True]),
    "text": (pa.string(), "VARCHAR", ['it\'s "quoted" \\ 50% :name ?', "two\nlines\tand\r", None, "héλ日本🙂 "]),
    "empty": (pa.string(), "VARCHAR", ["", " >50K", None, "NULL"]),
    "date": (pa.date32(), "DATE", [dt.date(1900, 1, 1), dt.date(2026, 2, 28), None, dt.date(9999, 12, 31)]),
    "moment": (
        pa.timestamp("us"),
        "TIMESTAMP",
        [dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.datetime(2026, 3, 1), None, dt.datetime(2000, 1, 1)],  # noqa: DTZ001 - without zone, as stored
    ),
    "zoned": (
        pa.timestamp("us", tz="UTC"),
        "TIMESTAMPTZ",
        [dt.datetime(2026, 3, 29, 1, 30, tzinfo=UTC), None, None, None],
    ),
}

NAMES = [
    "plain",
    "Mixed Case",
    "with-hyphen",
    "with.dot",
    'with"quote',
    "with'quote",
    "with`tick",
    "50% of it",
    "naïve_日本",
    "select",
    "{table}",
    "a;b -- c",
]


def put(warehouse: Warehouse, table: str, data: pa.Table, directory: Path, **options: Any) -> int:
    """Load an Arrow table."""
    files = directory / f"put-{time.monotonic_ns()}"
    files.mkdir(parents=True)
    pq.write_table(data, files / "part-0.parquet")
    return warehouse.load(files, table, **options)


def take(warehouse: Warehouse, source: str | Query, directory: Path, **options: Any) -> pa.Table:
    """Unload into an Arrow table."""
    files = directory / f"take-{time.monotonic_ns()}"
    rows = warehouse.unload(source, files, **options)
    data = pq.read_table(files)
    assert data.num_rows == rows
    return data


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def numbers(rows: int, offset: int = 0) -> pa.Table:
    return pa.table({"id": pa.array(range(offset, offset + rows), pa.int64()), "x": np.arange(rows) / 7})


class Conformance:
    """The promises; a subclass provides ``warehouse``, on an empty database."""

    #: Types for which the engine has a wider one only.
    wider: ClassVar[dict[str, str]] = {}
    #: Names that the engine takes for columns, schemas and tables, and the one with which everything is tried.
    taken: ClassVar[Sequence[str]] = NAMES
    tried: ClassVar[str] = NAMES[-1]
    #: Rows of each table of another name, one after the other.
    replaced: ClassVar[Sequence[int]] = (3, 2)

    # -------------------------------------------------------------------------------------------- types and names

    def test_every_type_comes_back_as_it_went(self, warehouse: Warehouse, tmp_path: Path) -> None:
        data = pa.table({name: pa.array(values, kind) for name, (kind, _, values) in TYPES.items()})
        assert put(warehouse, "s.types", data, tmp_path) == 4
        expected = {name: self.wider.get(neutral, neutral) for name, (_, neutral, _) in TYPES.items()}
        assert warehouse.columns("s.types") == expected
        back = take(warehouse, "s.types", tmp_path)
        for name, (kind, neutral, _) in TYPES.items():
            assert neutral in self.wider or back.schema.field(name).type == kind
            assert repr(back[name].to_pylist()) == repr(data[name].to_pylist()), name

    def test_an_empty_table_keeps_its_columns(self, warehouse: Warehouse, tmp_path: Path) -> None:
        data = pa.table({name: pa.array([], kind) for name, (kind, _, _) in TYPES.items()})
        assert put(warehouse, "s.none", data, tmp_path) == 0
        back = take(warehouse, "s.none", tmp_path)
        assert back.num_rows == 0
        assert back.column_names == list(TYPES)
        assert back.schema.field("double").type == pa.float64()
        assert take(warehouse, Query("SELECT 1 AS a, 'x' AS b WHERE 1 = 0"), tmp_path).column_names == ["a", "b"]

    def test_any_name_of_a_column(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """All of them at once, of a table whose own name, and whose schema's, is the hardest."""
        names, table = [*self.taken], f"{quoted(self.tried)}.{quoted(self.tried)}"
        rows = [[1] * len(names), [2] * len(names), [None] * len(names)]
        rows += [[3 if one == other else 2 for other in names] for one in names]  # each condition counts
        data = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        data = data.append_column("other", pa.array(["a", "b", "c", *names]))
        assert not warehouse.exists(table)
        assert put(warehouse, table, data, tmp_path) == len(rows)
        assert put(warehouse, table, data, tmp_path, key=self.tried) == len(rows)
        assert warehouse.exists(table)
        assert list(warehouse.columns(table)) == [*names, "other"]
        ones, twos = dict.fromkeys(names, 1), dict.fromkeys(names, 2)
        assert put(warehouse, table, data, tmp_path, mode="append", delete_where=ones) == len(rows)
        assert warehouse.count(table) == 2 * len(rows) - 1
        assert [row["other"] for row in warehouse.rows(table, where=twos, order_by=names)] == ["b", "b"]
        assert take(warehouse, table, tmp_path).column_names == [*names, "other"]
        assert take(warehouse, table, tmp_path, max_rows=2).num_rows == 2
        more = {name + "2": name for name in names}
        warehouse.create_table(table, dict.fromkeys(names, "BIGINT") | dict.fromkeys(more, "VARCHAR"))
        assert warehouse.record(table, {"other": "key", **more}, key="other") == "inserted"
        assert [row["other"] for row in warehouse.rows(table, where=more)] == ["key"]
        assert warehouse.same_table(table, table)
        warehouse.drop_table(table)
        warehouse.drop_table(table)
        assert not warehouse.exists(table)

    def test_any_name_of_a_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """And of its schema: it is made, replaced, read and dropped; all else is tried with the hardest name."""
        for name in self.taken:
            if name != self.tried:
                table = f"{quoted(name)}.{quoted(name)}"
                for rows in self.replaced:
                    assert put(warehouse, table, numbers(rows), tmp_path, key=name) == rows
                assert take(warehouse, table, tmp_path).num_rows == self.replaced[-1]
                assert warehouse.exists(table)
                warehouse.drop_table(table)
                assert not warehouse.exists(table)

    def test_names_as_people_write_them(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "some-schema.my-table", numbers(3), tmp_path)
        assert warehouse.count('"some-schema"."my-table"') == 3
        assert warehouse.exists("some-schema.MY-TABLE")
        assert warehouse.same_table("some-schema.my-table", 'SOME-SCHEMA."my-table"')
        assert not warehouse.same_table("some-schema.my-table", "other.my-table")
        put(warehouse, "bare", numbers(2), tmp_path)
        (current,) = warehouse.run("current_schema")
        assert warehouse.same_table("bare", f"{current['current_schema']}.BARE")
        for wrong in ("", "a..b", "a b", "a;b", "a.b.c.d", 'a."b', "drop table x"):
            with pytest.raises(InputError, match="table"):
                warehouse.columns(wrong)

    # -------------------------------------------------------------------------------------------- reading

    def test_a_missing_table_is_named_with_the_nearest(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.gluon_train", numbers(1), tmp_path)
        for call in (
            lambda: warehouse.columns("s.gluon_trian"),
            lambda: warehouse.count("s.gluon_trian"),
            lambda: warehouse.rows("s.gluon_trian"),
            lambda: warehouse.unload("s.gluon_trian", tmp_path / "none"),
            lambda: warehouse.record("s.gluon_trian", {"record_id": "1"}),
        ):
            with pytest.raises(InputError, match=r"no table s\.gluon_trian .*\(did you mean s\.gluon_train\?\)"):
                call()

    def test_a_query_may_stand_for_a_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(10), tmp_path)
        query = Query(
            'WITH few AS (SELECT id, x FROM s.t WHERE id < 4) SELECT id, x AS "A b" FROM few ORDER BY id DESC;'
        )
        assert list(warehouse.columns(query)) == ["id", "A b"]
        assert warehouse.count(query) == 4
        assert take(warehouse, query, tmp_path)["id"].to_pylist() == [3, 2, 1, 0]
        assert take(warehouse, query, tmp_path, max_rows=3, seed=1).num_rows == 3

    def test_a_query_only_reads(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(1), tmp_path)
        for text, reason in (
            ("DROP TABLE s.t", "must be a SELECT"),
            ("DELETE FROM s.t", "must be a SELECT"),
            ("SELECT 1 AS a; SELECT 2 AS a", "exactly one"),
            ("", "exactly one"),
            ("WITH gone AS (DELETE FROM s.t RETURNING *) SELECT * FROM gone", "must only read"),
            ("SELECT 1 AS a INTO s.u", "must only read"),
            ("CREATE TABLE s.u AS SELECT 1 AS a", "must be a SELECT"),
            ("SELECT 1 AS a) AS q UNION ALL SELECT * FROM (SELECT 2 AS a", "query failed"),
            ("SELECT (id FROM s.t", "query failed"),
            ("SELECT 1 AS a, 2 AS A", "Duplicate column name|mbiguous"),
            ("SELECT no_such FROM s.t", "query failed"),
            ("SELECT 1 AS a FROM s.no_such", "query failed"),
        ):
            with pytest.raises(InputError, match=reason):
                warehouse.unload(Query(text), tmp_path / "out")
        assert warehouse.count("s.t") == 1
        assert not warehouse.exists("s.u")

    def test_a_sample_is_drawn_again_alike(self, warehouse: Warehouse, tmp_path: Path) -> None:
        data = pa.concat_tables([numbers(500), numbers(500)])  # every row twice
        put(warehouse, "s.t", data, tmp_path)
        first, again, other = (
            take(warehouse, "s.t", tmp_path, max_rows=100, seed=seed)["id"].to_pylist() for seed in (1, 1, 2)
        )
        assert first == again
        assert len(first) == 100
        assert sorted(first) != sorted(other)
        assert 100 < np.mean(first) < 400
        assert take(warehouse, "s.t", tmp_path, max_rows=1000).num_rows == 1000
        put(warehouse, "s.t", data.take(list(reversed(range(1000)))), tmp_path)
        assert take(warehouse, "s.t", tmp_path, max_rows=100, seed=1)["id"].to_pylist() == first

    def test_rows(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", pa.table({"a": [2, 1, 2, None], "b": ["x", "y", None, "z"]}), tmp_path)
        assert [row["a"] for row in warehouse.rows("s.t", order_by=["a"])] == [1, 2, 2, None]
        assert [row["a"] for row in warehouse.rows("s.t", order_by=["a"], descending=True)] == [2, 2, 1, None]
        assert warehouse.rows("s.t", where={"a": 2, "b": None}) == [{"a": 2, "b": None}]
        assert len(warehouse.rows("s.t", limit=3)) == 3
        assert warehouse.rows("s.t", where={"b": "' OR 1 = 1 --"}) == []

    # -------------------------------------------------------------------------------------------- writing

    def test_overwrite_error_and_append(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "new.t", numbers(3), tmp_path, mode="error")
        with pytest.raises(InputError, match="exists already"):
            put(warehouse, "new.t", numbers(5), tmp_path, mode="error")
        assert warehouse.count("new.t") == 3
        assert put(warehouse, "new.t", pa.table({"other": ["a"]}), tmp_path) == 1
        assert list(warehouse.columns("new.t")) == ["other"]
        assert put(warehouse, "new.t", pa.table({"model": ["m"], "other": ["b"]}), tmp_path, mode="append") == 1
        assert warehouse.columns("new.t") == {"other": "VARCHAR", "model": "VARCHAR"}
        replaced = pa.table({"other": ["c", "d"], "model": ["m", "m"]})
        for _ in range(2):
            put(warehouse, "new.t", replaced, tmp_path, mode="append", delete_where={"model": "m"})
        assert [(r["model"], r["other"]) for r in warehouse.rows("new.t", order_by=["other"])] == [
            (None, "a"),
            ("m", "c"),
            ("m", "d"),
        ]
        put(warehouse, "new.leaderboard", replaced, tmp_path, mode="append", delete_where={"model": "m"})
        assert warehouse.count("new.leaderboard") == 2

    def test_several_files_are_one_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        pq.write_table(numbers(3), tmp_path / "part-1.parquet")
        pq.write_table(numbers(4, 3).select(["x", "id"]), tmp_path / "part-2.parquet")
        pq.write_table(numbers(2, 7).append_column("more", pa.array(["a", "b"])), tmp_path / "part-3.parquet")
        assert warehouse.load(tmp_path, "s.t") == 9
        rows = warehouse.rows("s.t", order_by=["id"])
        assert [row["id"] for row in rows] == list(range(9))
        assert [row["more"] for row in rows] == [None] * 7 + ["a", "b"]
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(InputError, match="no Parquet file"):
            warehouse.load(empty, "s.t")

    def test_a_failed_load_leaves_the_old_table(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        tables = self.tables(warehouse)
        broken = tmp_path / "broken"
        broken.mkdir()
        # Half of these rows are more than a statement.
        pq.write_table(numbers(100_000), broken / "part-0.parquet", row_group_size=1000)
        whole = (broken / "part-0.parquet").read_bytes()
        middle = len(whole) // 2
        (broken / "part-0.parquet").write_bytes(whole[:middle] + b"\xff" * 5000 + whole[middle + 5000 :])
        for mode in ("overwrite", "append"):
            with pytest.raises(Exception):  # noqa: B017 - each engine and reader has its own
                warehouse.load(broken, "s.t", mode=mode)  # type: ignore[arg-type]
            assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()
            assert self.tables(warehouse) == tables

    def test_a_view_is_not_overwritten(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        with warehouse._session(write=True) as cursor:
            cursor.execute("CREATE VIEW s.v AS SELECT id FROM s.t")
        with pytest.raises(InputError, match=r"s\.v cannot be written"):
            put(warehouse, "s.v", numbers(1), tmp_path)
        assert warehouse.count("s.v") == 3

    def test_tables_are_made_once_and_only_grow(self, warehouse: Warehouse) -> None:
        columns = {"record_id": "VARCHAR", "auroc": "DOUBLE", "session_time": "TIMESTAMP", "rows": "BIGINT"}
        warehouse.create_table("new.t", columns)
        warehouse.create_table("new.t", columns)
        assert warehouse.columns("new.t") == columns
        warehouse.record("new.t", {"record_id": "1", "auroc": 0.5})
        warehouse.create_table("new.t", {"auroc": "DOUBLE", "later": "BOOLEAN"})
        assert warehouse.columns("new.t") == columns | {"later": "BOOLEAN"}
        assert warehouse.rows("new.t")[0]["later"] is None
        warehouse.create_schema("another")
        warehouse.create_schema("another")

    # -------------------------------------------------------------------------------------------- recording

    def test_a_row_is_recorded_once(self, warehouse: Warehouse) -> None:
        warehouse.create_table(
            "s.r",
            {
                "record_id": "VARCHAR",
                "text": "VARCHAR",
                "score": "DOUBLE",
                "rows": "BIGINT",
                "flag": "BOOLEAN",
                "session_time": "TIMESTAMP",
                "more": "VARCHAR",
                "recorded_at": "TIMESTAMP",
            },
        )
        moment = dt.datetime(2026, 3, 29, 3, 30, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2)))
        row = {
            "record_id": "a",
            "text": "it's 50%\n🙂",
            "score": 0.1 + 0.2,
            "rows": 2**53 + 1,
            "flag": True,
            "session_time": moment,
            "recorded_at": moment,
        }
        assert warehouse.record("s.r", row) == "inserted"
        assert warehouse.record("s.r", row | {"recorded_at": moment + dt.timedelta(1)}) == "unchanged"
        (found,) = warehouse.rows("s.r")
        stored = moment.astimezone(UTC).replace(tzinfo=None)
        assert found == row | {"more": None, "session_time": stored, "recorded_at": stored}
        assert warehouse.record("s.r", row | {"score": None, "more": "x"}) == "replaced"
        assert warehouse.record("s.r", row | {"score": None}) == "replaced"  # a column left out is NULL
        assert warehouse.record("s.r", row | {"record_id": "b", "score": INF}) == "inserted"
        assert warehouse.record("s.r", row | {"record_id": "b", "score": INF}) == "unchanged"
        assert [r["score"] for r in warehouse.rows("s.r", order_by=["record_id"])] == [None, INF]
        with pytest.raises(InputError, match="no column nonsense"):
            warehouse.record("s.r", {"record_id": "c", "nonsense": 1})
        with pytest.raises(InputError, match="record_id"):
            warehouse.record("s.r", {"text": "without key"})

    # -------------------------------------------------------------------------------------------- measuring

    def test_auc_equals_scikit_learn(self, warehouse: Warehouse, tmp_path: Path) -> None:
        from sklearn.metrics import roc_auc_score

        from tests.warehouse.delong import delong

        rng = np.random.default_rng(7)
        labels = (("class", " >50K"), ("flag", "true"), ("n", "1"))
        for case, (rows, chosen) in enumerate(((3000, None), (40, "special"))):  # many small ones: see Measures
            label = rng.random(rows) < 0.3
            even = np.round(rng.normal(size=rows) + label, 15)
            special = rng.choice([-INF, -0.0, 0.0, 1.0, INF], rows)
            scores = {"even": even, "bunched": np.round(even, 1), "special": special, "inverse": -even}
            data = pa.table(
                {"class": np.where(label, " >50K", " <=50K"), "flag": label, "n": label.astype("int32"), **scores}
            )
            put(warehouse, f"s.p{case}", data, tmp_path)
            for score, values in scores.items():
                for column, positive in labels if score == "even" else labels[:1]:
                    if chosen not in (None, score):
                        continue
                    got = auc(warehouse, f"s.p{case}", label=column, score=score, positive_class=positive)
                    finite = np.clip(values, -1e300, 1e300)
                    assert got["auroc"] == pytest.approx(roc_auc_score(label, finite), abs=1e-14)
                    assert got["auroc_se"] == pytest.approx(delong(label, values)[1], rel=1e-12)
                    assert got["rows_evaluated"] == rows
                    assert got["reason"] is None

    def test_what_cannot_be_compared_is_counted(self, warehouse: Warehouse, tmp_path: Path) -> None:
        nan = float("nan")
        labels = pa.array([1.0, 1.0, 0.0, 0.0, None, nan, 1.0, 0.0, None], from_pandas=False)
        scores = pa.array([0.9, 0.4, 0.5, 0.1, 0.5, 0.5, None, nan, None], from_pandas=False)
        put(warehouse, "s.p", pa.table({"y": labels, "s": scores}), tmp_path)
        got = auc(warehouse, "s.p", label="y", score="s", positive_class=1)
        assert (got["auroc"], got["positives"], got["negatives"]) == (0.75, 2, 2)
        counts = ("rows_evaluated", "rows_skipped", "null_labels", "nan_labels", "null_scores", "nan_scores")
        assert [got[name] for name in counts] == [4, 5, 2, 1, 2, 1]

    def test_two_models_are_compared_on_the_same_rows(self, warehouse: Warehouse, tmp_path: Path) -> None:
        """With ties, infinities, zeros of both signs, and rows that one of them or both cannot be compared on."""
        from tests.warehouse.delong import paired_delong

        rng = np.random.default_rng(8)
        rows = 500
        label = rng.random(rows) < 0.4
        first = rng.choice([-INF, -0.0, 0.0, 0.25, 1.0, INF], rows)
        second = np.where(rng.random(rows) < 0.5, first, np.round(rng.normal(size=rows) + label, 1))
        chances = [np.round(rng.random(rows), 1) for _ in range(2)]
        classes = np.where(label, " >50K", " <=50K")
        guesses = [np.where(rng.random(rows) < right, classes, " >50K") for right in (0.5, 0.8)]
        order = rng.permutation(rows)
        nan = [None, float("nan")]
        for name, at, score, chance, guess, extra in (
            ("champion", slice(None), first, chances[0], guesses[0], [(rows, " >50K", *nan), (rows + 1, None, 1, 1)]),
            ("challenger", order, second, chances[1], guesses[1], [(rows, " >50K", 1, 1), (rows + 2, " >50K", 1, 1)]),
        ):
            ids, labels, *scores = zip(*extra, strict=True)
            data = {
                "id": [*np.arange(rows)[at], *ids],
                "class": [*classes[at], *labels],
                "score": pa.array([*score[at], *scores[0]], pa.float64(), from_pandas=False),
                "chance": pa.array([*chance[at], *scores[1]], pa.float64(), from_pandas=False),
                "guess": [*guess[at], None, None],
            }
            put(warehouse, f"s.{name}", pa.table(data), tmp_path)
        asked: dict[str, Any] = {"row_id": "id", "label": "class"}
        tables = (warehouse, "s.champion", "s.challenger")
        got = compare_auc(*tables, **asked, score="score", positive_class=" >50K")
        difference, error = paired_delong(label, first, second)
        assert got["difference"] == pytest.approx(difference, abs=1e-14)
        assert got["difference_se"] == pytest.approx(error, rel=1e-12)
        counts = ("rows", "unmatched", "champion_only", "challenger_only", "null_ids", "null_labels", "null_scores")
        assert [got[name] for name in counts] == [rows, 2, 1, 1, 0, 0, 1]
        losses = [-np.log(np.maximum(np.where(label, p, 1 - p), 1e-15)) for p in chances]
        gains = {
            "log_loss": losses[0] - losses[1],
            "accuracy": (guesses[1] == classes) * 1 - (guesses[0] == classes) * 1,
        }
        for metric, gain in gains.items():
            column = {"log_loss": "chance", "accuracy": "guess"}[metric]
            means = compare_means(*tables, **asked, metric=metric, prediction=column, positive_class=" >50K")
            assert means["difference"] == pytest.approx(gain.mean(), abs=1e-12)
            assert means["difference_se"] == pytest.approx(gain.std(ddof=1) / np.sqrt(len(gain)), rel=1e-9)
        with pytest.raises(InputError, match=r"2 of 503 row ids \(0\.4%\)"):
            compare_auc(*tables, **asked, score="score", positive_class=" >50K", max_unmatched=0.003)

    def tables(self, warehouse: Warehouse) -> list[tuple[object, object]]:
        return [
            (row["table_schema"], row["table_name"])
            for row in warehouse.run("tables")
            if not str(row["table_schema"]).startswith(SPARED)
        ]


class Measures:
    """Every measure is scikit-learn's. ``AUTOML_SAMPLES`` says of how many samples."""

    def test_measures_equal_scikit_learn(self, warehouse: Warehouse, tmp_path: Path) -> None:
        compared, wrong = samples.compare(
            warehouse, lambda name, data: put(warehouse, name, data, tmp_path), count=samples.SAMPLES, seed=11
        )
        assert compared > 50 * samples.SAMPLES
        assert not wrong, f"{len(wrong)} of {compared} numbers differ:\n" + "\n".join(wrong[:20])


class Concurrency:
    """What holds when several do it at once. A subclass adds ``connection``, the fixture that reaches the database."""

    #: Rows of a table, and of one several times as large.
    flat_rows: ClassVar[tuple[int, int]]

    def test_a_reader_sees_the_old_table_or_the_new_one(self, warehouse: Warehouse, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(1000), tmp_path)
        seen: list[int] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                seen.append(warehouse.count("s.t"))

        with ThreadPoolExecutor() as pool:
            reader = pool.submit(read)
            try:
                for turn in range(10):
                    put(warehouse, "s.t", numbers(2000 if turn % 2 == 0 else 1000), tmp_path)
            finally:
                done.set()
            reader.result()
        assert set(seen) <= {1000, 2000}
        assert len(seen) > 1

    def test_many_record_the_same_row(self, warehouse: Warehouse) -> None:
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        with ThreadPoolExecutor(8) as pool:
            results = list(
                pool.map(lambda i: warehouse.record("s.r", {"record_id": f"r{i % 2}", "score": 0.5}), range(16))
            )
        assert sorted(results) == ["inserted"] * 2 + ["unchanged"] * 14
        assert warehouse.count("s.r") == 2

    def test_many_make_the_same_table(self, warehouse: Warehouse) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: warehouse.create_table("made.t", {"a": "BIGINT", f"c{i % 3}": "DOUBLE"}), range(8)))
        assert set(warehouse.columns("made.t")) == {"a", "c0", "c1", "c2"}

    def test_many_append(self, warehouse: Warehouse, tmp_path: Path) -> None:
        def append(turn: int) -> None:
            data = pa.table({"model": [f"m{turn % 4}"] * 3})
            put(warehouse, "new.board", data, tmp_path, mode="append", delete_where={"model": f"m{turn % 4}"})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(append, range(8)))
        assert warehouse.count("new.board") == 12

    def test_processes_record_the_same_row(self, warehouse: Warehouse, connection: dict[str, Any]) -> None:
        warehouse.create_table("s.r", {"record_id": "VARCHAR", "score": "DOUBLE"})
        code = (
            "results = [warehouse.record('s.r', {'record_id': 'r', 'score': 0.5}) for _ in range(10)]; print(results)"
        )
        with child(connection, code) as first, child(connection, code) as second:
            printed = first.communicate(timeout=60)[0] + second.communicate(timeout=60)[0]
        assert (printed.count("inserted"), printed.count("unchanged")) == (1, 19)
        assert warehouse.count("s.r") == 1

    def test_a_killed_load_leaves_the_old_table(
        self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path
    ) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        tables = self.tables(warehouse)  # type: ignore[attr-defined]
        files = tmp_path / "many"
        files.mkdir()
        pq.write_table(numbers(1_000_000), files / "part-0.parquet")
        load = f"warehouse.load(Path({str(files)!r}), 's.t', key='task')"
        with child(connection, f"print('loading', flush=True); {load}") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.1)
            process.send_signal(signal.SIGKILL)
        assert warehouse.rows("s.t", order_by=["id"]) == numbers(3).to_pylist()
        put(warehouse, "s.t", numbers(5), tmp_path, key="task")
        assert warehouse.count("s.t") == 5
        assert self.tables(warehouse) == tables  # type: ignore[attr-defined]

    def test_memory_is_flat(self, warehouse: Warehouse, connection: dict[str, Any], tmp_path: Path) -> None:
        peaks = []
        for rows in self.flat_rows:
            files, out = tmp_path / f"in{rows}", tmp_path / f"out{rows}"
            files.mkdir()
            data = numbers(rows).append_column("text", pa.array([f"text {i}" for i in range(rows)]))
            pq.write_table(data, files / "part-0.parquet", row_group_size=65536)
            code = f"warehouse.load(Path({str(files)!r}), 's.flat'); warehouse.unload('s.flat', Path({str(out)!r}))"
            peaks.append(peak_rss(*command(code, connection)))
            assert sum(pq.read_metadata(path).num_rows for path in out.iterdir()) == rows
        assert peaks[1] < 1.3 * peaks[0]


def command(code: str, connection: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """A Python process that has ``warehouse`` and runs some code, and its environment."""
    opening = (
        "from pathlib import Path; from airflow.providers.common.compat.sdk import BaseHook; "
        "from airflow_provider_automl.warehouse import open_warehouse; "
        "warehouse = open_warehouse(BaseHook.get_hook('child')); "
    )
    environment = os.environ | {
        "AIRFLOW_CONN_CHILD": json.dumps(connection),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    return [sys.executable, "-c", opening + code], environment


@contextmanager
def child(connection: dict[str, Any], code: str, *, stdin: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Such a process, killed at the end if it still runs."""
    arguments, environment = command(code, connection)
    process = subprocess.Popen(
        arguments, env=environment, stdin=subprocess.PIPE if stdin else None, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
