"""Samples with traps in them, and what scikit-learn and SciPy say of each.

Many samples lie in one table, told apart by the column ``sample``, so that an engine answers for all in one query.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_automl.warehouse import Warehouse
from airflow_provider_automl.warehouse.formulas import BINS
from airflow_provider_automl.warehouse.measures import evaluate
from tests.warehouse.delong import delong

#: How many samples are compared.
SAMPLES = int(os.environ.get("AUTOML_SAMPLES", "40"))
#: So many at once: the samples are groups of one evaluation.
AT_ONCE = 500
CLASSES = ("a", 'b "c" {1}, .*', "ü\\ß")
TIGHT, LOOSE = 1e-12, 1e-9
CLIP = 1e-15

Sample = dict[str, list[Any]]
Expected = Callable[[Sample, dict[str, Any]], dict[str, float | None]]


def _size(rng: np.random.Generator) -> int:
    return int(rng.choice([1, 2, 3, 5, 17, 40, 300], p=[0.03, 0.05, 0.07, 0.15, 0.25, 0.35, 0.1]))


def _weights(rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    """Exact in binary, so that a median at exactly half of the weight is no matter of rounding."""
    kind = rng.integers(4)
    if kind == 0:
        return np.ones(n)
    if kind == 1:
        return rng.integers(0, 4, n).astype(float)  # some rows weigh nothing
    if kind == 2:
        return rng.integers(1, 9, n) / 8
    return np.where(rng.random(n) < 0.1, 1e6, rng.integers(1, 5, n) / 4)


def _holed(rng: np.random.Generator, values: Sequence[Any], share: float) -> list[Any]:
    """NULLs among the values."""
    return [None if hole else value for value, hole in zip(values, rng.random(len(values)) < share, strict=True)]


def _probabilities(rng: np.random.Generator, label: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    n = len(label)
    kind = rng.integers(8)
    even = 1 / (1 + np.exp(-(rng.normal(size=n) * 2 + 2 * label - 1)))
    if kind == 0:
        return np.full(n, 0.5)  # all tied
    if kind == 1:
        return np.round(even, 1)
    if kind == 2:
        return np.round(even)  # 0 and 1 only, wrong ones too
    if kind == 3:
        return label * 0.8 + 0.1  # perfect
    if kind == 4:
        return 1 - even  # upside down
    if kind == 5:
        return np.where(rng.random(n) < 0.5, even * 1e-17, 1 - even * 1e-16)  # beyond the clip of a log loss
    if kind == 6:
        return rng.integers(0, BINS + 1, n) / BINS  # on the edges of the bins
    return even


def binary_sample(rng: np.random.Generator) -> Sample:
    n = _size(rng)
    label = (rng.random(n) < rng.choice([0.5, 0.3, 0.02])).astype(int)
    holes = rng.choice([0.0, 0.1])
    score = _probabilities(rng, label)
    return {
        "y": _holed(rng, label.tolist(), holes),
        "s": _holed(rng, score.tolist(), holes),
        "w": _holed(rng, _weights(rng, n).tolist(), holes),
    }


def multiclass_sample(rng: np.random.Generator) -> Sample:
    n = _size(rng)
    label = rng.choice(3, n, p=rng.choice([[0.5, 0.3, 0.2], [0.9, 0.09, 0.01]]))
    proba = rng.dirichlet([1, 1, 1], n)
    proba[np.arange(n), label] += rng.choice([0.0, 0.5])
    proba = np.round(proba / proba.sum(axis=1, keepdims=True), 1) + 1e-3 if rng.random() < 0.5 else proba
    proba /= proba.sum(axis=1, keepdims=True)
    texts = [json.dumps(dict(zip(CLASSES, row, strict=True)), ensure_ascii=False) for row in proba.tolist()]
    holes = rng.choice([0.0, 0.1])
    return {
        "y": _holed(rng, [CLASSES[k] for k in label], holes),
        "predicted": [CLASSES[k] for k in proba.argmax(axis=1)],
        "probabilities": texts,
        "w": _holed(rng, _weights(rng, n).tolist(), holes),
    }


def regression_sample(rng: np.random.Generator) -> Sample:
    n = _size(rng)
    kind = rng.integers(6)
    label = rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)
    if kind == 0:
        label = np.full(n, float(rng.integers(-2, 3)))  # constant
    elif kind == 1:
        label = rng.normal(size=n) + 1e6  # far from 0 beside its spread
    elif kind == 2:
        label = np.where(rng.random(n) < 0.2, 0.0, label)  # MAPE of zeros
    predicted = label + rng.normal(size=n) * rng.choice([0.0, 1e-3, 1.0])
    predicted = np.round(predicted, 1) if kind == 3 else predicted
    holes = rng.choice([0.0, 0.1])
    return {
        "y": _holed(rng, label.tolist(), holes),
        "predicted": _holed(rng, predicted.tolist(), holes),
        "w": _holed(rng, _weights(rng, n).tolist(), holes),
    }


def table(samples: Sequence[Sample]) -> pa.Table:
    """All samples in one table."""
    columns = {name: [value for sample in samples for value in sample[name]] for name in samples[0]}
    columns["sample"] = [number for number, sample in enumerate(samples) for _ in sample["y"]]
    types = {"y": None, "sample": pa.int32(), "w": pa.float64(), "s": pa.float64()}
    return pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})


def _complete(sample: Sample, *names: str) -> list[np.ndarray[Any, Any]]:
    rows = [row for row in zip(*(sample[name] for name in names), strict=True) if None not in row]
    return [np.array(column) for column in zip(*rows, strict=True)] if rows else [np.array([])] * len(names)


def _weighted_ks(y: Any, s: Any, w: Any) -> float:
    return max(
        abs(w[(y == 1) & (s <= at)].sum() / w[y == 1].sum() - w[(y == 0) & (s <= at)].sum() / w[y == 0].sum())
        for at in np.unique(s)
    )


def _calibration_error(y: Any, s: Any, w: Any) -> float:
    bins = np.minimum(np.floor(s * BINS), BINS - 1)
    return sum(abs((w * (y - s))[bins == each].sum()) for each in np.unique(bins)) / w.sum()


def expected_binary(sample: Sample, options: dict[str, Any]) -> dict[str, float | None]:
    """None where there is no number."""
    weighted, threshold, beta = options["weight"] is not None, options["threshold"], options["beta"]
    from scipy.stats import ks_2samp
    from sklearn import metrics

    y, s, *rest = _complete(sample, "y", "s", *(["w"] if weighted else []))
    w = rest[0] if rest else np.ones(len(y))
    if not w.sum():
        return {}
    clipped, decided = np.clip(s, CLIP, 1 - CLIP), (s >= threshold).astype(int)
    p, q = w[y == 1].sum(), w[y == 0].sum()
    known = {"sample_weight": w}
    score = {**known, "zero_division": 0.0}
    tn, fp, fn, tp = metrics.confusion_matrix(y, decided, labels=[0, 1], **known).ravel()
    both = bool(p and q)
    return {
        "auroc": metrics.roc_auc_score(y, s, **known) if both else None,
        "average_precision": metrics.average_precision_score(y, s, **known) if p else None,
        "log_loss": metrics.log_loss(y, clipped, labels=[0, 1], **known),
        "brier": metrics.brier_score_loss(y, s, pos_label=1, **known),
        "accuracy": metrics.accuracy_score(y, decided, **known),
        "precision": metrics.precision_score(y, decided, **score),
        "recall": metrics.recall_score(y, decided, **score),
        "f1": metrics.f1_score(y, decided, **score),
        "fbeta": metrics.fbeta_score(y, decided, beta=beta, **score),
        "mcc": metrics.matthews_corrcoef(y, decided, **known),
        "true_positives": tp, "false_positives": fp, "false_negatives": fn, "true_negatives": tn,
        "expected_calibration_error": _calibration_error(y, s, w),
        "ks": None if not both else _weighted_ks(y, s, w) if weighted else ks_2samp(s[y == 1], s[y == 0]).statistic,
        "auroc_se": delong(y == 1, s)[1] if not weighted and min(p, q) > 1 else None,
    }  # fmt: skip


def expected_multiclass(sample: Sample, options: dict[str, Any]) -> dict[str, float | None]:
    """Weighted."""
    from sklearn import metrics

    y, predicted, texts, w = _complete(sample, "y", "predicted", "probabilities", "w")
    if not w.sum():
        return {}
    proba = np.array([[json.loads(text)[name] for name in CLASSES] for text in texts])
    known = {"sample_weight": w}
    shares = [w[y == name].sum() for name in CLASSES]
    every = all(0 < share < w.sum() for share in shares)
    order = np.argsort(CLASSES)
    labels = [CLASSES[k] for k in order]
    return {
        "accuracy": metrics.accuracy_score(y, predicted, **known),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, predicted, **known),
        "mcc": metrics.matthews_corrcoef(y, predicted, **known),
        "macro_f1": metrics.f1_score(y, predicted, average="macro", zero_division=0.0, **known),
        "weighted_f1": metrics.f1_score(y, predicted, average="weighted", zero_division=0.0, **known),
        "log_loss": metrics.log_loss(y, proba[:, order], labels=labels, **known),
        "macro_auroc": metrics.roc_auc_score(y, proba[:, order], multi_class="ovr", labels=labels, **known)
        if every
        else None,
    }


def expected_regression(sample: Sample, options: dict[str, Any]) -> dict[str, float | None]:
    """None where there is no number."""
    weighted = options["weight"] is not None
    from sklearn import metrics

    y, predicted, *rest = _complete(sample, "y", "predicted", *(["w"] if weighted else []))
    w = rest[0] if rest else np.ones(len(y))
    if not w.sum():
        return {}
    known = {"sample_weight": w}
    r2 = metrics.r2_score(y, predicted, **known) if len(y) > 1 else None
    if len(y) > 1 and len(np.unique(y[w > 0])) == 1:
        r2 = float((y == predicted)[w > 0].all())  # scikit-learn's rule, which rounding of its weighted mean may defeat
    return {
        "rmse": metrics.root_mean_squared_error(y, predicted, **known),
        "mse": metrics.mean_squared_error(y, predicted, **known),
        "mae": metrics.mean_absolute_error(y, predicted, **known),
        "mape": metrics.mean_absolute_percentage_error(y, predicted, **known),
        "r2": r2,
        "median_absolute_error": metrics.median_absolute_error(y, predicted, **known),
        "bias": float(np.average(predicted - y, weights=w)),
    }


def differences(got: dict[str, Any], expected: dict[str, float | None], where: str) -> list[str]:
    """What of one sample is not as it should be, a line each."""
    wrong = []
    for name, value in expected.items():
        found = got.get(name)
        if value is None or math.isnan(value):
            if found is not None:
                wrong.append(f"{where}: {name} is {found!r} and should be None")
            continue
        tolerance = TIGHT if name in ("auroc", "auroc_se") and "weighted" not in where else LOOSE
        if found is None or abs(found - value) > tolerance * max(1.0, abs(value)):
            wrong.append(f"{where}: {name} is {found!r} and should be {value!r}")
    return wrong


def compare(
    warehouse: Warehouse, load: Callable[[str, pa.Table], object], *, count: int, seed: int
) -> tuple[int, list[str]]:
    """Compare so many samples of each problem type; returns how many numbers were compared, and what differs.

    :param load: puts a table into the warehouse.
    """
    compared, wrong = 0, []
    rng = np.random.default_rng(seed)
    for start in range(0, count, AT_ONCE):
        many = min(AT_ONCE, count - start)
        binaries, classes, numbers = (
            [make(rng) for _ in range(many)] for make in (binary_sample, multiclass_sample, regression_sample)
        )
        for name, samples in (("binary", binaries), ("classes", classes), ("numbers", numbers)):
            load(f"s.{name}{start}", table(samples))
        decide = {"threshold": float(rng.choice([0.5, 0.3])), "beta": float(rng.choice([1.0, 0.5, 2.0]))}
        of_score = {"score": "s", "positive_class": 1, **decide}
        of_classes = {"prediction": "predicted", "probabilities": "probabilities"}
        sides: list[tuple[str, list[Sample], Expected, dict[str, Any]]] = [
            ("classes", classes, expected_multiclass, {**of_classes, "weight": "w"})
        ]
        for weight in (None, "w"):
            sides.append(("binary", binaries, expected_binary, {**of_score, "weight": weight}))
            sides.append(("numbers", numbers, expected_regression, {"prediction": "predicted", "weight": weight}))
        kinds = {"binary": "binary", "numbers": "regression", "classes": "multiclass"}
        for name, samples, expected, options in sides:
            got = evaluate(warehouse, f"s.{name}{start}", label="y", problem_type=kinds[name], by=["sample"], **options)
            groups = {group["group"]["sample"]: group for group in got["groups"]}
            everything = {column: [value for sample in samples for value in sample[column]] for column in samples[0]}
            how = "weighted" if options["weight"] else "plain"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn's, on samples of one class
                for number, sample in enumerate(samples):
                    want = expected(sample, options)
                    compared += len(want)
                    wrong += differences(groups[number], want, f"{name}, {how}, seed {seed}, sample {start + number}")
                want = expected(everything, options)
                compared += len(want)
                wrong += differences(got, want, f"{name}, {how}, seed {seed}, all of {start}")
    return compared, wrong
