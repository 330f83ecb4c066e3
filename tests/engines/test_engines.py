"""The servers' cache is whole or not there, and no server outlives the run that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engines import ENGINES, Missing, Server, engine
from tests.engines.cache import check, made
from tests.engines.server import listens, runs
from tests.system.server import REPO

pytestmark = pytest.mark.faults


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOML_ENGINES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_that_ask_make_it_once(cache: Path) -> None:
    calls = []

    def make(directory: Path) -> None:
        calls.append(directory)
        time.sleep(0.3)
        (directory / "it").touch()

    with ThreadPoolExecutor(4) as pool:
        (found,) = {future.result() for future in [pool.submit(made, "x", make, "1") for _ in range(4)]}
    assert len(calls) == 1
    assert [path.name for path in found.iterdir()] == ["it"]
    assert made("x", make, "2") != found


@pytest.mark.usefixtures("cache")
def test_what_was_cut_off_is_made_again() -> None:
    code = (
        "import os, signal; from tests.engines.cache import made\n"
        "def make(directory):\n"
        "    (directory / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "made('x', make, '1')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO).returncode == -signal.SIGKILL
    found = made("x", lambda directory: (directory / "whole").touch(), "1")
    assert [path.name for path in found.iterdir()] == ["whole"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "archive"
    file.write_text("not what was meant")
    with pytest.raises(RuntimeError, match="not what was meant"):
        check(file, "0" * 64)


@pytest.mark.usefixtures("cache")
def test_without_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.engines.trino.jdk", lambda release: tmp_path)
    with pytest.raises(Missing, match="apt install maven"):
        ENGINES["trino"].install()


@pytest.mark.parametrize("name", ["postgres", "s3"])
class TestServers:
    """With the two that are quick to start; all are started by the same lines."""

    @pytest.fixture(autouse=True)
    def available(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AUTOML_ENGINES_DIR", raising=False)
        try:
            ENGINES[name].install()
        except Missing as missing:
            pytest.skip(str(missing))

    def test_only_logs_are_left(self, name: str, tmp_path: Path) -> None:
        with engine(name, home=tmp_path) as facts:
            assert listens(facts["port"])
        assert not listens(facts["port"])
        assert [path.name for path in tmp_path.iterdir()] == [f"{name}.log"]

    def test_comes_back_where_it_was(self, name: str, tmp_path: Path) -> None:
        server: Server = ENGINES[name](tmp_path)
        port = server.start()["port"]
        try:
            server.kill()
            assert not listens(port)
            assert server.start()["port"] == port
            assert listens(port)
        finally:
            server.stop()

    @pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
    def test_dies_with_a_run_that_is_killed(self, name: str, tmp_path: Path) -> None:
        code = (
            "import json, sys, time; from pathlib import Path; from tests.engines import engine\n"
            "with engine(sys.argv[1], home=Path(sys.argv[2])) as facts:\n"
            "    print(*(f'{pid}:{born}' for pid, born in facts['processes']), flush=True)\n"
            "    time.sleep(600)"
        )
        run = subprocess.Popen(
            [sys.executable, "-c", code, name, tmp_path], cwd=REPO, stdout=subprocess.PIPE, text=True
        )
        assert run.stdout
        processes = [entry.split(":") for entry in run.stdout.readline().split()]
        assert processes
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        deadline = time.monotonic() + 60
        while any(runs(int(pid), born) for pid, born in processes):
            assert time.monotonic() < deadline
            time.sleep(0.1)
