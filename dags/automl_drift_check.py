"""Daily: evaluate the champion on fresh data; on drift, send a mail, retrain, and promote the new model if better.

Needs a model: run ``automl_experiment`` once first, or name your own; without a champion, that model becomes the first.
The champion is compared with its own first evaluations. A retrained model replaces it only if it is significantly
better on the same rows. A mail that cannot be sent never fails a record, a training or a promotion.
"""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from airflow_provider_automl.drift.policies import worse_than_baseline
from airflow_provider_automl.mail import drift_mail, drift_subject, failure_mail
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator, require_smtp
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.promote import AutoMLPromoteOperator
from airflow_provider_automl.operators.tables import AutoMLCreateTablesOperator
from airflow_provider_automl.sql.names import LINE_PATTERN, MODEL_PATTERN, NAME_PATTERN, SECONDS_PATTERN

with DAG(
    dag_id="automl_drift_check",
    description="Evaluate the champion on fresh data; on drift, send a mail, retrain, and promote the better model",
    schedule="0 7 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles")),
    catchup=False,
    max_active_runs=1,
    tags=["automl"],
    doc_md=__doc__,
    user_defined_macros={"drift_mail": drift_mail, "drift_subject": drift_subject, "failure_mail": failure_mail},
    default_args={
        "on_failure_callback": SmtpNotifier(
            to="{{ params.mail_to }}",
            subject="{{ dag.dag_id }} failed: {{ ti.task_id }}, {{ params.input_database }}."
            "{{ params.test_data_table }}",
            html_content="{{ failure_mail(ti, exception) }}",
        )
    },
    params={
        "input_database": Param(
            "ml_datasets", type="string", pattern=NAME_PATTERN, description="Schema of the fresh data"
        ),
        "output_database": Param(
            "automl_test", type="string", pattern=NAME_PATTERN, description="Schema of the results; created if missing"
        ),
        "train_data_table": Param(
            "gluon_train", type="string", pattern=NAME_PATTERN, description="Table to retrain on"
        ),
        "test_data_table": Param(
            "gluon_test", type="string", pattern=NAME_PATTERN, description="Table of fresh, labelled data"
        ),
        "row_order": Param(
            [
                "age",
                "workclass",
                "fnlwgt",
                "education",
                "education-num",
                "marital-status",
                "occupation",
                "relationship",
                "race",
                "sex",
                "capital-gain",
                "capital-loss",
                "hours-per-week",
                "native-country",
                "class",
            ],
            type="array",
            items={"type": "string"},
            minItems=1,
            description="Columns that order its rows: an id, or all columns",
        ),
        "alias": Param(
            "census_champion",
            type="string",
            pattern=MODEL_PATTERN,
            description="Alias of the champion to check",
        ),
        "model_name": Param(
            "gluon_model_*",
            type="string",
            pattern=MODEL_PATTERN,
            description="First champion, and challengers; * selects the newest model",
        ),
        "target_column": Param("class", type="string", pattern=LINE_PATTERN, description="Column with the labels"),
        "positive_class": Param(
            " >50K", type="string", pattern=LINE_PATTERN, description="Positive class; leading spaces count"
        ),
        "fit_time_limit": Param(
            "60 * 3", type="string", pattern=SECONDS_PATTERN, description="Seconds for a retraining, such as 60 * 3"
        ),
        "alpha": Param(0.05, type="number", description="Rate of false alarms and of false promotions"),
        "remind_after": Param(7, type="number", minimum=0, description="Days before the same drift is mailed again"),
        "mail_to": Param(
            "ml-team@example.com",
            type="string",
            pattern=LINE_PATTERN,
            description="Recipients of alerts, separated by commas",
        ),
        "mail_bcc": Param(
            None, type=["null", "string"], pattern=LINE_PATTERN, description="Bcc recipients, separated by commas"
        ),
    },
) as dag:
    # Without an id, rows are numbered in the order of all columns. The numbers fit both models, since rows that are
    # equal in all columns get equal predictions.
    fresh_table = "{{ params.input_database }}.{{ params.test_data_table }}"
    mail = {
        "pre_execute": require_smtp,
        "to": "{{ params.mail_to }}",
        "bcc": "{{ params.mail_bcc or '' }}",
        "retries": 2,
        "retry_delay": datetime.timedelta(seconds=30),
    }

    create = AutoMLCreateTablesOperator(task_id="create_db_tbl_if_not_exists", schema="{{ params.output_database }}")
    first = AutoMLPromoteOperator(
        task_id="first_champion",
        challenger={"model_name": "{{ params.model_name }}"},
        alias="{{ params.alias }}",
        only_if_vacant=True,
    )
    predict = AutoMLPredictOperator(
        task_id="predict",
        alias="{{ params.alias }}",
        input_table=fresh_table,
        order_by="{{ params.row_order }}",
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
        policy=worse_than_baseline("champion", alpha="{{ params.alpha }}"),
        baseline_alias="{{ params.alias }}",
        if_drifted="retrain",
        alert="alert_if_drift_detected",
        if_stable="no_drift",
        if_lasting="alarm_lasts",
        remind_after="{{ params.remind_after }}",
        schema="{{ params.output_database }}",
    )
    alert = EmailOperator(
        task_id="alert_if_drift_detected",
        subject="{{ drift_subject(ti) }}",
        html_content="{{ drift_mail(ti, schema=params.output_database) }}",
        **mail,
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
        wait_for_completion=True,
        poke_interval=5,
        execution_timeout=datetime.timedelta(hours=6),  # a paused training DAG would be waited for forever
        # A failed mail in the triggered run must not discard the model that it trained.
        allowed_states=["success", "failed"],
        failed_states=[],
    )
    challenge = AutoMLPredictOperator(
        task_id="challenge",
        model_name="{{ params.model_name }}",
        input_table=fresh_table,
        order_by="{{ params.row_order }}",
        output_table="{{ params.output_database }}.challenger_{{ params.test_data_table }}_{{ ts_nodash }}",
    )
    promote = AutoMLPromoteOperator(
        task_id="promote",
        challenger=challenge.output,
        champion_predictions=predict.output,
        alias="{{ params.alias }}",
        row_id="row_id",
        target_column="{{ params.target_column }}",
        positive_class="{{ params.positive_class }}",
        alpha="{{ params.alpha }}",
        schema="{{ params.output_database }}",
    )
    tell = EmailOperator(
        task_id="tell_of_promotion",
        subject="{{ params.alias }} {{ 'changed' if ti.xcom_pull(task_ids='promote', key='promoted') else 'stays' }}",
        html_content="<p>{{ ti.xcom_pull(task_ids='promote', key='detail') | e }}</p><p>Run {{ run_id | e }}</p>",
        **mail,
    )
    no_drift = EmptyOperator(task_id="no_drift")
    lasts = EmptyOperator(task_id="alarm_lasts")  # alert and retraining are done already

    create >> first >> predict >> evaluate >> record >> drift >> [alert, retrain, no_drift, lasts]
    retrain >> challenge >> promote >> tell
