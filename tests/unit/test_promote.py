"""Promotion on an embedded warehouse with a real model store; the models are files, and their predictions are drawn."""

from __future__ import annotations

import dataclasses
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.errors import BusyError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.models.aliases import Aliases, change_of
from airflow_provider_automl.models.store import ModelStore
from airflow_provider_automl.operators.promote import AutoMLPromoteOperator
from airflow_provider_automl.warehouse.duckdb import DuckDBWarehouse
from airflow_provider_automl.warehouse.paired import compare_auc, compare_means
from tests.faults.models import made
from tests.operators.conftest import run

KEYS = [
    "alias", "promoted", "better", "challenger_name", "challenger_version", "champion_name", "champion_version",
    "metric", "challenger_value", "champion_value", "difference", "difference_low", "difference_high", "p_value",
    "rows", "detail",
]  # fmt: skip
ROWS = 2000
ALIAS = "census_champion"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModelStore:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return AutoMLHook().models


def register(store: ModelStore, tmp_path: Path, name: str) -> dict[str, str]:
    files = tmp_path / f"work-{uuid.uuid4().hex}"
    digest = made(files, name)
    saved = {"model_name": name, "model_version": "v-0"}
    with AutoMLHook().warehouse._connect(read_only=False, directory=None):  # opening it is half of a short session
        uri = store.save(files, **saved)
        store.register(**saved, model_uri=uri, model_digest=digest, shared_model=None, dag_id="d", run_id="r")
    return saved


def version(store: ModelStore, tmp_path: Path, name: str, skill: float, luck: int = 2) -> dict[str, Any]:
    """A version, its predictions of the one table, and that prediction's dict."""
    saved = register(store, tmp_path, name)
    label = np.random.default_rng(0).random(ROWS) < 0.3
    score = 1 / (1 + np.exp(-(skill * (label - 0.3) + np.random.default_rng(1).normal(size=ROWS))))
    score = np.clip(score + 0.05 * np.random.default_rng(luck).normal(size=ROWS), 0, 1)
    data = {
        "id": np.arange(ROWS), "class": np.where(label, " >50K", " <=50K"), "predicted_proba": score,
        "predicted_class": np.where(score > 0.5, " >50K", " <=50K"),
    }  # fmt: skip
    directory = tmp_path / f"load-{name}"
    directory.mkdir()
    pq.write_table(pa.table(data), directory / "part-0.parquet")
    AutoMLHook().warehouse.load(directory, f"out.{name}")
    return {
        **saved, "output_table": f"out.{name}", "input_table": "ml.test", "target_column": "class",
        "positive_class": " >50K", "problem_type": "binary", "rows": ROWS,
    }  # fmt: skip


def promote(challenger: Any, champion: Any = None, **more: Any) -> dict[str, Any]:
    result = run(
        AutoMLPromoteOperator,
        **{"challenger": challenger, "champion_predictions": champion, "alias": ALIAS, "row_id": "id"} | more,
    )
    assert list(result) == KEYS
    json.dumps(result, allow_nan=False)
    return result


def refused(reason: str, challenger: Any, champion: Any = None, **more: Any) -> None:
    with pytest.raises(AirflowFailException, match=reason):
        promote(challenger, champion, **more)


@pytest.fixture
def weak(store: ModelStore, tmp_path: Path) -> dict[str, Any]:
    """A champion."""
    prediction = version(store, tmp_path, "weak", 1.0)
    promote(prediction)
    return prediction


@pytest.fixture
def strong(store: ModelStore, tmp_path: Path) -> dict[str, Any]:
    return version(store, tmp_path, "strong", 2.0)


def holder(store: ModelStore) -> str:
    return str(store.find(alias=ALIAS)["model_name"])


def test_the_first_model_becomes_champion(store: ModelStore, tmp_path: Path) -> None:
    first = version(store, tmp_path, "weak", 1.0)
    got = promote(first, "{{ none }}", run_id="same")
    assert (got["promoted"], got["champion_name"], got["difference"], got["rows"]) == (True, None, None, None)
    assert got["detail"] == (
        "The alias 'census_champion' was unassigned: 'weak' version 'v-0' needs no comparison. "
        "The alias 'census_champion' now points to the challenger."
    )
    (change,) = store.alias_history(ALIAS)
    assert (change["model_name"], change["assigned_by"]) == ("weak", "ann")
    assert change["reason"].startswith("The alias 'census_champion' was unassigned")
    assert promote(first, "{{ none }}", run_id="same", try_number=2)["promoted"]  # a retry finds it done
    got = promote(first, first)
    assert (got["promoted"], got["better"], got["difference"]) == (False, False, None)
    assert got["detail"] == "The alias 'census_champion' is already assigned to 'weak' version 'v-0': no change."
    assert store.alias_history(ALIAS) == [change]


