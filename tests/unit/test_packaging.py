from __future__ import annotations

import configparser
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_provider_automl

REPO = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
DAGS = sorted(path.name for path in (REPO / "dags").glob("*.py"))
EXTRAS = {"automl", "notebooks", "duckdb", "trino", "hive", "postgres", "s3", "all", "dev", "docs"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=REPO, check=True, capture_output=True)
    (path,) = directory.glob("*.whl")
    assert path.name == f"airflow_provider_automl-{airflow_provider_automl.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_string(wheel.read(name).decode())


def test_the_wheel_holds_the_package_and_the_dags_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    tracked = subprocess.run(
        ["git", "ls-files", "airflow_provider_automl"], cwd=REPO, check=False, capture_output=True, text=True
    )
    if tracked.returncode == 0:  # not so in an unpacked sdist
        assert set(tracked.stdout.split()) <= set(names)
    assert all(name.startswith("airflow_provider_automl/") for name in names)
    assert sorted(Path(name).name for name in names if "/example_dags/" in name) == DAGS
    assert "airflow_provider_automl/py.typed" in names
    assert not [name for name in names if name.endswith((".pyc", ".log", ".duckdb"))]


def test_the_wheel_copies_its_dags_without_anything_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    code = f"import runpy, sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); sys.argv[1:] = ['dags', 'copy', 'here']"
    code += "; runpy.run_module('airflow_provider_automl', run_name='__main__')"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, check=True)
    for name in DAGS:
        assert (tmp_path / "here" / name).read_bytes() == (REPO / "dags" / name).read_bytes()


def test_entry_points(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    for group in ("apache_airflow_provider", "airflow.plugins"):
        for target in points[group].values():
            module = target.split(":")[0].replace(".", "/") + ".py"
            assert f"airflow_provider_automl{module.removeprefix('airflow_provider_automl')}" in wheel.namelist()


def test_metadata(metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS
    assert "Framework :: Apache Airflow :: Provider" in metadata.get_all("Classifier", [])


def test_the_core_moves_nothing_in_an_existing_deployment(metadata: Message) -> None:
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    core = {requirement.name for requirement in requirements if requirement.marker is None}
    assert core == {
        "apache-airflow",
        "apache-airflow-providers-common-compat",
        "apache-airflow-providers-common-sql",
        "apache-airflow-providers-smtp",
        "apache-airflow-providers-standard",
        "sqlglot",
    }


def test_all_is_every_extra_but_the_developers() -> None:
    (text,) = PROJECT["project"]["optional-dependencies"]["all"]
    assert Requirement(text).extras == EXTRAS - {"all", "dev", "docs"}


def test_constraints_pin_every_dependency_at_a_version_that_fits() -> None:
    lines = [line for line in (REPO / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines), "names and versions only"
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert "airflow-provider-automl" not in pins
    project = PROJECT["project"]
    texts = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    for extra, more in project["optional-dependencies"].items():
        texts += more if extra != "all" else []
    texts += PROJECT["dependency-groups"]["release"]
    for requirement in map(Requirement, texts):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_changelog_tells_of_this_version() -> None:
    assert f"\n## {airflow_provider_automl.__version__} " in (REPO / "CHANGELOG.md").read_text()


def test_parsing_the_dags_imports_none_of_the_banned_modules() -> None:
    """Beyond what Airflow itself imports for a DAG file of its own."""
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
    code = f"""
import runpy, sys
from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
before = set(sys.modules)
for path in {[str(REPO / "dags" / name) for name in DAGS]!r}:
    runpy.run_path(path)
print(sorted(set({banned!r}) & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_make_says_clearly_that_no_python_fits(tmp_path: Path) -> None:
    """Names on the path that fail, as pyenv's shims do."""
    for name in ("python3.11", "python3.12", "python3.13", "python3", "python"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["make", "install", f"VENV={tmp_path}/venv"], cwd=REPO, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "command not found" not in done.stdout + done.stderr
    assert not (tmp_path / "venv").exists()


def test_ci_takes_the_real_data_where_they_lie_and_runs_without_them(tmp_path: Path) -> None:
    checkout, data = tmp_path / "checkout", tmp_path / "shared" / "data"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(REPO / ".ci" / "run", checkout / ".ci" / "run")
    (checkout / "Makefile").write_text("install lint test:\n\t@echo $@ on [$(AUTOML_TEST_DATA)]\n")
    outer = ("AUTOML_TEST_DATA", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of a `make test` that runs this
    environment = {name: value for name, value in os.environ.items() if name not in outer}

    def run() -> list[str]:
        done = subprocess.run(
            [checkout / ".ci" / "run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    said, *targets = run()
    assert said.endswith("the tests run on synthetic census data")
    assert targets == [f"{target} on []" for target in ("install", "lint", "test")]
    (data / "adult").mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (data / "adult" / name).touch()
    assert run() == [f"{target} on [{data}]" for target in ("install", "lint", "test")]


def test_hooks_fetch_nothing() -> None:
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config"], cwd=REPO, check=True)
    for repo in yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            assert hook["entry"].startswith(".venv/bin/")


PAGES = [*sorted(REPO.glob("*.md")), *sorted((REPO / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page: Path) -> None:
    for number, example in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)):
        exec(compile(example, f"{page.name}[{number}]", "exec", dont_inherit=True), {"__name__": "__main__"})


def test_every_parameter_of_every_operator_is_in_the_reference() -> None:
    from airflow_provider_automl.get_provider_info import get_provider_info

    text = (REPO / "docs" / "operators.md").read_text()
    for path in get_provider_info()["operators"][0]["python-modules"]:
        module = importlib.import_module(path)
        for name, operator in vars(module).items():
            if not (name.endswith("Operator") and getattr(operator, "__module__", "") == path):
                continue
            section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
            assert f"`{path}`" in section, name
            for parameter, spec in inspect.signature(operator.__init__).parameters.items():
                if parameter != "self" and spec.kind is not inspect.Parameter.VAR_KEYWORD:
                    assert f"`{parameter}`" in section, f"{name}: {parameter}"


def test_every_operator_is_in_the_api_reference() -> None:
    from airflow_provider_automl.get_provider_info import get_provider_info

    text = (REPO / "docs" / "reference" / "operators.rst").read_text()
    for path in get_provider_info()["operators"][0]["python-modules"]:
        section = text.partition(f".. currentmodule:: {path}\n")[2].partition("\n.. currentmodule::")[0]
        operators = {
            name
            for name, value in vars(importlib.import_module(path)).items()
            if name.endswith("Operator") and getattr(value, "__module__", "") == path
        }
        assert set(re.findall(r"^\.\. autoclass:: (\w+)$", section, re.MULTILINE)) == operators


def test_the_option_map_has_every_documented_option() -> None:
    """Those of the mirrored system's train and predict steps and of its workflow."""
    text = (REPO / "docs" / "option-map.md").read_text()
    options = """
        problem_type eval_metric ignore_columns time_limit timeout fi_time_limit oversampling_threshold
        proba_calibration sampling_threshold share_model export_leaderboard export_feature_importance
        hide_table_contents model_name shared_model input_table output_table output_mode rowid_column
        target_column input_database output_database train_data_table test_data_table fit_time_limit
        drift_auc_threshold
    """
    assert [option for option in options.split() if f"`{option}`" not in text] == []
