"""Parsing the example DAG, against the same DAG with every operator of ours replaced by a plain ``BaseOperator``.

Airflow's own operators are kept, the branch included. Each parse is a fresh process, as a DAG processor's is, and
times itself from before the first import, in processor time: parsing waits for nothing, and others do not count.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks._measure import Results

DAG = Path(__file__).resolve().parents[1] / "dags" / "automl_experiment.py"
TARGET_MS = 20.0
_TIMED = """
import time
started = time.process_time()
import runpy, sys
runpy.run_path(sys.argv[1])
print("SECONDS", time.process_time() - started)
"""


def plain(source: str) -> str:
    """The DAG's text with our operators as plain ones."""
    ours = re.findall(r"^from airflow_provider_automl\S* import (.+)$", source, flags=re.MULTILINE)
    operators = sorted({name for line in ours for name in line.split(", ") if name.startswith("AutoML")})
    source = re.sub(r"^from airflow_provider_automl.*$\n", "", source, flags=re.MULTILINE)
    stand_ins = [
        "from airflow.providers.common.compat.sdk import BaseOperator",
        "from airflow.providers.standard.operators.python import BranchPythonOperator",
        "below = require_smtp = lambda *_, **__: None",
        "def plain(base):",
        "    class Plain(base):",
        "        def __init__(self, *, task_id, **kwargs):",
        "            more = {} if base is BaseOperator else {'python_callable': print}",
        "            super().__init__(task_id=task_id, **more)",
        "    return Plain",
        *(f"{name} = plain({'BranchPythonOperator' if 'Branch' in name else 'BaseOperator'})" for name in operators),
    ]
    future, _, rest = source.partition("import datetime\n")
    return future + "import datetime\n" + "\n".join(stand_ins) + "\n" + rest


def parse_ms(path: Path) -> float:
    """Milliseconds of one parse in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _TIMED, str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return float(printed.rpartition("SECONDS ")[2]) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    results = Results()
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory) / "plain.py"
        base.write_text(plain(DAG.read_text()))
        rounds = [(parse_ms(base), parse_ms(DAG), parse_ms(base)) for _ in range(arguments.runs + 1)][1:]
    first, ours, again = (median(series) for series in zip(*rounds, strict=True))
    # Of each round the difference to the mean of its two plain parses: what the machine does meanwhile drops out.
    more = median(mine - (a + b) / 2 for a, mine, b in rounds)
    noise = median(abs(a - b) for a, _, b in rounds)
    results.line(
        "DAG parse: milliseconds more than plain operators",
        more,
        TARGET_MS,
        note=f"{ours:.0f} ms against {(first + again) / 2:.0f} ms; two plain parses differ by {noise:.0f} ms",
    )
    results.exit()


if __name__ == "__main__":
    main()
