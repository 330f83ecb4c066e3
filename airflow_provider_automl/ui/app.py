"""Pages in Airflow's web server: reports of trainings and predictions, read from the model store.

``GET /automl/reports/<connection>/<model>/<version>/<file>`` returns a report's page or notebook. It requires the
permissions that the same content requires elsewhere in Airflow: to read the report's DAG, its runs and its task logs. A
browser without a session is redirected to Airflow's login and back; any other client gets 401. A missing report and a
report without permission are both 404, so that nobody can find out which versions exist. 503: the registry or the store
did not answer in time. Only reports are served.

A lookup may wait for a warehouse, so it runs in dedicated threads (at most ``_MAX_LOOKUPS``) and not in those of
Airflow's routes; a request that takes longer than ``_TIMEOUT`` seconds gets 503.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from html import escape
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_provider_automl.compat import base_url
from airflow_provider_automl.errors import AutoMLError, BusyError, InputError
from airflow_provider_automl.hooks.automl import AutoMLHook

log = logging.getLogger(__name__)

#: Paths below a version's directory; the first group is the directory of a prediction's report.
_REPORT = re.compile(r"(?:report|(predictions/[0-9A-Za-z-]{1,64}))/(?:train|predict)\.(html|ipynb)")
_TIMEOUT = 15.0  # seconds for a request in all: a free thread, the registry and the store
_MAX_LOOKUPS = 4
_MAX_BYTES = 200 * 2**20
#: What a user must be allowed to read: the DAG, its runs and its task logs, as for Airflow's own pages.
_ENTITIES = (None, DagAccessEntity.RUN, DagAccessEntity.TASK_LOGS)

# An opaque origin: scripts of a user's notebook run without Airflow's cookies and without network access.
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

# FastAPI would serve its documentation and schema without authentication.
app = FastAPI(
    title="AutoML", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None
)  # fmt: skip


class _Lookups:
    """Runs functions that may hang, each in its own thread; the limit includes hanging ones."""

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, work: Callable[[], Any]) -> Any:
        """Run ``work`` and return its result.

        :raises TimeoutError: no thread was free, or the work was not done, within ``_TIMEOUT`` seconds.
        """
        async with asyncio.timeout(_TIMEOUT):
            await self._free.acquire()
            loop = asyncio.get_running_loop()
            done: asyncio.Future[Any] = loop.create_future()

            def finish(result: Any, error: BaseException | None) -> None:
                self._free.release()
                if done.cancelled():
                    return
                if error is None:
                    done.set_result(result)
                else:
                    done.set_exception(error)

            def run() -> None:
                result, error = None, None
                try:
                    result = work()
                except BaseException as raised:
                    error = raised
                with suppress(RuntimeError):  # the server has shut down meanwhile
                    loop.call_soon_threadsafe(finish, result, error)

            # A daemon thread: unlike a pool's threads, it does not block the server's shutdown if it hangs.
            threading.Thread(target=run, name="automl report", daemon=True).start()
            return await done


_lookups = _Lookups(_MAX_LOOKUPS)


@app.get("/reports/{automl_conn_id}/{model_name}/{model_version}/{path:path}")
async def report(
    automl_conn_id: str, model_name: str, model_version: str, path: str, request: Request, user: GetUserDep
) -> Response:
    """Return a report's page (``.html``) or notebook (``.ipynb``)."""
    match = _REPORT.fullmatch(path)
    if match is None:
        raise _no_report()

    def look_up() -> bytes:
        hook = AutoMLHook(automl_conn_id, lock_timeout=_TIMEOUT)
        _require_automl_connection(hook)
        row = hook.models.find(model_name=model_name.replace("*", "?"), model_version=model_version)
        dag_id = row["dag_id"] if match[1] is None else _dag_of(hook, row, match[1])
        _require_permissions(str(dag_id), request, user)
        return _read(hook, row, path)

    try:
        content = await _lookups.run(look_up)
    except (BusyError, TimeoutError) as error:
        log.warning("Could not show a report: %s", error or f"no answer within {_TIMEOUT:.0f} s")
        detail = "The model registry does not respond: try again later."
        raise HTTPException(503, detail, {"Retry-After": "5"}) from error
    except (AutoMLError, OSError, ValueError) as error:
        log.info("No report %s of %s %s: %s", path, model_name, model_version, error)
        raise _no_report() from error
    headers = dict(_HEADERS)
    if match[2] == "ipynb":
        headers["Content-Disposition"] = f'attachment; filename="{path.rpartition("/")[2]}"'
    return Response(content, media_type=_TYPES[match[2]], headers=headers)


@app.exception_handler(AnyHTTPException)
async def failed(request: Request, error: AnyHTTPException) -> Response:
    """Return the error as JSON, to browsers as a page; redirect browsers without a session to the login and back."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    root = urlsplit(base_url()).path
    if error.status_code == 401:
        below = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        here = {"next": f"{root}/automl{quote(below)}"}
        return RedirectResponse(f"{root}/api/v2/auth/login?{urlencode(here)}", 302)
    page = _PAGE.format(detail=escape(str(error.detail)), home=escape(root or "/"), status=error.status_code)
    return HTMLResponse(page, error.status_code, {**_HEADERS, **(error.headers or {})})


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{detail}</title></head>
<body style="font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 15vh auto; padding: 0 1.5em">
<main><h1 style="font-size: 1.3em">{detail}</h1>
<p>Status {status}. <a href="{home}">Back to Airflow</a></p></main></body></html>
"""


def _require_automl_connection(hook: AutoMLHook) -> None:
    """Check the connection's type: settings must not be read from others; the default one need not exist."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        kind = hook.get_connection(hook.automl_conn_id).conn_type
    except AirflowNotFoundException:
        return
    if kind != hook.conn_type:
        raise InputError(f"The connection is of type {kind!r}, not {hook.conn_type!r}.")


def _require_permissions(dag_id: str, request: Request, user: Any) -> None:
    """Check the user's permissions.

    :raises InputError: the user may not read the DAG, its runs or its task logs.
    """
    for entity in _ENTITIES:
        check = requires_access_dag("GET", entity, param_dag_id=dag_id)
        try:
            waiting = check(request, user)
            if inspect.isawaitable(waiting):
                asyncio.run(waiting)
        except HTTPException as error:
            what = "the DAG" if entity is None else entity.value
            raise InputError(
                f"The user is not permitted to read {what} of {dag_id!r} ({error.status_code})."
            ) from error


def _dag_of(hook: AutoMLHook, row: dict[str, Any], directory: str) -> str:
    """The DAG of a prediction's report."""
    return str(json.loads(hook.models.file(row, f"{directory}/run.json").read_text())["dag_id"])


def _read(hook: AutoMLHook, row: dict[str, Any], path: str) -> bytes:
    file = hook.models.file(row, path)
    if (size := file.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"its size of {size:,} bytes is above the limit of {_MAX_BYTES:,}")
    content: bytes = file.read_bytes()
    return content


def _no_report() -> HTTPException:
    return HTTPException(404, "The report does not exist, or you are not permitted to see it.")
