"""What comes by forms, connections, the registry and shared directories."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.jobs.checks import check_hyperparameters
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.models.cache import ModelCache
from airflow_provider_automl.operators._base import notebook_source, private_files
from airflow_provider_automl.sql.names import OWN_TABLES
from airflow_provider_automl.tracking.tables import COLUMNS
from airflow_provider_automl.warehouse import open_warehouse
from airflow_provider_automl.warehouse.exchange import Exchange
from tests.unit.test_dags import REPO
from tests.warehouse.conformance import numbers, put
from tests.warehouse.conftest import Connect

PAYLOADS = [
    "x; DROP TABLE t", "x') OR 1=1 --", "(SELECT content FROM read_text('/etc/passwd'))", "x UNION SELECT 1", "a b",
    "x, y", "`x", '"x', "x'y", "../../etc", "x\ny", "x\x00y", "{{ conn.x.password }}{% raw %}", "$(id)", "x" * 2000,
]  # fmt: skip
#: Params of free text: they name columns, classes, people; what is made of them is quoted or compared.
FREE = {
    "target_column",
    "positive_class",
    "mail_to",
    "mail_bcc",
    "user_email",
    "evaluation_conn_id",
    "model_name",
    "alias",
}


def _params() -> list[Any]:
    """Every Param of every example DAG."""
    import importlib.util

    found = []
    for path in sorted((REPO / "dags").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        dag = getattr(module, "dag", None)
        assert dag is not None, path
        found += [pytest.param(name, dag.params.get_param(name), id=f"{path.stem}.{name}") for name in dag.params]
    return found


@pytest.mark.parametrize(("name", "param"), _params())
def test_what_a_form_may_carry(name: str, param: Any) -> None:
    """Names, numbers and sizes take no text of SQL; lines take one line; nothing takes megabytes."""
    from airflow.sdk.exceptions import AirflowException

    taken = []
    for payload in PAYLOADS:
        try:
            taken.append(param.resolve(value=payload))
        except (AirflowException, ValueError):
            continue
    if name in FREE:
        assert not [text for text in taken if "\n" in text or "\0" in text or len(text) > 1000]
    elif name == "row_order":
        assert taken == []
        assert param.resolve(value=["a", "b"]) == ["a", "b"]
    else:
        assert taken == []


@pytest.mark.parametrize(
    "given",
    [
        {"RF": {"ag_args": {"name_suffix": "/../../victim"}}},
        {"RF": {"ag_args": {"name_suffix": ".."}}},
        {"CAT": {"train_dir": "elsewhere", "allow_writing_files": True}},
        {"CAT": {"train_dir": "/elsewhere"}},
        {"CAT": [{}, {"snapshot_file": "x"}]},
        {"GBM": {"forcedsplits_filename": "x.json"}},
        {"GBM": {"ag_args_fit": {"deep": [{"custom": "~/x"}]}}},
        {"GBM": {"callbacks": ["x"]}},
        {1: {"GBM": {"output_model": "x"}}},
        {"XGB": {"a/b": 1}},
        {"TABPFNV2": {"model_path": "x"}},
    ],
)
def test_hyperparameters_name_no_place_and_no_code(given: Any) -> None:
    with pytest.raises(JobInputError, match="sets a file location|a path|AutoGluon does not have"):
        check_hyperparameters(given)


def test_usual_hyperparameters_are_taken() -> None:
    given = {
        "GBM": [
            {"extra_trees": True, "ag_args": {"name_suffix": "XT"}},
            {},
            {"learning_rate": 0.03, "num_leaves": 128},
        ],
        "RF": {"criterion": "gini", "ag_args": {"name_suffix": "Gini", "problem_types": ["binary", "multiclass"]}},
        "CAT": {
            "loss_function": "Logloss:class_weights=1;2",
            "ag_args_ensemble": {"fold_fitting_strategy": "sequential_local"},
        },
    }
    assert check_hyperparameters(given) == given


def test_our_own_tables_are_no_target_of_rows(connect: Connect, tmp_path: Path) -> None:
    assert COLUMNS.keys() == OWN_TABLES
    warehouse = open_warehouse(connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb")))
    for name in OWN_TABLES:
        for table in (name, f"any.{name.upper()}", f'"other"."{name}"', f'w."main"."{name}"'):
            for mode in ("overwrite", "append", "error"):
                with pytest.raises(InputError, match="is reserved for this package's own tables"):
                    put(warehouse, table, numbers(1), tmp_path, mode=mode)
            assert not warehouse.exists(table)


@pytest.mark.parametrize(
    ("connection", "reason"),
    [
        ({"conn_type": "automl", "extra": "no json"}, "is not JSON"),
        ({"conn_type": "automl", "extra": "[1]"}, "is not a JSON object"),
        ({"conn_type": "postgres", "host": "h"}, "is of type 'postgres'"),
        ({"extra": {"warehouse_conn": "x"}}, r"'warehouse_conn' in its extra \(did you mean 'warehouse_conn_id'\?\)"),
        ({"extra": {"Model_Store": "/x"}}, "'Model_Store' in its extra"),
        ({"extra": {"warehouse_conn_id": 5}}, "warehouse_conn_id .* is 5: expected a string"),
        ({"extra": {"model_store": "~/models"}}, "model_store .* is '~/models': expected an absolute path"),
        ({"extra": {"model_store": "models"}}, "expected an absolute path"),
        ({"extra": {"tracking_schema": "a b; DROP"}}, "tracking_schema .* expected a schema name"),
        ({"extra": {"tracking_schema": ["a"]}}, "tracking_schema .*: expected a string"),
        ({"extra": {"lock_timeout": "soon"}}, "lock_timeout"),
        ({"extra": {"path_is_shared": {}}}, "path_is_shared .*: expected true or false"),
    ],
)
def test_a_mistyped_connection_is_not_another_database(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], reason: str
) -> None:
    given = {"conn_type": "automl", **connection}
    if isinstance(given.get("extra"), dict):
        given["extra"] = json.dumps(given["extra"])
    monkeypatch.setenv("AIRFLOW_CONN_AUTOML_DEFAULT", json.dumps(given))
    with pytest.raises(InputError, match=reason):
        _ = AutoMLHook().settings
    reached, message = AutoMLHook().test_connection()
    assert not reached
    assert len(message) <= 500


def test_a_forged_digest_is_no_path(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    cache = ModelCache(tmp_path / "cache", 10**9)
    for digest in ("../victim", str(victim), "", "A" * 64, "0" * 63, "0" * 64 + "/../../victim"):
        with pytest.raises(InputError, match="is not a model digest"), cache.opened(digest, lambda path: None):
            pass
    assert (victim / "file").read_text() == "x"


def test_a_notebook_does_not_come_from_the_web(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1/x.ipynb", "HTTPS://example.com/x.ipynb"):
        with pytest.raises(InputError, match="is a web URL, but would run as code"):
            notebook_source(url, None, tmp_path / "x.ipynb")


def test_files_are_their_users_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with private_files():
            (tmp_path / "d").mkdir()
            (tmp_path / "d" / "f").write_text("x")
        (tmp_path / "e").mkdir()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("d", "d/f", "e")]
    assert modes == [0o700, 0o600, 0o755]


def test_files_stay_private_until_the_last_thread_is_done(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        first, second = private_files(), private_files()
        with ThreadPoolExecutor(2) as pool:  # two tasks in one process, which begin and end in turn
            pool.submit(first.__enter__).result()
            pool.submit(second.__enter__).result()
            pool.submit(first.__exit__, None, None, None).result()
            (tmp_path / "of-the-second").write_text("x")
            pool.submit(second.__exit__, None, None, None).result()
        (tmp_path / "afterwards").write_text("x")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("of-the-second", "afterwards")]
    assert modes == [0o600, 0o644]


def test_a_link_in_shared_staging_is_not_followed(tmp_path: Path) -> None:
    root, victim = tmp_path / "staging", tmp_path / "victim"
    root.mkdir()
    root.chmod(0o1777)
    victim.mkdir()
    victim.chmod(0o755)
    (victim / "file").write_text("x")
    staging = Exchange(root.as_uri())
    with staging.directory("load") as shared:
        name = Path(shared.uri.removeprefix("file://")).parent.name
    (root / name).symlink_to(victim)
    with staging.directory("load") as shared:
        path = Path(shared.uri.removeprefix("file://"))
        assert path.resolve().parent == (root / name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o1777  # the sticky bit of the place is kept
        (tmp_path / "rows").write_text("rows")
        shared.put([tmp_path / "rows"])
        assert stat.S_IMODE((path / "part-00000.parquet").stat().st_mode) == 0o644
        (path / "z.parquet").symlink_to(victim / "file")
        assert [file.read_text() for file in shared.take(tmp_path)] == ["rows"]
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755
    assert [file.name for file in victim.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of another user")
def test_a_directory_of_somebody_else_in_shared_staging_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "staging"
    root.mkdir()
    staging = Exchange(root.as_uri())
    with staging.directory("load") as shared:
        name = Path(shared.uri.removeprefix("file://")).parent.name
    (root / name / "kept").mkdir(parents=True)
    os.chown(root / name, 12345, 12345)

    def kept(path: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.rmtree", kept)  # as for who is not root
        with (
            pytest.raises(InputError, match="owned by another user: remove that directory"),
            staging.directory("load"),
        ):
            pass
