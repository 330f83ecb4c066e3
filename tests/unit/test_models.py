"""The model store and the registry: files in a local directory and on a real S3 server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_automl.errors import BusyError, InputError
from airflow_provider_automl.hooks.automl import AutoMLHook
from airflow_provider_automl.jobs.model_files import write_manifest
from airflow_provider_automl.models.aliases import Aliases
from airflow_provider_automl.models.cache import ModelCache, check_files
from airflow_provider_automl.models.names import check_model_name
from airflow_provider_automl.models.storage import check_store, local_path
from airflow_provider_automl.models.store import ModelStore
from airflow_provider_automl.tracking.tables import MODELS
from tests.engines import Facts, engine
from tests.faults.models import made, on_s3


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.engine)])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelStore]:
    """The files in a local directory, or on an S3 server; the registry in DuckDB."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    if request.param == "s3":
        facts: Facts = request.getfixturevalue("s3_server")
        on_s3(facts, monkeypatch.setenv, f"models-{uuid.uuid4().hex}")
    hook = AutoMLHook()
    with hook.warehouse._connect(read_only=False, directory=None):  # opening a DuckDB file is half of a short session
        yield hook.models


def save(
    store: ModelStore, tmp_path: Path, name: str, version: str, *, register: bool = True, shared: str | None = None
) -> str:
    """A version whose model is one small file, with a manifest that is right."""
    files = tmp_path / f"work-{uuid.uuid4().hex}"
    digest = made(files, version)
    uri = store.save(files, name, version)
    if register:
        store.register(
            model_name=name,
            model_version=version,
            model_uri=uri,
            model_digest=digest,
            shared_model=shared,
            dag_id="d",
            run_id="r",
        )
    return uri


def test_a_version_exists_when_its_row_does(store: ModelStore, tmp_path: Path) -> None:
    save(store, tmp_path, "census model é%20", "20261124T070000-abc-0", register=False)
    with pytest.raises(InputError, match="there are no models yet; train one first"):
        store.find(model_name="census model é%20")
    save(store, tmp_path, "census model é%20", "20261124T070000-abc-0")
    row = store.find(model_name="census model é%20")
    found = store.fetch(row, tmp_path)
    assert found is not None
    assert (found / "predictor" / "model.pkl").read_text() == "20261124T070000-abc-0"
    assert store.training(row) == {"score_val": 0.9}
    assert store.file(row, "training.json").stat().st_size == 18
    store.add_report(row, "key-0", [found / "manifest.json"])
    assert store.file(row, "predictions/key-0/manifest.json").read_bytes() == (found / "manifest.json").read_bytes()


def test_no_version_given_means_the_newest(store: ModelStore, tmp_path: Path) -> None:
    for version in ("b-0", "c-0", "a-0"):
        save(store, tmp_path, "m", version)
    assert store.find(model_name="m")["model_version"] == "a-0"
    assert store.find(model_name="m", model_version="b-0")["model_version"] == "b-0"
    with pytest.raises(InputError, match="Model 'm' has no version 'x': its newest versions are b-0, c-0, a-0"):
        store.find(model_name="m", model_version="x")
    save(store, tmp_path, "m2", "d-0")
    assert store.find(model_name="m*")["model_name"] == "m2"
    with pytest.raises(InputError, match="No model 'n' in .*: available: m, m2"):
        store.find(model_name="n")


def test_a_shared_version_is_found_by_its_uuid_alone(store: ModelStore, tmp_path: Path) -> None:
    save(store, tmp_path, "m", "a-0", shared="b4a568da-e6f3-4057-b694-e2e19bf0e924")
    assert store.find(shared_model="b4a568da-e6f3-4057-b694-e2e19bf0e924")["model_version"] == "a-0"
    with pytest.raises(InputError, match="No model is shared under 'x'"):
        store.find(shared_model="x")


