"""The launcher's parts that start no job."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_automl.errors import InputError, JobError
from airflow_provider_automl.launchers.limits import parse_memory
from airflow_provider_automl.launchers.process import ProcessLauncher, build_archive, describe_interpreter


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8g", 8 * 2**30), ("512m", 512 * 2**20), ("2GiB", 2 * 2**30), ("1.5 G", 3 * 2**29), ("2048 KB", 2 * 2**20),
        ("1t", 2**40), ("2147483648", 2**31), (2**31, 2**31),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "g", "-1g", "8 giga", "0", "8", "1e9", "nan"])
def test_no_sizes(text):
    with pytest.raises(InputError, match="give a size of at least 1 MiB, such as '8g'"):
        parse_memory(text)


def test_what_an_interpreter_has():
    found = describe_interpreter(None)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["autogluon"]


def test_no_interpreter_and_one_that_is_none(tmp_path):
    with pytest.raises(InputError, match="No interpreter at /no/such/python: create it"):
        ProcessLauncher("/no/such/python").preflight()
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(InputError, match="Could not run .* as a Python interpreter"):
        ProcessLauncher(str(tmp_path / "python")).preflight()


def test_an_interpreter_without_autogluon_says_everything_that_is_missing_and_the_line(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = f"{tmp_path}/env/bin/python"
    with pytest.raises(InputError) as error:
        ProcessLauncher(python).preflight()
    assert str(error.value) == (
        f"{python} lacks autogluon.tabular, pandas, pyarrow: "
        f"{python} -m pip install 'autogluon.tabular[lightgbm,catboost,xgboost]'"
    )


def test_airflows_own_interpreter_without_autogluon_says_first_how_to_name_another(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = f"{tmp_path}/env/bin/python"
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(InputError) as error:
        ProcessLauncher().preflight()
    assert str(error.value) == (
        f"{python} lacks autogluon.tabular, pandas, pyarrow: set 'default' in the interpreters of "
        'the automl connection to an interpreter that has them, such as {"default": "/opt/automl/bin/python"} '
        "(docs/existing-deployment.md); or install them beside Airflow: pip install 'airflow-provider-automl[automl]'"
    )


def test_the_archive_is_the_same_each_time_and_runs_alone(tmp_path):
    for name in ("a.pyz", "b.pyz"):
        build_archive(tmp_path / name)
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes()
    run = subprocess.run([sys.executable, "-I", "-S", tmp_path / "a.pyz"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "usage:" in run.stderr


def test_a_launcher_that_was_told_to_stop_starts_nothing(tmp_path):
    launcher = ProcessLauncher()
    launcher.kill()
    with pytest.raises(JobError, match="before it started") as error:
        launcher.run({"kind": "predict"}, tmp_path)
    assert error.value.reason == "killed"
    assert not (tmp_path / "verdict.json").exists()
