"""Publishing without transactions loses nothing, whatever the order of steps: every order is tried, on a model.

``python -m tests.swap`` prints how many there are, and takes each guard away in turn.
"""

from __future__ import annotations

import datetime as dt

import pytest

from airflow_provider_automl.errors import BusyError
from airflow_provider_automl.warehouse import swap
from tests.swap.model import PREFIX, TARGET, Engine, Make, Search
from tests.swap.sets import FAULTS, PAIRS, SETS


@pytest.fixture(autouse=True)
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for others for ever has as many states as attempts."""
    monkeypatch.setattr(swap, "ATTEMPTS", 4)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("rows", [("o",), None], ids=["replaced", "new"])
@pytest.mark.parametrize("name", SETS)
def test_every_order_leaves_one_whole_version(name: str, rows: tuple[str, ...] | None, fault: str) -> None:
    found = Search(SETS[name](tagged=True), rows=rows, **FAULTS[fault]).run()
    assert not found.faults
    assert found.ends


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PAIRS)
def test_a_catalog_without_comments(name: str, fault: str) -> None:
    found = Search(SETS[name](tagged=False), engine=Engine(tags=False), **FAULTS[fault]).run()
    assert not found.faults


def test_a_search_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by the order of steps that leads there."""
    monkeypatch.setattr(swap, "_is_of", lambda name, version: True)
    search = Search(SETS["rewrite, append"](tagged=True))
    found = search.run()
    assert any("the target has ('o', 'r'); the processes: ('done', 'done')" in fault for fault in found.faults)
    assert search.trace


def test_a_target_that_others_create_meanwhile_is_not_replaced() -> None:
    """They know nothing of the load: it fails, and the rows that it had moved away are kept."""
    new = swap.new_name(PREFIX, TARGET)
    engine = Engine()
    catalog: tuple[tuple[str, object], ...] = ()

    def do(step: object) -> object:
        nonlocal catalog
        if isinstance(step, swap.Names):
            return tuple(name for name, _ in catalog if name.startswith(PREFIX))
        catalog, answer = engine.do(catalog, step)
        if isinstance(step, swap.Rename) and step.name == TARGET:
            catalog, _ = engine.do(catalog, Make(TARGET, ("theirs",), None))
        return answer

    do(Make(TARGET, ("o",), None))
    do(Make(new, ("n",), swap.Tag(new, "", "load", dt.datetime.now(dt.UTC))))
    with pytest.raises(BusyError, match="keep changing t"):
        swap.run(swap.publish(TARGET, new), do)
    swap.run(swap.discard(TARGET, new), do)
    swap.run(swap.recover(TARGET, "load"), do)
    assert {name: table.rows for name, table in catalog} == {TARGET: ("theirs",), swap.old(new): ("o",)}