def test_leftovers_of_this_task_instance_go_and_nothing_else(store: ModelStore, tmp_path: Path) -> None:
    save(store, tmp_path, "m", "time-mine-0", register=False)
    save(store, tmp_path, "m", "time-other-0", register=False)
    save(store, tmp_path, "m", "time-mine-1")
    save(store, tmp_path, "m", "time-mine-2")
    base = place(store, "m")
    if local_path(store.base) is not None:
        (base / ".time-mine-3.partial").mkdir()
    store.remove_leftovers("m", "time-mine-4")
    assert sorted(path.name for path in base.iterdir()) == ["time-mine-1", "time-mine-2", "time-other-0"]


def place(store: ModelStore, *parts: str) -> Any:
    """A directory of the store, as a path."""
    uri = store._join(*parts)
    local = local_path(uri)
    if local is not None:
        return local
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(uri)


# ---------------------------------------------------------------------------------------------------- aliases


def versions(store: ModelStore, tmp_path: Path, *names: str) -> list[dict[str, Any]]:
    for name in names:
        save(store, tmp_path, "m", name)
    return [store.find(model_name="m", model_version=name) for name in names]


def test_an_alias_has_a_history(store: ModelStore, tmp_path: Path) -> None:
    a, b, c = versions(store, tmp_path, "a-0", "b-0", "c-0")
    with pytest.raises(InputError, match=r"No alias 'champion' in .*; available: none yet"):
        store.find(alias="champion")
    store.set_alias("champion", a, assigned_by="ann", reason="the first")
    store.set_alias("champion", b, assigned_by="bob", reason="better")
    store.set_alias("champion", c, assigned_by="bob", reason="better still")
    assert store.find(alias="champion")["model_version"] == "c-0"
    history = store.alias_history("champion")
    assert [(row["model_version"], row["assigned_by"], row["reason"]) for row in history] == [
        ("a-0", "ann", "the first"), ("b-0", "bob", "better"), ("c-0", "bob", "better still"),
    ]  # fmt: skip
    store.rollback_alias("champion", assigned_by="ann")
    assert store.find(alias="champion")["model_version"] == "b-0"  # the one before, not the first
    assert [row["model_version"] for row in store.alias_history("champion")] == ["a-0", "b-0", "c-0", "b-0"]
    assert store.describe(b)["aliases"] == ["champion"]


def test_an_alias_of_what_is_not_there(store: ModelStore, tmp_path: Path) -> None:
    (a,) = versions(store, tmp_path, "a-0")
    with pytest.raises(InputError, match="Model 'm' has no version 'x'"):
        store.set_alias("champion", {**a, "model_version": "x"}, assigned_by=None)
    with pytest.raises(InputError, match="alias is ''"):
        store.set_alias("", a, assigned_by=None)
    with pytest.raises(InputError, match=r"alias '\.\./x' contains"):
        store.set_alias("../x", a, assigned_by=None)
    store.set_alias("champion", a, assigned_by=None)
    with pytest.raises(InputError, match="has no earlier version to roll back to"):
        store.rollback_alias("champion", assigned_by=None)


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_changes_of_an_alias_at_once_have_one_order_and_none_is_lost(store: ModelStore, tmp_path: Path) -> None:
    rows = versions(store, tmp_path, *(f"v{i}-0" for i in range(8)))
    barrier = threading.Barrier(8)

    def change(row: dict[str, Any]) -> None:
        own = AutoMLHook().models
        barrier.wait()
        own.set_alias("champion", row, assigned_by=row["model_version"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, rows))
    history = store.alias_history("champion")
    assert sorted(row["model_version"] for row in history) == [f"v{i}-0" for i in range(8)]
    assert all(AutoMLHook().models.alias_history("champion") == history for _ in range(3))
    assert store.find(alias="champion")["model_version"] == history[-1]["model_version"]
    assert len({row["record_id"] for row in history}) == 8


# ---------------------------------------------------------------------------------------------------- sharing, deleting


def test_a_share_is_given_and_revoked(store: ModelStore, tmp_path: Path) -> None:
    (a,) = versions(store, tmp_path, "a-0")
    share = store.share(a)
    assert store.share(a) == share
    assert store.find(shared_model=share)["model_version"] == "a-0"
    store.unshare(a)
    with pytest.raises(InputError, match="No model is shared under"):
        store.find(shared_model=share)
    assert store.share(a) != share


