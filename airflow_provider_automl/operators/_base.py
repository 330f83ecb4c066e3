"""Shared operator code: validation of rendered arguments, work directories, error handling."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    XComArg,
    get_current_context,
)

from airflow_provider_automl.contracts import read
from airflow_provider_automl.errors import InputError, did_you_mean, listing, shortened
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.models.storage import check_store
from airflow_provider_automl.operators.links import QueryLink
from airflow_provider_automl.task import TaskIdentity, task_states

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context

    from airflow_provider_automl.launchers.process import ProcessLauncher
    from airflow_provider_automl.warehouse.base import Warehouse
    from airflow_provider_automl.warehouse.query import Query

_T = TypeVar("_T")

#: Seconds within which ``on_kill`` returns; Airflow kills the process after 5.
_KILL_TIMEOUT = 4.5

#: File in a task's work directory: contains the host name, and is locked while the task runs.
_OWNER = ".owner"


class _PrivateFiles:
    """State of :func:`private_files`: the number of active contexts, and the umask to restore."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active = 0
        self.umask = 0


_PRIVATE_FILES = _PrivateFiles()


@contextmanager
def private_files() -> Iterator[None]:
    """Make files and directories created by this process and its children accessible to their owner only.

    The umask belongs to the process: of several threads, the last one to leave restores it.
    """
    state = _PRIVATE_FILES
    with state.lock:
        if state.active == 0:
            state.umask = os.umask(0o077)
        state.active += 1
    try:
        yield
    finally:
        with state.lock:
            state.active -= 1
            if state.active == 0:
                os.umask(state.umask)


@cache
def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The ``__init__`` parameters of an operator class and its parents."""
    found: dict[str, inspect.Parameter] = {}
    for parent in kind.__mro__:
        if "__init__" in vars(parent) and issubclass(parent, AutoMLMixin):
            found = {**inspect.signature(vars(parent)["__init__"]).parameters, **found}
    return found


class AutoMLMixin(BaseOperator):
    """Behaviour shared by all operators.

    A template that renders to None or to an empty string is an error: it refers to a task that did not run or to a
    missing value. Invalid input fails the task without retries. If the task that provides the input was skipped, this
    task is skipped too, whatever its trigger rule.
    """

    #: Arguments without a default that may still render to None.
    optional_when_rendered: ClassVar[frozenset[str]] = frozenset()
    #: Arguments with a default that are results of other tasks: if such a task was skipped, the default does not apply.
    made_by_tasks: ClassVar[frozenset[str]] = frozenset({"model", "prediction"})

    def _remember_given(self) -> None:
        """Keep the arguments as given, before rendering. Call this at the end of ``__init__``."""
        self._given = {name: value for name in self.template_fields if (value := getattr(self, name)) is not None}

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render as Airflow does; without a logical date, ``ts_nodash`` and similar macros use ``run_after``.

        (For a mapped task, Airflow calls this method instead of ``render_template_fields``.)

        :raises AirflowSkipException: a template refers to the result of a skipped task.
        """
        from jinja2 import UndefinedError

        try:
            super()._do_render_template_fields(parent, template_fields, _with_times(context), jinja_env, seen_oids)
        except UndefinedError:
            for name in self._given:
                self.skip_without(name)
            raise

    def check_rendered(self) -> None:
        """Normalize rendered arguments: None, '' or 'None' restores an argument's default; an integer rendered for a
        string argument becomes a string.

        :raises AirflowSkipException: the task that provides an argument was skipped.
        :raises InputError: an argument without a default rendered to None or an empty string, or a string argument to
            another type.
        """
        parameters = _parameters(type(self))
        for name, given in self._given.items():
            value = getattr(self, name)
            parameter = parameters.get(name)
            if parameter is not None and parameter.annotation in ("str", "str | None"):
                if isinstance(value, int) and not isinstance(value, bool):
                    value = str(value)
                    setattr(self, name, value)
                elif value is not None and not isinstance(value, str):
                    raise InputError(
                        f"{name} of task {self.task_id!r} is {shortened(repr(value))}, rendered from "
                        f"{shortened(given)}: expected a string. If the DAG sets render_template_as_native_obj, quote "
                        "the value inside the template."
                    )
            from_template = isinstance(given, str) and "{{" in given and value in ("None", "")
            if value is None or from_template:
                required = parameter is None or parameter.default is parameter.empty
                if required or name in self.made_by_tasks:
                    self.skip_without(name)
                is_missing = name in self.made_by_tasks and isinstance(given, XComArg)
                if parameter is not None and parameter.default is not parameter.empty and not is_missing:
                    setattr(self, name, parameter.default)
                    continue
                if name in self.optional_when_rendered:
                    continue
                if isinstance(given, XComArg):
                    raise InputError(
                        f"{self.argument(name)} is None: the other task returned nothing, or has no XCom with this "
                        "key. Pass its whole output, such as train.output, or one of the keys that it returns."
                    )
                raise InputError(
                    f"The template {shortened(given)} of {name} in task {self.task_id!r} rendered to {value!r}: check "
                    "that the task or Param that it refers to provides this value."
                )

    def skip_without(self, name: str) -> None:
        """Skip this task if a task that provides an argument was skipped (if mapped: if all its instances were).

        :raises AirflowSkipException: the other task was skipped.
        """
        try:
            context = get_current_context()
        except (RuntimeError, AirflowException):  # not run by Airflow
            return
        for task_id in _source_tasks(self, self._given.get(name)):
            if set(task_states(context, task_id)) == {"skipped"}:
                raise AirflowSkipException(
                    f"Skipping: task {task_id!r}, which provides {name} of task {self.task_id!r}, was skipped."
                )

    def argument(self, name: str) -> str:
        """An argument for a message, with what the DAG passes if that comes from another task:
        ``model=train.output['model'] of task 'predict'``.
        """
        given = self._given.get(name)
        source = ""
        if isinstance(given, XComArg):
            outputs = [(operator.task_id, key) for operator, key in XComArg.iter_xcom_references(given)]
            source = ", ".join(
                f"{task}.output" + ("" if key == "return_value" else f"[{key!r}]") for task, key in outputs
            )
        elif isinstance(given, str) and "{{" in given:
            source = shortened(given)
        return f"{name}{source and '='}{source} of task {self.task_id!r}"

    def read_dict(self, name: str, contract: type[_T], needs: Collection[str] | None = None) -> _T:
        """Read an argument that is the dict of another task; see :func:`~airflow_provider_automl.contracts.read`."""
        return read(getattr(self, name), contract, argument=self.argument(name), needs=needs)

    @contextmanager
    def terminal_input_errors(self) -> Iterator[None]:
        """Turn an :class:`InputError` into a task failure without retries that has the same message."""
        try:
            yield
        except InputError as error:
            raise AirflowFailException(str(error)) from error


