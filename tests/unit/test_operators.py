"""Operators as far as they go without a warehouse: arguments, rendering, branches."""

from __future__ import annotations

import datetime
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_automl.drift.policies import below
from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.models.store import ModelStore
from airflow_provider_automl.operators._base import AutoMLOperator, require_columns
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.links import QueryLink
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.promote import AutoMLPromoteOperator
from airflow_provider_automl.operators.tables import AutoMLCensusTablesOperator, AutoMLCreateTablesOperator
from airflow_provider_automl.operators.train import TRAINING_KEYS, AutoMLTrainOperator
from airflow_provider_automl.parameters import parse_names, parse_object, parse_seconds
from airflow_provider_automl.task import TaskIdentity

OPERATORS = [
    AutoMLCensusTablesOperator, AutoMLCreateTablesOperator, AutoMLTrainOperator, AutoMLTrackExperimentOperator,
    AutoMLPredictOperator, AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator, AutoMLPromoteOperator,
    AutoMLDriftBranchOperator,
]  # fmt: skip
TIME = datetime.datetime(2026, 11, 24, 7, 0, tzinfo=datetime.UTC)


@pytest.fixture
def dag() -> DAG:
    return DAG("d", schedule=None, start_date=TIME)


class Ti(SimpleNamespace):
    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(task: Any, **more: Any) -> dict[str, Any]:
    ti = Ti(dag_id="d", run_id="r", task_id=task.task_id, map_index=-1, try_number=1, max_tries=0, pushed={})
    dag_run = SimpleNamespace(logical_date=None, run_after=TIME, triggering_user_name=None)
    return {"ti": ti, "dag_run": dag_run, "task": task, "params": {}, "run_id": "r", **more}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(180, 180), ("60 * 3", 180), ("(1 + 2) * 60", 180), ("0.5", 0.5), ("3600/2", 1800), (" 7 ", 7)],
)
def test_seconds(value: Any, seconds: float) -> None:
    assert parse_seconds(value, "time_limit") == seconds


@pytest.mark.parametrize(
    "value",
    [0, -1, "60 * -3", "sixty", "", "__import__('os')", "1/0", "1e999", "True", "9**9", "[1]", "None", "(" * 500],
)
def test_no_seconds(value: Any) -> None:
    with pytest.raises(InputError, match="time_limit is .*: expected seconds above 0"):
        parse_seconds(value, "time_limit")


def test_missing_columns_are_all_named_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"t has no feature 'Age' \(did you mean 'age'\?\), 'zzz': its columns are age, sex"
    ):
        require_columns({"age": "BIGINT", "sex": "VARCHAR"}, ["Age", "zzz", "sex"], what="feature", source="t")


def test_time_macros_without_a_logical_date(dag: DAG) -> None:
    task = AutoMLPredictOperator(
        task_id="p", dag=dag, model_name="m", input_table="a.b", output_table="a.c_{{ ts_nodash }}_{{ ds }}"
    )
    task.render_template_fields(context(task))  # type: ignore[arg-type]
    assert task.output_table == "a.c_20261124T070000_2026-11-24"


def rendered(task: Any, **params: Any) -> Any:
    """A task whose templates were rendered and understood."""
    run = context(task) | {"params": params}
    task.render_template_fields(run)
    task.check_rendered()
    return task


@pytest.mark.parametrize("value", ["{{ none }}", "{{ '' }}", "{{ params.none }}"])
def test_an_argument_without_a_default_that_renders_to_nothing_is_an_error(dag: DAG, value: str) -> None:
    task = AutoMLPredictOperator(task_id="p", dag=dag, model_name="m", input_table="a.b", output_table=value)
    message = r"The template .* of output_table in task 'p' rendered to (None|''|'None'): check"
    with pytest.raises(InputError, match=message):
        rendered(task, none=None)


def test_a_training_that_left_nothing_is_tracked_all_the_same(dag: DAG) -> None:
    """A task that was killed before it said anything: its parameters tell what it was."""
    task = AutoMLTrackExperimentOperator(task_id="t", dag=dag, experiment={"model_name": "m"})
    task.experiment = None  # as its XCom renders
    task.check_rendered()
    assert task.experiment is None


