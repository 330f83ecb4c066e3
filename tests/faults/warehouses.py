"""Faults at random moments of a task's work at a warehouse, each followed by a retry: ``python -m tests.faults``.

A case: a task unloads a table, loads its rows over another one, and records a row. At a random moment of one of its
stages its process is killed, its query is ended, or the server is killed and started again. What then stands must be
the old rows or the new ones, whole; and after the retry, as Airflow would do it, everything must be as if nothing had
happened: the new rows, each once, one record, no other table, no file in staging.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, url2pathname, urlopen

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_automl.errors import AutoMLError, InputError
from tests.engines import ENGINES, Server
from tests.engines.hive import Metastore
from tests.engines.trino import for_iceberg
from tests.faults.attempt import STAGES, Work, attempt

ROWS = 40_000
_SCHEMA = "faults"
_PATIENCE = 240.0
# What an attempt would spend its first seconds with.
_PRELOADED = (
    "airflow.providers.common.compat.sdk", "airflow.providers.duckdb.hooks.duckdb",
    "airflow.providers.postgres.hooks.postgres", "airflow.providers.trino.hooks.trino",
    "airflow.providers.apache.hive.hooks.hive", "airflow_provider_automl.warehouse.duckdb",
    "airflow_provider_automl.warehouse.exchange", "airflow_provider_automl.warehouse.postgres",
    "airflow_provider_automl.warehouse.spark", "airflow_provider_automl.warehouse.trino",
    "airflow_provider_automl.warehouse.types", "duckdb", "psycopg2", "pyarrow.parquet", "pyhive.hive", "sqlglot",
    "trino.dbapi",
)  # fmt: skip
#: Kinds of faults: the task's process dies; its query is ended, by an administrator or by itself; the server dies.
KINDS = ("client", "query", "server")


@dataclass(frozen=True)
class Result:
    """One case and how it went. ``problem`` is None when all was as promised."""

    case: int
    kind: str
    stage: str
    after: float
    hit: str
    outcome: str
    found: str
    seconds: float
    problem: str | None

    def __str__(self) -> str:
        verdict = "ok" if self.problem is None else f"PROBLEM: {self.problem}"
        outcome = " ".join(self.outcome.split())[:100]
        return (
            f"#{self.case:<4} {self.kind:<7} {self.stage:<8} +{self.after:5.2f} s  hit {self.hit:<8} "
            f"then {self.found:<9} {self.seconds:5.1f} s  {verdict}  [{outcome}]"
        )


class Engine:
    """One kind of warehouse under faults: its servers, its connection, and what it cannot promise."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = KINDS
    #: Cases that have each kind of fault, for a short run.
    few: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4, 5)
    #: Whether the target's name may be missing between two steps of publishing.
    may_be_missing: ClassVar[bool] = False

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server: Server | None = None

    def start(self, stack: ExitStack) -> None:
        """Have its server stand until ``stack`` ends."""
        self.server = self._begun(ENGINES[self.name], stack)

    def _begun(self, kind: type[Server], stack: ExitStack, **beside: Any) -> Server:
        server = kind(self.home / kind.name, beside=beside)
        stack.callback(server.clear)
        stack.callback(server.stop)
        server.start()
        return server

    def connection(self, case: int) -> dict[str, Any]:
        """The Airflow connection for a case."""
        raise NotImplementedError

    def staging(self) -> str | None:
        """The place that the server reaches as well."""
        return None

    def end_queries(self) -> bool:
        """End the task's queries as an administrator would; False where the task itself must."""
        return False

    def tables(self, warehouse: Any) -> set[str]:
        """The names of the tables in the schema."""
        with warehouse._session() as cursor:
            return {table.name for table in warehouse._tables(cursor) if table.db == _SCHEMA}


class DuckDB(Engine):
    name = "duckdb"
    kinds = ("client", "query")
    few = (0, 1, 2, 3)

    def start(self, stack: ExitStack) -> None:
        self.home.mkdir(parents=True, exist_ok=True)

    def connection(self, case: int) -> dict[str, Any]:
        return {"conn_type": "duckdb", "host": str(self.home / "warehouse.duckdb")}


