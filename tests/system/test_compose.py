"""``docker-compose.yaml`` without containers: its services as processes, and the example DAG on its connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.hooks.automl import AutoMLHook
from tests.engines import Missing, compose, required
from tests.system.conftest import reached, rows, run_dag
from tests.system.server import REPO, environment

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1200)]  # the servers are started in the first test


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[compose.Services]:
    try:
        with compose.services(tmp_path_factory.mktemp("compose")) as found:
            yield found
    except Missing as missing:
        (pytest.fail if "trino" in required() else pytest.skip)(str(missing))


@pytest.fixture(scope="module")
def on_trino(services: compose.Services, airflow_home: Path) -> dict[str, str]:
    """The environment of an Airflow with the file's connections and keys."""
    found = services.environment("scheduler")
    of_the_file = {name: value for name, value in found.items() if name.startswith(("AIRFLOW_CONN_", "AWS_"))}
    return {**environment(airflow_home, REPO / "dags"), **of_the_file}


def test_the_example_runs_on_trino(on_trino: dict[str, str]) -> None:
    """It makes its data tables, and all that it leaves is Trino's: the same AUC as scikit-learn's from its rows."""
    from sklearn.metrics import roc_auc_score

    run_dag(on_trino, "automl_experiment", {"fit_time_limit": "5", "drift_auc_threshold": 0})
    (evaluated,) = rows(on_trino, "automl_test.automl_eval_results")
    assert len(rows(on_trino, "automl_test.automl_experiments")) == 1
    predicted = rows(on_trino, evaluated["predictions_table"])
    labels = [row["class"] == " >50K" for row in predicted]
    assert len(labels) == evaluated["rows_evaluated"] == 20_000
    expected = roc_auc_score(labels, [row["predicted_proba"] for row in predicted])
    assert evaluated["auroc"] == pytest.approx(expected, abs=1e-12)
    with reached(on_trino) as hook:
        warehouse = hook.warehouse
        assert warehouse.dialect == "trino"
        files = warehouse.run("paths", table=warehouse._qualified(evaluated["predictions_table"]))
    (directory,) = {str(row["path"]).rpartition("/")[0] for row in files}
    assert directory.startswith("s3://automl/warehouse/automl_test.db/predicted_gluon_test_")


def test_staging_is_left_empty(on_trino: dict[str, str]) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    with reached(on_trino):
        assert ObjectStoragePath("s3://s3_default@automl/staging").fs.find("automl/staging") == []


def test_the_other_connection_is_iceberg(on_trino: dict[str, str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"a-b": [1, 2, 3]}), tmp_path / "part.parquet")
    with reached(on_trino):
        warehouse = AutoMLHook(warehouse_conn_id="iceberg_default").warehouse
        assert [warehouse.load(tmp_path, "ml_datasets.few") for _ in range(2)] == [3, 3]
        assert warehouse.count("ml_datasets.few") == 3
        assert warehouse._connector(warehouse._qualified("ml_datasets.few")) == "iceberg"
