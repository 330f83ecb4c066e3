"""DAGs in which one thing goes wrong, each as a user's DAG could: the workflow with one task changed."""

from __future__ import annotations

import datetime
import os
import signal
from typing import Any

from airflow.providers.common.compat.sdk import DAG, chain
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
    evaluation: dict[str, Any] | None = None,
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
    """The documented workflow on small settings and without reports, in a schema of its own named after the DAG.

    :param predict: with a ``model_name``, the workflow begins with the prediction, by that model.
    :param evaluation: the workflow begins with recording it.
    """
    with DAG(dag_id, schedule=None, start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), **dag) as made:
        Train, Track, Predict, Record = classes
        common: dict[str, Any] = {"retries": retries, "retry_delay": RETRY_SOON}
        steps: list[Any] = [AutoMLCreateTablesOperator(task_id="create", schema=dag_id)]
        model: dict[str, Any] = {}
        if evaluation is None and "model_name" not in (predict or {}):
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
                    "report": False,
                    **(train or {}),
                },
            )
            steps += [training, Track(task_id="track_experiment", experiment=training.output, schema=dag_id, **common)]
            model = {"model": training.output}
        measured: Any = evaluation
        if evaluation is None:
            prediction = Predict(
                task_id="predict",
                **common,
                **{
                    "input_table": "ml_datasets.gluon_test",
                    "output_table": f"{dag_id}.predicted",
                    "report": False,
                    **model,
                    **(predict or {}),
                },
            )
            evaluate = AutoMLEvaluateOperator(
                task_id="evaluation", prediction=prediction.output, target_column="class", positive_class=" >50K"
            )
            steps += [prediction, evaluate]
            measured = evaluate.output
        steps.append(Record(task_id="record_evaluation", evaluation=measured, schema=dag_id, **common))
        steps.append(
            AutoMLDriftBranchOperator(
                task_id="drift",
                evaluation=measured,
                policy=below(0.5),
                if_drifted=["alert", "retrain"],
                if_stable="no_drift",
            )
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
        chain(*steps, [alert, EmptyOperator(task_id="retrain"), EmptyOperator(task_id="no_drift")])
    return made


DRIFTED = {"auroc": 0.4, "model_name": "m"}
LONG = {"hyperparameters": {"GBM": {"num_boost_round": 100_000}}}
FEW: dict[str, Any] = {"train": {"input_table": "few.gluon_train"}, "predict": {"input_table": "few.gluon_test"}}

undisturbed = workflow("undisturbed", **FEW)
killed = workflow(
    "killed",
    **FEW,
    classes=(KilledBeforeRegistering, KilledAfterTracking, KilledBeforePublishing, KilledAfterRecording),
    retries=1,
)
bad_input = workflow("bad_input", train={"target_column": "clas"}, retries=2)
over_memory = workflow("over_memory", train={"memory_limit": "150m"})
killed_training = workflow("killed_training", train=LONG)
mark_failed = workflow("mark_failed", train=LONG)
failing_prediction = workflow(
    "failing_prediction",
    predict={"model_name": "undisturbed", "ignore_columns": ["age"]},
    on_failure_callback=SmtpNotifier(
        to="ops@example.com", from_email="airflow@example.com", subject="{{ dag.dag_id }} failed", html_content="failed"
    ),
)
null_metric = workflow(
    "null_metric", evaluation={"auroc": None, "auroc_reason": "the evaluation was empty", "model_name": "m"}
)
mail_down = workflow("mail_down", evaluation=DRIFTED, mail_conn_id="smtp_down", retries=1)
mail_unset = workflow("mail_unset", evaluation=DRIFTED, mail_conn_id="smtp_unset", retries=1)
