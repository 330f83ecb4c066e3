"""Every morning: score the champion on fresh data without training; on drift, mail, train, promote what is better.

Expects a model: run ``automl_experiment`` once first, or name a model of your own; where nobody is champion, it becomes
the first. The champion is held against its own first evaluations. What is trained anew takes its place only if it is
significantly better on the same rows. No mail that fails costs a record, a training or a promotion.
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
    description="Score the champion on fresh data; on drift, mail, train again, and promote what is better",
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
            "automl_test", type="string", pattern=NAME_PATTERN, description="Schema of the results; made if missing"
        ),
        "train_data_table": Param(
            "gluon_train", type="string", pattern=NAME_PATTERN, description="Table that a retraining trains on"
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
            description="Columns that put its rows in one order: an id of theirs, or all of them",
        ),
        "alias": Param(
            "census_champion",
            type="string",
            pattern=MODEL_PATTERN,
            description="Alias of the champion, which is checked",
        ),
        "model_name": Param(
            "gluon_model_*",
            type="string",
            pattern=MODEL_PATTERN,
            description="First champion, and challengers; * stands for the newest",
        ),
        "target_column": Param("class", type="string", pattern=LINE_PATTERN, description="Column of true labels"),
        "positive_class": Param(
            " >50K", type="string", pattern=LINE_PATTERN, description="Its positive class; leading blanks count"
        ),
        "fit_time_limit": Param(
            "60 * 3", type="string", pattern=SECONDS_PATTERN, description="Seconds for a retraining, or arithmetic"
        ),
        "alpha": Param(0.05, type="number", description="Share of false alarms, and of false promotions"),
        "remind_after": Param(7, type="number", minimum=0, description="Days for which the same drift is not mailed"),
        "mail_to": Param(
            "ml-team@example.com",
            type="string",
            pattern=LINE_PATTERN,
            description="Who is told of drift; several by commas",
        ),
        "mail_bcc": Param(
            None, type=["null", "string"], pattern=LINE_PATTERN, description="Blind copies; several by commas"
        ),
    },
) as dag:
    # Without an id, rows are numbered in an order by all columns: the same for both models, for rows that are equal in
    # all columns are predicted alike.
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
        execution_timeout=datetime.timedelta(hours=6),  # a training DAG that is paused would be waited for for ever
        # A mail that fails, in a run of its own, must not cost what it trained.
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
    lasts = EmptyOperator(task_id="alarm_lasts")  # told and answered already

    create >> first >> predict >> evaluate >> record >> drift >> [alert, retrain, no_drift, lasts]
    retrain >> challenge >> promote >> tell
