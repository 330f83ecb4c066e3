"""The training job: read, fit, save and report.

Besides AutoGluon's output, it prints progress lines that begin with ``reading``, ``fitting``, ``saving``, ``measuring``
and ``reporting``. The model and its manifest are saved first, so a later failure does not lose them.
"""

from __future__ import annotations

import base64
import platform
import random
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs import checks, tables
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.files import RESULT, write_json
from airflow_provider_automl.jobs.frames import kind, listed, scalar, to_pandas
from airflow_provider_automl.jobs.model_files import PREDICTOR, autogluon_version, write_manifest
from airflow_provider_automl.jobs.parquet import Parts
from airflow_provider_automl.jobs.probabilities import correct, fit_temperature
from airflow_provider_automl.jobs.report import Inputs
from airflow_provider_automl.jobs.report import report as write_report

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

#: The name of the weight column for AutoGluon, which takes some names for weighting strategies.
_WEIGHT = "__automl_weight__"
#: Models that need torch.
_TORCH_MODELS = ["NN_TORCH", "FASTAI"]
#: The share of the hard limit that AutoGluon may use: its estimate leaves out the rest of the process.
_SOFT_MEMORY = 0.9
#: A class with fewer rows causes a warning.
_FEW_ROWS = 10


@dataclass
class Data:
    """The training rows."""

    frame: pd.DataFrame  # features, the target, and the weights as _WEIGHT
    features: pa.Schema  # with the input's types
    label_type: pa.DataType
    ignored: dict[str, str]  # column -> why
    rows_dropped: int  # because their label is NULL


@dataclass
class Plan:
    """The checked options of a training."""

    problem_type: str
    eval_metric: str
    classes: list[Any] | None  # values of the label column, in order
    positive_class: Any
    presets: str | list[str] | None
    hyperparameters: dict[Any, Any] | str | None
    oversample: bool


@dataclass
class Scored:
    """Held-out rows and their predictions."""

    which: str  # describes the rows
    labels: np.ndarray  # indices of classes, or numbers
    predictions: np.ndarray  # corrected probabilities of the positive class or one column per class; or numbers


@dataclass
class Fitted:
    """A fitted predictor, and its metrics on held-out rows."""

    predictor: Any
    classes: list[Any] | None
    seconds: float
    correction: dict[str, Any]
    decision_threshold: float
    score_val: float | None
    best_model: str
    leaderboard: pd.DataFrame
    held_out: pd.DataFrame | None  # None if the models are bagged
    scored: Scored | None = None
    oversampling: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)