def test_a_version_is_deleted_and_had_back(store: ModelStore, tmp_path: Path) -> None:
    a, _ = versions(store, tmp_path, "a-0", "b-0")
    store.delete(a)
    assert [row["model_version"] for row in store.versions("m")] == ["b-0"]
    with pytest.raises(InputError, match="Model 'm' has no version 'a-0'"):
        store.find(model_name="m", model_version="a-0")
    assert store.fetch(a, tmp_path / "used") is not None  # a run that had found it before goes on
    store.undelete("m", "a-0")
    assert store.find(model_name="m", model_version="a-0")["model_digest"] == a["model_digest"]
    with pytest.raises(InputError, match="has no deleted version 'a-0'"):
        store.undelete("m", "a-0")


def test_the_files_of_a_deleted_version_go_after_a_time_of_grace(store: ModelStore, tmp_path: Path) -> None:
    a, _ = versions(store, tmp_path, "a-0", "b-0")
    store.delete(a)
    assert store.purge() == 0
    assert store.purge(timedelta(0)) == 1
    assert [path.name for path in place(store, "m").iterdir()] == ["b-0"]
    assert store.purge(timedelta(0)) == 0
    with pytest.raises(InputError, match="The files of model 'm' version 'a-0' are missing"):
        store.undelete("m", "a-0")


def test_what_is_used_is_not_deleted(store: ModelStore, tmp_path: Path) -> None:
    a, b = versions(store, tmp_path, "a-0", "b-0")
    store.set_alias("champion", a, assigned_by=None)
    with pytest.raises(InputError, match="cannot be deleted: the alias 'champion' points to it"):
        store.delete(a)
    store.set_alias("champion", b, assigned_by=None)
    store.share(a)
    with pytest.raises(InputError, match="cannot be deleted: it is shared"):
        store.delete(a)
    store.unshare(a)
    store.delete(a)
    with pytest.raises(InputError, match="Model 'm' has no version 'a-0'"):  # the history alone does not hold it
        store.rollback_alias("champion", assigned_by=None)


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_an_alias_that_comes_while_its_version_is_deleted(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the two, the one that ends last gives way."""
    a, b = versions(store, tmp_path, "a-0", "b-0")
    refuse, append = ModelStore._refuse_used, Aliases.append

    def then_pointed_at(self: ModelStore, row: dict[str, Any]) -> None:
        refuse(self, row)
        monkeypatch.setattr(ModelStore, "_refuse_used", refuse)
        store.set_alias("champion", a, assigned_by="ann")

    monkeypatch.setattr(ModelStore, "_refuse_used", then_pointed_at)
    with pytest.raises(InputError, match="cannot be deleted: the alias 'champion' points to it"):
        store.delete(a)
    assert store.find(alias="champion")["model_version"] == "a-0"

    def after_it_was_deleted(self: Aliases, *arguments: Any, **more: Any) -> dict[str, Any]:
        monkeypatch.setattr(Aliases, "append", append)
        store.delete(b)
        return append(self, *arguments, **more)

    monkeypatch.setattr(Aliases, "append", after_it_was_deleted)
    with pytest.raises(InputError, match="'m' version 'b-0' was deleted concurrently"):
        store.set_alias("champion", b, assigned_by="bob")
    assert store.find(alias="champion")["model_version"] == "a-0"


# ---------------------------------------------------------------------------------------------------- integrity

HARMFUL = """
import os, pickle, sys
class Harm:
    def __reduce__(self):
        return (os.system, (f"touch {sys.argv[2]}",))
with open(sys.argv[1], "wb") as file:
    pickle.dump(Harm(), file)
"""


def harm(model: Path, touched: Path) -> None:
    """Put a pickle in the model's place that would create a file when it is loaded."""
    target = model / "predictor" / "model.pkl"
    subprocess.run([sys.executable, "-c", HARMFUL, str(target), str(touched)], check=True)


def upload(store: ModelStore, model: Path, version: str) -> None:
    there = place(store, "m", version, "model")
    if isinstance(there, Path):
        if model != there:
            shutil.copytree(model, there, dirs_exist_ok=True)
        return
    for path in model.rglob("*"):
        if path.is_file():
            there.fs.put_file(str(path), f"{there.path}/{path.relative_to(model).as_posix()}")


@pytest.mark.parametrize("with_manifest", [False, True])
def test_a_tampered_model_is_refused(store: ModelStore, tmp_path: Path, with_manifest: bool) -> None:
    """Alone, or with a manifest that fits it: the digest that counts is the registry's."""
    (a,) = versions(store, tmp_path, "a-0")
    fetched = store.fetch(a, tmp_path / "fetched")
    assert fetched is not None
    tampered = Path(shutil.copytree(fetched, tmp_path / "tampered"))
    harm(tampered, tmp_path / "touched")
    if with_manifest:
        (tampered / "manifest.json").unlink()
        write_manifest(tampered, {"autogluon_version": "1", "python_version": "3"})
    upload(store, tampered, "a-0")
    reason = "is not the registered one" if with_manifest else "was changed"
    with pytest.raises(InputError, match=reason):
        store.download(a, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    if with_manifest:
        with pytest.raises(InputError, match=reason):
            store.manifest(a)
    assert not (tmp_path / "touched").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".mine")) == []


