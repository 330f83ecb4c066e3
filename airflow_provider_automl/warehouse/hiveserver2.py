"""HiveServer2's protocol through PyHive, over the connection of Airflow's hook, with features that PyHive lacks.

Statements run asynchronously, so that they can be cancelled; errors have their SQLSTATE; columns are read as Arrow.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import BusyError, InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

# HiveServer2's type ids (TCLIService.thrift). PyHive has them up to 21.
_TYPES = {
    0: "BOOLEAN",
    1: "TINYINT",
    2: "SMALLINT",
    3: "INTEGER",
    4: "BIGINT",
    5: "REAL",
    6: "DOUBLE",
    7: "VARCHAR",
    8: "TIMESTAMP",
    9: "BLOB",
    10: "ARRAY",
    11: "MAP",
    12: "STRUCT",
    13: "UNION",
    16: "NULL",
    17: "DATE",
    18: "VARCHAR",
    19: "VARCHAR",
    20: "INTERVAL",
    21: "INTERVAL",
    22: "TIMESTAMPTZ",
}
_DECIMAL = 15

_WORKING = frozenset({0, 1, 7})  # TOperationState: INITIALIZED, RUNNING, PENDING
_FINISHED, _ERROR = 2, 5

# Prefixes of the server's error messages.
_WRAPPING = re.compile(
    r"^(?:(?:org\.apache|java)\.[\w.$]+: |Error running query: |Error while compiling statement: |"
    r"\[[\w.]+\] (?=(?:org\.apache|java)\.[\w.$]+: ))+"
)

# Airflow's environment variables of a task, and the session settings that HiveServer2Hook derives from them.
_CONTEXT = {
    "AIRFLOW_CTX_DAG_ID": "airflow.ctx.dag_id",
    "AIRFLOW_CTX_TASK_ID": "airflow.ctx.task_id",
    "AIRFLOW_CTX_DAG_RUN_ID": "airflow.ctx.dag_run_id",
    "AIRFLOW_CTX_TRY_NUMBER": "airflow.ctx.try_number",
    "AIRFLOW_CTX_LOGICAL_DATE": "airflow.ctx.logical_date",
    "AIRFLOW_CTX_DAG_OWNER": "airflow.ctx.dag_owner",
}


def task_context() -> dict[str, str]:
    """Return the task under the names that ``HiveServer2Hook`` sets; empty outside a task."""
    return {name: os.environ[key] for key, name in _CONTEXT.items() if os.environ.get(key)}


def task_name() -> str:
    """Return the task in one line for the engine's job lists; "" outside a task."""
    parts = [os.environ.get(f"AIRFLOW_CTX_{key}", "") for key in ("DAG_ID", "TASK_ID", "DAG_RUN_ID", "TRY_NUMBER")]
    if not parts[0]:
        return ""
    text = "airflow {}.{} {} try {}".format(*parts)
    return re.sub(r"[^\w.:+\- ]", "_", text)


