"""Promote a model that is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.models.store import change_of
from airflow_provider_automl.operators._base import AutoMLOperator, Run, parse_flag, parse_ratio
from airflow_provider_automl.operators.evaluate import (
    DEFAULT_SCORE,
    _check_scores,
    classes_of_two,
    listed_classes,
    model_classes,
)
from airflow_provider_automl.tracking.tables import COMPARISONS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: What models can be compared by, and how that is called in a sentence.
METRICS = {
    "auroc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "mae": "mean absolute error",
    "mse": "mean squared error",
}
_OF_CLASSES = ("auroc", "log_loss", "brier")
_NUMBERS = ("challenger_value", "champion_value", "difference", "difference_low", "difference_high", "p_value", "rows")


class AutoMLPromoteOperator(AutoMLOperator):
    """Point an alias at a challenger if it is better than the champion that holds it, on the same labelled rows.

    Both models have predicted one table. They are compared row by row, in one query on the warehouse: for AUC by
    DeLong's paired test, for the others by the paired difference of means
    (:mod:`~airflow_provider_automl.warehouse.paired`). Who moved the alias, when, and why is kept in its history.

    Nothing is done twice: a retry after the promotion finds it done, a challenger that is the champion already stays
    it. Where nobody holds the alias, the challenger gets it without a comparison. An alias that somebody else changes
    meanwhile is left as it is: the task fails, and its retry compares again.

    :param challenger: the dict of a training or a prediction: ``train.output``, ``predict.output``.
    :param alias: such as ``census_champion``.
    :param challenger_predictions: the challenger's predictions: a table, or the dict of a prediction; default:
        ``challenger``, if that is one.
    :param champion_predictions: the champion's. Of a dict it is checked that the champion made them; of a table that is
        believed. They may render to nothing where nobody holds the alias.
    :param row_id: the column of both that tells rows apart: whole numbers, text or dates. Needed to compare.
    :param target_column: the column of true labels in both; default: the predictions'.
    :param positive_class: of ``auroc``, ``log_loss`` and ``brier``; default: the predictions'.
    :param negative_classes: of these, labels that count as negative although the model never saw them. Labels that are
        no class of the challenger and not named here are left out of both, and counted.
    :param max_unknown_labels: the largest share of such labels.
    :param metric: ``auroc``, ``log_loss``, ``brier``, ``accuracy``, ``mae`` or ``mse``.
    :param prediction_column: the column that is measured, in both; default: what predictions write.
    :param alpha: with ``superior``: the probability of promoting a challenger that is no better.
    :param mode: ``superior``: promote what is better, by a one-sided test at ``alpha``; ``non_inferior``: promote
        unless it may be worse by ``margin``: when the lower end of the difference's 95 % interval is above ``-margin``.
    :param margin: with ``non_inferior``: how much worse would be too much, in units of the metric.
    :param max_unmatched: the largest share of row ids that only one of them has.
    :param compare_only: say what would be done, and change nothing: for a person to approve.
    :param only_if_vacant: point the alias at the challenger where nobody holds it, and change nothing otherwise. The
        challenger may then be ``{"model_name": "census_*"}``, without a version: the newest.
    :param assigned_by: who is named in the alias's history; default: who triggered the run, else the DAG's owner.
    :param schema: where the comparison is recorded, as a row of ``automl_comparisons``; default: the connection's
        tracking schema.
    :returns: ``alias``, ``promoted``, ``better`` (what the test says), ``challenger_name``, ``challenger_version``,
        ``champion_name``, ``champion_version`` (the one compared with), ``metric``, ``challenger_value``,
        ``champion_value``, ``difference`` (by how much the challenger is better, whatever the metric),
        ``difference_low``, ``difference_high`` (its 95 % interval), ``p_value`` (one-sided, of a difference of no more
        than 0, or ``-margin``), ``rows`` (compared), ``detail`` (one sentence). Numbers are None where nothing was
        compared, or there is none.
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

    def perform(self, context: Context) -> dict[str, Any]:
        """Compare, decide, move the alias."""
        run = Run.of(context)
        alpha, margin, max_unmatched = self._limits()
        compare_only = parse_flag(self.compare_only, "compare_only")
        only_if_vacant = parse_flag(self.only_if_vacant, "only_if_vacant")
        models = self.hook.models
        history = models.alias_history(self.alias)
        challenger = models.find(**self._version(self.challenger, "challenger", newest=only_if_vacant))
        # A retry after the promotion is compared with whom the first try was.
        tries = [run.record_id("promote", run.generation, number) for number in range(1, run.try_number + 1)]
        done = change_of(history, tries)
        champion = (history[-1] if history else None) if done is None else (history[done - 1] if done else None)
        who, holder = _title(challenger), f"alias {self.alias!r}"
        found: dict[str, Any] = dict.fromkeys(_NUMBERS)
        if champion is None:
            better, detail = True, f"Nobody held the {holder}: {who} is the first champion, without a comparison."
        elif only_if_vacant:
            better, detail = False, f"{_title(champion)} holds the {holder}: nothing changes."
        elif _title(champion) == who:
            better, detail = False, f"{who} holds the {holder} already: nothing changes."
        else:
            found = self._compare(challenger, champion, max_unmatched)
            better, detail = self._judge(found, who, _title(champion), alpha, margin)
        promoted = done is not None
        if promoted:
            detail += f" An earlier try of this task has pointed the {holder} at it."
        elif better and compare_only:
            detail += " Nothing is changed: this task compares only."
        elif better:
            models.move_alias(
                self.alias,
                challenger,
                since=champion,
                assigned_by=self.assigned_by or run.user_id,
                reason=f"{detail} ({run.task_attempt_id})",
                change_id=tries[-1],
            )
            promoted = True
            detail += f" The {holder} now points at it."
        elif champion is not None and _title(champion) != who and not only_if_vacant:
            detail += f" The {holder} stays."
        self.log.info("%s", detail)
        told = {
            "alias": self.alias,
            "promoted": promoted,
            "better": better,
            "challenger_name": challenger["model_name"],
            "challenger_version": challenger["model_version"],
            "champion_name": champion and champion["model_name"],
            "champion_version": champion and champion["model_version"],
            "metric": self.metric,
            **{key: found[key] for key in _NUMBERS},
            "detail": detail,
        }
        if found["p_value"] is not None:
            self._record(run, told)
        return told

    def _record(self, run: Run, told: Mapping[str, Any]) -> None:
        """One row a comparison, won or lost: what was lost once is not tried again in the same alarm."""
        tracking = self.hook.tracking(self.schema)
        row = {**told, "session_time": run.session_time, "dag_id": run.dag_id, "run_id": run.run_id}
        recorded = tracking.record(COMPARISONS, row, record_id=run.record_id("comparison", self.alias, self.metric))
        self.log.info("%s: the comparison is in %s", recorded, tracking.name(COMPARISONS))

    def _limits(self) -> tuple[float, float | None, float]:
        """``alpha``, ``margin`` and ``max_unmatched``, after all that can be checked before anything is read."""
        if self.metric not in METRICS:
            raise InputError(f"metric is {self.metric!r}: give one of {', '.join(METRICS)}.")
        if self.mode not in ("superior", "non_inferior"):
            raise InputError(f"mode is {self.mode!r}: give 'superior' or 'non_inferior'.")
        alpha = parse_ratio(self.alpha, "alpha")
        if not 0 < alpha < 1:
            raise InputError(f"alpha is {self.alpha!r}: give a probability between 0 and 1, such as 0.05.")
        margin: float | None = None
        if self.mode == "non_inferior":
            try:
                margin = float(self.margin)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                margin = math.nan
            if not 0 < margin < math.inf:
                raise InputError(
                    f"margin is {self.margin!r}: mode 'non_inferior' needs one above 0, in units of {self.metric}, "
                    "such as 0.002."
                )
        elif self.margin is not None:
            raise InputError(f"margin is {self.margin!r}, but mode is 'superior': leave it out, or use 'non_inferior'.")
        return alpha, margin, parse_ratio(self.max_unmatched, "max_unmatched")

    def _version(self, named: Any, role: str, *, newest: bool = False) -> dict[str, Any]:
        """The model and version that a training's or a prediction's dict names.

        :param newest: no version means the newest.
        """
        given = named if isinstance(named, Mapping) else {}
        version = {key: given.get(key) for key in ("model_name", "model_version")}
        if version["model_name"] is None or (version["model_version"] is None and not newest):
            self.skip_without(role)
            raise InputError(
                f"{role} of task {self.task_id!r} is {str(named)[:100]!r}: give the dict of a training or a prediction."
            )
        return version

    def _predictions(self, given: Any, role: str, maker: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """A table of predictions, and the dict that tells of it; a dict must be of its maker."""
        if isinstance(given, str) and given not in ("", "None"):
            return given, {}
        if not isinstance(given, Mapping) or not given.get("output_table"):
            self.skip_without(f"{role}_predictions")
            raise InputError(
                f"{role}_predictions of task {self.task_id!r} is {str(given)[:100]!r}: give the table in which {role} "
                f"{_title(maker)} predicted, or the dict of that prediction."
            )
        by = self._version(given, f"{role}_predictions")
        if _title(by) != _title(maker):
            raise InputError(
                f"The {role}'s predictions in {given['output_table']} were made by {_title(by)}, and the {role} is "
                f"{_title(maker)}: predict with that one, and compare again."
            )
        return str(given["output_table"]), given

    def _compare(
        self, challenger: Mapping[str, Any], champion: Mapping[str, Any], max_unmatched: float
    ) -> dict[str, Any]:
        from airflow_provider_automl.warehouse.paired import compare_auc, compare_means

        own = self.challenger if self.challenger_predictions is None else self.challenger_predictions
        table, told = self._predictions(own, "challenger", challenger)
        champion_table, champion_told = self._predictions(self.champion_predictions, "champion", champion)
        label = self.target_column or told.get("target_column") or self.challenger.get("target_column")
        positive = self.positive_class
        if positive is None:
            positive = told.get("positive_class", self.challenger.get("positive_class"))
        needed = {"target_column": label, **({"positive_class": positive} if self.metric in _OF_CLASSES else {})}
        if missing := [name for name, value in needed.items() if value is None]:
            raise InputError(f"Task {self.task_id!r} knows no {', '.join(missing)}: give it.")
        if self.metric in _OF_CLASSES and self.prediction_column in (None, DEFAULT_SCORE):
            for prediction in (told, champion_told):
                _check_scores(prediction, positive)
        tables = (self.hook.warehouse, champion_table, table)
        if self.row_id is None:
            raise InputError(f"Task {self.task_id!r} knows no row_id: name the column that tells rows apart.")
        asked: dict[str, Any] = {
            "row_id": self.row_id, "label": str(label), "max_unmatched": max_unmatched,
            "classes": self._classes(challenger, table, str(label), positive),
            "max_unknown_labels": parse_ratio(self.max_unknown_labels, "max_unknown_labels"),
        }  # fmt: skip
        if self.metric == "auroc":
            score = self.prediction_column or DEFAULT_SCORE
            found = compare_auc(*tables, **asked, score=score, positive_class=positive)
            values = {f"{side}_value": found[f"{side}_auroc"] for side in ("challenger", "champion")}
        else:
            found = compare_means(
                *tables, **asked, metric=self.metric, prediction=self.prediction_column, positive_class=positive
            )
            values = {f"{side}_value": found[side] for side in ("challenger", "champion")}
        for what in ("unmatched", "null_labels", "null_scores", "unknown_labels"):
            if found[what]:
                self.log.warning("%d rows were left out of both: %s", found[what], what.replace("_", " "))
        return {**found, **values}

    def _classes(self, challenger: Mapping[str, Any], table: str, label: str, positive: Any) -> list[Any] | None:
        """The labels that have a meaning, as in an evaluation; None: all of them have."""
        negative = listed_classes(self.negative_classes)
        if self.metric not in _OF_CLASSES and negative:
            raise InputError(
                f"negative_classes is {negative!r}, and {self.metric} knows no positive class: leave it out."
            )
        if self.metric not in (*_OF_CLASSES, "accuracy"):
            return None
        own = self.prediction_column is not None and self.prediction_column != DEFAULT_SCORE
        known = None if own else model_classes(self.hook, challenger["model_name"], challenger["model_version"])
        if self.metric == "accuracy":
            return known
        return classes_of_two(self.hook, table, label, positive, known, negative)

    def _judge(
        self, found: dict[str, Any], challenger: str, champion: str, alpha: float, margin: float | None
    ) -> tuple[bool, str]:
        """Whether the challenger is to be promoted, and why; puts the one-sided p-value that tells into ``found``."""
        from airflow_provider_automl.warehouse.paired import greater

        what, difference, low = METRICS[self.metric], found["difference"], found["difference_low"]
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
            f"The {what} of {challenger} is {found['challenger_value']:.6g}, that of champion {champion} "
            f"{found['champion_value']:.6g}: {relation} ({', '.join(numbers)})"
        )
        if margin is not None:
            better = low is not None and low > -margin
            verdict = f"{'within' if better else 'perhaps worse than'} the margin {margin:g}"
        else:
            better = p is not None and p < alpha
            verdict = f"{'' if better else 'not '}significantly better at alpha {alpha:g}"
        why = "" if found["reason"] is None else f"; {found['reason']}"
        return better, f"{detail}, which is {verdict}{why}."


def _title(row: Mapping[str, Any]) -> str:
    """A version, as a sentence names it."""
    return f"{row['model_name']!r} version {row['model_version']!r}"
