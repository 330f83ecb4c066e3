"""Machine learning experiments as Apache Airflow tasks: AutoGluon trains, the warehouse computes the metrics."""

from __future__ import annotations

__version__ = "0.1.0"