class Postgres(Engine):
    name = "postgres"

    def connection(self, case: int) -> dict[str, Any]:
        assert self.server
        facts = self.server.facts
        return {"conn_type": "postgres"} | {key: facts[key] for key in ("host", "port", "login", "schema")}

    def end_queries(self) -> bool:
        import psycopg2

        assert self.server
        facts = self.server.facts
        with psycopg2.connect(host=facts["host"], port=facts["port"], user=facts["login"], dbname="postgres") as own:
            own.cursor().execute(
                "SELECT PG_TERMINATE_BACKEND(pid) FROM pg_stat_activity "
                "WHERE pid <> PG_BACKEND_PID() AND backend_type = 'client backend'"
            )
        return True


class Trino(Engine):
    """Every second case on Iceberg. Fewer deaths of the server, which takes half a minute to come back.

    Its metastores are servers of their own: one of files is torn when its server is killed while it writes.
    """

    name = "trino"
    kinds = ("client", "query", "client", "query", "server")
    few = (0, 3, 8)
    may_be_missing = True
    catalogs: ClassVar[tuple[str, ...]] = ("hive", "iceberg_jdbc")

    def start(self, stack: ExitStack) -> None:
        hive, postgres = self._begun(Metastore, stack), self._begun(ENGINES["postgres"], stack)
        for_iceberg(postgres.facts)
        self.server = self._begun(ENGINES["trino"], stack, hive=hive.facts, postgres=postgres.facts)

    def connection(self, case: int) -> dict[str, Any]:
        assert self.server
        return {
            "conn_type": "trino", "host": "127.0.0.1", "port": self.server.facts["port"], "login": "tester",
            "schema": _SCHEMA, "extra": {"catalog": self.catalogs[case % len(self.catalogs)]},
        }  # fmt: skip

    def staging(self) -> str | None:
        assert self.server
        return str(self.server.facts["staging"])

    def end_queries(self) -> bool:
        assert self.server
        queries = f"http://127.0.0.1:{self.server.facts['port']}/v1/query"
        with urlopen(Request(queries, headers={"X-Trino-User": "tester"})) as answer:
            running = [query["queryId"] for query in json.load(answer) if query["state"] not in ("FINISHED", "FAILED")]
        for query in running:
            with urlopen(Request(f"{queries}/{query}", method="DELETE", headers={"X-Trino-User": "tester"})):
                pass
        return True

    def tables(self, warehouse: Any) -> set[str]:
        with warehouse._session() as cursor:
            cursor.execute(f"SHOW TABLES FROM {_SCHEMA}")
            return {str(row[0]) for row in cursor.fetchall()}


class Hive(Engine):
    name = "hive"
    few = (0, 2, 4)
    may_be_missing = True

    def start(self, stack: ExitStack) -> None:
        super().start(stack)
        (self.home / "staging").mkdir()

    def connection(self, case: int) -> dict[str, Any]:
        assert self.server
        return {
            "conn_type": "hiveserver2", "host": "127.0.0.1", "port": self.server.facts["port"], "login": "airflow",
        }  # fmt: skip

    def staging(self) -> str | None:
        return (self.home / "staging").as_uri()


class Spark(Hive):
    name = "spark"


KNOWN: dict[str, type[Engine]] = {each.name: each for each in (DuckDB, Postgres, Trino, Hive, Spark)}


