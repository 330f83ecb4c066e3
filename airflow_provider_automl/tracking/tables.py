"""The columns of this provider's tables: those of the documented workflow first, in their order.

Later versions may append columns, which are added to existing tables by ``ALTER TABLE``. Columns are never dropped or
renamed. Types are neutral SQL and are mapped to the engine's types; times are UTC; JSON is text.
"""

from __future__ import annotations

from typing import Final

EXPERIMENTS: Final = "automl_experiments"
EVAL_RESULTS: Final = "automl_eval_results"
DRIFT_RESULTS: Final = "automl_drift_results"
BASELINES: Final = "automl_baselines"
COMPARISONS: Final = "automl_comparisons"
MODELS: Final = "automl_models"
MODEL_ALIASES: Final = "automl_model_aliases"

_RUN = {"dag_id": "VARCHAR", "run_id": "VARCHAR"}
_RECORD = {"record_id": "VARCHAR", "recorded_at": "TIMESTAMP"}

COLUMNS: Final[dict[str, dict[str, str]]] = {
    EXPERIMENTS: {
        "task_attempt_id": "VARCHAR",
        "session_time": "TIMESTAMP",
        "user_id": "VARCHAR",
        "user_email": "VARCHAR",
        "model_name": "VARCHAR",
        "shared_model": "VARCHAR",
        "notebook_url": "VARCHAR",
        "model_version": "VARCHAR",
        "state": "VARCHAR",
        "error": "VARCHAR",
        **_RUN,
        "train_table": "VARCHAR",
        "target_column": "VARCHAR",
        "positive_class": "VARCHAR",
        "problem_type": "VARCHAR",
        "eval_metric": "VARCHAR",
        "score_val": "DOUBLE",
        "train_rows": "BIGINT",
        "fit_seconds": "DOUBLE",
        "model_uri": "VARCHAR",
        "model_digest": "VARCHAR",
        "autogluon_version": "VARCHAR",
        "python_version": "VARCHAR",
        "options": "VARCHAR",
        **_RECORD,
    },
    EVAL_RESULTS: {
        "session_time": "TIMESTAMP",
        "model_name": "VARCHAR",
        "test_table": "VARCHAR",
        "auroc": "DOUBLE",
        "model_version": "VARCHAR",
        "auroc_low": "DOUBLE",
        "auroc_high": "DOUBLE",
        "rows_evaluated": "BIGINT",
        "positives": "BIGINT",
        "negatives": "BIGINT",
        "predictions_table": "VARCHAR",
        "metrics": "VARCHAR",
        **_RUN,
        **_RECORD,
        "dataset": "VARCHAR",
    },
    DRIFT_RESULTS: {
        "session_time": "TIMESTAMP",
        "model_name": "VARCHAR",
        "model_version": "VARCHAR",
        "table_name": "VARCHAR",
        "check_name": "VARCHAR",
        "feature": "VARCHAR",
        "statistic": "DOUBLE",
        "p_value": "DOUBLE",
        "threshold": "DOUBLE",
        "drifted": "BOOLEAN",
        "detail": "VARCHAR",
        **_RUN,
        **_RECORD,
        "task_id": "VARCHAR",
        "dataset": "VARCHAR",
        "check_key": "VARCHAR",
        "error": "DOUBLE",
        "alarm": "VARCHAR",
        "episode_id": "VARCHAR",
        "told": "BOOLEAN",
        "retrain": "BOOLEAN",
    },
    BASELINES: {
        "baseline_id": "VARCHAR",
        "dag_id": "VARCHAR",
        "task_id": "VARCHAR",
        "model_name": "VARCHAR",
        "model_version": "VARCHAR",
        "dataset": "VARCHAR",
        "metric": "VARCHAR",
        "evaluations": "VARCHAR",
        "level": "DOUBLE",
        "error": "DOUBLE",
        "made_by": "VARCHAR",
        "reason": "VARCHAR",
        "made_at": "TIMESTAMP",
        "session_time": "TIMESTAMP",
        "run_id": "VARCHAR",
        "episode_id": "VARCHAR",
        "replaced_by": "VARCHAR",
        **_RECORD,
    },
    COMPARISONS: {
        "session_time": "TIMESTAMP",
        "alias": "VARCHAR",
        "metric": "VARCHAR",
        "challenger_name": "VARCHAR",
        "challenger_version": "VARCHAR",
        "champion_name": "VARCHAR",
        "champion_version": "VARCHAR",
        "challenger_value": "DOUBLE",
        "champion_value": "DOUBLE",
        "difference": "DOUBLE",
        "p_value": "DOUBLE",
        "promoted": "BOOLEAN",
        "detail": "VARCHAR",
        **_RUN,
        **_RECORD,
    },
    MODELS: {
        "model_name": "VARCHAR",
        "model_version": "VARCHAR",
        "model_uri": "VARCHAR",
        "model_digest": "VARCHAR",
        "shared_model": "VARCHAR",
        "created_at": "TIMESTAMP",
        **_RUN,
        "deleted_at": "TIMESTAMP",
        **_RECORD,
    },
    MODEL_ALIASES: {
        "alias": "VARCHAR",
        "alias_seq": "BIGINT",
        "model_name": "VARCHAR",
        "model_version": "VARCHAR",
        "assigned_at": "TIMESTAMP",
        "assigned_by": "VARCHAR",
        "reason": "VARCHAR",
        **_RECORD,
    },
}

#: Result tables, in a schema of a team's choice; the other tables are the model registry of the automl connection.
RESULT_TABLES: Final = (EXPERIMENTS, EVAL_RESULTS, DRIFT_RESULTS, BASELINES, COMPARISONS)
REGISTRY_TABLES: Final = (MODELS, MODEL_ALIASES)
