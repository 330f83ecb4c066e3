"""``python -m tests.engines NAME up|down|status``: have one engine's server stand until it is told to go."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time

from tests.engines import ENGINES, Facts, Missing, directory, standing
from tests.engines.server import end


def main() -> int:
    """Exit status 0: up, or down as asked; 1: not up; 2: it cannot be had here."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.engines",
        description="Real servers on 127.0.0.1, in AUTOML_ENGINES_DIR (default: .engines in the checkout). "
        "With AUTOML_ENGINES_DIR set, tests use those that are up there.",
    )
    parser.add_argument("name", choices=sorted(ENGINES))
    parser.add_argument("command", choices=["up", "down", "status"])
    arguments = parser.parse_args()
    facts = standing(arguments.name)
    if arguments.command == "up" and facts is None:
        try:
            facts = up(arguments.name)
        except Missing as missing:
            print(missing, file=sys.stderr)
            return 2
    elif arguments.command == "down" and facts is not None:
        end(facts["processes"], ENGINES[arguments.name].stop_signal)
        ENGINES[arguments.name](directory(arguments.name)).clear()
        facts = None
    print(json.dumps(facts, indent=2) if facts else f"{arguments.name} is down")
    return 0 if facts or arguments.command == "down" else 1


def up(name: str) -> Facts:
    """Start it afresh, on the others that are up."""
    ENGINES[name].install()
    home = directory(name)
    shutil.rmtree(home, ignore_errors=True)
    beside = {other: facts for other in ENGINES if other != name and (facts := standing(other))}
    begun = time.monotonic()
    facts = ENGINES[name](home, beside=beside, tied=False).start()
    print(f"{name} is up after {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return facts


if __name__ == "__main__":
    sys.exit(main())
