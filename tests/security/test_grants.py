"""The smallest grants of docs/security.md are enough for the whole workflow, and each of them is needed."""

from __future__ import annotations

import getpass
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.launchers import process
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.tables import AutoMLCreateTablesOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.warehouse import Query, open_warehouse
from airflow_provider_automl.warehouse.hive import HiveWarehouse
from airflow_provider_automl.warehouse.trino import _Task
from tests.engines import Facts, Missing, required
from tests.engines.hive import Granting
from tests.engines.trino import _CONFIG
from tests.operators.conftest import QUICK, rows, run
from tests.system.server import REPO
from tests.warehouse.conformance import numbers, put, take
from tests.warehouse.conftest import Connect

pytestmark = pytest.mark.fit

Use = Callable[..., None]
Task = Callable[[], Any]

#: The page's schemas, by names that no other test drops.
NAMES = {"ml_datasets": "system_granted_in", "automl_test": "system_granted_out"}
INPUT, OUTPUT = NAMES.values()
TABLES = tuple(f"{INPUT}.{name}" for name in ("gluon_train", "gluon_test"))


def documented(heading: str, language: str, number: int = 0, **names: str) -> str:
    """A block of the page, that many after a heading, with names of these tests' own."""
    text = (REPO / "docs" / "security.md").read_text().partition(f"\n**{heading}")[2]
    found = text.split(f"\n```{language}\n")[number + 1].partition("\n```")[0]
    for name, ours in {**NAMES, **names}.items():
        assert name in found or name not in names
        found = found.replace(name, ours)
    return found


def statements(text: str) -> list[str]:
    return [each.strip() for each in text.split(";") if each.strip()]


