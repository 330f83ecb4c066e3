"""Evaluate predictions on the warehouse, and record the evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.contracts import Evaluation, Prediction, RecordedEvaluation
from airflow_provider_automl.errors import AutoMLError, InputError, listing
from airflow_provider_automl.operators._base import AutoMLOperator
from airflow_provider_automl.parameters import parse_classes, parse_flag, parse_names, parse_number, parse_ratio
from airflow_provider_automl.task import TaskIdentity
from airflow_provider_automl.tracking.tables import EVAL_RESULTS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_automl.hooks.automl import AutoMLHook

log = logging.getLogger(__name__)

#: Metric keys that count skipped rows, by reason.
_SKIPPED = ("null_labels", "nan_labels", "null_scores", "nan_scores", "null_weights", "unknown_labels")

#: Results for all rows that are keys of the returned dict, not of ``metrics``.
_TOP_LEVEL = (
    "problem_type", "auroc", "auroc_low", "auroc_high", "auroc_reason", "positives", "negatives", "rows_evaluated",
    "rows_skipped", "calibration", "groups",
)  # fmt: skip

#: The columns that a prediction writes: for binary the probability of the positive class, for multiclass all
#: probabilities as JSON text.
DEFAULT_SCORE = "predicted_proba"
DEFAULT_PROBABILITIES = "predicted_probabilities"


class AutoMLEvaluateOperator(AutoMLOperator):
    """Evaluate predictions exactly, by queries on the warehouse; no row leaves it.

    For a binary problem one query computes all metrics: the AUC with its 95 % interval, and those in ``metrics``.

    :param prediction: the dict of a prediction (``predict.output``); the following arguments override its entries.
    :param table: the table of predictions.
    :param model_name: the model that made them, and ``model_version``.
    :param test_table: the table that was predicted.
    :param dataset: a stable name of the evaluated data set, for a model that is evaluated on several: drift checks
        compare evaluations of the same data set only. Recorded.
    :param target_column: the column of true labels; rows where it is NULL are skipped, and counted.
    :param positive_class: binary only: the positive label; default: the prediction's.
    :param negative_classes: binary only: labels that count as negative although the model was not trained on them: a
        list, its JSON, or one label.
    :param max_unknown_labels: maximum ratio of rows whose labels are neither classes of the model nor in
        ``negative_classes``. These rows are skipped, and counted; above the maximum the task fails.
    :param score_column: binary only: the score of the positive class. Any other column than the default makes the
        problem binary.
    :param problem_type: ``binary``, ``multiclass`` or ``regression``; default: the prediction's, else ``binary``.
    :param prediction_column: the predicted class or number; default: ``predicted_<target>`` for multiclass and
        regression.
    :param metrics: names of metrics (a list, its JSON, or one name); default: all that fit the problem type.
    :param by: columns to group by, at most 1,000 groups; each group is evaluated separately as well.
    :param weight_column: the weight of each row, at least 0; rows where it is NULL are skipped, and counted.
    :param threshold: binary only: a score of at least this predicts the positive class.
    :param beta: for ``fbeta``: the weight of recall relative to precision.
    :param hivemall: add the metrics that Apache Hivemall computes, as ``hivemall_…`` in ``metrics``.
    :returns: :class:`~airflow_provider_automl.contracts.Evaluation`.
    """

    template_fields: Sequence[str] = (
        *AutoMLOperator.template_fields,
        "prediction", "table", "model_name", "model_version", "test_table", "dataset", "target_column",
        "positive_class", "negative_classes", "max_unknown_labels", "score_column", "problem_type", "prediction_column",
        "metrics", "by", "weight_column", "threshold", "beta", "hivemall",
    )  # fmt: skip
    template_fields_renderers = {"prediction": "json"}

    def __init__(
        self,
        *,
        prediction: Any = None,
        table: str | None = None,
        model_name: str | None = None,
        model_version: str | None = None,
        test_table: str | None = None,
        dataset: str | None = None,
        target_column: str | None = None,
        positive_class: str | float | bool | None = None,
        negative_classes: Sequence[str | float | bool] | str | None = None,
        max_unknown_labels: float | str = 0.05,
        score_column: str = DEFAULT_SCORE,
        problem_type: str | None = None,
        prediction_column: str | None = None,
        metrics: Sequence[str] | str | None = None,
        by: Sequence[str] | str | None = None,
        weight_column: str | None = None,
        threshold: float | str = 0.5,
        beta: float | str = 1.0,
        hivemall: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prediction = prediction
        self.table = table
        self.model_name = model_name
        self.model_version = model_version
        self.test_table = test_table
        self.dataset = dataset
        self.target_column = target_column
        self.positive_class = positive_class
        self.negative_classes = negative_classes
        self.max_unknown_labels = max_unknown_labels
        self.score_column = score_column
        self.problem_type = problem_type
        self.prediction_column = prediction_column
        self.metrics = metrics
        self.by = by
        self.weight_column = weight_column
        self.threshold = threshold
        self.beta = beta
        self.hivemall = hivemall
        self._remember_given()
        if metrics is not None and "{{" not in f"{metrics} {problem_type}" and isinstance(metrics, (str, list, tuple)):
            _metrics(metrics, problem_type)

    def perform(self, context: Context) -> Evaluation:
        """Resolve the arguments, evaluate on the warehouse, and return the results."""
        from airflow_provider_automl.warehouse.measures import evaluate

        given: Mapping[str, Any] = {}
        if self.prediction is not None:
            given = self.read_dict("prediction", Prediction, needs=())
        problem = self._problem(given)
        table = self.table or given.get("output_table")
        label = self.target_column or given.get("target_column")
        wanted = {"table": table, "target_column": label}
        if problem == "binary":
            wanted["positive_class"] = self._positive(given)
        if missing := [name for name, value in wanted.items() if value is None]:
            for name in missing:
                self.skip_without(name)
            raise InputError(f"Task {self.task_id!r} has no {', '.join(missing)}: set it, or prediction.")
        metrics = _metrics(self.metrics, problem)
        columns = self._columns(problem, str(table), str(label), wanted.get("positive_class"))
        measured = evaluate(
            self.hook.warehouse,
            str(table),
            label=str(label),
            problem_type=problem,
            **columns,
            classes=self._classes(given, problem, str(table), str(label), columns),
            max_unknown_labels=parse_ratio(self.max_unknown_labels, "max_unknown_labels"),
            # The AUC is always recorded, and comes from the same query at no extra cost.
            metrics=metrics if metrics is None or problem != "binary" else ("auroc", *metrics),
            by=parse_names(self.by, "by") or (),
            weight=self.weight_column,
            threshold=parse_number(self.threshold, "threshold"),
            beta=parse_number(self.beta, "beta"),
            hivemall=parse_flag(self.hivemall, "hivemall"),
        )
        if problem != "binary":
            measured |= dict.fromkeys(("auroc", "auroc_low", "auroc_high", "positives", "negatives"))
            measured["auroc_reason"] = f"the AUC requires a binary problem, and the problem is {problem}"
        metrics_by_name = _compact({key: value for key, value in measured.items() if key not in _TOP_LEVEL})
        evaluation: Evaluation = {
            "model_name": self.model_name or given.get("model_name"),
            "model_version": self.model_version or given.get("model_version"),
            "test_table": self.test_table or given.get("input_table"),
            "dataset": self.dataset,
            "table": str(table),
            "problem_type": measured["problem_type"],
            "auroc": measured["auroc"],
            "auroc_low": measured["auroc_low"],
            "auroc_high": measured["auroc_high"],
            "auroc_reason": measured["auroc_reason"],
            "positives": measured["positives"],
            "negatives": measured["negatives"],
            "rows_evaluated": measured["rows_evaluated"],
            "rows_skipped": measured["rows_skipped"],
            "metrics": metrics_by_name,
            "calibration": measured["calibration"],
            "groups": [_compact(group, drop=("_interval",)) for group in measured["groups"]],
        }
        self._log_results(evaluation)
        return evaluation

    def _problem(self, prediction: Mapping[str, Any]) -> str:
        from airflow_provider_automl.warehouse.formulas import METRICS

        problem = self.problem_type
        if problem is None:
            own_score = self.score_column != DEFAULT_SCORE
            problem = "binary" if own_score else prediction.get("problem_type") or "binary"
        if problem not in METRICS:
            raise InputError(
                f"The problem type {problem!r} is not supported: set problem_type to one of {', '.join(METRICS)}."
            )
        if problem != "binary" and self.positive_class is not None:
            raise InputError(
                f"The predictions of {prediction.get('model_name')!r} are {problem}, but positive_class is "
                f"{self.positive_class!r}, which is for binary problems: remove it, or set your own score_column."
            )
        return str(problem)

    def _positive(self, prediction: Mapping[str, Any]) -> Any:
        positive = self.positive_class if self.positive_class is not None else prediction.get("positive_class")
        if self.score_column == DEFAULT_SCORE:
            _check_scores(prediction, positive)
        return positive

    def _columns(self, problem: str, table: str, label: str, positive: Any) -> dict[str, Any]:
        """The prediction's columns, as arguments for the metrics of the problem type."""
        if problem == "binary":
            return {"score": self.score_column, "positive_class": positive, "prediction": self.prediction_column}
        columns: dict[str, Any] = {"prediction": self.prediction_column or f"predicted_{label}"}
        if problem == "multiclass" and DEFAULT_PROBABILITIES in self.hook.warehouse.columns(table):
            columns["probabilities"] = DEFAULT_PROBABILITIES
        return columns

    def _classes(
        self, prediction: Mapping[str, Any], problem: str, table: str, label: str, columns: Mapping[str, Any]
    ) -> list[Any] | None:
        """The known labels; None: all labels are known.

        :raises InputError: binary, and it is unknown whether further labels are negative.
        """
        from airflow_provider_automl.warehouse.measures import classes_of

        negative = parse_classes(self.negative_classes, "negative_classes")
        if problem != "binary":
            if negative:
                raise InputError(f"negative_classes is {negative!r}, but the problem is {problem}: remove it.")
            if problem == "regression":
                return None
            known = self._model_classes(prediction)
            if known is None and "probabilities" in columns:
                known = classes_of(self.hook.warehouse, table, label=label, probabilities=columns["probabilities"])
            return known
        # A user's own score may be one-vs-rest, whatever classes the model has.
        known = self._model_classes(prediction) if self.score_column == DEFAULT_SCORE else None
        return classes_of_two(self.hook, table, label, columns["positive_class"], known, negative)

    def _model_classes(self, prediction: Mapping[str, Any]) -> list[Any] | None:
        """The classes of the model that predicted; None if unknown."""
        name = self.model_name or prediction.get("model_name")
        return model_classes(self.hook, name, self.model_version or prediction.get("model_version"))

    def _log_results(self, evaluation: Evaluation) -> None:
        metrics = evaluation["metrics"]
        if evaluation["auroc"] is not None:
            self.log.info(
                "AUC of %s, computed by %s: %s (95 %% interval %s to %s) on %d rows",
                self.table or "the predictions", self.hook.warehouse.dialect,
                evaluation["auroc"], evaluation["auroc_low"], evaluation["auroc_high"], evaluation["rows_evaluated"],
            )  # fmt: skip
        numbers = {name: value for name, value in metrics.items() if name not in _SKIPPED}
        self.log.info("Metrics on %d rows: %s", evaluation["rows_evaluated"], numbers)
        if evaluation["rows_skipped"]:
            self.log.warning(
                "Skipped %d rows: NULL labels %d, NaN labels %d, NULL scores %d, NaN scores %d, NULL weights %d, "
                "labels that are not classes of the model %d",
                evaluation["rows_skipped"],
                *(metrics[key] for key in _SKIPPED),
            )


