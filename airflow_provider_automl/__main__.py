"""Command line: ``python -m airflow_provider_automl``.

Commands: ``dags list``, ``dags copy DIR``, ``models …``, ``experiments …`` and ``drift …``. The ``dags`` commands work
without Airflow; the others are in :mod:`airflow_provider_automl.cli`.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def example_dags() -> list[Path]:
    """The example DAG files: in the package if installed from a wheel, in ``dags/`` of a source checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "example_dags"
    return sorted((inside if inside.is_dir() else package.parent / "dags").glob("*.py"))


def list_dags() -> int:
    """Print the file name of each example DAG and the first line of its docstring."""
    for path in example_dags():
        lines = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()
        print(f"{path.name}: {lines[0] if lines else ''}")
    return 0


def copy_dags(directory: Path, *, force: bool) -> int:
    """Copy the example DAGs into ``directory``, which is created if missing; print the result for each file.

    :param force: overwrite files that differ. Without it, nothing is copied if any file differs.
    :returns: the exit code: 0, or 1 if nothing was copied.
    """
    if directory.exists() and not directory.is_dir():
        print(f"{directory} is a file: give your DAGs directory.", file=sys.stderr)
        return 1
    sources = {directory / path.name: path.read_bytes() for path in example_dags()}
    differ = [target for target, content in sources.items() if target.exists() and target.read_bytes() != content]
    if differ and not force:
        names = ", ".join(target.name for target in differ)
        print(f"Nothing was copied: {names} in {directory} differ; use --force to overwrite.", file=sys.stderr)
        return 1
    directory.mkdir(parents=True, exist_ok=True)
    for target, content in sources.items():
        if target.exists() and target not in differ:
            print(f"unchanged    {target}")
            continue
        # Replace atomically, as Airflow may be reading; Airflow does not parse the temporary name.
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        os.replace(part, target)
        print(f"{'overwritten' if target in differ else 'copied     '}  {target}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in ("models", "experiments", "drift"):
        from airflow_provider_automl.cli import parse

        return parse(arguments)
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_automl")
    groups = parser.add_subparsers(required=True, metavar="dags | models | experiments | drift")
    dags = groups.add_parser("dags", help="the example DAGs")
    groups.add_parser("models", help="the model registry: models --help")
    groups.add_parser("experiments", help="training experiments: experiments --help")
    groups.add_parser("drift", help="drift alarms and baselines: drift --help")
    commands = dags.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the example DAGs")
    copy = commands.add_parser("copy", help="copy the example DAGs into a directory")
    copy.add_argument("directory", type=Path, metavar="DIR", help="your DAGs directory; created if missing")
    copy.add_argument("--force", action="store_true", help="overwrite files that differ")
    options = parser.parse_args(arguments)
    return list_dags() if options.command == "list" else copy_dags(options.directory, force=options.force)


if __name__ == "__main__":
    sys.exit(main())
