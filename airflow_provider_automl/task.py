"""Which task instance is at work, and the states of its neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_automl.compat import has_pages, run_url
from airflow_provider_automl.tracking.store import record_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


@dataclass(frozen=True)
class TaskIdentity:
    """The task instance at work, for recorded rows and for names.

    :param generation: the same for all retries; changes when the task is cleared.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    generation: int
    session_time: datetime
    user_id: str

    @classmethod
    def of(cls, context: Context | Mapping[str, Any]) -> TaskIdentity:
        """Read a task context. Without a logical date, the session time is ``run_after``."""
        ti, dag_run = context["ti"], context["dag_run"]
        session_time = dag_run.logical_date or dag_run.run_after
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
            generation=ti.max_tries or 0,
            session_time=session_time.astimezone(UTC),
            user_id=getattr(dag_run, "triggering_user_name", None) or context["task"].owner,
        )

    @property
    def task_attempt_id(self) -> str:
        """A human-readable id: DAG, run, task, map index if mapped, and try number."""
        mapped = [] if self.map_index < 0 else [str(self.map_index)]
        return "/".join([self.dag_id, self.run_id, self.task_id, *mapped, str(self.try_number)])

    def about(self, source: str | None, **links: str | None) -> dict[str, Any]:
        """Describe the task for its report.

        :param source: the table that was read; None for a query.
        :param links: link texts and URLs of pages of this Airflow; entries without a URL are omitted.
        """
        pages = {f"run {self.run_id}": run_url(self.dag_id, self.run_id), **links}
        return {
            "source": source or "a query",
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "run_id": self.run_id,
            "session_time": self.session_time.isoformat(sep=" ", timespec="seconds"),
            # Paths only: the host name may change before the report is opened.
            "links": {text: urlsplit(url).path for text, url in pages.items() if url} if has_pages() else {},
        }

    @property
    def key(self) -> str:
        """A short hash for names of directories and tables, the same for all tries of this task instance."""
        parts = [self.dag_id, self.run_id, self.task_id, str(self.map_index)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def version(self) -> str:
        """The model version that this task instance trains, the same for all retries."""
        return f"{self.session_time:%Y%m%dT%H%M%S}-{self.key}-{self.generation}"

    def record_id(self, *more: object) -> str:
        """The ``record_id`` of the row that this task instance records."""
        return record_id(self.dag_id, self.run_id, self.task_id, self.map_index, *more)


def task_states(context: Context | Mapping[str, Any], task_id: str) -> list[str]:
    """The states of another task of this run: at the same map index if it is mapped like this task, else of all
    instances. Read through the Task SDK, or from the DAG run in Airflow 2.
    """
    ti: Any = context["ti"]
    index = -1 if ti.map_index is None else ti.map_index
    same = f"{task_id}_{index}"
    if hasattr(ti, "get_task_states"):
        by_run = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
        states = dict(by_run.get(ti.run_id) or {})  # keys are "task", or "task_0" and so on
    else:
        dag_run: Any = context["dag_run"]
        instances = [each for each in dag_run.get_task_instances() if each.task_id == task_id]
        states = {f"{task_id}_{each.map_index}": each.state for each in instances}
    found = [states[same]] if index >= 0 and same in states else states.values()
    return [str(getattr(state, "value", state)) for state in found if state]
