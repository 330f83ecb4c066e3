from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from airflow_provider_automl import datasets
from airflow_provider_automl.datasets import COLUMNS, NEGATIVE, POSITIVE, adult, adult_from, census


def features_and_label(table: pa.Table) -> tuple[pd.DataFrame, pd.Series]:
    frame = table.to_pandas()
    label = (frame.pop("class") == POSITIVE).astype(int)
    for name, kind in COLUMNS.items():
        if kind == "string" and name != "class":
            frame[name] = frame[name].astype("category")
    return frame, label


@pytest.fixture(scope="module")
def model() -> lightgbm.LGBMClassifier:
    return fit(census(32_561))


def fit(table: pa.Table) -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(n_estimators=150, learning_rate=0.06, n_jobs=1, verbose=-1).fit(
        *features_and_label(table)
    )


def score(model: lightgbm.LGBMClassifier, table: pa.Table) -> float:
    frame, label = features_and_label(table)
    return float(roc_auc_score(label, model.predict_proba(frame)[:, 1]))


def best_possible(rows: int, drift: float, seed: int) -> float:
    """The AUC of the true probabilities: no model can be expected to do better."""
    label = np.asarray(census(rows, drift, seed)["class"]) == POSITIVE
    return float(roc_auc_score(label, datasets._people(rows, drift, seed)[1]))


def test_columns_and_values_look_like_the_real_data() -> None:
    table = census(20_000)
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    assert table.column_names == list(COLUMNS)
    assert all(table[name].null_count == 0 for name in COLUMNS)
    for name, kind in COLUMNS.items():
        if kind == "string":
            assert all(value.startswith(" ") and value == " " + value.strip() for value in set(table[name].to_pylist()))
    assert set(table["class"].to_pylist()) == {POSITIVE, NEGATIVE}
    assert 0.2 < np.mean(np.asarray(table["class"]) == POSITIVE) < 0.3
    assert " ?" in table["workclass"].to_pylist()
    frame = table.to_pandas()
    assert frame["age"].between(17, 90).all()
    assert frame["hours-per-week"].between(1, 99).all()
    assert frame["capital-gain"].max() == 99999
    assert (frame.groupby("education")["education-num"].nunique() == 1).all()
    assert set(frame.loc[frame["relationship"] == " Wife", "sex"]) == {" Female"}


def test_reproducible_and_seeds_differ() -> None:
    assert census(500, 0.3, seed=7).equals(census(500, 0.3, seed=7))
    assert not census(500, 0.3, seed=7).equals(census(500, 0.3, seed=8))
    assert not census(500, 0.3, seed=7).equals(census(500, 0.4, seed=7))


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_keep_the_columns(rows: int) -> None:
    table = census(rows)
    assert table.num_rows == rows
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS


@pytest.mark.parametrize(("rows", "drift"), [(-1, 0.0), (10, -0.1), (10, 1.1), (10, float("nan"))])
def test_wrong_arguments(rows: int, drift: float) -> None:
    with pytest.raises(ValueError, match=r"rows is -1|drift is"):
        census(rows, drift)


def test_best_possible_auc_is_known() -> None:
    assert best_possible(200_000, 0.0, seed=3) >= 0.955
    assert best_possible(200_000, 1.0, seed=3) >= 0.94


def test_a_model_stays_above_the_documented_threshold_by_five_standard_errors(
    model: lightgbm.LGBMClassifier,
) -> None:
    assert score(model, census(20_000, seed=1)) >= 0.93 + 5 * 0.0018


def test_drift_is_gradual_and_clear_and_retraining_heals_it(model: lightgbm.LGBMClassifier) -> None:
    scores = [score(model, census(20_000, drift, seed=1)) for drift in (0, 0.25, 0.5, 0.75, 1)]
    steps = -np.diff(scores)
    assert (steps > 0.005).all(), scores
    assert (steps < 0.12).all(), scores
    assert scores[-1] <= 0.88
    assert score(fit(census(32_561, 1.0, seed=2)), census(20_000, 1.0, seed=1)) >= 0.93


@pytest.fixture
def adult_directory(tmp_path: Path) -> Path:
    """The real data where they are, else files of the same form."""
    real = os.environ.get("AUTOML_TEST_DATA")
    if real:
        return Path(real) / "adult"
    for name, rows in (("train.csv", 300), ("test.csv", 100)):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(zip(*census(rows).to_pydict().values(), strict=True))
    return tmp_path


def test_adult_from_keeps_blanks(adult_directory: Path) -> None:
    for table in adult_from(adult_directory):
        assert {field.name: str(field.type) for field in table.schema} == COLUMNS
        assert set(table["class"].to_pylist()) == {POSITIVE, NEGATIVE}
        assert " ?" in set(table["occupation"].to_pylist())


def test_adult_from_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train\.csv is missing"):
        adult_from(tmp_path)
    (tmp_path / "train.csv").write_text("age,class\n1, >50K\n")
    with pytest.raises(ValueError, match="has the columns"):
        adult_from(tmp_path)


def openml(train: pa.Table, test: pa.Table, order: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for ``fetch_openml``: stripped categories and missing values, as OpenML has them."""
    parts = {"train": train, "test": test}
    frame = pa.concat_tables([parts[name] for name in order]).to_pandas()
    for name, kind in COLUMNS.items():
        if kind == "string":
            frame[name] = frame[name].str.strip().replace("?", None).astype("category")

    def fetch(name: str, version: int, **_: object) -> SimpleNamespace:
        assert (name, version) == ("adult", 2)
        return SimpleNamespace(frame=frame)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)


def first_row(table: pa.Table, age: int, fnlwgt: int) -> pa.Table:
    columns = table.to_pydict()
    columns["age"][0], columns["fnlwgt"][0] = age, fnlwgt
    return pa.table(columns, schema=table.schema)


@pytest.mark.parametrize("order", [("train", "test"), ("test", "train")])
def test_adult_finds_the_standard_split(order: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    train = first_row(census(datasets.TRAIN_ROWS), 39, 77516)
    test = first_row(census(datasets.TEST_ROWS, seed=1), 25, 226802)
    openml(train, test, order, monkeypatch)
    found_train, found_test = adult()
    assert found_train.equals(train)
    assert found_test.equals(test)


def test_adult_in_an_unknown_order(monkeypatch: pytest.MonkeyPatch) -> None:
    openml(census(200), census(100, seed=1), ("train", "test"), monkeypatch)
    with pytest.warns(UserWarning, match="the split is random"):
        train, test = adult()
    assert (train.num_rows, test.num_rows) == (200, 100)


def test_adult_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'airflow-provider-automl\[automl\]'"):
        adult()
