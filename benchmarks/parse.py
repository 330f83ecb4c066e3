"""Parsing the example DAG, against the same DAG with this provider's operators replaced by plain ``BaseOperator``s.

Airflow's own operators are kept, including the branch operator as the base of ours. Each parse runs in a new process,
as in a DAG processor, and is timed from before the first import, in CPU time, which other processes do not affect.
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
    """The DAG's source with plain operators instead of this provider's."""
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
    """Milliseconds of one parse in a new process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _TIMED, str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return float(printed.rpartition("SECONDS ")[2]) * 1000


def main() -> None:
    """Run the benchmark; exits 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    results = Results()
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory) / "plain.py"
        base.write_text(plain(DAG.read_text()))
        rounds = [(parse_ms(base), parse_ms(DAG), parse_ms(base)) for _ in range(arguments.runs + 1)][1:]
    first, ours, second = (median(series) for series in zip(*rounds, strict=True))
    # The difference to the mean of the two plain parses of the same round, which cancels other load on the machine.
    added = median(mine - (a + b) / 2 for a, mine, b in rounds)
    noise = median(abs(a - b) for a, _, b in rounds)
    results.line(
        "DAG parse: milliseconds more than plain operators",
        added,
        TARGET_MS,
        note=f"{ours:.0f} ms against {(first + second) / 2:.0f} ms; two plain parses differ by {noise:.0f} ms",
    )
    results.exit()


if __name__ == "__main__":
    main()