class AutoMLOperator(AutoMLMixin):
    """An operator that uses a warehouse and returns a plain dict, each entry also an XCom of its own.

    :param automl_conn_id: the connection of type ``automl``.
    :param warehouse_conn_id: a warehouse connection that overrides the one of ``automl_conn_id``.
    """

    template_fields: Sequence[str] = ("automl_conn_id", "warehouse_conn_id")
    template_ext: Sequence[str] = (".sql",)
    operator_extra_links: Collection[BaseOperatorLink] = (QueryLink(),)
    ui_color = "#e8f0fe"
    #: Whether the task saves models to the model store.
    saves_models: ClassVar[bool] = False
    #: The web page of the latest query.
    query_url: str | None = None

    def __init__(
        self, *, automl_conn_id: str = AutoMLHook.default_conn_name, warehouse_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.automl_conn_id = automl_conn_id
        self.warehouse_conn_id = warehouse_conn_id
        self._launcher: ProcessLauncher | None = None

    @cached_property
    def hook(self) -> AutoMLHook:
        """The hook for the rendered connection ids."""
        return AutoMLHook(self.automl_conn_id, self.warehouse_conn_id)

    def execute(self, context: Context) -> Any:
        """Validate the rendered arguments, then :meth:`perform`; files are accessible to their owner only."""
        with private_files(), self.terminal_input_errors():
            self.check_rendered()
            self.link_queries(context)
            return self.perform(context)

    def link_queries(self, context: Context) -> None:
        """Publish the link to a query's page as soon as the query starts."""

        def push(url: str) -> None:
            self.query_url = url
            with suppress(Exception):  # a missing link must not fail the query
                context["ti"].xcom_push(key=QueryLink.xcom_key, value=url)

        self.hook.on_query = push

    def perform(self, context: Context) -> Any:
        """Do the task's work; returns strict JSON: one of the dicts in :mod:`~airflow_provider_automl.contracts`."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Kill the job and its child processes, and cancel this task's queries."""
        deadline = time.monotonic() + _KILL_TIMEOUT
        # In threads: this may run in a signal handler. The interrupted statement may hold a lock of the driver, or the
        # server may not answer.
        warehouses = self.hook.opened if "hook" in self.__dict__ else []
        threads = [threading.Thread(target=self._cancel, args=(each,), daemon=True) for each in warehouses]
        for thread in threads:
            thread.start()
        try:
            if self._launcher is not None:
                self._launcher.kill()
        finally:
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _cancel(self, warehouse: Warehouse) -> None:
        try:
            warehouse.cancel()
        except Exception as error:
            self.log.warning("Could not cancel this task's query on %s: %s", warehouse.dialect, error)

    def preflight(self) -> None:
        """Check the task's requirements: the warehouse driver, the packages of the job's interpreter, and the model
        store if the task saves models.

        :raises InputError: lists everything that is missing, each with its fix.
        """
        problems = []
        try:
            _ = self.hook.warehouse
        except InputError as error:
            problems.append(str(error))
        try:
            if self._launcher is not None:
                self._launcher.preflight()
        except InputError as error:
            problems.append(str(error))
        try:
            if self.saves_models:
                check_store(self.hook.settings.model_store)
        except InputError as error:
            problems.append(str(error))
        if problems:
            raise InputError(" ".join(problems))

    @contextmanager
    def work_directory(self, task: TaskIdentity) -> Iterator[Path]:
        """Create an empty staging directory for this task instance, and remove it afterwards.

        Directories left by killed tasks of this host are removed as well.
        """
        directory = self.hook.staging(f"{task.task_id[:60]}-{task.key}")
        _remove_orphans(directory.parent)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            with (directory / f"{_OWNER}.new").open("w") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX)  # before other tasks see it: without a lock it is an orphan
                owner.write(socket.gethostname())
                owner.flush()
                (directory / f"{_OWNER}.new").rename(directory / _OWNER)
                yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def source(self, input_table: str | None, sql: str | None) -> str | Query:
        """The table or the query that this task reads.

        :raises InputError: neither or both are set.
        """
        from airflow_provider_automl.warehouse.query import Query

        if (input_table is None) == (sql is None):
            given = "neither input_table nor sql" if input_table is None else "both input_table and sql"
            raise InputError(f"Task {self.task_id!r} sets {given}: set exactly one of them.")
        return Query(sql) if sql is not None else str(input_table)