@contextmanager
def connected(hook: DbApiHook) -> Iterator[Any]:
    """Yield the hook's PyHive connection, with its login and authentication.

    :raises BusyError: the server cannot be reached, or went away.
    :raises InputError: it rejects the login.
    """
    from pyhive.exc import Error  # type: ignore[import-untyped]
    from thrift.Thrift import TException  # type: ignore[import-untyped]
    from thrift.transport.TTransport import TTransportException  # type: ignore[import-untyped]

    name = hook.get_conn_id()
    logging.getLogger("pyhive.hive").setLevel(logging.WARNING)  # it logs every statement, with the rows in it
    try:
        connection = hook.get_conn()
    except Error as error:
        raise InputError(f"The server of the connection {name} could not open a session: {_message(error)}") from error
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        if not isinstance(error, (TTransportException, OSError, EOFError)):
            raise InputError(f"The connection {name} cannot log in: {type(error).__name__}: {reason}") from error
        if re.search(r"Bad status|Bad SASL|Could not start SASL|Error validating|GSS", reason):
            raise InputError(f"The server of the connection {name} rejected the login: {reason}") from error
        raise BusyError(
            f"The server of the connection {name} cannot be reached, or closes the connection because its "
            f"auth_mechanism differs: {reason}"
        ) from error
    if handle := _socket(connection):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.client._iprot._fast_decode = _decode
    try:
        yield connection
    except (TException, ConnectionError, EOFError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise
        raise BusyError(f"The server of the connection {name} went away: {error}") from error
    finally:
        with suppress(Exception):
            connection.close()


class Cursor:
    """A cursor of one session as in PEP 249, with additions.

    :raises ProgrammingError: the statement is faulty.
    :raises OperationalError: any other failure, with the server's message.
    :raises BusyError: the server went away, or :meth:`hang_up` was called.
    """

    def __init__(self, connection: Any, *, comment: str = "") -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._hung_up = False
        self._comment = f"/* {comment} */ " if comment else ""

    def execute(self, text: str) -> None:
        """Run a statement to completion."""
        self._guarded(lambda: self._execute(text))

    def _execute(self, text: str) -> None:
        self._cursor.execute(self._comment + text, async_=True)
        pause = 0.005
        while True:
            # HiveServer2 responds when the statement has ended, or after half a second or more; other servers may
            # respond at once.
            asked = time.monotonic()
            status = self._cursor.poll(get_progress_update=False)
            if status.operationState not in _WORKING:
                break
            if time.monotonic() - asked < pause:
                time.sleep(pause)
                pause = min(0.5, pause * 1.5)
        if status.operationState != _FINISHED:
            kind = "failed" if status.operationState == _ERROR else "was cancelled on the server, or timed out"
            raise _failure(status.errorMessage or f"The statement {kind}.", status.sqlState)
        if status.hasResultSet is not None:
            self._cursor._operationHandle.hasResultSet = status.hasResultSet

    def set(self, name: str, value: str) -> None:
        """Set a session property."""
        self._guarded(lambda: self._cursor.execute(f"SET {name}={value}"))

    @property
    def description(self) -> Any:
        return self._guarded(lambda: self._cursor.description)

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._guarded(self._fetchall)
        return rows

    def _fetchall(self) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        dates = [i for i, column in enumerate(self._cursor.description or ()) if column[1] == "DATE_TYPE"]
        return [_with_dates(row, dates) for row in rows] if dates else rows

    def types(self) -> list[tuple[str, str]]:
        """Return the result's columns with their neutral types; PyHive's description lacks some types."""
        from TCLIService import ttypes  # type: ignore[import-untyped]

        def ask() -> Any:
            request = ttypes.TGetResultSetMetadataReq(self._cursor._operationHandle)
            return self._connection.client.GetResultSetMetadata(request).schema.columns

        return [(str(c.columnName), _neutral(c.typeDesc.types[0].primitiveEntry)) for c in self._guarded(ask)]

    def batches(self, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the result as Arrow batches of at most ``rows`` rows.

        :raises InputError: the Arrow type of a column cannot represent a value.
        """
        from TCLIService import ttypes

        client = self._connection.client
        request = ttypes.TFetchResultsReq(
            operationHandle=self._cursor._operationHandle,
            orientation=ttypes.TFetchOrientation.FETCH_NEXT,
            maxRows=rows,
        )

        def answer() -> Any:
            found = client.recv_FetchResults()
            if found.status.statusCode != ttypes.TStatusCode.SUCCESS_STATUS:
                raise _failure(str(found.status.errorMessage), found.status.sqlState)
            return found.results.columns

        # Always one request ahead: the server prepares the next batch while this client reads the last one.
        self._guarded(lambda: client.send_FetchResults(request))
        while True:
            self._guarded(lambda: client.send_FetchResults(request))
            batch = _record_batch(self._guarded(answer), schema)
            if not batch.num_rows:
                self._guarded(answer)
                return
            yield batch

    def tables(self, schema: str, name: str = "%") -> list[tuple[str, str, str]]:
        """Return schema, name and kind (TABLE, VIEW …) of the tables that match; ``_`` and ``%`` match anything."""
        from TCLIService import ttypes

        request = ttypes.TGetTablesReq(self._connection.sessionHandle, schemaName=_pattern(schema), tableName=name)
        rows = self._guarded(lambda: self._answer(self._connection.client.GetTables(request)))
        return [(str(row[1]), str(row[2]), str(row[3] or "TABLE")) for row in rows]

    def schemas(self, name: str = "%") -> list[str]:
        """Return the names of the schemas that match."""
        from TCLIService import ttypes

        request = ttypes.TGetSchemasReq(self._connection.sessionHandle, schemaName=_pattern(name))
        rows = self._guarded(lambda: self._answer(self._connection.client.GetSchemas(request)))
        return [str(row[0]) for row in rows]

    def _answer(self, response: Any) -> list[tuple[Any, ...]]:
        from TCLIService import ttypes

        if response.status.statusCode != ttypes.TStatusCode.SUCCESS_STATUS:
            raise _failure(str(response.status.errorMessage), response.status.sqlState)
        self._cursor._reset_state()
        self._cursor._operationHandle = response.operationHandle
        self._cursor._state = self._cursor._STATE_RUNNING
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def hang_up(self) -> None:
        """Close the connection at once. Safe in any thread and signal handler, and if the server is down.

        The server then closes the session and cancels what runs in it, unless its configuration says otherwise
        (``hive.server2.close.session.on.disconnect``).
        """
        self._hung_up = True
        if handle := _socket(self._connection):
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        from pyhive.exc import Error

        try:
            return call()
        except Error as error:
            status = getattr(error.args[0], "status", None) if error.args else None
            if status is None:
                raise
            raise _failure(str(status.errorMessage), status.sqlState) from error
        except Exception as error:
            if self._hung_up:
                raise BusyError("The statement was cancelled.") from error
            raise


def _message(error: BaseException) -> str:
    """Return the server's message, from a PyHive error that has the whole response."""
    status = getattr(error.args[0], "status", None) if error.args else None
    return str(status.errorMessage if status else error).strip().splitlines()[0]


def _failure(message: str, state: str | None) -> Exception:
    from pyhive.exc import OperationalError, ProgrammingError

    text = _WRAPPING.sub("", message)
    if "SQLSTATE" in text and (found := re.search(r"SQLSTATE: (\w{5})", text)):  # Spark's, if async
        state = found[1]
    kind = ProgrammingError if (state or "").startswith(("42", "22", "0A")) else OperationalError
    error = kind(text)
    error.sqlstate = state
    return error  # type: ignore[no-any-return]


def _socket(connection: Any) -> socket.socket | None:
    """Return a connection's socket, through its wrappers; None if it is closed, or of an unknown kind."""
    transport = getattr(connection, "_transport", None)
    while transport is not None and not hasattr(transport, "handle"):
        wrapped = getattr(transport, "_trans", None)
        transport = wrapped or getattr(transport, "_TBufferedTransport__trans", None)
    handle = getattr(transport, "handle", None)
    return handle if isinstance(handle, socket.socket) else None


def _decode(answer: Any, protocol: Any, _: object) -> None:
    """Decode a response with Thrift's C extension, if available; in Python, each value takes four calls."""
    kind: Any = type(answer)
    try:
        from thrift.protocol.fastbinary import decode_binary  # type: ignore[import-untyped]

        decode_binary(answer, protocol, [kind, _listed(kind)])
    except (ImportError, TypeError):  # not compiled, or a Thrift version with another signature; nothing is read yet
        protocol._fast_decode = None
        answer.read(protocol)


@cache
def _listed(kind: Any) -> Any:
    """Return a response's field specification as Thrift's C extension needs it: PyHive's are Thrift 0.10's."""

    def form(number: int, args: Any) -> Any:
        if number == 12:  # a struct
            return [args[0], _listed(args[0])]
        if number in (14, 15):  # a set, a list
            return (args[0], form(args[0], args[1]), *args[2:])
        if number == 13:  # a map
            return (args[0], form(args[0], args[1]), args[2], form(args[2], args[3]), *args[4:])
        return args

    return kind.thrift_spec and tuple(
        field and (field[0], field[1], field[2], form(field[1], field[3]), *field[4:]) for field in kind.thrift_spec
    )


def _pattern(name: str) -> str:
    return name if re.fullmatch(r"[\w%]+", name) else "%"


def _neutral(entry: Any) -> str:
    if entry is None:
        return "STRUCT"
    if entry.type == _DECIMAL:
        qualifiers = entry.typeQualifiers.qualifiers if entry.typeQualifiers else {}
        precision, scale = (qualifiers[key].i32Value if key in qualifiers else None for key in ("precision", "scale"))
        return f"DECIMAL({precision},{scale or 0})" if precision else "DECIMAL"
    return _TYPES.get(entry.type, "VARCHAR")


def _with_dates(row: tuple[Any, ...], dates: list[int]) -> tuple[Any, ...]:
    """Return a row with its dates parsed: PyHive returns them as text."""
    values = list(row)
    for i in dates:
        if isinstance(values[i], str):
            values[i] = date.fromisoformat(values[i])
    return tuple(values)


def _record_batch(columns: Any, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = []
    for column, field in zip(columns, schema, strict=True):
        data = next(value for value in vars(column).values() if value is not None)
        array = pa.array(_with_nulls(data.values, data.nulls))
        try:
            arrays.append(_cast(array, field.type))
        except (pa.ArrowInvalid, ValueError) as error:
            raise InputError(
                f"The column {field.name!r} has a value that {field.type} cannot represent: {error}. Leave it out, or "
                "cast it to text in a query."
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _with_nulls(values: list[Any], nulls: bytes) -> list[Any]:
    """Set None where the server's null bitmap says so."""
    if nulls.strip(b"\0"):
        for i, byte in enumerate(nulls):
            for bit in range(8):
                if byte & (1 << bit) and i * 8 + bit < len(values):
                    values[i * 8 + bit] = None
    return values


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Convert a column of the protocol, where decimals, dates and times are text, to its Arrow type."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if t.is_null(array.type) or array.type == wanted:
        return array.cast(wanted)
    if t.is_timestamp(wanted) and t.is_string(array.type):
        zone_less = pc.utf8_slice_codeunits(array, 0, 26)  # to microseconds
        moments = zone_less.cast(pa.timestamp("us"))
        return pc.assume_timezone(moments, wanted.tz) if wanted.tz else moments
    return array.cast(wanted, safe=not t.is_floating(wanted))


def mapping_of(rows: list[tuple[Any, ...]]) -> Mapping[str, str]:
    """Return rows of names and values as a mapping."""
    return {str(row[0]): str(row[1]) for row in rows if len(row) > 1}
