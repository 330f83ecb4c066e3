"""Extra links of the operators, shown as buttons on a task instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

from airflow_provider_automl.compat import page_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey


class NotebookLink(BaseOperatorLink):
    """The executed notebook of a training."""

    name = "Notebook"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Where the notebook is; empty while there is none.

        A page of this Airflow's without its host, so that the link outlives a new name of the host, or https.
        """
        return page_path(str(XCom.get_value(ti_key=ti_key, key="notebook_url") or ""))


class QueryLink(BaseOperatorLink):
    """The engine's own page of the task's newest query; there while the task runs."""

    name = "Query"
    #: Where Airflow looks for this link, and so where the operators keep it from the query's start.
    xcom_key = "_link_QueryLink"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """The page's URL, empty where the engine has none."""
        if hasattr(operator, "query_url"):  # the worker, when the task ends
            return operator.query_url or ""
        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")
