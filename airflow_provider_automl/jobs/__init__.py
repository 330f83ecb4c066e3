"""The ML runtime: train, predict, report.

It imports nothing of the package but itself and never Airflow, for it runs in any interpreter that has AutoGluon:
``python -m airflow_provider_automl.jobs JOB.json``, or zipped as ``jobs.pyz``.
"""

from __future__ import annotations
