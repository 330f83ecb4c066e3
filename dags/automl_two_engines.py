"""The workflow on two engines over the same tables: evaluation on Hive, everything else on Trino.

Needs a connection ``automl_default`` whose warehouse is Trino with the catalog of a Hive metastore, and a connection to
a HiveServer2 on that metastore. An operator's ``warehouse_conn_id`` overrides the warehouse of ``automl_default``, as
in the evaluation here. Missing tables are created with synthetic census data.
"""

from __future__ import annotations

import datetime

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator, AutoMLRecordEvaluationOperator
from airflow_provider_automl.operators.experiments import AutoMLTrackExperimentOperator
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.tables import AutoMLCensusTablesOperator, AutoMLCreateTablesOperator
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.sql.names import LINE_PATTERN, MODEL_PATTERN, NAME_PATTERN, SECONDS_PATTERN

with DAG(
    dag_id="automl_two_engines",
    description="Train, predict and record on Trino, evaluate on Hive, over one metastore",
    schedule=None,
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["automl"],
    doc_md=__doc__,
    params={
        "evaluation_conn_id": Param(
            "hiveserver2_default", type="string", pattern=MODEL_PATTERN, description="Connection to evaluate on"
        ),
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
        "target_column": Param("class", type="string", pattern=LINE_PATTERN, description="Column to predict"),
        "positive_class": Param(
            " >50K", type="string", pattern=LINE_PATTERN, description="Positive class; leading spaces count"
        ),
        "fit_time_limit": Param(
            "60 * 3", type="string", pattern=SECONDS_PATTERN, description="Seconds for the training, such as 60 * 3"
        ),
    },
) as dag:
    train_table = "{{ params.input_database }}.{{ params.train_data_table }}"
    test_table = "{{ params.input_database }}.{{ params.test_data_table }}"

    census = AutoMLCensusTablesOperator(
        task_id="load_census_if_not_exists", train_table=train_table, test_table=test_table
    )
    create = AutoMLCreateTablesOperator(task_id="create_db_tbl_if_not_exists", schema="{{ params.output_database }}")
    train = AutoMLTrainOperator(
        task_id="train",
        input_table=train_table,
        target_column="{{ params.target_column }}",
        positive_class="{{ params.positive_class }}",
        model_name="gluon_model_{{ ts_nodash }}",
        time_limit="{{ params.fit_time_limit }}",
    )
    track = AutoMLTrackExperimentOperator(
        task_id="track_experiment", experiment=train.output, schema="{{ params.output_database }}"
    )
    predict = AutoMLPredictOperator(
        task_id="predict",
        model=train.output,
        input_table=test_table,
        output_table="{{ params.output_database }}.predicted_{{ params.test_data_table }}_{{ ts_nodash }}",
    )
    evaluate = AutoMLEvaluateOperator(
        task_id="evaluation",
        warehouse_conn_id="{{ params.evaluation_conn_id }}",
        prediction=predict.output,
        target_column="{{ params.target_column }}",
        positive_class="{{ params.positive_class }}",
    )
    record = AutoMLRecordEvaluationOperator(
        task_id="record_evaluation", evaluation=evaluate.output, schema="{{ params.output_database }}"
    )

    [census, create] >> train >> track >> predict >> evaluate >> record
