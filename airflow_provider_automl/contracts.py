"""The XCom contract: the dicts that operators return, and :func:`read`, by which operators read each other's.

Every key of a dict is always there; a value that is missing is None. A key that was added after the first version of
its dict is ``NotRequired``: an XCom that an older version of this provider stored lacks it, and is still read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from numbers import Number
from typing import Any, NotRequired, TypedDict, TypeVar, cast, get_args, get_origin, get_type_hints

from airflow_provider_automl.errors import InputError, listing, shortened

#: A class label, as JSON holds it.
Label = str | float | bool | None


class Training(TypedDict):
    """Returned by ``AutoMLTrainOperator``, which also leaves it in XCom when it starts and when it fails.

    Until it has succeeded, arguments are as the DAG gives them, and values that only a training knows are None.
    """

    model_name: str | None
    model_version: str | None
    #: The UUID of a shared version.
    shared_model: str | None
    notebook_url: str | None
    #: ``complete``; of a training that did not return: ``running`` or ``failed``.
    state: str | None
    error: str | None
    task_attempt_id: str | None
    session_time: str | None
    user_id: str | None
    user_email: str | None
    #: AutoGluon's own validation score.
    score_val: float | None
    score_val_reason: str | None
    eval_metric: str | None
    problem_type: str | None
    target_column: str | None
    #: Once trained, a label.
    positive_class: object
    classes: list[Any] | None
    #: The table, or the query in parentheses.
    train_table: str | None
    train_rows: int | None
    rows_dropped: int | None
    fit_seconds: float | None
    best_model: str | None
    model_uri: str | None
    model_digest: str | None
    autogluon_version: str | None
    python_version: str | None
    leaderboard_table: str | None
    feature_importance_table: str | None
    notebook_error: str | None
    warnings: list[str] | None
    options: dict[str, Any] | None
    dag_id: str | None
    run_id: str | None


class RecordedExperiment(TypedDict):
    """Returned by ``AutoMLTrackExperimentOperator``."""

    table: str
    record_id: str
    #: ``inserted``, ``unchanged`` or ``replaced``.
    recorded: str
    model_name: str
    model_version: str | None
    state: str


class Prediction(TypedDict):
    """Returned by ``AutoMLPredictOperator``."""

    output_table: str
    #: The table, or the query in parentheses.
    input_table: str | None
    model_name: str | None
    model_version: str | None
    rows: int
    positive_class: Label
    problem_type: str | None
    target_column: str | None
    notebook_url: NotRequired[str | None]
    notebook_error: NotRequired[str | None]


class Evaluation(TypedDict):
    """Returned by ``AutoMLEvaluateOperator``."""

    model_name: str | None
    model_version: str | None
    test_table: str | None
    dataset: NotRequired[str | None]
    #: The predictions.
    table: str
    problem_type: NotRequired[str | None]
    #: Binary only, with its 95 % interval.
    auroc: float | None
    auroc_low: float | None
    auroc_high: float | None
    #: Why the AUC or its interval is missing, else None.
    auroc_reason: str | None
    positives: int | None
    negatives: int | None
    rows_evaluated: int
    rows_skipped: int
    #: The other metrics by name; ``<name>_low``, ``<name>_high``, ``<name>_interval``, ``<name>_se`` and
    #: ``<name>_reason`` where they exist; counts of skipped rows.
    metrics: dict[str, Any]
    #: Binary: one dict per bin of scores.
    calibration: NotRequired[list[dict[str, Any]] | None]
    #: One dict per group: ``group``, its values, ``rows_evaluated``, ``rows_skipped``, the metrics.
    groups: NotRequired[list[dict[str, Any]]]


class RecordedEvaluation(TypedDict):
    """Returned by ``AutoMLRecordEvaluationOperator``."""

    table: str
    record_id: str
    #: ``inserted``, ``unchanged`` or ``replaced``.
    recorded: str


class DriftDecision(TypedDict):
    """Pushed by ``AutoMLDriftBranchOperator``, one XCom per key; it returns the task ids that it follows."""

    #: None: nothing to compare with, or nothing to judge.
    drifted: bool | None
    statistic: float | None
    threshold: float | None
    #: One or two sentences, for use in an email.
    detail: str
    p_value: float | None
    compared_with: str | None
    #: ``opened``, ``lasting``, ``over``, or None.
    alarm: str | None
    episode_id: str | None
    #: Whether an alert is due.
    remind: bool


class Promotion(TypedDict):
    """Returned by ``AutoMLPromoteOperator``. Numbers are None if nothing was compared, or if they are undefined."""

    alias: str
    promoted: bool
    #: The test's result.
    better: bool
    challenger_name: str
    challenger_version: str
    #: The champion that the challenger was compared with.
    champion_name: str | None
    champion_version: str | None
    metric: str
    challenger_value: float | None
    champion_value: float | None
    #: Positive if the challenger is better, for every metric; with its 95 % interval.
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    #: One-sided; the null hypothesis is a difference of at most 0, or ``-margin``.
    p_value: float | None
    #: The rows that were compared.
    rows: int | None
    #: One or two sentences, for use in an email.
    detail: str


class CreatedTables(TypedDict):
    """Returned by ``AutoMLCreateTablesOperator``."""

    schema: str
    #: The result tables' full names.
    tables: list[str]
    registry_schema: str


class CensusTables(TypedDict):
    """Returned by ``AutoMLCensusTablesOperator``."""

    train_table: str | None
    test_table: str
    #: The tables that were missing.
    created: list[str]


class ModelVersion(TypedDict):
    """What selects a model: part of the dict of a training, a prediction, and more."""

    model_name: str
    model_version: NotRequired[str | None]
    target_column: NotRequired[str | None]
    positive_class: NotRequired[Label]


#: What a dict that is read may be, and what a user writes to pass it.
_EXPECTED: Mapping[type, str] = {
    Training: "the dict of a training, such as train.output",
    Prediction: "the dict of a prediction, such as predict.output",
    Evaluation: "the dict of an evaluation, such as evaluate.output",
    ModelVersion: "the dict of a training or a prediction, such as train.output",
}
#: What operators return, by name in messages: those that contain another's keys first.
_RETURNED: Mapping[str, type] = {
    "a training": Training,
    "a prediction": Prediction,
    "an evaluation": Evaluation,
    "a promotion": Promotion,
    "a recorded experiment": RecordedExperiment,
    "a recorded evaluation": RecordedEvaluation,
}

_T = TypeVar("_T")


def keys(contract: type) -> tuple[str, ...]:
    """The keys of a contract, in their order."""
    return tuple(_types(contract))


def read(value: object, contract: type[_T], *, argument: str, needs: Collection[str] | None = None) -> _T:
    """Validate a dict that another task returned; an integer where the contract has a string becomes a string.

    A dict that an operator of this provider returned must be of this contract. Any other dict, such as one that is
    written in a DAG, must have the keys in ``needs``. Keys that the contract lacks are kept and not validated.

    :param argument: what holds the dict, for the message: ``evaluation of task 'drift'``.
    :param needs: default: the keys of the contract's first version.
    :raises InputError: not a dict, a key is missing, or a value is of another type.
    """
    expected = _EXPECTED[contract]
    if not isinstance(value, Mapping):
        raise InputError(f"{argument} is {shortened(repr(value))}: expected {expected}.")
    returned = next((name for name, other in _RETURNED.items() if _required(other) <= value.keys()), None)
    wanted = _required(contract) if needs is None or returned is not None else set(needs)
    if missing := [key for key in _types(contract) if key in wanted - value.keys()]:
        found = shortened(dict(value)) if returned is None else f"the dict of {returned}"
        raise InputError(f"{argument} is {found}, which has no {listing(map(repr, missing), 3)}: expected {expected}.")
    checked = dict(value)
    for key, types in _types(contract).items():
        given = checked.get(key)
        if key not in checked or _is_one_of(types, given):
            continue
        if str in types and isinstance(given, int) and not isinstance(given, bool):
            checked[key] = str(given)
            continue
        names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
        raise InputError(f"{key!r} of {argument} is {shortened(repr(given))}: expected {names}, as in {expected}.")
    return cast("_T", checked)


def _types(contract: type) -> dict[str, tuple[type, ...]]:
    """The types that the value of each key may have; of a container only its own."""
    found = {}
    for key, hint in get_type_hints(contract).items():
        alternatives = (hint,) if get_origin(hint) in (list, dict) else get_args(hint) or (hint,)
        found[key] = tuple(get_origin(each) or each for each in alternatives)
    return found


def _required(contract: type) -> frozenset[str]:
    # ``__required_keys__`` is wrong where annotations are strings.
    hints = get_type_hints(contract, include_extras=True)
    return frozenset(key for key, hint in hints.items() if get_origin(hint) is not NotRequired)


def _is_one_of(types: tuple[type, ...], value: object) -> bool:
    if object in types:
        return True
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, Number):
        return float in types or int in types
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list in types
    return dict in types if isinstance(value, Mapping) else isinstance(value, types)
