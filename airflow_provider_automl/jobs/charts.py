"""The charts of notebooks and pages.

Each function takes NumPy arrays or small tables and returns an Altair chart whose title states the finding.
:func:`svg` renders it as SVG, which needs no script and follows the reader's light or dark theme. The colours are by
Okabe and Ito ("Color universal design", 2008), and distinguishable with any kind of colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.metrics import wilson_interval

if TYPE_CHECKING:
    import altair as alt
    import numpy as np
    import pandas as pd

BLUE, ORANGE, GREEN, PURPLE, GREY = "#3a87c8", "#e08a00", "#00a078", "#cc79a7", "#8a8a8a"
_PALETTE = [BLUE, ORANGE, GREEN, PURPLE, "#d55e00", "#56b4e9", "#b8a900", GREY]
_WIDTH, _HEIGHT = 400, 280
_POINTS = 400  # per curve: more would not be visible
_SHOWN_ROWS = 1000  # per scatter plot
_SHOWN_CLASSES = 20

_CONFIG = {
    "aria": False,  # one label for the whole chart instead of one per mark
    "background": None,
    "font": "DejaVu Sans, Verdana, sans-serif",
    "title": {
        "color": "currentColor", "subtitleColor": "currentColor", "fontSize": 13, "anchor": "start", "offset": 10,
    },
    "axis": {
        "labelColor": "currentColor", "titleColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.12,
        "domainColor": "currentColor", "tickColor": "currentColor", "titleFontWeight": "normal", "labelLimit": 220,
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": "normal"},
    "header": {"labelColor": "currentColor", "titleColor": "currentColor"},
    "view": {"stroke": None},
    "range": {"category": _PALETTE},
}  # fmt: skip
_STYLE = (
    "<style>svg.automl{color:#222;max-width:100%;height:auto}"
    "@media(prefers-color-scheme:dark){svg.automl{color:#ddd}}</style>"
)


def svg(chart: alt.TopLevelMixin) -> str:
    """A chart as SVG: text and lines in the page's colour, no background, no script, no embedded font."""
    import vl_convert

    spec: dict[str, Any] = chart.to_dict()
    text: str = vl_convert.vegalite_to_svg({**spec, "config": _CONFIG})
    end = text.index(">", text.index("<svg"))
    label = escape(f"{spec['title']['text']}. {spec['title']['subtitle']}")
    head = text[:end].replace('class="marks"', f'class="automl" role="img" aria-label="{label}"')
    return head + ">" + _STYLE + text[end + 1 :]


def roc(labels: np.ndarray, scores: np.ndarray) -> alt.TopLevelMixin:
    """The ROC curve: true positive rate against false positive rate, over all thresholds.

    :param labels: 1 for positives, else 0.
    :param scores: the probability of being positive.
    """
    import altair as alt
    import pandas as pd
    from sklearn.metrics import roc_auc_score, roc_curve

    false, true, _ = roc_curve(labels, scores)
    auc = roc_auc_score(labels, scores)
    line = pd.DataFrame(_thinned(false, true), columns=["false", "true"])
    chance = pd.DataFrame({"false": [0.0, 1.0], "true": [0.0, 1.0]})
    x = alt.X("false:Q", title="false positive rate", axis=_percent(), scale=_unit())
    y = alt.Y("true:Q", title="true positive rate (recall)", axis=_percent(), scale=_unit())
    return _square(
        chance,
        x,
        y,
        alt.Chart(line).mark_line(color=BLUE, strokeWidth=2).encode(x, y),
        title=_title(
            f"A positive is ranked above a negative {auc:.1%} of the time", f"ROC curve, AUC {auc:.4f}; dashed: chance"
        ),
    )


def precision_recall(labels: np.ndarray, scores: np.ndarray) -> alt.TopLevelMixin:
    """The precision-recall curve, over all thresholds."""
    import altair as alt
    import pandas as pd
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    average = average_precision_score(labels, scores)
    rate = float(labels.mean())
    line = pd.DataFrame(_thinned(recall, precision), columns=["recall", "precision"])
    half = precision[recall >= 0.5].max()
    x = alt.X("recall:Q", title="recall", axis=_percent(), scale=_unit())
    y = alt.Y("precision:Q", title="precision", axis=_percent(), scale=_unit())
    base = pd.DataFrame({"recall": [0.0, 1.0], "precision": [rate, rate]})
    return _square(
        base,
        x,
        y,
        alt.Chart(line).mark_line(color=BLUE, strokeWidth=2).encode(x, y),
        title=_title(
            f"At a recall of 50 % or more, precision reaches {half:.1%}",
            f"precision-recall curve, average precision {average:.4f}; dashed: chance, {rate:.1%}",
        ),
    )