def notebook_source(notebook: str | None, dag: Any, into: Path) -> str | None:
    """Copy a user's notebook to a local file; returns None for the built-in one.

    :param notebook: a path, absolute or relative to the DAG file, or a URI that ``ObjectStoragePath`` supports.
    :param dag: the DAG, for its file's location.
    :param into: the path of the copy.
    :raises InputError: the file does not exist, or is not a notebook.
    """
    if notebook is None:
        return None
    try:
        if re.match(r"https?://", notebook, re.IGNORECASE):
            raise InputError(
                f"The notebook {notebook} is a web URL, but would run as code: use a file or an object store."
            )
        if "://" in notebook:
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            text = ObjectStoragePath(notebook).read_text()
        else:
            text = (Path(dag.fileloc).parent / notebook).read_text(encoding="utf-8")
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"Could not read the notebook {notebook}: {error}.") from error
    try:
        found = json.loads(text)
        cells = [cell["cell_type"] for cell in found["cells"]]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{notebook} is not a notebook: expected an .ipynb file of format 4.") from None
    if "code" not in cells or found.get("nbformat") != 4:
        raise InputError(f"The notebook {notebook} has no code cell, or is not in format 4.")
    into.write_text(text, encoding="utf-8")
    return str(into)


def require_columns(columns: Mapping[str, str], names: Sequence[str], *, what: str, source: object) -> None:
    """Check that ``columns`` has all ``names``; case-sensitive.

    :raises InputError: lists the missing columns, each with its closest match.
    """
    if missing := [f"{name!r}{did_you_mean(name, columns)}" for name in names if name not in columns]:
        raise InputError(f"{source} has no {what} {listing(missing, 5)}: its columns are {listing(columns)}.")


def _source_tasks(task: BaseOperator, given: Any) -> list[str]:
    """The tasks that an argument gets its value from: by their ``output``, or by a template that names them."""
    tasks = [operator.task_id for operator, _ in XComArg.iter_xcom_references(given)]
    text = str(given)
    if "{{" in text:
        upstream = task.get_flat_relative_ids(upstream=True)
        tasks += sorted(task_id for task_id in upstream if re.search(rf"""(['"]){re.escape(task_id)}\1""", text))
    return tasks


def _remove_orphans(staging: Path) -> None:
    """Remove work directories of dead tasks of this host: the kernel has released their locks."""
    for owner in staging.glob(f"*/{_OWNER}"):
        try:
            with owner.open() as file:
                if file.read() == socket.gethostname():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(owner.parent, ignore_errors=True)
        except OSError:
            continue  # the task is running, or the directory is gone already


def _with_times(context: Context) -> Context:
    """Add the time macros that Airflow omits for a run without a logical date."""
    if context.get("ts_nodash") is not None or "dag_run" not in context:
        return context
    time = context["dag_run"].run_after.astimezone(UTC)
    times = {
        "ts": time.isoformat(),
        "ts_nodash": time.strftime("%Y%m%dT%H%M%S"),
        "ds": time.strftime("%Y-%m-%d"),
        "ds_nodash": time.strftime("%Y%m%d"),
    }
    return {**context, **times}  # type: ignore[typeddict-item]