class Faults:
    """A run of cases on one engine. The same seed gives the same faults at the same moments, as far as a machine can.

    :param home: a directory for the servers' data and logs, and for what is in staging.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine = engine
        self.seed = seed
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.faults.attempt", *_PRELOADED])
        self._typical: dict[int, dict[str, float]] = {}

    # ------------------------------------------------------------------------------------------------ the cases

    def prepare(self, case: int) -> None:
        """Two tables to take from, one to write, one for records; and how long each stage takes undisturbed."""
        kind = self._kind_of(case)
        if kind in self._typical:
            return
        warehouse = self._work(case).open()
        with suppress(AutoMLError):
            warehouse.create_schema(_SCHEMA)
        for turn in range(2):
            self._put(warehouse, f"{_SCHEMA}.source{turn}", self._content(turn), case)
        self._put(warehouse, f"{_SCHEMA}.target", self._content(1), case)
        warehouse.create_table(
            f"{_SCHEMA}.results", {"record_id": "VARCHAR", "rows": "BIGINT", "recorded_at": "TIMESTAMP"}
        )
        for trial in range(2):  # the first warms the server up
            work = dataclasses.replace(self._work(trial), connection=self._work(case).connection, key=f"trial {trial}")
            seen = self._run(work, None)
            if seen.outcome != "done":
                raise RuntimeError(f"{self.engine.name}: an undisturbed attempt fails: {seen.outcome}")
            self._typical[kind] = seen.took

    def run(self, case: int) -> Result:
        """One case."""
        self.prepare(case)
        rng = random.Random(f"{self.seed}/{self.engine.name}/{case}")
        fault = self.engine.kinds[case // 2 % len(self.engine.kinds)]
        typical = self._typical[self._kind_of(case)]
        stage = rng.choice([name for name in STAGES if name in typical])
        after = rng.uniform(0, 1) * typical[stage]
        begun = time.monotonic()
        warehouse = self._work(case).open()
        for trial in range(12):  # one that is over before its fault is no case: again, and sooner
            work = self._work(case, trial)
            self._put(warehouse, work.target, self._content(1 - case % 2), case)  # the old rows
            seen = self._run(work, (fault, stage, after))
            if seen.hit != "over":
                break
            after /= 2
        problem = None if seen.hit != "over" else "no fault was injected: every attempt was over before"
        if fault != "client" and "InputError" in seen.outcome:
            problem = f"a fault that a retry mends is said to be the user's: {seen.outcome}"
        found = self._found(warehouse, case)
        if found == "neither" or (found == "missing" and not self._may_be_missing(case)):
            problem = f"after the fault the target is {found}"
        retried = self._run(dataclasses.replace(work, context={**work.context, "AIRFLOW_CTX_TRY_NUMBER": "9"}), None)
        if retried.outcome != "done":
            problem = problem or f"the retry fails: {retried.outcome}"
        problem = problem or self._differs(warehouse, work, case)
        return Result(
            case, fault, stage, after, seen.hit, seen.outcome, found, time.monotonic() - begun, problem
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------ what is there

    def _found(self, warehouse: Any, case: int) -> str:
        """``old``, ``new``, ``missing`` or ``neither``: what the target holds."""
        try:
            rows = self._take(warehouse, f"{_SCHEMA}.target", case)
        except InputError:  # the server may do at this moment what it was told before the client was killed
            if warehouse.exists(f"{_SCHEMA}.target"):
                raise
            return "missing"
        for name, turn in (("new", case % 2), ("old", 1 - case % 2)):
            if rows.equals(self._content(turn)):
                return name
        return "neither"

    def _differs(self, warehouse: Any, work: Work, case: int) -> str | None:
        """In what the state differs from that of an undisturbed run."""
        if (found := self._found(warehouse, case)) != "new":
            return f"after the retry the target is {found}"
        recorded = warehouse.rows(work.results, where={"record_id": work.key})
        if [row["rows"] for row in recorded] != [ROWS]:
            return f"after the retry there are the records {recorded}"
        if extra := self.engine.tables(warehouse) ^ {"source0", "source1", "target", "results"}:
            return f"after the retry there are the tables {sorted(extra)} too many or too few"
        staging = self.engine.staging()
        if staging and (left := os.listdir(url2pathname(staging.removeprefix("file://")))):
            return f"after the retry staging holds {left}"
        return None

    def _may_be_missing(self, case: int) -> bool:
        catalog = self.engine.connection(case).get("extra", {}).get("catalog")
        return self.engine.may_be_missing and catalog != "iceberg_jdbc"

    def _kind_of(self, case: int) -> int:
        return case % len(getattr(self.engine, "catalogs", (0,)))

    def _work(self, case: int, trial: int = 0) -> Work:
        return Work(
            connection=self.engine.connection(case),
            staging=self.engine.staging(),
            source=f"{_SCHEMA}.source{case % 2}",
            target=f"{_SCHEMA}.target",
            results=f"{_SCHEMA}.results",
            key=f"seed {self.seed} case {case} {trial}",
            directory=str(self.engine.home / "work" / str(case)),
            context={
                "AIRFLOW_CTX_DAG_ID": "faults",
                "AIRFLOW_CTX_TASK_ID": f"case_{case}",
                "AIRFLOW_CTX_DAG_RUN_ID": f"seed_{self.seed}",
                "AIRFLOW_CTX_TRY_NUMBER": str(1 + trial),
            },
        )

    def _content(self, turn: int) -> pa.Table:
        """Rows that are the same in none of the two tables."""
        first = turn * ROWS
        return pa.table(
            {
                "id": pa.array(range(first, first + ROWS), pa.int64()),
                "x": pa.array([i / 7 for i in range(first, first + ROWS)], pa.float64()),
                "text": pa.array([f"row {i} of {turn}" for i in range(ROWS)]),
            }
        )

    def _put(self, warehouse: Any, table: str, content: pa.Table, case: int) -> None:
        with self._scratch(case) as directory:
            pq.write_table(content, directory / "part-00000.parquet")
            warehouse.load(directory, table)

    def _take(self, warehouse: Any, table: str, case: int) -> pa.Table:
        with self._scratch(case) as directory:
            warehouse.unload(table, directory)
            rows = pq.read_table(directory).sort_by("id")
            return rows.cast(self._content(0).schema) if rows.column_names == ["id", "x", "text"] else rows

    @contextmanager
    def _scratch(self, case: int) -> Iterator[Path]:
        directory = self.engine.home / "scratch" / str(case)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------ one attempt

    @dataclass
    class Seen:
        """What was seen of an attempt.

        :param outcome: ``done``, the error, or ``killed``.
        :param hit: the stage in which the fault found it.
        :param took: seconds of each stage.
        """

        outcome: str
        hit: str
        took: dict[str, float]

    def _run(self, work: Work, fault: tuple[str, str, float] | None) -> Seen:
        """Make one attempt, with one fault at most, and wait for its end, and the server's return."""
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=attempt, args=(work, sender), daemon=True)
        process.start()
        sender.close()
        outcome, hit, began, stage = "killed", "-", {}, "start"
        due: float | None = None
        deadline = time.monotonic() + _PATIENCE
        try:
            while True:
                now = time.monotonic()
                if now > deadline:
                    outcome = f"hangs in {stage}"
                    break
                if due is not None and now >= due:
                    due, hit = None, stage
                    assert fault
                    self._inject(fault[0], process)
                    continue
                wait = min(0.5, due - now) if due is not None else 0.5
                if not receiver.poll(max(0.0, wait)):
                    if not process.is_alive() and not receiver.poll(0):
                        break
                    continue
                try:
                    stage, error = receiver.recv()
                except EOFError:
                    break
                began[stage] = time.monotonic()
                if stage in ("done", "failed"):
                    outcome = stage if error is None else error
                    break
                if fault and stage == fault[1] and hit == "-":
                    due = time.monotonic() + fault[2]
        finally:
            if process.is_alive():
                process.join(2)
                process.kill()
            process.join()
            receiver.close()
        if due is not None:  # it was over sooner than usual
            hit = "over"
            assert fault
            if fault[0] == "server":
                self._inject("server", process)
        moments = sorted(began.items(), key=lambda item: item[1])
        took = {name: after - at for (name, at), (_, after) in pairwise(moments)}
        return self.Seen(outcome, hit, took)

    def _inject(self, kind: str, process: Any) -> None:
        if kind == "client":
            process.kill()
        elif kind == "query":
            with suppress(ProcessLookupError):
                if not self.engine.end_queries():
                    os.kill(process.pid, signal.SIGUSR1)
        else:
            assert self.engine.server
            self.engine.server.kill()
            self.engine.server.start()


def engine_of(name: str, home: Path, stack: ExitStack) -> Engine:
    """An engine with its servers up until ``stack`` ends."""
    made = KNOWN[name](home.resolve())
    made.start(stack)
    return made


def run_cases(
    name: str,
    cases: Sequence[int],
    *,
    seed: int,
    home: Path,
    log: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Result]:
    """Run cases on fresh servers; those that ``log`` has from before are not run again.

    :param log: a file of results, one JSON a line.
    """
    known: dict[int, Result] = {}
    if log and log.exists():
        known = {row["case"]: Result(**row) for row in map(json.loads, log.read_text().splitlines())}
    left = [case for case in cases if case not in known]
    say(f"{name}: {len(cases)} cases of seed {seed}, {len(cases) - len(left)} of them run before")
    if left:
        with ExitStack() as stack:
            faults = Faults(engine_of(name, home, stack), seed)
            for case in left:
                known[case] = faults.run(case)
                say(f"{name} {known[case]}")
                if log:
                    log.parent.mkdir(parents=True, exist_ok=True)
                    with log.open("a") as file:
                        file.write(json.dumps(dataclasses.asdict(known[case])) + "\n")
    return [known[case] for case in cases]
