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
        """The notebook's URL; empty if there is none.

        Pages of this Airflow are linked without a host, so that the link survives a change of host name or scheme.
        """
        return page_path(str(XCom.get_value(ti_key=ti_key, key="notebook_url") or ""))


class QueryLink(BaseOperatorLink):
    """The engine's web page of the task's latest query, available while the task runs."""

    name = "Query"
    #: The XCom key that Airflow reads for this link; the operators set it when the query starts.
    xcom_key = "_link_QueryLink"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """The page's URL; empty if the engine has no such page."""
        if hasattr(operator, "query_url"):  # the worker, when the task ends
            return operator.query_url or ""
        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")
