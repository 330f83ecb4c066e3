"""Loading and unloading rows by servers, against Airflow's own hooks: the 15 columns of the census, in the same run.

The servers are those of ``tests.engines``, on this machine: each part starts the servers that it needs, or uses those
in ``AUTOML_ENGINES_DIR``. ``insert_rows`` writes a few rows per second, so it gets few rows, and its rate is
extrapolated. A hook's ``get_df`` returns a frame in memory, ours writes Parquet files to disk.

    python -m benchmarks.warehouse [--only trino-read hive-write] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._census import census_files, home
from benchmarks._measure import Results, compare, compare_each, peak_rss, scratch, seconds
from tests.engines import Missing, engine
from tests.engines.trino import Trino

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_automl.warehouse import Warehouse

#: Rows for insert_rows. Hive runs one job per row.
FEW = {"trino": 200, "hive": 20, "postgres": 5_000}
#: Rows for a load without staging, where multi-row statements take minutes for all rows.
UNSTAGED = {"trino": 200_000, "hive": 40_000}
#: Memory of a read is measured at this multiple of the rows, too; for the hooks, at three times the rows.
#: (Hive in local mode runs a load of 10 M rows as several tasks in one Java process, where they break each other.)
TIMES = {"trino": 10, "hive": 3, "postgres": 10}
#: Rows for hand-written multi-row VALUES statements.
VALUES_ROWS = 4_000
#: The minimum ratio of our rows per second to those of the hooks.
WRITE_STAGED, WRITE_UNSTAGED, READ_STAGED, READ_UNSTAGED = 10_000, 100, 3, 1.3
#: Maximum ratios: a staged load to the engine's own CTAS; memory at more rows to memory at fewer.
CTAS, FLAT = 1.5, 1.2
TABLE = "bench.census_{}"
SIDES = ("staged", "unstaged", "hook")


class Engine:
    """One server with its Airflow connection, as our warehouse (with or without staging) and as Airflow's hook."""

    def __init__(self, name: str, connection: dict[str, Any], staging: Path | None, rows: int) -> None:
        self.name, self.rows = name, rows
        self.conn_id = f"bench_{name}"
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = json.dumps(connection)
        self.staging = None if staging is None else staging.as_uri()

    @property
    def hook(self) -> Any:
        """Airflow's hook."""
        return hook_of(self.conn_id)

    def warehouse(self, *, staged: bool = True) -> Warehouse:
        """Our warehouse."""
        from airflow_provider_automl.warehouse import open_warehouse

        return open_warehouse(self.hook, staging=self.staging if staged else None)

    def table(self, rows: int | None = None) -> str:
        """The name of a table with ``rows`` rows, created if missing."""
        rows = rows or self.rows
        name = TABLE.format(rows)
        warehouse = self.warehouse()
        if not warehouse.exists(name):
            warehouse.load(census_files(rows), name)
        return name


def hook_of(conn_id: str) -> Any:
    """The hook of a connection."""
    from airflow.providers.common.compat.sdk import BaseHook

    return BaseHook.get_hook(conn_id)


@contextmanager
def started(name: str, rows: int) -> Iterator[Engine]:
    """Run an engine's server within a ``with`` block."""
    Trino.heap, Trino.collector = 8, "-XX:+UseG1GC"
    with engine(name) as facts, tempfile.TemporaryDirectory(prefix="staging-", dir=scratch("warehouse")) as directory:
        connection = {"host": "127.0.0.1", "port": facts["port"]}
        staging: Path | None = Path(directory)
        if name == "postgres":
            connection |= {"conn_type": "postgres", "login": facts["login"], "schema": facts["schema"]}
            staging = None
        elif name == "hive":
            connection |= {"conn_type": "hiveserver2", "extra": {"run_set_variable_statements": "false"}}
        else:
            connection |= {"conn_type": "trino", "login": "bench", "schema": "bench", "extra": {"catalog": "files"}}
        yield Engine(name, connection, staging, rows)


# ---------------------------------------------------------------------------------------------------- loading


