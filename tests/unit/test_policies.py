from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import math
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from scipy import stats

from airflow_provider_automl.drift.policies import (
    Decision,
    History,
    above,
    all_of,
    any_of,
    ask,
    below,
    consecutive,
    needs,
    significantly_below,
    worse_than_baseline,
)


def test_prints_as_what_it_says() -> None:
    assert str(below(0.93)) == "below(0.93)"
    assert str(below("{{ params.t }}")) == "below({{ params.t }})"
    with pytest.raises(dataclasses.FrozenInstanceError):
        below(0.93).threshold = 1  # type: ignore[misc]


@pytest.mark.parametrize(("auroc", "drifted"), [(0.9299999, True), (0.93, False), (0.95, False), (0.0, True)])
def test_compares_with_the_threshold(auroc: float, drifted: bool) -> None:
    decision = below("0.93").check({"auroc": auroc})
    assert (decision.drifted, decision.statistic, decision.threshold) == (drifted, auroc, 0.93)


@pytest.mark.parametrize("auroc", [None, float("nan"), float("inf")])
def test_a_missing_measure_cannot_be_judged_and_says_why(auroc: float | None) -> None:
    for policy in (below(0.93), above(0.93, "auroc")):
        decision = policy.check({"auroc": auroc, "auroc_reason": "one class only"})
        assert decision.drifted is None
        assert decision.statistic is None
        assert decision.detail == "AUC is missing, so drift cannot be tested: one class only."


@pytest.mark.parametrize(("rmse", "drifted"), [(50, False), (60, False), (61, True)])
def test_worse_is_above_of_an_error(rmse: float, drifted: bool) -> None:
    decision = below(60, "rmse").check({"rmse": rmse, "problem_type": "regression"})
    assert decision.drifted is drifted
    side = {50: "below", 60: "equal to", 61: "above"}[int(rmse)]
    assert decision.detail == f"rmse {rmse:.4f} is {side} the threshold 60."
    assert above(60, "rmse").check({"rmse": rmse}).drifted is drifted
    assert str(above(60, "rmse")) == "above(60, 'rmse')"


def test_above_is_a_plain_upper_limit() -> None:
    assert above(0.99, "auroc").check({"auroc": 0.995}).drifted is True  # too good to be true
    assert above(0.1, "bias").check({"bias": 0.2}).drifted is True
    with pytest.raises(ValueError, match="'bias' is best near 0, so neither below nor above is worse: use above"):
        below(0.1, "bias")


@pytest.mark.parametrize(
    ("problem_type", "policy", "names"),
    [
        ("multiclass", below(0.9), "accuracy, balanced_accuracy"),
        ("regression", below(0.9), "rmse, mse"),
        ("multiclass", significantly_below(0.9), "accuracy, balanced_accuracy"),
        ("regression", worse_than_baseline(), "rmse, mse"),
        ("binary", below(60, "rmse"), "auroc, average_precision"),
        ("binary", above(0.5, "macro_auroc"), "auroc, average_precision"),
    ],
)
def test_a_measure_of_other_problems_is_refused(problem_type: str, policy: Any, names: str) -> None:
    given = {"auroc": None, "problem_type": problem_type, "model_name": "m", "model_version": "1"}
    with pytest.raises(
        ValueError, match=f"problems, but this evaluation is of a {problem_type} problem: use one of .*"
    ) as e:
        ask(policy, given, History())
    assert all(name in str(e.value) for name in names.split(", "))


def test_says_when_it_may_be_noise() -> None:
    evaluation = {"auroc": 0.929, "auroc_low": 0.925, "auroc_high": 0.933}
    assert below(0.93).check(evaluation).detail == (
        "AUC 0.9290 (95 % interval 0.9250 to 0.9330) is below the threshold 0.93; "
        "the threshold lies inside the interval."
    )
    assert below(0.95).check(evaluation).detail == (
        "AUC 0.9290 (95 % interval 0.9250 to 0.9330) is below the threshold 0.95."
    )
    assert below(0.926).check(evaluation).detail == (
        "AUC 0.9290 (95 % interval 0.9250 to 0.9330) is above the threshold 0.926; "
        "the threshold lies inside the interval."
    )


