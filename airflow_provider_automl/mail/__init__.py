"""Mails about drift and failures, as HTML for Airflow's EmailOperator and SmtpNotifier.

They use inline styles only, no images or other external content, and no text or background colours, so that they work
in any mail program, in light and dark mode. All values are escaped.
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

#: Optional parts of a decision beside its detail, and their labels in the mail.
_DECISION = (
    ("threshold", "Threshold"),
    ("compared_with", "Compared with"),
    ("p_value", "p-value"),
)
_DECISION_KEYS = ("drifted", "statistic", "detail", "alarm", *(key for key, _ in _DECISION))
_REASON_LIMIT = 2000  # characters
_N_PREVIOUS = 5  # earlier evaluations in the mail


def drift_html(
    evaluation: Mapping[str, Any],
    decision: Mapping[str, Any],
    *,
    run_id: str = "",
    links: Mapping[str, str | None] | None = None,
    before: Sequence[float | None] = (),
    started: Sequence[str] = (),
) -> str:
    """The body of the mail about drift: the finding, a table of numbers with their intervals, and links.

    :param evaluation: as the evaluation operator returns it; missing values are omitted.
    :param decision: ``detail`` (the finding in one sentence), and optionally ``threshold``, ``compared_with`` and
        ``p_value``.
    :param links: texts and URLs; entries without an http or https URL are omitted.
    :param before: the AUC of earlier evaluations of the same version on the same table, oldest first.
    :param started: the tasks that the finding starts, without this mail's.
    """
    omitted = ("threshold",) if decision.get("compared_with") else ()  # compared_with includes the threshold
    rows = [
        ("Model", evaluation.get("model_name")),
        ("Version", evaluation.get("model_version")),
        ("Data", evaluation.get("test_table")),
        ("Predictions", evaluation.get("table")),
        ("AUC", _number(evaluation.get("auroc"))),
        ("95 % interval", _interval(evaluation.get("auroc_low"), evaluation.get("auroc_high"))),
        ("Previous AUC", ", ".join(f"{value:.4f}" for value in before if value is not None)),
        ("Rows", _number(evaluation.get("rows_evaluated"))),
        ("Positives", _number(evaluation.get("positives"))),
        ("Rows skipped", _number(evaluation.get("rows_skipped") or None)),
        *((name, _decided(key, decision.get(key))) for key, name in _DECISION if key not in omitted),
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
    """The body of the mail about drift, for a template: ``html_content="{{ drift_mail(ti) }}"``.

    Add it to the DAG with ``user_defined_macros={"drift_mail": drift_mail}``.

    :param ti: the task instance from the template context.
    :param evaluation: the task ID of the evaluation.
    :param drift: the task ID of the drift check.
    :param predict: the task ID of the prediction, for the link to its notebook; None: there is none.
    :param automl_conn_id: the connection whose model store has the training report.
    :param schema: the schema of ``automl_eval_results``, for the previous AUC; default: the connection's tracking
        schema. If it cannot be read, the mail omits the previous AUC.
    """
    from airflow_provider_automl.hooks.automl import AutoMLHook

    evaluated = ti.xcom_pull(task_ids=evaluation) or {}
    decided = {key: ti.xcom_pull(task_ids=drift, key=key) for key in _DECISION_KEYS}
    hook = AutoMLHook(automl_conn_id)
    links: dict[str, str | None] = {"DAG run in Airflow": run_url(ti.dag_id, ti.run_id)}
    if predict is not None:
        links["Prediction notebook"] = ti.xcom_pull(task_ids=predict, key="notebook_url")
    if evaluated.get("model_name") and evaluated.get("model_version"):
        model = {key: evaluated[key] for key in ("model_name", "model_version")}
        links["Training report"] = hook.report_url(model, "report/train.html", None)
    followed = ti.xcom_pull(task_ids=drift) or []
    started = [task for task in ([followed] if isinstance(followed, str) else followed) if task != ti.task_id]
    if decided["alarm"] == "over":  # a short mail
        run = escape(str(links["DAG run in Airflow"]))
        return f'<p>{escape(str(decided["detail"]))}</p>\n<p><a href="{run}">Run {escape(ti.run_id)}</a></p>'
    before = _before(hook, schema, evaluated, ti.run_id)
    return drift_html(evaluated, decided, run_id=ti.run_id, links=links, before=before, started=started)


def drift_subject(ti: Any, *, drift: str = "drift") -> str:
    """The subject of the mail about drift by the alarm's state: ``Drift detected``, ``… persists`` or ``… is over``."""
    alarm = ti.xcom_pull(task_ids=drift, key="alarm")
    return {"lasting": "Drift persists", "over": "Drift is over"}.get(alarm, "Drift detected")


def failure_mail(ti: Any, exception: object = None) -> str:
    """The body of a mail about a failed task, as HTML: the task, the reason, and links to its log and DAG run.

    For a task's ``on_failure_callback``, whose template context has both arguments::

        SmtpNotifier(to=..., subject="{{ dag.dag_id }} failed: {{ ti.task_id }}",
                     html_content="{{ failure_mail(ti, exception) }}")

    Add it to the DAG with ``user_defined_macros={"failure_mail": failure_mail}``.

    :param ti: the task instance from the template context.
    :param exception: the exception that failed the task; None: the task was killed.
    """
    reason = str(exception or "").strip() or "no exception was reported; the task or its worker was probably killed."
    reason = reason[:_REASON_LIMIT]
    run = run_url(ti.dag_id, ti.run_id)
    lines = (
        f"<p>The task <b>{escape(ti.task_id)}</b> of <b>{escape(ti.dag_id)}</b> failed: {escape(reason)}</p>",
        f'<p><a href="{escape(ti.log_url)}">Task log</a> &nbsp; <a href="{escape(run)}">DAG run in Airflow</a></p>',
        f"<p>Run {escape(ti.run_id)}</p>",
    )
    return "\n".join(lines)


def _before(hook: AutoMLHook, schema: str | None, evaluated: Mapping[str, Any], run_id: str) -> list[float | None]:
    """The AUC of the last evaluations of the same version on the same table in other runs, oldest first."""
    from airflow_provider_automl.tracking.tables import EVAL_RESULTS

    same = {key: evaluated.get(key) for key in ("model_name", "model_version", "test_table")}
    if None in same.values():
        return []
    try:
        rows = hook.tracking(schema).read(EVAL_RESULTS, **same)
    except Exception as error:  # the finding must be sent in any case
        log.warning("The mail omits earlier evaluations, which could not be read: %s", error)
        return []
    rows = sorted((row for row in rows if row["run_id"] != run_id), key=lambda row: str(row["session_time"]))
    return [row["auroc"] for row in rows[-_N_PREVIOUS:]]


def _decided(key: str, value: Any) -> str | None:
    """A value of the decision, formatted as in its detail: a p-value is never shown as 0."""
    return "below 0.0001" if key == "p_value" and value is not None and value < 0.0001 else _number(value)


def _number(value: Any) -> str | None:
    """Format a value: metrics with six significant digits, counts with thousands separators."""
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
