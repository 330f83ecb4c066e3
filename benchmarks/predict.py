"""The prediction job, against a raw loop that writes the same Parquet file; and the job's memory by number of rows."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks._measure import Results, compare, peak_rss, scratch

BATCH_ROWS = 50_000
_LOOP = """
import json, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
from autogluon.tabular import TabularPredictor
source, target, path, batch_rows = sys.argv[1:]
predictor = TabularPredictor.load(path, verbosity=1)
predictor.persist()
negative, positive = predictor.class_labels
writer = None
for part in sorted(Path(source).glob("*.parquet")):
    for batch in pq.ParquetFile(part).iter_batches(batch_size=int(batch_rows)):
        proba = predictor.predict_proba(batch.to_pandas(), as_pandas=False, as_multiclass=False).astype(np.float64)
        table = pa.Table.from_batches([batch])
        table = table.append_column("predicted_class", pa.array(np.where(proba > 0.5, positive, negative)))
        table = table.append_column("predicted_proba", pa.array(proba))
        text = [json.dumps({negative: 1 - p, positive: p}) for p in proba.tolist()]
        table = table.append_column("predicted_probabilities", pa.array(text))
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
writer.close()
"""


def main() -> None:
    """Run the benchmark; exits 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    from airflow_provider_automl.hooks.automl import AutoMLHook
    from airflow_provider_automl.launchers.process import ProcessLauncher
    from benchmarks._census import POSITIVE, TARGET, home, table
    from benchmarks.train import train

    os.environ["AIRFLOW_HOME"] = str(home())
    model = train(table(100_000), {"GBM": {"num_boost_round": 100}}, TARGET, POSITIVE)
    hook = AutoMLHook()
    model_dir = hook.models.fetch(hook.models.find(model_name="benchmark"), scratch("predict"))
    assert model_dir is not None
    work = scratch("predict")

    def unloaded(rows: int) -> Path:
        directory = work / f"input-{rows}"
        if not directory.exists():
            hook.warehouse.unload(table(rows), directory)
        return directory

    def job(rows: int) -> dict[str, Any]:
        return {
            "kind": "predict",
            "input": str(unloaded(rows)),
            "output": str(work / "output"),
            "model_dir": str(model_dir),
            "model_digest": model["model_digest"],
            "rowid_column": None,
            "ignore_columns": None,
            "batch_rows": BATCH_ROWS,
            "report": False,
        }

    def ours() -> None:
        ProcessLauncher().run(job(arguments.rows), work / "job")

    def loop() -> None:
        paths = [str(unloaded(arguments.rows)), str(work / "loop.parquet"), str(model_dir / "predictor")]
        subprocess.run([sys.executable, "-c", _LOOP, *paths, str(BATCH_ROWS)], check=True, capture_output=True)

    results = Results()
    compared = compare(ours, loop, repeats=arguments.repeats)
    results.line(
        f"predict {arguments.rows:,} rows: job / raw loop, rows per second",
        1 / compared.ratio,
        0.95,
        at_least=True,
        note=f"{compared.ours:.1f} s against {compared.theirs:.1f} s; A/A spread {compared.spread:.1%}",
    )
    memory = [_peak(job(rows), work / "job") for rows in (arguments.rows, 4 * arguments.rows)]
    results.line(
        f"predict: peak memory at {4 * arguments.rows:,} / at {arguments.rows:,} rows",
        memory[1] / memory[0],
        1.2,
        note=f"{memory[1] / 2**20:.0f} MiB against {memory[0] / 2**20:.0f} MiB",
    )
    results.exit()


def _peak(job: dict[str, Any], directory: Path) -> int:
    """The peak resident memory of a job, in bytes."""
    import json

    directory.mkdir(exist_ok=True)
    path = directory / "job.json"
    path.write_text(json.dumps({**job, "memory_limit": None, "timeout": None}))
    return peak_rss([sys.executable, "-m", "airflow_provider_automl.jobs", str(path)])


if __name__ == "__main__":
    main()
