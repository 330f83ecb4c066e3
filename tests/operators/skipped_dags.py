"""DAGs whose trainings and predictions are skipped, by name, each run by ``dag.test``: see ``test_skipped.py``."""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, task, task_group
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_automl.drift.policies import below
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.promote import AutoMLPromoteOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator

START = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
ALWAYS: dict[str, Any] = {"trigger_rule": "all_done"}
TRAINING: dict[str, Any] = {"input_table": "no.table", "target_column": "y"}


DAGS: dict[str, DAG] = {}


def dag(dag_id: str) -> DAG:
    """A DAG of that name, to be run by it."""
    DAGS[dag_id] = DAG(dag_id, schedule=None, start_date=START)
    return DAGS[dag_id]


def by_name(context: Any) -> None:
    """A training's ``pre_execute``: end it before it says anything, as its model's name tells."""
    name = context["task"].model_name
    if name.startswith("skipped"):
        raise AirflowSkipException("as told")
    if name.startswith("killed"):
        raise AirflowFailException("as told, without a result")


for choice in ("fine", "retrain"):
    with dag(f"drift_{choice}"):

        @task.branch
        def drift(branch: str) -> str:
            return branch

        retrain = AutoMLTrainOperator(task_id="retrain", model_name="failed", **TRAINING)
        track = AutoMLTrackExperimentOperator(task_id="track", experiment=retrain.output)
        by_template = AutoMLTrackExperimentOperator(task_id="templated", experiment="{{ ti.xcom_pull('retrain') }}")
        drift(choice) >> [retrain, EmptyOperator(task_id="fine")]
        retrain >> [track, by_template]

with dag("killed"):
    train = AutoMLTrainOperator(task_id="train", model_name="killed", pre_execute=by_name, **TRAINING)
    AutoMLTrackExperimentOperator(task_id="track", experiment=train.output)

with dag("mapped_group"):

    @task_group
    def each(name: str) -> None:
        train = AutoMLTrainOperator(task_id="train", model_name=name, pre_execute=by_name, **TRAINING)
        AutoMLTrackExperimentOperator(task_id="track", experiment=train.output)

    each.expand(name=["skipped", "failed_1", "killed_1", "skipped_2", "failed_2"])

with dag("mapped"):
    for kind, names in {"some": ["skipped", "failed", "skipped_2"], "none": ["skipped", "skipped_2"]}.items():
        trains = AutoMLTrainOperator.partial(task_id=f"train_{kind}", pre_execute=by_name, **TRAINING).expand(
            model_name=names
        )
        AutoMLTrackExperimentOperator.partial(task_id=f"track_{kind}").expand(experiment=trains.output)

with dag("chain"):
    train = AutoMLTrainOperator(task_id="train", model_name="skipped", pre_execute=by_name, **TRAINING)
    predict = AutoMLPredictOperator(
        task_id="predict", model=train.output, input_table="no.table", output_table="no.output", **ALWAYS
    )
    evaluate = AutoMLEvaluateOperator(task_id="evaluate", prediction=predict.output, target_column="y", **ALWAYS)
    record = AutoMLRecordEvaluationOperator(task_id="record", evaluation=evaluate.output, **ALWAYS)
    branch = AutoMLDriftBranchOperator(
        task_id="drift", evaluation=evaluate.output, policy=below(0.9), if_drifted="a", if_stable="b", **ALWAYS
    )
    branch >> [EmptyOperator(task_id="a"), EmptyOperator(task_id="b")]
    AutoMLPromoteOperator(task_id="promote", challenger=train.output, alias="champion", **ALWAYS)
    AutoMLPromoteOperator(task_id="promote_predicted", challenger=predict.output, alias="champion", **ALWAYS)
    AutoMLPromoteOperator(
        task_id="promote_named", alias="champion", **ALWAYS,
        challenger={key: train.output[key] for key in ("model_name", "model_version")},  # type: ignore[index]
    )  # fmt: skip
    evaluate_names = AutoMLEvaluateOperator(
        task_id="evaluate_named", table="{{ ti.xcom_pull(task_ids='predict')['output_table'] }}",
        prediction="{{ ti.xcom_pull(task_ids='predict') }}", target_column="y", positive_class="a", **ALWAYS,
    )  # fmt: skip
    predict >> evaluate_names
    # Nothing is skipped that has its input: this one fails, for there is no such table.
    given = AutoMLEvaluateOperator(
        task_id="evaluate_given", table="no.table", target_column="y", positive_class="a", **ALWAYS
    )
    predict >> given

if __name__ == "__main__":
    found = {}
    for name in sys.argv[2:] or DAGS:
        run = DAGS[name].test()
        found[name] = {
            ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
            for ti in run.get_task_instances()
        }
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
