"""The mails about drift and about failures, as HTML for Airflow's own EmailOperator and SmtpNotifier.

Inline styles only, no picture, nothing that is fetched: it reads alike in any mail program, on a light ground and on a
dark one, for it sets no colours of its own. Every value is escaped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.compat import run_url

if TYPE_CHECKING:
    import jinja2

    from airflow_provider_automl.hooks.automl import AutoMLHook

log = logging.getLogger(__name__)

#: What a policy's decision may tell beside its sentence, and how the mail calls it.
_DECISION = (
    ("threshold", "Threshold"),
    ("compared_with", "Compared with"),
    ("p_value", "p-value"),
)
_HELD = ("drifted", "statistic", "detail", "alarm", *(key for key, _ in _DECISION))
_REASON = 2000  # characters of a failure's reason
_BEFORE = 5  # earlier evaluations that the mail tells


def drift_html(
    evaluation: Mapping[str, Any],
    decision: Mapping[str, Any],
    *,
    run_id: str = "",
    links: Mapping[str, str | None] | None = None,
    before: Sequence[float | None] = (),
    started: Sequence[str] = (),
) -> str:
    """The mail: what was found, in words; the numbers with their intervals, in a table; links.

    :param evaluation: as the evaluation operator returns it; what it lacks is left out.
    :param decision: ``detail`` (the finding in one sentence), and of ``threshold``, ``compared_with`` and ``p_value``
        what there is.
    :param links: texts and URLs; those without a URL, or with another than http and https, are left out.
    :param before: the AUC of earlier evaluations of the same version on the same table, oldest first.
    :param started: the tasks that the finding starts, this mail's left out.
    """
    told = ("threshold",) if decision.get("compared_with") else ()  # what it is compared with names its threshold
    rows = [
        ("Model", evaluation.get("model_name")),
        ("Version", evaluation.get("model_version")),
        ("Data", evaluation.get("test_table")),
        ("Predictions", evaluation.get("table")),
        ("AUC", _number(evaluation.get("auroc"))),
        ("95 % interval", _interval(evaluation.get("auroc_low"), evaluation.get("auroc_high"))),
        ("AUC before", ", ".join(f"{value:.4f}" for value in before if value is not None)),
        ("Rows", _number(evaluation.get("rows_evaluated"))),
        ("Positives", _number(evaluation.get("positives"))),
        ("Rows left out", _number(evaluation.get("rows_skipped") or None)),
        *((name, _decided(key, decision.get(key))) for key, name in _DECISION if key not in told),
        ("Started", ", ".join(started)),
    ]
    shown = {text: url for text, url in (links or {}).items() if url and str(url).startswith(("http://", "https://"))}
    return _template().render(
        detail=decision.get("detail") or "Drift was detected.",
        auroc=evaluation.get("auroc"),
        rows=[(name, value) for name, value in rows if value not in (None, "")],
        links=shown,
        run_id=run_id,
    )


def drift_mail(
    ti: Any, *, evaluation: str = "evaluation", drift: str = "drift", predict: str | None = "predict",
    automl_conn_id: str = "automl_default", schema: str | None = None,
) -> str:  # fmt: skip
    """The mail of a task's run, for a template: ``html_content="{{ drift_mail(ti) }}"``.

    Give it to the DAG by ``user_defined_macros={"drift_mail": drift_mail}``.

    :param ti: the task instance, as templates have it.
    :param evaluation: the task that evaluated.
    :param drift: the task that decided.
    :param predict: the task that predicted, for the link to its notebook; None: there is none.
    :param automl_conn_id: the connection whose model store has the model's own report.
    :param schema: where ``automl_eval_results`` is, for the AUC before: the connection's own schema by default. A mail
        is sent without it where it cannot be read.
    """
    from airflow_provider_automl.hooks.automl import AutoMLHook

    evaluated = ti.xcom_pull(task_ids=evaluation) or {}
    decided = {key: ti.xcom_pull(task_ids=drift, key=key) for key in _HELD}
    hook = AutoMLHook(automl_conn_id)
    links: dict[str, str | None] = {"The run in Airflow": run_url(ti.dag_id, ti.run_id)}
    if predict is not None:
        links["Notebook on these predictions"] = ti.xcom_pull(task_ids=predict, key="notebook_url")
    if evaluated.get("model_name") and evaluated.get("model_version"):
        model = {key: evaluated[key] for key in ("model_name", "model_version")}
        links["The model's own report"] = hook.report_url(model, "report/train.html", None)
    followed = ti.xcom_pull(task_ids=drift) or []
    started = [task for task in ([followed] if isinstance(followed, str) else followed) if task != ti.task_id]
    if decided["alarm"] == "over":  # one line that says so
        run = escape(str(links["The run in Airflow"]))
        return f'<p>{escape(str(decided["detail"]))}</p>\n<p><a href="{run}">Run {escape(ti.run_id)}</a></p>'
    before = _before(hook, schema, evaluated, ti.run_id)
    return drift_html(evaluated, decided, run_id=ti.run_id, links=links, before=before, started=started)


def drift_subject(ti: Any, *, drift: str = "drift") -> str:
    """The subject of the mail about drift, by what the alarm does: ``Drift detected``, ``… lasts``, ``… is over``."""
    alarm = ti.xcom_pull(task_ids=drift, key="alarm")
    return {"lasting": "Drift lasts", "over": "Drift is over"}.get(alarm, "Drift detected")


def failure_mail(ti: Any, exception: object = None) -> str:
    """What a mail says of a task that failed, as HTML: which, why, and where its log is.

    For a task's ``on_failure_callback``, whose templates have both::

        SmtpNotifier(to=..., subject="{{ dag.dag_id }} failed: {{ ti.task_id }}",
                     html_content="{{ failure_mail(ti, exception) }}")

    Give it to the DAG by ``user_defined_macros={"failure_mail": failure_mail}``.

    :param ti: the task instance, as templates have it.
    :param exception: why it failed; None: the task was killed, and nobody knows but its log.
    """
    reason = str(exception or "").strip() or "It ended without a word: it was killed, or its machine was."
    run = run_url(ti.dag_id, ti.run_id)
    lines = (
        f"<p>The task <b>{escape(ti.task_id)}</b> of <b>{escape(ti.dag_id)}</b> failed: {escape(reason[:_REASON])}</p>",
        f'<p><a href="{escape(ti.log_url)}">Its log</a> &nbsp; <a href="{escape(run)}">The run in Airflow</a></p>',
        f"<p>Run {escape(ti.run_id)}</p>",
    )
    return "\n".join(lines)


def _before(hook: AutoMLHook, schema: str | None, evaluated: Mapping[str, Any], run_id: str) -> list[float | None]:
    """The AUC of the last evaluations of other runs, of the same version on the same table, oldest first."""
    from airflow_provider_automl.tracking.tables import EVAL_RESULTS

    same = {key: evaluated.get(key) for key in ("model_name", "model_version", "test_table")}
    if None in same.values():
        return []
    try:
        rows = hook.tracking(schema).read(EVAL_RESULTS, **same)
    except Exception as error:  # whatever it is, the finding must be told
        log.warning("Earlier evaluations are not in the mail: %s", error)
        return []
    rows = sorted((row for row in rows if row["run_id"] != run_id), key=lambda row: str(row["session_time"]))
    return [row["auroc"] for row in rows[-_BEFORE:]]


def _decided(key: str, value: Any) -> str | None:
    """As the finding's own sentence says it: no p-value is 0."""
    return "below 0.0001" if key == "p_value" and value is not None and value < 0.0001 else _number(value)


def _number(value: Any) -> str | None:
    """A value as people read it: six digits of a measure, thousands of a count set apart."""
    if value is None or isinstance(value, (str, bool)):
        return None if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _interval(low: Any, high: Any) -> str | None:
    return None if low is None or high is None else f"{_number(low)} to {_number(high)}"


@cache
def _template() -> jinja2.Template:
    import jinja2

    text = (Path(__file__).parent / "drift.html").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)
