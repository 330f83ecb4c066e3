"""Branch on drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException, BaseHook
from airflow.providers.standard.operators.python import BranchPythonOperator

from airflow_provider_automl.contracts import DriftDecision, Evaluation
from airflow_provider_automl.drift.episodes import (
    LASTING,
    OPEN,
    OPENED,
    OVER,
    has_episodes,
    is_due,
    key_of,
    retrains,
    settle,
)
from airflow_provider_automl.drift.policies import (
    CHAMPION,
    FIRST,
    OWN,
    AllOf,
    AnyOf,
    Consecutive,
    Decision,
    History,
    WorseThanBaseline,
    dataset_of,
    measured_estimate,
    needs,
)
from airflow_provider_automl.errors import InputError, listing
from airflow_provider_automl.operators._base import AutoMLOperator
from airflow_provider_automl.parameters import parse_days, parse_whole
from airflow_provider_automl.task import TaskIdentity
from airflow_provider_automl.tracking.alarms import Alarms, Known, Place
from airflow_provider_automl.tracking.store import utc
from airflow_provider_automl.tracking.tables import COMPARISONS, DRIFT_RESULTS, EVAL_RESULTS

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_automl.drift.policies import Policy


def decide(
    policy: Policy,
    evaluation: Mapping[str, Any],
    history: History | None = None,
    known: Known | None = None,
    new: str = "",
) -> Decision:
    """Apply ``policy`` to ``evaluation``, given the open alarms.

    :raises InputError: the policy's parameters are invalid.
    """
    try:
        return settle(policy, evaluation, history or History(), (known or Known()).episodes, new)
    except ValueError as error:
        raise InputError(str(error)) from error


class AutoMLDriftBranchOperator(AutoMLOperator, BranchPythonOperator):
    """Branch to the tasks that act on drift, or to those that do not.

    The decision is recorded in ``automl_drift_results`` exactly once, before any branch is taken; a combined policy
    also records one row per part. All branches must be directly downstream, which is checked first. The decision is
    also in XCom, under the keys of :class:`~airflow_provider_automl.contracts.DriftDecision`.

    A policy that tests significance raises one alarm per drift (:mod:`~airflow_provider_automl.drift.episodes`):
    ``alarm`` is ``opened``, then ``lasting`` on every day until it is ``over``, else None.

    - ``if_drifted``, such as a retraining, is followed when the alarm opens, and again only after ``retrain_after``, at
      most ``max_retrainings`` times per version, and no longer once a challenger has lost during this alarm.
    - ``if_lasting`` is followed on the other days of an alarm.
    - ``alert``, such as an email, is followed when the alarm opens, every ``remind_after`` while it lasts, and when it
      is over.

    An evaluation that is inconclusive (``drifted`` is None) neither opens nor closes an alarm. Baselines are kept in
    ``automl_baselines``. An alarm is also over when somebody accepts the new level (``automl drift accept``), or when
    another version is evaluated.

    ``below``, ``above`` and custom policies decide on each day independently: ``if_drifted`` is followed on every day
    with drift, and ``alert`` unless it was followed for the same cause (the same version, found drifted by the same
    check of this DAG) within ``remind_after``.

    :param evaluation: the dict of an evaluation: ``evaluate.output``.
    :param policy: the drift policy, such as ``below(0.93)``; its fields may be templates.
    :param if_drifted: task id, or ids, to follow on drift, such as a retraining.
    :param if_stable: task id, or ids, to follow otherwise.
    :param alert: task id, or ids, to follow in addition when an alert is due, such as an email.
    :param if_lasting: task id, or ids, to follow while an alarm lasts and no retraining is due; default: ``if_stable``.
    :param remind_after: minimum time between alerts on the same cause: a timedelta, or days; None: no minimum.
    :param retrain_after: minimum time between retrainings of a version: a timedelta, or days; None: no minimum.
    :param max_retrainings: maximum number of retrainings per version.
    :param baseline_alias: the alias whose version is the policy's baseline ``"champion"``.
    :param schema: where evaluations are read and decisions are recorded; default: the connection's tracking schema.
    """

    template_fields: Sequence[str] = (
        *AutoMLOperator.template_fields,
        "evaluation", "policy", "if_drifted", "if_stable", "alert", "if_lasting", "remind_after", "retrain_after",
        "max_retrainings", "baseline_alias", "schema",
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
        if_lasting: str | list[str] | None = None,
        remind_after: timedelta | float | str | None = timedelta(days=7),
        retrain_after: timedelta | float | str | None = timedelta(days=30),
        max_retrainings: int | str = 3,
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
        self.if_lasting = if_lasting
        self.remind_after = remind_after
        self.retrain_after = retrain_after
        self.max_retrainings = max_retrainings
        self.baseline_alias = baseline_alias
        self.schema = schema
        for name, value in (("remind_after", remind_after), ("retrain_after", retrain_after)):
            if not isinstance(value, str):
                parse_days(value, name)
        if not isinstance(max_retrainings, str):
            parse_whole(max_retrainings, "max_retrainings", minimum=0)
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
        """Render the policy's fields too; the policy is frozen, so a rendered copy replaces it.

        :raises AirflowFailException: a field rendered to a value that the policy rejects.
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
        """Check the branches, apply the policy, record the decision, and return the branch."""
        with self.terminal_input_errors():
            self.check_rendered()
            self._check_branches()
            self._check_alias()
            remind_after = parse_days(self.remind_after, "remind_after")
            retrain_after = parse_days(self.retrain_after, "retrain_after")
            max_retrainings = parse_whole(self.max_retrainings, "max_retrainings", minimum=0)
            self.evaluation = self.read_dict("evaluation", Evaluation, needs=())
            task = TaskIdentity.of(context)
            moment = {"dag_id": task.dag_id, "run_id": task.run_id, "session_time": task.session_time}
            evaluation = {**self.evaluation, **moment}
            alarms, place = Alarms(self.hook.tracking(self.schema)), self._place(task)
            known, history = self._known(alarms, place, task)
            decision = decide(self.policy, evaluation, history, known, self._new_episode(task))
            decision = self._close_previous_alarm(decision, known)
            self.log.info("%s: %s", self.policy, decision.detail)
            if has_episodes(self.policy):
                remind = self._is_alert_due(decision, known, task, remind_after)
                retrain = self._is_retraining_due(decision, known, task, retrain_after, max_retrainings)
            else:
                remind = bool(decision.drifted) and self._is_reminder_due(task, remind_after)
                retrain = bool(decision.drifted)
            self._record(task, decision, place, remind=remind, retrain=retrain)
            self._keep_baselines(alarms, place, evaluation, history, decision, known, task)
        pushed: DriftDecision = {
            "drifted": decision.drifted,
            "statistic": decision.statistic,
            "threshold": decision.threshold,
            "detail": decision.detail,
            "p_value": decision.p_value,
            "compared_with": decision.compared_with,
            "alarm": decision.alarm,
            "episode_id": decision.episode_id,
            "remind": remind,
        }
        for key, value in pushed.items():
            context["ti"].xcom_push(key=key, value=value)
        return self._branch(decision, remind=remind, retrain=retrain)

    def _branch(self, decision: Decision, *, remind: bool, retrain: bool) -> str | list[str]:
        if retrain:
            followed = self.if_drifted
        elif decision.alarm in OPEN and self.if_lasting is not None:
            followed = self.if_lasting
        else:
            followed = self.if_stable
        if self.alert is None or not remind:
            return followed
        return [*_listed(followed), *_listed(self.alert)]

    def _place(self, task: TaskIdentity) -> Place:
        task_id = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
        version = self.evaluation.get("model_version")
        return Place(
            task.dag_id, task_id, str(self.evaluation.get("model_name")), None if version is None else str(version),
            dataset_of(self.evaluation),
        )  # fmt: skip

    def _new_episode(self, task: TaskIdentity) -> str:
        return task.record_id(self.evaluation.get("model_version"), key_of(self.policy), "episode")

    def _known(self, alarms: Alarms, place: Place, task: TaskIdentity) -> tuple[Known, History]:
        """Read the alarms before this decision, and the policy's history; reads only what the policy needs."""
        if not has_episodes(self.policy):
            return Known(), self._history()
        history = self._history()
        names = {str(row.get("model_name")) for row in history.evaluations}
        known = alarms.known(place, task.run_id, task.session_time, names)
        # A cleared task uses the baselines of its first decision.
        until = min((utc(row["recorded_at"]) for row in known.own.values()), default=None)
        kept = {}
        for metric, baseline in alarms.baselines(place, until=until).items():
            kept[(place.model_name, place.model_version, place.dataset, metric)] = list(baseline.estimates)
        if (champion := history.champion) is not None and champion != (place.model_name, place.model_version):
            other = dataclasses.replace(place, model_name=champion[0], model_version=champion[1])
            for metric, baseline in alarms.baselines(other, until=until).items():
                kept[(*champion, place.dataset, metric)] = list(baseline.estimates)
        return known, dataclasses.replace(history, alarmed=known.alarmed, kept=kept)

    def _close_previous_alarm(self, decision: Decision, known: Known) -> Decision:
        """Close the open alarm of the previous version, if there is one."""
        left = known.left.get(key_of(self.policy))
        if left is None or decision.alarm is not None or not has_episodes(self.policy):
            return decision
        version = self.evaluation.get("model_version")
        message = f"The alarm of version {left} is over: version {version} replaces it."
        return dataclasses.replace(decision, alarm=OVER, detail=f"{decision.detail} {message}")

    def _is_alert_due(self, decision: Decision, known: Known, task: TaskIdentity, after: timedelta | None) -> bool:
        if (own := known.own.get(key_of(self.policy))) is not None and own["alarm"] == decision.alarm:
            return bool(own["told"])
        if decision.alarm != LASTING:
            return decision.alarm in (OPENED, OVER)
        sent = [utc(row["session_time"]) for row in known.rows
                if row.get("told") and row.get("episode_id") == decision.episode_id]  # fmt: skip
        return is_due(sent, task.session_time, after)

    def _is_retraining_due(
        self, decision: Decision, known: Known, task: TaskIdentity, after: timedelta | None, maximum: int
    ) -> bool:
        if (own := known.own.get(key_of(self.policy))) is not None and own["alarm"] == decision.alarm:
            return bool(own["retrain"])
        rows = [row for row in known.rows if row.get("retrain") and row["run_id"] != task.run_id]
        done = [utc(row["session_time"]) for row in rows]
        if len(done) >= maximum and decision.alarm == OPENED:
            self.log.info("No retraining: this version has had %d, and max_retrainings is %d", len(done), maximum)
        if not retrains(decision, done, task.session_time, after, maximum):
            return False
        episode = [utc(row["session_time"]) for row in known.rows if row.get("episode_id") == decision.episode_id]
        if decision.alarm == LASTING and self._has_challenger_lost(min(episode, default=task.session_time)):
            self.log.info("No retraining: a challenger lost to this version after the alarm opened")
            return False
        return True

    def _has_challenger_lost(self, since: datetime) -> bool:
        """Whether a challenger has lost a comparison with this version since then."""
        lost = self.hook.tracking(self.schema).read(
            COMPARISONS, champion_name=self.evaluation.get("model_name"),
            champion_version=self.evaluation.get("model_version"), promoted=False,
        )  # fmt: skip
        return any(utc(row["session_time"]) >= since for row in lost)

    def _keep_baselines(
        self, alarms: Alarms, place: Place, evaluation: Mapping[str, Any], history: History, decision: Decision,
        known: Known, task: TaskIdentity,
    ) -> None:  # fmt: skip
        """Store the baseline of each part once there are enough evaluations, possibly including this one."""
        if known.own:  # cleared: the first decision stored it
            return
        for policy in _judges(self.policy):
            if str(policy.baseline).isdigit():
                continue
            estimates = list(policy.baseline_of(evaluation, history))
            own = measured_estimate(evaluation, policy.metric)
            is_own = policy.baseline == OWN or history.champion == (place.model_name, place.model_version)
            if is_own and own is not None and decision.alarm not in OPEN and len(estimates) < FIRST:
                estimates.append(own)
            if len(estimates) >= FIRST and is_own:
                alarms.keep(place, policy.metric, estimates, now=task.session_time, run_id=task.run_id)

    def _history(self) -> History:
        """Read the evaluations that the policy needs, if any."""
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
                        f"The evaluation has no model_name, so {self.policy} has no baseline: set model_name."
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

    def _is_reminder_due(self, task: TaskIdentity, remind_after: timedelta | None) -> bool:
        """Whether no alert on the same cause was sent within ``remind_after``, by the decisions of earlier runs."""
        if remind_after is None:
            return True
        last_sent = None
        found = self.hook.tracking(self.schema).read(
            DRIFT_RESULTS, **self._model(), check_name=str(self.policy), dag_id=task.dag_id, drifted=True
        )
        for time in sorted(utc(row["session_time"]) for row in found if row["run_id"] != task.run_id):
            if time <= task.session_time and (last_sent is None or time - last_sent >= remind_after):
                last_sent = time
        if last_sent is None or task.session_time - last_sent >= remind_after:
            return True
        next_due = last_sent + remind_after
        self.log.info("Alert suppressed: last sent %s, next after %s", last_sent.date(), next_due.date())
        return False

    def _record(self, task: TaskIdentity, decision: Decision, place: Place, *, remind: bool, retrain: bool) -> None:
        """Record one row for the decision, and one per part of a combined policy."""
        tracking = self.hook.tracking(self.schema)
        whole = str(self.policy)
        for check, part in _with_parts(whole, decision).items():
            row = {
                **self._model(),
                "session_time": task.session_time,
                "table_name": self.evaluation.get("test_table") or self.evaluation.get("table"),
                "check_name": check,
                **{name: getattr(part, name) for name in ("statistic", "p_value", "threshold", "drifted", "detail")},
                **{name: getattr(part, name) for name in ("error", "alarm", "episode_id")},
                "check_key": part.key,
                "dag_id": task.dag_id,
                "run_id": task.run_id,
                "task_id": place.task_id,
                "dataset": place.dataset or None,
                "told": remind if check == whole else None,
                "retrain": retrain if check == whole else None,
            }
            record_id = task.record_id(self.evaluation.get("model_version"), check, None)
            recorded = tracking.record(DRIFT_RESULTS, row, record_id=record_id)
            self.log.info("Decision of %s in %s: %s", check, tracking.name(DRIFT_RESULTS), recorded)

    def _model(self) -> dict[str, Any]:
        return {name: self.evaluation.get(name) for name in ("model_name", "model_version")}

    def _check_alias(self) -> None:
        if CHAMPION in needs(self.policy) and self.baseline_alias is None:
            raise InputError(
                f"{self.policy} of task {self.task_id!r} compares with the champion: set baseline_alias to its alias, "
                "such as 'census_champion'."
            )

    def _check_branches(self) -> None:
        dag = self.get_dag()
        groups = dag.task_group_dict if dag is not None else {}
        for name in ("if_drifted", "if_stable", "alert", "if_lasting"):
            for task_id in _listed(getattr(self, name)):
                group = groups.get(task_id)
                first = {task_id} if group is None else {task.node_id for task in group.get_roots()}
                if not first <= self.downstream_task_ids:
                    downstream = listing(sorted(self.downstream_task_ids)) or "none"
                    raise InputError(
                        f"{name} of task {self.task_id!r} is {task_id!r}, which is not directly downstream of it: "
                        f"its downstream tasks are {downstream}."
                    )