@pytest.mark.parametrize("path", ["../b-0/training.json", "report/../../x", "/etc/passwd", "report//x", "report/.", ""])
def test_a_path_does_not_lead_out_of_a_version(store: ModelStore, tmp_path: Path, path: str) -> None:
    (a,) = versions(store, tmp_path, "a-0")
    with pytest.raises(InputError, match="is not a path within a model version"):
        store.file(a, path)


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_a_link_does_not_lead_out_of_the_store(store: ModelStore, tmp_path: Path) -> None:
    (a,) = versions(store, tmp_path, "a-0")
    (tmp_path / "secret").write_text("x")
    (place(store, "m", "a-0") / "report").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link to a path outside the model store"):
        store.file(a, "report/secret")


def test_a_row_that_names_another_place_is_not_believed(store: ModelStore, tmp_path: Path) -> None:
    """Whoever can write a row cannot have any file of this machine shown."""
    (a,) = versions(store, tmp_path, "a-0")
    for uri in ((tmp_path / "m" / "a-0").as_uri(), f"{a['model_uri']}/..", "s3://elsewhere/m/a-0"):
        with pytest.raises(InputError, match="is not its location in the model store"):
            store.file({**a, "model_uri": uri}, "training.json")


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [(None, "are missing at"), ("", "is not the registered one"), ('{"format": 1', "is not the registered one")],
)
def test_manifests_that_are_none(store: ModelStore, tmp_path: Path, manifest: str | None, reason: str) -> None:
    (a,) = versions(store, tmp_path, "a-0")
    file = place(store, "m", "a-0", "model") / "manifest.json"
    if manifest is None:
        file.unlink()
    else:
        file.write_text(manifest)
    with pytest.raises(InputError, match=reason):
        store.manifest(a)


def test_a_manifest_of_a_newer_format(store: ModelStore, tmp_path: Path) -> None:
    import hashlib

    (a,) = versions(store, tmp_path, "a-0")
    text = json.dumps({"format": 99, "files": {}})
    (place(store, "m", "a-0", "model") / "manifest.json").write_text(text)
    changed = {**a, "model_digest": hashlib.sha256(text.encode()).hexdigest()}
    with pytest.raises(
        InputError, match="has format 99, but this release reads format 1: upgrade airflow-provider-automl"
    ):
        store.manifest(changed)


# ---------------------------------------------------------------------------------------------------- the cache


def fill(text: str, calls: list[str]) -> Callable[[Path], None]:
    def download(directory: Path) -> None:
        calls.append(text)
        write_model(directory, text)

    return download


