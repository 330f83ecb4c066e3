"""Promote a challenger model if it is better than the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_automl.contracts import ModelVersion, Prediction, Promotion
from airflow_provider_automl.errors import InputError, shortened
from airflow_provider_automl.models.aliases import change_of
from airflow_provider_automl.operators._base import AutoMLOperator
from airflow_provider_automl.operators.evaluate import (
    DEFAULT_SCORE,
    _check_scores,
    classes_of_two,
    model_classes,
)
from airflow_provider_automl.parameters import parse_classes, parse_flag, parse_ratio
from airflow_provider_automl.task import TaskIdentity
from airflow_provider_automl.tracking.tables import COMPARISONS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: The metrics that models can be compared by, with their names in messages.
METRICS = {
    "auroc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "mae": "mean absolute error",
    "mse": "mean squared error",
}
_NEED_POSITIVE_CLASS = ("auroc", "log_loss", "brier")
_RESULTS = ("challenger_value", "champion_value", "difference", "difference_low", "difference_high", "p_value", "rows")


class AutoMLPromoteOperator(AutoMLOperator):
    """Move an alias from the champion to a challenger if the challenger is better on the same labelled rows.

    Both models must have predicted the same table. They are compared row by row, in one query on the warehouse: AUC by
    DeLong's paired test, other metrics by the paired difference of means
    (:mod:`~airflow_provider_automl.warehouse.paired`). The alias's history records who moved it, when, and why.

    The task is idempotent: a retry after the promotion detects it, and a challenger that is already the champion
    stays champion. If the alias is unassigned, the challenger gets it without a comparison. If the alias changes during
    the comparison, the task fails, and its retry compares again.

    :param challenger: the dict of a training or a prediction: ``train.output``, ``predict.output``.
    :param alias: the alias to move, such as ``census_champion``.
    :param challenger_predictions: the challenger's predictions: a table, or the dict of a prediction; default:
        ``challenger``, if it is the dict of a prediction.
    :param champion_predictions: the champion's predictions: a table, or the dict of a prediction. A dict must be of the
        champion; a table is not checked. May render to None if the alias is unassigned.
    :param row_id: the column in both tables that identifies rows: integers, text or dates. Required to compare.
    :param target_column: the column of true labels in both tables; default: that of the predictions.
    :param positive_class: for ``auroc``, ``log_loss`` and ``brier``; default: that of the predictions.
    :param negative_classes: for these metrics, labels that count as negative although the model was not trained on
        them. Other labels that are not classes of the challenger are excluded from both tables, and counted.
    :param max_unknown_labels: maximum ratio of rows with such excluded labels.
    :param metric: ``auroc``, ``log_loss``, ``brier``, ``accuracy``, ``mae`` or ``mse``.
    :param prediction_column: the column to evaluate in both tables; default: the one that predictions write.
    :param alpha: with ``superior``: the significance level, the probability of promoting a challenger that is not
        better.
    :param mode: ``superior``: promote if better, by a one-sided test at ``alpha``; ``non_inferior``: promote if the
        lower end of the difference's 95 % interval is above ``-margin``.
    :param margin: with ``non_inferior``: the non-inferiority margin, in units of the metric.
    :param max_unmatched: maximum ratio of row ids that are in only one of the tables.
    :param compare_only: report the result and change nothing, so that a person can approve it.
    :param only_if_vacant: assign the alias if it is unassigned, and change nothing otherwise. The challenger may then
        be ``{"model_name": "census_*"}`` without a version, which means the newest.
    :param assigned_by: recorded in the alias's history; default: the user who triggered the run, else the DAG's owner.
    :param schema: where the comparison is recorded, as a row of ``automl_comparisons``; default: the connection's
        tracking schema.
    :returns: :class:`~airflow_provider_automl.contracts.Promotion`.
    """

    template_fields: Sequence[str] = (
        *AutoMLOperator.template_fields,
        "challenger", "alias", "challenger_predictions", "champion_predictions", "row_id", "target_column",
        "positive_class", "negative_classes", "max_unknown_labels", "metric", "prediction_column", "alpha", "mode",
        "margin", "max_unmatched", "compare_only",
        "only_if_vacant", "assigned_by", "schema",
    )  # fmt: skip
    template_fields_renderers = {
        "challenger": "json", "challenger_predictions": "json", "champion_predictions": "json",
    }  # fmt: skip

    def __init__(
        self,
        *,
        challenger: Any,
        alias: str,
        challenger_predictions: Any = None,
        champion_predictions: Any = None,
        row_id: str | None = None,
        target_column: str | None = None,
        positive_class: str | float | bool | None = None,
        negative_classes: Sequence[str | float | bool] | str | None = None,
        max_unknown_labels: float | str = 0.05,
        metric: str = "auroc",
        prediction_column: str | None = None,
        alpha: float | str = 0.05,
        mode: Literal["superior", "non_inferior"] = "superior",
        margin: float | str | None = None,
        max_unmatched: float | str = 0.01,
        compare_only: bool | str = False,
        only_if_vacant: bool | str = False,
        assigned_by: str | None = None,
        schema: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.challenger = challenger
        self.alias = alias
        self.challenger_predictions = challenger_predictions
        self.champion_predictions = champion_predictions
        self.row_id = row_id
        self.target_column = target_column
        self.positive_class = positive_class
        self.negative_classes = negative_classes
        self.max_unknown_labels = max_unknown_labels
        self.metric = metric
        self.prediction_column = prediction_column
        self.alpha = alpha
        self.mode = mode
        self.margin = margin
        self.max_unmatched = max_unmatched
        self.compare_only = compare_only
        self.only_if_vacant = only_if_vacant
        self.assigned_by = assigned_by
        self.schema = schema
        self._remember_given()

    def perform(self, context: Context) -> Promotion:
        """Compare the models, and move the alias if the challenger is better."""
        task = TaskIdentity.of(context)
        alpha, margin, max_unmatched = self._limits()
        compare_only = parse_flag(self.compare_only, "compare_only")
        only_if_vacant = parse_flag(self.only_if_vacant, "only_if_vacant")
        models = self.hook.models
        history = models.alias_history(self.alias)
        challenger = models.find(**self._challenger(newest=only_if_vacant))
        # A retry after the promotion uses the champion that the first try compared with.
        tries = [task.record_id("promote", task.generation, number) for number in range(1, task.try_number + 1)]
        done = change_of(history, tries)
        champion = (history[-1] if history else None) if done is None else (history[done - 1] if done else None)
        title, alias = _title(challenger), f"alias {self.alias!r}"
        found: dict[str, Any] = dict.fromkeys(_RESULTS)
        if champion is None:
            better, detail = True, f"The {alias} was unassigned: {title} needs no comparison."
        elif only_if_vacant:
            better, detail = False, f"The {alias} is assigned to {_title(champion)}: no change."
        elif _title(champion) == title:
            better, detail = False, f"The {alias} is already assigned to {title}: no change."
        else:
            found = self._compare(challenger, champion, max_unmatched)
            better, detail = self._judge(found, title, _title(champion), alpha, margin)
        promoted = done is not None
        if promoted:
            detail += f" An earlier try of this task moved the {alias} to the challenger."
        elif better and compare_only:
            detail += f" compare_only is set: the {alias} is unchanged."
        elif better:
            models.move_alias(
                self.alias,
                challenger,
                since=champion,
                assigned_by=self.assigned_by or task.user_id,
                reason=f"{detail} ({task.task_attempt_id})",
                change_id=tries[-1],
            )
            promoted = True
            detail += f" The {alias} now points to the challenger."
        elif champion is not None and _title(champion) != title and not only_if_vacant:
            detail += f" The {alias} is unchanged."
        self.log.info("%s", detail)
        result: Promotion = {
            "alias": self.alias,
            "promoted": promoted,
            "better": better,
            "challenger_name": challenger["model_name"],
            "challenger_version": challenger["model_version"],
            "champion_name": None if champion is None else champion["model_name"],
            "champion_version": None if champion is None else champion["model_version"],
            "metric": self.metric,
            "challenger_value": found["challenger_value"],
            "champion_value": found["champion_value"],
            "difference": found["difference"],
            "difference_low": found["difference_low"],
            "difference_high": found["difference_high"],
            "p_value": found["p_value"],
            "rows": found["rows"],
            "detail": detail,
        }
        if found["p_value"] is not None:
            self._record(task, result)
        return result

    def _record(self, task: TaskIdentity, result: Promotion) -> None:
        """Record the comparison, won or lost: after a loss, the same alarm starts no further retraining."""
        tracking = self.hook.tracking(self.schema)
        row = {**result, "session_time": task.session_time, "dag_id": task.dag_id, "run_id": task.run_id}
        recorded = tracking.record(COMPARISONS, row, record_id=task.record_id("comparison", self.alias, self.metric))
        self.log.info("Comparison in %s: %s", tracking.name(COMPARISONS), recorded)

    def _limits(self) -> tuple[float, float | None, float]:
        """Parse ``alpha``, ``margin`` and ``max_unmatched``; also validates ``metric`` and ``mode``."""
        if self.metric not in METRICS:
            raise InputError(f"metric is {self.metric!r}: expected one of {', '.join(METRICS)}.")
        if self.mode not in ("superior", "non_inferior"):
            raise InputError(f"mode is {self.mode!r}: expected 'superior' or 'non_inferior'.")
        alpha = parse_ratio(self.alpha, "alpha")
        if not 0 < alpha < 1:
            raise InputError(f"alpha is {self.alpha!r}: expected a probability between 0 and 1, such as 0.05.")
        margin: float | None = None
        if self.mode == "non_inferior":
            try:
                margin = float(self.margin)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                margin = math.nan
            if not 0 < margin < math.inf:
                raise InputError(
                    f"margin is {self.margin!r}: mode 'non_inferior' requires one above 0, in units of {self.metric}, "
                    "such as 0.002."
                )
        elif self.margin is not None:
            raise InputError(f"margin is {self.margin!r}, but mode is 'superior': remove it, or use 'non_inferior'.")
        return alpha, margin, parse_ratio(self.max_unmatched, "max_unmatched")

    def _challenger(self, *, newest: bool) -> dict[str, Any]:
        """The challenger's model and version.

        :param newest: allow a missing version, which means the newest.
        """
        named = self.challenger
        if isinstance(named, Mapping) and None in (named.get("model_name"), named.get("model_version")):
            self.skip_without("challenger")
        given = self.read_dict("challenger", ModelVersion)
        version = given.get("model_version")
        if version is None and not newest:
            raise InputError(
                f"{self.argument('challenger')} has no model_version: pass the dict of a training or a prediction."
            )
        return {"model_name": given["model_name"], "model_version": version}

    def _predictions(self, argument: str, role: str, maker: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """A table of predictions, and the dict that describes it, if given; a dict must be of the model ``maker``."""
        given = getattr(self, argument)
        if isinstance(given, str) and given not in ("", "None"):
            return given, {}
        if not isinstance(given, Mapping) or not given.get("output_table"):
            self.skip_without(f"{role}_predictions")
            raise InputError(
                f"{role}_predictions of task {self.task_id!r} is {shortened(given)!r}: expected the table with the "
                f"predictions of {role} {_title(maker)}, or the dict of that prediction."
            )
        by = self.read_dict(argument, Prediction, needs=("output_table", "model_name", "model_version"))
        if _title(by) != _title(maker):
            raise InputError(
                f"The {role}'s predictions in {by['output_table']} were made by {_title(by)}, but the {role} is "
                f"{_title(maker)}: predict with the {role}, and compare again."
            )
        return by["output_table"], by

    def _compare(
        self, challenger: Mapping[str, Any], champion: Mapping[str, Any], max_unmatched: float
    ) -> dict[str, Any]:
        from airflow_provider_automl.warehouse.paired import compare_auc, compare_means

        own = "challenger" if self.challenger_predictions is None else "challenger_predictions"
        table, about = self._predictions(own, "challenger", challenger)
        champion_table, about_champion = self._predictions("champion_predictions", "champion", champion)
        label = self.target_column or about.get("target_column") or self.challenger.get("target_column")
        positive = self.positive_class
        if positive is None:
            positive = about.get("positive_class", self.challenger.get("positive_class"))
        needed = {
            "target_column": label,
            **({"positive_class": positive} if self.metric in _NEED_POSITIVE_CLASS else {}),
        }
        if missing := [name for name, value in needed.items() if value is None]:
            raise InputError(f"Task {self.task_id!r} has no {', '.join(missing)}: set it.")
        if self.metric in _NEED_POSITIVE_CLASS and self.prediction_column in (None, DEFAULT_SCORE):
            for prediction in (about, about_champion):
                _check_scores(prediction, positive)
        tables = (self.hook.warehouse, champion_table, table)
        if self.row_id is None:
            raise InputError(f"Task {self.task_id!r} has no row_id: set it to the column that identifies rows.")
        options: dict[str, Any] = {
            "row_id": self.row_id, "label": str(label), "max_unmatched": max_unmatched,
            "classes": self._classes(challenger, table, str(label), positive),
            "max_unknown_labels": parse_ratio(self.max_unknown_labels, "max_unknown_labels"),
        }  # fmt: skip
        if self.metric == "auroc":
            score = self.prediction_column or DEFAULT_SCORE
            found = compare_auc(*tables, **options, score=score, positive_class=positive)
            values = {f"{side}_value": found[f"{side}_auroc"] for side in ("challenger", "champion")}
        else:
            found = compare_means(
                *tables, **options, metric=self.metric, prediction=self.prediction_column, positive_class=positive
            )
            values = {f"{side}_value": found[side] for side in ("challenger", "champion")}
        for what in ("unmatched", "null_labels", "null_scores", "unknown_labels"):
            if found[what]:
                self.log.warning("%d rows were excluded from the comparison: %s", found[what], what.replace("_", " "))
        return {**found, **values}

    def _classes(self, challenger: Mapping[str, Any], table: str, label: str, positive: Any) -> list[Any] | None:
        """The known labels, as in an evaluation; None: all labels are known."""
        negative = parse_classes(self.negative_classes, "negative_classes")
        if self.metric not in _NEED_POSITIVE_CLASS and negative:
            raise InputError(
                f"negative_classes is {negative!r}, but {self.metric} has no positive class: remove negative_classes."
            )
        if self.metric not in (*_NEED_POSITIVE_CLASS, "accuracy"):
            return None
        own = self.prediction_column is not None and self.prediction_column != DEFAULT_SCORE
        known = None if own else model_classes(self.hook, challenger["model_name"], challenger["model_version"])
        if self.metric == "accuracy":
            return known
        return classes_of_two(self.hook, table, label, positive, known, negative)

    def _judge(
        self, found: dict[str, Any], challenger: str, champion: str, alpha: float, margin: float | None
    ) -> tuple[bool, str]:
        """Whether to promote the challenger, and why; stores the one-sided p-value in ``found``."""
        from airflow_provider_automl.warehouse.paired import greater

        metric, difference, low = METRICS[self.metric], found["difference"], found["difference_low"]
        p = found["p_greater"]
        if margin is not None:
            p = greater((difference + margin) / found["difference_se"]) if found["difference_se"] else None
        found["p_value"] = p
        if difference:
            relation = f"better by {difference:.4g}" if difference > 0 else f"worse by {-difference:.4g}"
        else:
            relation = "the same"
        numbers = [f"on {found['rows']:,} rows"]
        if low is not None:
            numbers.insert(0, f"95 % interval {low:+.4g} to {found['difference_high']:+.4g}")
        if p is not None:
            numbers.append(f"one-sided p = {p:.2g}" if p >= 1e-99 else "one-sided p < 1e-99")
        detail = (
            f"The {metric} of {challenger} is {found['challenger_value']:.6g}, that of champion {champion} is "
            f"{found['champion_value']:.6g}: {relation} ({', '.join(numbers)})"
        )
        if margin is not None:
            better = low is not None and low > -margin
            verdict = f"{'within' if better else 'possibly worse than'} the margin {margin:g}"
        else:
            better = p is not None and p < alpha
            verdict = f"{'' if better else 'not '}significantly better at alpha {alpha:g}"
        reason = "" if found["reason"] is None else f"; {found['reason']}"
        return better, f"{detail}, {verdict}{reason}."


def _title(row: Mapping[str, Any]) -> str:
    """A model version for messages."""
    return f"{row['model_name']!r} version {row['model_version']!r}"