def _listed(branch: str | list[str] | None) -> list[str]:
    return [branch] if isinstance(branch, str) else list(branch or [])


def _with_parts(check: str, decision: Decision) -> dict[str, Decision]:
    """A decision and all its parts, by the text of each check; equal parts are merged."""
    found = {check: decision}
    for name, part in decision.parts:
        found |= _with_parts(name, part)
    return found


def _judges(policy: Any) -> list[WorseThanBaseline]:
    """The parts of a policy that compare with a baseline."""
    if isinstance(policy, (AnyOf, AllOf)):
        return [judge for part in policy.policies for judge in _judges(part)]
    if isinstance(policy, Consecutive):
        return _judges(policy.policy)
    return [policy] if isinstance(policy, WorseThanBaseline) else []


def require_smtp(context: Context) -> None:
    """``pre_execute`` of an email task: fail with instructions if its SMTP connection is missing."""
    conn_id = getattr(context["task"], "conn_id", None) or "smtp_default"
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise AirflowFailException(
            f"The email was not sent: the connection {conn_id!r} is not defined. Create it with connection type 'smtp' "
            f"in Airflow's UI, or set AIRFLOW_CONN_{conn_id.upper()}="
            "'smtp://user:password@mail.example.com:587?from_email=airflow%40example.com'."
        ) from None
