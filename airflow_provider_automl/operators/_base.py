"""What every operator of this package shares: the run it belongs to, the check of what was rendered, its failures."""

from __future__ import annotations

import fcntl
import hashlib
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
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    XComArg,
    get_current_context,
)

from airflow_provider_automl.compat import has_pages, run_url
from airflow_provider_automl.errors import InputError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.models.store import check_store
from airflow_provider_automl.operators.links import QueryLink
from airflow_provider_automl.tracking.store import record_id

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context

    from airflow_provider_automl.launchers.process import ProcessLauncher
    from airflow_provider_automl.warehouse.base import Warehouse
    from airflow_provider_automl.warehouse.query import Query

#: Seconds in which a task that is told to stop has stopped; Airflow kills it after 5.
_PATIENCE = 4.5

#: At most so many columns are named in a message.
_COLUMNS = 20

#: In a task's work directory: names the machine, and is locked while the task lives.
_OWNER = ".owner"


class _PrivateFiles:
    """Who holds the process's umask closed, and what it was before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.before = 0


_PRIVATE_FILES = _PrivateFiles()


@contextmanager
def private_files() -> Iterator[None]:
    """Within, what files and directories this process and its children make are their user's alone.

    A umask is the process's, so the last of several threads to leave is the one that puts it back.
    """
    held = _PRIVATE_FILES
    with held.lock:
        if held.holders == 0:
            held.before = os.umask(0o077)
        held.holders += 1
    try:
        yield
    finally:
        with held.lock:
            held.holders -= 1
            if held.holders == 0:
                os.umask(held.before)


@cache
def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The arguments of an operator's class and of its parents'."""
    found: dict[str, inspect.Parameter] = {}
    for parent in kind.__mro__:
        if "__init__" in vars(parent) and issubclass(parent, AutoMLMixin):
            found = {**inspect.signature(vars(parent)["__init__"]).parameters, **found}
    return found


