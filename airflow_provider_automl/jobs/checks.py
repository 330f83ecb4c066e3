"""Checks of a training's input before anything is fitted. Each failed check raises ``JobInputError``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import did_you_mean, listing
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.frames import kind, listed, scalar

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PROBLEM_TYPES = ("binary", "multiclass", "regression")
#: Without a problem_type, a target with more distinct numbers is not taken for classes.
_MAX_NUMERIC_CLASSES = 20


def check_columns(schema: pa.Schema, job: Mapping[str, Any]) -> dict[str, str]:
    """Check the columns that the job names; returns the columns that are not used as features, and why.

    :raises JobInputError: the target, the weights or a column to ignore is missing, or of a type that does not fit.
    """
    names = schema.names
    target, weight = job["target_column"], job["sample_weight"]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise JobInputError(f"The input has more than one column {listed(duplicates)}: give each column a unique name.")
    for what, name in (("target column", target), ("weight column", weight)):
        if name is not None and name not in names:
            raise JobInputError(
                f"The input has no {what} {name!r}{did_you_mean(name, names)}: its columns are {listing(names)}."
            )
    if missing := [name for name in job["ignore_columns"] or () if name not in names]:
        unknown = listing([f"{name!r}{did_you_mean(name, names)}" for name in missing])
        raise JobInputError(f"The input has no column to ignore {unknown}: its columns are {listing(names)}.")
    label_kind = kind(schema.field(target).type)
    if label_kind not in ("number", "text"):
        raise JobInputError(
            f"The target column {target!r} is of type {schema.field(target).type}: use numbers, text or booleans."
        )
    if weight is not None and (weight == target or kind(schema.field(weight).type) != "number"):
        why = "the target itself" if weight == target else f"of type {schema.field(weight).type}"
        raise JobInputError(f"The weight column {weight!r} is {why}: use a numeric column with weights of 0 or more.")
    given = job["ignore_columns"]
    if given is not None and target in given:
        raise JobInputError(f"The target column {target!r} is among the columns to ignore: remove it from them.")
    default = ["time"] if "time" in names else []
    ignored = dict.fromkeys(default if given is None else given, "excluded by ignore_columns")
    for field in schema:
        if field.name not in (target, weight) and field.name not in ignored and kind(field.type) == "other":
            ignored[field.name] = f"of type {field.type}, which no model supports"
    ignored.pop(target, None)
    if not set(names) - {target, weight} - ignored.keys():
        raise JobInputError("The input has no feature: every column is the target, the weight column, or ignored.")
    return ignored


def check_weights(weights: pd.Series) -> None:
    """Check that weights are finite, at least 0, and not all 0.

    :raises JobInputError: they are not; the message counts the rows.
    """
    import numpy as np

    values = weights.to_numpy(dtype=np.float64, na_value=np.nan)
    for what, bad in (
        ("NULL, NaN or infinite", ~np.isfinite(values)),
        ("negative", values < 0),
        ("not above 0", np.full(1, values.max() <= 0)),
    ):
        if count := int(bad.sum()):
            rows = f"{count:,} rows" if len(bad) > 1 else "every row"
            raise JobInputError(
                f"The weight column {weights.name!r} is {what} in {rows}: every row needs a weight of 0 or more, "
                "and at least one row a weight above 0."
            )


def problem_type(given: str | None, target: pd.Series, label_kind: str) -> str:
    """The problem type: ``given`` if the target fits it, or AutoGluon's guess if none is given.

    :raises JobInputError: the target has a single value, is text for a regression, or has not two classes for a
        binary problem.
    """
    from autogluon.core.utils import infer_problem_type

    if given is not None and given not in PROBLEM_TYPES:
        raise JobInputError(f"problem_type is {given!r}: give one of {', '.join(PROBLEM_TYPES)}, or leave it out.")
    distinct = target.nunique()
    if distinct == 1:
        raise JobInputError(
            f"The target column {target.name!r} has one value only, {scalar(target.iloc[0])!r}: "
            "a training needs at least two distinct values."
        )
    if given == "regression" and label_kind == "text":
        raise JobInputError(
            f"problem_type is 'regression', but the target column {target.name!r} is text: use a numeric column."
        )
    if given == "binary" and distinct != 2:
        raise JobInputError(
            f"problem_type is 'binary', but the target column {target.name!r} has {distinct} classes: "
            f"{listed(sorted(target.unique()), 10)}; use 'multiclass'."
        )
    problem = given or str(infer_problem_type(target, silent=True))
    if given is None and problem == "multiclass" and label_kind == "number" and distinct > _MAX_NUMERIC_CLASSES:
        raise JobInputError(
            f"The target column {target.name!r} has {distinct:,} distinct numbers: set problem_type to 'regression' if "
            "they are quantities, or to 'multiclass' if they are class labels."
        )
    return problem


def find_class(given: Any, classes: Sequence[Any]) -> Any:
    """The class that ``given`` means: an equal value, or the one it spells (``"1"`` for 1, ``"true"`` for True).

    :raises JobInputError: there is no such class; the message lists the classes found.
    """
    for value in classes:
        if type(value) is type(given) and value == given:
            return value
    for value in classes:
        if _means(given, value):
            return value
    raise JobInputError(
        f"positive_class {given!r} never occurs in the target column{did_you_mean(given, map(str, classes))}: "
        f"its classes are {listed(list(classes))}."
    )


def _means(given: Any, value: Any) -> bool:
    """Whether ``given``, of another type, spells the class ``value``."""
    if isinstance(value, str):
        return str(given) == value
    text = str(given).strip().lower()
    if isinstance(value, bool) and text in ("true", "false"):
        return value == (text == "true")
    try:
        return bool(float(text) == value)
    except ValueError:
        return False


def check_metric(given: str | None, problem: str) -> str:
    """The metric's name; ``auto`` is ``roc_auc`` (binary), ``accuracy`` (multiclass) or ``root_mean_squared_error``.

    :raises JobInputError: the problem type has no metric of that name; the message lists its metrics.
    """
    from autogluon.core.metrics import METRICS

    if given in (None, "auto"):
        return {"binary": "roc_auc", "multiclass": "accuracy"}.get(problem, "root_mean_squared_error")
    known = METRICS[problem]
    if given not in known:
        other = [name for name in METRICS if given in METRICS[name]]
        what = f"is for {' and '.join(other)}, not for {problem}" if other else f"is not a metric for {problem}"
        hint = did_you_mean(given, known)
        raise JobInputError(f"eval_metric {given!r} {what}{hint}: give one of {', '.join(known)}.")
    return str(given)


def check_presets(given: str | list[str] | None) -> str | list[str] | None:
    """Check AutoGluon's presets.

    :raises JobInputError: there is no preset of that name; the message lists the presets.
    """
    from autogluon.tabular.configs.presets_configs import tabular_presets_alias, tabular_presets_dict

    known = [*tabular_presets_dict, *tabular_presets_alias]
    for name in [given] if isinstance(given, str) else given or ():
        if name not in known:
            hint = did_you_mean(name, known)
            raise JobInputError(f"There is no preset {name!r}{hint}: give one of {', '.join(tabular_presets_dict)}.")
    return given


def check_hyperparameters(given: dict[str, Any] | str | None) -> dict[Any, Any] | str | None:
    """Check AutoGluon's hyperparameters: the name of a set, or models by key; JSON's stack levels become integers.

    :raises JobInputError: there is no such set or model, or a model's value is neither an object nor a list of objects.
    """
    from autogluon.tabular.configs.hyperparameter_configs import get_hyperparameter_config_options
    from autogluon.tabular.registry import ag_model_registry

    if given is None:
        return None
    if isinstance(given, str):
        known = get_hyperparameter_config_options()
        if given not in known:
            hint = did_you_mean(given, known)
            raise JobInputError(
                f"There is no hyperparameter set {given!r}{hint}: give one of {', '.join(known)}, "
                'or models such as {"GBM": {}, "CAT": {}}.'
            )
        return given
    if not isinstance(given, dict) or not given:
        raise JobInputError(f'hyperparameters is {given!r}: give models such as {{"GBM": {{}}, "CAT": {{}}}}.')
    if all(str(key).isdigit() or key == "default" for key in given):
        return {int(key) if str(key).isdigit() else key: check_hyperparameters(models) for key, models in given.items()}
    models = ag_model_registry.keys
    for key, value in given.items():
        if key not in models:
            raise JobInputError(
                f"hyperparameters names a model {key!r} that AutoGluon does not have{did_you_mean(key, models)}: "
                f"its models are {listing(models, 40)}."
            )
        if not isinstance(value, dict) and not (isinstance(value, list) and all(isinstance(v, dict) for v in value)):
            raise JobInputError(
                f"The hyperparameters of model {key!r} are {value!r}: give an object, or a list of objects."
            )
        _reject_paths(value, str(key))
    return given


#: Names of hyperparameters that point to files to read or write, or to code to run.
_PATH_OPTION = re.compile(
    r"(^|[_.])(dir|directory|path|paths|file|files|filename|filenames|folder|uri|url|snapshot|snapshots|callback|callbacks"
    r"|class|module|import|script|command|allow_writing_files|output_model|input_model|output_result)($|[_.])",
    re.IGNORECASE,
)


def _reject_paths(value: Any, where: str) -> None:
    """Reject hyperparameters that name a file, a directory or code, at any depth: models accept them silently.

    :raises JobInputError: there is one; the message names it.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str) or _PATH_OPTION.search(name) or _is_path(name):
                raise JobInputError(
                    f"The hyperparameter {name!r} of {where} sets a file location or code to run: leave it out."
                )
            _reject_paths(inner, f"{where}.{name}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _reject_paths(inner, where)
    elif isinstance(value, str) and _is_path(value):
        raise JobInputError(f"The hyperparameter {where} is {value[:100]!r}, a path: leave it out.")


def _is_path(text: str) -> bool:
    return any(part in text for part in ("/", "\\", "..", "~", "\0", "\n"))
