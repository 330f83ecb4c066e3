"""Measure predictions on the warehouse, and record the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.operators._base import AutoMLOperator, Run
from airflow_provider_automl.tracking.tables import EVAL_RESULTS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


#: Why rows were not evaluated, each with its count.
_SKIPPED = ("null_labels", "nan_labels", "null_scores", "nan_scores")


#: The column that a prediction writes: of a binary target the probability of the positive class.
DEFAULT_SCORE = "predicted_proba"


class AutoMLEvaluateOperator(AutoMLOperator):
    """Measure the AUC and its 95 % interval exactly, in one query on the warehouse; no row leaves it.

    :param prediction: a prediction's dict (``predict.output``); each entry can be given by itself instead:
    :param table: the table of predictions.
    :param model_name: the model that made them, and ``model_version``.
    :param test_table: the table that was predicted.
    :param target_column: the column of true labels; rows where it is NULL are skipped, and counted.
    :param positive_class: the label that counts as positive; default: the prediction's.
    :param score_column: the score of the positive class.
    :returns: ``model_name``, ``model_version``, ``test_table``, ``table``, ``auroc``, ``auroc_low``, ``auroc_high``,
        ``auroc_reason`` (why the interval is missing, else None), ``positives``, ``negatives``, ``rows_evaluated``,
        ``rows_skipped``, ``metrics`` (further measures by name).
    """

    template_fields: Sequence[str] = (
        *AutoMLOperator.template_fields,
        "prediction", "table", "model_name", "model_version", "test_table", "target_column", "positive_class",
        "score_column",
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
        target_column: str | None = None,
        positive_class: str | float | bool | None = None,
        score_column: str = DEFAULT_SCORE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prediction = prediction
        self.table = table
        self.model_name = model_name
        self.model_version = model_version
        self.test_table = test_table
        self.target_column = target_column
        self.positive_class = positive_class
        self.score_column = score_column
        self._remember_given()

    def perform(self, context: Context) -> dict[str, Any]:
        """One query, one dict."""
        from airflow_provider_automl.warehouse.measures import auc

        if not isinstance(self.prediction, (Mapping, type(None))):
            raise InputError(f"prediction is {str(self.prediction)[:100]!r}: give the dict of a prediction, or table.")
        given: dict[str, Any] = dict(self.prediction or {})
        table = self.table or given.get("output_table")
        label = self.target_column or given.get("target_column")
        positive = self.positive_class if self.positive_class is not None else given.get("positive_class")
        if self.score_column == DEFAULT_SCORE:
            _check_scores(given, positive)
        missing = [
            name
            for name, value in (("table", table), ("target_column", label), ("positive_class", positive))
            if value is None
        ]
        if missing:
            raise InputError(f"Task {self.task_id!r} knows no {', '.join(missing)}: give it, or prediction.")
        measured = auc(
            self.hook.warehouse, str(table), label=str(label), score=self.score_column, positive_class=positive
        )
        self.log.info(
            "AUC of %s, by %s, is %s (95 %% interval %s to %s) on %d rows",
            table, self.hook.warehouse.dialect,
            *(measured[key] for key in ("auroc", "auroc_low", "auroc_high", "rows_evaluated")),
        )  # fmt: skip
        if measured["rows_skipped"]:
            self.log.warning(
                "%d rows were skipped: labels that are NULL %d, NaN %d; scores that are NULL %d, NaN %d",
                *(measured[key] for key in ("rows_skipped", *_SKIPPED)),
            )
        return {
            "model_name": self.model_name or given.get("model_name"),
            "model_version": self.model_version or given.get("model_version"),
            "test_table": self.test_table or given.get("input_table"),
            "table": table,
            **{key: measured[key] for key in ("auroc", "auroc_low", "auroc_high")},
            "auroc_reason": measured["reason"],
            **{key: measured[key] for key in ("positives", "negatives", "rows_evaluated", "rows_skipped")},
            "metrics": {key: measured[key] for key in ("auroc_se", *_SKIPPED)},
        }


def _check_scores(prediction: Mapping[str, Any], positive_class: Any) -> None:
    """Check that the prediction's scores are of that class: of any other one the AUC would be upside down.

    :raises InputError: they are not, or there are more than two classes, or none.
    """
    problem, scored = prediction.get("problem_type"), prediction.get("positive_class")
    if problem not in (None, "binary"):
        raise InputError(
            f"The predictions of {prediction.get('model_name')!r} are {problem}: an AUC compares two classes. Name a "
            "score_column of your own and its positive_class, or measure them otherwise."
        )
    if scored is not None and not _same_class(scored, positive_class):
        raise InputError(
            f"positive_class is {positive_class!r}, but {DEFAULT_SCORE!r} is the probability of {scored!r}: evaluate "
            f"with positive_class={scored!r}, or train with positive_class={positive_class!r}."
        )


def _same_class(a: Any, b: Any) -> bool:
    """Whether two spellings mean the same class: 1, 1.0 and "1" do, True and "true" do; blanks count."""
    if str(a).lower() == str(b).lower() and (str(a) == str(b) or bool in (type(a), type(b))):
        return True
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return False


class AutoMLRecordEvaluationOperator(AutoMLOperator):
    """Record one evaluation as one row of ``automl_eval_results``, exactly once.

    :param evaluation: the evaluation's dict: ``evaluate.output``.
    :param schema: the schema of the table; default: the connection's tracking schema.
    :returns: ``table``, ``record_id``, ``recorded`` (``inserted``, ``unchanged`` or ``replaced``).
    """

    template_fields: Sequence[str] = (*AutoMLOperator.template_fields, "evaluation", "schema")
    template_fields_renderers = {"evaluation": "json"}

    def __init__(self, *, evaluation: Any, schema: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evaluation = evaluation
        self.schema = schema
        self._remember_given()

    def perform(self, context: Context) -> dict[str, Any]:
        """Record the row."""
        if not isinstance(self.evaluation, Mapping) or "auroc" not in self.evaluation:
            raise InputError(f"evaluation is {str(self.evaluation)[:100]!r}: give the dict of an evaluation.")
        run = Run.of(context)
        tracking = self.hook.tracking(self.schema)
        record_id = run.record_id(self.evaluation.get("model_version"))
        row = {
            **self.evaluation,
            "session_time": run.session_time,
            "predictions_table": self.evaluation.get("table"),
            "dag_id": run.dag_id,
            "run_id": run.run_id,
        }
        recorded = tracking.record(EVAL_RESULTS, row, record_id=record_id)
        where = (tracking.name(EVAL_RESULTS), self.hook.warehouse.dialect)
        self.log.info("%s: the evaluation is in %s of %s", recorded, *where)
        return {"table": tracking.name(EVAL_RESULTS), "record_id": record_id, "recorded": recorded}