@dataclass(frozen=True)
class Run:
    """The task instance at work, as rows and names need it.

    :param generation: the same for a task's retries, another one after it was cleared.
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
    def of(cls, context: Context | Mapping[str, Any]) -> Run:
        """The run of a task's context. Where a run has no logical date, its session time is ``run_after``."""
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
        """Readable, for people only: DAG, run, task, map index if mapped, and try."""
        mapped = [] if self.map_index < 0 else [str(self.map_index)]
        return "/".join([self.dag_id, self.run_id, self.task_id, *mapped, str(self.try_number)])

    def about(self, source: str | None, **links: str | None) -> dict[str, Any]:
        """What a report says of the task that made it, beside its own results.

        :param source: the table that was read; None: a query was.
        :param links: texts and URLs, of pages of this Airflow; those without a URL are left out.
        """
        pages = {f"run {self.run_id}": run_url(self.dag_id, self.run_id), **links}
        return {
            "source": source or "a query",
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "run_id": self.run_id,
            "session_time": self.session_time.isoformat(sep=" ", timespec="seconds"),
            # By their paths: a report is opened years later, by another name of the host.
            "links": {text: urlsplit(url).path for text, url in pages.items() if url} if has_pages() else {},
        }

    @property
    def key(self) -> str:
        """Names this task instance in directories and tables: the same in every try."""
        parts = [self.dag_id, self.run_id, self.task_id, str(self.map_index)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def version(self) -> str:
        """The version that a training by this task instance has: the same for its retries."""
        return f"{self.session_time:%Y%m%dT%H%M%S}-{self.key}-{self.generation}"

    def record_id(self, *more: object) -> str:
        """The ``record_id`` of the row that this task instance records."""
        return record_id(self.dag_id, self.run_id, self.task_id, self.map_index, *more)


class AutoMLMixin(BaseOperator):
    """What the operators have in common, whatever else they are.

    A template that renders to nothing is an error, for it names a task that did not run or a value that is not
    there. Wrong input fails the task at once, without retries. Where the task that should give the input was skipped,
    there is nothing to do, and this one is skipped too, whatever its trigger rule.
    """

    #: Arguments without a default that may render to nothing all the same.
    optional_when_rendered: ClassVar[frozenset[str]] = frozenset()
    #: Arguments with a default that are what another task made: no default stands for what a skipped one did not make.
    made_by_tasks: ClassVar[frozenset[str]] = frozenset({"model", "prediction"})

    def _remember_given(self) -> None:
        """To be called at the end of ``__init__``: notes which arguments were given, before they are rendered."""
        self._given = {name: value for name in self.template_fields if (value := getattr(self, name)) is not None}

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render as Airflow does; where a run has no logical date, ``ts_nodash`` and its like tell ``run_after``.

        (Of a mapped task, Airflow calls this and not ``render_template_fields``.)

        :raises AirflowSkipException: a template looks into the result of a task that was skipped.
        """
        from jinja2 import UndefinedError

        try:
            super()._do_render_template_fields(parent, template_fields, _with_times(context), jinja_env, seen_oids)
        except UndefinedError:
            for name in self._given:
                self.skip_without(name)
            raise

    def check_rendered(self) -> None:
        """Understand what was rendered: nothing (None, '' or 'None') leaves an argument at its default; a text that was
        rendered to a whole number is that text.

        :raises AirflowSkipException: the task that should give an argument was skipped.
        :raises InputError: an argument without a default was rendered to nothing, or a text to what is none; names the
            argument and its template.
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
                        f"{name} of task {self.task_id!r} rendered to {_short(repr(value))}, from {_short(given)}: it "
                        "must be text. (Where the DAG has render_template_as_native_obj, quote it within the template.)"
                    )
            from_template = isinstance(given, str) and "{{" in given and value in ("None", "")
            if value is None or from_template:
                required = parameter is None or parameter.default is parameter.empty
                if required or name in self.made_by_tasks:
                    self.skip_without(name)
                if parameter is not None and parameter.default is not parameter.empty:
                    setattr(self, name, parameter.default)
                    continue
                if name in self.optional_when_rendered:
                    continue
                raise InputError(
                    f"{name} of task {self.task_id!r} rendered to nothing, from {_short(given)}: "
                    "the task or parameter that should give it has no such value."
                )

    def skip_without(self, name: str) -> None:
        """Skip this task if a task that should give an argument was skipped; of a mapped one, if all instances were.

        :raises AirflowSkipException: it was.
        """
        try:
            context = get_current_context()
        except (RuntimeError, AirflowException):  # not run by Airflow
            return
        for task_id in _givers(self, self._given.get(name)):
            if set(task_states(context, task_id)) == {"skipped"}:
                raise AirflowSkipException(
                    f"Task {task_id!r}, which gives {name} of task {self.task_id!r}, was skipped: so is this task."
                )

    @contextmanager
    def terminal_input_errors(self) -> Iterator[None]:
        """Within, an :class:`InputError` fails the task without a retry, with its message and no more."""
        try:
            yield
        except InputError as error:
            raise AirflowFailException(str(error)) from error


