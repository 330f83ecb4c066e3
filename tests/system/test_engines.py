"""The example DAGs on every engine, run by real Airflow on the census data: the same promises, the same numbers."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.operators.links import QueryLink
from airflow_provider_automl.tracking.tables import COLUMNS, EVAL_RESULTS, EXPERIMENTS
from airflow_provider_automl.warehouse.measures import auc
from tests.engines import Facts
from tests.system import census
from tests.system.conftest import reached, run_dag
from tests.system.drift_check import DriftCheck
from tests.system.mail import Mailbox
from tests.system.server import REPO, AirflowServer, environment
from tests.warehouse.conftest import fresh_database

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

#: Schemas that the engines' own tests, which may run at the same time, leave alone.
DATA, RESULTS = "system_data", "system_results"
#: Some rows, and a fit of a few models: how good the model is, is not asked here, nor how fast an engine.
ROWS = 2_000
CONF = {
    "input_database": DATA,
    "output_database": RESULTS,
    "fit_time_limit": "5",
    "report": False,
    "user_email": "ann@example.com",
    "drift_auc_threshold": 0.5,
}
#: Two are equal to 1e-12 if each is to this.
EXACT = 5e-13


@dataclass
class Place:
    """A warehouse by Airflow's connections, as a deployment's environment names them."""

    warehouse: dict[str, Any]
    staging: str | None = None
    more: dict[str, dict[str, Any]] = field(default_factory=dict)
    tracking: dict[str, Any] | None = None

    def env(self, home: Path) -> dict[str, str]:
        extra = {"warehouse_conn_id": "warehouse", "staging": self.staging, "model_store": str(home / "models")}
        automl = {"conn_type": "automl", "extra": extra}
        connections = {"automl_default": automl, "warehouse": self.warehouse, **self.more}
        if self.tracking:
            extra["tracking_conn_id"] = "tracking"
            connections["tracking"] = self.tracking
        return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in connections.items()}


def trino(server: Facts, catalog: str, **more: Any) -> Place:
    extra = {"catalog": catalog, "protocol": "http"}
    return Place(
        {"conn_type": "trino", "host": "127.0.0.1", "port": server["port"], "login": "airflow", "schema": "default",
         "extra": extra}, **more,
    )  # fmt: skip


def hiveserver2(server: Facts) -> dict[str, Any]:
    return {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": server["port"], "login": "airflow"}


@pytest.fixture(scope="session")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A model's predictions of the test table, as a directory of Parquet, and scikit-learn's AUC of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    train, test = (table.slice(0, ROWS) for table in census.tables())
    numbers = [name for name in train.column_names if pa.types.is_integer(train.schema.field(name).type)]
    model = HistGradientBoostingClassifier(max_iter=20).fit(
        train.select(numbers).to_pandas(), train["class"].to_pandas()
    )
    scores = model.predict_proba(test.select(numbers).to_pandas())[:, list(model.classes_).index(" >50K")]
    directory = tmp_path_factory.mktemp("predictions")
    pq.write_table(test.append_column("predicted_proba", pa.array(scores)), directory / "part.parquet")
    return directory, float(roc_auc_score([label == " >50K" for label in test["class"].to_pylist()], scores))


def scikit_learns(hook: AutoMLHook, table: str, directory: Path) -> tuple[float, int]:
    """scikit-learn's AUC of a table of predictions as it is read back, and its number of rows."""
    import pyarrow.parquet as pq
    from sklearn.metrics import roc_auc_score

    hook.warehouse.unload(table, directory)
    read = pq.read_table(directory, columns=["class", "predicted_proba"])
    labels = [label == " >50K" for label in read["class"].to_pylist()]
    return float(roc_auc_score(labels, read["predicted_proba"].to_pylist())), read.num_rows


