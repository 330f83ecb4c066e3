"""Every morning: score the newest model on fresh data without training; on drift, mail and train again.

Expects a model: run ``automl_experiment`` once first, or name a model of your own. The mail and the training do not
depend on each other, and both come after the evaluation is recorded.
"""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from airflow_provider_automl.drift.policies import below
from airflow_provider_automl.mail import drift_mail
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator, require_smtp
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.tables import AutoMLCreateTablesOperator

with DAG(
    dag_id="automl_drift_check",
    description="Score an existing model on fresh data; on drift, mail and train again",
    schedule="0 7 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    max_active_runs=1,
    tags=["automl"],
    doc_md=__doc__,
    user_defined_macros={"drift_mail": drift_mail},
    on_failure_callback=SmtpNotifier(
        to="{{ params.mail_to }}",
        subject="{{ dag.dag_id }} failed",
        html_content="<p>Run {{ run_id }} of {{ dag.dag_id }} failed: see the logs of its failed tasks.</p>",
    ),
    params={
        "input_database": Param("ml_datasets", type="string", description="Schema of the fresh data"),
        "output_database": Param("automl_test", type="string", description="Schema of the results; made if missing"),
        "train_data_table": Param("gluon_train", type="string", description="Table that a retraining trains on"),
        "test_data_table": Param("gluon_test", type="string", description="Table of fresh, labelled data"),
        "model_name": Param("gluon_model_*", type="string", description="Model to check; * stands for the newest"),
        "target_column": Param("class", type="string", description="Column of true labels"),
        "positive_class": Param(" >50K", type="string", description="Its positive class; leading blanks count"),
        "fit_time_limit": Param("60 * 3", type="string", description="Seconds for a retraining, or arithmetic"),
        "drift_auc_threshold": Param(0.93, type="number", minimum=0, maximum=1, description="Drift below this AUC"),
        "mail_to": Param("ml-team@example.com", type="string", description="Who is told of drift; several by commas"),
        "mail_bcc": Param(None, type=["null", "string"], description="Blind copies; several by commas"),
    },
) as dag:
    create = AutoMLCreateTablesOperator(task_id="create_db_tbl_if_not_exists", schema="{{ params.output_database }}")
    predict = AutoMLPredictOperator(
        task_id="predict",
        model_name="{{ params.model_name }}",
        input_table="{{ params.input_database }}.{{ params.test_data_table }}",
        output_table="{{ params.output_database }}.drift_check_{{ params.test_data_table }}_{{ ts_nodash }}",
    )
    evaluate = AutoMLEvaluateOperator(
        task_id="evaluation",
        prediction=predict.output,
        target_column="{{ params.target_column }}",
        positive_class="{{ params.positive_class }}",
    )
    record = AutoMLRecordEvaluationOperator(
        task_id="record_evaluation", evaluation=evaluate.output, schema="{{ params.output_database }}"
    )
    drift = AutoMLDriftBranchOperator(
        task_id="drift",
        evaluation=evaluate.output,
        policy=below("{{ params.drift_auc_threshold }}"),
        if_drifted=["alert_if_drift_detected", "retrain"],
        if_stable="no_drift",
    )
    alert = EmailOperator(
        task_id="alert_if_drift_detected",
        pre_execute=require_smtp,
        to="{{ params.mail_to }}",
        bcc="{{ params.mail_bcc or '' }}",
        subject="Drift detected",
        html_content="{{ drift_mail(ti) }}",
        retries=2,
        retry_delay=datetime.timedelta(seconds=30),
    )
    retrain = TriggerDagRunOperator(
        task_id="retrain",
        trigger_dag_id="automl_experiment",
        conf={
            "input_database": "{{ params.input_database }}",
            "output_database": "{{ params.output_database }}",
            "train_data_table": "{{ params.train_data_table }}",
            "test_data_table": "{{ params.test_data_table }}",
            "target_column": "{{ params.target_column }}",
            "positive_class": "{{ params.positive_class }}",
            "fit_time_limit": "{{ params.fit_time_limit }}",
            "mail_to": "{{ params.mail_to }}",
            "mail_bcc": "{{ params.mail_bcc or '' }}",
        },
    )
    no_drift = EmptyOperator(task_id="no_drift")

    create >> predict >> evaluate >> record >> drift >> [alert, retrain, no_drift]
