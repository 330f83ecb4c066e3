"""The hook for Airflow connections of type ``automl``: warehouse, tracking schema, model store, staging."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf

from airflow_provider_automl.compat import base_url, has_pages
from airflow_provider_automl.errors import InputError, did_you_mean
from airflow_provider_automl.models.cache import ModelCache
from airflow_provider_automl.models.storage import check_store, local_path, require_writable
from airflow_provider_automl.models.store import ModelStore
from airflow_provider_automl.sql.names import parse_parts
from airflow_provider_automl.tracking.store import TrackingTables

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_automl.launchers.process import ProcessLauncher
    from airflow_provider_automl.warehouse.base import Warehouse

#: The default schema: that of the documented workflow's output tables.
DEFAULT_TRACKING_SCHEMA = "automl_test"
#: The keys of the connection's extra with their types; each may be null.
_EXTRA: dict[str, tuple[type, ...]] = {
    "warehouse_conn_id": (str,),
    "tracking_conn_id": (str,),
    "tracking_schema": (str,),
    "model_store": (str,),
    "staging": (str,),
    "interpreters": (str, dict),
    "user_email": (str,),
    "path_is_shared": (bool, str, int),
    "lock_timeout": (int, float, str),
    "model_cache": (str, int),
}
_KINDS: dict[type, str] = {
    str: "a string", dict: "an object", bool: "true or false", int: "an integer", float: "a number",
}  # fmt: skip
_ONE_MACHINE_EXECUTORS = {"LocalExecutor", "SequentialExecutor"}
_DRIVERS = {"duckdb": "duckdb", "trino": "trino", "hiveserver2": "hive", "hive_cli": "hive", "postgres": "postgres"}


@dataclass(frozen=True)
class AutoMLSettings:
    """The connection's settings, with defaults filled in.

    :param warehouse_conn_id: the warehouse's Airflow connection; None: the embedded DuckDB file.
    :param tracking_conn_id: the Airflow connection of the database of this provider's tables; None: the warehouse.
    :param tracking_schema: the schema of this provider's tables.
    :param model_store: directory or URI of the model files.
    :param staging: local directory for Parquet files between the warehouse and a job.
    :param shared_staging: URI of a staging location that the warehouse's servers can access too, to transfer rows as
        files; None: rows are transferred through the cursor.
    :param interpreters: named Python interpreters with AutoGluon, for an operator's ``python=``; the one named
        ``default`` is used if an operator sets none.
    :param user_email: recorded with experiments whose task sets none.
    :param lock_timeout: seconds to wait for a locked warehouse.
    :param embedded: the file of the embedded DuckDB warehouse, if that is used.
    :param cache_bytes: maximum size of a worker's local cache of models from an object store, in staging.
    """

    warehouse_conn_id: str | None
    tracking_conn_id: str | None
    tracking_schema: str
    model_store: str
    staging: str
    interpreters: dict[str, str] = field(default_factory=dict)
    user_email: str | None = None
    lock_timeout: float = 600.0
    embedded: Path | None = None
    shared_staging: str | None = None
    cache_bytes: int = 20 * 2**30


class AutoMLHook(BaseHook):
    """Access to the warehouse, the tracking tables, the model store and the launcher of a connection.

    Without a connection ``automl_default`` everything is below ``$AIRFLOW_HOME/automl/``: an embedded DuckDB file, the
    model store and the staging directory. This requires all tasks to run on one host, so executors with several
    workers are rejected unless the connection sets ``path_is_shared``.

    :param automl_conn_id: the connection; must exist unless it is the default one.
    :param warehouse_conn_id: a warehouse for data tables that overrides the connection's. The model registry remains
        in the connection's database, and so do the result tables if the connection has a ``tracking_conn_id``.
    :param lock_timeout: seconds to wait for a locked warehouse; overrides the connection's.
    :param on_query: called with the URL of each query's web page, if the engine has such pages.
    :raises InputError: on first use, if the connection is missing or invalid.
    """

    conn_name_attr = "automl_conn_id"
    default_conn_name = "automl_default"
    conn_type = "automl"
    hook_name = "AutoML"

    def __init__(
        self,
        automl_conn_id: str = default_conn_name,
        warehouse_conn_id: str | None = None,
        *,
        lock_timeout: float | None = None,
        on_query: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.lock_timeout = lock_timeout
        self.automl_conn_id = automl_conn_id
        self.warehouse_conn_id = warehouse_conn_id
        self.on_query = on_query

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The connection form for Airflow 2.11 and 3.0 to 3.1; later versions read it from the provider info."""
        from airflow_provider_automl.get_provider_info import get_provider_info

        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The connection form's custom fields for Airflow 2.11 and 3.0 to 3.1; later ones read the provider info."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, StringField

        from airflow_provider_automl.get_provider_info import get_provider_info

        fields = get_provider_info()["connection-types"][0]["conn-fields"]
        return {
            name: BooleanField(lazy_gettext(spec["label"]))
            if "boolean" in spec["schema"]["type"]
            else StringField(lazy_gettext(spec["label"]), widget=BS3TextFieldWidget())
            for name, spec in fields.items()
        }

    @cached_property
    def settings(self) -> AutoMLSettings:
        """The connection's settings, or those of the embedded default."""
        home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "automl"
        extra: dict[str, Any] = {}
        try:
            extra = self._extra(self.get_connection(self.automl_conn_id))
        except AirflowNotFoundException:
            if self.automl_conn_id != self.default_conn_name:
                raise InputError(
                    f"The connection {self.automl_conn_id!r} is not defined: create it with connection type "
                    f"'automl' in Airflow's UI, or remove automl_conn_id to use {self.default_conn_name!r}."
                ) from None
        shared = str(extra.get("path_is_shared") or "").lower() in {"true", "1", "yes"}
        staging, shared_staging = self._staging(extra.get("staging"), home / "staging")
        settings = AutoMLSettings(
            warehouse_conn_id=extra.get("warehouse_conn_id") or None,
            tracking_conn_id=extra.get("tracking_conn_id") or None,
            tracking_schema=extra.get("tracking_schema") or DEFAULT_TRACKING_SCHEMA,
            model_store=extra.get("model_store") or str(home / "models"),
            staging=staging,
            interpreters=self._interpreters(extra.get("interpreters")),
            user_email=extra.get("user_email") or None,
            lock_timeout=self._seconds(self.lock_timeout or extra.get("lock_timeout") or 600),
            shared_staging=shared_staging,
            cache_bytes=self._bytes(extra.get("model_cache") or "20g"),
            embedded=None if extra.get("warehouse_conn_id") else home / "warehouse.duckdb",
        )
        local_parts = [
            what
            for what, local in (
                ("the embedded DuckDB warehouse", settings.embedded is not None),
                ("the model store", not extra.get("model_store")),
            )
            if local
        ]
        if local_parts and not shared and (executor := _several_workers()):
            raise InputError(
                f"{' and '.join(local_parts).capitalize()} would be local to each worker of {executor}: set "
                f"""the connection, for example AIRFLOW_CONN_{self.automl_conn_id.upper()}='{{"conn_type": "automl", """
                """"extra": {"warehouse_conn_id": "postgres_default", "model_store": "s3://bucket/models"}}', """
                "or path_is_shared in it if all workers share that directory."
            )
        return settings

    def _extra(self, connection: Any) -> dict[str, Any]:
        """The connection's extra.

        :raises InputError: the connection is of another type, or its extra is not a JSON object, or has an unknown key
            or an invalid value.
        """
        what = f"The connection {self.automl_conn_id!r}"
        if connection.conn_type != self.conn_type:
            raise InputError(
                f"{what} is of type {connection.conn_type!r}: set automl_conn_id to a connection of type 'automl', and "
                "warehouse_conn_id to one of a database."
            )
        try:
            extra = json.loads(connection.extra or "{}")
        except ValueError as error:
            raise InputError(f"The extra of the connection {self.automl_conn_id!r} is not JSON: {error}.") from None
        if not isinstance(extra, dict):
            raise InputError(f"The extra of the connection {self.automl_conn_id!r} is not a JSON object.")
        for key, value in extra.items():
            if key not in _EXTRA:
                hint = did_you_mean(key, _EXTRA)
                raise InputError(f"{what} has an unknown key {key!r} in its extra{hint}: use {', '.join(_EXTRA)}.")
            if value is not None and not isinstance(value, _EXTRA[key]):
                kinds = " or ".join(_KINDS[kind] for kind in _EXTRA[key])
                raise InputError(f"{key} of the connection {self.automl_conn_id!r} is {value!r}: expected {kinds}.")
        store = extra.get("model_store") or ""
        if store and "://" not in store and not os.path.isabs(store):
            raise InputError(
                f"model_store of the connection {self.automl_conn_id!r} is {store!r}: expected an absolute path, such "
                "as /srv/models, or a URI, such as s3://bucket/models."
            )
        if schema := extra.get("tracking_schema"):
            try:
                parts = parse_parts(schema, "duckdb")
            except ValueError:
                parts = []
            if not 1 <= len(parts) <= 2:
                raise InputError(
                    f"tracking_schema of the connection {self.automl_conn_id!r} is {schema!r}: expected a schema name, "
                    "or catalog.schema."
                )
        return extra

    def _staging(self, value: Any, default: Path) -> tuple[str, str | None]:
        """The local staging directory, and the URI of the shared one, if set."""
        if not value:
            return str(default), None
        text = str(value)
        if "://" not in text and os.path.isabs(text):
            return text, None
        if text.startswith("file:///"):
            return str(local_path(text)), text
        scheme, _, place = text.partition("://")
        if scheme not in ("", "file") and place.strip("/"):
            return str(default), text
        raise InputError(
            f"staging of the connection {self.automl_conn_id!r} is {text!r}: expected a URI that the warehouse's "
            "servers can access too, such as file:///shared/staging or s3://bucket/staging, or an absolute local path."
        )

    def _seconds(self, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise InputError(
                f"lock_timeout of the connection {self.automl_conn_id!r} is {value!r}: expected seconds, such as 600."
            ) from None

    def _bytes(self, value: Any) -> int:
        from airflow_provider_automl.launchers.limits import parse_memory

        return parse_memory(str(value), f"model_cache of the connection {self.automl_conn_id!r}")

    def _interpreters(self, value: Any) -> dict[str, str]:
        if not value:
            return {}
        try:
            named = json.loads(value) if isinstance(value, str) else value
            return {str(name): str(path) for name, path in named.items()}
        except (ValueError, AttributeError):
            raise InputError(
                f"interpreters of the connection {self.automl_conn_id!r} is {value!r}: "
                'expected JSON such as {"automl": "/opt/automl/bin/python"}.'
            ) from None

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse of the data tables: ``warehouse_conn_id`` if set, else the connection's."""
        if self.warehouse_conn_id in (None, self.settings.warehouse_conn_id):
            return self._own_warehouse
        return self._open(self.warehouse_conn_id)

    @cached_property
    def _own_warehouse(self) -> Warehouse:
        return self._open(self.settings.warehouse_conn_id)

    @cached_property
    def _tracking_warehouse(self) -> Warehouse:
        """The database of the model registry and, if the connection has a ``tracking_conn_id``, of the results."""
        conn_id = self.settings.tracking_conn_id
        if conn_id in (None, self.settings.warehouse_conn_id):
            return self._own_warehouse
        return self.warehouse if conn_id == self.warehouse_conn_id else self._open(conn_id, "tracking")

    @property
    def opened(self) -> list[Warehouse]:
        """The warehouses that are open."""
        names = ("warehouse", "_own_warehouse", "_tracking_warehouse")
        found = {id(each): each for name in names if (each := self.__dict__.get(name))}
        return list(found.values())

    def _open(self, conn_id: str | None, purpose: str = "warehouse") -> Warehouse:
        warehouse = self._connect(conn_id, purpose)
        warehouse.on_query = self.on_query
        return warehouse

    def _connect(self, conn_id: str | None, purpose: str) -> Warehouse:
        from airflow_provider_automl.warehouse import open_warehouse

        lock_timeout = self.settings.lock_timeout
        if conn_id is None:
            path = self.settings.embedded
            assert path is not None
            try:
                from airflow.providers.duckdb.hooks.duckdb import DuckDBHook
            except ImportError as error:
                raise _missing_extra("The embedded warehouse", "duckdb", error) from error
            path.parent.mkdir(parents=True, exist_ok=True)
            hook = DuckDBHook(database=str(path))
            hook.airflow_connection = None  # otherwise the hook would look for the connection duckdb_default
            _require_pyarrow("The embedded warehouse", "duckdb")
            return open_warehouse(hook, lock_timeout=lock_timeout)
        what = f"The {purpose} connection {conn_id!r}"
        try:
            connection = self.get_connection(conn_id)
        except AirflowNotFoundException:
            raise InputError(
                f"{what} is not defined: create it in Airflow's UI, or set AIRFLOW_CONN_{conn_id.upper()}."
            ) from None
        extra = _DRIVERS.get(connection.conn_type or "")
        try:
            hook = connection.get_hook()  # type: ignore[no-untyped-call]
        except ImportError as error:
            raise _missing_extra(what, extra, error) from error
        except Exception as error:  # Airflow raises a plain AirflowException for unknown types
            if "Unknown hook type" not in str(error):
                raise
            raise _missing_extra(what, extra, error) from error
        if not hasattr(hook, "get_conn") or not hasattr(hook, "dialect_name"):
            raise InputError(
                f"{what} is of type {connection.conn_type!r}, which is not a SQL database: use a "
                "connection of a common-sql provider, such as trino, hiveserver2, duckdb or postgres."
            )
        _require_pyarrow(what, extra or "automl")
        return open_warehouse(hook, lock_timeout=lock_timeout, staging=self.settings.shared_staging)

    def tracking(self, schema: str | None = None) -> TrackingTables:
        """The result tables, in ``schema`` or in the connection's tracking schema.

        They are in the database of the connection's ``tracking_conn_id``; without one, on :attr:`warehouse`.
        """
        separate = self.settings.tracking_conn_id is not None
        warehouse = self._tracking_warehouse if separate else self.warehouse
        return TrackingTables(warehouse, schema or self.settings.tracking_schema)

    @cached_property
    def registry(self) -> TrackingTables:
        """The model and alias tables: always in the connection's own database and tracking schema."""
        return TrackingTables(self._tracking_warehouse, self.settings.tracking_schema)

    @cached_property
    def models(self) -> ModelStore:
        """The model store."""
        cache = ModelCache(Path(self.settings.staging) / "models", self.settings.cache_bytes)
        return ModelStore(self.settings.model_store, self.registry, cache)

    def report_url(self, row: dict[str, Any], html: str | None, notebook: str | None) -> str | None:
        """The URL of a version's report: a page of this Airflow, or, below Airflow 3.1.8, the notebook's URI.

        :param row: the version's registry row.
        :param html: path of the page below the version's directory, or None.
        :param notebook: path of the notebook below the version's directory, or None.
        """
        if html is not None and has_pages():
            parts = (self.automl_conn_id, row["model_name"], row["model_version"], *html.split("/"))
            return f"{base_url()}/automl/reports/{'/'.join(quote(part, safe='') for part in parts)}"
        return f"{row['model_uri']}/{notebook}" if notebook else None

    def interpreter_for(self, row: dict[str, Any]) -> str | None:
        """The interpreter that can load a version; None: the connection's default one, else this one.

        :raises InputError: none of the connection's interpreters can; names the required versions.
        """
        from airflow_provider_automl.launchers.process import describe_interpreter

        manifest = self.models.manifest(row)
        wanted = (manifest["autogluon_version"], manifest["python_version"].split(".")[:2])
        named = self.settings.interpreters
        found = {}
        for name in ("default", *(name for name in named if name != "default")):
            try:
                about = describe_interpreter(named.get(name))
            except InputError as error:
                self.log.warning("%s", error)
                continue
            if (about["autogluon"], about["python"].split(".")[:2]) == wanted:
                return named.get(name)
            found[name] = f"{name}: Python {about['python']}, AutoGluon {about['autogluon'] or 'not installed'}"
        raise InputError(
            f"Model {row['model_name']!r} version {row['model_version']!r} was trained with Python "
            f"{manifest['python_version']} and AutoGluon {wanted[0]}, but no interpreter has both "
            f"({'; '.join(found.values())}). Create one: python{'.'.join(wanted[1])} -m venv ENVIRONMENT && "
            f"ENVIRONMENT/bin/python -m pip install 'autogluon.tabular[lightgbm,catboost,xgboost]=={wanted[0]}', and "
            f"add it to interpreters of the connection {self.automl_conn_id!r}; or train again."
        )

    def staging(self, key: str) -> Path:
        """The local directory for a key, such as a task instance; does not create it."""
        return Path(self.settings.staging) / key

    def launcher(
        self,
        python: str | None = None,
        *,
        memory_limit: str | None = None,
        timeout: float | None = None,
        log: Callable[[str], None] | None = None,
    ) -> ProcessLauncher:
        """Create a launcher for jobs.

        :param python: a path, or a name from the connection's interpreters; None: the one named ``default``, else this
            interpreter.
        """
        from airflow_provider_automl.launchers.process import ProcessLauncher

        named = self.settings.interpreters
        if python is not None and python not in named and os.sep not in python:
            known = f"it has {', '.join(named)}" if named else "it has none"
            raise InputError(
                f"The connection {self.automl_conn_id!r} has no interpreter {python!r}: {known}. Use one of these, "
                "or a path such as /opt/automl/bin/python."
            )
        return ProcessLauncher(
            named.get(python or "default", python),
            memory_limit=memory_limit,
            timeout=timeout,
            log=log,
        )

    def _check_warehouse(self, where: str, warehouse: Warehouse) -> str:
        warehouse.run("current_schema")
        return f"{where} ({warehouse.dialect})"

    def _check_shared_staging(self, uri: str) -> str:
        """Unload one row through the shared staging location."""
        from airflow_provider_automl.warehouse.query import Query

        warehouse = self._own_warehouse
        if not warehouse.by_files:
            return f"{uri}, which is not used by {warehouse.dialect}"
        with TemporaryDirectory(dir=self.staging(".")) as directory:
            warehouse.unload(Query("SELECT 1 AS one"), Path(directory) / "probe")
        return f"{uri} ({warehouse.dialect} and this worker)"

    def test_connection(self) -> tuple[bool, str]:
        """Test everything that the connection sets; the message lists all problems, then all successes."""
        from airflow_provider_automl.launchers.process import describe_interpreter

        passed: list[str] = []
        problems: list[str] = []

        def attempt(what: str, check: Callable[[], str]) -> None:
            try:
                passed.append(f"{what}: {check()}")
            except Exception as error:
                problems.append(f"{what}: {error}")

        def staging() -> str:
            require_writable(self.staging("."), "staging directory")
            return self.settings.staging

        try:
            settings = self.settings
        except InputError as error:
            return False, str(error)
        where = settings.warehouse_conn_id or str(settings.embedded)
        attempt("warehouse", lambda: self._check_warehouse(where, self._own_warehouse))
        if (tracking := settings.tracking_conn_id) is not None:
            attempt("tracking tables", lambda: self._check_warehouse(tracking, self._tracking_warehouse))
        attempt("model store", lambda: check_store(settings.model_store))
        attempt("staging", staging)
        if (uri := settings.shared_staging) is not None:
            attempt("staging shared with the warehouse", lambda: self._check_shared_staging(uri))
        interpreters = settings.interpreters or {"this Python": sys.executable}
        for name, path in interpreters.items():
            attempt(f"interpreter {name}", lambda path=path: _versions(describe_interpreter(path)))  # type: ignore[misc]
        return not problems, "; ".join([*problems, *passed])


def _versions(found: dict[str, Any]) -> str:
    return f"Python {found['python']}, AutoGluon {found['autogluon'] or 'not installed'}"


def _require_pyarrow(what: str, extra: str) -> None:
    if find_spec("pyarrow") is None:
        raise _missing_extra(what, extra, "No module named 'pyarrow'")


def _missing_extra(what: str, extra: str | None, error: Exception | str) -> InputError:
    if extra is None:
        return InputError(f"{what} requires an Airflow provider that is not installed: {error}.")
    return InputError(f"{what} requires the extra {extra!r}: pip install 'airflow-provider-automl[{extra}]' ({error}).")


def _several_workers() -> str | None:
    """The configured executor if tasks may run on several hosts; None under ``airflow dags test``."""
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    executors = [name.strip() for name in str(conf.get("core", "executor")).split(",") if name.strip()]
    several = [name for name in executors if name.rpartition(".")[2].rpartition(":")[2] not in _ONE_MACHINE_EXECUTORS]
    return several[0] if several else None