def check_tables(
    hook: AutoMLHook, run_id: str, directory: Path, data: str = DATA, unfilled: Collection[str] = ("notebook_url",)
) -> None:
    """Check the two tables' rows of a run, against each other and against its predictions, read into a directory."""
    tracking = hook.tracking(RESULTS)
    row: dict[str, dict[str, Any]] = {}
    for table in (EXPERIMENTS, EVAL_RESULTS):
        found = tracking.warehouse.rows(tracking.name(table), where={"run_id": run_id})
        assert len(found) == 1, found
        (row[table],) = tracking.read(table, run_id=run_id)
        assert row[table] == found[0]
        assert list(row[table]) == list(COLUMNS[table])
        assert {name for name, value in row[table].items() if value is None} <= {"error", "dataset", *unfilled}, row[
            table
        ]
    tracked, evaluated = row[EXPERIMENTS], row[EVAL_RESULTS]
    assert tracked["state"] == "complete"
    assert tracked["user_email"] == (None if "user_email" in unfilled else "ann@example.com")
    assert (tracked["model_name"], tracked["model_version"]) == (evaluated["model_name"], evaluated["model_version"])
    assert evaluated["test_table"] == f"{data}.gluon_test"
    expected, rows = scikit_learns(hook, evaluated["predictions_table"], directory)
    assert evaluated["auroc"] == pytest.approx(expected, abs=EXACT)
    assert evaluated["auroc"] > 0.85
    assert 0.001 <= (evaluated["auroc_high"] - evaluated["auroc_low"]) / 2 <= 0.03
    assert evaluated["rows_evaluated"] == rows == evaluated["positives"] + evaluated["negatives"]


class OnEngine:
    """The promises; a subclass says of which engine."""

    #: Whether rows go as files.
    by_files = True

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> Place:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def hook(cls, place: Place, airflow_home: Path) -> Iterator[AutoMLHook]:
        """The warehouse as this process reaches it, with the census tables."""
        with reached({**place.env(airflow_home), "AIRFLOW_HOME": str(airflow_home)}) as hook:
            census.load(DATA, rows=ROWS)
            yield hook

    @pytest.fixture(scope="class")
    @classmethod
    def run_id(cls, place: Place, airflow_home: Path, hook: AutoMLHook) -> str:
        """One run of ``automl_experiment``, as it is."""
        env = {**environment(airflow_home, REPO / "dags"), **place.env(airflow_home), "PYTHONPATH": str(REPO)}
        run_dag(env, "automl_experiment", CONF)
        newest = max(hook.tracking(RESULTS).read(EVAL_RESULTS), key=lambda row: row["recorded_at"])
        return str(newest["run_id"])

    def test_the_experiment_is_recorded_with_scikit_learns_auc(
        self, hook: AutoMLHook, run_id: str, tmp_path: Path
    ) -> None:
        check_tables(hook, run_id, tmp_path / "predicted")
        (tracked,) = hook.tracking(RESULTS).read(EXPERIMENTS, run_id=run_id)
        for table in ("leaderboard_gluon_train", "feature_importance_gluon_train"):
            assert hook.warehouse.rows(f"{RESULTS}.{table}", where={"model_version": tracked["model_version"]})

    def test_the_same_predictions_have_the_same_auc(
        self, hook: AutoMLHook, predictions: tuple[Path, float], tmp_path: Path
    ) -> None:
        directory, expected = predictions
        table = f"{RESULTS}.same_predictions"
        hook.warehouse.load(directory, table)
        measured = auc(hook.warehouse, table, label="class", score="predicted_proba", positive_class=" >50K")
        assert measured["auroc"] == pytest.approx(expected, abs=EXACT)
        assert scikit_learns(hook, table, tmp_path / "read")[0] == expected  # nothing was rounded on its way

    def test_the_connection_tells_of_staging(self, place: Place, hook: AutoMLHook) -> None:
        assert hook.warehouse.by_files == self.by_files
        reached, message = hook.test_connection()
        assert reached, message
        said = f"staging shared with the warehouse: {place.staging} ({hook.warehouse.dialect} and this worker)"
        assert (said in message) == self.by_files

    def test_a_record_is_superseded_not_doubled(self, hook: AutoMLHook) -> None:
        tracking, key = hook.tracking(f"{RESULTS}_{uuid.uuid4().hex}"), uuid.uuid4().hex
        told = [
            tracking.record(EVAL_RESULTS, {"model_name": "m", "auroc": value}, record_id=key) for value in (0.5, 0.5, 1)
        ]
        assert told == ["inserted", "unchanged", "replaced"]
        assert [row["auroc"] for row in tracking.read(EVAL_RESULTS)] == [1.0]
        assert tracking.read(EVAL_RESULTS, auroc=0.5) == []