def test_other_measures() -> None:
    assert below(0.8, "accuracy").check({"auroc": 0.9, "metrics": {"accuracy": 0.7}}).drifted is True
    with pytest.raises(ValueError, match=r"no metric 'recall'; available: accuracy, auroc"):
        below(0.8, "recall").check({"auroc": 0.9, "metrics": {"accuracy": 0.7}})


@pytest.mark.parametrize("threshold", ["", "None", "high", "nan"])
def test_refuses_a_threshold_that_is_no_number(threshold: str) -> None:
    with pytest.raises(ValueError, match="give a number, such as 0.93"):
        below(threshold).check({"auroc": 0.9})


def test_what_is_no_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="'model_name' of the evaluation is 'm', not a number"):
        below(0.5, "model_name").check({"model_name": "m"})


# ------------------------------------------------------------------------------------------ significance and baselines


def evaluation(auroc: float | None, se: float | None = 0.004, **more: Any) -> dict[str, Any]:
    """An evaluation's dict, of a run after all those of ``row``."""
    return {
        "model_name": "census", "model_version": "1", "test_table": "now", "auroc": auroc, "auroc_low": None,
        "auroc_high": None, "metrics": {"auroc_se": se}, "dag_id": "check", "run_id": "now",
        "session_time": datetime.datetime(2026, 11, 30, 7, tzinfo=datetime.UTC), **more,
    }  # fmt: skip


def row(auroc: float | None, day: int, se: float | None = 0.004, **more: Any) -> dict[str, Any]:
    """A row of ``automl_eval_results``, as DuckDB gives it."""
    return {
        **evaluation(auroc), "metrics": json.dumps({"auroc_se": se}), "test_table": f"day_{day}",
        "session_time": datetime.datetime(2026, 11, day, 7), "run_id": f"day {day}", **more,  # noqa: DTZ001
    }  # fmt: skip


def test_each_prints_as_what_it_says() -> None:
    assert str(significantly_below(0.93)) == "significantly_below(0.93)"
    assert str(significantly_below("{{ params.t }}", alpha=0.01)) == "significantly_below({{ params.t }}, alpha=0.01)"
    assert str(worse_than_baseline()) == "worse_than_baseline()"
    assert str(worse_than_baseline("champion", min_effect="0.01")) == "worse_than_baseline('champion', min_effect=0.01)"
    assert str(worse_than_baseline(7, metric="log_loss")) == "worse_than_baseline(7, metric='log_loss')"
    both = any_of(below(0.8), all_of(below(0.9), consecutive(3, worse_than_baseline())))
    assert str(both) == "any_of(below(0.8), all_of(below(0.9), consecutive(3, worse_than_baseline())))"


