"""The pages in Airflow's web server: reports on trainings and predictions, from the model store wherever it lives.

``GET /automl/reports/<connection>/<model>/<version>/<file>`` answers with a report's page or notebook. It wants the
rights that the same content wants elsewhere in Airflow: to read the DAG that the report is from, its runs and its task
logs. A browser without a session is sent to Airflow's login, and comes back; any other client gets 401. What is no
report, and what one may not see, are both 404: nobody learns which versions there are. 503: the registry or the store
did not answer in time. Nothing but reports is served, whatever the path says.

Looking a report up waits for a warehouse, so it is done by a few threads of its own (``_MOST_AT_ONCE``), never by those
that Airflow's routes use, and whoever waits longer than ``_PATIENCE`` seconds gets 503.
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

#: Below a version's directory; the first group is the directory of a prediction's report.
_REPORT = re.compile(r"(?:report|(predictions/[0-9A-Za-z-]{1,64}))/(?:train|predict)\.(html|ipynb)")
_PATIENCE = 15.0  # seconds for which a page waits for a place among the look-ups, the registry and the store, in all
_MOST_AT_ONCE = 4
_MOST_BYTES = 200 * 2**20
#: What Airflow's own pages want of who sees a run's results and reads its log.
_RIGHTS = (None, DagAccessEntity.RUN, DagAccessEntity.TASK_LOGS)

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


class _Lookups:
    """Runs work that may hang, in threads of its own: at most so many, those that hang among them."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def run(self, work: Callable[[], Any]) -> Any:
        """The work's result.

        :raises TimeoutError: no thread was free, or the work was not done, within ``_PATIENCE`` seconds.
        """
        async with asyncio.timeout(_PATIENCE):
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
                with suppress(RuntimeError):  # the server has ended meanwhile
                    loop.call_soon_threadsafe(finish, result, error)

            # A thread of its own: one that hangs must not keep the server from ending, as those of a pool would.
            threading.Thread(target=run, name="automl report", daemon=True).start()
            return await done


_lookups = _Lookups(_MOST_AT_ONCE)


@app.get("/reports/{automl_conn_id}/{model_name}/{model_version}/{path:path}")
async def report(
    automl_conn_id: str, model_name: str, model_version: str, path: str, request: Request, user: GetUserDep
) -> Response:
    """A report's page (``.html``) or notebook (``.ipynb``)."""
    match = _REPORT.fullmatch(path)
    if match is None:
        raise _no_report()

    def look_up() -> bytes:
        hook = AutoMLHook(automl_conn_id, lock_timeout=_PATIENCE)
        _require_automl_connection(hook)
        row = hook.models.find(model_name=model_name.replace("*", "?"), model_version=model_version)
        dag_id = row["dag_id"] if match[1] is None else _dag_of(hook, row, match[1])
        _require_rights(str(dag_id), request, user)
        return _read(hook, row, path)

    try:
        content = await _lookups.run(look_up)
    except (BusyError, TimeoutError) as error:
        log.warning("A report cannot be shown now: %s", error or f"no answer within {_PATIENCE:.0f} s")
        detail = "The registry of models does not answer now: try again in a while."
        raise HTTPException(503, detail, {"Retry-After": "5"}) from error
    except (AutoMLError, OSError, ValueError) as error:
        log.info("There is no report %s of %s %s: %s", path, model_name, model_version, error)
        raise _no_report() from error
    headers = dict(_HEADERS)
    if match[2] == "ipynb":
        headers["Content-Disposition"] = f'attachment; filename="{path.rpartition("/")[2]}"'
    return Response(content, media_type=_TYPES[match[2]], headers=headers)


@app.exception_handler(AnyHTTPException)
async def failed(request: Request, error: AnyHTTPException) -> Response:
    """Say it in JSON, to a browser as a page; a browser without a session is sent to the login, and comes back."""
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
    """Settings must not be read out of connections of other types; the default one need not exist."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    try:
        kind = hook.get_connection(hook.automl_conn_id).conn_type
    except AirflowNotFoundException:
        return
    if kind != hook.conn_type:
        raise InputError(f"The connection is of type {kind!r}.")


def _require_rights(dag_id: str, request: Request, user: Any) -> None:
    """:raises InputError: the user may not see runs and task logs of the DAG."""
    for entity in _RIGHTS:
        check = requires_access_dag("GET", entity, param_dag_id=dag_id)
        try:
            waiting = check(request, user)
            if inspect.isawaitable(waiting):
                asyncio.run(waiting)
        except HTTPException as error:
            what = "the DAG" if entity is None else entity.value
            raise InputError(f"The user may not read {what} of {dag_id!r} ({error.status_code}).") from error


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
    return HTTPException(404, "There is no such report, or you may not see it.")