def calibration(labels: np.ndarray, scores: np.ndarray) -> alt.TopLevelMixin:
    """Observed against predicted rates, in ten groups of equal size, with Wilson's 95 % interval."""
    return _reliability(labels, scores, "predicted probability, mean of the group", "share of positives in the group")


def confidence(right: np.ndarray, probabilities: np.ndarray) -> alt.TopLevelMixin:
    """:func:`calibration` for multiclass: the probability of the predicted class, and whether it was right."""
    return _reliability(
        right,
        probabilities,
        "probability of the predicted class, mean of the group",
        "share of correct predictions in the group",
    )


def _reliability(labels: np.ndarray, scores: np.ndarray, x_title: str, y_title: str) -> alt.TopLevelMixin:
    import altair as alt
    import numpy as np
    import pandas as pd

    order = np.argsort(scores, kind="stable")
    groups = [group for group in np.array_split(order, 10) if len(group)]
    rows = []
    for group in groups:
        n, rate = len(group), float(labels[group].mean())
        centre, half = wilson_interval(rate, n)
        rows.append((float(scores[group].mean()), rate, max(0.0, centre - half), min(1.0, centre + half), n))
    table = pd.DataFrame(rows, columns=["predicted", "observed", "low", "high", "rows"])
    error = float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["rows"]))
    x = alt.X("predicted:Q", title=x_title, axis=_percent(), scale=_unit())
    y = alt.Y("observed:Q", title=y_title, axis=_percent(), scale=_unit())
    ideal = pd.DataFrame({"predicted": [0.0, 1.0], "observed": [0.0, 1.0]})
    return _square(
        ideal,
        x,
        y,
        alt.Chart(table).mark_rule(color=BLUE).encode(x, alt.Y("low:Q", title=""), alt.Y2("high:Q")),
        alt.Chart(table).mark_line(color=BLUE, point=alt.OverlayMarkDef(color=BLUE, size=40)).encode(x, y),
        title=_title(
            f"Predicted probabilities are off by {error:.1%} on average",
            f"{len(groups)} groups of equal size, 95 % intervals (Wilson); dashed: ideal",
        ),
    )


