"""Compare the newest model with the champion on the same rows; if it is better, ask a person to approve it.

Needs a model: run ``automl_experiment`` once first. Needs Airflow 3.1 or later for approvals (*Required Actions*);
on earlier versions this file defines no DAG. The first approved model becomes champion without a comparison.
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
except (ImportError, AirflowException):  # the module cannot be imported before Airflow 3.1
    ApprovalOperator = None


def has_champion(alias: str) -> bool:
    """Whether the alias points to a model."""
    return alias in AutoMLHook().models.aliases()


def is_true(better: bool) -> bool:
    """Whether to ask for approval."""
    return better


if ApprovalOperator is not None:
    with DAG(
        dag_id="automl_promote_with_approval",
        description="Compare the newest model with the champion; promote it after approval",
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
                description="Columns that order its rows: an id, or all columns",
            ),
            "model_name": Param(
                "gluon_model_*", type="string", pattern=MODEL_PATTERN, description="Challenger; * selects the newest"
            ),
            "alias": Param(
                "census_champion", type="string", pattern=MODEL_PATTERN, description="Alias of the champion"
            ),
            "target_column": Param("class", type="string", pattern=LINE_PATTERN, description="Column with the labels"),
            "positive_class": Param(
                " >50K", type="string", pattern=LINE_PATTERN, description="Positive class; leading spaces count"
            ),
        },
    ) as dag:
        # The census has no row id, so rows are numbered in the order of all columns. The numbers fit both models, since
        # rows that are equal in all columns get equal predictions.
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
            subject="Promote {{ ti.xcom_pull(task_ids='compare', key='challenger_name') }} to {{ params.alias }}?",
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