@pytest.mark.shares("Postgres: census")
class TestPostgres(OnEngine):
    by_files = False

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, postgres_server: Facts) -> Place:
        return Place(
            {"conn_type": "postgres", **{key: postgres_server[key] for key in ("host", "port", "login", "schema")}}
        )


@pytest.mark.shares("Trino iceberg: census")
class TestTrinoIceberg(OnEngine):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, trino_server: Facts, hive_server: Facts) -> Place:
        return trino(trino_server, "iceberg", staging=f"{trino_server['staging']}/census-iceberg")


@pytest.mark.shares("Trino memory: census")
class TestTrinoMemory(OnEngine):
    by_files = False

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, trino_server: Facts) -> Place:
        return trino(trino_server, "memory")


@pytest.mark.shares("Trino lake: census")
class TestTrinoS3(OnEngine):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, trino_server: Facts, s3_server: Facts) -> Place:
        keys = {"conn_type": "aws", "login": s3_server["access_key"], "password": s3_server["secret_key"]}
        keys["extra"] = {"endpoint_url": s3_server["endpoint"], "region_name": s3_server["region"]}
        staging = f"s3://lake_keys@{s3_server['bucket']}/census"
        return trino(trino_server, "lake", staging=staging, more={"lake_keys": keys})


@pytest.mark.shares("metastore: census")
class TestHive(OnEngine):
    """With the tracking tables in Postgres. Those on Hive itself: TestTrinoHive, and ``tests/warehouse``."""

    @pytest.fixture(scope="class")
    @classmethod
    def place(
        cls, hive_server: Facts, postgres_server: Facts, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Place]:
        staging = tmp_path_factory.mktemp("staging").as_uri()
        with fresh_database(postgres_server) as tracking:
            yield Place(hiveserver2(hive_server), staging=staging, tracking=tracking)

    def test_what_is_recorded_is_in_the_other_database(self, hook: AutoMLHook, run_id: str) -> None:
        tracking, data = hook.tracking(RESULTS), hook.warehouse
        assert (tracking.warehouse.dialect, data.dialect) == ("postgres", "hive")
        (evaluated,) = tracking.read(EVAL_RESULTS, run_id=run_id)
        assert data.exists(evaluated["predictions_table"])
        assert not tracking.warehouse.exists(evaluated["predictions_table"])
        table = tracking.name(EVAL_RESULTS)
        assert not data.exists(table) or not data.rows(table, where={"run_id": run_id})


@pytest.mark.shares("spark")
class TestSpark(OnEngine):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, spark_server: Facts, tmp_path_factory: pytest.TempPathFactory) -> Place:
        return Place(hiveserver2(spark_server), staging=tmp_path_factory.mktemp("staging").as_uri())