def test_each_says_what_it_needs() -> None:
    assert [needs(policy) for policy in (below(0.9), significantly_below(0.9))] == [(), ()]
    assert needs(worse_than_baseline()) == needs(worse_than_baseline(3)) == needs(worse_than_baseline("3")) == ("own",)
    assert needs(worse_than_baseline("census/1")) == ("census/1",)
    assert needs(consecutive(2, worse_than_baseline("champion"))) == ("own", "champion")
    assert needs(any_of(below(0.9), worse_than_baseline(), worse_than_baseline("other"))) == ("own", "other")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: significantly_below("high"), "threshold is 'high': give a number"),
        (lambda: significantly_below(0.9, alpha=0), "alpha is 0: give a probability above 0 and below 1"),
        (lambda: significantly_below(0.9, alpha=1.0), "alpha is 1.0"),
        (lambda: worse_than_baseline(alpha="5 %"), "alpha is '5 %'"),
        (lambda: worse_than_baseline(alpha=True), "alpha is True"),
        (lambda: worse_than_baseline(min_effect=-0.001), "min_effect is -0.001: give a number of at least 0"),
        (lambda: worse_than_baseline(min_effect=math.nan), "min_effect is nan"),
        (lambda: worse_than_baseline(0), "baseline is 0: give \"own\", \"champion\""),
        (lambda: worse_than_baseline(" "), "baseline is ' '"),
        (lambda: worse_than_baseline(2.5), "baseline is 2.5"),  # type: ignore[arg-type]
        (lambda: significantly_below(0.9, metric="ks"), "significance of 'ks' cannot be tested"),
        (lambda: worse_than_baseline(metric="acuracy"), "of it (did you mean 'accuracy'?). Use auroc, "),
        (lambda: consecutive(0, below(0.9)), "n of consecutive is 0: give an integer of at least 1"),
        (lambda: consecutive(1.5, below(0.9)), "n of consecutive is 1.5"),  # type: ignore[arg-type]
        (lambda: any_of(), "any_of has no policy"),
        (lambda: all_of(below(0.9), 0.9), "all_of got 0.9, which is not a policy"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_when_it_is_written(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(("name", "value"), [("alpha", "1"), ("min_effect", "-1"), ("baseline", "0"), ("metric", "ks")])
def test_a_template_is_checked_once_it_is_rendered(name: str, value: str) -> None:
    policy = worse_than_baseline(**{name: "{{ params.x }}"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=value):
        dataclasses.replace(policy, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("auroc", "alpha", "drifted"), [(0.92, 0.05, True), (0.92, 0.01, False), (0.925, 0.05, False), (0.94, 0.05, False)]
)
def test_significantly_below(auroc: float, alpha: float, drifted: bool) -> None:
    decision = significantly_below("0.93", str(alpha)).check(evaluation(auroc, 0.005))
    assert (decision.drifted, decision.statistic, decision.threshold) == (drifted, auroc, 0.93)
    assert decision.p_value == pytest.approx(stats.norm.cdf((auroc - 0.93) / 0.005))
    assert decision.compared_with == "the threshold 0.93"


def test_significance_is_said_in_words() -> None:
    policy = significantly_below(0.93)
    chance = "if the true value were 0.93, a value this low would occur by chance with probability"
    assert policy.check(evaluation(0.92, 0.005, auroc_low=0.9102, auroc_high=0.9298)).detail == (
        f"AUC 0.9200 (95 % interval 0.9102 to 0.9298) is significantly below the threshold 0.93: {chance} 0.0228 "
        "(alpha 0.05)."
    )
    assert policy.check(evaluation(0.925, 0.005)).detail.startswith(
        "AUC 0.9250 is below the threshold 0.93, but not significantly: "
    )
    assert policy.check(evaluation(0.95, 0.005)).detail.startswith("AUC 0.9500 is above the threshold 0.93: ")
    assert f"{chance} below 0.0001" in policy.check(evaluation(0.8, 0.005)).detail


@pytest.mark.parametrize("policy", [significantly_below(0.5), worse_than_baseline(), consecutive(1, below(0.5))])
def test_a_missing_measure_cannot_be_judged_by_any_policy(policy: Any) -> None:
    decision = ask(policy, evaluation(None, None, auroc_reason="one class only"), History())
    assert decision.drifted is None
    assert "AUC is missing, so drift cannot be tested: one class only." in decision.detail


def test_significantly_worse_is_above_of_a_loss() -> None:
    given = {"log_loss": 0.45, "log_loss_se": 0.01, "problem_type": "multiclass"}
    decision = significantly_below(0.4, metric="log_loss").check(given)
    assert decision.drifted is True
    assert decision.p_value == pytest.approx(stats.norm.sf(5))
    assert decision.detail.startswith(
        "log_loss 0.4500 is significantly above the threshold 0.4: if the true value were 0.4, a value this high"
    )
    assert significantly_below(0.5, metric="log_loss").check(given).drifted is False


def test_too_few_rows_for_an_error_cannot_be_judged() -> None:
    few = evaluation(
        0.5, None, auroc_reason="there is only one positive row: an interval needs at least two of each class"
    )
    for policy in (significantly_below(0.93), worse_than_baseline()):
        decision = ask(policy, few, History([row(0.93, 1)]))
        assert (decision.drifted, decision.p_value) == (None, None)
        assert decision.detail.startswith("The significance of AUC 0.5000 cannot be tested: there is only one positive")


def test_the_first_five_evaluations_are_the_baseline() -> None:
    days = [row(0.93 + 0.001 * (day % 2), day) for day in range(1, 8)]
    shuffled = random.Random(1).sample(days, len(days))
    decision = worse_than_baseline().check(evaluation(0.92), History(shuffled))
    assert decision.compared_with == "the mean of the first 5 evaluations of census version 1"
    assert decision.threshold == pytest.approx(0.9306)
    assert decision.p_value == pytest.approx(stats.norm.cdf(-0.0106 / (0.004 * math.sqrt(1.2))), rel=1e-9)
    last = worse_than_baseline(2).check(evaluation(0.92), History(shuffled))
    assert last.compared_with == "the mean of the last 2 evaluations of census version 1"
    assert last.threshold == pytest.approx(0.9305)


@pytest.mark.parametrize(
    "unrelated",
    [
        row(0.5, 1, model_version="0"),
        row(0.5, 1, model_name="other"),
        row(0.5, 1, run_id="now"),  # this run's own
        row(None, 1),
        row(0.5, 1, se=None),  # nothing is known of its error
        row(0.5, 1, metrics="no JSON"),
        row(0.93, 2),  # the same predictions again
    ],
)
@pytest.mark.parametrize("policy", [worse_than_baseline(), worse_than_baseline(5)])
def test_what_does_not_belong_to_a_baseline(unrelated: dict[str, Any], policy: Any) -> None:
    days = [row(0.93, 2), row(0.931, 3)]
    expected = policy.check(evaluation(0.92), History(days))
    assert policy.check(evaluation(0.92), History([unrelated, *days])) == expected


def test_a_window_ends_before_this_evaluation() -> None:
    days = [row(0.93, 1), row(0.92, 2), row(0.5, 3)]
    now = evaluation(0.92, session_time=datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.UTC))
    assert worse_than_baseline(1).check(now, History(days)).threshold == 0.92


def test_other_baselines() -> None:
    rows = [
        row(0.95, 1, model_version="9"),
        row(0.94, 2, model_version="10"),
        row(0.96, 3, model_version="9"),
        row(0.90, 4, model_name="census", model_version="1"),
    ]
    rows[:3] = [{**each, "model_name": "best"} for each in rows[:3]]
    found = {
        baseline: worse_than_baseline(baseline).check(evaluation(0.92), History(rows, ("best", "9")))
        for baseline in ("own", "champion", "best/9", "best")
    }
    assert found["own"].threshold == pytest.approx(0.90)
    assert found["champion"].threshold == found["best/9"].threshold == pytest.approx(0.955)
    assert found["best"].threshold == pytest.approx(0.94)  # the version that came last
    assert found["best"].compared_with == "the first evaluation of best version 10"


def test_no_baseline_yet_is_stable_and_says_so() -> None:
    for policy, history, why in [
        (worse_than_baseline(), History(), "census version 1 has no earlier evaluation with a standard error"),
        (worse_than_baseline("champion"), History(), "the champion alias is not assigned to any version"),
        (worse_than_baseline("champion"), History([row(0.9, 1)], ("best", "1")), "best version 1 has no earlier"),
        (worse_than_baseline("best"), History([row(0.9, 1)]), "best has no earlier evaluation"),
    ]:
        decision = policy.check(evaluation(0.1), history)
        assert (decision.drifted, decision.statistic) == (None, 0.1)
        assert f"has no baseline yet: {why}" in decision.detail


def test_a_smallest_effect_that_counts() -> None:
    history = History([row(0.93, day) for day in range(1, 3)])
    small = worse_than_baseline(min_effect=0.01).check(evaluation(0.915), history)
    assert small.drifted is False
    assert small.threshold == pytest.approx(0.92)
    assert "is more than 0.01 below 0.9300, the mean of the first 2 evaluations" in small.detail
    assert "but not significantly: if the true difference were 0.01, a value this low" in small.detail
    assert worse_than_baseline(min_effect=0.01).check(evaluation(0.90), history).drifted is True


def test_a_loss_is_worse_when_it_is_higher() -> None:
    def losses(value: float, day: int) -> dict[str, Any]:
        return {**row(0.9, day), "metrics": json.dumps({"log_loss": value, "log_loss_se": 0.004})}

    history = History([losses(0.30, 1), losses(0.31, 2)])
    mirrored = History([row(-0.30, 1), row(-0.31, 2)])
    for value, drifted in ((0.34, True), (0.31, False), (0.2, False)):
        now = evaluation(0.9, metrics={"log_loss": value, "log_loss_se": 0.004})
        decision = worse_than_baseline(metric="log_loss").check(now, history)
        assert decision.drifted is drifted
        assert decision.p_value == pytest.approx(worse_than_baseline().check(evaluation(-value), mirrored).p_value)
        assert decision.threshold == pytest.approx(0.305)
    assert "is below 0.3050" in decision.detail


def test_a_perfect_auc_has_a_bound_for_an_error() -> None:
    perfect = {"auroc_low": 0.99, "auroc_high": 1.0}
    decision = worse_than_baseline().check(evaluation(0.985), History([row(1.0, 1, 0.0, **perfect)]))
    error = math.hypot(0.004, 0.01 / 1.6448536269514722)
    assert decision.p_value == pytest.approx(stats.norm.cdf(-0.015 / error))
    assert "its standard error is derived from a one-sided bound" in decision.detail
    assert worse_than_baseline().check(evaluation(1.0, 0.0, **perfect), History([row(0.9, 1)])).drifted is False


# -------------------------------------------------------------------------------------------------------- combinations


@dataclasses.dataclass(frozen=True)
class Says:
    """A user's policy, as they were before there was a history."""

    answer: bool | None

    def check(self, evaluation: Mapping[str, Any]) -> Decision:
        return Decision(self.answer, 0.5, 0.6, f"It says {self.answer}.")


@pytest.mark.parametrize("answers", list(itertools.product([True, False, None], repeat=3)))
def test_combinations_follow_sql(answers: tuple[bool | None, ...]) -> None:
    policies = [Says(answer) for answer in answers]
    some, every = any_of(*policies).check(evaluation(0.9)), all_of(*policies).check(evaluation(0.9))
    assert some.drifted is (True if True in answers else None if None in answers else False)
    assert every.drifted is (False if False in answers else None if None in answers else True)
    assert [part.drifted for _, part in some.parts] == [part.drifted for _, part in every.parts] == list(answers)
    for decision in (some, every):
        assert decision.detail == " ".join(f"It says {a}." for a in answers if a is decision.drifted)


def test_combinations_pass_the_history_on() -> None:
    history = History([row(0.93, 1)])
    policy = all_of(below(0.95), any_of(worse_than_baseline(), Says(False)))
    assert policy.check(evaluation(0.9), history).drifted is True
    assert policy.check(evaluation(0.93), history).drifted is False


@pytest.mark.parametrize(
    ("before", "now", "drifted", "held"),
    [
        ([0.8, 0.8], 0.8, True, 3),
        ([0.8, 0.8, 0.8], 0.8, True, 3),
        ([0.95, 0.8], 0.8, False, 2),
        ([0.8, 0.95], 0.8, False, 1),
        ([0.8], 0.8, False, 2),
        ([], 0.8, False, 1),
        ([0.8, 0.8], 0.95, False, None),
        ([0.8, None], 0.8, False, 2),  # what cannot be judged neither counts nor breaks the row
        ([0.8, None, 0.8], 0.8, True, 3),
    ],
)
def test_consecutive(before: list[float | None], now: float, drifted: bool, held: int | None) -> None:
    days = [row(auroc, day) for day, auroc in enumerate(before, 1)]
    others = [row(0.99, day, model_version="2") for day in range(1, 9)]
    decision = consecutive(3, below(0.9)).check(evaluation(now), History([*reversed(days), *others]))
    assert decision.drifted is drifted
    assert (held is None) or decision.detail.endswith(f" Consecutive evaluations with drift: {held} of 3 required.")
    assert decision.parts[0][0] == "below(0.9)"


def test_consecutive_judges_each_by_what_came_before_it() -> None:
    days = [row(0.93, 1), row(0.90, 2), row(0.5, 4)]
    now = datetime.datetime(2026, 11, 3, 7, tzinfo=datetime.UTC)
    policy = consecutive(2, worse_than_baseline(1))
    assert policy.check(evaluation(0.87, session_time=now), History(days)).drifted is True
    assert policy.check(evaluation(0.90, session_time=now), History(days)).drifted is False
