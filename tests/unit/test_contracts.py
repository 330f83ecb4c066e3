"""What operators hand each other: what an older version stored is read, and what is not theirs is refused."""

from __future__ import annotations

import datetime
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_automl import contracts
from airflow_provider_automl.contracts import Evaluation, ModelVersion, Prediction, Training, keys, read
from airflow_provider_automl.drift.policies import below
from airflow_provider_automl.errors import InputError
from airflow_provider_automl.get_provider_info import get_provider_info
from airflow_provider_automl.mail import _DECISION_KEYS
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.promote import AutoMLPromoteOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator

DOCS = Path(__file__).parents[2] / "docs" / "operators.md"
START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)

#: As the first version of this provider stored them; later keys are missing.
TRAINED: dict[str, Any] = {
    **dict.fromkeys(keys(Training)), "model_name": "m", "model_version": "v", "state": "complete", "target_column": "y",
    "classes": [" no", " yes"], "train_rows": 200, "fit_seconds": 3, "warnings": [], "options": {"presets": None},
}  # fmt: skip
PREDICTED: dict[str, Any] = {
    "output_table": "out.p", "input_table": "ml.t", "model_name": "m", "model_version": "v", "rows": 200,
    "positive_class": " yes", "problem_type": "binary", "target_column": "y",
}  # fmt: skip
EVALUATED: dict[str, Any] = {
    "model_name": "m", "model_version": "v", "test_table": "ml.t", "table": "out.p", "auroc": 0.9, "auroc_low": 0.88,
    "auroc_high": 0.92, "auroc_reason": None, "positives": 100, "negatives": 100, "rows_evaluated": 200,
    "rows_skipped": 0, "metrics": {"auroc_se": 0.01},
}  # fmt: skip


def operators() -> list[Any]:
    modules = [importlib.import_module(path) for path in get_provider_info()["operators"][0]["python-modules"]]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__name__.endswith("Operator") and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize("operator", operators(), ids=lambda kind: kind.__name__)
def test_the_reference_has_the_keys_that_an_operator_returns(operator: Any) -> None:
    section = DOCS.read_text().partition(f"\n## {operator.__name__}\n")[2].partition("\n## ")[0]
    if operator is AutoMLDriftBranchOperator:
        name, begin = "DriftDecision", "It pushes these XCom keys: "
    else:
        name = (operator.execute if operator is AutoMLTrainOperator else operator.perform).__annotations__["return"]
        begin = "Returns "
    sentence = re.sub(r"\([^)]*\)", "", section.partition(f"\n{begin}")[2]).partition(".")[0]
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(keys(getattr(contracts, name)))


def test_the_mail_reads_keys_that_a_decision_has() -> None:
    assert set(_DECISION_KEYS) <= set(keys(contracts.DriftDecision))


@pytest.mark.parametrize(
    ("stored", "contract"),
    [
        (TRAINED, Training), (PREDICTED, Prediction), (EVALUATED, Evaluation), (TRAINED, ModelVersion),
        (PREDICTED, ModelVersion), ({"model_name": "m"}, ModelVersion),
    ],
)  # fmt: skip
def test_what_an_older_version_stored_is_read(stored: dict[str, Any], contract: type) -> None:
    assert read(stored, contract, argument="it") == stored


def test_what_a_newer_version_adds_is_kept() -> None:
    assert read({**EVALUATED, "brand_new": object}, Evaluation, argument="it")["brand_new"] is object  # type: ignore[typeddict-item]


def test_a_version_of_digits_that_a_template_made_a_number_is_text() -> None:
    read_again = read({"model_name": "m", "model_version": 20261127}, ModelVersion, argument="it")
    assert read_again["model_version"] == "20261127"


