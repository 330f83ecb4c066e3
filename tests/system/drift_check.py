"""The drift check on one warehouse: what is recorded, mailed, learnt and promoted on a day of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.system import census
from tests.system.conftest import reached, rows
from tests.system.mail import Mailbox, body
from tests.system.server import AirflowServer

CHECK, ALIAS = "automl_drift_check", "census_champion"


@dataclass
class DriftCheck:
    """Runs of the check, and looks at what they did.

    :param mailbox: the mail server of ``smtp_default``.
    :param conf: of the training that went before, which recorded its evaluation.
    :param count: at most so many rows of the changed world's tables.
    """

    airflow: AirflowServer
    mailbox: Mailbox
    conf: Mapping[str, Any]
    count: int | None = None

    def nothing_changes(self) -> None:
        """The training's own rows again: the model becomes champion, and nobody is told anything."""
        data = self.conf.get("input_database", "ml_datasets")
        run_id, state, states = self._run(input_database=data)
        assert state == "success", states
        assert states["no_drift"] == "success"
        assert states["retrain"] == states["alert_if_drift_detected"] == "skipped"
        (first,) = self._history()
        assert first["reason"].startswith(f"The alias {ALIAS!r} was unassigned")
        (evaluated,) = [row for row in self._results("automl_eval_results") if row["run_id"] == run_id]
        assert evaluated["test_table"] == f"{data}.gluon_test"
        assert evaluated["model_version"] == first["model_version"]
        decided = self._decision(run_id)
        assert decided["drifted"] is False
        assert decided["check_name"].startswith("worse_than_baseline('champion'")
        assert decided["p_value"] > 0.4  # the very rows that the training's own evaluation was of
        assert self.mailbox.about(run_id) == []

    def the_world_changes(self) -> str:
        """Told, and answered by a better model; returns the run."""
        before = self._history()
        run_id, state, states = self._run(input_database=self._changed())
        assert state == "success", states
        assert {name for name, state in states.items() if state != "success"} == {"no_drift", "alarm_lasts"}
        self._is_answered(run_id, before)
        told = self.mailbox.about(run_id)
        assert {mail["Subject"] for mail in told} == {"Drift detected", f"{ALIAS} changed"}
        alert = next(body(mail) for mail in told if mail["Subject"] == "Drift detected")
        assert "is significantly below" in alert
        return run_id

    def the_world_changes_and_no_mail_can_be_sent(self) -> None:
        """No mail that fails costs a record, a training or a promotion."""
        before, changed = self._history(), self._changed()
        self.mailbox.stop()
        try:
            run_id, state, states = self._run(input_database=changed)
        finally:
            self.mailbox.start()
        assert state == "failed"
        assert {name for name, state in states.items() if state == "failed"} == {
            "alert_if_drift_detected", "tell_of_promotion",
        }  # fmt: skip
        self._is_answered(run_id, before)

    def it_changes_back(self, before: str) -> None:
        """Another drift, and another promotion; ``before`` is the run that promoted before."""
        run_id, state, states = self._run()
        assert state == "success", states
        assert self._decision(run_id)["drifted"] is True
        assert self._decision(run_id)["alarm"] == "opened"  # another version's, so another alarm
        assert len(self._history()) == 3
        assert self.airflow.xcom(CHECK, run_id, "promote")["promoted"] is True
        assert {before, run_id} <= self._promoted()

    def _changed(self) -> str:
        """The schema of tables in which what was learnt holds no more."""
        changed = f"{self.conf.get('input_database', 'ml_datasets')}_changed"
        with reached(self.airflow.env):
            census.load(changed, changed=True, rows=self.count)
        return changed

    def _is_answered(self, run_id: str, before: list[dict[str, Any]]) -> None:
        """The run found drift, began a training, and promoted its model.

        :param before: the alias' history before the run.
        """
        decided = self._decision(run_id)
        assert decided["drifted"] is decided["told"] is decided["retrain"] is True
        assert decided["alarm"] == "opened"
        assert decided["p_value"] < 1e-6
        found = self.airflow.xcom(CHECK, run_id, "promote")
        assert found["promoted"] is True
        assert found["p_value"] < 1e-6
        assert run_id in self._promoted()
        first, second = self._history()
        assert first["reason"].startswith(f"The alias {ALIAS!r} was unassigned")
        assert before in ([], [first])
        assert second["model_version"] == found["challenger_version"] != first["model_version"]
        assert "significantly better" in second["reason"]

    def _promoted(self) -> set[str]:
        """Runs whose comparison is recorded, once each, with a promotion."""
        found = [row["run_id"] for row in self._results("automl_comparisons") if row["promoted"]]
        assert len(found) == len(set(found))
        return set(found)

    def _run(self, **more: Any) -> tuple[str, str, dict[str, str]]:
        names = ("input_database", "output_database", "fit_time_limit", "model_name")
        asked = {name: self.conf[name] for name in names if name in self.conf}
        run_id = self.airflow.trigger(CHECK, {**asked, "mail_to": "a@example.com", **more})
        state = self.airflow.wait(CHECK, run_id, timeout=600)
        return run_id, state, self.airflow.states(CHECK, run_id)

    def _results(self, table: str) -> list[dict[str, Any]]:
        return rows(self.airflow.env, f"{self.conf['output_database']}.{table}")

    def _history(self) -> list[dict[str, Any]]:
        with reached(self.airflow.env) as hook:
            return hook.models.alias_history(ALIAS)

    def _decision(self, run_id: str) -> dict[str, Any]:
        (row,) = [row for row in self._results("automl_drift_results") if row["run_id"] == run_id]
        return row
