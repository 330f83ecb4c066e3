"""The sections of a report, one function each: what the notebooks in ``notebooks/`` show.

A report's directory is what a job leaves for its notebook (the contract with users' own notebooks, too):

- ``facts.json``: ``kind``, ``title``, ``about`` (the table and the task), ``options`` (what was asked for), ``result``
  (what came of it), ``environment``, ``held_out`` (which rows the curves come from, or null), ``ignored`` (columns and
  why), ``classes``;
- ``profile.parquet``: a row a column of the input; ``target.parquet``: the target's classes or histogram;
- ``leaderboard.parquet``, ``importance.parquet``: of a training;
- ``held_out.parquet``: ``label`` and ``score`` (binary), ``label`` and ``p0``, ``p1`` … (multiclass: indices into
  ``classes``), or ``label`` and ``predicted`` (regression), of rows that the models did not learn from;
- ``predictions.parquet``: a sample of a prediction's columns; ``rows.parquet``: some rows of the input;
- ``log.txt``: what the job printed.

What is not there was not made, or is to be hidden. Every text from a table is escaped.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs import charts

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_HIDDEN_RESULTS = {"leaderboard", "feature_importance", "warnings", "classes", "notebook_error"}
_LOG_LINES = 400


class Report:
    """What a job left for its report.

    :param directory: see this module.
    """

    def __init__(self, directory: str | Path) -> None:
        import pandas as pd

        self.directory = Path(directory)
        self.facts: dict[str, Any] = json.loads((self.directory / "facts.json").read_text(encoding="utf-8"))
        self.result: dict[str, Any] = self.facts["result"]
        pd.set_option("display.max_rows", 300, "display.max_columns", 100, "display.precision", 5)

    def table(self, name: str) -> pd.DataFrame | None:
        """One of the directory's tables; None: it was not made."""
        import pandas as pd

        path = self.directory / f"{name}.parquet"
        return pd.read_parquet(path) if path.exists() else None

    # ------------------------------------------------------------------------------------------------ every report

    def heading(self) -> None:
        """The title, what the report is about, and what is worth a warning."""
        _html(f"<h1>{escape(self.facts['title'])}</h1>")
        if about := self.facts.get("about"):
            read = "Trained on" if self.facts["kind"] == "train" else "Predictions for"
            links = (
                "".join(f' · <a href="{escape(url)}">{escape(text)}</a>' for text, url in about["links"].items())
                or f" · run {escape(about['run_id'])}"
            )
            _html(
                f"<p>{read} <b>{escape(about['source'])}</b> by {escape(about['dag_id'])}.{escape(about['task_id'])}, "
                f"{escape(about['session_time'])}{links}</p>"
            )
        for text in self.result.get("warnings") or ():
            _html(f"<p class='warning'>⚠ {escape(text)}</p>")

    def parameters(self) -> None:
        """What was asked for, and what came of it."""
        _pairs(self.facts["options"])
        _html("<h3>Result</h3>")
        _pairs({name: value for name, value in self.result.items() if name not in _HIDDEN_RESULTS})

    def environment(self) -> None:
        """Where it ran."""
        _pairs(self.facts["environment"])

    def profile(self) -> None:
        """The input's columns, and some rows."""
        profile = self.table("profile")
        if profile is None:
            _html("<p>The input was not profiled.</p>")
            return
        empty = profile[profile["missing"] > 0]
        named = f", {len(empty)} of them with missing values" if len(empty) else ", none with missing values"
        _html(f"<p>{self.facts['rows']:,} rows, {len(profile)} columns{named}.{self._sampled('profile')}</p>")
        shown = profile.set_index("column").rename_axis(None).astype({"missing": float})
        _show(shown.style.format(precision=4, na_rep="", escape="html", subset=list(shown.columns)).format(
            {"missing": "{:.1%}", "distinct": "{:,.0f}"}, na_rep="").format_index(escape="html"))  # fmt: skip
        rows = self.table("rows")
        if rows is None:
            _html("<p>Rows are not shown: <code>hide_table_contents</code>.</p>")
            return
        _html("<h3>The first rows</h3>")
        _show(rows)

    def log(self) -> None:
        """The job's own lines, AutoGluon's among them."""
        path = self.directory / "log.txt"
        if not path.exists():
            _html("<p>The log was not kept.</p>")
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        left_out = f"<p>The last {_LOG_LINES} of {len(lines):,} lines.</p>" if len(lines) > _LOG_LINES else ""
        text = escape("\n".join(lines[-_LOG_LINES:]))
        _html(f"{left_out}<details><summary>{min(len(lines), _LOG_LINES)} lines</summary><pre>{text}</pre></details>")

    def left_out(self) -> None:
        """Rows and columns that were not used, and why."""
        said = [f"The column {name}: {why}." for name, why in self.facts["ignored"].items()]
        if dropped := self.result.get("rows_dropped"):
            said.insert(0, f"{dropped:,} rows, for their target is NULL.")
        if not said:
            _html("<p>Nothing was left out.</p>")
            return
        _html("<ul>" + "".join(f"<li>{escape(text)}</li>" for text in said) + "</ul>")

    # ------------------------------------------------------------------------------------------------ a training's

    def target(self) -> None:
        """How the target is spread."""
        target = self.table("target")
        if target is None:
            _html("<p>The target was not profiled.</p>")
            return
        name = str(self.facts["target_column"])
        if "class" in target.columns:
            self.draw(charts.class_balance(list(zip(target["class"], target["rows"], strict=True)), name))
            return
        edges = [*target["low"], float(target["high"].iloc[-1])]
        middle = self.facts.get("target_median")
        self.draw(charts.histogram(edges, list(target["rows"]), name, f"Half of the rows are below {middle:.5g}"))

    def leaderboard(self) -> None:
        """Every model that was tried."""
        table = self.table("leaderboard")
        if table is None:
            _html("<p>There is no leaderboard.</p>")
            return
        if table["score_val"].notna().any():
            self.draw(charts.leaderboard(table, self.result["eval_metric"]))
        wanted = ["model", "score_val", "fit_time", "pred_time_val", "stack_level", "num_features"]
        _show(table[[name for name in wanted if name in table.columns]].set_index("model").rename_axis(None))

    def importance(self) -> None:
        """Which features matter."""
        table = self.table("importance")
        if table is None or not len(table):
            _html("<p>The importance of features was not measured.</p>")
            return
        self.draw(charts.importance(table))
        table = table.drop(columns=["model_name", "model_version"], errors="ignore")
        _show(table.set_index("index").rename_axis(None))

    def quality(self) -> None:
        """How good it is, on rows that it did not learn from."""
        held_out = self.table("held_out")
        if held_out is None or not len(held_out):
            _html("<p>There are no rows that the model did not learn from, so no curve would tell the truth.</p>")
            return
        _html(f"<p>{escape(self.facts['held_out'])}{self._sampled('held_out')}</p>")
        if "predicted" in held_out.columns:
            self._of_numbers(held_out)
        elif "score" in held_out.columns:
            self._of_two_classes(held_out)
        else:
            self._of_classes(held_out)

    def _of_two_classes(self, held_out: pd.DataFrame) -> None:
        labels, scores = held_out["label"].to_numpy(dtype=int), held_out["score"].to_numpy(dtype=float)
        classes = [str(value) for value in self.facts["classes"]]
        if labels.min() == labels.max():
            _html(f"<p>They are all of one class, {escape(classes[labels[0]])}: there are no curves.</p>")
            return
        self.draw(charts.roc(labels, scores), charts.precision_recall(labels, scores))
        self.draw(charts.calibration(labels, scores), charts.score_distribution(labels, scores, classes))
        chosen = (scores > self.facts["decision_threshold"]).astype(int)
        self.draw(charts.confusion(labels, chosen, classes))
        self._per_class(labels, chosen, classes)

    def _of_classes(self, held_out: pd.DataFrame) -> None:
        labels = held_out["label"].to_numpy(dtype=int)
        chosen = held_out.drop(columns="label").to_numpy().argmax(axis=1)
        classes = [str(value) for value in self.facts["classes"]]
        self.draw(charts.confusion(labels, chosen, classes))
        top = held_out.drop(columns="label").to_numpy().max(axis=1)
        if 0 < (labels == chosen).mean() < 1:
            self.draw(charts.confidence((labels == chosen).astype(int), top))
        self._per_class(labels, chosen, classes)

    def _per_class(self, labels: Any, chosen: Any, classes: list[str]) -> None:
        import pandas as pd
        from sklearn.metrics import precision_recall_fscore_support

        every = list(range(len(classes)))
        found = precision_recall_fscore_support(labels, chosen, labels=every, zero_division=0)
        table = pd.DataFrame(dict(zip(("precision", "recall", "F1", "rows"), found, strict=True)), index=classes)
        _show(table)

    def _of_numbers(self, held_out: pd.DataFrame) -> None:
        import numpy as np

        actual, predicted = (held_out[name].to_numpy(dtype=float) for name in ("label", "predicted"))
        name = str(self.facts["target_column"])
        self.draw(charts.predicted_and_actual(actual, predicted, name), charts.residuals(actual, predicted, name))
        difference = predicted - actual
        _pairs(
            {
                "RMSE": float(np.sqrt((difference**2).mean())),
                "MAE": float(np.abs(difference).mean()),
                "median absolute error": float(np.median(np.abs(difference))),
                "bias (mean of predicted minus actual)": float(difference.mean()),
            }
        )

    # ------------------------------------------------------------------------------------------------ a prediction's

    def predictions(self) -> None:
        """How the predictions are spread."""
        import numpy as np

        table = self.table("predictions")
        if table is None or not len(table):
            _html("<p>There are no predictions.</p>")
            return
        sampled = self._sampled("predictions")
        _html(f"<p>{self.result['rows']:,} predictions.{sampled}</p>")
        name = str(table.columns[0])
        if self.result["problem_type"] != "regression":
            counts = table[name].astype(str).value_counts()
            self.draw(charts.class_balance([(str(key), int(rows)) for key, rows in counts.items()], name))
        values = table[table.columns[-1]].dropna().to_numpy(dtype=float)
        if len(values):
            counts, edges = np.histogram(values, bins=40)
            title = f"Half of the predictions are below {np.median(values):.4g}"
            self.draw(charts.histogram(edges.tolist(), counts.tolist(), str(table.columns[-1]), title))

    # ------------------------------------------------------------------------------------------------ showing

    def draw(self, *drawn: alt.TopLevelMixin) -> None:
        """Show charts side by side."""
        _html("".join(f"<div class='chart'>{charts.svg(chart)}</div>" for chart in drawn))

    def _sampled(self, name: str) -> str:
        rows = self.facts.get("sampled", {}).get(name)
        return f" Of these, {rows:,} were drawn at random for what follows." if rows else ""


def _show(shown: Any) -> None:
    from IPython.display import display

    display(shown)  # type: ignore[no-untyped-call]


def _html(text: str) -> None:
    from IPython.display import HTML

    _show(HTML(text))  # type: ignore[no-untyped-call]


def _pairs(values: dict[str, Any]) -> None:
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(_shown(value))}</td></tr>"
        for name, value in values.items()
        if value is not None
    )
    _html(f"<table class='pairs'>{rows}</table>")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
