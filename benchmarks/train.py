"""Training by the operator, against a bare script on the same rows of the same DuckDB file with the same models.

The script does the same work: it fits, computes the leaderboard and the feature importance, and keeps what a prediction
needs. Hyperparameters are fixed, and there is no time limit, since a fit takes as long as its limit allows.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from types import SimpleNamespace
from typing import Any

from benchmarks._measure import Results, compare

IMPORTANCE_SECONDS = 10
_SCRIPT = """
import shutil, sys
import duckdb
from autogluon.tabular import TabularPredictor
database, table, path, target, hyperparameters, seconds = sys.argv[1:]
with duckdb.connect(database, read_only=True) as connection:
    frame = connection.sql(f"SELECT * FROM {table}").df()
predictor = TabularPredictor(target, eval_metric="roc_auc", path=path)
predictor.fit(frame, hyperparameters=eval(hyperparameters), excluded_model_types=["NN_TORCH", "FASTAI"])
predictor.leaderboard(extra_info=True, silent=True)
held_out = frame.loc[predictor.load_data_internal("val", return_y=False)[0].index]
predictor.feature_importance(held_out, time_limit=float(seconds), silent=True)
predictor.delete_models(models_to_keep="best", dry_run=False)
predictor.save_space()
"""


def main() -> None:
    """Run the benchmark; exits 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()

    from benchmarks._census import HYPERPARAMETERS, POSITIVE, TARGET, database, home, table

    os.environ["AIRFLOW_HOME"] = str(home())
    name = table(arguments.rows)

    def bare() -> None:
        with tempfile.TemporaryDirectory() as path:
            command = [sys.executable, "-c", _SCRIPT, str(database()), name, path, TARGET, repr(HYPERPARAMETERS)]
            subprocess.run([*command, str(IMPORTANCE_SECONDS)], check=True, capture_output=True)

    def ours() -> None:
        train(name, HYPERPARAMETERS, TARGET, POSITIVE)

    compared = compare(ours, bare, repeats=arguments.repeats)
    shutil.rmtree(home() / "automl" / "models", ignore_errors=True)
    results = Results()
    results.line(
        f"train {arguments.rows:,} rows: operator / bare script",
        compared.ratio,
        1 + max(0.10, compared.spread),
        note=f"{compared.ours:.1f} s against {compared.theirs:.1f} s; A/A spread {compared.spread:.1%}; "
        "ours also writes digests, a registry row and an executed notebook",
    )
    results.exit()


def train(table: str, hyperparameters: dict[str, Any], target: str, positive: str) -> dict[str, Any]:
    """Run the training operator without Airflow's scheduler; returns its result."""
    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_automl.operators.train import AutoMLTrainOperator

    now = datetime.datetime.now(datetime.UTC)
    dag = DAG("benchmark", schedule=None, start_date=now)
    task = AutoMLTrainOperator(
        task_id="train",
        dag=dag,
        input_table=table,
        target_column=target,
        positive_class=positive,
        model_name="benchmark",
        hyperparameters=hyperparameters,
        time_limit=24 * 3600,
        fi_time_limit=IMPORTANCE_SECONDS,
    )
    ti = SimpleNamespace(
        dag_id="benchmark", run_id=uuid.uuid4().hex, task_id="train", map_index=-1, try_number=1, max_tries=0,
        xcom_push=lambda key, value: None,
    )  # fmt: skip
    dag_run = SimpleNamespace(logical_date=now, run_after=now)
    result: dict[str, Any] = task.execute({"ti": ti, "dag_run": dag_run, "task": task})  # type: ignore[arg-type]
    return result


if __name__ == "__main__":
    main()