def train(job: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Train a model; returns the job's result.

    :raises JobInputError: the user's input is wrong.
    """
    data = read(job)
    plan = make_plan(job, data)
    model_dir = Path(job["model_dir"])
    fitted = fit(job, data, plan, model_dir / PREDICTOR)
    result = save(job, data, plan, fitted, model_dir)
    # The model is complete: from here on, a crash or an exceeded limit only truncates the report.
    write_json(directory / RESULT, result)
    return result | report(job, data, fitted, result, directory)


def read(job: dict[str, Any]) -> Data:
    """Read the input's Parquet files without unusable rows and columns.

    :raises JobInputError: columns are missing or of unsupported types, or no row has a label.
    """
    import pyarrow.compute as pc

    source = Parts(job["input"])
    schema, rows = source.schema, source.rows
    ignored = checks.check_columns(schema, job)
    target, weight = job["target_column"], job["sample_weight"]
    wanted = [name for name in schema.names if name not in ignored or name == weight]
    _log(f"reading {rows:,} rows of {len(wanted)} columns")
    for name, why in ignored.items():
        _log(f"Column {name!r} is not used as a feature: {why}")
    if rows == 0:
        raise JobInputError("The input has no rows: there is nothing to learn from.")
    parts = source.read(wanted)
    label = parts[target]
    labelled = pc.is_valid(label)
    if pc.any(pc.is_null(label, nan_is_null=True)).as_py():
        labelled = pc.invert(pc.is_null(label, nan_is_null=True))
        parts = parts.filter(labelled)
    dropped = rows - parts.num_rows
    if parts.num_rows == 0:
        raise JobInputError(
            f"The target column {target!r} is NULL in all {rows:,} rows: there is nothing to learn from."
        )
    if dropped:
        _log(f"{dropped:,} rows dropped: their target {target!r} is NULL")
    features = [name for name in wanted if name not in (target, weight)]
    columns = {name: parts[name] for name in (*features, target)}
    if weight is not None:
        columns[_WEIGHT] = parts[weight]
    feature_schema = parts.select(features).schema.remove_metadata()
    label_type = parts.schema.field(target).type
    del parts, label
    frame = to_pandas(columns)
    del columns
    if weight is not None:
        checks.check_weights(frame[_WEIGHT].rename(weight))
        frame[_WEIGHT] *= len(frame) / frame[_WEIGHT].sum()
    return Data(frame, feature_schema, getattr(label_type, "value_type", label_type), ignored, dropped)


def make_plan(job: dict[str, Any], data: Data) -> Plan:
    """Check everything that can be checked before the fit.

    :raises JobInputError: an option or the target is wrong; the message says what to choose from.
    """
    import numpy as np

    target = data.frame[job["target_column"]]
    label_kind = kind(data.label_type)
    if label_kind == "number" and not np.isfinite(target.to_numpy(dtype=np.float64)).all():
        raise JobInputError(
            f"The target column {target.name!r} has infinite values: set them to NULL or filter them out."
        )
    if job["time_limit"] is not None and job["time_limit"] <= 0:
        raise JobInputError(f"time_limit is {job['time_limit']}: give seconds above 0.")
    problem = checks.problem_type(job["problem_type"], target, label_kind)
    metric = checks.check_metric(job["eval_metric"], problem)
    presets = checks.check_presets(job["presets"])
    hyperparameters = checks.check_hyperparameters(job["hyperparameters"])
    if problem == "regression":
        if job["positive_class"] is not None:
            raise JobInputError(
                f"positive_class is {job['positive_class']!r}, but the target {target.name!r} is a number "
                "(regression): leave it out, or set problem_type='binary'."
            )
        return Plan(problem, metric, None, None, presets, hyperparameters, oversample=False)
    counts = target.value_counts()
    classes = [_label_value(value, data.label_type) for value in sorted(counts.index)]
    if problem != "binary" and job["positive_class"] is not None:
        raise JobInputError(
            f"positive_class is {job['positive_class']!r}, but the target {target.name!r} has {len(classes)} classes: "
            f"{listed(classes, 10)}; leave it out, or use a target with two classes."
        )
    if counts.iloc[0] < 2:
        raise JobInputError(
            f"The target column {target.name!r} has {len(classes):,} classes in as many rows: a classification needs "
            "several rows per class. Use another target, or problem_type='regression' for numbers."
        )
    if counts.iloc[1] < 2:
        raise JobInputError(
            f"The target column {target.name!r} has {len(classes)} classes and only one of them, "
            f"{_label_value(counts.index[0], data.label_type)!r}, has more than one row: add rows of the others."
        )
    positive = None
    oversample = False
    if problem == "binary":
        given = job["positive_class"]
        positive = classes[1] if given is None else checks.find_class(given, classes)
        classes = [next(value for value in classes if value != positive), positive]
        oversample = counts.min() / counts.max() < job["oversampling_threshold"]
    return Plan(problem, metric, classes, positive, presets, hyperparameters, oversample)


def fit(job: dict[str, Any], data: Data, plan: Plan, path: Path) -> Fitted:
    """Fit AutoGluon's models into ``path``.

    :raises JobInputError: no model could be fitted within the limits.
    """
    import numpy as np

    seed = int(job["random_seed"])
    random.seed(seed)
    np.random.seed(seed % 2**32)  # models use the global generator
    training, held_out, oversampling = data.frame, None, None
    if plan.oversample:
        training, held_out, oversampling = _oversample(job, data.frame)
    predictor, seconds = _fit_autogluon(job, data, plan, path, training, held_out)
    best = predictor.model_best
    leaderboard = predictor.leaderboard(extra_info=True, silent=True)
    scored = predictor.model_refit_map(inverse=True).get(best, best)  # a refitted model has no validation score
    scores = dict(zip(leaderboard["model"], leaderboard["score_val"], strict=True))
    fitted = Fitted(
        predictor=predictor,
        classes=plan.classes,
        seconds=seconds,
        correction={"prior_odds": 1.0, "temperature": 1.0, "rates": None},
        decision_threshold=0.5,
        score_val=scores.get(scored),
        best_model=best,
        leaderboard=leaderboard,
        held_out=held_out,
        oversampling=oversampling,
    )
    if held_out is None and predictor.has_val:
        fitted.held_out = data.frame.loc[predictor.load_data_internal("val", return_y=False)[0].index]
    if plan.problem_type != "regression":
        fitted.classes = [_label_value(value, data.label_type) for value in predictor.class_labels]
        counts = data.frame[job["target_column"]].value_counts()
        if rare := [_label_value(value, data.label_type) for value in counts.index[counts < _FEW_ROWS]]:
            fitted.warnings.append(
                f"Classes with fewer than {_FEW_ROWS} rows are rarely predicted, if at all: {listed(rare)}."
            )
        _calibrate(job, plan, fitted, scored, data)
    else:
        fitted.scored = _held_out_regression(job, fitted, scored, data)
    for text in fitted.warnings:
        _log(text)
    return fitted


def save(job: dict[str, Any], data: Data, plan: Plan, fitted: Fitted, model_dir: Path) -> dict[str, Any]:
    """Reduce the predictor to what a prediction needs, and write the manifest; returns the job's result so far."""
    import pyarrow as pa

    _log("saving the model")
    predictor, best = fitted.predictor, fitted.best_model
    with _quiet():
        predictor.delete_models(models_to_keep=best, dry_run=False)
        predictor.set_model_best(best, save_trainer=True)
        predictor.save_space()
    for leftover in ("logs", "utils/data", "utils/attr"):
        shutil.rmtree(model_dir / PREDICTOR / leftover, ignore_errors=True)
    needed = set(predictor.features())
    features = pa.schema([item for item in data.features if item.name in needed])
    label = pa.field(job["target_column"], data.label_type)
    about = {
        "autogluon_version": autogluon_version(),
        "python_version": platform.python_version(),
        "model_name": job["model_name"],
        "model_version": job["model_version"],
        "created_at": datetime.now(UTC).isoformat(),
        "target_column": job["target_column"],
        "label_type": str(data.label_type),
        "problem_type": plan.problem_type,
        "eval_metric": plan.eval_metric,
        "classes": fitted.classes,
        "positive_class": plan.positive_class,
        "decision_threshold": fitted.decision_threshold,
        "correction": fitted.correction,
        "oversampling": fitted.oversampling,
        "features": {item.name: str(item.type) for item in features},
        "arrow_schema": base64.b64encode(pa.schema([*features, label]).serialize().to_pybytes()).decode(),
        "ignored": data.ignored,
        "sample_weight": job["sample_weight"],
        "train_rows": len(data.frame),
        "best_model": fitted.best_model,
        "score_val": fitted.score_val,
    }
    digest = write_manifest(model_dir, about)
    return {
        "problem_type": plan.problem_type,
        "eval_metric": plan.eval_metric,
        "score_val": fitted.score_val,
        "positive_class": plan.positive_class,
        "classes": fitted.classes,
        "train_rows": len(data.frame),
        "rows_dropped": data.rows_dropped,
        "fit_seconds": round(fitted.seconds, 3),
        "autogluon_version": about["autogluon_version"],
        "python_version": about["python_version"],
        "model_digest": digest,
        "best_model": fitted.best_model,
        "leaderboard": None,
        "feature_importance": None,
        "notebook": None,
        "notebook_html": None,
        "notebook_error": "the report did not finish" if job["report"] else None,
        "warnings": fitted.warnings,
    }


def report(job: dict[str, Any], data: Data, fitted: Fitted, result: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Export the leaderboard and the feature importance, and write the report; returns additions to the result."""
    made: dict[str, Any] = {"notebook_error": None}
    identity = {"model_name": job["model_name"], "model_version": job["model_version"]}
    leaderboard = tables.leaderboard(fitted.leaderboard, identity)
    importance = None
    if job["export_leaderboard"]:
        made["leaderboard"] = tables.write(leaderboard, directory / "leaderboard")
    if job["export_feature_importance"] or job["report"]:
        importance = _feature_importance(job, data, fitted, identity)
    if job["export_feature_importance"] and importance is not None:
        made["feature_importance"] = tables.write(importance, directory / "feature_importance")
    if job["report"]:
        _log("reporting in a notebook")
        fill = partial(_fill, job=job, data=data, fitted=fitted, leaderboard=leaderboard, importance=importance)
        made |= write_report(job, result, directory / "report", fill)
    return made


def _fill(
    inputs: Inputs, job: dict[str, Any], data: Data, fitted: Fitted, leaderboard: pa.Table, importance: pa.Table | None
) -> dict[str, Any]:
    """Write the notebook's inputs; returns its facts."""
    shown = data.frame.drop(columns=_WEIGHT, errors="ignore")
    inputs.profile(shown, hide=job["hide_table_contents"])
    inputs.table("leaderboard", leaderboard)
    inputs.table("importance", importance)
    if fitted.scored is not None:
        inputs.held_out(fitted.scored.labels, fitted.scored.predictions, fitted.predictor.problem_type)
    return {
        "rows": len(shown),
        "ignored": data.ignored,
        "target_column": job["target_column"],
        "target_median": _profile_target(inputs, shown[job["target_column"]], fitted),
        "classes": fitted.classes,
        "decision_threshold": fitted.decision_threshold,
        "held_out": fitted.scored.which if fitted.scored is not None else None,
    }


def _profile_target(inputs: Inputs, target: pd.Series, fitted: Fitted) -> float | None:
    """Write the target's classes or histogram; returns the median of a numeric target."""
    import numpy as np
    import pandas as pd

    if fitted.classes is not None:
        counts = target.value_counts()
        names = [str(value) for value in counts.index]
        inputs.frame("target", pd.DataFrame({"class": names, "rows": counts.to_numpy()}))
        return None
    found, edges = np.histogram(target.to_numpy(dtype=np.float64), bins=40)
    inputs.frame("target", pd.DataFrame({"low": edges[:-1], "high": edges[1:], "rows": found}))
    return float(target.median())


def _fit_autogluon(
    job: dict[str, Any], data: Data, plan: Plan, path: Path, training: pd.DataFrame, tuning: pd.DataFrame | None
) -> tuple[Any, float]:
    """Fit; returns the predictor and the seconds that the fit took."""
    from autogluon.core.models import AbstractModel
    from autogluon.tabular import TabularPredictor

    AbstractModel.default_random_seed = int(job["random_seed"])  # for models that are fitted in this process
    positive = {} if plan.positive_class is None else {"positive_class": _encoded(plan.positive_class)}
    options: dict[str, Any] = {"presets": plan.presets, "hyperparameters": plan.hyperparameters}
    if not isinstance(plan.hyperparameters, dict) and util.find_spec("torch") is None:
        options["excluded_model_types"] = _TORCH_MODELS
        _log("Neural networks are excluded: torch is not installed")
    if job.get("memory_limit"):
        options["memory_limit"] = _SOFT_MEMORY * job["memory_limit"] / 2**30
    if tuning is not None:
        # No bagging: copies of a row in several folds would leak from training into validation.
        options |= {"tuning_data": tuning, "num_bag_folds": 0, "num_stack_levels": 0, "auto_stack": False}
        options |= {"dynamic_stacking": False, "refit_full": False, "set_best_to_refit_full": False}
    _log(f"fitting on {len(training):,} rows: {plan.problem_type}, {plan.eval_metric}")
    start = time.monotonic()

    def attempt(time_limit: float | None) -> Any:
        predictor = TabularPredictor(
            label=job["target_column"],
            problem_type=plan.problem_type,
            eval_metric=plan.eval_metric,
            path=str(path),
            sample_weight=_WEIGHT if job["sample_weight"] is not None else None,
            learner_kwargs={"random_state": int(job["random_seed"])},
            **positive,
        )
        try:
            return predictor.fit(training, time_limit=time_limit, calibrate=False, **options)
        except (RuntimeError, AssertionError, ValueError) as error:
            if no_model := _no_model_error(predictor, error):
                raise no_model from error
            raise

    try:
        predictor = attempt(job["time_limit"])
    except AssertionError as error:
        # Without ray, AutoGluon 1.6 does not clean up after a stacking trial that failed or ran out of time.
        if "already fit" not in str(error):
            raise
        _log("The stacking trial failed: fitting again without it")
        shutil.rmtree(path)
        options["dynamic_stacking"] = False
        left = None if job["time_limit"] is None else max(1.0, job["time_limit"] - (time.monotonic() - start))
        predictor = attempt(left)
    return predictor, time.monotonic() - start


def _no_model_error(predictor: Any, error: Exception) -> Exception | None:
    """The exception to raise if the fit produced no model; None if ``error`` is another failure."""
    if "No models were trained" not in str(error) and "Not enough time" not in str(error):
        return None
    try:
        failures = predictor.model_failures()
        reasons = [f"{row.model}: {row.exc_type}: {row.exc_str}" for row in failures.itertuples()]
    except Exception:
        reasons = []  # it failed before there was a trainer
    if any("No space left on device" in text for text in reasons):
        return OSError(f"No space left on device while fitting ({reasons[0]})")
    first = f" The first model failed with {reasons[0][:300]}" if reasons else ""
    return JobInputError(
        f"AutoGluon could not fit any model: raise time_limit or memory_limit, add rows, or choose other models.{first}"
    )


def _oversample(job: dict[str, Any], frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Split off validation rows, then repeat minority rows of the rest up to the wanted ratio.

    :returns: the training rows, the validation rows (without repeats), and the facts for the manifest.
    """
    import numpy as np
    import pandas as pd
    from autogluon.core.utils import default_holdout_frac

    generator = np.random.default_rng(int(job["random_seed"]))
    labels = frame[job["target_column"]]
    counts = labels.value_counts()
    minority = counts.index[-1]
    fraction = default_holdout_frac(len(frame))
    held_out: list[np.ndarray] = []
    for value in counts.index:
        rows = np.flatnonzero((labels == value).to_numpy())
        held_out.append(generator.permutation(rows)[: max(1, round(fraction * len(rows)))])
    validation = np.sort(np.concatenate(held_out))
    rest = np.setdiff1d(np.arange(len(frame)), validation)
    is_minority = (labels == minority).to_numpy()[rest]
    few, many = rest[is_minority], rest[~is_minority]
    wanted = max(len(few), int(np.ceil(job["oversampling_threshold"] * len(many))))
    repeated = np.concatenate([np.tile(few, wanted // len(few)), generator.permutation(few)[: wanted % len(few)]])
    training = generator.permutation(np.concatenate([many, repeated]))
    _log(
        f"Oversampling: {len(few):,} rows of class {scalar(minority)!r} repeated to {wanted:,}, against "
        f"{len(many):,} of the other class; {len(validation):,} validation rows were split off before, "
        "and probabilities are corrected"
    )
    about = {
        "minority_class": scalar(minority),
        "minority_odds": counts.iloc[-1] / counts.iloc[0],
        "training_odds": wanted / len(many),
    }
    parts = (pd.DataFrame(frame.iloc[rows]) for rows in (training, validation))
    oversampled, tuning = (part.reset_index(drop=True) for part in parts)
    return oversampled, tuning, about


def _calibrate(job: dict[str, Any], plan: Plan, fitted: Fitted, model: str, data: Data) -> None:
    """Fit the correction of probabilities, and adjust the decision threshold and the score to it."""
    import numpy as np

    predictor = fitted.predictor
    rates = data.frame[job["target_column"]].value_counts(normalize=True)
    fitted.correction["rates"] = [float(rates[value]) for value in predictor.class_labels]
    oversampling = fitted.oversampling
    if oversampling is not None:
        odds = oversampling["minority_odds"] / oversampling["training_odds"]
        minority_is_positive = _label_value(oversampling["minority_class"], data.label_type) == plan.positive_class
        fitted.correction["prior_odds"] = odds if minority_is_positive else 1 / odds
    probabilities, labels = _held_out_probabilities(job, fitted, model, data)
    if job["proba_calibration"] and len(labels):
        fitted.correction["temperature"] = fit_temperature(probabilities, labels, fitted.correction)
        _log(f"Probabilities calibrated: temperature {fitted.correction['temperature']:.3f}")
    fitted.scored = Scored(_which(fitted), labels, correct(probabilities, fitted.correction))
    threshold = predictor.decision_threshold if plan.problem_type == "binary" else None
    if threshold not in (None, 0.5):  # AutoGluon tuned it on uncorrected probabilities
        fitted.decision_threshold = float(correct(np.array([threshold]), fitted.correction)[0])
    if oversampling is not None and len(labels):
        metric = predictor.eval_metric
        corrected = fitted.scored.predictions
        classes = (corrected > fitted.decision_threshold).astype(int)
        fitted.score_val = float(metric(labels, classes if metric.needs_class else corrected))


def _held_out_probabilities(
    job: dict[str, Any], fitted: Fitted, model: str, data: Data
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities by ``model`` for held-out rows, and the indices of their classes."""
    import numpy as np

    predictor = fitted.predictor
    binary = predictor.problem_type == "binary"
    if fitted.held_out is not None:
        probabilities = predictor.predict_proba(fitted.held_out, model=model, as_pandas=False, as_multiclass=not binary)
        labels = fitted.held_out[job["target_column"]]
    else:
        out_of_fold = predictor.predict_proba_oof(model=model)
        out_of_fold = out_of_fold[out_of_fold.notna().all(axis=1)]
        labels = data.frame[job["target_column"]].reindex(out_of_fold.index)
        probabilities = out_of_fold[predictor.class_labels].to_numpy()
        probabilities = probabilities[:, 1] if binary else probabilities
    positions = {value: index for index, value in enumerate(predictor.class_labels)}
    indices = labels.map(positions).to_numpy(dtype=np.float64)
    known = ~np.isnan(indices)
    return probabilities[known], indices[known].astype(int)


def _held_out_regression(job: dict[str, Any], fitted: Fitted, model: str, data: Data) -> Scored | None:
    """Predictions by ``model`` for held-out rows of a regression; None if AutoGluon kept no such rows."""
    import numpy as np

    if fitted.held_out is not None:
        found = fitted.predictor.predict(fitted.held_out, model=model, as_pandas=False)
        labels = fitted.held_out[job["target_column"]]
    else:
        try:
            out_of_fold = fitted.predictor.predict_oof(model=model).dropna()
        except Exception as error:
            _log(f"There are no out-of-fold predictions: {error}")
            return None
        found = out_of_fold.to_numpy()
        labels = data.frame[job["target_column"]].reindex(out_of_fold.index)
    return Scored(_which(fitted), labels.to_numpy(dtype=np.float64), np.asarray(found, dtype=np.float64))


def _which(fitted: Fitted) -> str:
    """A description of the held-out rows for the report."""
    if fitted.held_out is None:
        return (
            "Out-of-fold predictions: each row was predicted by models fitted on other rows. "
            "The ensemble's weights were chosen on the same predictions."
        )
    return (
        f"{len(fitted.held_out):,} held-out rows: no model was fitted on them. The ensemble's weights were chosen on "
        "them."
    )


def _feature_importance(job: dict[str, Any], data: Data, fitted: Fitted, identity: dict[str, Any]) -> pa.Table | None:
    """Permutation importance of every feature, on held-out rows if there are any."""
    _log("measuring feature importance")
    limit = job["fi_time_limit"]
    if limit is None:  # a tenth of the fit's time limit
        limit = min(max(10.0, 0.1 * (job["time_limit"] or 0)), 600.0)
    rows = fitted.held_out
    if rows is None:
        rows = data.frame.sample(min(len(data.frame), 5000), random_state=int(job["random_seed"]) % 2**32)
    try:
        with _quiet():
            found = fitted.predictor.feature_importance(rows, time_limit=limit, silent=True)
    except Exception as error:
        fitted.warnings.append(f"Feature importance could not be computed: {error}")
        _log(fitted.warnings[-1])
        return None
    return tables.feature_importance(found, identity)


def _label_value(value: Any, label_type: pa.DataType) -> Any:
    """A class as a value of the label column: AutoGluon sees booleans as 0 and 1."""
    import pyarrow.types as types

    return bool(value) if types.is_boolean(label_type) else scalar(value)


def _encoded(value: Any) -> Any:
    """A class as AutoGluon sees it: the inverse of :func:`_label_value`."""
    return int(value) if isinstance(value, bool) else value


class _quiet:
    """A context in which AutoGluon logs errors only."""

    def __enter__(self) -> None:
        import logging

        self._logger = logging.getLogger("autogluon")
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)


def _log(text: str) -> None:
    print(text, flush=True)