class AutoMLOperator(AutoMLMixin):
    """An operator that reaches a warehouse and returns one plain dict, each entry an XCom of its own as well.

    :param automl_conn_id: the connection of type ``automl``.
    :param warehouse_conn_id: a warehouse instead of that connection's own.
    """

    template_fields: Sequence[str] = ("automl_conn_id", "warehouse_conn_id")
    template_ext: Sequence[str] = (".sql",)
    operator_extra_links: Collection[BaseOperatorLink] = (QueryLink(),)
    ui_color = "#e8f0fe"
    #: Whether the task brings models to the model store.
    saves_models: ClassVar[bool] = False
    #: The page of the newest query.
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
        """The hook that the rendered connection ids name."""
        return AutoMLHook(self.automl_conn_id, self.warehouse_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Check what was rendered, then do the task's work; what files it makes are its user's alone."""
        with private_files(), self.terminal_input_errors():
            self.check_rendered()
            self.link_queries(context)
            return self.perform(context)

    def link_queries(self, context: Context) -> None:
        """Have the link to a query's page be there from its start."""

        def push(url: str) -> None:
            self.query_url = url
            with suppress(Exception):  # a link is not worth a query
                context["ti"].xcom_push(key=QueryLink.xcom_key, value=url)

        self.hook.on_query = push

    def perform(self, context: Context) -> dict[str, Any]:
        """The task's work; returns its dict, strict JSON with every documented key."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Kill the job and everything it started, and have the warehouses end what they do for this task."""
        deadline = time.monotonic() + _PATIENCE
        # In threads: this may be a signal's handler, and the statement that it interrupted may hold a lock of the
        # driver's for ever, or the server may not answer.
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
            self.log.warning("%s could not be told to end this task's query: %s", warehouse.dialect, error)

    def preflight(self) -> None:
        """Check that what this task needs is there: the warehouse's driver, what the job's interpreter needs, and the
        model store if models go there.

        :raises InputError: names everything that is missing, each with the line that mends it.
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
    def work_directory(self, run: Run) -> Iterator[Path]:
        """An empty directory in staging that belongs to this task instance, removed afterwards.

        What tasks of this machine left there when they were killed is removed as well.
        """
        directory = self.hook.staging(f"{run.task_id[:60]}-{run.key}")
        _sweep(directory.parent)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            with (directory / f"{_OWNER}.new").open("w") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX)  # before another task that starts can see it, and take it for dead
                owner.write(socket.gethostname())
                owner.flush()
                (directory / f"{_OWNER}.new").rename(directory / _OWNER)
                yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def source(self, input_table: str | None, sql: str | None) -> str | Query:
        """The table, or the query, that this task reads.

        :raises InputError: none or both were given.
        """
        from airflow_provider_automl.warehouse.query import Query

        if (input_table is None) == (sql is None):
            given = "neither" if input_table is None else "both"
            raise InputError(f"Task {self.task_id!r} was given {given} of input_table and sql: give one of them.")
        return Query(sql) if sql is not None else str(input_table)


def notebook_source(notebook: str | None, dag: Any, into: Path) -> str | None:
    """A local copy of a user's notebook; None for ours.

    :param notebook: a path, absolute or beside the DAG's file, or a URI that ``ObjectStoragePath`` reaches.
    :param dag: the DAG, for its file.
    :param into: where the copy goes.
    :raises InputError: there is no such file, or it is no notebook.
    """
    if notebook is None:
        return None
    try:
        if re.match(r"https?://", notebook, re.IGNORECASE):
            raise InputError(f"The notebook {notebook} would come from the web: it is code, so name a file or a store.")
        if "://" in notebook:
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            text = ObjectStoragePath(notebook).read_text()
        else:
            text = (Path(dag.fileloc).parent / notebook).read_text(encoding="utf-8")
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"The notebook {notebook} cannot be read: {error}.") from error
    try:
        found = json.loads(text)
        cells = [cell["cell_type"] for cell in found["cells"]]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{notebook} is no notebook: give an .ipynb file of format 4.") from None
    if "code" not in cells or found.get("nbformat") != 4:
        raise InputError(f"The notebook {notebook} has no code cell, or is not of format 4.")
    into.write_text(text, encoding="utf-8")
    return str(into)


def require_columns(columns: Mapping[str, str], names: Sequence[str], *, what: str, source: object) -> None:
    """Check that ``names`` are among ``columns``, in their exact spelling.

    :raises InputError: names every missing column, and the nearest existing one of each.
    """
    missing = []
    for name in names:
        if name not in columns:
            near = get_close_matches(name, columns, n=1, cutoff=0.5)
            near = near or [column for column in columns if column.lower() == name.lower()]
            missing.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if missing:
        shown = ", ".join(list(columns)[:_COLUMNS]) + (
            f" … ({len(columns):,} in all)" if len(columns) > _COLUMNS else ""
        )
        raise InputError(f"{source} has no {what} {', '.join(missing[:5])}: its columns are {shown}.")


def parse_seconds(value: float | str | None, name: str) -> float | None:
    """Seconds from a number or plain arithmetic such as ``60 * 3``: parsed, never evaluated as Python.

    :raises InputError: not arithmetic on numbers, not finite, or not above 0.
    """
    if value is None:
        return None
    seconds = _arithmetic(str(value))
    if seconds is None or not 0 < seconds < float("inf"):
        raise InputError(f'{name} is {_short(repr(value))}: give seconds above 0, such as 180 or "60 * 3".')
    return seconds


def parse_flag(value: bool | str, name: str) -> bool:
    """True or False, from either or its text.

    :raises InputError: anything else.
    """
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if (flag := known.get(str(value).strip().lower())) is None:
        raise InputError(f"{name} is {_short(repr(value))}: give True or False.")
    return flag


def parse_report(value: bool | str, notebook: str | None) -> bool:
    """Whether a report is wanted.

    :raises InputError: neither True nor False, or no report although a notebook for it was given.
    """
    wanted = parse_flag(value, "report")
    if notebook is not None and not wanted:
        raise InputError(f"report is False, so the notebook {notebook!r} would not be run: leave one of the two out.")
    return wanted


def parse_whole(value: int | str, name: str, *, least: int = 1) -> int:
    """A whole number from itself or its text.

    :raises InputError: no whole number, or below ``least``.
    """
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = least - 1
    if number < least:
        raise InputError(f"{name} is {_short(repr(value))}: give a whole number, {least} or above.")
    return number


def parse_ratio(value: float | str, name: str) -> float:
    """A ratio from 0 to 1, from a number or its text.

    :raises InputError: anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise InputError(f"{name} is {_short(repr(value))}: give a ratio from 0 to 1.")
    return number


def parse_names(value: Sequence[str] | str | None, name: str) -> list[str] | None:
    """Column names: a list of them, its JSON, or one name.

    :raises InputError: JSON that is no list of text.
    """
    if value is None:
        return None
    names: Any = value
    if isinstance(value, (str, int)):
        names = _read(value) if isinstance(value, str) and value.lstrip().startswith(("[", "(")) else [str(value)]
    if isinstance(names, (list, tuple)):
        names = [str(item) if isinstance(item, int) else item for item in names]
    if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
        raise InputError(f'{name} is {_short(repr(value))}: give a list of columns, such as ["id", "time"].')
    return names


def parse_object(value: Any, name: str) -> Any:
    """What an object's text says, JSON's or Python's; any other value as it is.

    :raises InputError: a text that begins with a brace and is neither.
    """
    if not isinstance(value, str) or not value.strip().startswith("{"):
        return value
    if not isinstance(found := _read(value), dict):
        raise InputError(f'{name} is {_short(value)}, which is no object: give JSON such as {{"GBM": {{}}}}.')
    return found


def _read(text: str) -> Any:
    """What a text says as JSON, or as Python's literal (a rendered list is one); None: it is neither."""
    import ast

    for reader in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return reader(text.strip())
    return None


def _arithmetic(text: str) -> float | None:
    import ast
    import operator

    operators: dict[type, Any] = {
        ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    }  # fmt: skip

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return float(node.value)
        if isinstance(node, ast.BinOp) and type(node.op) in operators:
            return float(operators[type(node.op)](value(node.left), value(node.right)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        raise ValueError(text)

    try:
        return value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
        return None


def task_states(context: Context | Mapping[str, Any], task_id: str) -> list[str]:
    """The states of another task of this run: of one that is mapped as this task is, the state at the same index; else
    of every instance. By the Task SDK, which knows no database; else as in Airflow 2.
    """
    ti: Any = context["ti"]
    index = -1 if ti.map_index is None else ti.map_index
    same = f"{task_id}_{index}"
    if hasattr(ti, "get_task_states"):
        told = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
        states = dict(told.get(ti.run_id) or {})  # under "task", or "task_0" and so on
    else:
        dag_run: Any = context["dag_run"]
        instances = [each for each in dag_run.get_task_instances() if each.task_id == task_id]
        states = {f"{task_id}_{each.map_index}": each.state for each in instances}
    found = [states[same]] if index >= 0 and same in states else states.values()
    return [str(getattr(state, "value", state)) for state in found if state]


def _givers(task: BaseOperator, given: Any) -> list[str]:
    """The tasks whose results an argument was given as: by their output, or by a template that names them."""
    tasks = [operator.task_id for operator, _ in XComArg.iter_xcom_references(given)]
    text = str(given)
    if "{{" in text:
        above = task.get_flat_relative_ids(upstream=True)
        tasks += sorted(task_id for task_id in above if re.search(rf"""(['"]){re.escape(task_id)}\1""", text))
    return tasks


def _sweep(staging: Path) -> None:
    """Remove the work directories of this machine's tasks that are dead: the kernel has released their locks."""
    for owner in staging.glob(f"*/{_OWNER}"):
        try:
            with owner.open() as file:
                if file.read() == socket.gethostname():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(owner.parent, ignore_errors=True)
        except OSError:
            continue  # it lives, or is gone already


def _with_times(context: Context) -> Context:
    """``context``, with the time macros that Airflow leaves out of a run without a logical date."""
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


def _short(value: object) -> str:
    text = re.sub(r"\s+", " ", str(value))
    return text if len(text) <= 120 else text[:117] + "..."
