"""Real jobs, killed in mid-fit in every way: nothing that they started is left, and the error says what happened.

The interpreter that runs the jobs is an environment of its own, into which a fault is injected: on its start a job's
process leaves a grandchild that has called setsid() and whose parent is dead.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_automl.errors import InputError, JobError
from airflow_provider_automl.jobs import processes
from airflow_provider_automl.launchers.process import ProcessLauncher

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="limits and descendants need Linux"),
]

_FAULTS = """
import os, subprocess, sys, threading, time
if "--work" in sys.orig_argv:
    escape = "import os, subprocess, sys; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    subprocess.run([sys.executable, "-I", "-S", "-c", escape])
    if os.environ.get("TEST_HOG"):
        def hog():
            model = os.environ["TEST_HOG"]
            while not os.path.exists(model):
                time.sleep(0.05)
            time.sleep(1)
            subprocess.run([sys.executable, "-I", "-S", "-c", "import time; b = b'x' * (9 << 28); time.sleep(600)"])
        threading.Thread(target=hog, daemon=True).start()
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """An interpreter with this one's packages, whose jobs are faulty as said above."""
    directory = tmp_path_factory.mktemp("faulty") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    packages = next(directory.glob("lib/python*/site-packages"))
    (packages / "test_faults.py").write_text(_FAULTS)
    (packages / "test.pth").write_text(f"{sysconfig.get_path('purelib')}\nimport test_faults\n")
    return str(directory / "bin" / "python")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    x = np.arange(1000.0)
    pq.write_table(pa.table({"x": x, "y": np.where(x % 7 > 3, "a", "b")}), directory / "part-00000.parquet")
    return directory


@pytest.fixture
def mark(monkeypatch) -> Iterator[str]:
    """In the environment of every process of the test."""
    mark = f"test-{os.urandom(8).hex()}"
    monkeypatch.setenv("TEST_MARK", mark)
    yield mark
    for pid in marked(mark):
        processes.send(pid, signal.SIGKILL)


def marked(mark: str) -> set[int]:
    """Living processes of the test but this one."""
    found = set()
    for pid in processes.parents():
        try:
            if f"TEST_MARK={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
        except OSError:
            continue
    return found - {os.getpid()}


def gone(mark: str, seconds: float = 10) -> bool:
    return wait_until(lambda: not marked(mark), seconds)


def wait_until(true: Callable[[], Any], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def endless(data: Path, directory: Path) -> dict[str, Any]:
    """A training that would go on for days."""
    return {
        "kind": "train", "input": str(data), "model_dir": str(directory / "model"), "target_column": "y",
        "problem_type": None, "positive_class": None, "eval_metric": "log_loss", "presets": None,
        "hyperparameters": {"GBM": {"num_boost_round": 10**8, "ag.early_stop": 10**8}}, "ignore_columns": None,
        "time_limit": None, "fi_time_limit": None, "oversampling_threshold": 0.0, "proba_calibration": False,
        "sample_weight": None, "random_seed": 0, "hide_table_contents": False, "export_leaderboard": False,
        "export_feature_importance": False, "report": False, "model_name": "m", "model_version": "v", "title": "m v",
    }  # fmt: skip


class Running:
    """A job that runs in a thread, its lines kept."""

    def __init__(self, launcher: ProcessLauncher, job: dict[str, Any], directory: Path) -> None:
        self.lines: list[str] = []
        self.error: BaseException | None = None
        self._launcher = launcher
        launcher.log = self.lines.append
        self._thread = threading.Thread(target=self._run, args=(job, directory))
        self._thread.start()

    def _run(self, job: dict[str, Any], directory: Path) -> None:
        try:
            self._launcher.run(job, directory)
        except BaseException as error:
            self.error = error

    def in_mid_fit(self) -> None:
        assert wait_until(lambda: any("Fitting model: LightGBM" in line for line in list(self.lines)), 90), self.lines
        time.sleep(0.5)

    def ended(self, seconds: float) -> JobError:
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        assert isinstance(self.error, JobError)
        return self.error


def supervisor_of(mark: str) -> int:
    return next(pid for pid, parent in processes.parents().items() if pid in marked(mark) and parent == os.getpid())


def worker_of(mark: str) -> int:
    return next(pid for pid in marked(mark) if b"--work" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))