@pytest.mark.shares("metastore: census")
class TestTrinoHive(OnEngine):
    """Through the scheduler, in tasks of the LocalExecutor."""

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, trino_server: Facts, hive_server: Facts) -> Place:
        more = {"hiveserver2_default": hiveserver2(hive_server)}
        return trino(trino_server, "hive", staging=f"{trino_server['staging']}/census-hive", more=more)

    @pytest.fixture(scope="class")
    @classmethod
    def server(
        cls, place: Place, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[AirflowServer]:
        home = tmp_path_factory.mktemp("airflow")
        dags = home / "dags"
        dags.mkdir()
        for directory in (REPO / "dags", REPO / "tests" / "system" / "engine_dags"):
            (dags / directory.name).symlink_to(directory)
        env = {
            **place.env(home),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",  # two cores, and engines on them
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.connection(),
            "PYTHONPATH": str(REPO),
        }
        server = AirflowServer(home, dags, env)
        server.start()
        yield server
        server.stop()

    @pytest.fixture(scope="class")
    @classmethod
    def run_id(cls, server: AirflowServer, hook: AutoMLHook) -> str:
        run_id = server.trigger("automl_experiment", CONF)
        assert server.wait("automl_experiment", run_id) == "success", server.states("automl_experiment", run_id)
        return run_id

    @pytest.mark.timeout(1200)
    @pytest.mark.usefixtures("hook", "run_id")
    def test_drift_is_recorded_mailed_and_answered_by_a_better_model(
        self, server: AirflowServer, mailbox: Mailbox
    ) -> None:
        # A day on which nothing changes, and one on which no mail can be sent: test_workflow.py.
        DriftCheck(server, mailbox, CONF, ROWS).the_world_changes()

    def test_evaluation_on_hive_and_recording_on_trino(
        self, server: AirflowServer, hook: AutoMLHook, tmp_path: Path
    ) -> None:
        data = f"{DATA}_synthetic"  # which the DAG itself loads
        conf = {key: CONF[key] for key in ("output_database", "fit_time_limit")} | {"input_database": data}
        run_id = server.trigger("automl_two_engines", conf)
        assert server.wait("automl_two_engines", run_id) == "success", server.states("automl_two_engines", run_id)
        check_tables(hook, run_id, tmp_path / "predicted", data, unfilled={"user_email", "shared_model"})
        assert ", computed by hive: " in server.task_log("automl_two_engines", run_id, "evaluation")
        assert " of trino" in server.task_log("automl_two_engines", run_id, "record_evaluation")

    def test_both_engines_record_into_one_table(self, hook: AutoMLHook) -> None:
        schema, key = f"{RESULTS}_{uuid.uuid4().hex}", uuid.uuid4().hex
        both = [hook.tracking(schema), AutoMLHook(warehouse_conn_id="hiveserver2_default").tracking(schema)]
        for number, (by, other) in enumerate([both, both[::-1], both, both[::-1]]):
            row = {"model_name": "m", "auroc": 0.5 + number / 10, "session_time": "2026-11-25T07:00:00.123456+00:00"}
            assert by.record(EVAL_RESULTS, row, record_id=key) == ("replaced" if number else "inserted")
            assert other.record(EVAL_RESULTS, row, record_id=key) == "unchanged"
            for each in both:
                (found,) = each.read(EVAL_RESULTS, model_name="m")
                assert found["auroc"] == row["auroc"]
                assert str(found["session_time"]) == "2026-11-25 07:00:00.123456"

    def test_a_query_is_linked_while_it_runs_and_ends_with_its_task(
        self, server: AirflowServer, trino_server: Facts
    ) -> None:
        dag_id = "endless_query"
        run_id = server.trigger(dag_id)

        def query(url: str) -> dict[str, Any]:
            page = urlsplit(url)
            request = urllib.request.Request(f"{page.scheme}://{page.netloc}/v1/query/{page.query}")
            request.add_header("X-Trino-User", "airflow")
            with urllib.request.urlopen(request) as answer:
                found: dict[str, Any] = json.load(answer)
            return found

        def linked(other_than: str = "") -> str:
            """The page of the endless query, when it runs."""
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                with suppress(RuntimeError):
                    url = str(server.xcom(dag_id, run_id, "train", QueryLink.xcom_key))
                    found = query(url)
                    if url != other_than and "lineitem" in found["query"] and found["state"] == "RUNNING":
                        return url
                time.sleep(0.5)
            raise TimeoutError(server.task_log(dag_id, run_id, "train"))

        def ended(url: str) -> str:
            """Why a query failed, when it has."""
            deadline = time.monotonic() + 45  # Airflow tells a task by its heartbeat, every few seconds
            while (found := query(url))["state"] != "FAILED":
                assert time.monotonic() < deadline, server.task_log(dag_id, run_id, "train")
                time.sleep(0.5)
            return str(found["errorCode"]["name"])

        first = linked()
        assert {f"dag:{dag_id}", "task:train"} <= set(query(first)["session"]["clientTags"])
        links = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/train/links"
        assert server.get(links)["extra_links"]["Query"] == first
        os.kill(server.xcom(dag_id, run_id, "train", "process"), signal.SIGKILL)
        second = linked(other_than=first)
        assert ended(first) == "USER_CANCELED"
        told = f"Cancelling query {urlsplit(first).query}, left by an earlier attempt."
        assert told in server.task_log(dag_id, run_id, "train")
        server.mark(dag_id, run_id, "train", "failed")
        assert ended(second) == "USER_CANCELED"
