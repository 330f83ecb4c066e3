"""What a trigger's form may carry, over a real API server: nothing that is SQL, a path or a template."""

from __future__ import annotations

from typing import Any

import pytest

from tests.security.test_inputs import FREE, PAYLOADS
from tests.system.server import AirflowServer

pytestmark = [pytest.mark.airflow, pytest.mark.shares("airflow on DuckDB")]

EXAMPLES = ("automl_experiment", "automl_drift_check", "automl_two_engines", "automl_promote_with_approval")


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_no_parameter_takes_what_it_is_not(airflow: AirflowServer, dag_id: str) -> None:
    params: dict[str, Any] = airflow.get(f"/api/v2/dags/{dag_id}/details")["params"]
    assert len(params) >= 5
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    before = airflow.get(runs)["total_entries"]
    for name in params:
        for payload in PAYLOADS:
            if name in FREE and not ("\n" in payload or "\0" in payload or len(payload) > 1000):
                continue  # a column, a class, a person: quoted or compared wherever it goes
            with pytest.raises(RuntimeError, match=r": 4(00|22) "):
                airflow.call("POST", runs, {"conf": {name: payload}, "logical_date": None})
    assert airflow.get(runs)["total_entries"] == before
