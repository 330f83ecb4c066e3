from __future__ import annotations

import dataclasses

import pytest

from airflow_provider_automl.drift.policies import below


def test_prints_as_what_it_says() -> None:
    assert str(below(0.93)) == "below(0.93)"
    assert str(below("{{ params.t }}")) == "below({{ params.t }})"
    with pytest.raises(dataclasses.FrozenInstanceError):
        below(0.93).threshold = 1  # type: ignore[misc]


@pytest.mark.parametrize(("auroc", "drifted"), [(0.9299999, True), (0.93, False), (0.95, False), (0.0, True)])
def test_compares_with_the_threshold(auroc: float, drifted: bool) -> None:
    decision = below("0.93").check({"auroc": auroc})
    assert (decision.drifted, decision.statistic, decision.threshold) == (drifted, auroc, 0.93)


@pytest.mark.parametrize("auroc", [None, float("nan"), float("inf")])
def test_a_missing_measure_is_drift_and_says_why(auroc: float | None) -> None:
    decision = below(0.93).check({"auroc": auroc, "auroc_reason": "one class only"})
    assert decision.drifted is True
    assert decision.statistic is None
    assert decision.detail == "AUC is missing, which counts as drift: one class only"


def test_says_when_it_may_be_noise() -> None:
    evaluation = {"auroc": 0.929, "auroc_low": 0.925, "auroc_high": 0.933}
    assert below(0.93).check(evaluation).detail == (
        "AUC 0.9290 (95 % interval 0.9250 to 0.9330) is below the threshold 0.93. "
        "The threshold lies inside the interval, so this may be noise."
    )
    assert "noise" not in below(0.95).check(evaluation).detail


def test_other_measures() -> None:
    assert below(0.8, "accuracy").check({"auroc": 0.9, "metrics": {"accuracy": 0.7}}).drifted is True
    with pytest.raises(ValueError, match=r"no measure 'recall': it has accuracy, auroc"):
        below(0.8, "recall").check({"auroc": 0.9, "metrics": {"accuracy": 0.7}})


@pytest.mark.parametrize("threshold", ["", "None", "high", "nan"])
def test_refuses_a_threshold_that_is_no_number(threshold: str) -> None:
    with pytest.raises(ValueError, match="give a number, such as 0.93"):
        below(threshold).check({"auroc": 0.9})


def test_what_is_no_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="'model_name' of the evaluation is 'm', not a number"):
        below(0.5, "model_name").check({"model_name": "m"})
