"""Branch on drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException, BaseHook
from airflow.providers.standard.operators.python import BranchPythonOperator

from airflow_provider_automl.drift.policies import Decision
from airflow_provider_automl.errors import InputError
from airflow_provider_automl.operators._base import AutoMLMixin

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_automl.drift.policies import Policy


def decide(policy: Policy, evaluation: Mapping[str, Any]) -> Decision:
    """What ``policy`` says of ``evaluation``.

    :raises InputError: the policy's own parameters are wrong.
    """
    try:
        return policy.check(evaluation)
    except ValueError as error:
        raise InputError(str(error)) from error


class AutoMLDriftBranchOperator(AutoMLMixin, BranchPythonOperator):
    """Branch to the tasks that act on drift, or to those that do not.

    Both branches must be directly downstream, which is checked before anything is decided. The decision is also
    in XCom, under the keys ``drifted``, ``statistic``, ``threshold`` and ``detail`` (one sentence, fit for a mail).

    :param evaluation: an evaluation's dict: ``evaluate.output``.
    :param policy: what counts as drift, such as ``below(0.93)``; its fields may be templates.
    :param if_drifted: task id, or ids, to follow on drift.
    :param if_stable: task id, or ids, to follow otherwise.
    """

    template_fields: Sequence[str] = ("evaluation", "policy", "if_drifted", "if_stable")
    template_fields_renderers = {"evaluation": "json"}
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        evaluation: Any,
        policy: Policy,
        if_drifted: str | list[str],
        if_stable: str | list[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=decide, **kwargs)
        self.evaluation = evaluation
        self.policy = policy
        self.if_drifted = if_drifted
        self.if_stable = if_stable
        self._remember_given()

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render the policy's fields too; it is frozen, so a rendered copy takes its place."""
        super().render_template_fields(context, jinja_env)
        policy: Any = self.policy
        if dataclasses.is_dataclass(type(policy)):
            fields = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
            rendered = {name: self.render_template(value, context, jinja_env) for name, value in fields.items()}
            self.policy = dataclasses.replace(policy, **rendered)

    def choose_branch(self, context: Context) -> str | list[str]:
        """Check both branches, ask the policy, say why, branch."""
        with self.terminal_input_errors():
            self.check_rendered()
            self._check_branches()
            if not isinstance(self.evaluation, Mapping):
                raise InputError(f"evaluation is {str(self.evaluation)[:100]!r}: give the dict of an evaluation.")
            decision = decide(self.policy, self.evaluation)
        self.log.info("%s: %s", self.policy, decision.detail)
        for key, value in dataclasses.asdict(decision).items():
            context["ti"].xcom_push(key=key, value=value)
        return self.if_drifted if decision.drifted else self.if_stable

    def _check_branches(self) -> None:
        dag = self.get_dag()
        groups = dag.task_group_dict if dag is not None else {}
        for name in ("if_drifted", "if_stable"):
            branch = getattr(self, name)
            for task_id in [branch] if isinstance(branch, str) else branch:
                group = groups.get(task_id)
                first = {task_id} if group is None else {task.node_id for task in group.get_roots()}
                if not first <= self.downstream_task_ids:
                    downstream = ", ".join(sorted(self.downstream_task_ids)) or "nothing"
                    raise InputError(
                        f"{name} of task {self.task_id!r} is {task_id!r}, which is not directly downstream of it: "
                        f"downstream is {downstream}."
                    )


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
