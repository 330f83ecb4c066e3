"""Record a training in ``automl_experiments``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.contracts import RecordedExperiment, Training
from airflow_provider_automl.errors import InputError
from airflow_provider_automl.operators._base import AutoMLOperator
from airflow_provider_automl.operators.train import TRAINING_KEYS, AutoMLTrainOperator
from airflow_provider_automl.task import TaskIdentity, task_states
from airflow_provider_automl.tracking.state import ExperimentState
from airflow_provider_automl.tracking.tables import EXPERIMENTS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AutoMLTrackExperimentOperator(AutoMLOperator):
    """Record one training, successful or failed, as one row of ``automl_experiments``, exactly once.

    It runs even if the training failed (``trigger_rule="all_done"``): then it records the row with state ``failed`` or
    ``killed`` and fails itself, so that downstream tasks do not run with an older model. If the training was skipped,
    it is skipped too.

    :param experiment: the dict of a training: ``train.output``.
    :param schema: the schema of the table; default: the connection's tracking schema.
    :returns: :class:`~airflow_provider_automl.contracts.RecordedExperiment`.
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
        """Set this operator's trigger rule for mapped tasks too: for these, Airflow does not call ``__init__``."""
        kwargs.setdefault("trigger_rule", "all_done")
        return super().partial(**kwargs)

    def perform(self, context: Context) -> RecordedExperiment:
        """Record the row, then fail if the training failed."""
        experiment = self._experiment(context)
        tracking = self.hook.tracking(self.schema)
        record_id = TaskIdentity.of(context).record_id(experiment["model_version"])
        recorded = tracking.record(EXPERIMENTS, experiment, record_id=record_id)
        self.log.info(
            "Model %s version %s, state %s, in %s: %s",
            experiment["model_name"],
            experiment["model_version"],
            experiment["state"],
            tracking.name(EXPERIMENTS),
            recorded,
        )
        if experiment["state"] != ExperimentState.COMPLETE:
            raise AirflowFailException(
                f"The training of {experiment['model_name']!r} ended with state {experiment['state']}: "
                f"{experiment['error']}"
            )
        return {
            "table": tracking.name(EXPERIMENTS),
            "record_id": record_id,
            "recorded": recorded,
            "model_name": str(experiment["model_name"]),
            "model_version": experiment["model_version"],
            "state": experiment["state"],
        }

    def _experiment(self, context: Context) -> Training:
        """The training's dict; if the training returned none, a dict of its task's parameters."""
        given = self.experiment
        if not isinstance(given, Mapping) or given.get("state") != ExperimentState.COMPLETE:
            self.skip_without("experiment")
        if given is None:
            found = self._from_parameters(context)
        else:
            found = self.read_dict("experiment", Training, needs=("model_name",))
        experiment = cast("Training", {**dict.fromkeys(TRAINING_KEYS), **found})
        if experiment["state"] in (ExperimentState.RUNNING, None):
            experiment["state"] = ExperimentState.KILLED.value
            experiment["error"] = "the process was killed before it could report an error; see the task's log"
        return experiment

    def _from_parameters(self, context: Context) -> Training:
        train = getattr(self._given.get("experiment"), "operator", None)
        if not isinstance(train, AutoMLTrainOperator):
            raise InputError(f"experiment of task {self.task_id!r} is None: its task has no result.")
        if set(task_states(context, train.task_id)) & {"upstream_failed", "skipped", "removed"}:
            raise InputError(f"Task {train.task_id!r} did not run, so there is no experiment to record.")
        train = train.prepare_for_execution()
        train_context = {**context, "task": train}
        train.render_template_fields(train_context)  # type: ignore[arg-type]
        experiment = train.experiment(train_context)  # type: ignore[arg-type]
        task = TaskIdentity.of(context)
        attempt = "/".join([task.dag_id, task.run_id, train.task_id])
        # No model exists under the version that the training would have created.
        experiment["task_attempt_id"], experiment["model_version"] = attempt, None
        return experiment