def _metrics(value: Sequence[str] | str | None, problem_type: str | None) -> tuple[str, ...] | None:
    """Parse and validate names of metrics.

    :raises InputError: unknown metrics, or metrics that do not fit the problem type.
    """
    from airflow_provider_automl.warehouse.formulas import METRICS, check_metrics

    names = parse_names(value, "metrics")
    return check_metrics(names, problem_type if problem_type in METRICS else None)


def model_classes(hook: AutoMLHook, name: str | None, version: str | None) -> list[Any] | None:
    """The classes of a model version; None if unknown."""
    if name is None or version is None:
        return None
    try:
        known = hook.models.manifest(hook.models.find(model_name=name, model_version=version)).get("classes")
    except (AutoMLError, OSError) as error:
        log.warning("Could not read the classes of model %r version %r: %s", name, version, error)
        return None
    return list(known) if known else None


def classes_of_two(
    hook: AutoMLHook, table: str, label: str, positive: Any, known: list[Any] | None, negative: list[Any]
) -> list[Any] | None:
    """The known labels of a binary problem; None: all labels are known.

    :param known: the model's classes, if available.
    :param negative: further labels that count as negative.
    :raises InputError: it is unknown whether further labels are negative.
    """
    from airflow_provider_automl.warehouse.measures import labels_of

    if any(_same_class(name, positive) for name in negative):
        raise InputError(f"negative_classes includes {positive!r}, which is positive_class: remove it.")
    if known is not None and any(_same_class(name, positive) for name in known):
        return [*known, *negative]
    if negative:
        return [positive, *negative]
    found = labels_of(hook.warehouse, table, label=label)
    others = [(text, n) for text, n in found if not _same_class(text, positive)]
    if len(others) > 1:
        seen = listing((f"{text!r} ({n:,} rows)" for text, n in others), 5)
        raise InputError(
            f"{label!r} of {table} has {len(others)}{' or more' if len(found) > 10 else ''} labels besides the "
            f"positive class {positive!r}: {seen}. List those that count as negative in negative_classes."
        )
    return None


