"""Branch on drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException, BaseHook
from airflow.providers.standard.operators.python import BranchPythonOperator

from airflow_provider_automl.drift.policies import CHAMPION, OWN, Decision, History, ask, needs
from airflow_provider_automl.errors import InputError
from airflow_provider_automl.operators._base import AutoMLOperator, Run
from airflow_provider_automl.tracking.tables import DRIFT_RESULTS, EVAL_RESULTS

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_automl.drift.policies import Policy


def decide(policy: Policy, evaluation: Mapping[str, Any], history: History | None = None) -> Decision:
    """What ``policy`` says of ``evaluation``.

    :raises InputError: the policy's own parameters are wrong.
    """
    try:
        return ask(policy, evaluation, history)
    except ValueError as error:
        raise InputError(str(error)) from error


class AutoMLDriftBranchOperator(AutoMLOperator, BranchPythonOperator):
    """Branch to the tasks that act on drift, or to those that do not.

    The decision is a row of ``automl_drift_results`` before any branch is taken, exactly once; of a combination, each
    part is a row of its own as well. All branches must be directly downstream, which is checked before anything is
    decided. The decision is also in XCom, under the keys ``drifted``, ``statistic``, ``threshold``, ``p_value``,
    ``compared_with``, ``detail`` (a sentence or two, fit for a mail) and ``remind``.

    The same cause (the same version of a model, found drifted by the same check of this DAG) is not told every day:
    ``remind`` is True on drift, unless the cause was told within ``remind_after``. ``alert`` is followed only then.

    :param evaluation: an evaluation's dict: ``evaluate.output``.
    :param policy: what counts as drift, such as ``below(0.93)``; its fields may be templates.
    :param if_drifted: task id, or ids, to follow on drift, every time: a retraining, say.
    :param if_stable: task id, or ids, to follow otherwise.
    :param alert: task id, or ids, to follow on drift as well, when it is time to tell: a mail, say.
    :param remind_after: how long the same cause is not told again: a timedelta, or days; None: tell it every time.
    :param baseline_alias: the alias whose version is the policy's baseline ``"champion"``.
    :param schema: where the evaluations are and the decision is recorded; default: the connection's tracking schema.
    """

    template_fields: Sequence[str] = (
        *AutoMLOperator.template_fields,
        "evaluation", "policy", "if_drifted", "if_stable", "alert", "remind_after", "baseline_alias", "schema",
    )  # fmt: skip
    template_fields_renderers = {"evaluation": "json"}
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        evaluation: Any,
        policy: Policy,
        if_drifted: str | list[str],
        if_stable: str | list[str],
        alert: str | list[str] | None = None,
        remind_after: timedelta | float | str | None = timedelta(days=7),
        baseline_alias: str | None = None,
        schema: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", False)  # a branch returns task ids
        super().__init__(python_callable=decide, **kwargs)
        self.evaluation = evaluation
        self.policy = policy
        self.if_drifted = if_drifted
        self.if_stable = if_stable
        self.alert = alert
        self.remind_after = remind_after
        self.baseline_alias = baseline_alias
        self.schema = schema
        if not isinstance(remind_after, str):
            _parse_days(remind_after)
        self._check_alias()
        self._remember_given()

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render the policy's fields too; it is frozen, so a rendered copy takes its place.

        :raises AirflowFailException: a field rendered to what the policy refuses.
        """
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if parent is not self:
            return
        try:
            self.policy = self._rendered(self.policy, context, jinja_env)
        except ValueError as error:
            raise AirflowFailException(str(error)) from error

    def _rendered(self, value: Any, context: Context, jinja_env: jinja2.Environment | None) -> Any:
        if isinstance(value, tuple):
            return tuple(self._rendered(item, context, jinja_env) for item in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
            return dataclasses.replace(
                value, **{name: self._rendered(item, context, jinja_env) for name, item in fields.items()}
            )
        return self.render_template(value, context, jinja_env)

    def execute(self, context: Context) -> Any:
        """Branch as Airflow does, by :meth:`choose_branch`."""
        self.link_queries(context)
        return BranchPythonOperator.execute(self, context)

    def choose_branch(self, context: Context) -> str | list[str]:
        """Check the branches, ask the policy, say why, record it, branch."""
        with self.terminal_input_errors():
            self.check_rendered()
            self._check_branches()
            self._check_alias()
            remind_after = _parse_days(self.remind_after)
            if not isinstance(self.evaluation, Mapping):
                raise InputError(f"evaluation is {str(self.evaluation)[:100]!r}: give the dict of an evaluation.")
            run = Run.of(context)
            moment = {"dag_id": run.dag_id, "run_id": run.run_id, "session_time": run.session_time}
            decision = decide(self.policy, {**self.evaluation, **moment}, self._history())
            self.log.info("%s: %s", self.policy, decision.detail)
            remind = bool(decision.drifted) and self._is_time_to_tell(run, remind_after)
            self._record(run, decision)
        pushed = {field.name: getattr(decision, field.name) for field in dataclasses.fields(decision)}
        del pushed["parts"]
        for key, value in {**pushed, "remind": remind}.items():
            context["ti"].xcom_push(key=key, value=value)
        if not decision.drifted:
            return self.if_stable
        if self.alert is None or not remind:
            return self.if_drifted
        return [*_listed(self.if_drifted), *_listed(self.alert)]

    def _history(self) -> History:
        """The evaluations that the policy needs; nothing is read where it needs none."""
        wanted = needs(self.policy)
        if not wanted:
            return History()
        champion: tuple[str, str | None] | None = None
        models: list[tuple[str, str | None]] = []
        for need in wanted:
            if need == OWN:
                name = self.evaluation.get("model_name")
                if name is None:
                    raise InputError(
                        f"The evaluation names no model, so {self.policy} has nothing to compare with: give model_name."
                    )
                models.append((name, self.evaluation.get("model_version")))
            elif need == CHAMPION:
                if changes := self.hook.models.alias_history(str(self.baseline_alias)):
                    champion = changes[-1]["model_name"], changes[-1]["model_version"]
                    models.append(champion)
            elif "/" in need:
                model, _, version = need.partition("/")
                models.append((model, version))
        whole = {need for need in wanted if need not in (OWN, CHAMPION) and "/" not in need}
        tracking = self.hook.tracking(self.schema)
        rows = [row for name in sorted(whole) for row in tracking.read(EVAL_RESULTS, model_name=name)]
        for named in dict.fromkeys(models):
            if named[0] not in whole:
                rows += tracking.read(EVAL_RESULTS, model_name=named[0], model_version=named[1])
        return History(rows, champion)

    def _is_time_to_tell(self, run: Run, remind_after: timedelta | None) -> bool:
        """Whether the cause was not told within ``remind_after``, going by the decisions of earlier runs."""
        if remind_after is None:
            return True
        told = None
        found = self.hook.tracking(self.schema).read(
            DRIFT_RESULTS, **self._model(), check_name=str(self.policy), dag_id=run.dag_id, drifted=True
        )
        for time in sorted(_utc(row["session_time"]) for row in found if row["run_id"] != run.run_id):
            if time <= run.session_time and (told is None or time - told >= remind_after):
                told = time
        if told is None or run.session_time - told >= remind_after:
            return True
        self.log.info("Told on %s: told again after %s", told.date(), (told + remind_after).date())
        return False

    def _record(self, run: Run, decision: Decision) -> None:
        """One row for the decision, and one for each part of a combination."""
        tracking = self.hook.tracking(self.schema)
        for check, part in _with_parts(str(self.policy), decision).items():
            row = {
                **self._model(),
                "session_time": run.session_time,
                "table_name": self.evaluation.get("test_table") or self.evaluation.get("table"),
                "check_name": check,
                **{name: getattr(part, name) for name in ("statistic", "p_value", "threshold", "drifted", "detail")},
                "dag_id": run.dag_id,
                "run_id": run.run_id,
            }
            record_id = run.record_id(self.evaluation.get("model_version"), check, None)
            recorded = tracking.record(DRIFT_RESULTS, row, record_id=record_id)
            self.log.info("%s: %s is in %s", recorded, check, tracking.name(DRIFT_RESULTS))

    def _model(self) -> dict[str, Any]:
        return {name: self.evaluation.get(name) for name in ("model_name", "model_version")}

    def _check_alias(self) -> None:
        if CHAMPION in needs(self.policy) and self.baseline_alias is None:
            raise InputError(
                f"{self.policy} of task {self.task_id!r} compares with the champion: give baseline_alias, the alias "
                "that points at it, such as 'census_champion'."
            )

    def _check_branches(self) -> None:
        dag = self.get_dag()
        groups = dag.task_group_dict if dag is not None else {}
        for name in ("if_drifted", "if_stable", "alert"):
            for task_id in _listed(getattr(self, name)):
                group = groups.get(task_id)
                first = {task_id} if group is None else {task.node_id for task in group.get_roots()}
                if not first <= self.downstream_task_ids:
                    downstream = ", ".join(sorted(self.downstream_task_ids)) or "nothing"
                    raise InputError(
                        f"{name} of task {self.task_id!r} is {task_id!r}, which is not directly downstream of it: "
                        f"downstream is {downstream}."
                    )


def _listed(branch: str | list[str] | None) -> list[str]:
    return [branch] if isinstance(branch, str) else list(branch or [])


def _with_parts(check: str, decision: Decision) -> dict[str, Decision]:
    """A decision and, below it, its parts, by how each check prints; a part that occurs twice is the same."""
    found = {check: decision}
    for name, part in decision.parts:
        found |= _with_parts(name, part)
    return found


def _parse_days(value: timedelta | float | str | None) -> timedelta | None:
    """A time span from itself or a number of days.

    :raises InputError: no number of days, or below 0.
    """
    if value is None:
        return None
    try:
        span = value if isinstance(value, timedelta) else timedelta(days=float(value))
    except (TypeError, ValueError, OverflowError):
        span = timedelta(-1)
    if span < timedelta(0):
        raise InputError(f"remind_after is {value!r}: give a timedelta or days, such as 7, or None to tell every time.")
    return span


def _utc(value: Any) -> datetime:
    """A time as a warehouse gives it: UTC, without saying so."""
    time: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def require_smtp(context: Context) -> None:
    """A mail task's ``pre_execute``: says in one sentence what to set where its SMTP connection is missing."""
    conn_id = getattr(context["task"], "conn_id", None) or "smtp_default"
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise AirflowFailException(
            f"The mail was not sent, for the connection {conn_id!r} is not defined: create it with connection type "
            f"'smtp' in Airflow's UI, or set AIRFLOW_CONN_{conn_id.upper()}="
            "'smtp://user:password@mail.example.com:587?from_email=airflow%40example.com'."
        ) from None
