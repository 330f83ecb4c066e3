"""The sections of a report, one method each, as the notebooks in ``notebooks/`` show them.

A job writes these files to the report's directory. They are also the contract with users' own notebooks:

- ``facts.json``: ``kind``, ``title``, ``about`` (the table and the task), ``options`` (the job's options), ``result``
  (the job's result), ``environment``, ``held_out`` (describes the held-out rows, or null), ``ignored`` (columns and
  why), ``classes``;
- ``profile.parquet``: one row per input column; ``target.parquet``: the target's classes or histogram;
- ``leaderboard.parquet``, ``importance.parquet``: only of a training;
- ``held_out.parquet``: ``label`` and ``score`` (binary), ``label`` and ``p0``, ``p1`` … (multiclass: indices into
  ``classes``), or ``label`` and ``predicted`` (regression), of held-out rows;
- ``predictions.parquet``: a sample of a prediction's columns; ``rows.parquet``: the first rows of the input;
- ``log.txt``: the job's output.

A file is missing if it was not written, or if its contents are to be hidden. All text from tables is escaped.
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
    """The files that a job wrote for its report, and the sections that show them.

    :param directory: the report's directory, as the module describes it.
    """

    def __init__(self, directory: str | Path) -> None:
        import pandas as pd

        self.directory = Path(directory)
        self.facts: dict[str, Any] = json.loads((self.directory / "facts.json").read_text(encoding="utf-8"))
        self.result: dict[str, Any] = self.facts["result"]
        pd.set_option("display.max_rows", 300, "display.max_columns", 100, "display.precision", 5)

    def table(self, name: str) -> pd.DataFrame | None:
        """One of the directory's tables; None if it does not exist."""
        import pandas as pd

        path = self.directory / f"{name}.parquet"
        return pd.read_parquet(path) if path.exists() else None

    # ------------------------------------------------------------------------------------------------ every report

    def heading(self) -> None:
        """The title, what the report is about, and warnings."""
        _html(f"<h1>{escape(self.facts['title'])}</h1>")
        if about := self.facts.get("about"):
            what = "Trained on" if self.facts["kind"] == "train" else "Predictions for"
            links = (
                "".join(f' · <a href="{escape(url)}">{escape(text)}</a>' for text, url in about["links"].items())
                or f" · run {escape(about['run_id'])}"
            )
            _html(
                f"<p>{what} <b>{escape(about['source'])}</b> by {escape(about['dag_id'])}.{escape(about['task_id'])}, "
                f"{escape(about['session_time'])}{links}</p>"
            )
        for text in self.result.get("warnings") or ():
            _html(f"<p class='warning'>⚠ {escape(text)}</p>")

    def parameters(self) -> None:
        """The job's options and its result."""
        _pairs(self.facts["options"])
        _html("<h3>Result</h3>")
        _pairs({name: value for name, value in self.result.items() if name not in _HIDDEN_RESULTS})

    def environment(self) -> None:
        """The Python, machine and package versions that the job ran with."""
        _pairs(self.facts["environment"])

    def profile(self) -> None:
        """A profile of the input's columns, and the first rows."""
        profile = self.table("profile")
        if profile is None:
            _html("<p>The input was not profiled.</p>")
            return
        incomplete = profile[profile["missing"] > 0]
        missing = f"{len(incomplete)} of them" if len(incomplete) else "none"
        _html(
            f"<p>{self.facts['rows']:,} rows, {len(profile)} columns, {missing} with missing values."
            f"{self._sampled('profile')}</p>"
        )
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
        """The output of the job, AutoGluon's included."""
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
        excluded = [f"Column {name}: {why}." for name, why in self.facts["ignored"].items()]
        if dropped := self.result.get("rows_dropped"):
            excluded.insert(0, f"{dropped:,} rows: their target is NULL.")
        if not excluded:
            _html("<p>All rows and columns were used.</p>")
            return
        _html("<ul>" + "".join(f"<li>{escape(text)}</li>" for text in excluded) + "</ul>")

    # ------------------------------------------------------------------------------------------------ trainings

    def target(self) -> None:
        """The distribution of the target."""
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
        """All models that were fitted."""
        table = self.table("leaderboard")
        if table is None:
            _html("<p>There is no leaderboard.</p>")
            return
        if table["score_val"].notna().any():
            self.draw(charts.leaderboard(table, self.result["eval_metric"]))
        wanted = ["model", "score_val", "fit_time", "pred_time_val", "stack_level", "num_features"]
        _show(table[[name for name in wanted if name in table.columns]].set_index("model").rename_axis(None))

    def importance(self) -> None:
        """The importance of features."""
        table = self.table("importance")
        if table is None or not len(table):
            _html("<p>Feature importance was not computed.</p>")
            return
        self.draw(charts.importance(table))
        table = table.drop(columns=["model_name", "model_version"], errors="ignore")
        _show(table.set_index("index").rename_axis(None))

    def quality(self) -> None:
        """The model's quality on held-out rows."""
        held_out = self.table("held_out")
        if held_out is None or not len(held_out):
            _html("<p>There are no held-out rows, so the model's quality cannot be shown.</p>")
            return
        _html(f"<p>{escape(self.facts['held_out'])}{self._sampled('held_out')}</p>")
        if "predicted" in held_out.columns:
            self._regression(held_out)
        elif "score" in held_out.columns:
            self._binary(held_out)
        else:
            self._multiclass(held_out)

    def _binary(self, held_out: pd.DataFrame) -> None:
        labels, scores = held_out["label"].to_numpy(dtype=int), held_out["score"].to_numpy(dtype=float)
        classes = [str(value) for value in self.facts["classes"]]
        if labels.min() == labels.max():
            _html(f"<p>All of these rows have the class {escape(classes[labels[0]])}, so there are no curves.</p>")
            return
        self.draw(charts.roc(labels, scores), charts.precision_recall(labels, scores))
        self.draw(charts.calibration(labels, scores), charts.score_distribution(labels, scores, classes))
        chosen = (scores > self.facts["decision_threshold"]).astype(int)
        self.draw(charts.confusion(labels, chosen, classes))
        self._per_class(labels, chosen, classes)

    def _multiclass(self, held_out: pd.DataFrame) -> None:
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

    def _regression(self, held_out: pd.DataFrame) -> None:
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

    # ------------------------------------------------------------------------------------------------ predictions

    def predictions(self) -> None:
        """The distribution of the predictions."""
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

    # ------------------------------------------------------------------------------------------------ display

    def draw(self, *drawn: alt.TopLevelMixin) -> None:
        """Display charts side by side."""
        _html("".join(f"<div class='chart'>{charts.svg(chart)}</div>" for chart in drawn))

    def _sampled(self, name: str) -> str:
        rows = self.facts.get("sampled", {}).get(name)
        return f" Below, a random sample of {rows:,} rows is used." if rows else ""


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