@pytest.mark.parametrize("value", ["{{ none }}", "{{ '' }}", "{{ params.none }}"])
@pytest.mark.parametrize("native", [False, True])
def test_one_with_a_default_is_left_at_that(value: str, native: bool) -> None:
    with DAG("native", schedule=None, start_date=TIME, render_template_as_native_obj=native):
        task = AutoMLPredictOperator(
            task_id="p", model_name="m", model_version=value, input_table="a.b", output_table="a.c", batch_rows=value,
            rowid_column=value, order_by=value, report=value,
        )  # fmt: skip
    rendered(task, none=None)
    assert (task.model_version, task.batch_rows, task.rowid_column, task.order_by) == (None, 50_000, None, None)
    assert task.report is True


@pytest.mark.parametrize("native", [False, True])
def test_what_a_form_gives_is_understood(native: bool) -> None:
    """Names of digits stay text, and lists and objects are read, whether or not Jinja makes values of them."""
    with DAG("native", schedule=None, start_date=TIME, render_template_as_native_obj=native):
        task = AutoMLTrainOperator(
            task_id="t", input_table="{{ params.table }}", target_column="{{ params.year }}",
            model_name="{{ params.name }}", ignore_columns="{{ params.columns }}",
            hyperparameters="{{ params.models }}",
        )  # fmt: skip
    columns, models = ["id", "2019"], {"GBM": {"num_boost_round": 10, "extra_trees": True}}
    rendered(task, table="a.b", year="2019", name="20261127", columns=columns, models=models)
    assert (task.target_column, task.model_name) == ("2019", "20261127")
    assert parse_names(task.ignore_columns, "ignore_columns") == columns
    assert parse_object(task.hyperparameters, "hyperparameters") == models


def test_a_name_that_became_another_number_is_refused() -> None:
    with DAG("native", schedule=None, start_date=TIME, render_template_as_native_obj=True):
        task = AutoMLTrainOperator(task_id="t", input_table="a.b", target_column="y", model_name="{{ params.name }}")
    with pytest.raises(InputError, match=r"model_name of task 't' is 1000\.0, rendered from .*: expected a string"):
        rendered(task, name="1e3")


def test_a_query_in_a_file_is_read(tmp_path: Any) -> None:
    (tmp_path / "train.sql").write_text("SELECT '{{ params.one }}' AS one")
    with DAG("files", schedule=None, start_date=TIME, template_searchpath=[str(tmp_path)]):
        task = AutoMLTrainOperator(task_id="t", sql="train.sql", target_column="y", model_name="m")
    assert rendered(task, one="uno").sql == "SELECT 'uno' AS one"


def test_a_mapped_task_is_rendered_as_any_other(dag: DAG) -> None:
    """Airflow renders the fields of a mapped task without ``render_template_fields``."""
    below_half = below("{{ params.half }}")
    with dag:
        predict = AutoMLPredictOperator.partial(task_id="p", model_name="m", input_table="a.b").expand(
            output_table=[""]
        )
        drift = AutoMLDriftBranchOperator.partial(task_id="d", policy=below_half, if_drifted="x", if_stable="y").expand(
            evaluation=[{}]
        )
    for mapped, values in ((predict, {"output_table": "a.c_{{ ts_nodash }}"}), (drift, {"evaluation": {"auroc": 0.4}})):
        task: Any = mapped.unmap(values)
        run = context(task) | {"params": {"half": 0.5}}
        task._do_render_template_fields(task, task.template_fields, run, dag.get_template_env(), set())
        assert getattr(task, "output_table", "a.c_20261124T070000") == "a.c_20261124T070000"
        assert getattr(task, "policy", below(0.5)).threshold in (0.5, "0.5")


