"""False alarms and power of the drift policies, against NannyML's default thresholds, on the same simulated days.

Each of 10,000 streams is a model with a true AUC of 0.93 (5,000 rows per day, 24 % positive, binormal scores): ten
baseline days, then one checked day in four variants: no drift, and a true AUC that is one, two or four standard errors
lower. NannyML runs in its own environment in ``.benchmarks/``, installed on the first run. Its own class sets the
thresholds from the AUCs of the same days, and one stream goes through its ``PerformanceCalculator`` to verify that it
finds the same AUCs and thresholds.

Default thresholds differ in their rate of false alarms. To compare power at equal rates, each side's threshold is tuned
on one half of the streams to alarm on 5 % of the days without drift, and its power is measured on the other half. Only
sides with the same information are compared: the same number of days, or the true AUC.

    python -m benchmarks.drift        (AUTOML_SAMPLES=10000 streams: 75 s of one core, plus NannyML's installation)
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from airflow_provider_automl.drift.policies import History, ask, below, significantly_below, worse_than_baseline
from benchmarks._measure import Results, scratch
from tests.drift.simulation import AUC, ROWS, Floats, evaluate, evaluations, row, scores, wilson

DROPS = (0, 1, 2, 4)
DAYS = 10
NANNYML = ("nannyml==0.13.1", "statsmodels", "setuptools<80")

# Runs in NannyML's environment: thresholds for each stream, then one stream through its PerformanceCalculator.
_THEIRS = """
import sys
import numpy as np, pandas as pd
from nannyml.performance_calculation import PerformanceCalculator
from nannyml.thresholds import StandardDeviationThreshold
given = np.load(sys.argv[1])
threshold = StandardDeviationThreshold()
five, ten = ([threshold.thresholds(days)[0] for days in given["baseline"][:, :count]] for count in (5, 10))
size = int(given["rows"])
data = pd.DataFrame({"y": given["label"], "p": given["score"]})
calculator = PerformanceCalculator(
    metrics=["roc_auc"], y_true="y", y_pred_proba="p", problem_type="classification_binary", chunk_size=size
)
cut = size * given["baseline"].shape[1]
found = calculator.fit(data[:cut]).calculate(data[cut:].reset_index(drop=True)).to_df()["roc_auc"]
np.savez(sys.argv[2], five=five, ten=ten, value=found["value"].iloc[-1], threshold=found["lower_threshold"].iloc[-1])
"""


def nannyml() -> Path:
    """The Python of an environment with NannyML, created if missing."""
    home = scratch("nannyml")
    python = home / "bin" / "python"
    done = home / ".installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *NANNYML], check=True)
        done.touch()
    return python


def theirs(baseline: Floats, label: Floats, score: Floats) -> dict[str, Floats]:
    """NannyML's lower thresholds from five and from ten days, and its results for one stream."""
    given, found = scratch("drift") / "given.npz", scratch("drift") / "found.npz"
    np.savez(given, baseline=baseline, label=label, score=score, rows=ROWS)
    subprocess.run([str(nannyml()), "-c", _THEIRS, str(given), str(found)], check=True, stderr=subprocess.DEVNULL)
    with np.load(found) as arrays:
        return dict(arrays)


