"""That a real engine does the steps of publishing as the one in memory does, whose every order was tried."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_automl.warehouse import swap
from tests.swap.model import TARGET, Engine, Make
from tests.warehouse.conformance import numbers, put


class Swapping:
    """For engines that publish by :mod:`airflow_provider_automl.warehouse.swap`."""

    #: Whether the engine keeps tags.
    tagged: bool = True

    @contextmanager
    def publishing(self, warehouse: Any) -> Iterator[tuple[Any, Any]]:
        """A session, and what does a step beside the table ``s.t`` in it."""
        target = warehouse._qualified("s.t")
        with warehouse._session(write=True) as cursor:

            def do(step: Any) -> Any:
                if isinstance(step, Make):
                    table = warehouse._sibling(target, step.name)
                    load = warehouse._load_of(target, "load")
                    warehouse._create_staging(cursor, target, table, {"id": "BIGINT"}, load)
                    return True
                return warehouse._do(cursor, target, step)

            yield cursor, do

    def test_steps_do_what_the_model_says(self, warehouse: Any, tmp_path: Path) -> None:
        warehouse.create_table("s.other", {"id": "BIGINT"})
        target = warehouse._qualified("s.t")
        one, two = (warehouse._new(target).name for _ in range(2))
        prefix = warehouse._prefix(target)
        engine, catalog = Engine(tags=self.tagged), ()
        with self.publishing(warehouse) as (_, do):
            for step in (
                swap.Exists(TARGET), swap.ReadTag(TARGET), swap.Version(TARGET), swap.Drop(TARGET), swap.Names(),
                swap.Rename(TARGET, swap.old(one)),  # it is not there
                Make(one, (), swap.Tag(one, "", "", None)),
                swap.Exists(one), swap.ReadTag(one), swap.Names(), swap.Exists(TARGET),
                swap.Rename(one, TARGET),
                swap.Exists(one), swap.Exists(TARGET), swap.ReadTag(TARGET), swap.Names(),  # it keeps its tag
                Make(two, (), swap.Tag(two, "", "", None)),
                swap.Rename(two, TARGET),  # it is there
                swap.Exists(two), swap.ReadTag(TARGET), swap.ReadTag(two),
                swap.Rename(TARGET, swap.old(two)), swap.Names(), swap.ReadTag(swap.old(two)), swap.Exists(TARGET),
                swap.Rename(two, TARGET), swap.ReadTag(TARGET), swap.Names(),
                swap.Rename(two, swap.old(one)), swap.ReadTag(two),
                swap.Drop(swap.old(two)), swap.Names(), swap.Exists(swap.old(two)),
                swap.Drop(swap.old(two)),
            ):  # fmt: skip
                found = do(step)
                if isinstance(step, swap.Names):
                    assert sorted(found) == sorted(name for name, _ in catalog if name.startswith(prefix))
                    continue
                catalog, expected = engine.do(catalog, step)
                if isinstance(step, swap.ReadTag):
                    assert getattr(found, "name", None) == getattr(expected, "name", None), step
                elif not isinstance(step, swap.Version) or expected is None:
                    assert found == expected, step

    def test_a_version_is_told_by_its_rows_wherever_it_is_renamed_to(self, warehouse: Any, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        backup = swap.old(warehouse._new(warehouse._qualified("s.t")).name)
        with self.publishing(warehouse) as (_, do):
            first = do(swap.Version(TARGET))
            assert do(swap.Version(TARGET)) == first
            assert do(swap.Rename(TARGET, backup))
            assert do(swap.Version(backup)) == first
            assert do(swap.Version(TARGET)) is None
            assert do(swap.Rename(backup, TARGET))
        put(warehouse, "s.t", numbers(2, 3), tmp_path, mode="append")
        with self.publishing(warehouse) as (_, do):
            assert do(swap.Version(TARGET)) != first

    def test_of_renames_at_once_one_is_done(self, warehouse: Any, tmp_path: Path) -> None:
        put(warehouse, "s.t", numbers(3), tmp_path)
        target = warehouse._qualified("s.t")
        names = [swap.old(warehouse._new(target).name) for _ in range(4)]
        barrier = threading.Barrier(len(names))

        def rename(name: str) -> bool:
            with self.publishing(warehouse) as (_, do):
                barrier.wait(60)
                return bool(do(swap.Rename(TARGET, name)))

        with ThreadPoolExecutor(len(names)) as pool:
            done = list(pool.map(rename, names))
        assert done.count(True) == 1
        with self.publishing(warehouse) as (_, do):
            assert do(swap.Names()) == (names[done.index(True)],)
            assert do(swap.Rename(names[done.index(True)], TARGET))
        assert warehouse.count("s.t") == 3

    @pytest.mark.parametrize(("renames", "rows"), [(0, 3), (1, 1), (2, 1)])
    def test_what_a_killed_load_left_is_finished(self, warehouse: Any, tmp_path: Path, renames: int, rows: int) -> None:
        """From the first rename on its rows are the table's."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        put(warehouse, "s.one", numbers(1), tmp_path)
        target = warehouse._qualified("s.t")
        new = warehouse._new(target)
        with self.publishing(warehouse) as (cursor, do):
            do(Make(new.name, (), None))
            warehouse._run(cursor, "append", table=new, columns=["id"], source=warehouse._qualified("s.one"))
            steps = swap.publish(TARGET, new.name, tagged=self.tagged)
            step, done = next(steps), 0
            while done < renames:
                answer = do(step)
                done += isinstance(step, swap.Rename)
                step = steps.send(answer)
        assert put(warehouse, "s.t", numbers(2, 3), tmp_path, mode="append") == 2
        assert warehouse.count("s.t") == rows + 2
        put(warehouse, "s.t", numbers(4), tmp_path)
        assert warehouse.count("s.t") == 4
        left = {name for _, name in self.tables(warehouse)} - {"t", "one"}
        if self.tagged:  # it may be at work still, if it has not begun to publish
            assert left == ({new.name} if not renames else set())

    def test_rows_that_were_added_meanwhile_stay(self, warehouse: Any, tmp_path: Path) -> None:
        """A table made from another version is not published, whoever finishes its load."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        target = warehouse._qualified("s.t")
        for killed in (False, True):
            with self.publishing(warehouse) as (_, do):
                new = warehouse._new(target, do(swap.Version(TARGET)))
                do(Make(new.name, (), None))
            put(warehouse, "s.t", numbers(1, 9), tmp_path, mode="append")
            before = warehouse.count("s.t")
            with self.publishing(warehouse) as (_, do):
                if killed:
                    assert do(swap.Rename(TARGET, swap.old(new.name)))
                else:
                    with pytest.raises(swap.Changed):
                        swap.run(swap.publish(TARGET, new.name, tagged=self.tagged), do)
                    swap.run(swap.discard(TARGET, new.name), do)
            put(warehouse, "s.t", numbers(1, 10), tmp_path, mode="append")
            assert warehouse.count("s.t") == before + 1

    def test_a_table_is_not_replaced_that_others_have_made(self, warehouse: Any, tmp_path: Path) -> None:
        """One appeared where two renames had left none: nobody's rows are lost."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        target = warehouse._qualified("s.t")
        new = warehouse._new(target)
        with self.publishing(warehouse) as (cursor, do):
            do(Make(new.name, (), None))
            assert do(swap.Rename(TARGET, swap.old(new.name)))
            warehouse._run(cursor, "create_table", table=target, columns={"theirs": "BIGINT"})
        put(warehouse, "s.u", numbers(1), tmp_path)
        with self.publishing(warehouse) as (_, do):
            swap.run(swap.recover(TARGET, "load"), do)
            assert do(swap.Exists(swap.old(new.name)))
        assert list(warehouse.columns("s.t")) == ["theirs"]
        assert warehouse.count(f"s.{swap.old(new.name)}") == 3

    def test_only_what_dead_loads_of_the_table_left_is_dropped(self, warehouse: Any, tmp_path: Path) -> None:
        """A table is ours by its name and its tag, and by its name of this target."""
        put(warehouse, "s.t", numbers(3), tmp_path)
        target, another = warehouse._qualified("s.t"), warehouse._qualified("s.another")
        dead, alive = (warehouse._new(target) for _ in range(2))
        users = [warehouse._new(target).name, swap.old(warehouse._prefix(target) + "0" * 16)]
        other = swap.new_name(warehouse._prefix(target), "another")
        with warehouse._session(write=True) as cursor:
            warehouse._create_staging(cursor, target, dead, {"id": "BIGINT"}, warehouse._load_of(target, "dead"))
            warehouse._create_staging(cursor, target, alive, {"id": "BIGINT"}, warehouse._load_of(target, "alive"))
            staging = warehouse._sibling(another, other)
            warehouse._create_staging(cursor, another, staging, {"id": "BIGINT"}, warehouse._load_of(target, "dead"))
        for name in users:
            warehouse.create_table(f"s.{name}", {"theirs": "BIGINT"})
        put(warehouse, "s.t", numbers(4), tmp_path, key="dead")
        assert warehouse.count("s.t") == 4
        kept = {alive.name, other, *users} | (set() if self.tagged else {dead.name})
        assert {name for _, name in self.tables(warehouse)} == {"t", *kept}
