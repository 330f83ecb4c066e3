"""Draw the charts of docs/drift.md: ``python -m docs.images.drift``. The same each time."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from airflow_provider_automl.jobs.charts import BLUE, GREY, ORANGE, svg
from tests.warehouse.delong import delong, paired_delong

HERE = Path(__file__).parent
Z_95 = 1.959963984540054
ERROR = 0.0040  # the standard error of an AUC of 0.93 on 5,000 rows of which 24 % are positive
#: False alarms, and power at a drop of 1, 2 and 4 standard errors, in percent: ``python -m benchmarks.drift``.
MEASURED = {
    "below(0.93)": (49.3, 83.5, 97.3, 100.0),
    "significantly_below(0.93)": (4.45, 23.8, 58.5, 97.9),
    "worse_than_baseline()": (3.50, 17.9, 45.5, 92.7),
}
DROPS = ("none", "1 SE", "2 SE", "4 SE")


def days() -> alt.TopLevelMixin:
    """Sixty days of a model that is well, and a fixed threshold."""
    auc = 0.9292 + np.random.default_rng(4).normal(0, ERROR, 60)
    table = pd.DataFrame({"day": np.arange(1, 61), "auc": auc, "low": auc - Z_95 * ERROR, "high": auc + Z_95 * ERROR})
    table["side"] = np.where(table["auc"] < 0.93, "below 0.93: an alarm", "not below")
    x = alt.X("day:Q", title="day")
    y = alt.Y("auc:Q", title="AUC, with its 95 % interval", scale=alt.Scale(domain=[0.905, 0.95]))
    color = alt.Color("side:N", title=None, scale=alt.Scale(range=[ORANGE, BLUE]))
    base = alt.Chart(table)
    line = alt.Chart(pd.DataFrame({"auc": [0.93]})).mark_rule(color=GREY, strokeDash=[5, 4]).encode(y)
    bars = base.mark_rule(opacity=0.45).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), color)
    return alt.layer(line, bars, base.mark_circle(size=36, opacity=1).encode(x, y, color)).properties(
        width=620,
        height=240,
        title=alt.Title(
            f"The model is well on all 60 days; below(0.93) mails on {int((auc < 0.93).sum())} of them",
            subtitle="simulated: true AUC 0.9292, 5,000 rows a day; dashed: 0.93",
        ),
    )


def alarms() -> alt.TopLevelMixin:
    """False alarms and power of three policies."""
    table = pd.DataFrame(
        [(policy, drop, share) for policy, row in MEASURED.items() for drop, share in zip(DROPS, row, strict=True)],
        columns=["policy", "drop", "share"],
    )
    x = alt.X("policy:N", title=None, sort=list(MEASURED), axis=alt.Axis(labels=False, ticks=False))
    y = alt.Y("share:Q", title="days with an alarm, in percent", scale=alt.Scale(domain=[0, 108]))
    base = alt.Chart(table).encode(x, y)
    bars = base.mark_bar().encode(
        alt.Color("policy:N", title=None, sort=list(MEASURED), legend=alt.Legend(orient="bottom", labelLimit=300))
    )
    text = base.mark_text(dy=-7, fontSize=10, color="currentColor").encode(alt.Text("share:Q", format=".0f"))
    column = alt.Column("drop:N", sort=list(DROPS), title="true drop of the AUC, in standard errors")
    return (
        alt.layer(bars, text)
        .properties(width=130, height=220)
        .facet(column=column)
        .properties(
            title=alt.Title(
                "Where nothing has changed, a bare threshold mails every other day",
                subtitle="10,000 simulated days each; the true AUC is 0.93 where there is no drop",
            )
        )
    )


def pairs() -> alt.TopLevelMixin:
    """Two models on the same rows: two intervals that overlap, and the interval of the difference."""
    rng = np.random.default_rng(3)
    label = rng.random(4000) < 0.24
    common = 2.0 * label + rng.normal(size=label.size)
    champion, challenger = (common * skill + rng.normal(0, 0.25, label.size) for skill in (0.80, 1.05))

    difference, error = paired_delong(label, champion, challenger)
    half = Z_95 * error
    rows = []
    for name, score in (("champion", champion), ("challenger", challenger)):
        auc, error = delong(label, score)
        rows.append(("AUC", name, auc, Z_95 * error))
    table = pd.DataFrame([(kind, name, v, v - w, v + w) for kind, name, v, w in rows],
                         columns=["kind", "name", "value", "low", "high"])  # fmt: skip
    paired = pd.DataFrame([("challenger - champion", difference, difference - half, difference + half)],
                          columns=["name", "value", "low", "high"])  # fmt: skip

    def panel(data: pd.DataFrame, title: str, color: str, *more: alt.Chart) -> alt.TopLevelMixin:
        x = alt.X("low:Q", title=title, scale=alt.Scale(zero=False))
        y = alt.Y("name:N", title=None, sort=["champion", "challenger"])
        rule = alt.Chart(data).mark_rule(strokeWidth=3, color=color).encode(x, alt.X2("high:Q"), y)
        point = alt.Chart(data).mark_circle(size=90, color=color, opacity=1).encode(alt.X("value:Q", title=title), y)
        return alt.layer(*more, rule, point).properties(width=290, height=90)

    zero = alt.Chart(pd.DataFrame({"value": [0.0]})).mark_rule(color=GREY, strokeDash=[5, 4]).encode(x="value:Q")
    return alt.hconcat(
        panel(table, "AUC, each with its 95 % interval", BLUE),
        panel(paired, "difference row by row, with its 95 % interval", ORANGE, zero),
    ).properties(
        title=alt.Title(
            "Two intervals that overlap hide a difference that the same rows show",
            subtitle="two models on the same 4,000 simulated rows; dashed: no difference",
        )
    )


if __name__ == "__main__":
    for chart in (days, alarms, pairs):
        (HERE / f"drift-{chart.__name__}.svg").write_text(svg(chart()), encoding="utf-8")