def write_model(directory: Path, text: str) -> str:
    (directory / "predictor").mkdir(parents=True)
    (directory / "predictor" / "model.pkl").write_text(text)
    return write_manifest(directory, {})


def digest_of(text: str, tmp_path: Path) -> str:
    return write_model(tmp_path / uuid.uuid4().hex, text)


def test_a_model_is_downloaded_once_and_again_when_it_was_changed(tmp_path: Path) -> None:
    cache, calls = ModelCache(tmp_path / "cache", 2**30), []  # type: tuple[ModelCache, list[str]]
    digest = digest_of("a", tmp_path)
    for _ in range(2):
        with cache.opened(digest, fill("a", calls)) as kept:
            assert (kept / "predictor" / "model.pkl").read_text() == "a"
    assert calls == ["a"]
    harm(kept, tmp_path / "touched")
    with cache.opened(digest, fill("a", calls)) as kept:
        assert (kept / "predictor" / "model.pkl").read_text() == "a"
    assert calls == ["a", "a"]
    with pytest.raises(InputError, match="is not the registered one"), cache.opened("f" * 64, fill("a", calls)):
        pass
    assert sorted(path.name for path in cache.directory.iterdir() if path.is_dir()) == [digest]


def test_the_cache_is_bounded_and_keeps_what_is_used(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", 3000)
    calls: list[str] = []
    texts = [letter * 1000 for letter in "abcd"]
    digests = [digest_of(text, tmp_path) for text in texts]
    with cache.opened(digests[0], fill(texts[0], calls)) as first:
        for text, digest in zip(texts[1:], digests[1:], strict=True):
            with cache.opened(digest, fill(text, calls)) as kept:
                assert kept.is_dir()
            assert first.is_dir()
    kept_now = {path.name for path in cache.directory.iterdir() if path.is_dir()}
    assert digests[0] in kept_now
    assert digests[3] in kept_now
    assert digests[1] not in kept_now


def test_many_processes_download_a_model_once(tmp_path: Path) -> None:
    cache, calls = ModelCache(tmp_path / "cache", 2**30), []  # type: tuple[ModelCache, list[str]]
    digest = digest_of("a", tmp_path)

    def use(_: int) -> bool:
        with cache.opened(digest, fill("a", calls)) as kept:
            return (kept / "manifest.json").exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))
    assert calls == ["a"]


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_model_of_an_object_store_is_kept_on_the_worker(store: ModelStore, tmp_path: Path) -> None:
    (a,) = versions(store, tmp_path, "a-0")
    with store.opened(a, tmp_path / "unused") as model:
        assert (model / "predictor" / "model.pkl").read_text() == "a-0"
        assert store.cache is not None
        assert model == store.cache.directory / a["model_digest"]
    assert not (tmp_path / "unused").exists()
    place(store, "m", "a-0").rmdir(recursive=True)
    with store.opened(a, tmp_path / "unused") as again:
        assert again == model


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_what_is_checked_is_what_is_loaded(store: ModelStore, tmp_path: Path) -> None:
    """Who writes to the store meanwhile changes nothing of what is used."""
    (a,) = versions(store, tmp_path, "a-0")
    (tmp_path / "work").mkdir()
    with store.opened(a, tmp_path / "work") as model:
        assert model.is_relative_to(tmp_path / "work")
        stored = place(store, "m", "a-0") / "model" / "predictor" / "model.pkl"
        stored.write_text("harm")
        check_files(model, a["model_digest"])
        assert (model / "predictor" / "model.pkl").read_text() == "a-0"


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_listing_reads_the_registry_once(store: ModelStore, tmp_path: Path) -> None:
    versions(store, tmp_path, "a-0", "b-0")
    save(store, tmp_path, "n", "c-0")
    assert [row["model_version"] for row in store.versions()] == ["a-0", "b-0", "c-0"]
    assert store.tracking.name(MODELS) == "automl_test.automl_models"


