"""Which process of a run by several (pytest-xdist) runs which tests, and in which order.

Tests are run by one process if they share something that only one may have at a time: by default the fixtures of a
file, or, of those that ask for Trino, Hive or Spark, the whole server. A mark ``shares("trino/files")`` says what it is
instead. What takes longest is begun first, so that all processes end at about the same time.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

#: Servers whose tests find no other one's tables there, unless a mark says more precisely which part of it they use.
_WHOLE = ("trino", "hive", "spark")
#: Seconds that a scope takes, where that is more than a minute: see docs/testing.md for how they are measured.
SECONDS: dict[str, int] = {
    "metastore: census": 640,
    "spark": 565,
    "airflow on DuckDB": 560,
    "hive": 400,
    "trino files": 230,
    "faults on trino": 190,
    "tests/system/test_compose.py": 185,
    "trino memory": 185,
    "tests/warehouse/test_trino_faults.py": 180,
    "faults on hive": 170,
    "trino iceberg": 170,
    "faults on spark": 135,
    "tests/warehouse/test_postgres.py": 118,
    "a Hive that dies": 115,
    "tests/unit/test_reports.py": 110,
    "tests/operators/test_operators_run.py": 110,
    "tests/warehouse/test_duckdb.py": 105,
    "tests/operators/test_bad_input.py": 90,
    "a Hive with grants": 84,
    "tests/unit/test_promote.py": 80,
    "Trino lake: census": 72,
    "tests/operators/test_models_run.py": 70,
    "tests/faults/test_models.py": 66,
}
_LONG = 60


def scope_of(item: pytest.Item) -> str:
    """What a test has to itself, with others of that name: they are run by one process."""
    marks = list(item.iter_markers_with_node("shares"))  # of a class: those that it inherits first
    if nearest := [mark for node, mark in marks if node is marks[0][0]]:
        return str(nearest[-1].args[0])
    asked = {name.removesuffix("_server") for name in getattr(item, "fixturenames", ()) if name.endswith("_server")}
    return next((name for name in _WHOLE if name in asked), item.nodeid.partition("::")[0])


def longest_first(items: list[pytest.Item]) -> None:
    """Put tests in the order in which their scopes are to be begun; those of a scope stay in theirs."""
    scopes = {item: scope_of(item) for item in items}
    sizes = Counter(scopes.values())
    items.sort(key=lambda item: (-SECONDS.get(scopes[item], 0), -sizes[scopes[item]], scopes[item]))


class ByScope(LoadScopeScheduling):
    """Whoever has nothing left to do gets the next scope.

    :param scopes: of each test, by its node id; filled when the processes have collected.
    """

    def __init__(self, config: pytest.Config, log: Any, scopes: Mapping[str, str]) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # they are in order
        self._scopes = scopes

    def _split_scope(self, nodeid: str) -> str:
        return self._scopes[nodeid]

    def _reschedule(self, node: Any) -> None:
        """A process runs a test only when it knows the next one; no more than these two are its own."""
        if node.shutting_down:
            return
        if not self.workqueue:
            node.shutdown()
        elif self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)

    def _assign_work_unit(self, node: Any) -> None:
        """What waits for a single long test is the shortest scope that is left."""
        before = [scope for scope, tests in self.assigned_work[node].items() if not all(tests.values())]
        if any(SECONDS.get(scope, 0) > _LONG and len(self.assigned_work[node][scope]) == 1 for scope in before):
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