def confusion(actual: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> alt.TopLevelMixin:
    """The confusion matrix; of many classes only the most frequent are shown.

    :param actual: indices into ``classes``, like ``predicted``.
    """
    import altair as alt
    import numpy as np
    import pandas as pd

    right = float((actual == predicted).mean())
    counts = np.bincount(actual, minlength=len(classes))
    shown = np.sort(np.argsort(-counts, kind="stable")[:_SHOWN_CLASSES])
    table = pd.DataFrame({"actual": actual, "predicted": predicted}).value_counts().rename("rows").reset_index()
    table = table[table["actual"].isin(shown) & table["predicted"].isin(shown)]
    cells = pd.MultiIndex.from_product([shown, shown], names=["actual", "predicted"])
    table = table.set_index(["actual", "predicted"]).reindex(cells, fill_value=0).reset_index()
    table["share"] = table["rows"] / np.maximum(counts[table["actual"]], 1)
    names = [_label(classes[i]) for i in range(len(classes))]
    order = [names[i] for i in shown]
    longest = max(map(len, order), default=0)
    table["actual"] = [names[i] for i in table["actual"]]
    table["predicted"] = [names[i] for i in table["predicted"]]
    table["dark"] = table["share"] > 0.55
    size = max(26, min(90, _WIDTH // max(len(shown), 1)))
    x = alt.X(
        "predicted:N", title="predicted", sort=order, axis=alt.Axis(labelAngle=0 if longest * len(shown) < 40 else -40)
    )
    y = alt.Y("actual:N", title="actual", sort=order)
    cell = alt.Chart(table).encode(x, y)
    left_out = f"; the {len(shown)} most frequent of {len(classes)} classes" if len(shown) < len(classes) else ""
    return alt.layer(
        cell.mark_rect(color=BLUE).encode(
            opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None)
        ),
        cell.mark_text(fontSize=11 if len(shown) < 12 else 8).encode(
            text=alt.Text("rows:Q", format=","),
            color=alt.condition("datum.dark", alt.value("white"), alt.value("currentColor")),
        ),
    ).properties(
        title=_title(
            f"{right:.1%} of {len(actual):,} rows are classified correctly",
            f"rows by class; stronger colour: larger share of the actual class{left_out}",
        ),
        width=size * len(shown),
        height=size * len(shown) if len(shown) > 4 else 60 * len(shown),
    )


def score_distribution(labels: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> alt.TopLevelMixin:
    """The distribution of scores by class, each class as shares of its own rows.

    :param labels: 1 for positives, else 0.
    :param classes: the name of the negative class, then of the positive one.
    """
    import altair as alt
    import numpy as np
    import pandas as pd

    edges = np.linspace(0, 1, 41)
    parts = []
    for index, name in enumerate(classes):
        found, _ = np.histogram(scores[labels == index], edges)
        share = found / max(found.sum(), 1)
        parts.append(pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": share, "class": _label(name)}))
    middle = [float(np.median(scores[labels == index])) for index in range(2)]
    chart: alt.TopLevelMixin = (
        alt.Chart(pd.concat(parts))
        .mark_bar(opacity=0.6, binSpacing=0)
        .encode(
            alt.X("low:Q", title="predicted probability of the positive class", axis=_percent(), bin="binned"),
            alt.X2("high:Q"),
            alt.Y("share:Q", title="share of the class's rows", axis=_percent(), stack=None),
            alt.Color("class:N", title="class", sort=[_label(name) for name in classes]),
        )
        .properties(
            title=_title(
                f"Half of the positives score above {middle[1]:.0%}, half of the others below {middle[0]:.0%}",
                "distribution of scores by class",
            ),
            width=_WIDTH,
            height=_HEIGHT,
        )
    )
    return chart


def residuals(actual: np.ndarray, predicted: np.ndarray, target: str) -> alt.TopLevelMixin:
    """Residuals against predictions; larger inputs are sampled."""
    import altair as alt
    import numpy as np
    import pandas as pd

    difference = predicted - actual
    half = float(np.median(np.abs(difference)))
    bias = float(difference.mean())
    shown = np.random.default_rng(0).permutation(len(actual))[:_SHOWN_ROWS]
    table = pd.DataFrame({"predicted": predicted[shown], "difference": difference[shown]})
    zero = alt.Chart(pd.DataFrame({"difference": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 4])
    points = alt.Chart(table).mark_circle(color=BLUE, opacity=0.4, size=22)
    y = alt.Y("difference:Q", title="predicted minus actual")
    sampled = f", {len(shown):,} of {len(actual):,} rows" if len(shown) < len(actual) else f", {len(actual):,} rows"
    return alt.layer(
        zero.encode(y),
        points.encode(alt.X("predicted:Q", title=f"predicted {_label(target)}", scale=alt.Scale(zero=False)), y),
    ).properties(
        title=_title(
            f"Half of the predictions are within {half:.4g} of the actual value",
            f"residuals, mean {bias:+.3g}{sampled}",
        ),
        width=_WIDTH,
        height=_HEIGHT,
    )


def predicted_and_actual(actual: np.ndarray, predicted: np.ndarray, target: str) -> alt.TopLevelMixin:
    """Predictions against actual values; larger inputs are sampled."""
    import altair as alt
    import numpy as np
    import pandas as pd

    spread = float(((actual - actual.mean()) ** 2).sum())
    explained = 1 - float(((actual - predicted) ** 2).sum()) / spread if spread else float("nan")
    shown = np.random.default_rng(0).permutation(len(actual))[:_SHOWN_ROWS]
    table = pd.DataFrame({"actual": actual[shown], "predicted": predicted[shown]})
    ends = [float(min(actual.min(), predicted.min())), float(max(actual.max(), predicted.max()))]
    scale = alt.Scale(domain=ends, nice=True, zero=False)
    x = alt.X("actual:Q", title=f"actual {_label(target)}", scale=scale)
    y = alt.Y("predicted:Q", title=f"predicted {_label(target)}", scale=scale)
    ideal = pd.DataFrame({"actual": ends, "predicted": ends})
    return _square(
        ideal,
        x,
        y,
        alt.Chart(table).mark_circle(color=BLUE, opacity=0.4, size=22).encode(x, y),
        title=_title(f"The model explains {explained:.1%} of the variance", "predicted and actual; dashed: ideal"),
    )


def importance(table: pd.DataFrame, *, shown: int = 25) -> alt.TopLevelMixin:
    """The drop in score when a feature is shuffled, with the 99 % interval.

    :param table: columns index (the feature), importance, p99_low, p99_high.
    """
    import altair as alt

    table = table.sort_values("importance", ascending=False)
    best = table.iloc[0]
    subtitle = "permutation importance of a single shuffle, without an interval"
    if table["p99_low"].notna().any():
        useful = int((table["p99_low"] > 0).sum())
        subtitle = f"permutation importance; lines: 99 % intervals, above 0 for {useful} of {len(table)} features"
    top = table.head(shown).assign(index=[_label(name) for name in table["index"].head(shown)])
    y = alt.Y("index:N", title=None, sort=list(top["index"]))
    base = alt.Chart(top)
    return alt.layer(
        base.mark_bar(color=BLUE, opacity=0.8).encode(
            alt.X("importance:Q", title="drop in score when the feature is shuffled"), y
        ),
        base.mark_rule(color="currentColor", strokeWidth=1.5).encode(
            alt.X("p99_low:Q", title=""), alt.X2("p99_high:Q"), y
        ),
    ).properties(
        title=_title(
            f"{_label(best['index'])} matters most: shuffling it lowers the score by {best['importance']:.3g}",
            subtitle,
        ),
        width=_WIDTH,
        height=alt.Step(18),
    )


def leaderboard(table: pd.DataFrame, metric: str, *, shown: int = 25) -> alt.TopLevelMixin:
    """The validation score of each model, and the seconds that it took to fit.

    :param table: columns model, score_val, fit_time (seconds).
    """
    import altair as alt

    scored = table.dropna(subset=["score_val"]).sort_values("score_val", ascending=False).head(shown)
    best = scored.iloc[0]
    scored = scored.assign(model=[_label(name) for name in scored["model"]])
    chart: alt.TopLevelMixin = (
        alt.Chart(scored)
        .mark_circle(color=BLUE, size=90, opacity=0.9)
        .encode(
            alt.X("score_val:Q", title=f"validation score, {_label(metric)}", scale=alt.Scale(zero=False, padding=12)),
            alt.Y("model:N", title=None, sort=list(scored["model"])),
            alt.Size("fit_time:Q", title="seconds to fit", scale=alt.Scale(range=[30, 300])),
        )
        .properties(
            title=_title(
                f"{_label(best['model'])} is the best of {len(table)} models: {best['score_val']:.4g}",
                "validation score of each model; larger points took longer to fit",
            ),
            width=_WIDTH,
            height=alt.Step(20),
        )
    )
    return chart


def class_balance(counts: Sequence[tuple[str, int]], what: str) -> alt.TopLevelMixin:
    """Rows by class.

    :param counts: the classes' names and rows.
    :param what: the axis title, such as the name of the target column.
    """
    import altair as alt
    import pandas as pd

    total = sum(rows for _, rows in counts)
    ordered = sorted(counts, key=lambda item: -item[1])
    rarest, fewest = ordered[-1]
    table = pd.DataFrame(
        [(_label(name), rows, rows / total) for name, rows in ordered[:_SHOWN_CLASSES]],
        columns=["class", "rows", "share"],
    )
    y = alt.Y("class:N", title=_label(what), sort=list(table["class"]))
    base = alt.Chart(table)
    return alt.layer(
        base.mark_bar(color=BLUE, opacity=0.8).encode(alt.X("rows:Q", title="rows", axis=alt.Axis(format="~s")), y),
        base.mark_text(align="left", dx=4, color="currentColor").encode(
            alt.X("rows:Q", title=""), y, alt.Text("share:Q", format=".1%")
        ),
    ).properties(
        title=_title(
            f"{_label(rarest)} is the rarest class, {fewest / total:.1%} of {total:,} rows",
            f"{len(counts)} classes" + (f", the {_SHOWN_CLASSES} largest" if len(counts) > _SHOWN_CLASSES else ""),
        ),
        width=_WIDTH - 60,
        height=alt.Step(22),
    )


def histogram(edges: Sequence[float], counts: Sequence[int], what: str, title: str) -> alt.TopLevelMixin:
    """The distribution of a number.

    :param edges: of the bins: one more than ``counts``.
    """
    import altair as alt
    import pandas as pd

    total = max(sum(counts), 1)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": [count / total for count in counts]})
    chart: alt.TopLevelMixin = (
        alt.Chart(table)
        .mark_bar(color=BLUE, opacity=0.8, binSpacing=0)
        .encode(
            alt.X("low:Q", title=_label(what), bin="binned"),
            alt.X2("high:Q"),
            alt.Y("share:Q", title="share of rows", axis=_percent()),
        )
        .properties(title=_title(title, f"{total:,} rows"), width=_WIDTH, height=200)
    )
    return chart


def _square(guide: pd.DataFrame, x: Any, y: Any, *marks: Any, title: Any) -> alt.TopLevelMixin:
    """Marks over a dashed reference line."""
    import altair as alt

    dashed = alt.Chart(guide).mark_line(color=GREY, strokeDash=[4, 4]).encode(x, y)
    return alt.layer(dashed, *marks).properties(title=title, width=_HEIGHT, height=_HEIGHT)


def _title(text: str, subtitle: str) -> Any:
    import altair as alt

    return alt.TitleParams(text=text, subtitle=subtitle)


def _percent() -> Any:
    import altair as alt

    return alt.Axis(format="~%")


def _unit() -> Any:
    import altair as alt

    return alt.Scale(domain=[0, 1])


def _label(value: object) -> str:
    """A label for an axis: a single line (Vega would break it at a line break) of at most 40 characters."""
    text = " ".join(str(value).split()) or repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points of a curve at roughly even distances along it, including the first and the last."""
    import numpy as np

    if len(x) <= _POINTS:
        return np.column_stack([x, y])
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    at = np.searchsorted(along, np.linspace(0, along[-1], _POINTS))
    return np.column_stack([x, y])[np.unique(np.clip(at, 0, len(x) - 1))]
