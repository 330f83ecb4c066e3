"""Extra links of the operators, shown as buttons on a task instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey


class NotebookLink(BaseOperatorLink):
    """The executed notebook of a training."""

    name = "Notebook"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """The notebook's URL, empty while there is none."""
        return str(XCom.get_value(ti_key=ti_key, key="notebook_url") or "")