def write(server: Engine, results: Results) -> None:
    """Load files into a table, against insert_rows and, on Trino, multi-row VALUES statements."""
    few = _head(census_files(server.rows), max(FEW[server.name], VALUES_ROWS))
    server.warehouse(staged=False).load(census_files(1000), "bench.theirs")  # for its columns
    by_row = FEW[server.name] / seconds(partial(insert_rows, server, few.slice(0, FEW[server.name])))
    baseline = f"insert_rows {by_row:,.2g} rows/s (extrapolated from {FEW[server.name]} rows)"
    results.info(f"{server.name} insert_rows, rows per second", by_row)
    if server.name == "trino":
        rate = VALUES_ROWS / seconds(partial(insert_values, server, few.slice(0, VALUES_ROWS)))
        results.info("trino multi-row VALUES, rows per second", rate, note=f"from {VALUES_ROWS} rows")
        baseline += f"; multi-row VALUES {rate:,.0f}"
    sides = ("unstaged",) if server.staging is None else ("staged", "unstaged")
    for side in sides:
        rows = server.rows if side == "staged" else min(server.rows, UNSTAGED.get(server.name, server.rows))
        warehouse, files = server.warehouse(staged=side == "staged"), census_files(rows)
        warehouse.load(census_files(1000), "bench.ours")  # warms the server up
        took = seconds(partial(warehouse.load, files, "bench.ours"))
        if warehouse.count("bench.ours") != rows:
            raise RuntimeError(f"{side}: the table does not have the {rows} rows that were loaded")
        rate = rows / took
        target = WRITE_STAGED if side == "staged" else WRITE_UNSTAGED
        note = f"{rate:,.0f} rows/s ({rows:,} in {took:.1f} s); {baseline}"
        if server.name == "postgres":
            results.info("postgres write, times insert_rows", rate / by_row, note=note)
        else:
            results.line(
                f"{server.name} write, {side}: times insert_rows", rate / by_row, target, at_least=True, note=note
            )


def insert_rows(server: Engine, rows: pa.Table) -> None:
    """Insert by the hook. Without column names on Hive, since its hook quotes them in a way that Hive rejects."""
    values = [tuple(row.values()) for row in rows.to_pylist()]
    columns = None if server.name == "hive" else [f'"{name}"' for name in rows.column_names]
    server.hook.insert_rows("bench.theirs", values, target_fields=columns)


def insert_values(server: Engine, rows: pa.Table, characters: int = 900_000) -> None:
    """Insert by statements with as many rows as fit into Trino's limit of a million characters."""
    columns = ", ".join(f'"{name}"' for name in rows.column_names)
    head = f"INSERT INTO bench.theirs ({columns}) VALUES "
    texts = ["(" + ", ".join(map(_literal, row.values())) + ")" for row in rows.to_pylist()]
    while texts:
        size = len(head)
        count = 0
        while count < len(texts) and size + len(texts[count]) + 2 <= characters:
            size += len(texts[count]) + 2
            count += 1
        # Not by the hook's run: sqlparse, which splits its statements, fails above ten thousand tokens.
        server.hook.get_conn().cursor().execute(head + ", ".join(texts[:count])).fetchall()
        texts = texts[count:]


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def load(server: Engine, results: Results) -> None:
    """Load with staging, against the engine's own CTAS of a table with the same rows."""
    name, warehouse, files = server.table(), server.warehouse(), census_files(server.rows)

    def ctas() -> None:
        server.hook.run(
            ["DROP TABLE IF EXISTS bench.copied", f"CREATE TABLE bench.copied{_stored(server)} AS SELECT * FROM {name}"]
        )

    times = compare(lambda: warehouse.load(files, "bench.ours"), ctas, repeats=3)
    note = f"{times.ours:.1f} s against {times.theirs:.1f} s; A/A spread {times.spread:.1%}"
    results.line(f"{server.name} load, staged: time / CTAS", times.ratio, CTAS, note=note)


def _stored(server: Engine) -> str:
    return " STORED AS PARQUET" if server.name == "hive" else ""


def _head(files: Path, rows: int) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(sorted(files.glob("*.parquet"))[0]) as file:
        return pa.Table.from_batches([next(file.iter_batches(batch_size=rows))])


# ---------------------------------------------------------------------------------------------------- unloading


def read(server: Engine, results: Results) -> None:
    """Unload a table to Parquet files, against get_df."""
    name = server.table()
    sides = ("unstaged",) if server.staging is None else ("staged", "unstaged")
    compared = compare_each(
        {side: partial(read_once, server.conn_id, side, server.staging, name) for side in sides},
        partial(read_once, server.conn_id, "hook", None, name),
    )
    for side, times in compared.items():
        target = READ_STAGED if side == "staged" else READ_UNSTAGED
        note = f"{times.ours:.1f} s against {times.theirs:.1f} s; A/A spread {times.spread:.1%}"
        label = f"{server.name} read, {side}: times get_df"
        results.line(label, 1 / times.ratio, target, at_least=True, note=note)


def memory(server: Engine, results: Results) -> None:
    """The peak memory of the reading process, at the number of rows and at a multiple of it."""
    for side in SIDES:
        if side == "staged" and server.staging is None:
            continue
        times = 3 if side == "hook" else TIMES[server.name]
        sizes = (server.rows, times * server.rows)
        command = [sys.executable, "-m", "benchmarks.warehouse", "--once", server.conn_id, side, server.staging or ""]
        peaks = [peak_rss([*command, server.table(rows)]) / 2**20 for rows in sizes]
        name = f"{server.name} read, {side}: memory at {sizes[1]:,} / {sizes[0]:,} rows"
        note = f"{peaks[1]:,.0f} MiB against {peaks[0]:,.0f} MiB"
        if side == "hook":
            results.info(name, peaks[1] / peaks[0], note=note)
        else:
            results.line(name, peaks[1] / peaks[0], FLAT, note=note)


