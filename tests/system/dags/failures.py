"""DAGs in which one thing goes wrong, each as a user's DAG could: the workflow with one task changed."""

from __future__ import annotations

import datetime
import os
import signal
from typing import Any

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_automl.drift.policies import below
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator, require_smtp
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.tables import AutoMLCreateTablesOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator

RETRY_SOON = datetime.timedelta(seconds=1)
QUICK = {"GBM": {"num_boost_round": 30}}


def die() -> None:
    """End this process as the kernel's out-of-memory killer would."""
    os.kill(os.getpid(), signal.SIGKILL)


def first_try(context: Any) -> bool:
    return bool(context["ti"].try_number == 1)


class KilledAfterRecording(AutoMLRecordEvaluationOperator):
    """Killed on its first try after the row was written and before Airflow hears of success."""

    def perform(self, context: Any) -> dict[str, Any]:
        result = super().perform(context)
        if first_try(context):
            die()
        return result


class KilledAfterTracking(AutoMLTrackExperimentOperator):
    """The same for the experiment's row."""

    def perform(self, context: Any) -> dict[str, Any]:
        result = super().perform(context)
        if first_try(context):
            die()
        return result


class KilledBeforeRegistering(AutoMLTrainOperator):
    """Killed on its first try when the model's files are in place and the registry row is not written."""

    def execute(self, context: Any) -> dict[str, Any]:
        if first_try(context):
            self.hook.models.register = lambda **_: die()  # type: ignore[assignment, method-assign, return-value]
        return super().execute(context)


class KilledBeforePublishing(AutoMLPredictOperator):
    """Killed on its first try when the predictions are loaded and not yet published."""

    def perform(self, context: Any) -> dict[str, Any]:
        if first_try(context):
            write = self.hook.warehouse._write
            self.hook.warehouse._write = lambda work: write(lambda cursor: (work(cursor), die()))  # type: ignore[method-assign]
        return super().perform(context)


def workflow(
    dag_id: str,
    *,
    train: dict[str, Any] | None = None,
    predict: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
    threshold: float = 0.5,
    mail_conn_id: str = "smtp_default",
    classes: tuple[type, type, type, type] = (
        AutoMLTrainOperator,
        AutoMLTrackExperimentOperator,
        AutoMLPredictOperator,
        AutoMLRecordEvaluationOperator,
    ),
    retries: int = 0,
    **dag: Any,
) -> DAG:
    """The documented workflow on small settings, in a schema of its own named after the DAG."""
    with DAG(dag_id, schedule=None, start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), **dag) as made:
        Train, Track, Predict, Record = classes
        common: dict[str, Any] = {"retries": retries, "retry_delay": RETRY_SOON}
        create = AutoMLCreateTablesOperator(task_id="create", schema=dag_id)
        training = Train(
            task_id="train",
            **common,
            **{
                "input_table": "ml_datasets.gluon_train",
                "target_column": "class",
                "positive_class": " >50K",
                "model_name": dag_id,
                "time_limit": 120,
                "hyperparameters": QUICK,
                **(train or {}),
            },
        )
        track = Track(task_id="track_experiment", experiment=training.output, schema=dag_id, **common)
        prediction = Predict(
            task_id="predict",
            model=training.output,
            **common,
            **{"input_table": "ml_datasets.gluon_test", "output_table": f"{dag_id}.predicted", **(predict or {})},
        )
        evaluate = AutoMLEvaluateOperator(
            task_id="evaluation", prediction=prediction.output, target_column="class", positive_class=" >50K"
        )
        rec = Record(task_id="record_evaluation", evaluation=evaluation or evaluate.output, schema=dag_id, **common)
        drift = AutoMLDriftBranchOperator(
            task_id="drift",
            evaluation=evaluation or evaluate.output,
            policy=below(threshold),
            if_drifted=["alert", "retrain"],
            if_stable="no_drift",
        )
        alert = EmailOperator(
            task_id="alert",
            pre_execute=require_smtp,
            conn_id=mail_conn_id,
            to="ml-team@example.com",
            subject="Drift detected",
            html_content="{{ ti.xcom_pull(task_ids='drift', key='detail') }}",
            **common,
        )
        retrain = EmptyOperator(task_id="retrain")
        no_drift = EmptyOperator(task_id="no_drift")
        create >> training >> track >> prediction >> evaluate >> rec >> drift >> [alert, retrain, no_drift]
    return made


TRAIN, TRACK, PREDICT, RECORD = (
    AutoMLTrainOperator,
    AutoMLTrackExperimentOperator,
    AutoMLPredictOperator,
    AutoMLRecordEvaluationOperator,
)

undisturbed = workflow("undisturbed")
cleared = workflow("cleared")
bad_input = workflow("bad_input", train={"target_column": "clas"}, retries=2)
over_memory = workflow("over_memory", train={"memory_limit": "150m"})
killed_training = workflow("killed_training", train={"hyperparameters": {"GBM": {"num_boost_round": 100_000}}})
mark_failed = workflow("mark_failed", train={"hyperparameters": {"GBM": {"num_boost_round": 100_000}}})
failing_prediction = workflow(
    "failing_prediction",
    predict={"ignore_columns": ["age"], "output_table": "failing_prediction.predicted"},
    on_failure_callback=SmtpNotifier(
        to="ops@example.com", from_email="airflow@example.com", subject="{{ dag.dag_id }} failed", html_content="failed"
    ),
)
null_metric = workflow(
    "null_metric", evaluation={"auroc": None, "auroc_reason": "the evaluation was empty", "model_name": "m"}
)
mail_down = workflow("mail_down", threshold=0.999, mail_conn_id="smtp_down", retries=1)
mail_unset = workflow("mail_unset", threshold=0.999, mail_conn_id="smtp_unset", retries=1)
killed_recording = workflow(
    "killed_recording", classes=(TRAIN, KilledAfterTracking, PREDICT, KilledAfterRecording), retries=1
)
killed_registering = workflow(
    "killed_registering", classes=(KilledBeforeRegistering, TRACK, PREDICT, RECORD), retries=1
)
killed_publishing = workflow("killed_publishing", classes=(TRAIN, TRACK, KilledBeforePublishing, RECORD), retries=1)
