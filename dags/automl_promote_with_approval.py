"""The newest model against the champion on the same rows; if it is better, a person decides whether it takes its place.

Expects a model: run ``automl_experiment`` once first. Needs Airflow 3.1, which asks people (under *Required Actions*);
below, this file has no DAG. The first model that is approved becomes champion without a comparison.
"""

from __future__ import annotations

import datetime

from airflow.providers.common.compat.sdk import DAG, AirflowException, Param
from airflow.providers.standard.operators.python import ShortCircuitOperator

from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.operators.predict import AutoMLPredictOperator
from airflow_provider_automl.operators.promote import AutoMLPromoteOperator
from airflow_provider_automl.sql.names import LINE_PATTERN, MODEL_PATTERN, NAME_PATTERN

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowException):  # below Airflow 3.1 this is how its module says so
    ApprovalOperator = None


def has_champion(alias: str) -> bool:
    """Whether anybody holds the alias."""
    return alias in AutoMLHook().models.aliases()


def is_true(better: bool) -> bool:
    """Whether a person is to be asked at all."""
    return better


if ApprovalOperator is not None:
    with DAG(
        dag_id="automl_promote_with_approval",
        description="Compare the newest model with the champion; promote it when a person says yes",
        schedule=None,
        start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        catchup=False,
        max_active_runs=1,
        tags=["automl"],
        doc_md=__doc__,
        params={
            "input_database": Param(
                "ml_datasets", type="string", pattern=NAME_PATTERN, description="Schema of the labelled table"
            ),
            "output_database": Param(
                "automl_test", type="string", pattern=NAME_PATTERN, description="Schema of the predictions"
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
            "model_name": Param(
                "gluon_model_*", type="string", pattern=MODEL_PATTERN, description="Challenger; * stands for the newest"
            ),
            "alias": Param(
                "census_champion", type="string", pattern=MODEL_PATTERN, description="Alias of the champion"
            ),
            "target_column": Param("class", type="string", pattern=LINE_PATTERN, description="Column of true labels"),
            "positive_class": Param(
                " >50K", type="string", pattern=LINE_PATTERN, description="Its positive class; leading blanks count"
            ),
        },
    ) as dag:
        # The census has no row id. Its rows are numbered in an order by all columns: the same for both models, for rows
        # that are equal in all columns are predicted alike.
        rows = {
            "input_table": "{{ params.input_database }}.{{ params.test_data_table }}",
            "order_by": "{{ params.row_order }}",
        }
        champion_exists = ShortCircuitOperator(
            task_id="champion_exists",
            python_callable=has_champion,
            op_args=["{{ params.alias }}"],
            ignore_downstream_trigger_rules=False,
        )
        predict_champion = AutoMLPredictOperator(
            task_id="predict_champion",
            alias="{{ params.alias }}",
            **rows,
            output_table="{{ params.output_database }}.champion_{{ params.test_data_table }}_{{ ts_nodash }}",
        )
        predict_challenger = AutoMLPredictOperator(
            task_id="predict_challenger",
            model_name="{{ params.model_name }}",
            **rows,
            output_table="{{ params.output_database }}.challenger_{{ params.test_data_table }}_{{ ts_nodash }}",
        )
        comparison = {
            "challenger": predict_challenger.output,
            "champion_predictions": predict_champion.output,
            "alias": "{{ params.alias }}",
            "row_id": "row_id",
            "target_column": "{{ params.target_column }}",
            "positive_class": "{{ params.positive_class }}",
            "trigger_rule": "none_failed",
        }
        compare = AutoMLPromoteOperator(task_id="compare", compare_only=True, **comparison)
        is_better = ShortCircuitOperator(
            task_id="is_better", python_callable=is_true, op_args=[compare.output["better"]]
        )
        approve = ApprovalOperator(
            task_id="approve",
            subject="Shall {{ ti.xcom_pull(task_ids='compare', key='challenger_name') }} be {{ params.alias }}?",
            body="{{ ti.xcom_pull(task_ids='compare', key='detail') }}",
            defaults="Reject",
            response_timeout=datetime.timedelta(days=7),
        )
        promote = AutoMLPromoteOperator(
            task_id="promote",
            assigned_by="{{ ti.xcom_pull(task_ids='approve')['responded_by_user']['name'] }}",
            **comparison,
        )

        champion_exists >> predict_champion
        compare >> is_better >> approve >> promote