def test_versions_are_the_same_for_a_retry_and_new_after_a_clear(dag: DAG) -> None:
    task = AutoMLTrainOperator(task_id="t", dag=dag, input_table="a.b", target_column="y", model_name="m")
    first = context(task)
    retry = context(task)
    retry["ti"].try_number = 2
    cleared = context(task)
    cleared["ti"].max_tries = 1
    assert TaskIdentity.of(first).version() == TaskIdentity.of(retry).version() != TaskIdentity.of(cleared).version()
    assert TaskIdentity.of(first).task_attempt_id == "d/r/t/1"
    assert TaskIdentity.of(retry).record_id() == TaskIdentity.of(first).record_id()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\nb", " a", "a*", "x" * 201, "None"])
def test_a_failed_training_leaves_its_dict(dag: DAG, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    given = "{{ none }}" if name == "None" else name
    task = AutoMLTrainOperator(task_id="t", dag=dag, input_table="a.b", target_column="y", model_name=given)
    run = context(task)
    pushes: list[tuple[str, Any]] = []
    run["ti"].xcom_push = lambda key, value: pushes.append((key, value))
    task.render_template_fields(run)  # type: ignore[arg-type]
    with pytest.raises(AirflowFailException, match="model_name"):
        task.execute(run)  # type: ignore[arg-type]
    assert [key for key, _ in pushes] == ["return_value"] * (1 if name == "None" else 2)
    left = pushes[-1][1]
    assert tuple(left) == TRAINING_KEYS
    assert [value["state"] for _, value in pushes] == ["running", "failed"][-len(pushes) :]
    assert "model_name" in left["error"]
    assert not (tmp_path / "automl").exists()


def test_tracking_runs_whatever_became_of_the_training(dag: DAG) -> None:
    assert AutoMLTrackExperimentOperator(task_id="t", dag=dag, experiment={}).trigger_rule == "all_done"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "selects no model"),
        ({"model_name": "m", "shared_model": "u"}, "more than one model"),
        ({"model": "m"}, "expected the dict"),
    ],
)
def test_predict_wants_one_model(dag: DAG, arguments: dict[str, Any], message: str) -> None:
    task = AutoMLPredictOperator(task_id="p", dag=dag, input_table="a.b", output_table="a.c", **arguments)
    with pytest.raises(InputError, match=message):
        task._model_selector()


