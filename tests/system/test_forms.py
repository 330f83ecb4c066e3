"""What a trigger's form may carry, over a real API server: nothing that is SQL, a path or a template where names are
asked for; and where any text is, one that is run as none of these.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_automl.errors import MESSAGE_CHARACTERS
from airflow_provider_automl.warehouse import Query
from tests.security.test_inputs import FREE, PAYLOADS
from tests.system.conftest import reached, rows
from tests.system.mail import Mailbox, body
from tests.system.server import AirflowServer

pytestmark = [pytest.mark.airflow, pytest.mark.shares("airflow on DuckDB"), pytest.mark.timeout(1200)]

EXAMPLES = ("automl_experiment", "automl_drift_check", "automl_two_engines", "automl_promote_with_approval")
EXPERIMENT, CHECK = EXAMPLES[:2]
#: Where people read what a run leaves.
KINDS = {"log", "rendered", "xcom", "table", "report", "notebook", "mail"}


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


@dataclass(frozen=True)
class Planted:
    """Secrets, by where they are, and texts that would bring them to light. Those begin with ``canary-``, these with
    ``mark-`` and a name.

    :param file: holds one; its name is also ``catalog.schema.table``.
    :param staged: another task's, in staging, holds one.
    """

    secrets: dict[str, str]
    file: Path
    staged: Path

    def value(self, name: str) -> str:
        """A text for where a value is put into a query."""
        return self._line(name, "' || CAST((SELECT secret FROM others.secrets) AS INTEGER) || '")

    def column(self, name: str) -> str:
        """A text for where a column is named in a query."""
        files = f"read_text(['{self.file}', '{self.staged}'])"
        return self._line(name, f'" FROM (SELECT content AS "mark-{name}" FROM {files}) --')

    def code(self, name: str) -> str:
        """A text for where a value is put into a program."""
        read = f'open("{self.staged}").read() + __import__("os").environ["AUTOML_CANARY"]'
        return self._line(name, f'\' + {read} + \' """ + {read} + """')

    def _line(self, name: str, breaks_out: str) -> str:
        template = "{{ var.value.canary }}{{ conn.canary.password }}{{ macros.uuid.os.environ }}"
        rest = f"$(cat {self.file}) `env` ${{AUTOML_CANARY}} %(x)s {{0.__class__}} \\ <script>alert(1)</script>"
        return f"mark-{name} {breaks_out} {template} {rest}"

    @staticmethod
    def schema(name: str) -> str:
        """A name in double quotes."""
        text = f"mark-{name}\".secrets UNION SELECT secret FROM others.secrets; {{{{ var.value.canary }}}} '<b>' --"
        return '"' + text.replace('"', '""') + '"'

    @staticmethod
    def table(name: str) -> str:
        """A name without quotes."""
        return f"mark-{name}--/*{{{{conn}}}}${{AUTOML_CANARY}}%s|{{env}}<script>"

    @staticmethod
    def model(name: str) -> str:
        """A name of a model, which has no slash."""
        return f"mark-{name} ' OR 1=1; {{{{ var.value.canary }}}} (SELECT secret FROM others.secrets) <b> --"

    @staticmethod
    def address(name: str) -> str:
        """A name beside an address."""
        return f'"mark-{name} {{{{ var.value.canary }}}}{{{{ conn.canary.password }}}} <b>" <{name}@example.com>'


@pytest.fixture(scope="module")
def planted(airflow: AirflowServer, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """The secrets; and tables whose columns and classes are as hostile as their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("file", "another task's rows", "another schema", "variable", "connection")
    secrets = {name: f"canary-{uuid4().hex}" for name in names} | {"environment": airflow.env["AUTOML_CANARY"]}
    staged = airflow.home / "automl" / "staging" / "predict-of-somebody-else" / "rows.csv"
    made = Planted(secrets, tmp_path_factory.mktemp("private") / "secret.rows.csv", staged)
    for path, name in ((made.file, "file"), (staged, "another task's rows")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{secrets[name]}\n1\n")
    airflow.call("POST", "/api/v2/variables", {"key": "canary", "value": secrets["variable"]})
    connection = {"connection_id": "canary", "conn_type": "generic", "password": secrets["connection"]}
    airflow.call("POST", "/api/v2/connections", connection)
    n = range(400)
    learnt = {
        made.column("number"): [i % 17 for i in n],
        made.code("word"): [made.code(("red", "green", "blue")[i % 3]) for i in n],
        made.column("target"): [made.value("yes") if i % 17 + i % 5 > 9 else made.code("no") for i in n],
    }
    directory = tmp_path_factory.mktemp("rows")
    with reached(airflow.env) as hook:
        for table, columns in (
            ("others.secrets", {"secret": [secrets["another schema"]]}),
            (f"{made.schema('in')}.{made.table('train')}", learnt),
            (f"{made.schema('in')}.{made.table('test')}", learnt),
        ):
            pq.write_table(pa.table(columns), directory / "part.parquet")
            hook.warehouse.load(directory, table)
    return made


@dataclass(frozen=True)
class Ran:
    """Runs in which everything that can carry a payload carries one.

    :param runs: by what they are about: DAG and run.
    :param states: how they ended.
    :param texts: what there is to read after them, by :data:`KINDS`, and the models' other files.
    """

    runs: dict[str, tuple[str, str]]
    states: dict[str, str]
    texts: dict[str, list[str]]

    def places(self, text: str) -> set[str]:
        """The kinds of places where ``text`` is."""
        return {kind for kind, found in self.texts.items() if any(text in each for each in found)}


@pytest.fixture(scope="module")
def ran(airflow: AirflowServer, mailbox: Mailbox, planted: Planted) -> Ran:
    asked = {
        "input_database": planted.schema("in"),
        "output_database": planted.schema("out"),
        "train_data_table": planted.table("train"),
        "test_data_table": planted.table("test"),
        "target_column": planted.column("target"),
        "positive_class": planted.value("yes"),
        "fit_time_limit": "(1 + 1) * 2",
        "mail_to": planted.address("to"),
        "mail_bcc": planted.address("bcc"),
    }
    experiment = {**asked, "user_email": planted.code("user"), "drift_auc_threshold": 1}
    missing = {"target_column": planted.value("missing"), "positive_class": planted.column("nobody")}
    order = [planted.column("number"), planted.code("word"), planted.column("target")]
    named = {key: planted.model(key) for key in ("model_name", "alias")}
    runs = {
        "trained": (EXPERIMENT, airflow.trigger(EXPERIMENT, experiment)),
        "missing column": (EXPERIMENT, airflow.trigger(EXPERIMENT, {**experiment, **missing})),
    }
    assert airflow.wait(*runs["trained"]) == "success", airflow.states(*runs["trained"])
    trained = {"model_name": airflow.xcom(*runs["trained"], "train", "model_name"), "alias": "champion of forms"}
    database, _, table = str(planted.file).removesuffix(".csv").rpartition(".")
    file = {"input_database": f'"{database}".{table}', "test_data_table": "csv"}
    runs |= {
        "missing model": (CHECK, airflow.trigger(CHECK, {**asked, **named, "row_order": order})),
        "file as a table": (CHECK, airflow.trigger(CHECK, {**asked, **trained, **file, "row_order": ["secret"]})),
        "checked": (CHECK, airflow.trigger(CHECK, {**asked, **trained, "row_order": order})),
    }
    states = {about: airflow.wait(*run) for about, run in runs.items()}
    deadline = time.monotonic() + 60
    for about, (_, run_id) in runs.items():  # a failure is told of after it
        while about != "checked" and not mailbox.about(run_id):
            assert time.monotonic() < deadline, about
            time.sleep(0.5)
    texts: dict[str, list[str]] = {}
    for kind, text in _texts(airflow, mailbox, runs.values()):
        texts.setdefault(kind, []).append(text)
    return Ran(runs, states, texts)


def _texts(airflow: AirflowServer, mailbox: Mailbox, runs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Everything that these runs, and Airflow beside them, have left for people to read, by its kind."""
    for path in [airflow.home / "airflow.log", *airflow.home.glob("logs/**/*.log")]:
        yield "log", path.read_text(errors="replace")
    for dag_id, run_id in runs:
        for task_id, instance in airflow.tasks(dag_id, run_id).items():
            yield "rendered", json.dumps(instance, ensure_ascii=False)
            entries = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
            for entry in airflow.get(f"{entries}?limit=100")["xcom_entries"]:
                found = airflow.get(f"{entries}/{entry['key']}?deserialize=true")
                yield "xcom", json.dumps(found, ensure_ascii=False)
    with reached(airflow.env) as hook:
        for table in hook.warehouse.rows(Query("SELECT table_schema, table_name FROM information_schema.tables")):
            name = ".".join('"' + str(part).replace('"', '""') + '"' for part in table.values())
            if table["table_schema"] == "others" or name.startswith('"mark-in'):
                continue  # was there before
            yield "table", name
            text = f"SELECT CAST(r AS VARCHAR) AS text FROM {name} AS r"
            of_ours = f"SELECT * FROM ({text}) WHERE regexp_matches(text, 'canary-|mark-')"
            yield from (("table", str(row["text"])) for row in hook.warehouse.rows(Query(of_ours)))
    for path in airflow.home.glob("automl/models/**/*"):
        if path.is_file():
            kind = {".html": "report", ".ipynb": "notebook"}.get(path.suffix, "model")
            yield kind, path.read_bytes().decode(errors="replace")
    for mail in mailbox.mails():
        yield "mail", "\n".join(f"{name}: {value}" for name, value in mail.items())
        yield from (("mail", str(part.get_content())) for part in mail.walk() if not part.is_multipart())


def test_payloads_are_the_names_that_they_are(airflow: AirflowServer, ran: Ran, planted: Planted) -> None:
    assert {about for about, state in ran.states.items() if state == "success"} == {"trained", "checked"}
    (tracked,) = [
        row
        for row in rows(airflow.env, f"{planted.schema('out')}.automl_experiments")
        if row["run_id"] == ran.runs["trained"][1]
    ]
    assert (tracked["target_column"], tracked["positive_class"]) == (planted.column("target"), planted.value("yes"))
    assert tracked["user_email"] == planted.code("user")
    for about in ("trained", "checked"):
        prediction = airflow.xcom(*ran.runs[about], "predict")
        predicted = rows(airflow.env, prediction["output_table"])
        assert len(predicted) == 400
        assert {row[planted.column("target")] for row in predicted} == {planted.value("yes"), planted.code("no")}
        assert airflow.xcom(*ran.runs[about], "evaluation", "auroc") > 0.8


@pytest.mark.parametrize(
    ("about", "task_id", "reason"),
    [
        ("missing column", "train", 'has no target column "mark-missing '),
        ("missing model", "first_champion", 'No model "mark-model_name '),
        ("file as a table", "predict", "has no access to files, network or other databases"),
    ],
)
def test_what_there_is_not_is_a_sentence(
    airflow: AirflowServer, mailbox: Mailbox, ran: Ran, about: str, task_id: str, reason: str
) -> None:
    dag_id, run_id = ran.runs[about]
    assert ran.states[about] == "failed"
    assert airflow.states(dag_id, run_id)[task_id] == "failed"
    lines = [json.loads(line) for line in airflow.task_log(dag_id, run_id, task_id).splitlines()]
    (said,) = [line["error_detail"][0]["exc_value"] for line in lines if "error_detail" in line]
    assert reason in said
    assert len(said) <= MESSAGE_CHARACTERS
    assert [mail for mail in mailbox.about(run_id) if escape(said) in body(mail)]


def test_no_secret_comes_to_light(ran: Ran, planted: Planted) -> None:
    """Where payloads are found, by the same search, secrets are not."""
    assert ran.places("mark-in") == ran.places("mark-out") == KINDS
    assert ran.places("mark-target") >= KINDS - {"mail"}
    assert ran.places("mark-missing") >= {"log", "xcom", "table", "mail"}
    assert ran.places("mark-to {{ var.value.canary }}") == {"rendered", "mail"}
    assert [where for where, secret in planted.secrets.items() if ran.places(secret)] == []
    for path, where in ((planted.file, "file"), (planted.staged, "another task's rows")):
        assert path.read_text() == f"{planted.secrets[where]}\n1\n"
