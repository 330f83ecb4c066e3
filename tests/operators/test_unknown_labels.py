"""Evaluations of rows with labels that the model never saw; the model is a manifest, its predictions are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.jobs.model_files import write_manifest
from airflow_provider_automl.operators.evaluate import AutoMLEvaluateOperator
from tests.operators.conftest import Load, run


@pytest.fixture(scope="module")
def prediction(load: Load, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """80 rows of a model's two classes, 20 of neither."""
    files: Path = tmp_path_factory.mktemp("version")
    (files / "model").mkdir()
    digest = write_manifest(files / "model", {"classes": [" no", " yes"]})
    models = AutoMLHook().models
    version = {"model_name": "two", "model_version": "v-0"}
    uri = models.save(files, **version)
    models.register(**version, model_uri=uri, model_digest=digest, shared_model=None, dag_id="d", run_id="r")
    labels = [(" yes", " no")[i % 2] for i in range(80)] + ["unknown"] * 20
    table = load(
        "out.two", {"y": labels, "predicted_proba": [0.9 if i >= 80 else i * 37 % 83 / 83 for i in range(100)]}
    )
    return {**version, "output_table": table, "target_column": "y", "positive_class": " yes", "problem_type": "binary"}


def test_more_than_a_few_are_refused(prediction: dict[str, Any]) -> None:
    with pytest.raises(
        AirflowFailException, match=r"^20 of 100 labels .* classes ' no', ' yes'.*: 'unknown' \(20 rows\)"
    ):
        run(AutoMLEvaluateOperator, prediction=prediction)


def test_they_are_left_out_or_negative_as_told(prediction: dict[str, Any]) -> None:
    left_out = run(AutoMLEvaluateOperator, prediction=prediction, max_unknown_labels="0.2")
    assert (left_out["rows_evaluated"], left_out["rows_skipped"], left_out["metrics"]["unknown_labels"]) == (80, 20, 20)
    for named in (["unknown"], "unknown", '["unknown"]'):
        negative = run(AutoMLEvaluateOperator, prediction=prediction, negative_classes=named)
        assert (negative["negatives"], negative["metrics"]["unknown_labels"]) == (60, 0)
        assert negative["auroc"] < left_out["auroc"] - 0.1


def test_without_a_model_a_third_label_needs_a_meaning(prediction: dict[str, Any]) -> None:
    bare = {"table": prediction["output_table"], "target_column": "y", "positive_class": " yes"}
    said = r"has 2 labels besides the positive class ' yes': ' no' \(40 rows\), 'unknown' \(20 rows\)\. List those"
    with pytest.raises(AirflowFailException, match=said):
        run(AutoMLEvaluateOperator, **bare)
    assert run(AutoMLEvaluateOperator, **bare, negative_classes=[" no", "unknown"])["negatives"] == 60
    told = run(AutoMLEvaluateOperator, **bare, negative_classes=[" no"], max_unknown_labels=0.2)
    assert (told["negatives"], told["metrics"]["unknown_labels"]) == (40, 20)
    with pytest.raises(AirflowFailException, match="negative_classes includes ' yes', which is positive_class"):
        run(AutoMLEvaluateOperator, **bare, negative_classes=[" yes"])
