"""A check of evaluations that are given to it: what follows an alarm, without a model."""

from __future__ import annotations

import datetime

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from airflow_provider_automl.drift.policies import worse_than_baseline
from airflow_provider_automl.mail import drift_mail, drift_subject
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator
from airflow_provider_automl.operators.evaluate import AutoMLRecordEvaluationOperator

SINCE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

with DAG("trained_for_an_alarm", schedule=None, start_date=SINCE):
    EmptyOperator(task_id="train")

with DAG(
    "alarms",
    schedule=None,
    start_date=SINCE,
    params={"auroc": 0.93},
    render_template_as_native_obj=True,
    user_defined_macros={"drift_mail": drift_mail, "drift_subject": drift_subject},
):
    evaluation = {
        "model_name": "census", "model_version": "1", "test_table": "ml.{{ ts_nodash }}", "problem_type": "binary",
        "auroc": "{{ params.auroc }}", "metrics": {"auroc_se": 0.004},
    }  # fmt: skip
    record = AutoMLRecordEvaluationOperator(task_id="evaluation", evaluation=evaluation, schema="alarms")
    drift = AutoMLDriftBranchOperator(
        task_id="drift", evaluation=evaluation, policy=worse_than_baseline(), if_drifted="retrain", if_stable="rest",
        if_lasting="lasts", alert="mail", schema="alarms",
    )  # fmt: skip
    mail = EmailOperator(
        task_id="mail",
        to="ml-team@example.com",
        subject="{{ drift_subject(ti) }}",
        html_content="{{ drift_mail(ti, predict=None, schema='alarms') }}",
    )
    retrain = TriggerDagRunOperator(task_id="retrain", trigger_dag_id="trained_for_an_alarm")
    record >> drift >> [mail, retrain, EmptyOperator(task_id="rest"), EmptyOperator(task_id="lasts")]