def _compact(measured: Mapping[str, Any], drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """Drop empty details (interval bounds and methods, standard errors, reasons), and names that end in ``drop``."""
    from airflow_provider_automl.warehouse.formulas import NO_INTERVAL

    kept = {}
    for name, value in measured.items():
        detail = name.endswith(("_low", "_high", "_interval", "_reason", "_se"))
        if not (detail and value in (None, NO_INTERVAL)) and not name.endswith(drop or ("\0",)):
            kept[name] = value
    return kept


def _check_scores(prediction: Mapping[str, Any], positive_class: Any) -> None:
    """Check that the prediction's scores are those of ``positive_class``: otherwise the AUC would be inverted.

    :raises InputError: the scores are of another class, or the prediction is not binary.
    """
    problem, scored = prediction.get("problem_type"), prediction.get("positive_class")
    if problem not in (None, "binary"):
        raise InputError(
            f"The predictions of {prediction.get('model_name')!r} are {problem}, but problem_type is 'binary': remove "
            "it, or set your own score_column and its positive_class."
        )
    if scored is not None and not _same_class(scored, positive_class):
        raise InputError(
            f"positive_class is {positive_class!r}, but {DEFAULT_SCORE!r} is the probability of {scored!r}: evaluate "
            f"with positive_class={scored!r}, or train with positive_class={positive_class!r}."
        )


def _same_class(a: Any, b: Any) -> bool:
    """Whether two values are the same class: 1, 1.0 and "1" are, True and "true" are; whitespace matters."""
    if str(a).lower() == str(b).lower() and (str(a) == str(b) or bool in (type(a), type(b))):
        return True
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return False


class AutoMLRecordEvaluationOperator(AutoMLOperator):
    """Record one evaluation as one row of ``automl_eval_results``, exactly once.

    :param evaluation: the dict of an evaluation: ``evaluate.output``.
    :param schema: the schema of the table; default: the connection's tracking schema.
    :returns: :class:`~airflow_provider_automl.contracts.RecordedEvaluation`.
    """

    template_fields: Sequence[str] = (*AutoMLOperator.template_fields, "evaluation", "schema")
    template_fields_renderers = {"evaluation": "json"}

    def __init__(self, *, evaluation: Any, schema: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evaluation = evaluation
        self.schema = schema
        self._remember_given()

    def perform(self, context: Context) -> RecordedEvaluation:
        """Record the row."""
        evaluation = self.read_dict("evaluation", Evaluation, needs=("auroc",))
        task = TaskIdentity.of(context)
        tracking = self.hook.tracking(self.schema)
        record_id = task.record_id(evaluation.get("model_version"))
        row = {
            **evaluation,
            "session_time": task.session_time,
            "predictions_table": evaluation.get("table"),
            "dag_id": task.dag_id,
            "run_id": task.run_id,
        }
        recorded = tracking.record(EVAL_RESULTS, row, record_id=record_id)
        name, engine = tracking.name(EVAL_RESULTS), tracking.warehouse.dialect
        self.log.info("Evaluation in %s of %s: %s", name, engine, recorded)
        return {"table": tracking.name(EVAL_RESULTS), "record_id": record_id, "recorded": recorded}
