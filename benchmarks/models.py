"""The time of a training's report, of listing thousands of versions, and of opening a cached model.

The report's time is that between the training's line ``reporting`` and its end, in the same run as the fit. The limit
is 15 % of a training of 180 seconds, and half a minute for a million rows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks._measure import Results, scratch, seconds

_BUDGET = 0.15 * 180.0
_AT_A_MILLION = 30.0
_COLUMNS = {"problem_type", "positive_class", "presets", "ignore_columns", "sample_weight"}


def main() -> None:
    """Run the benchmark; exits 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--versions", type=int, default=5_000)
    arguments = parser.parse_args()

    from benchmarks._census import home

    os.environ["AIRFLOW_HOME"] = str(home())
    results = Results()
    for rows, limit in ((32_561, _BUDGET), (arguments.rows, _AT_A_MILLION)):
        took, without = report_seconds(rows)
        results.line(
            f"report on {rows:,} rows: seconds / {limit:g} s",
            took / limit,
            1.0,
            note=f"{took:.1f} s, after {without:.1f} s of reading, fitting and measuring",
        )
    listing(results, arguments.versions)
    cached(results)
    results.exit()


def report_seconds(rows: int) -> tuple[float, float]:
    """Seconds of a training's report, and of the training before it."""
    from airflow_provider_automl.launchers.process import ProcessLauncher
    from benchmarks._census import POSITIVE, TARGET, census_files

    work = scratch(f"report-{rows}-{uuid.uuid4().hex[:8]}")
    moments: dict[str, float] = {"begin": time.monotonic()}

    def note(line: str) -> None:
        if line.startswith("reporting"):
            moments["report"] = time.monotonic()

    job: dict[str, Any] = {
        **dict.fromkeys(_COLUMNS), "kind": "train", "input": str(census_files(rows)), "model_dir": str(work / "model"),
        "target_column": TARGET, "positive_class": POSITIVE, "eval_metric": "auto", "time_limit": None,
        "hyperparameters": {"GBM": {"num_boost_round": 50}}, "fi_time_limit": 10, "oversampling_threshold": 0.001,
        "proba_calibration": True, "random_seed": 0, "hide_table_contents": False, "export_leaderboard": False,
        "export_feature_importance": False, "report": True, "model_name": "benchmark", "model_version": "1",
        "title": "benchmark",
    }  # fmt: skip
    result = ProcessLauncher(log=note).run(job, work)
    end = time.monotonic()
    if result["notebook_error"]:
        raise RuntimeError(result["notebook_error"])
    return end - moments["report"], moments["report"] - moments["begin"]


def listing(results: Results, versions: int) -> None:
    """Time listing ``versions`` versions, against one query that reads the same rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_automl.hooks.automl import AutoMLHook
    from airflow_provider_automl.tracking.store import record_id
    from airflow_provider_automl.tracking.tables import COLUMNS, MODELS

    with tempfile.TemporaryDirectory() as directory:
        os.environ["AIRFLOW_HOME"] = directory
        hook = AutoMLHook()
        hook.registry.create([MODELS])
        now = datetime.now(UTC).replace(tzinfo=None)
        names = [(f"model_{i % 50}", f"version-{i}") for i in range(versions)]
        rows = [
            {
                **dict.fromkeys(COLUMNS[MODELS]),
                "model_name": name, "model_version": version, "model_uri": f"s3://models/{name}/{version}",
                "model_digest": "0" * 64, "created_at": now, "dag_id": "d", "run_id": "r",
                "record_id": record_id(name, version), "recorded_at": now,
            }
            for name, version in names
        ]  # fmt: skip
        files = Path(directory) / "rows"
        files.mkdir()
        text, moment = pa.string(), pa.timestamp("us")
        schema = pa.schema([(name, moment if kind == "TIMESTAMP" else text) for name, kind in COLUMNS[MODELS].items()])
        pq.write_table(pa.Table.from_pylist(rows, schema), files / "part-0.parquet")
        hook.warehouse.load(files, hook.registry.name(MODELS), mode="append")
        table = hook.registry.name(MODELS)

        def listed() -> None:
            assert len(AutoMLHook().models.versions()) == versions

        def queried() -> None:
            assert len(AutoMLHook().registry.warehouse.rows(table)) == versions

        listed()
        ours, theirs = min(seconds(listed) for _ in range(5)), min(seconds(queried) for _ in range(5))
        name = f"list {versions:,} versions / SELECT * of the same rows"
        results.info(name, ours / theirs, note=f"{ours:.2f} s against {theirs:.2f} s")


def cached(results: Results) -> None:
    """Time opening a model of 200 MB in S3 for the first time, and again from the cache."""
    from airflow_provider_automl.hooks.automl import AutoMLHook
    from airflow_provider_automl.jobs.model_files import write_manifest
    from tests.engines import engine
    from tests.faults.models import on_s3

    with tempfile.TemporaryDirectory() as directory, engine("s3") as facts:
        os.environ["AIRFLOW_HOME"] = directory
        on_s3(facts, os.environ.__setitem__, "benchmark")
        store = AutoMLHook().models
        files = Path(directory) / "files"
        (files / "model" / "predictor").mkdir(parents=True)
        for part in range(20):
            (files / "model" / "predictor" / f"part-{part}").write_bytes(os.urandom(10 * 2**20))
        digest = write_manifest(files / "model", {})
        uri = store.save(files, "m", "v-0")
        row = store.register(
            model_name="m", model_version="v-0", model_uri=uri, model_digest=digest, shared_model=None, dag_id=None,
            run_id=None,
        )  # fmt: skip

        def opened() -> None:
            with AutoMLHook().models.opened(row, Path(directory) / "unused"):
                pass

        first = seconds(opened)
        again = min(seconds(opened) for _ in range(3))
        results.line(
            "open a model of 200 MB in S3: first / again", first / again, 2.0, at_least=True,
            note=f"{first:.2f} s against {again:.2f} s, all of it for verifying digests",
        )  # fmt: skip


if __name__ == "__main__":
    main()
