"""Predict with a model into a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_automl.contracts import ModelVersion, Prediction
from airflow_provider_automl.errors import AutoMLError, InputError
from airflow_provider_automl.operators._base import AutoMLOperator, notebook_source, require_columns
from airflow_provider_automl.operators.links import NotebookLink, QueryLink
from airflow_provider_automl.parameters import parse_flag, parse_names, parse_report, parse_seconds, parse_whole
from airflow_provider_automl.sql.names import ROW_ID
from airflow_provider_automl.task import TaskIdentity

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_automl.warehouse.query import Query


class AutoMLPredictOperator(AutoMLOperator):
    """Predict every row of a table or a query with one model; the output table is published atomically.

    The output has the input's columns, then ``predicted_<target>``; for classification also ``predicted_proba``
    (binary: of the positive class; multiclass: of the predicted class) and ``predicted_probabilities`` (JSON text by
    class). Rows are streamed: memory use does not depend on the table's size.

    :param model: the dict of a training (``train.output``); or
    :param model_name: a model's name, and ``model_version``; without a version, the newest complete one; a name that
        ends in ``*`` means the newest version of all models with that prefix; or
    :param shared_model: the UUID of a shared version; or
    :param alias: the alias of a version, such as ``census_champion``.
    :param input_table: the table to predict; or
    :param sql: a SELECT in the warehouse's dialect.
    :param output_table: the table to write; its schema is created if missing.
    :param output_mode: what to do if the table exists: ``overwrite`` it, or fail (``error``).
    :param rowid_column: a unique column of the input; if set, the output has only this column and the predictions.
    :param ignore_columns: columns not to use as features; the output still contains them.
    :param order_by: number the rows from 1 in the order of these columns, in a column ``row_id`` of the output (not
        used as a feature): for a table without an id on which two models are compared. The order of rows that are
        equal in all these columns is undefined: use a unique column, or all columns.
    :param memory_limit: such as ``4g``; the job is killed if it uses more.
    :param timeout: seconds, or arithmetic, after which the job is killed.
    :param batch_rows: number of rows per prediction batch.
    :param report: whether to create a report. Without one, ``notebook_url`` is None, and the task is some seconds
        faster.
    :param hide_table_contents: keep rows of the table out of the notebook.
    :param notebook: see :class:`.AutoMLTrainOperator`.
    :param report_time_limit: see :class:`.AutoMLTrainOperator`.
    :param python: the interpreter that runs the job: a path, or a name from the connection's ``interpreters``;
        default: the first of these with the model's versions of AutoGluon and Python.
    :returns: :class:`~airflow_provider_automl.contracts.Prediction`.
    """

    template_fields: Sequence[str] = (
        *AutoMLOperator.template_fields,
        "model", "model_name", "model_version", "shared_model", "alias", "input_table", "sql", "output_table",
        "output_mode", "rowid_column", "ignore_columns", "order_by", "memory_limit", "timeout", "batch_rows",
        "report", "hide_table_contents", "notebook", "report_time_limit", "python",
    )  # fmt: skip
    template_fields_renderers = {"sql": "sql", "model": "json"}
    operator_extra_links = (NotebookLink(), QueryLink())

    def __init__(
        self,
        *,
        model: Any = None,
        model_name: str | None = None,
        model_version: str | None = None,
        shared_model: str | None = None,
        alias: str | None = None,
        input_table: str | None = None,
        sql: str | None = None,
        output_table: str,
        output_mode: Literal["overwrite", "error"] = "overwrite",
        rowid_column: str | None = None,
        ignore_columns: list[str] | str | None = None,
        order_by: list[str] | str | None = None,
        memory_limit: str | None = None,
        timeout: float | str | None = None,
        batch_rows: int | str = 50_000,
        report: bool | str = True,
        hide_table_contents: bool | str = False,
        notebook: str | None = None,
        report_time_limit: float | str = 10 * 60,
        python: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.model_name = model_name
        self.model_version = model_version
        self.shared_model = shared_model
        self.alias = alias
        self.input_table = input_table
        self.sql = sql
        self.output_table = output_table
        self.output_mode = output_mode
        self.rowid_column = rowid_column
        self.ignore_columns = ignore_columns
        self.order_by = order_by
        self.memory_limit = memory_limit
        self.timeout = timeout
        self.batch_rows = batch_rows
        self.report = report
        self.hide_table_contents = hide_table_contents
        self.notebook = notebook
        self.report_time_limit = report_time_limit
        self.python = python
        self._remember_given()

    def perform(self, context: Context) -> Prediction:
        """Unload the input, predict, and publish the output table."""
        task = TaskIdentity.of(context)
        timeout = parse_seconds(self.timeout, "timeout")
        batch_rows = parse_whole(self.batch_rows, "batch_rows")
        ignored = parse_names(self.ignore_columns, "ignore_columns")
        order = parse_names(self.order_by, "order_by")
        report = parse_report(self.report, self.notebook)
        hide = parse_flag(self.hide_table_contents, "hide_table_contents")
        report_time_limit = parse_seconds(self.report_time_limit, "report_time_limit")
        source = self.source(self.input_table, self.sql)
        what = self.input_table or "The query"
        publishing = self.hook.staging(f"{task.task_id[:60]}-{task.key}-{task.generation}.publishing")
        retried = task.try_number > 1 and publishing.exists()
        self._check_output(source, retried)
        row = self.hook.models.find(**self._model_selector())
        python = self.hook.interpreter_for(row) if self.python is None else self.python
        self._launcher = self.hook.launcher(python, memory_limit=self.memory_limit, timeout=timeout, log=self.log.info)
        self.preflight()
        self.log.info("Predicting with model %s version %s", row["model_name"], row["model_version"])
        warehouse = self.hook.warehouse
        columns = warehouse.columns(source)
        require_columns(columns, ignored or [], what="column to ignore", source=what)
        if order is not None:
            self._check_order(order, columns, what)
            ignored = [*(ignored or ()), ROW_ID]
        if self.rowid_column is not None:
            require_columns(
                {**columns, ROW_ID: ""} if order else columns, [self.rowid_column], what="row id column", source=what
            )
        names = [*([ROW_ID] if order else []), *columns] if self.rowid_column is None else [self.rowid_column]
        added = self._added(row)
        kept = {name: columns.get(name, "BIGINT") for name in names}
        warehouse.refuse_columns({**kept, **added}, self.output_table)
        with self.work_directory(task) as work, self.hook.models.opened(row, work) as model:
            own_notebook = notebook_source(self.notebook, self.dag, work / "notebook.ipynb")
            unloaded = warehouse.unload(source, work / "input", number_by=order or ())
            self.log.info("Unloaded %d rows of %s", unloaded, what)
            warehouse.refuse_rows(work / "input", names, added, self.output_table)
            job = {
                "kind": "predict",
                "input": str(work / "input"),
                "output": str(work / "output"),
                "model_dir": str(model),
                "model_digest": row["model_digest"],
                "rowid_column": self.rowid_column,
                "ignore_columns": ignored,
                "batch_rows": batch_rows,
                "title": f"{self.output_table}: predictions by {row['model_name']} {row['model_version']}",
                "about": task.about(
                    None if self.sql is not None else self.input_table,
                    **{"the model's own report": self.hook.report_url(row, "report/train.html", None)},
                ),
                "report": report,
                "notebook": own_notebook,
                "report_time_limit": report_time_limit,
                "hide_table_contents": hide,
            }
            result = self._launcher.run(job, work)
            if self.output_mode == "error":
                publishing.touch()  # tells a retry after a kill that the table is its own
            mode: Literal["overwrite", "error"] = "overwrite" if retried else self.output_mode
            rows = warehouse.load(work / "output", self.output_table, mode=mode, key=task.key)
            notebook_url, notebook_error = self._keep_report(row, result, task, work)
        self.log.info("Wrote %d predictions to %s", rows, self.output_table)
        return {
            "output_table": self.output_table,
            "input_table": self.input_table if self.sql is None else f"({self.sql})",
            "model_name": row["model_name"],
            "model_version": row["model_version"],
            "rows": rows,
            "positive_class": result["positive_class"],
            "problem_type": result["problem_type"],
            "target_column": result["target_column"],
            "notebook_url": notebook_url,
            "notebook_error": notebook_error,
        }

    @staticmethod
    def _check_order(order: list[str], columns: Mapping[str, str], what: str) -> None:
        if not order:
            raise InputError("order_by is empty: set it to a unique column, or to all columns.")
        require_columns(columns, order, what="column to order by", source=what)
        if taken := [name for name in columns if name.lower() == ROW_ID]:
            raise InputError(f"{what} already has a column {taken[0]!r}: remove order_by, or rename the column.")

    def _keep_report(
        self, row: dict[str, Any], result: dict[str, Any], task: TaskIdentity, work: Path
    ) -> tuple[str | None, str | None]:
        """Save the report next to the model; a store that is not writable does not fail the prediction.

        :returns: the report's URL, and what was wrong with it.
        """
        files = {key: Path(result[key]) for key in ("notebook", "notebook_html") if result[key]}
        if not files:
            return None, result["notebook_error"]
        key = f"{task.key}-{task.generation}"
        about = work / "run.json"  # the report's DAG, whose permissions apply to it
        try:
            about.write_text(json.dumps({"dag_id": task.dag_id, "run_id": task.run_id, "task_id": task.task_id}))
            self.hook.models.add_report(row, key, [about, *files.values()])
        except (OSError, AutoMLError, ValueError) as error:
            message = f"Could not save the report next to the model: {error}"
            self.log.warning(message)
            return None, message
        paths = {name: f"predictions/{key}/{path.name}" for name, path in files.items()}
        url = self.hook.report_url(row, paths.get("notebook_html"), paths.get("notebook"))
        return url, result["notebook_error"]

    def _added(self, row: dict[str, Any]) -> dict[str, str]:
        """The columns that the prediction adds, with their neutral SQL types; a label of any other type is VARCHAR."""
        about = self.hook.models.manifest(row)
        predicted = f"predicted_{about['target_column']}"
        if about["problem_type"] == "regression":
            return {predicted: "DOUBLE"}
        label = {"int64": "BIGINT", "int32": "INTEGER", "double": "DOUBLE"}.get(about["label_type"], "VARCHAR")
        return {predicted: label, "predicted_proba": "DOUBLE", "predicted_probabilities": "VARCHAR"}

    def _model_selector(self) -> dict[str, Any]:
        """The arguments of :meth:`.ModelStore.find` for the selected model."""
        if self.alias is not None:
            selector: dict[str, Any] = {"alias": self.alias}
        elif self.shared_model is not None:
            selector = {"shared_model": self.shared_model}
        elif self.model is not None:
            model = self.read_dict("model", ModelVersion)
            selector = {"model_name": model["model_name"], "model_version": model.get("model_version")}
        else:
            selector = {"model_name": self.model_name, "model_version": self.model_version}
        ways = [way is not None for way in (self.model, self.model_name, self.shared_model, self.alias)]
        if sum(ways) != 1:
            raise InputError(
                f"Task {self.task_id!r} selects {'no' if not any(ways) else 'more than one'} model: "
                "set exactly one of model, model_name (with model_version), shared_model and alias."
            )
        if self.model_version is not None and self.model_name is None:
            raise InputError(
                f"Task {self.task_id!r} sets model_version {self.model_version!r} without model_name: remove it, or "
                "set model_name instead of model, shared_model or alias."
            )
        return selector

    def _check_output(self, source: str | Query, retried: bool) -> None:
        """Reject an output table that would overwrite other data; a retry overwrites its own output."""
        warehouse = self.hook.warehouse
        if self.output_mode not in ("overwrite", "error"):
            raise InputError(f"output_mode is {self.output_mode!r}: expected 'overwrite' or 'error'.")
        warehouse.refuse_own(self.output_table)
        if warehouse.reads(source, self.output_table):
            raise InputError(f"output_table {self.output_table!r} is the input table: choose another name.")
        if self.output_mode == "error" and not retried and warehouse.exists(self.output_table):
            raise InputError(
                f"output_table {self.output_table!r} exists and output_mode is 'error': "
                "drop the table, choose another name, or set output_mode='overwrite'."
            )