def test_what_is_significantly_better_is_promoted(
    store: ModelStore, weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    got = promote(strong, weak)
    assert (got["promoted"], got["better"], holder(store)) == (True, True, "strong")
    warehouse = AutoMLHook().warehouse
    expected = compare_auc(warehouse, "out.weak", "out.strong", row_id="id", label="class", positive_class=" >50K")
    for key in ("difference", "difference_low", "difference_high", "rows"):
        assert got[key] == expected[key]
    assert (got["p_value"], got["challenger_value"]) == (expected["p_greater"], expected["challenger_auroc"])
    assert got["difference"] > 0
    assert (got["champion_name"], got["champion_version"], got["challenger_name"]) == ("weak", "v-0", "strong")
    moved = "The alias 'census_champion' now points to the challenger."
    assert f"), significantly better at alpha 0.05. {moved}" in got["detail"]
    first, second = store.alias_history(ALIAS)
    assert (first["model_name"], second["model_name"], second["assigned_by"]) == ("weak", "strong", "ann")
    assert "significantly better at alpha 0.05. (d/" in second["reason"]


def test_only_if_vacant_compares_nothing(store: ModelStore, tmp_path: Path) -> None:
    """The newest of a name that ends in * is the first champion; who holds the alias keeps it, whatever there is."""
    arguments = {"challenger": {"model_name": "w*"}, "alias": ALIAS, "only_if_vacant": True}
    with pytest.raises(AirflowFailException, match=r"No model 'w\*'"):
        run(AutoMLPromoteOperator, **arguments)
    first = version(store, tmp_path, "weak", 1.0)
    got = run(AutoMLPromoteOperator, **arguments)
    assert (got["promoted"], got["challenger_version"]) == (True, first["model_version"])
    version(store, tmp_path, "wise", 2.0)
    got = run(AutoMLPromoteOperator, **arguments)
    assert (got["promoted"], got["better"], got["challenger_name"]) == (False, False, "wise")
    assert got["detail"] == "The alias 'census_champion' is assigned to 'weak' version 'v-0': no change."
    assert holder(store) == "weak"


def test_what_is_not_is_not(store: ModelStore, tmp_path: Path, weak: dict[str, Any], strong: dict[str, Any]) -> None:
    alike = version(store, tmp_path, "alike", 1.0, luck=3)
    got = promote(alike, weak)
    assert (got["promoted"], got["better"], holder(store)) == (False, False, "weak")
    assert 0.05 < got["p_value"] < 1
    assert "not significantly better at alpha 0.05. The alias 'census_champion' is unchanged." in got["detail"]
    assert promote(alike, weak, alpha="{{ 0.9999 }}")["promoted"]
    promote(strong, alike)
    got = promote(weak, strong)
    assert (got["promoted"], holder(store)) == (False, "strong")
    assert got["p_value"] > 0.95
    assert ": worse by 0." in got["detail"]


def test_what_is_not_inferior_is_promoted_within_a_margin(
    store: ModelStore, tmp_path: Path, weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    alike = version(store, tmp_path, "alike", 1.0, luck=3)
    found = promote(alike, weak, compare_only=True)
    # A margin that the difference keeps, and the lower end of its interval does not.
    tight = (max(0.0, -found["difference"]) - found["difference_low"]) / 2
    assert not promote(alike, weak, mode="non_inferior", margin=tight, compare_only=True)["better"]
    got = promote(alike, weak, mode="non_inferior", margin="0.05")
    assert got["promoted"]
    assert got["difference_low"] > -0.05
    assert got["p_value"] < 0.025
    assert "), within the margin 0.05." in got["detail"]
    promote(strong, alike)
    got = promote(weak, strong, mode="non_inferior", margin=0.05)
    assert (got["promoted"], holder(store)) == (False, "strong")
    assert "), possibly worse than the margin 0.05." in got["detail"]


def test_a_retry_changes_nothing_twice(store: ModelStore, weak: dict[str, Any], strong: dict[str, Any]) -> None:
    first = promote(strong, weak, run_id="same")
    again = promote(strong, weak, run_id="same", try_number=2)
    moved = "An earlier try of this task moved the alias 'census_champion' to the challenger."
    assert again.pop("detail").endswith(moved)
    first.pop("detail")
    assert again == first
    assert len(store.alias_history(ALIAS)) == 2
    # What somebody did after it is not undone by a retry either.
    store.rollback_alias(ALIAS, assigned_by="bob")
    assert promote(strong, weak, run_id="same", try_number=3)["promoted"]
    assert holder(store) == "weak"


def test_a_change_between_comparison_and_promotion_is_not_overwritten(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    """Bob is quicker. The retry says whose predictions are needed."""
    other = version(store, tmp_path, "other", 1.5)
    compare = AutoMLPromoteOperator._compare

    def slowly(self: Any, *arguments: Any) -> dict[str, Any]:
        found = compare(self, *arguments)
        AutoMLHook().models.set_alias(ALIAS, store.find(model_name="other"), assigned_by="bob")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(AutoMLPromoteOperator, "_compare", slowly)
        with pytest.raises(BusyError, match="was concurrently assigned to 'other' version 'v-0' by bob: compare with"):
            promote(strong, weak)
    assert holder(store) == "other"
    refused(
        "The champion's predictions in out.weak were made by 'weak' version 'v-0', but the champion is 'other'",
        strong, weak,
    )  # fmt: skip
    assert promote(strong, other, assigned_by="carol")["promoted"]
    assert store.alias_history(ALIAS)[-1]["assigned_by"] == "carol"


def test_a_change_at_the_moment_of_promotion_is_not_overwritten(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    """Bob comes after the last look and before the change itself; the next try compares with his."""
    other = version(store, tmp_path, "other", 1.5)
    append = Aliases.append

    def after_bob(self: Aliases, *arguments: Any, **more: Any) -> dict[str, Any]:
        monkeypatch.setattr(Aliases, "append", append)
        store.set_alias(ALIAS, store.find(model_name="other"), assigned_by="bob")
        return append(self, *arguments, **more)

    monkeypatch.setattr(Aliases, "append", after_bob)
    said = "was concurrently assigned to 'other' version 'v-0' by bob: compare with that version. Nothing was changed."
    with pytest.raises(BusyError, match=said):
        promote(strong, weak, run_id="same")
    assert [row["model_name"] for row in store.alias_history(ALIAS)] == ["weak", "other"]
    got = promote(strong, other, run_id="same", try_number=2)
    assert (got["promoted"], got["champion_name"], holder(store)) == (True, "other", "strong")
    assert promote(strong, other, run_id="same", try_number=3)["promoted"]
    assert len(store.alias_history(ALIAS)) == 3


def test_a_change_that_an_older_version_of_this_package_took_back_is_none(
    store: ModelStore, weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    champion, challenger = (store.find(model_name=name) for name in ("weak", "strong"))
    store.set_alias(ALIAS, challenger, assigned_by=None, change_id="c")
    store.set_alias(ALIAS, champion, assigned_by=None, change_id="c-put-back")
    history = store.alias_history(ALIAS)
    assert (change_of(history, ["c"]), change_of(history[:-1], ["c"])) == (None, len(history) - 2)


@pytest.mark.parametrize("transactions", [True, False])
def test_of_several_at_one_moment_one_is_told_that_it_moved_the_alias(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactions: bool
) -> None:
    """Without transactions, as on Trino, Hive and Spark, at most one is, and nothing of the others is left."""
    capabilities = dataclasses.replace(DuckDBWarehouse.capabilities, ddl_transactional=transactions)
    monkeypatch.setattr(DuckDBWarehouse, "capabilities", capabilities)
    names = ("one", "two", "three", "four")
    for name in names:
        register(store, tmp_path, name)
    for turn in range(3):
        history = store.alias_history(ALIAS)
        barrier = threading.Barrier(len(names))

        def move(name: str, since: Any = history[-1] if history else None, barrier: Any = barrier) -> str | None:
            own = AutoMLHook().models
            row = own.find(model_name=name)
            barrier.wait()
            try:
                own.move_alias(ALIAS, row, since=since, assigned_by=name)
            except BusyError:
                return None
            return name

        with ThreadPoolExecutor(len(names)) as pool:
            moved = [name for name in pool.map(move, names) if name]
        assert len(moved) == 1 if transactions else len(moved) <= 1
        assert [row["assigned_by"] for row in store.alias_history(ALIAS)[len(history) :]] == moved
        if transactions:
            assert (holder(store), len(store.alias_history(ALIAS))) == (moved[0], turn + 1)


Untouched = tuple[ModelStore, dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Untouched]:
    """A champion and a challenger that nothing happens to."""
    path = tmp_path_factory.mktemp("untouched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(path / "home"))
        store = AutoMLHook().models
        weak, strong = version(store, path, "weak", 1.0), version(store, path, "strong", 2.0)
        promote(weak)
        yield store, weak, strong


def test_comparing_only_changes_nothing(untouched: Untouched) -> None:
    store, weak, strong = untouched
    got = promote(strong, weak, compare_only="{{ true }}")
    assert (got["promoted"], got["better"], holder(store)) == (False, True, "weak")
    assert got["detail"].endswith("compare_only is set: the alias 'census_champion' is unchanged.")
    assert len(store.alias_history(ALIAS)) == 1


@pytest.mark.parametrize("metric", ["log_loss", "brier", "accuracy"])
def test_other_measures(untouched: Untouched, metric: str) -> None:
    _, weak, strong = untouched
    got = promote(strong, weak, metric=metric, compare_only=True)
    expected = compare_means(
        AutoMLHook().warehouse, "out.weak", "out.strong",
        row_id="id", label="class", metric=metric, positive_class=" >50K",
    )  # fmt: skip
    assert got["better"]
    assert (got["difference"], got["p_value"]) == (expected["difference"], expected["p_greater"])


def test_predictions_may_be_tables_of_ones_own(untouched: Untouched) -> None:
    _, _, strong = untouched
    trained = {**{key: strong[key] for key in ("model_name", "model_version")}, "target_column": "class",
               "positive_class": " >50K", "state": "complete"}  # fmt: skip
    got = promote(trained, "out.weak", challenger_predictions="out.strong", compare_only=True)
    assert (got["better"], got["rows"]) == (True, ROWS)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"metric": "rmse"}, "metric is 'rmse': expected one of auroc, log_loss"),
        ({"mode": "better"}, "mode is 'better': expected 'superior' or 'non_inferior'"),
        ({"mode": "non_inferior"}, "margin is None: mode 'non_inferior' requires one above 0, in units of auroc"),
        ({"mode": "non_inferior", "margin": -1}, "margin is -1: mode"),
        ({"margin": 0.1}, "margin is 0.1, but mode is 'superior': remove it"),
        ({"alpha": 0}, "alpha is 0: expected a probability between 0 and 1"),
        ({"alpha": "lots"}, "alpha is 'lots': expected a ratio"),
        ({"max_unmatched": 2}, "max_unmatched is 2: expected a ratio"),
        ({"challenger": "strong"}, "challenger of task 'task' is 'strong': expected the dict of a training"),
        ({"challenger": {"model_name": "x", "model_version": "v-0"}}, "No model 'x' in"),
        ({"alias": "../x"}, r"alias '\.\./x' contains"),
        ({"champion_predictions": "out.nothing"}, r"no table out\.nothing"),
        ({"champion_predictions": {"output_table": "t"}}, "champion_predictions of task 'task' .* expected the dict"),
        ({"champion_predictions": None}, "champion_predictions of task 'task' is 'None': expected the table"),
        ({"challenger_predictions": {"output_table": "out.weak", "model_name": "weak", "model_version": "v-0"}},
         "The challenger's predictions in out.weak were made by 'weak'"),
        ({"row_id": "row"}, "out.weak has no row id column 'row'"),
        ({"positive_class": " <=50K"}, "is the probability of ' >50K'"),
        ({"challenger": {"model_name": "strong", "model_version": "v-0"}}, "challenger_predictions of task 'task' is"),
        ({"challenger_predictions": "out.strong", "target_column": None, "positive_class": None,
          "challenger": {"model_name": "strong", "model_version": "v-0"}}, "has no target_column, positive_class"),
    ],
)  # fmt: skip
def test_bad_input(untouched: Untouched, arguments: dict[str, Any], reason: str) -> None:
    store, weak, strong = untouched
    given = {"challenger": strong, "champion_predictions": weak} | arguments
    refused(reason, given.pop("challenger"), given.pop("champion_predictions"), **given)
    assert len(store.alias_history(ALIAS)) == 1