def read_once(conn_id: str, side: str, staging: str | None, table: str) -> None:
    """Read a table by one side."""
    if side == "hook":
        found = len(hook_of(conn_id).get_df(f"SELECT * FROM {table}"))
    else:
        from airflow_provider_automl.warehouse import open_warehouse

        warehouse = open_warehouse(hook_of(conn_id), staging=staging if side == "staged" else None)
        with tempfile.TemporaryDirectory(dir=scratch("warehouse")) as directory:
            found = warehouse.unload(table, Path(directory) / "rows")
    if str(found) != table.rpartition("_")[2]:
        raise RuntimeError(f"{side} found {found} rows in {table}")


# ---------------------------------------------------------------------------------------------------- AUC


def auc(server: Engine, results: Results) -> None:
    """Exact AUC with its interval, all scores distinct, against pulling the columns for scikit-learn and NumPy."""
    from airflow_provider_automl.warehouse import Query
    from airflow_provider_automl.warehouse.measures import evaluate

    rows, table = 10 * server.rows, f"bench.scores_{10 * server.rows}"
    warehouse = server.warehouse()
    if not warehouse.exists(table):
        warehouse.load(_scores(rows), table)
    query = f"SELECT label, score FROM {table}"
    found: dict[str, dict[str, Any]] = {}

    def ours() -> None:
        found["ours"] = evaluate(
            warehouse, table, label="label", problem_type="binary", score="score", positive_class=" >50K"
        )

    def unload() -> None:
        import pyarrow.parquet as pq

        with tempfile.TemporaryDirectory(dir=scratch("warehouse")) as directory:
            warehouse.unload(Query(query), Path(directory) / "rows")
            data = pq.read_table(Path(directory) / "rows")
        found["unload"] = _by_hand(data["label"].to_numpy(), data["score"].to_numpy())

    def get_df() -> None:
        data = server.hook.get_df(query)
        found["get_df"] = _by_hand(data["label"].to_numpy(), data["score"].to_numpy())

    times = {"ours": (seconds(ours), seconds(ours)), "unload": (seconds(unload),), "get_df": (seconds(get_df),)}
    took = min(times["ours"])
    name = f"trino AUC + interval, {rows:,} distinct scores"
    for side in ("unload", "get_df"):
        for metric in ("auroc", "auroc_se"):
            difference = abs(found["ours"][metric] - found[side][metric])
            results.line(f"{name}: {metric} differs from {side}'s by", difference, 1e-12)
        theirs = times[side][0]
        results.info(
            f"{name}: time / {side} + scikit-learn", took / theirs, note=f"{took:.1f} s against {theirs:.1f} s"
        )


def _by_hand(label: Any, score: Any) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    from tests.warehouse.delong import delong

    positive = label == " >50K"
    return {"auroc": float(roc_auc_score(positive, score)), "auroc_se": delong(positive, score)[1]}


def _scores(rows: int) -> Path:
    """Parquet files with labels and distinct scores."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    directory = scratch(f"warehouse/scores-{rows}")
    if not any(directory.iterdir()):
        rng = np.random.default_rng(0)
        positive = rng.random(rows) < 0.24
        score = (rng.permutation(rows) + 0.5) / rows
        score = np.where(positive, np.sqrt(score), score * 0.9)
        table = pa.table({"label": np.where(positive, " >50K", " <=50K"), "score": score})
        pq.write_table(table, directory / "part-00000.parquet")
    return directory


# ---------------------------------------------------------------------------------------------------- all parts

PARTS: dict[str, tuple[str, Callable[[Engine, Results], None]]] = {
    "trino-write": ("trino", write),
    "trino-load": ("trino", load),
    "trino-read": ("trino", read),
    "trino-memory": ("trino", memory),
    "trino-auc": ("trino", auc),
    "hive-write": ("hive", write),
    "hive-load": ("hive", load),
    "hive-read": ("hive", read),
    "hive-memory": ("hive", memory),
    "postgres-write": ("postgres", write),
    "postgres-read": ("postgres", read),
    "postgres-memory": ("postgres", memory),
}


def main() -> None:
    """Run the benchmarks; exits 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--once", nargs=4, metavar=("CONNECTION", "SIDE", "STAGING", "TABLE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["AIRFLOW_HOME"] = str(home())
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # the hooks log every row
    if options.once:
        read_once(*options.once)
        return
    results = Results()
    for name in dict.fromkeys(PARTS[part][0] for part in options.only):
        try:
            with started(name, options.rows) as server:
                for part in options.only:
                    kind, run = PARTS[part]
                    if kind == name:
                        run(server, results)
        except Missing as missing:
            print(f"{name} skipped: {missing}", flush=True)
    results.exit()


if __name__ == "__main__":
    main()
