"""Machine learning experiments as Apache Airflow tasks: AutoGluon trains, the warehouse keeps and counts."""

from __future__ import annotations

__version__ = "0.1.0"
