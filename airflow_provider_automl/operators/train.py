"""Train a model on a table."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_automl.contracts import Training, keys
from airflow_provider_automl.errors import InputError, JobError
from airflow_provider_automl.jobs.worker import disk_full
from airflow_provider_automl.models.names import check_model_name, new_share
from airflow_provider_automl.operators._base import AutoMLOperator, notebook_source, private_files, require_columns
from airflow_provider_automl.operators.links import NotebookLink, QueryLink
from airflow_provider_automl.parameters import (
    parse_flag,
    parse_names,
    parse_object,
    parse_ratio,
    parse_report,
    parse_seconds,
    parse_whole,
)
from airflow_provider_automl.task import TaskIdentity
from airflow_provider_automl.tracking.state import ExperimentState

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_automl.warehouse.query import Query

#: The keys of the dict that a training returns, and that it leaves in XCom if it fails.
TRAINING_KEYS = keys(Training)

#: The arguments that are recorded as the experiment's ``options``.
_OPTIONS = (
    "problem_type", "positive_class", "eval_metric", "presets", "hyperparameters", "ignore_columns", "time_limit",
    "timeout", "memory_limit", "fi_time_limit", "oversampling_threshold", "proba_calibration", "sampling_threshold",
    "sample_weight", "random_seed", "share_model", "report", "notebook", "report_time_limit", "python",
)  # fmt: skip


class AutoMLTrainOperator(AutoMLOperator):
    """Train a model with AutoGluon on a table or a query, in a separate process.

    Versions are published atomically: the registry row is written after all files are in the model store. If an earlier
    try has already registered its version, a retry returns that version instead of training again; a cleared task
    trains a new one. Unless ``report=False``, an executed notebook is stored next to the model.

    If the training fails, its dict is still in XCom (as a whole, not as one XCom per key), with ``state`` ``failed``
    and the ``error``, so that ``AutoMLTrackExperimentOperator`` can record it.

    :param input_table: the table to train on, such as ``ml_datasets.gluon_train``; or
    :param sql: a SELECT in the warehouse's dialect.
    :param target_column: the column to predict. Rows where it is NULL are dropped, and counted.
    :param model_name: groups the versions; see :func:`~airflow_provider_automl.models.names.check_model_name`.
    :param problem_type: ``binary``, ``multiclass`` or ``regression``; inferred from the target by default.
    :param positive_class: binary only; default: AutoGluon's choice (the last class in sort order).
    :param eval_metric: an AutoGluon metric; ``auto`` is ``roc_auc`` for binary, else AutoGluon's default.
    :param presets: AutoGluon's presets, such as ``medium_quality``.
    :param hyperparameters: AutoGluon's hyperparameters.
    :param ignore_columns: columns not to use as features; default: ``time``, if that column exists.
    :param time_limit: seconds, or arithmetic such as ``"60 * 3"``; soft limit for AutoGluon's fits.
    :param timeout: seconds, or arithmetic; hard limit: the job is killed.
    :param memory_limit: such as ``8g``: the job is killed if its processes together use more.
    :param fi_time_limit: seconds, or arithmetic, for the feature importance.
    :param oversampling_threshold: binary only: target ratio of the minority to the majority class. Below it, minority
        rows are oversampled after the validation rows are split off, and probabilities are corrected for the true
        ratio. 0 disables it.
    :param proba_calibration: calibrate the predicted probabilities.
    :param sampling_threshold: maximum number of training rows; larger tables are sampled reproducibly in the warehouse.
    :param sample_weight: the column of row weights.
    :param random_seed: seed of the row sample and the training.
    :param share_model: publish the version under a UUID, returned as ``shared_model``.
    :param export_leaderboard: a table to write this version's leaderboard to.
    :param export_feature_importance: a table to write this version's feature importance to.
    :param report: whether to create a report. Without one, ``notebook_url`` is None, and the task is some seconds
        faster; leaderboard and feature importance are computed only if they are exported.
    :param hide_table_contents: keep rows of the table out of the notebook.
    :param notebook: your own notebook for the report: a path, absolute or relative to the DAG file, or a URI. See
        :mod:`airflow_provider_automl.jobs.sections` for the files in its ``directory``.
    :param report_time_limit: seconds, or arithmetic, after which the notebook is stopped; the model is kept.
    :param user_email: recorded with the experiment; default: the connection's.
    :param python: the interpreter that runs the job: a path, or a name from the connection's ``interpreters``.
    :returns: :class:`~airflow_provider_automl.contracts.Training`.
    """

    template_fields: Sequence[str] = (
        *AutoMLOperator.template_fields,
        "input_table", "sql", "target_column", "model_name", "problem_type", "positive_class", "eval_metric",
        "presets", "hyperparameters", "ignore_columns", "time_limit", "timeout", "memory_limit", "fi_time_limit",
        "oversampling_threshold", "proba_calibration", "sampling_threshold", "sample_weight", "random_seed",
        "share_model", "export_leaderboard", "export_feature_importance", "report", "hide_table_contents",
        "notebook", "report_time_limit", "user_email", "python",
    )  # fmt: skip
    template_fields_renderers = {"sql": "sql", "hyperparameters": "json"}
    operator_extra_links = (NotebookLink(), QueryLink())
    saves_models = True

    def __init__(
        self,
        *,
        input_table: str | None = None,
        sql: str | None = None,
        target_column: str,
        model_name: str,
        problem_type: str | None = None,
        positive_class: str | float | bool | None = None,
        eval_metric: str = "auto",
        presets: str | list[str] | None = None,
        hyperparameters: dict[str, Any] | str | None = None,
        ignore_columns: list[str] | str | None = None,
        time_limit: float | str = 60 * 60,
        timeout: float | str | None = None,
        memory_limit: str | None = None,
        fi_time_limit: float | str | None = None,
        oversampling_threshold: float | str = 0.001,
        proba_calibration: bool | str = True,
        sampling_threshold: int | str = 10_000_000,
        sample_weight: str | None = None,
        random_seed: int | str = 0,
        share_model: bool | str = False,
        export_leaderboard: str | None = None,
        export_feature_importance: str | None = None,
        report: bool | str = True,
        hide_table_contents: bool | str = False,
        notebook: str | None = None,
        report_time_limit: float | str = 10 * 60,
        user_email: str | None = None,
        python: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_table = input_table
        self.sql = sql
        self.target_column = target_column
        self.model_name = model_name
        self.problem_type = problem_type
        self.positive_class = positive_class
        self.eval_metric = eval_metric
        self.presets = presets
        self.hyperparameters = hyperparameters
        self.ignore_columns = ignore_columns
        self.time_limit = time_limit
        self.timeout = timeout
        self.memory_limit = memory_limit
        self.fi_time_limit = fi_time_limit
        self.oversampling_threshold = oversampling_threshold
        self.proba_calibration = proba_calibration
        self.sampling_threshold = sampling_threshold
        self.sample_weight = sample_weight
        self.random_seed = random_seed
        self.share_model = share_model
        self.export_leaderboard = export_leaderboard
        self.export_feature_importance = export_feature_importance
        self.report = report
        self.hide_table_contents = hide_table_contents
        self.notebook = notebook
        self.report_time_limit = report_time_limit
        self.user_email = user_email
        self.python = python
        self._remember_given()

    def experiment(self, context: Context) -> Training:
        """The training's dict before it starts, from its arguments and its run."""
        task = TaskIdentity.of(context)
        known = {
            "model_name": _text(self.model_name),
            "model_version": task.version(),
            "state": ExperimentState.RUNNING.value,
            "task_attempt_id": task.task_attempt_id,
            "session_time": task.session_time.isoformat(),
            "user_id": task.user_id,
            "user_email": _text(self.user_email),
            "eval_metric": _text(self.eval_metric),
            "problem_type": _text(self.problem_type),
            "target_column": _text(self.target_column),
            "positive_class": self.positive_class,
            "train_table": _text(self.input_table) if self.sql is None else f"({self.sql})",
            "options": {name: getattr(self, name) for name in _OPTIONS},
            "dag_id": task.dag_id,
            "run_id": task.run_id,
        }
        return cast("Training", {**dict.fromkeys(TRAINING_KEYS), **known})

    def execute(self, context: Context) -> Training:
        """Train; the dict is pushed to XCom even if the training fails."""
        experiment = self.experiment(context)
        with private_files(), self.terminal_input_errors():
            try:
                self.check_rendered()
                experiment = self.experiment(context)  # with the normalized arguments
                self.link_queries(context)
                experiment["user_email"] = self.user_email or self.hook.settings.user_email
                # Pushed at the start too, so that a killed training can be recorded.
                self._push(context, experiment)
                return self._train(context, experiment)
            except BaseException as error:
                experiment["state"] = ExperimentState.FAILED.value
                experiment["error"] = str(error) or type(error).__name__
                self._push(context, experiment)
                raise

    def _push(self, context: Context, experiment: Training) -> None:
        """Push the dict as one XCom: each push is a request, and a killed task has only seconds left."""
        context["ti"].xcom_push(key="return_value", value=dict(experiment))

    def _train(self, context: Context, experiment: Training) -> Training:
        task = TaskIdentity.of(context)
        name, version = check_model_name(self.model_name), task.version()
        registered = next((row for row in self.hook.models.versions(name) if row["model_version"] == version), None)
        if registered is not None:
            self.log.info("An earlier try of this task already trained %s version %s", name, version)
        else:
            registered = self._train_new(task, name, version)
        report = self.hook.models.training(registered)
        try:
            with self.work_directory(task) as work:
                self._export(registered, work, task)
        except InputError as error:  # a failed export must not fail a training whose model is registered
            report["warnings"] = [*report["warnings"], f"Export failed: {error}"]
            self.log.warning(report["warnings"][-1])
        trained = {key: value for key, value in report.items() if key in TRAINING_KEYS}
        experiment.update(cast("Training", trained))
        experiment.update(
            {
                "model_version": version,
                "model_uri": registered["model_uri"],
                "model_digest": registered["model_digest"],
                "shared_model": registered["shared_model"],
                "notebook_url": self.hook.report_url(registered, report["notebook_html"], report["notebook"]),
                "leaderboard_table": self.export_leaderboard,
                "feature_importance_table": self.export_feature_importance,
                "state": ExperimentState.COMPLETE.value,
                "score_val_reason": None if report["score_val"] is not None else "AutoGluon reported no finite score",
            }
        )
        return experiment

    def _train_new(self, task: TaskIdentity, name: str, version: str) -> dict[str, Any]:
        """Unload, train, save, register; returns the registry row."""
        timeout = parse_seconds(self.timeout, "timeout")
        threshold = parse_whole(self.sampling_threshold, "sampling_threshold")
        share = new_share() if parse_flag(self.share_model, "share_model") else None
        job = self._job(name, version) | {"about": task.about(self.input_table if self.sql is None else None)}
        source = self.source(self.input_table, self.sql)
        what = self.input_table or "The query"
        self._launcher = self.hook.launcher(
            self.python, memory_limit=self.memory_limit, timeout=timeout, log=self.log.info
        )
        self.preflight()
        self._check_exports(source)
        columns = self.hook.warehouse.columns(source)
        require_columns(columns, [self.target_column], what="target column", source=what)
        if self.target_column.lower() in ("proba", "probabilities"):
            raise InputError(
                f"The target column is {self.target_column!r}: its predictions would have the column name "
                f"'predicted_{self.target_column}', which is reserved for probabilities. Rename the column in a query."
            )
        require_columns(columns, job["ignore_columns"] or [], what="column to ignore", source=what)
        if self.sample_weight is not None:
            require_columns(columns, [self.sample_weight], what="weight column", source=what)
        with self.work_directory(task) as work:
            job["notebook"] = notebook_source(self.notebook, self.dag, work / "notebook.ipynb")
            rows = self.hook.warehouse.unload(source, work / "input", max_rows=threshold, seed=job["random_seed"])
            self.log.info("Unloaded %d rows of %s", rows, what)
            out = work / "version"
            out.mkdir()
            result = self._launcher.run({**job, "input": str(work / "input"), "model_dir": str(out / "model")}, work)
            report = _collect(result, out)
            try:
                (out / "training.json").write_text(json.dumps(report, allow_nan=False, indent=1))
                uri = self.hook.models.save(out, name, version)
            except OSError as error:
                if disk_full(error):
                    raise InputError(
                        f"Could not save the trained model: the disk of {self.hook.models.base} or of the staging "
                        "directory is full. Free some space and clear the task."
                    ) from error
                raise JobError(f"Could not save the trained model to {self.hook.models.base}: {error}.") from error
        row = self.hook.models.register(
            model_name=name,
            model_version=version,
            model_uri=uri,
            model_digest=result["model_digest"],
            shared_model=share,
            dag_id=task.dag_id,
            run_id=task.run_id,
        )
        self.log.info("Registered model %s version %s at %s", name, version, uri)
        return row

    def _job(self, name: str, version: str) -> dict[str, Any]:
        """The part of the job's description that comes from the arguments."""
        return {
            "kind": "train",
            "model_name": name,
            "model_version": version,
            "title": f"{name} {version}",
            "target_column": self.target_column,
            "problem_type": self.problem_type,
            "positive_class": self.positive_class,
            "eval_metric": self.eval_metric,
            "presets": self.presets,
            "hyperparameters": parse_object(self.hyperparameters, "hyperparameters"),
            "ignore_columns": parse_names(self.ignore_columns, "ignore_columns"),
            "time_limit": parse_seconds(self.time_limit, "time_limit"),
            "fi_time_limit": parse_seconds(self.fi_time_limit, "fi_time_limit"),
            "oversampling_threshold": parse_ratio(self.oversampling_threshold, "oversampling_threshold"),
            "proba_calibration": parse_flag(self.proba_calibration, "proba_calibration"),
            "sample_weight": self.sample_weight,
            "random_seed": parse_whole(self.random_seed, "random_seed", minimum=0),
            "hide_table_contents": parse_flag(self.hide_table_contents, "hide_table_contents"),
            "export_leaderboard": self.export_leaderboard is not None,
            "export_feature_importance": self.export_feature_importance is not None,
            "report": parse_report(self.report, self.notebook),
            "report_time_limit": parse_seconds(self.report_time_limit, "report_time_limit"),
        }

    def _check_exports(self, source: str | Query) -> None:
        """Reject invalid export tables before the training starts."""
        warehouse = self.hook.warehouse
        exports = [table for table in (self.export_leaderboard, self.export_feature_importance) if table is not None]
        for table in exports:
            warehouse.refuse_own(table)
            if warehouse.reads(source, table):
                raise InputError(f"The export table {table!r} is the input table: choose another name.")
        if len(exports) == 2 and warehouse.same_table(*exports):
            raise InputError(
                f"export_leaderboard and export_feature_importance are both {exports[0]!r}: use two tables."
            )

    def _export(self, registered: dict[str, Any], work: Path, task: TaskIdentity) -> None:
        """Load the leaderboard and the feature importance into their tables; a retry replaces its own rows."""
        of_this_version = {key: registered[key] for key in ("model_name", "model_version")}
        for part, table in (
            ("leaderboard", self.export_leaderboard),
            ("feature_importance", self.export_feature_importance),
        ):
            if table is None:
                continue
            files = self.hook.models.fetch(registered, work, part)
            if files is None:
                self.log.warning("This training has no %s: %s is unchanged", part.replace("_", " "), table)
                continue
            self.hook.warehouse.load(files, table, mode="append", key=task.key, delete_where=of_this_version)


def _text(value: Any) -> str | None:
    """An argument as text: one that is not, for example a number from a template, fails the task and is recorded."""
    return None if value is None else str(value)


def _collect(result: dict[str, Any], out: Path) -> dict[str, Any]:
    """Move the job's other output files below ``out``; returns its report with paths relative to ``out``."""
    report = dict(result)
    for key, place in (
        ("notebook", "report"),
        ("notebook_html", "report"),
        ("leaderboard", "leaderboard"),
        ("feature_importance", "feature_importance"),
    ):
        if not result.get(key):
            report[key] = None
            continue
        source = result[key]
        target = out / place if os.path.isdir(source) else out / place / os.path.basename(source)
        target.parent.mkdir(exist_ok=True)
        os.replace(source, target)
        report[key] = target.relative_to(out).as_posix()
    return report
