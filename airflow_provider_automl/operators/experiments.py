"""Record a training in ``automl_experiments``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.operators._base import AutoMLOperator, Run, task_states
from airflow_provider_automl.operators.train import AutoMLTrainOperator
from airflow_provider_automl.tracking.state import ExperimentState
from airflow_provider_automl.tracking.tables import EXPERIMENTS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AutoMLTrackExperimentOperator(AutoMLOperator):
    """Record one training as one row of ``automl_experiments``, exactly once, a failed one too.

    It runs whatever became of the training (``trigger_rule="all_done"``). After a failed training it records the row
    with state ``failed`` or ``killed``, then fails itself, so that nothing after it runs on an older model. After a
    training that was skipped there is nothing to record: it is skipped too.

    :param experiment: the training's dict: ``train.output``.
    :param schema: the schema of the table; default: the connection's tracking schema.
    :returns: ``table``, ``record_id``, ``recorded`` (``inserted``, ``unchanged`` or ``replaced``), ``model_name``,
        ``model_version``, ``state``.
    """

    template_fields: Sequence[str] = (*AutoMLOperator.template_fields, "experiment", "schema")
    template_fields_renderers = {"experiment": "json"}
    optional_when_rendered: ClassVar[frozenset[str]] = frozenset({"experiment"})

    def __init__(self, *, experiment: Any, schema: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(**kwargs)
        self.experiment = experiment
        self.schema = schema
        self._remember_given()

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """As of any operator, with this one's trigger rule: of mapped tasks Airflow does not ask ``__init__``."""
        kwargs.setdefault("trigger_rule", "all_done")
        return super().partial(**kwargs)

    def perform(self, context: Context) -> dict[str, Any]:
        """Record the row, then fail if the training failed."""
        experiment = self._experiment(context)
        tracking = self.hook.tracking(self.schema)
        record_id = Run.of(context).record_id(experiment["model_version"])
        recorded = tracking.record(EXPERIMENTS, experiment, record_id=record_id)
        self.log.info(
            "%s: %s version %s, state %s, is in %s",
            recorded,
            experiment["model_name"],
            experiment["model_version"],
            experiment["state"],
            tracking.name(EXPERIMENTS),
        )
        if experiment["state"] != ExperimentState.COMPLETE:
            raise AirflowFailException(
                f"The training of {experiment['model_name']!r} is recorded with state {experiment['state']}: "
                f"{experiment['error']}"
            )
        return {
            "table": tracking.name(EXPERIMENTS),
            "record_id": record_id,
            "recorded": recorded,
            **{key: experiment[key] for key in ("model_name", "model_version", "state")},
        }

    def _experiment(self, context: Context) -> dict[str, Any]:
        """The training's dict; of a training that left none, what its task's parameters say."""
        given = self.experiment
        if not isinstance(given, Mapping) or given.get("state") != ExperimentState.COMPLETE:
            self.skip_without("experiment")
        if given is None:
            given = self._from_parameters(context)
        if not isinstance(given, Mapping) or "model_name" not in given:
            raise InputError(f"experiment is {str(given)[:100]!r}: give the dict of a training, such as train.output.")
        experiment = dict.fromkeys(("model_version", "state", "error")) | dict(given)
        if experiment["state"] in (ExperimentState.RUNNING, None):
            experiment |= {
                "state": ExperimentState.KILLED.value,
                "error": "its process was killed before it could report; the task's log says how far it came",
            }
        return experiment

    def _from_parameters(self, context: Context) -> dict[str, Any]:
        train = getattr(self._given.get("experiment"), "operator", None)
        if not isinstance(train, AutoMLTrainOperator):
            raise InputError("experiment rendered to nothing: the task that should give it left no result.")
        if set(task_states(context, train.task_id)) & {"upstream_failed", "skipped", "removed"}:
            raise InputError(f"Task {train.task_id!r} never ran, so there is no experiment to record.")
        train = train.prepare_for_execution()
        of_train = {**context, "task": train}
        train.render_template_fields(of_train)  # type: ignore[arg-type]
        experiment = train.experiment(of_train)  # type: ignore[arg-type]
        run = Run.of(context)
        attempt = "/".join([run.dag_id, run.run_id, train.task_id])
        # The version is a guess at what the training would have had: no model exists under it.
        return experiment | {"task_attempt_id": attempt, "model_version": None}
