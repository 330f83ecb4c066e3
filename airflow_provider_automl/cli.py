"""The command line for models, experiments and drift.

The commands are available as ``python -m airflow_provider_automl models list`` and, if Airflow supports provider
commands, as ``airflow automl models list``. Like the operators, they use an Airflow connection of type ``automl``.
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
    """One command; its function receives the parsed options and the hook, and returns the rows to print."""

    name: str
    help: str
    run: Callable[[Namespace, AutoMLHook], list[dict[str, Any]]]
    options: tuple[Option, ...] = ()


# ------------------------------------------------------------------------------------------------ models


def _list_models(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    aliases: dict[tuple[str, str], list[str]] = {}
    for alias, row in hook.models.aliases().items():
        aliases.setdefault((row["model_name"], row["model_version"]), []).append(alias)
    return [
        {
            "model_name": row["model_name"],
            "model_version": row["model_version"],
            "created_at": row["created_at"],
            "aliases": ", ".join(aliases.get((row["model_name"], row["model_version"]), [])),
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
        raise InputError(f"No alias {options.alias!r}: give a model to create it.")
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
        raise InputError("Give exactly one of a model name, --alias and --shared.")
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
    """One column per experiment, one row per property; options are shown only if they differ."""
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
    """The open alarms, each with its newest decision."""
    from airflow_provider_automl.tracking.alarms import open_alarms

    found = open_alarms(hook.tracking(options.schema), options.model)
    return [{key: alarm[key] for key in _ALARM} for alarm in found]


def _accept(options: Namespace, hook: AutoMLHook) -> list[dict[str, Any]]:
    """Accept the level of the last evaluations of an open alarm as the new baseline."""
    from airflow_provider_automl.tracking.alarms import Alarms, open_alarms, place_of

    tracking = hook.tracking(options.schema)
    found = [
        alarm
        for alarm in open_alarms(tracking, options.model)
        if options.episode in (None, alarm["episode_id"]) and alarm["estimates"] and alarm["metric"] is not None
    ]
    if not found:
        episode = f" with the episode {options.episode!r}" if options.episode else ""
        raise InputError(f"Model {options.model!r} has no open alarm{episode}: see `drift alarms`.")
    if len({place_of(alarm) for alarm in found}) > 1:
        raise InputError("Several alarms are open: choose one with --episode; see `drift alarms`.")
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


# ------------------------------------------------------------------------------------------------ both programs

_MODEL: Option = (("model",), {"nargs": "?", "help": "model name; with a trailing *, the newest with that prefix"})
_VERSION: Option = (("version",), {"nargs": "?", "help": "model version; default: the newest"})
_WAYS: tuple[Option, ...] = (
    _MODEL,
    _VERSION,
    (("--alias",), {"help": "the version with this alias"}),
    (("--shared",), {"metavar": "UUID", "help": "the version shared under this UUID"}),
)
_SCHEMA: Option = (("--schema",), {"help": "schema of the decisions; default: the connection's tracking schema"})
_EXACTLY: tuple[Option, ...] = ((("model",), {"help": "model name"}), (("version",), {"help": "model version"}))

COMMANDS: dict[str, tuple[str, tuple[Command, ...]]] = {
    "models": (
        "the model registry",
        (
            Command("list", "list the versions of a model, or of all models", _list_models, (
                _MODEL, (("--deleted",), {"action": "store_true", "help": "list deleted versions instead"}),
            )),
            Command("show", "show the details of a version", _show_model, _WAYS),
            Command("alias", "assign an alias to a version, and show its history", _alias, (
                (("alias",), {"help": "alias, such as census_champion"}), _MODEL, _VERSION,
                (("--reason",), {"help": "reason, recorded in the history"}),
                (("--rollback",), {"action": "store_true", "help": "assign it to its previous version"}),
            )),
            Command("share", "share a version under a UUID", _share, _WAYS),
            Command("unshare", "revoke a version's UUID", _unshare, _WAYS),
            Command("delete", "delete a version; its files are removed after a week", _delete, _EXACTLY),
            Command("undelete", "restore a deleted version", _undelete, _EXACTLY),
            Command("download", "copy a version's files into a directory", _download, (
                *_WAYS, (("--to",), {"required": True, "metavar": "DIRECTORY", "help": "must not exist yet"}),
            )),
        ),
    ),
    "experiments": (
        "training experiments",
        (
            Command("list", "list the newest experiments", _list_experiments, (
                (("--model",), {"help": "only of this model"}),
                (("--state",), {"choices": ["complete", "failed", "killed"], "help": "only in this state"}),
                (("--limit",), {"type": int, "default": 20, "help": "maximum number (default 20)"}),
            )),
            Command("compare", "compare experiments side by side", _compare, (
                (("models",), {"nargs": "+", "metavar": "MODEL[@VERSION]", "help": "default: the newest version"}),
            )),
        ),
    ),
    "drift": (
        "drift alarms and baselines",
        (
            Command("alarms", "list the open alarms", _alarms, (_MODEL, _SCHEMA)),
            Command("accept", "accept the level of an open alarm as the new baseline, which ends the alarm", _accept, (
                (("model",), {"help": "model name"}), _SCHEMA,
                (("--reason",), {"required": True, "help": "reason, which is recorded"}),
                (("--by",), {"help": "who accepts it; default: the current user"}),
                (("--episode",), {"help": "which alarm, if several are open"}),
            )),
            Command("baselines", "list the baselines, and who set them", _baselines, (_MODEL, _SCHEMA)),
        ),
    ),
}  # fmt: skip

_COMMON: tuple[Option, ...] = (
    (("--conn-id",), {"default": "automl_default", "help": "the connection of type automl"}),
    (
        ("--output", "-o"),
        {"choices": ["table", "json", "yaml", "plain"], "default": "table", "help": "output format"},
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
    """Run a command; returns the exit code: 0, or 1 with an error message on stderr."""
    import logging

    import yaml  # a dependency of Airflow
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
    elif command.name == "show":  # too wide for one line
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
