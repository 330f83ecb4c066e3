"""``make faults``: 100 faults an engine, at random moments. Interrupted, it goes on where it was."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

if "AIRFLOW_HOME" not in os.environ:  # before Airflow is imported: it makes files there
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="automl-faults-")
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")  # as in tests/conftest.py

from tests.faults.warehouses import KNOWN, run_cases
from tests.system.server import REPO

WORK = REPO / ".test" / "faults"


def main() -> int:
    """Exit status 1 where one promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("engines", nargs="*", help=f"of {', '.join(KNOWN)}; default: all")
    parser.add_argument("--cases", type=int, default=100, help="faults an engine (default 100)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default 0)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--anew", action="store_true", help="forget what was run before")
    arguments = parser.parse_args()
    if unknown := set(arguments.engines) - KNOWN.keys():
        parser.error(f"no engine {', '.join(sorted(unknown))}")
    broken = 0
    for name in arguments.engines or KNOWN:
        log = WORK / f"{name}-{arguments.seed}.jsonl"
        if arguments.anew:
            log.unlink(missing_ok=True)
        home = Path(tempfile.mkdtemp(prefix=f"automl-faults-{name}-"))
        try:
            cases = range(arguments.first, arguments.first + arguments.cases)
            results = run_cases(name, cases, seed=arguments.seed, home=home, log=log, say=said)
        finally:
            shutil.rmtree(home, ignore_errors=True)
        problems = [result for result in results if result.problem]
        broken += len(problems)
        kinds = Counter(f"{result.kind} in {result.hit}" for result in results)
        found = Counter(result.found for result in results)
        said(f"{name}: {len(results)} faults, {len(problems)} broken promises; seed {arguments.seed}")
        said(f"    hit: {dict(sorted(kinds.items()))}")
        said(f"    found after the fault: {dict(sorted(found.items()))}")
    return 1 if broken else 0


def said(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
