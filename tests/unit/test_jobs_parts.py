"""Parts of jobs that need no model."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import did_you_mean, listing
from airflow_provider_automl.jobs import frames, rowids
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.files import strict, write_json
from airflow_provider_automl.jobs.model_files import autogluon_version, check_versions
from airflow_provider_automl.jobs.parquet import Parts
from airflow_provider_automl.jobs.probabilities import correct, fit_temperature, to_json


def test_strict_json_has_no_nan_and_no_numpy(tmp_path):
    value = {"a": math.nan, "b": [math.inf, np.float32(1.5), np.int64(2)], 3: (True, None), "c": np.bool_(False)}
    assert strict(value) == {"a": None, "b": [None, 1.5, 2], "3": [True, None], "c": False}
    write_json(tmp_path / "x.json", value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_model_of_another_minor_version_of_python_is_refused():
    manifest = {"autogluon_version": autogluon_version(), "python_version": "3.11.7"}
    check_versions(manifest, "3.11.9")
    with pytest.raises(JobInputError, match=r"trained with Python 3\.11\.7, but this is 3\.12\.7"):
        check_versions(manifest, "3.12.7")


def test_the_prior_is_corrected_as_bayes_says():
    p = np.array([0.1, 0.5, 0.9])
    odds = p / (1 - p) * 0.25
    assert correct(p, {"prior_odds": 0.25, "temperature": 1.0, "rates": [0.5, 0.5]}) == pytest.approx(
        odds / (1 + odds), abs=1e-15
    )


def test_no_correction_changes_no_bit():
    p = np.array([0.0, 1e-300, 1.0])
    assert (correct(p, {"prior_odds": 1.0, "temperature": 1.0, "rates": [0.5, 0.5]}) == p).all()


@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_that_made_probabilities_too_sure_is_found(classes):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) < generator.random((len(true), 1))).sum(axis=1)
    sure = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    given = sure[:, 1] if classes == 2 else sure
    correction = {"prior_odds": 1.0, "temperature": 1.0, "rates": [1 / classes] * classes}
    assert fit_temperature(given, labels, correction) == pytest.approx(2, rel=0.1)
    corrected = correct(given, correction | {"temperature": 2.0})
    assert corrected == pytest.approx(true[:, 1] if classes == 2 else true, abs=1e-9)


def test_few_rows_calibrate_nothing():
    correction = {"prior_odds": 1.0, "temperature": 1.0, "rates": [0.5, 0.5]}
    assert fit_temperature(np.full(100, 0.9), np.arange(100) % 2, correction) == 1.0
    assert fit_temperature(np.full(1000, 0.9), np.arange(1000) // 990, correction) == 1.0


def test_calibration_draws_to_the_base_rate_and_not_to_one_half():
    correction = {"prior_odds": 1.0, "temperature": 5.0, "rates": [0.99, 0.01]}
    low, base, high = correct(np.array([0.001, 0.01, 0.1]), correction)
    assert base == pytest.approx(0.01)
    assert 0.001 < low < base < high < 0.1


def test_probabilities_as_json_are_exact():
    generator = np.random.default_rng(0)
    p = np.concatenate([generator.random(1000), [0.0, 1.0, 1e-12, 1 / 3]])
    for probability, text in zip(p, to_json(p, [" <=50K", 'a"b']).to_pylist(), strict=True):
        assert json.loads(text) == {" <=50K": 1 - probability, 'a"b': probability}
    assert to_json(np.array([[0.25, np.nan]]), [True, 1.5]).to_pylist() == ['{"true": 0.25, "1.5": null}']


def test_long_lists_in_messages_are_cut_with_a_count():
    assert frames.listed([np.int64(1), "b"]) == "1, 'b'"
    assert frames.listed(list(range(25))).endswith("18, 19 and 5 more")
    assert listing(["a", "b"]) == "a, b"
    assert listing([f"c{i}" for i in range(2025)], 3) == "c0, c1, c2 and 2,022 more"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("auc", ["rmse", "auroc"], " (did you mean 'auroc'?)"), ("CLASS", ["age", "class"], " (did you mean 'class'?)"),
        ("yes", [" no", " yes"], " (did you mean ' yes'?)"), ("row_id", ["id"], " (did you mean 'id'?)"),
        ("zzz", ["age", "class"], ""), (7, [], ""),
    ],
)  # fmt: skip
def test_the_most_similar_name_is_suggested(name: object, known: list[str], hint: str) -> None:
    assert did_you_mean(name, known) == hint


@pytest.mark.parametrize("kind", ["int", "text"])
def test_row_ids_in_many_files_and_buckets(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(rowids, "_ROWS_PER_FILE", 1000)
    monkeypatch.setattr(rowids, "_BATCH_ROWS", 700)
    ids = np.arange(10_000) if kind == "int" else np.array([f"row {i}" for i in range(10_000)], dtype=object)
    source = tmp_path / "in"
    source.mkdir()
    for part in range(3):
        pq.write_table(pa.table({"id": ids[part::3]}), source / f"{part}.parquet")
    rowids.check(Parts(source), "id", tmp_path)
    pq.write_table(pa.table({"id": ids[4321:4322]}), source / "9.parquet")
    with pytest.raises(JobInputError, match="4321"):
        rowids.check(Parts(source), "id", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_equal_hashes_are_not_taken_for_equal_ids(tmp_path, monkeypatch):
    monkeypatch.setattr("pandas.util.hash_array", lambda values, categorize: np.zeros(len(values), np.uint64))
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": ["a", "b", "c"]}), tmp_path / "in" / "0.parquet")
    rowids.check(Parts(tmp_path / "in"), "id", tmp_path)


def test_times_beyond_what_pandas_reaches_are_clipped_in_whatever_unit():
    """A feature must not wrap around: the last millisecond there is, is no date in 1969."""
    latest, earliest = pd.Timestamp("2262-04-11"), pd.Timestamp("1677-09-22")
    for bits, types in (
        (31, [pa.date32()]),
        (63, [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC")]),
    ):
        numbers = pa.array([2**bits - 1, None, 1 - 2**bits, 0], pa.int32() if bits == 31 else pa.int64())
        for kind in types:
            found = frames.to_pandas({"a": numbers.cast(kind)})["a"]
            assert found.tolist() == [latest, pd.NaT, earliest, pd.Timestamp("1970-01-01")], kind


def test_values_of_any_type_as_text():
    days = pa.array([2**31 - 1, 1 - 2**31, 2932897, -735160, 0, None], pa.int32()).cast(pa.date32())
    written = ["infinity", "-infinity", "10000-01-01", "-043-03-15", "1970-01-01", None]
    assert frames.texts(days) == written
    assert frames.texts(pa.chunked_array([days, days])) == written * 2
    assert frames.texts(pa.array([days[4:].to_pylist()])) == ["[datetime.date(1970, 1, 1), None]"]
    lists = pa.ListArray.from_arrays([0, 2, 2, 6], days)
    assert frames.texts(lists) == ["[infinity, -infinity]", "[]", "[10000-01-01, -043-03-15, 1970-01-01, None]"]
    structs = pa.StructArray.from_arrays([days, pa.array([b"\xff"] * 6)], ["a", "b"])
    assert frames.texts(structs)[0] == "{'a': infinity, 'b': b'\\xff'}"
    maps = pa.MapArray.from_arrays([0, 1], ["k"], days[:1])
    assert frames.texts(maps) == ["[{'key': k, 'value': infinity}]"]
    for kind in (pa.timestamp("us"), pa.timestamp("ms", "UTC")):
        assert frames.texts(pa.array([2**63 - 1, 0]).cast(kind))[0] == "infinity"
