"""Command line: ``python -m airflow_provider_automl``, with ``dags list``, ``dags copy DIR``, ``models …``,
``experiments …`` and ``drift …``. The commands on DAGs need no Airflow; the others are in
:mod:`airflow_provider_automl.cli`.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def example_dags() -> list[Path]:
    """The example DAG files: inside the package where it was installed from a wheel, in ``dags/`` in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "example_dags"
    return sorted((inside if inside.is_dir() else package.parent / "dags").glob("*.py"))


def list_dags() -> int:
    """Print each example DAG's file and the first line of its docstring."""
    for path in example_dags():
        lines = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()
        print(f"{path.name}: {lines[0] if lines else ''}")
    return 0


def copy_dags(directory: Path, *, force: bool) -> int:
    """Copy the example DAGs into ``directory``, made if missing; say of each file what became of it.

    :param force: overwrite files that differ. Without it, one that differs means that nothing is copied.
    :returns: the exit code: 0, or 1 when nothing was copied.
    """
    if directory.exists() and not directory.is_dir():
        print(f"{directory} is a file: give the directory where your DAGs are.", file=sys.stderr)
        return 1
    sources = {directory / path.name: path.read_bytes() for path in example_dags()}
    differ = [target for target, content in sources.items() if target.exists() and target.read_bytes() != content]
    if differ and not force:
        names = ", ".join(target.name for target in differ)
        print(f"Nothing was copied: in {directory}, {names} would be changed; --force overwrites.", file=sys.stderr)
        return 1
    directory.mkdir(parents=True, exist_ok=True)
    for target, content in sources.items():
        if target.exists() and target not in differ:
            print(f"unchanged    {target}")
            continue
        # In one step, for Airflow may be reading; the name is not one that Airflow would read.
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        os.replace(part, target)
        print(f"{'overwritten' if target in differ else 'copied     '}  {target}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in ("models", "experiments", "drift"):
        from airflow_provider_automl.cli import parse

        return parse(arguments)
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_automl")
    groups = parser.add_subparsers(required=True, metavar="dags | models | experiments | drift")
    dags = groups.add_parser("dags", help="the example DAGs")
    groups.add_parser("models", help="the registry of models: models --help")
    groups.add_parser("experiments", help="what was trained: experiments --help")
    groups.add_parser("drift", help="alarms, and what is held against what: drift --help")
    commands = dags.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name the example DAGs")
    copy = commands.add_parser("copy", help="copy the example DAGs into a directory")
    copy.add_argument("directory", type=Path, metavar="DIR", help="where your DAGs are; made if missing")
    copy.add_argument("--force", action="store_true", help="overwrite files that differ")
    options = parser.parse_args(arguments)
    return list_dags() if options.command == "list" else copy_dags(options.directory, force=options.force)


if __name__ == "__main__":
    sys.exit(main())