@pytest.mark.parametrize(
    ("value", "contract", "message"),
    [
        (None, Evaluation, "it is None: expected the dict of an evaluation, such as evaluate.output."),
        (0.93, Evaluation, "it is 0.93: expected the dict of an evaluation, such as evaluate.output."),
        ("m", ModelVersion, "it is 'm': expected the dict of a training or a prediction, such as train.output."),
        ([EVALUATED], Prediction, "it is [{'model_name': 'm', "),
        (
            TRAINED, Prediction,
            "which has no 'output_table', 'input_table', 'rows': expected the dict of a prediction",
        ),
        (PREDICTED, Evaluation, "it is the dict of a prediction, which has no 'test_table', 'table', "),
        (EVALUATED, Training, "it is the dict of an evaluation, which has no 'shared_model', 'notebook_url', "),
        ({"table": "t"}, ModelVersion, "it is {'table': 't'}, which has no 'model_name': expected the dict of a "),
        (
            {**EVALUATED, "auroc": "high"}, Evaluation,
            "'auroc' of it is 'high': expected float or None, as in the dict of an evaluation, such as",
        ),
        ({**EVALUATED, "metrics": "{}"}, Evaluation, "'metrics' of it is '{}': expected dict, as in"),
        ({**PREDICTED, "rows": True}, Prediction, "'rows' of it is True: expected int, as in"),
        ({**PREDICTED, "output_table": None}, Prediction, "'output_table' of it is None: expected str, as in"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(value: Any, contract: type, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read(value, contract, argument="it")


class Ti:
    """A task instance without a task runner: XComs are pulled from a dict."""

    dag_id, run_id, task_id, map_index, try_number, max_tries = "d", "r", "t", -1, 1, 0

    def __init__(self, returned: dict[str, Any]) -> None:
        self.returned = returned

    def xcom_pull(self, task_ids: str, key: str = "return_value", default: Any = None, **_: Any) -> Any:
        found = self.returned.get(task_ids, default)
        return found if key == "return_value" else found.get(key, default)

    def xcom_push(self, **_: Any) -> None: ...


READERS: dict[str, Any] = {
    "experiment": (AutoMLTrackExperimentOperator, {}),
    "model": (AutoMLPredictOperator, {"input_table": "ml.t", "output_table": "out.p"}),
    "prediction": (AutoMLEvaluateOperator, {}),
    "evaluation": (AutoMLRecordEvaluationOperator, {}),
    "challenger": (AutoMLPromoteOperator, {"alias": "champion"}),
}


def refusal(argument: str, returned: dict[str, Any], key: str | None, monkeypatch: Any, tmp_path: Path) -> str:
    """The message of the task to which the output, or one key of it, of the task ``made`` is passed."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    operator, more = READERS[argument]
    with DAG("d", schedule=None, start_date=START) as dag:
        made = AutoMLTrainOperator(task_id="made", input_table="ml.t", target_column="y", model_name="m")
        task = operator(task_id="task", **{argument: made.output if key is None else made.output[key]}, **more)
    run = type("DagRun", (), {"logical_date": START, "run_after": START, "triggering_user_name": "ann"})()
    context: Any = {"ti": Ti({"made": returned}), "dag_run": run, "task": task, "params": {}, "dag": dag}
    context["task_instance"] = context["ti"]
    task.render_template_fields(context)
    with pytest.raises(AirflowFailException) as error:
        task.execute(context)
    return str(error.value)


@pytest.mark.parametrize("argument", READERS)
def test_a_key_is_no_dict(argument: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = refusal(argument, TRAINED, "model_version", monkeypatch, tmp_path)
    assert message.startswith(f"{argument}=made.output['model_version'] of task 'task' is 'v': expected the dict of a")


@pytest.mark.parametrize("argument", ["model", "prediction", "evaluation", "challenger"])
def test_a_key_that_does_not_exist(argument: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = refusal(argument, TRAINED, "model", monkeypatch, tmp_path)
    assert message == (
        f"{argument}=made.output['model'] of task 'task' is None: the other task returned nothing, or has no XCom with "
        "this key. Pass its whole output, such as train.output, or one of the keys that it returns."
    )


@pytest.mark.parametrize(
    ("argument", "returned", "message"),
    [
        ("experiment", PREDICTED, "is the dict of a prediction, which has no 'shared_model', "),
        ("model", EVALUATED | {"model_name": None}, "'model_name' of model=made.output of task 'task' is None"),
        ("prediction", TRAINED, "prediction=made.output of task 'task' is the dict of a training, which has no "),
        ("evaluation", PREDICTED, "evaluation=made.output of task 'task' is the dict of a prediction, which has no "),
        ("challenger", {"promoted": True}, "challenger=made.output of task 'task' is {'promoted': True}, which has no"),
    ],
)  # fmt: skip
def test_the_dict_of_another_operator(
    argument: str, returned: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert message in refusal(argument, returned, None, monkeypatch, tmp_path)


def test_drift_is_decided_on_evaluations_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(READERS, "evaluation", (
        AutoMLDriftBranchOperator, {"policy": below(0.9), "if_drifted": [], "if_stable": []},
    ))  # fmt: skip
    message = refusal("evaluation", PREDICTED, None, monkeypatch, tmp_path)
    assert message.startswith(
        "evaluation=made.output of task 'task' is the dict of a prediction, which has no 'test_ta"
    )
