"""``docker-compose.yaml`` without containers: its services as processes, and the example DAG on its connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import Missing, compose, required
from tests.system.conftest import python, rows
from tests.system.mail import Mailbox
from tests.system.server import REPO, AirflowServer

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1200)]  # the servers are started in the first test


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[compose.Services]:
    try:
        with compose.services(tmp_path_factory.mktemp("compose")) as found:
            yield found
    except Missing as missing:
        (pytest.fail if "trino" in required() else pytest.skip)(str(missing))


@pytest.fixture(scope="module")
def on_trino(
    services: compose.Services, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowServer]:
    """Airflow with the file's connections, but for the mail catcher, and its keys."""
    found = services.environment("scheduler")
    env = {name: value for name, value in found.items() if name.startswith(("AIRFLOW_CONN_", "AWS_"))}
    env["AIRFLOW_CONN_SMTP_DEFAULT"] = mailbox.connection()
    server = AirflowServer(tmp_path_factory.mktemp("airflow"), REPO / "dags", env)
    server.start()
    yield server
    server.stop()


def test_the_example_runs_on_trino(on_trino: AirflowServer) -> None:
    """It makes its data tables, and all that it leaves is Trino's: the same AUC as scikit-learn's from its rows."""
    from sklearn.metrics import roc_auc_score

    run_id = on_trino.trigger("automl_experiment", {"fit_time_limit": "10"})
    state = on_trino.wait("automl_experiment", run_id, timeout=540)
    assert state == "success", on_trino.states("automl_experiment", run_id)
    (evaluated,) = rows(on_trino, "automl_test.automl_eval_results")
    assert len(rows(on_trino, "automl_test.automl_experiments")) == 1
    predicted = rows(on_trino, evaluated["predictions_table"])
    labels = [row["class"] == " >50K" for row in predicted]
    assert len(labels) == evaluated["rows_evaluated"] == 20_000
    expected = roc_auc_score(labels, [row["predicted_proba"] for row in predicted])
    assert evaluated["auroc"] == pytest.approx(expected, abs=1e-12)
    code = (
        "from airflow_provider_automl.hooks.automl import AutoMLHook; w = AutoMLHook().warehouse; "
        "print(w.dialect, *sorted({row['path'].rpartition('/')[0] for row in w.run('paths', table=w._qualified("
        f"'{evaluated['predictions_table']}'))}}))"
    )
    assert "s3://automl/warehouse/automl_test.db/predicted_gluon_test_" in python(on_trino, code)


def test_staging_is_left_empty(on_trino: AirflowServer) -> None:
    code = (
        "from airflow.sdk import ObjectStoragePath as P; fs = P('s3://s3_default@automl/staging').fs; "
        "print('FILES', fs.find('automl/staging'))"
    )
    assert "FILES []" in python(on_trino, code)


def test_the_other_connection_is_iceberg(on_trino: AirflowServer) -> None:
    code = (
        "import pathlib, tempfile; import pyarrow as pa, pyarrow.parquet as pq; "
        "from airflow_provider_automl.hooks.automl import AutoMLHook; "
        "w = AutoMLHook(warehouse_conn_id='iceberg_default').warehouse; d = pathlib.Path(tempfile.mkdtemp()); "
        "pq.write_table(pa.table({'a-b': [1, 2, 3]}), d / 'part.parquet'); "
        "print('LOADED', w.load(d, 'ml_datasets.few'), w.load(d, 'ml_datasets.few'), w.count('ml_datasets.few'), "
        "w._connector(w._qualified('ml_datasets.few')))"
    )
    assert "LOADED 3 3 3 iceberg" in python(on_trino, code)
