"""A training on a query that Trino would never finish."""

from __future__ import annotations

import datetime
import os

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_automl.operators.train import AutoMLTrainOperator


def tell_process(context):
    """So that the test can kill it."""
    context["ti"].xcom_push(key="process", value=os.getpid())


with DAG(dag_id="endless_query", schedule=None, start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)):
    AutoMLTrainOperator(
        task_id="train",
        pre_execute=tell_process,
        retries=1,
        retry_delay=datetime.timedelta(seconds=1),
        sql="SELECT l.orderkey, o.orderstatus FROM tpch.sf1000.lineitem l CROSS JOIN tpch.sf1000.orders o",
        target_column="orderstatus",
        model_name="endless",
    )
