"""``make demo`` and ``make airflow``: the example DAG on synthetic census data, run by real Airflow, seen end to end.

Everything is below ``.demo/`` in the checkout: Airflow's home, the embedded warehouse, the models, the mails. Nothing
is asked of the machine but this Python. A second demo finds the data tables, trains again, and adds its rows.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from tests.system.mail import RECIPIENTS, Mailbox, body
from tests.system.server import FINISHED, REPO, AirflowServer

HOME = REPO / ".demo"
#: The same each time, for the links that a run leaves hold it.
PORT = int(os.environ.get("PORT", "8080"))
MAILS = HOME / "mails"
DAG_ID = "automl_experiment"
CONF = {
    "input_database": "ml_datasets",
    "output_database": "automl_test",
    "train_data_table": "gluon_train",
    "target_column": "class",
    "positive_class": " >50K",
    "fit_time_limit": os.environ.get("AUTOML_DEMO_TIME_LIMIT", "40"),
    "drift_auc_threshold": 0.93,
    "mail_to": "ml-team@example.com",
    "mail_bcc": "head-of-data@example.com",
    "user_email": "ml-team@example.com",
}
RUNS = {
    "healthy": {"test_data_table": "gluon_test", "test_data_drift": 0.0},
    "drifted": {"test_data_table": "gluon_test_drifted", "test_data_drift": 1.0},
}


def run(server: AirflowServer, name: str) -> dict[str, str]:
    """One run of the DAG; tells of each task as it ends; returns the tasks' states.

    :raises SystemExit: a task failed; the end of its log is printed.
    """
    run_id = server.trigger(DAG_ID, {**CONF, **RUNS[name]})
    print(f"\n== {name} data: {DAG_ID}, run {run_id}", flush=True)
    told: set[str] = set()
    while True:
        ended = server.run_state(DAG_ID, run_id) in ("success", "failed")
        tasks = server.tasks(DAG_ID, run_id)
        for task_id, ti in sorted(tasks.items(), key=lambda item: item[1]["end_date"] or ""):
            if ti["state"] in FINISHED and task_id not in told:
                told.add(task_id)
                print(f"    {task_id:<28}{ti['duration'] or 0:6.1f} s  {ti['state']}", flush=True)
                if ti["state"] == "failed":
                    sys.exit(
                        f"{server.task_log(DAG_ID, run_id, task_id)[-3000:]}\n\n{task_id} failed; see {HOME}/logs."
                    )
        if ended:
            return {task_id: ti["state"] for task_id, ti in tasks.items()}
        time.sleep(1)


def demo() -> None:
    """Run the DAG on healthy and on drifted data, check what it did, show it."""
    with Mailbox(MAILS) as mailbox, airflow(mailbox) as server:
        before = len(mailbox.files())
        expect(run(server, "healthy"), {"no_drift": "success", "alert_if_drift_detected": "skipped"})
        if len(mailbox.files()) != before:
            sys.exit("A mail was sent for healthy data.")
        expect(run(server, "drifted"), {"no_drift": "skipped", "alert_if_drift_detected": "success"})
    new, mails = mailbox.files()[before:], mailbox.mails()[before:]
    if [mail["Subject"] for mail in mails] != ["Drift detected"]:
        sys.exit(f"Expected one mail 'Drift detected', found {[mail['Subject'] for mail in mails]}.")
    show_tables()
    print(f"\n== the mail ({new[0]})")
    for header in ("From", "To", RECIPIENTS, "Subject"):
        print(f"    {header}: {mails[0][header]}")
    for line in unescape(re.sub(r"<[^>]*>", "", body(mails[0]))).splitlines():
        if line.strip():
            print(f"    {line.strip()}")
    print("\nHealthy data went to no_drift, drifted data to a mail. Open Airflow on all of it: make airflow")


@contextlib.contextmanager
def airflow(mailbox: Mailbox) -> Iterator[AirflowServer]:
    """Airflow on the demo's home, on loopback, everyone as admin; ended with everything it started."""
    server = AirflowServer(HOME, REPO / "dags", {"AIRFLOW_CONN_SMTP_DEFAULT": mailbox.connection()}, port=PORT)
    print(f"Starting Airflow (half a minute; its output: {HOME / 'airflow.log'}) ...", flush=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def expect(states: dict[str, str], wanted: dict[str, str]) -> None:
    """Stop unless the tasks ended as they should."""
    found = {task_id: states.get(task_id) for task_id in wanted}
    if found != wanted:
        sys.exit(f"Expected the tasks {wanted}, found {found}: all of them were {states}.")
    print("    -> " + ", ".join(f"{task_id}: {state}" for task_id, state in wanted.items()), flush=True)


def show_tables() -> None:
    """Print what this demo's two runs left in the warehouse, read by DuckDB and nothing of ours."""
    import duckdb

    warehouse = HOME / "automl" / "warehouse.duckdb"
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for table in ("automl_experiments", "automl_eval_results"):
            cursor = connection.execute(f"SELECT * FROM automl_test.{table} ORDER BY recorded_at DESC")
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
            print(f"\n== automl_test.{table} ({len(rows)} rows in {warehouse}), the two of this demo:")
            newest = [dict(zip(names, row, strict=True)) for row in rows[1::-1]]
            for name in names:
                if any(row[name] is not None for row in newest):
                    print(f"    {name:<18}" + "".join(f"  {shortened(row[name]):<42}" for row in newest).rstrip())
            if table == "automl_experiments":
                experiment = newest[-1]
    print(f"\n== the newest model: {experiment['model_uri']}")
    for path in sorted(Path(re.sub("^file://", "", experiment["model_uri"])).glob("*")):
        print(f"    {path.name}{'/' if path.is_dir() else ''}")
    if experiment["notebook_url"]:
        print(f"   its executed notebook: {experiment['notebook_url']}")


def shortened(value: object) -> str:
    """One cell, at most 42 characters: the ends of long names tell them apart."""
    text = "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
    return text if len(text) <= 42 else f"{text[:12]}...{text[-27:]}"


def open_airflow() -> None:
    """Airflow on what the demo left, until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Mailbox(MAILS) as mailbox, airflow(mailbox) as server:
            print(f"Airflow is ready, without a login: {server.url}/dags/{DAG_ID}")
            print(f"Mails it sends are kept in {MAILS}. Ctrl-C ends it.", flush=True)
            while not server.ended():
                time.sleep(1)
    except KeyboardInterrupt:
        print("\nAirflow has ended.")


if __name__ == "__main__":
    open_airflow() if sys.argv[1:] == ["airflow"] else demo()