def one_stream(generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Labels and scores of ten baseline days and one checked day, and their AUCs."""
    positive, negative = scores(generator, DAYS + 1, AUC)
    score = np.concatenate([positive, negative], axis=1).ravel()
    label = np.tile(np.repeat([1.0, 0.0], [positive.shape[1], negative.shape[1]]), DAYS + 1)
    probability = 1 / (1 + np.exp(-score))
    return label, probability, evaluate(positive, negative)[0]


def main() -> None:
    """Run the benchmark; exits 1 if a policy exceeds its rate of false alarms, or has less power than NannyML."""
    streams = int(os.environ.get("AUTOML_SAMPLES", "10000"))
    generator = np.random.default_rng(20261126)
    results = Results()
    auc, error = evaluations(generator, streams * DAYS)
    baseline, baseline_error = auc.reshape(streams, DAYS), error.reshape(streams, DAYS)
    step = float(error.mean())
    checked = [evaluations(generator, streams, AUC - drop * step) for drop in DROPS]
    print(f"{streams} streams; a standard error is {step:.5f}")

    label, score, expected = one_stream(generator)
    limits = theirs(np.vstack([baseline, expected[None, :DAYS]]), label, score)
    results.line("NannyML's own AUC of a day differs by", abs(limits["value"] - expected[DAYS]), 1e-12)
    results.line("its own threshold differs by", abs(limits["threshold"] - limits["ten"][-1]), 1e-12)

    policies: dict[str, tuple[Any, int]] = {
        "below(0.93)": (below(AUC), 0),
        "significantly_below(0.93)": (significantly_below(AUC), 0),
        "worse_than_baseline()": (worse_than_baseline(), 5),
        "worse_than_baseline(10)": (worse_than_baseline(10), 10),
        **{f"worse_than_baseline(), {n} earlier": (worse_than_baseline(), n) for n in (1, 2, 3)},
        "worse_than_baseline(alpha=0.01)": (worse_than_baseline(alpha=0.01), 5),
        "significantly_below(0.93, alpha=0.01)": (significantly_below(AUC, 0.01), 0),
    }
    # By name and drop: whether each stream alarms, and the strength of the alarm (lower is stronger).
    alarms: dict[str, list[Any]] = {name: [] for name in policies}
    strength: dict[str, list[Any]] = {name: [] for name in policies}
    histories = [
        [row(*pair, day) for day, pair in enumerate(zip(*days, strict=True), 1)]
        for days in zip(baseline, baseline_error, strict=True)
    ]
    for name, (policy, days) in policies.items():
        for aucs, errors in checked:
            decisions = [
                ask(policy, row(*now, DAYS + 1), History(before[:days]))
                for before, *now in zip(histories, aucs, errors, strict=True)
            ]
            alarms[name].append(np.array([decision.drifted for decision in decisions]))
            values = [each.statistic if each.p_value is None else each.p_value for each in decisions]
            strength[name].append(np.array(values))
    for count, key in ((5, "five"), (10, "ten")):
        name = f"NannyML, {count} reference chunks"
        lower = limits[key][:streams]
        mean = baseline[:, :count].mean(axis=1)
        alarms[name] = [aucs < lower for aucs, _ in checked]
        # NannyML is tuned by its multiplier of the standard deviation: 3 by default.
        strength[name] = [3 * (aucs - mean) / (mean - lower) for aucs, _ in checked]

    print(f"\n{'default thresholds':<42} false alarms (95 % interval)   power at a drop of 1, 2, 4 standard errors")
    for name, found in alarms.items():
        low, high = wilson(int(found[0].sum()), streams)
        powers = "  ".join(f"{each.mean():6.1%}" for each in found[1:])
        print(f"{name:<42} {found[0].mean():6.2%} ({low:.2%} to {high:.2%})       {powers}")
    print()
    for name, (policy, _) in policies.items():
        if (alpha := getattr(policy, "alpha", None)) is not None:
            low, _ = wilson(int(alarms[name][0].sum()), streams)
            results.line(f"false alarms of {name}: lower end", low, alpha)

    half = streams // 2
    power: dict[str, list[Any]] = {}
    print(f"\n{'at 5 % false alarms, tuned on one half':<42} on the other half   power at a drop of 1, 2, 4")
    for name, values in strength.items():
        if "earlier" in name or "alpha" in name:
            continue
        cut = np.quantile(values[0][:half], 0.05)
        power[name] = [each[half:] <= cut for each in values]
        powers = "  ".join(f"{each.mean():6.1%}" for each in power[name][1:])
        print(f"{name:<42} {power[name][0].mean():6.2%}            {powers}")
    print()
    for ours, other in (
        ("worse_than_baseline()", "NannyML, 5 reference chunks"),
        ("worse_than_baseline(10)", "NannyML, 10 reference chunks"),
        ("significantly_below(0.93)", "NannyML, 10 reference chunks"),
        ("significantly_below(0.93)", "below(0.93)"),
    ):
        for drop, mine, its in zip(DROPS[1:], power[ours][1:], power[other][1:], strict=True):
            difference = mine.astype(float) - its
            margin = 1.96 * float(difference.std()) / np.sqrt(len(difference))
            results.line(
                f"power, {ours} minus {other}, drop {drop}", float(difference.mean()), -margin, at_least=True,
                note=f"± {margin:.3f}",
            )  # fmt: skip
    results.exit()


if __name__ == "__main__":
    main()
