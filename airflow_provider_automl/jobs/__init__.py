"""The ML runtime: train, predict, report.

It imports neither Airflow nor the rest of the package but ``errors`` and ``metrics``, so it runs in any interpreter
with AutoGluon: ``python -m airflow_provider_automl.jobs JOB.json``, or zipped as ``jobs.pyz``.
"""

from __future__ import annotations
