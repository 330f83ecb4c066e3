"""The drift check on the embedded warehouse. Where Trino must be proven, it is proven there: test_engines.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines import required
from tests.system import census
from tests.system.conftest import reached
from tests.system.drift_check import DriftCheck
from tests.system.mail import Mailbox
from tests.system.server import REPO, AirflowServer

CONF = {"input_database": "ml_datasets", "output_database": "checked", "fit_time_limit": "5"}

if "trino" not in required():

    @pytest.mark.airflow
    @pytest.mark.timeout(1200)
    def test_drift_is_recorded_mailed_and_answered_by_a_better_model(tmp_path: Path) -> None:
        with Mailbox(tmp_path / "mails") as mailbox:
            env = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False", "PYTHONPATH": str(REPO)}
            server = AirflowServer(
                tmp_path / "airflow", REPO / "dags", {**env, "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.connection()}
            )
            with reached(server.env):
                census.load(rows=6_000)
            server.start()
            try:
                run_id = server.trigger("automl_experiment", CONF)
                assert server.wait("automl_experiment", run_id, timeout=600) == "success"
                check = DriftCheck(server, mailbox, CONF, 6_000)
                check.nothing_changes()
                check.it_changes_back(check.the_world_changes())
            finally:
                server.stop()
