"""The whole workflow: train, track the experiment, predict, evaluate, record, and act on drift.

Runs out of the box: without a connection ``automl_default``, all data is in embedded stores in
``$AIRFLOW_HOME/automl/``, and missing tables are created with synthetic census data. Set parameters for your tables.
"""

from __future__ import annotations

import datetime

from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_automl.drift.policies import below
from airflow_provider_automl.mail import drift_mail, failure_mail
from airflow_provider_automl.operators.drift import AutoMLDriftBranchOperator, require_smtp
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.tables import AutoMLCensusTablesOperator, AutoMLCreateTablesOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.sql.names import LINE_PATTERN, MEMORY_PATTERN, NAME_PATTERN, SECONDS_PATTERN

with DAG(
    dag_id="automl_experiment",
    description="Train on a table, predict, evaluate in SQL, record, and send a mail if the model has drifted",
    schedule=None,
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["automl"],
    doc_md=__doc__,
    user_defined_macros={"drift_mail": drift_mail, "failure_mail": failure_mail},
    default_args={
        "on_failure_callback": SmtpNotifier(
            to="{{ params.mail_to }}",
            subject="{{ dag.dag_id }} failed: {{ ti.task_id }}, {{ params.input_database }}."
            "{{ params.train_data_table }}",
            html_content="{{ failure_mail(ti, exception) }}",
        )
    },
    params={
        "input_database": Param(
            "ml_datasets", type="string", pattern=NAME_PATTERN, description="Schema of the tables to train and test on"
        ),
        "output_database": Param(
            "automl_test", type="string", pattern=NAME_PATTERN, description="Schema of the results; created if missing"
        ),
        "train_data_table": Param("gluon_train", type="string", pattern=NAME_PATTERN, description="Table to train on"),
        "test_data_table": Param(
            "gluon_test", type="string", pattern=NAME_PATTERN, description="Table to predict and evaluate on"
        ),
        "test_data_drift": Param(
            0.0, type="number", minimum=0, maximum=1, description="Drift of the synthetic test table, if it is created"
        ),
        "target_column": Param("class", type="string", pattern=LINE_PATTERN, description="Column to predict"),
        "positive_class": Param(
            " >50K", type="string", pattern=LINE_PATTERN, description="Positive class; leading spaces count"
        ),
        "fit_time_limit": Param(
            "60 * 3", type="string", pattern=SECONDS_PATTERN, description="Seconds for the training, such as 60 * 3"
        ),
        "memory_limit": Param(
            "8g", type="string", pattern=MEMORY_PATTERN, description="Memory limit at which the training is killed"
        ),
        "report": Param(True, type="boolean", description="Write a notebook about the training and the prediction"),
        "drift_auc_threshold": Param(0.93, type="number", minimum=0, maximum=1, description="Alert below this AUC"),
        "mail_to": Param(
            "ml-team@example.com",
            type="string",
            pattern=LINE_PATTERN,
            description="Recipients of alerts, separated by commas",
        ),
        "mail_bcc": Param(
            None, type=["null", "string"], pattern=LINE_PATTERN, description="Bcc recipients, separated by commas"
        ),
        "user_email": Param(
            None, type=["null", "string"], pattern=LINE_PATTERN, description="User to record; default: the connection's"
        ),
    },
) as dag:
    train_table = "{{ params.input_database }}.{{ params.train_data_table }}"
    test_table = "{{ params.input_database }}.{{ params.test_data_table }}"

    census = AutoMLCensusTablesOperator(
        task_id="load_census_if_not_exists",
        train_table=train_table,
        test_table=test_table,
        drift="{{ params.test_data_drift }}",
    )
    create = AutoMLCreateTablesOperator(task_id="create_db_tbl_if_not_exists", schema="{{ params.output_database }}")
    train = AutoMLTrainOperator(
        task_id="train",
        input_table=train_table,
        target_column="{{ params.target_column }}",
        positive_class="{{ params.positive_class }}",
        model_name="gluon_model_{{ ts_nodash }}",
        time_limit="{{ params.fit_time_limit }}",
        memory_limit="{{ params.memory_limit }}",
        share_model=True,
        export_leaderboard="{{ params.output_database }}.leaderboard_{{ params.train_data_table }}",
        export_feature_importance="{{ params.output_database }}.feature_importance_{{ params.train_data_table }}",
        report="{{ params.report }}",
        user_email="{{ params.user_email or '' }}",
    )
    track = AutoMLTrackExperimentOperator(
        task_id="track_experiment", experiment=train.output, schema="{{ params.output_database }}"
    )
    predict = AutoMLPredictOperator(
        task_id="predict",
        model=train.output,
        input_table=test_table,
        output_table="{{ params.output_database }}.predicted_{{ params.test_data_table }}_{{ ts_nodash }}",
        report="{{ params.report }}",
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
        if_drifted="alert_if_drift_detected",
        if_stable="no_drift",
    )
    alert = EmailOperator(
        task_id="alert_if_drift_detected",
        pre_execute=require_smtp,
        to="{{ params.mail_to }}",
        bcc="{{ params.mail_bcc or '' }}",
        subject="Drift detected",
        html_content="{{ drift_mail(ti, schema=params.output_database) }}",
        retries=2,
        retry_delay=datetime.timedelta(seconds=30),
    )
    no_drift = EmptyOperator(task_id="no_drift")

    [census, create] >> train >> track >> predict >> evaluate >> record >> drift >> [alert, no_drift]