def literals(before: str) -> str:
    """The rows of the input tables, each as a tuple of SQL."""
    return ", ".join(f"{before}{row!r}" for row in zip(*rows().values(), strict=True))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch, jobs: Path, tmp_path: Path) -> None:
    """A worker whose jobs are done once: a second job of a kind leaves what the first one did."""
    real = process.ProcessLauncher.run

    def done(self: Any, job: dict[str, Any], work: Path) -> dict[str, Any]:
        kept = jobs / job["kind"]
        if not kept.exists():
            result = real(self, job, work)
            shutil.copytree(work, kept / "work")
            (kept / "result.json").write_text(json.dumps(result).replace(str(work), "@work@"))
            return result
        shutil.copytree(kept / "work", work, dirs_exist_ok=True)
        found: dict[str, Any] = json.loads((kept / "result.json").read_text().replace("@work@", str(work)))
        return found

    monkeypatch.setattr(process.ProcessLauncher, "run", done)
    monkeypatch.setattr(process, "describe_interpreter", cache(process.describe_interpreter))
    # As in a task: its queries say which one it is, and those of an earlier try are looked for.
    monkeypatch.setattr(_Task, "current", classmethod(lambda kind: kind("d", "r", "t", "2", -1)))
    for name in ("DAG_ID", "TASK_ID", "DAG_RUN_ID", "TRY_NUMBER"):
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", "1")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Use:
    """Have the tasks use this connection of a warehouse."""

    def connect(connection: dict[str, Any], **extra: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_THEIRS", json.dumps(connection))
        extra |= {"warehouse_conn_id": "theirs", "model_store": str(tmp_path / "models"), "tracking_schema": OUTPUT}
        monkeypatch.setenv("AIRFLOW_CONN_AUTOML_DEFAULT", json.dumps({"conn_type": "automl", "extra": extra}))

    return connect


def create() -> dict[str, Any]:
    return run(AutoMLCreateTablesOperator)


def train() -> dict[str, Any]:
    return run(
        AutoMLTrainOperator, input_table=TABLES[0], target_column="y", model_name="m", ignore_columns=["id"],
        hyperparameters=QUICK, share_model=True, export_leaderboard=f"{OUTPUT}.leaderboard", report=False,
    )  # fmt: skip


def track(model: dict[str, Any]) -> dict[str, Any]:
    return run(AutoMLTrackExperimentOperator, experiment=model)


def predict(model: dict[str, Any]) -> dict[str, Any]:
    return run(AutoMLPredictOperator, model=model, input_table=TABLES[1], output_table=f"{OUTPUT}.predicted")


def evaluate(prediction: dict[str, Any]) -> dict[str, Any]:
    return run(AutoMLEvaluateOperator, prediction=prediction)


def record(evaluation: dict[str, Any]) -> dict[str, Any]:
    return run(AutoMLRecordEvaluationOperator, evaluation=evaluation)


def workflow() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The documented workflow, with a table that is replaced; its model, prediction and evaluation."""
    create()
    model = train()
    assert (model["state"], model["warnings"]) == ("complete", [])
    assert track(model)["recorded"] == "inserted"
    for _ in range(2):
        prediction = predict(model)
        assert prediction["rows"] == 200
    evaluation = evaluate(prediction)
    assert evaluation["auroc"] > 0.9
    assert record(evaluation)["recorded"] == "inserted"
    return model, prediction, evaluation


def refused(task: Task, *said: str) -> None:
    """The task fails, not to be retried, with one sentence that says all of this."""
    with pytest.raises(AirflowFailException) as failure:
        task()
    text = str(failure.value)
    assert "\n" not in text
    assert len(text) < 400
    assert [each for each in said if each not in text] == [], text


class Administrator:
    """Runs statements on an engine, by a connection of the driver's."""

    def __init__(self, connection: Any) -> None:
        self.cursor = connection.cursor()

    def __call__(self, *texts: str) -> None:
        for text in texts:
            self.cursor.execute(text)
            if self.cursor.description:
                self.cursor.fetchall()


@pytest.mark.shares("trino grants")
class TestTrino:
    @pytest.fixture
    def connection(self, trino_server: Facts) -> dict[str, Any]:
        return {"conn_type": "trino", "host": "127.0.0.1", "port": trino_server["port"]}

    def administer(self, server: Facts, user: str, catalog: str) -> Administrator:
        """One who has made the input tables, and no output schema."""
        import trino

        administrator = Administrator(
            trino.dbapi.connect(host="127.0.0.1", port=server["port"], user=user, http_scheme="http")
        )
        if catalog == "granted":
            administrator("SET ROLE admin IN granted")
        for schema in (INPUT, OUTPUT):
            administrator(f"DROP SCHEMA IF EXISTS {catalog}.{schema} CASCADE")
        administrator(f"CREATE SCHEMA {catalog}.{INPUT}")
        for table in TABLES:
            values = f"(VALUES {literals('')}) AS t({', '.join(rows(1))})"
            administrator(f"CREATE TABLE {catalog}.{table} AS SELECT * FROM {values}")
        return administrator

    def test_by_statements(self, trino_server: Facts, connection: dict[str, Any], use: Use) -> None:
        names = {"airflow": "grantee", "hive": "granted"}
        grants = statements(documented("Trino, a catalog of Hive tables", "sql", **names))
        assert len(grants) == 4
        properties = documented("Trino, a catalog of Hive tables", "properties").splitlines()
        assert set(properties) < set((_CONFIG / "catalog" / "granted.properties").read_text().splitlines())
        administer = self.administer(trino_server, "admin", "granted")
        use(
            connection | {"login": "grantee", "schema": OUTPUT, "extra": {"catalog": "granted"}},
            staging=f"{trino_server['staging']}/grants",
        )
        try:
            schema = [grant for grant in grants if "CREATE SCHEMA" in grant]
            administer(*(grant for grant in grants if grant not in schema))
            refused(create, f"Could not create schema {OUTPUT}: Access Denied: Cannot create schema {OUTPUT}")
            administer(*schema)
            model, *_ = workflow()
            for table, task in zip(TABLES, (train, partial(predict, model)), strict=True):
                (grant,) = (grant for grant in grants if table in grant)
                administer(grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
                refused(task, f"Trino rejected the query on {table}: Access Denied: Cannot select from table {table}")
                administer(grant)
        finally:
            administer(*(f"DROP SCHEMA IF EXISTS granted.{schema} CASCADE" for schema in (INPUT, OUTPUT)))

    def test_by_rules(self, trino_server: Facts, connection: dict[str, Any], use: Use) -> None:
        rules = json.loads(documented("Trino, any other catalog", "json", airflow="ruled"))
        assert {kind: len(each) for kind, each in rules.items()} == {"catalogs": 1, "tables": 3, "queries": 1}
        administer = self.administer(trino_server, "tester", "iceberg")
        use(connection | {"login": "ruled", "extra": {"catalog": "iceberg"}})
        try:
            with ruling(trino_server) as let:
                let(rules)
                refused(create, f"Could not create schema {OUTPUT}: Access Denied: Cannot create schema iceberg.")
                administer(f"CREATE SCHEMA iceberg.{OUTPUT}")
                model, _, evaluation = workflow()
                # What a killed load left, whose comment would tell so.
                administer(f"CREATE TABLE iceberg.{OUTPUT}.predicted_automl_0123456789abcdef (a BIGINT)")
                assert predict(model)["rows"] == 200
                denied = "Access Denied: Cannot"
                user = f"Trino denies access to the user of the connection theirs: {denied}"
                without: list[tuple[dict[str, Any], Task, str]] = [
                    (less(rules, "queries"), create, f"{user} execute query"),
                    (less(rules, "catalogs"), create, f"{denied} access catalog iceberg"),
                    (less(rules, "tables", 0), train, f"Trino rejected the query on {TABLES[0]}: {denied} select from"),
                    (less(rules, "tables", 0, "table", "gluon_train"), partial(predict, model),
                     f"the query on {TABLES[1]}: {denied} "),
                    (less(rules, "tables", 1), create, f"Could not create table {OUTPUT}.automl_experiments: {denied}"),
                    (less(rules, "tables", 1, "privileges", ["SELECT", "INSERT", "DELETE"]), partial(predict, model),
                     f"{OUTPUT}.predicted cannot be written: {denied} create table iceberg.{OUTPUT}.predicted_"),
                    (less(rules, "tables", 1, "privileges", ["SELECT", "INSERT", "OWNERSHIP"]), partial(track, model),
                     f"the query on {OUTPUT}.automl_experiments: {denied} delete from table iceberg.{OUTPUT}."),
                    (less(rules, "tables", 1, "privileges", ["SELECT", "DELETE", "OWNERSHIP"]),
                     partial(record, evaluation), f"{denied} insert into table iceberg.{OUTPUT}.automl_eval_results"),
                    (less(rules, "tables", 2), create, f"{user} select from table system.metadata.catalogs"),
                    (less(rules, "tables", 2, "table", "catalogs|queries"), partial(predict, model),
                     f"predicted cannot be written: {denied} select from table system.metadata.table_comments"),
                    (less(rules, "tables", 2, "table", "catalogs|table_comments"), create,
                     f"{denied} select from table system.runtime.queries"),
                ]  # fmt: skip
                for fewer, task, said in without:
                    let(fewer)
                    refused(task, said)
        finally:
            administer(*(f"DROP SCHEMA IF EXISTS iceberg.{schema} CASCADE" for schema in (INPUT, OUTPUT)))

    def test_by_rules_with_staging(
        self, trino_server: Facts, connection: dict[str, Any], connect: Connect, tmp_path: Path
    ) -> None:
        rules, staging = (
            json.loads(documented("Trino, any other catalog", "json", number, airflow="ruled", **names))
            for number, names in ((0, {}), (1, {"hive": "files"}))
        )
        administer = self.administer(trino_server, "tester", "iceberg")
        administer(f"CREATE SCHEMA iceberg.{OUTPUT}", "CREATE SCHEMA IF NOT EXISTS files.automl_staging")
        hook = connect(**connection, login="ruled", extra={"catalog": "iceberg"})

        def there_and_back() -> None:
            warehouse = open_warehouse(hook, staging=f"{trino_server['staging']}/rules")
            assert warehouse.by_files
            assert put(warehouse, f"{OUTPUT}.t", numbers(3), tmp_path) == 3
            assert take(warehouse, TABLES[0], tmp_path).num_rows == 200

        try:
            with ruling(trino_server) as let:
                both = {kind: [*staging.get(kind, []), *of_kind] for kind, of_kind in rules.items()}
                let(both)
                there_and_back()
                let(less(both, "tables", 0))
                with pytest.raises(
                    InputError, match=r"Access Denied: Cannot .* table files.automl_staging.automl_files_"
                ):
                    there_and_back()
                # Of another catalog of Hive tables, whose session properties others set.
                let(both | {"catalog_session_properties": [{"user": "ruled", "allow": False}, {"allow": True}]})
                there_and_back()
                warehouse = open_warehouse(hook)
                with pytest.raises(InputError, match=r"precision is MILLISECONDS.* set hive.timestamp-precision=MICRO"):
                    warehouse.create_table("files.automl_staging.times", {"a": "TIMESTAMP"})
        finally:
            administer(*(f"DROP SCHEMA IF EXISTS iceberg.{schema} CASCADE" for schema in (INPUT, OUTPUT)))


@contextmanager
def ruling(server: Facts) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what puts rules before those that the server has."""
    path = Path(server["rules"])
    before = json.loads(path.read_text())

    def let(rules: dict[str, Any]) -> None:
        whole = {kind: [*rules.get(kind, []), *before.get(kind, [])] for kind in {**before, **rules}}
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(whole))
        scratch.replace(path)
        time.sleep(0.5)  # it is read anew each 0.2 s

    try:
        yield let
    finally:
        let({})


def less(rules: dict[str, Any], kind: str, number: int = 0, key: str = "", value: object = None) -> dict[str, Any]:
    """Rules without one, or with another value of its key."""
    found: dict[str, Any] = json.loads(json.dumps(rules))
    if key:
        assert str(value) != str(found[kind][number][key])
        found[kind][number][key] = value
    else:
        del found[kind][number]
    return found


@pytest.fixture(scope="module")
def granting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """A HiveServer2 with SQL-standard authorization, and what the page says of its configuration."""
    try:
        Granting.install()
    except Missing as missing:
        (pytest.fail if "hive" in required() else pytest.skip)(str(missing))
    server = Granting(tmp_path_factory.mktemp("hive"))
    server.properties = tuple(documented("Hive** with SQL-standard", "properties").splitlines())
    try:
        yield server.start()
    finally:
        server.stop()
        server.clear()


@pytest.fixture(scope="module")
def administer(granting: Facts) -> Iterator[Administrator]:
    """One who has made the input tables there."""
    from pyhive import hive

    with hive.connect(host="127.0.0.1", port=granting["port"], username="admin") as connection:
        administer = Administrator(connection)
        administer("SET ROLE admin", f"CREATE DATABASE {INPUT}")
        columns = ", ".join(f"`{name}`" for name in rows(1))
        values = f"(SELECT INLINE(ARRAY({literals('STRUCT')})) AS ({columns})) AS t"
        for table in TABLES:
            administer(f"CREATE TABLE {table} STORED AS PARQUET AS SELECT * FROM {values}")
        yield administer


@pytest.mark.engine
@pytest.mark.shares("a Hive with grants")
class TestHive:
    @pytest.fixture
    def connection(self, granting: Facts) -> dict[str, Any]:
        return {"conn_type": "hiveserver2", "host": "127.0.0.1", "port": granting["port"], "login": "airflow"}

    def test_by_statements(
        self,
        administer: Administrator,
        connection: dict[str, Any],
        connect: Connect,
        use: Use,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        role, make, own, *select = statements(documented("Hive** with SQL-standard", "sql"))
        assert len(select) == len(TABLES)
        use(connection)
        administer(role, *select)
        open_warehouse(connect(**connection)).create_schema(OUTPUT)  # any user makes one, and owns it
        administer(f"DROP DATABASE {OUTPUT}", make)
        denied = "Permission denied: Principal [name=airflow, type=USER] does not have following privileges for"
        said = f"Could not create table {OUTPUT}.automl_experiments: FAILED: HiveAccessControlException {denied}"
        refused(create, said, f"[[OBJECT OWNERSHIP] on Object [type=DATABASE, name={OUTPUT}]]")
        administer(own)
        model, *_ = workflow()
        for table, grant, task in zip(TABLES, select, (train, partial(predict, model)), strict=True):
            administer(grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
            refused(task, f"Hive rejected the query on {table}: ", denied, f"[type=TABLE_OR_VIEW, name={table}]]")
            administer(grant)
        # As the time zone, where the server does not say what the page says.
        monkeypatch.setitem(HiveWarehouse.settings, "hive.exec.scratchdir", "/elsewhere")
        refused(
            create,
            "does not let this user set hive.exec.scratchdir",
            "allow it in the server's configuration, or set it there",
        )

    def test_staging_is_its_owners(self, connection: dict[str, Any], connect: Connect, tmp_path: Path) -> None:
        """As the page says: no statement grants it."""
        staging = tmp_path / "shared"
        staging.mkdir()
        own, others = (
            open_warehouse(connect(**connection | {"login": login}), staging=staging.as_uri())
            for login in (getpass.getuser(), "airflow")
        )
        assert put(own, f"{OUTPUT}_own.t", numbers(3), tmp_path) == 3
        assert take(own, f"{OUTPUT}_own.t", tmp_path).num_rows == 3
        for task, mode in (
            (lambda: put(others, f"{OUTPUT}_others.t", numbers(3), tmp_path), 0o1777),
            (lambda: take(others, Query("SELECT 1 AS a"), tmp_path), 0o700),
        ):
            staging.chmod(mode)
            with pytest.raises(InputError, match="lets only the owner of file:.*, use it: .*URI, name=file:") as said:
                task()
            assert len(str(said.value)) < 800
