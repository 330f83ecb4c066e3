"""The command line on models and experiments, for people outside of a DAG.

``python -m airflow_provider_automl models list``, or, where Airflow takes commands of providers, ``airflow automl
models list``: the same commands. They go by the Airflow connection of type ``automl``, as the operators do.
"""

from __future__ import annotations

import getpass
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import AutoMLError, InputError
from airflow_provider_automl.jobs.files import strict

if TYPE_CHECKING:
    from airflow_provider_automl.hooks.automl import AutoMLHook

Option = tuple[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Command:
    """One command: its function is given the parsed options and the hook, and returns what is to be shown."""

    name: str
    help: str
    run: Callable[[Namespace, AutoMLHook], list[dict[str, Any]]]
    options: tuple[Option, ...] = ()


# ------------------------------------------------------------------------------------------------ models


def _list_models(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    held: dict[tuple[str, str], list[str]] = {}
    for alias, row in hook.models.aliases().items():
        held.setdefault((row["model_name"], row["model_version"]), []).append(alias)
    return [
        {
            "model_name": row["model_name"],
            "model_version": row["model_version"],
            "created_at": row["created_at"],
            "aliases": ", ".join(held.get((row["model_name"], row["model_version"]), [])),
            "shared_model": row["shared_model"],
            "dag_id": row["dag_id"],
            **({"deleted_at": row["deleted_at"]} if options.deleted else {}),
        }
        for row in hook.models.versions(options.model, deleted=options.deleted)
    ]


def _show_model(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    return [hook.models.describe(_find(options, hook))]


def _alias(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    models, by = hook.models, _user()
    if options.rollback:
        models.rollback_alias(options.alias, assigned_by=by, reason=options.reason)
    elif options.model is not None:
        row = models.find(model_name=options.model, model_version=options.version)
        models.set_alias(options.alias, row, assigned_by=by, reason=options.reason)
    history = models.alias_history(options.alias)
    if not history:
        raise InputError(f"There is no alias {options.alias!r}: give a model for it.")
    shown = ("alias", "model_name", "model_version", "assigned_at", "assigned_by", "reason")
    return [{key: row[key] for key in shown} for row in history]


def _share(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    row = _find(options, hook)
    return [_named(row, shared_model=hook.models.share(row))]


def _unshare(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    row = _find(options, hook)
    hook.models.unshare(row)
    return [_named(row, shared_model=None)]


def _delete(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    row = hook.models.find(model_name=options.model, model_version=options.version)
    hook.models.delete(row)
    return [_named(row, state="deleted")]


def _undelete(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    return [_named(hook.models.undelete(options.model, options.version), state="there")]


def _download(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    row = _find(options, hook)
    return [_named(row, directory=str(hook.models.download(row, Path(options.to))))]


def _find(options: Namespace, hook: AutoMLHook) -> dict[str, Any]:
    ways = [options.model, options.alias, options.shared]
    if sum(way is not None for way in ways) != 1:
        raise InputError("Name one model: by its name, by --alias, or by --shared.")
    return hook.models.find(
        model_name=options.model, model_version=options.version, alias=options.alias, shared_model=options.shared
    )


def _named(row: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"model_name": row["model_name"], "model_version": row["model_version"], **more}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


# ------------------------------------------------------------------------------------------------ experiments

_EXPERIMENT = (
    "session_time", "model_name", "model_version", "state", "score_val", "eval_metric", "train_table", "train_rows",
    "fit_seconds", "dag_id", "run_id",
)  # fmt: skip
_COMPARED = ("auroc", "auroc_low", "auroc_high", "rows_evaluated", "test_table")


def _list_experiments(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    from airflow_provider_automl.tracking.tables import EXPERIMENTS

    where = {"model_name": options.model, "state": options.state}
    rows = hook.tracking().read(EXPERIMENTS, **{key: value for key, value in where.items() if value is not None})
    newest = sorted(rows, key=lambda row: str(row["session_time"]))[-options.limit :]
    return [{key: row[key] for key in _EXPERIMENT} for row in reversed(newest)]


def _compare(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    """A column an experiment, a row a property; options are shown where they differ."""
    from airflow_provider_automl.tracking.tables import EVAL_RESULTS, EXPERIMENTS

    columns: dict[str, dict[str, Any]] = {}
    for name in options.models:
        model, _, version = name.partition("@")
        row = hook.models.find(model_name=model, model_version=version or None)
        one = {"model_name": row["model_name"], "model_version": row["model_version"]}
        experiments = hook.tracking().read(EXPERIMENTS, **one)
        evaluations = hook.tracking().read(EVAL_RESULTS, **one)
        found = {key: experiments[-1][key] if experiments else None for key in _EXPERIMENT if key not in one}
        last = max(evaluations, key=lambda evaluation: str(evaluation["session_time"]), default={})
        found |= {key: last.get(key) for key in _COMPARED}
        asked = json.loads(experiments[-1]["options"] or "{}") if experiments else {}
        found |= {f"option {key}": value for key, value in asked.items()}
        columns[f"{row['model_name']}@{row['model_version']}"] = found
    keys = list(dict.fromkeys(key for found in columns.values() for key in found))
    rows = [{"property": key, **{name: found.get(key) for name, found in columns.items()}} for key in keys]
    return [
        row
        for row in rows
        if not str(row["property"]).startswith("option ")
        or len({json.dumps(strict(row[name]), sort_keys=True) for name in columns}) > 1
    ]


# ------------------------------------------------------------------------------------------------ drift

_ALARM = (
    "model_name", "model_version", "check_name", "opened", "evaluations", "detail", "dag_id", "task_id", "dataset",
    "episode_id",
)  # fmt: skip


def _alarms(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    """The alarms that are open, each once, by the newest decision in it."""
    from airflow_provider_automl.tracking.alarms import open_alarms

    found = open_alarms(hook.tracking(options.schema), options.model)
    return [{key: alarm[key] for key in _ALARM} for alarm in found]


def _accept(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    """Accept the level of the last evaluations of open alarms."""
    from airflow_provider_automl.tracking.alarms import Alarms, open_alarms, place_of

    tracking = hook.tracking(options.schema)
    found = [
        alarm
        for alarm in open_alarms(tracking, options.model)
        if options.episode in (None, alarm["episode_id"]) and alarm["estimates"] and alarm["metric"] is not None
    ]
    if not found:
        named = f" with the episode {options.episode!r}" if options.episode else ""
        raise InputError(f"No alarm of model {options.model!r} is open{named}: see `drift alarms`.")
    if len({place_of(alarm) for alarm in found}) > 1:
        raise InputError("Several alarms are open: name one by --episode; see `drift alarms`.")
    alarms, by = Alarms(tracking), options.by or _user()
    return [
        {
            "model_name": alarm["model_name"],
            "model_version": alarm["model_version"],
            "metric": alarm["metric"],
            "baseline_id": alarms.accept(
                place_of(alarm), alarm["metric"], alarm["estimates"], by=by, reason=options.reason,
                episode_id=alarm["episode_id"],
            ),
            "accepted_by": by,
        }
        for alarm in found
    ]  # fmt: skip


def _baselines(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    from airflow_provider_automl.tracking.tables import BASELINES

    where = {} if options.model is None else {"model_name": options.model}
    rows = hook.tracking(options.schema).read(BASELINES, **where)
    shown = ("model_name", "model_version", "metric", "level", "error", "made_by", "reason", "made_at", "replaced_by")
    return [{key: row[key] for key in (*shown, "dag_id", "task_id", "dataset")} for row in rows]


# ------------------------------------------------------------------------------------------------ the two programs

_MODEL: Option = (("model",), {"nargs": "?", "help": "the model's name; a * at its end: the newest that begins so"})
_VERSION: Option = (("version",), {"nargs": "?", "help": "default: the newest"})
_WAYS: tuple[Option, ...] = (
    _MODEL,
    _VERSION,
    (("--alias",), {"help": "the version that holds this alias"}),
    (("--shared",), {"metavar": "UUID", "help": "the version that was shared under this UUID"}),
)
_SCHEMA: Option = (("--schema",), {"help": "where the decisions are; default: the connection's tracking schema"})
_EXACTLY: tuple[Option, ...] = ((("model",), {"help": "the model's name"}), (("version",), {"help": "which one"}))

COMMANDS: dict[str, tuple[str, tuple[Command, ...]]] = {
    "models": (
        "the registry of models",
        (
            Command("list", "the versions of a model, or of all", _list_models, (
                _MODEL, (("--deleted",), {"action": "store_true", "help": "those that were deleted"}),
            )),
            Command("show", "all that is known of a version", _show_model, _WAYS),
            Command("alias", "point an alias at a version, and show its history", _alias, (
                (("alias",), {"help": "such as census_champion"}), _MODEL, _VERSION,
                (("--reason",), {"help": "why, for the history"}),
                (("--rollback",), {"action": "store_true", "help": "back to the version that held it before"}),
            )),
            Command("share", "publish a version under a UUID", _share, _WAYS),
            Command("unshare", "revoke a version's UUID", _unshare, _WAYS),
            Command("delete", "delete a version; its files go after a week", _delete, _EXACTLY),
            Command("undelete", "have a deleted version back", _undelete, _EXACTLY),
            Command("download", "copy a version's files into a directory", _download, (
                *_WAYS, (("--to",), {"required": True, "metavar": "DIRECTORY", "help": "which must not exist yet"}),
            )),
        ),
    ),
    "experiments": (
        "what was trained",
        (
            Command("list", "the newest experiments", _list_experiments, (
                (("--model",), {"help": "of this model"}),
                (("--state",), {"choices": ["complete", "failed", "killed"], "help": "of this state"}),
                (("--limit",), {"type": int, "default": 20, "help": "how many (default 20)"}),
            )),
            Command("compare", "experiments side by side", _compare, (
                (("models",), {"nargs": "+", "metavar": "MODEL[@VERSION]", "help": "the newest version by default"}),
            )),
        ),
    ),
    "drift": (
        "alarms, and what measures are held against",
        (
            Command("alarms", "the alarms that are open", _alarms, (_MODEL, _SCHEMA)),
            Command("accept", "accept the level of an open alarm's last evaluations: it is over", _accept, (
                (("model",), {"help": "the model's name"}), _SCHEMA,
                (("--reason",), {"required": True, "help": "why: it is recorded"}),
                (("--by",), {"help": "who; default: this user"}),
                (("--episode",), {"help": "which, where several are open"}),
            )),
            Command("baselines", "what measures are held against, and who made it so", _baselines, (_MODEL, _SCHEMA)),
        ),
    ),
}  # fmt: skip

_COMMON: tuple[Option, ...] = (
    (("--conn-id",), {"default": "automl_default", "help": "the connection of type automl"}),
    (
        ("--output", "-o"),
        {"choices": ["table", "json", "yaml", "plain"], "default": "table", "help": "how to show it"},
    ),
)


def add_commands(parser: Any) -> None:
    """Add the commands to an argparse subparsers object."""
    for group, (text, commands) in COMMANDS.items():
        below = parser.add_parser(group, help=text).add_subparsers(dest="command", required=True)
        for command in commands:
            one: ArgumentParser = below.add_parser(command.name, help=command.help)
            for flags, settings in (*command.options, *_COMMON):
                one.add_argument(*flags, **settings)
            one.set_defaults(run=command)


def run(command: Command, options: Namespace) -> int:
    """Run a command; returns the exit code: 0, or 1 with one sentence on stderr."""
    import logging

    import yaml  # Airflow brings it
    from airflow.cli.simple_table import AirflowConsole

    from airflow_provider_automl.hooks.automl import AutoMLHook

    logging.getLogger("airflow_provider_automl").setLevel(logging.WARNING)
    try:
        rows = command.run(options, AutoMLHook(options.conn_id, lock_timeout=60))
    except AutoMLError as error:
        print(error, file=sys.stderr)
        return 1
    shown = [{key: strict(value) for key, value in row.items()} for row in rows]
    if options.output == "json":
        print(json.dumps(shown, ensure_ascii=False, indent=1))
    elif options.output == "yaml":
        print(yaml.safe_dump(shown, allow_unicode=True, sort_keys=False), end="")
    elif command.name == "show":  # too wide for a line
        pairs = [{"property": key, "value": _text(value)} for row in shown for key, value in row.items()]
        AirflowConsole().print_as(data=pairs, output=options.output)
    else:
        texts = [{key: _text(value) for key, value in row.items()} for row in shown]
        AirflowConsole().print_as(data=texts, output=options.output)
    return 0


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def get_airflow_commands() -> list[Any]:
    """The same commands as ``airflow automl …``, for Airflow's provider manager."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    def action(command: Command) -> ActionCommand:
        def call(options: Namespace) -> None:
            sys.exit(run(command, options))

        arguments = [Arg(flags=flags, **settings) for flags, settings in (*command.options, *_COMMON)]  # type: ignore[no-untyped-call]
        return ActionCommand(name=command.name, help=command.help, func=call, args=arguments)

    groups = [
        GroupCommand(name=group, help=text, subcommands=[action(command) for command in commands])
        for group, (text, commands) in COMMANDS.items()
    ]
    return [GroupCommand(name="automl", help="Models and experiments of AutoML", subcommands=groups)]


def parse(arguments: Sequence[str]) -> int:
    """Run ``models …``, ``experiments …`` or ``drift …``."""
    parser = ArgumentParser(prog="python -m airflow_provider_automl")
    add_commands(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    return run(options.run, options)
