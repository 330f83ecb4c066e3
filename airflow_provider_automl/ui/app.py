"""The pages in Airflow's web server: reports on trainings and predictions, from the model store wherever it lives.

``GET /automl/reports/<connection>/<model>/<version>/<file>`` answers with a report's page or notebook. Who is not
logged in gets 401, who may not read the DAG that the report is from 403, what is no report 404, and 503 while the
registry is out of reach. Nothing but reports is served, whatever the path says.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from airflow_provider_automl.errors import AutoMLError, BusyError, InputError
from airflow_provider_automl.hooks.automl import AutoMLHook

log = logging.getLogger(__name__)

#: Below a version's directory; the first group is the directory of a prediction's report.
_REPORT = re.compile(r"(?:report|(predictions/[0-9A-Za-z-]{1,64}))/(?:train|predict)\.(html|ipynb)")
_PATIENCE = 15.0  # seconds for which a page waits for the registry
_MOST_BYTES = 200 * 2**20

# A document of no origin: its scripts, if a user's notebook has some, run without Airflow's cookies, and reach nobody.
_HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' "
        "'unsafe-eval'; img-src data: blob:; font-src data:; frame-ancestors 'self'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
_TYPES = {"html": "text/html; charset=utf-8", "ipynb": "application/x-ipynb+json"}

# Without what FastAPI would serve to anybody: its documentation and schema.
app = FastAPI(
    title="AutoML", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None
)  # fmt: skip


@app.get("/reports/{automl_conn_id}/{model_name}/{model_version}/{path:path}")
def report(
    automl_conn_id: str, model_name: str, model_version: str, path: str, request: Request, user: GetUserDep
) -> Response:
    """A report's page (``.html``) or notebook (``.ipynb``)."""
    match = _REPORT.fullmatch(path)
    if match is None:
        raise _no_report()
    hook = AutoMLHook(automl_conn_id, lock_timeout=_PATIENCE)
    try:
        _require_automl_connection(hook)
        row = hook.models.find(model_name=model_name.replace("*", "?"), model_version=model_version)
        dag_id = row["dag_id"] if match[1] is None else _dag_of(hook, row, match[1])
        requires_access_dag("GET", param_dag_id=str(dag_id))(request, user)
        content = _read(hook, row, path)
    except BusyError as error:
        log.warning("A report cannot be shown now: %s", error)
        raise HTTPException(503, "The registry of models is busy: try again.", {"Retry-After": "5"}) from error
    except (AutoMLError, OSError, ValueError) as error:
        log.info("There is no report %s of %s %s: %s", path, model_name, model_version, error)
        raise _no_report() from error
    headers = dict(_HEADERS)
    if match[2] == "ipynb":
        headers["Content-Disposition"] = f'attachment; filename="{path.rpartition("/")[2]}"'
    return Response(content, media_type=_TYPES[match[2]], headers=headers)


def _require_automl_connection(hook: AutoMLHook) -> None:
    """Settings must not be read out of connections of other types; the default one need not exist."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        kind = hook.get_connection(hook.automl_conn_id).conn_type
    except AirflowNotFoundException:
        return
    if kind != hook.conn_type:
        raise InputError(f"The connection is of type {kind!r}.")


def _dag_of(hook: AutoMLHook, row: dict[str, Any], directory: str) -> str:
    """The DAG that a prediction's report is from."""
    return str(json.loads(hook.models.file(row, f"{directory}/run.json").read_text())["dag_id"])


def _read(hook: AutoMLHook, row: dict[str, Any], path: str) -> bytes:
    file = hook.models.file(row, path)
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError("it is too large to be shown")
    content: bytes = file.read_bytes()
    return content


def _no_report() -> HTTPException:
    return HTTPException(404, "There is no such report.")