def test_a_store_that_is_away_costs_the_report_and_not_the_prediction(
    dag: DAG, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The predictions are in their table by then."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))

    def away(*_: Any) -> None:
        raise BusyError("The model store s3://models is unreachable")

    monkeypatch.setattr(ModelStore, "add_report", away)
    task = AutoMLPredictOperator(task_id="p", dag=dag, model_name="m", input_table="a.b", output_table="a.c")
    made = {"notebook": str(tmp_path / "predict.ipynb"), "notebook_html": None, "notebook_error": None}
    url, wrong = task._keep_report(
        {"model_name": "m", "model_version": "v"}, made, TaskIdentity.of(context(task)), tmp_path
    )
    assert url is None
    assert str(wrong).endswith("The model store s3://models is unreachable")


class Job:
    """A launcher with a job that takes so long to kill."""

    killed = False

    def kill(self) -> None:
        time.sleep(1)
        self.killed = True


@pytest.mark.parametrize("cancel", ["works", "fails", "hangs"])
def test_on_kill_ends_the_job_and_the_query_within_five_seconds(
    dag: DAG, cancel: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    task = AutoMLPredictOperator(task_id="p", dag=dag, model_name="m", input_table="a.b", output_table="a.c")
    task.on_kill()
    assert not (tmp_path / "automl").exists()  # nothing was opened, so nothing is
    told = threading.Event()

    def told_to_end() -> None:
        told.set()
        if cancel == "fails":
            raise OSError("no route to host")
        time.sleep(60 if cancel == "hangs" else 0)

    monkeypatch.setattr(task.hook.warehouse, "cancel", told_to_end)
    task._launcher = job = Job()  # type: ignore[assignment]
    begun = time.monotonic()
    task.on_kill()
    assert time.monotonic() - begun < 4.8
    assert told.is_set()
    assert job.killed
    assert ("no route to host" in capsys.readouterr().out) == (cancel == "fails")


def test_the_page_of_a_query_is_linked_from_its_start(dag: DAG, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    task = AutoMLPredictOperator(task_id="p", dag=dag, model_name="m", input_table="a.b", output_table="a.c")
    run = context(task)
    with pytest.raises(AirflowFailException):
        task.execute(run)  # type: ignore[arg-type]
    assert run["ti"].pushed == {}  # DuckDB has no such page
    assert QueryLink().get_link(task, ti_key=None) == ""  # type: ignore[arg-type]
    told = task.hook.warehouse.on_query
    assert told is not None
    told("http://trino.example.com/ui/query.html?1")
    assert run["ti"].pushed == {QueryLink().xcom_key: "http://trino.example.com/ui/query.html?1"}
    run["ti"].pushed = None
    told("http://trino.example.com/ui/query.html?2")  # a link that cannot be kept fails no query
    assert QueryLink().get_link(task, ti_key=None) == "http://trino.example.com/ui/query.html?2"  # type: ignore[arg-type]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_that_runs_sql_links_to_its_query(operator: type[AutoMLOperator]) -> None:
    assert any(isinstance(link, QueryLink) for link in operator.operator_extra_links)


def test_evaluate_says_what_is_missing(dag: DAG) -> None:
    task = AutoMLEvaluateOperator(task_id="e", dag=dag, table="a.b")
    with pytest.raises(AirflowFailException, match="has no target_column, positive_class"):
        task.execute(context(task))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ["auc"]}, r"no metric 'auc' \(did you mean 'auroc'\?\)"),
        ({"metrics": "rmse", "problem_type": "binary"}, "'rmse' is for regression problems"),
        ({"metrics": []}, "metrics is empty"),
    ],
)
def test_a_wrong_metric_is_found_when_the_dag_is_parsed(dag: DAG, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AutoMLEvaluateOperator(task_id="e", dag=dag, table="a.b", **arguments)
    AutoMLEvaluateOperator(task_id="later", dag=dag, table="a.b", metrics=["{{ params.metric }}"])


def branching(dag: DAG, **more: Any) -> AutoMLDriftBranchOperator:
    from airflow.providers.standard.operators.empty import EmptyOperator

    arguments: dict[str, Any] = {
        "evaluation": {"auroc": 0.9},
        "policy": below("{{ params.t }}"),
        "if_drifted": "act",
        "if_stable": "rest",
        **more,
    }
    task = AutoMLDriftBranchOperator(task_id="drift", dag=dag, **arguments)
    task >> [EmptyOperator(task_id="act", dag=dag), EmptyOperator(task_id="rest", dag=dag)]
    return task


@pytest.mark.parametrize(("threshold", "branch"), [(0.93, "act"), (0.9, "rest"), ("0.5", "rest")])
def test_branches_by_the_rendered_policy(dag: DAG, threshold: Any, branch: str) -> None:
    task = branching(dag)
    run = context(task, params={"t": threshold})
    task.render_template_fields(run)  # type: ignore[arg-type]
    assert str(task.policy) == f"below({threshold})"
    assert task.choose_branch(run) == branch  # type: ignore[arg-type]
    assert run["ti"].pushed["drifted"] is (branch == "act")
    assert "AUC 0.9000" in run["ti"].pushed["detail"]


def test_checks_both_branches_before_it_decides(dag: DAG) -> None:
    task = branching(dag, if_drifted="akt", policy=below(0.5))
    message = "if_drifted of task 'drift' is 'akt', .*: its downstream tasks are act, rest"
    with pytest.raises(AirflowFailException, match=message):
        task.choose_branch(context(task))  # type: ignore[arg-type]


def test_a_wrong_threshold_is_not_retried(dag: DAG) -> None:
    with pytest.raises(ValueError, match="threshold is 'high'"):  # when the DAG is parsed
        below("high")
    task = branching(dag, policy=below("{{ 'high' }}"))
    with pytest.raises(AirflowFailException, match="threshold is 'high'"):
        task.render_template_fields(context(task))  # type: ignore[arg-type]