def test_the_job_is_killed(python, data, mark, tmp_path):
    running = Running(ProcessLauncher(python), endless(data, tmp_path), tmp_path / "run")
    running.in_mid_fit()
    os.kill(worker_of(mark), signal.SIGKILL)
    error = running.ended(10)
    assert gone(mark, 1)
    assert error.reason == "killed"
    assert str(error).startswith("The job was killed by SIGKILL while fitting LightGBM")
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_the_supervisor_is_killed(python, data, mark, tmp_path):
    running = Running(ProcessLauncher(python), endless(data, tmp_path), tmp_path / "run")
    running.in_mid_fit()
    os.kill(supervisor_of(mark), signal.SIGKILL)
    error = running.ended(10)
    assert gone(mark, 1)
    assert error.reason == "killed"
    assert "supervisor was terminated by SIGKILL" in str(error)


def test_the_launching_process_is_killed(python, data, mark, tmp_path):
    program = (
        "import json, pathlib, sys; from airflow_provider_automl.launchers.process import ProcessLauncher;"
        "ProcessLauncher(sys.argv[1], log=lambda line: print(line, flush=True))"
        ".run(json.loads(sys.argv[2]), pathlib.Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", program, python, json.dumps(endless(data, tmp_path)), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launching:
        assert launching.stdout is not None
        assert any("Fitting model: LightGBM" in line for line in launching.stdout)
        assert len(marked(mark)) >= 4  # it, the supervisor, the job, and the one that escaped
        launching.kill()
        assert gone(mark)


def test_memory_limit(python, data, mark, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_HOG", str(tmp_path / "model/predictor/utils/data/X.pkl"))
    launcher = ProcessLauncher(python, memory_limit="2g")
    running = Running(launcher, endless(data, tmp_path), tmp_path / "run")
    error = running.ended(120)
    assert gone(mark, 1)
    assert error.reason == "memory_limit"
    assert str(error).startswith("exceeded memory_limit 2g: reached 2.")
    assert str(error).endswith("GiB while fitting LightGBM; raise memory_limit or lower sampling_threshold")


def test_timeout(python, data, mark, tmp_path):
    launcher = ProcessLauncher(python, timeout=2.0)
    start = time.monotonic()
    error = Running(launcher, endless(data, tmp_path), tmp_path / "run").ended(30)
    assert 2 <= time.monotonic() - start < 6
    assert gone(mark, 1)
    assert error.reason == "timeout"
    assert str(error).startswith("exceeded timeout 2 s")


def test_kill_from_another_thread(python, data, mark, tmp_path):
    launcher = ProcessLauncher(python)
    running = Running(launcher, endless(data, tmp_path), tmp_path / "run")
    running.in_mid_fit()
    start = time.monotonic()
    launcher.kill()
    assert time.monotonic() - start < 5
    assert gone(mark, 0.5)
    assert running.ended(2).reason == "killed"


def test_a_signal_that_raises_in_the_launching_thread(python, data, mark, tmp_path):
    """As Airflow does: SIGTERM's handler calls ``on_kill`` and raises."""
    launcher = ProcessLauncher(python)

    def on_term(*_: object) -> None:
        launcher.kill()
        raise InterruptedError

    def log(line: str) -> None:
        if "Fitting model: LightGBM" in line:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()

    launcher.log = log
    before = signal.signal(signal.SIGTERM, on_term)
    try:
        with pytest.raises(InterruptedError):
            launcher.run(endless(data, tmp_path), tmp_path / "run")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert gone(mark, 0.5)


def test_nothing_is_left_when_a_job_ends_by_itself(python, mark, tmp_path):
    with pytest.raises(InputError, match="Unknown kind of job 'nonsense'"):
        ProcessLauncher(python).run({"kind": "nonsense"}, tmp_path)
    assert not marked(mark)


def test_a_crash_has_the_tracebacks_last_line_and_the_traceback_is_in_the_log(python, mark, tmp_path):
    lines: list[str] = []
    with pytest.raises(JobError, match="The job crashed: KeyError: 'input'") as error:
        ProcessLauncher(python, log=lines.append).run({"kind": "train"}, tmp_path)
    assert error.value.reason == "crash"
    assert "Traceback (most recent call last):" in lines


def test_memory_is_counted_once_where_it_is_shared(tmp_path):
    program = (
        "import os, time; kept = bytearray(os.urandom(1)) * 2**27; [os.fork() for _ in range(2)];"
        "os.write(1, b'%d\\n' % os.getpid()); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as family:
        assert family.stdout is not None
        pids = [int(family.stdout.readline()) for _ in range(4)]
        try:
            assert 2**27 < processes.memory(pids) < 1.5 * 2**27
        finally:
            os.killpg(family.pid, signal.SIGKILL)


def test_secrets_of_the_deployment_stay_out_of_the_job(python, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = ProcessLauncher(python)._environment()
    assert "AIRFLOW_CONN_WAREHOUSE" not in environment
    assert "PYTHONPATH" not in environment
    assert environment["PATH"] == os.environ["PATH"]