@pytest.mark.parametrize("name", ["", None, "a/b", "a\\b", "..", "a..b", "a\nb", "a\0", " a", "a.", "a*", "é" * 101])
def test_names_that_are_no_directories(name: str | None) -> None:
    with pytest.raises(InputError, match="model_name"):
        check_model_name(name)


@pytest.mark.parametrize("name", ["gluon_model_161722236", "a b", "v1.2-x", "модель"])
def test_names_that_are(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_store_that_is_down(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry may help; and who asks is told which store it is."""
    (a,) = versions(store, tmp_path, "a-0")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        config = {"connect_timeout": 1, "retries": {"max_attempts": 1}}
        keys = {
            "conn_type": "aws", "login": "x", "password": "y",
            "extra": {"endpoint_url": f"http://127.0.0.1:{nobody.getsockname()[1]}", "region_name": "us-east-1",
                      "config_kwargs": config},
        }  # fmt: skip
        monkeypatch.setenv("AIRFLOW_CONN_DOWN_KEYS", json.dumps(keys))
        base = store.base.replace("models_keys@", "down_keys@")
        down = ModelStore(base, store.tracking)
        row = {**a, "model_uri": a["model_uri"].replace("models_keys@", "down_keys@")}
        for call in (
            lambda: down.manifest(row),
            lambda: down.fetch(row, tmp_path / "down"),
            lambda: down.save(tmp_path, "m", "b-0"),
            lambda: check_store(base),
        ):
            with pytest.raises(BusyError, match=r"The model store s3://down_keys@.* is unreachable: "):
                call()


def test_a_store_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_server: Facts) -> None:
    """A server of its own that checks its users' rights: one may only read, another may do nothing."""
    import boto3

    on_s3(s3_server, monkeypatch.setenv, "unused")  # where S3 is required, a server that cannot be had is a failure
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOML_ENGINES_DIR", raising=False)
    # What comes before the check of rights: the bucket, and of each user name, policy and key.
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", str(1 + 3 * 3))
    with engine("s3", home=tmp_path / "server") as facts:
        iam = boto3.client(
            "iam", endpoint_url=facts["endpoint"], region_name=facts["region"], aws_access_key_id="x",
            aws_secret_access_key="y",
        )  # fmt: skip
        stores = {}
        for user, actions in (("owner", ["s3:*"]), ("reader", ["s3:Get*", "s3:List*"]), ("outsider", ["sqs:*"])):
            iam.create_user(UserName=user)
            allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=policy)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            own = {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}
            on_s3({**facts, **own}, monkeypatch.setenv, "models")
            keys = f"{user.upper()}_KEYS"
            monkeypatch.setenv(f"AIRFLOW_CONN_{keys}", os.environ["AIRFLOW_CONN_MODELS_KEYS"])
            stores[user] = ModelStore(f"s3://{keys.lower()}@{facts['bucket']}/models", AutoMLHook().models.tracking)
        (row,) = versions(stores["owner"], tmp_path, "a-0")

        def seen_by(user: str) -> tuple[ModelStore, dict[str, Any]]:
            return stores[user], {**row, "model_uri": row["model_uri"].replace("owner_keys", f"{user}_keys")}

        reader, its_row = seen_by("reader")
        found = reader.fetch(its_row, tmp_path / "read")
        assert found is not None
        assert (found / "predictor" / "model.pkl").read_text() == "a-0"
        outsider, not_its_row = seen_by("outsider")
        made(tmp_path / "more", "b-0")
        for call in (
            lambda: reader.save(tmp_path / "more", "m", "b-0"),
            lambda: reader.add_report(its_row, "key", [found / "manifest.json"]),
            lambda: check_store(reader.base),
            lambda: outsider.manifest(not_its_row),
            lambda: outsider.fetch(not_its_row, tmp_path / "out"),
            lambda: check_store(outsider.base),
        ):
            with pytest.raises(
                InputError, match=r"The model store s3://\w+_keys@.* denied access: .*Grant its connection"
            ):
                call()
        assert reader.fetch(its_row, tmp_path / "again") is not None
