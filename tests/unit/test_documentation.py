"""The examples in docstrings run, and the blocks of the pages are what they claim to be."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import io
import json
import re
import shlex
import subprocess
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from airflow_provider_automl import __main__, cli
from airflow_provider_automl.hooks.automl import _EXTRA

REPO = Path(__file__).resolve().parents[2]
PAGES = [*sorted(REPO.glob("*.md")), *sorted((REPO / "docs").rglob("*.md"))]
#: Only the modules that have an example are imported.
EXAMPLES = sorted(
    ".".join(path.relative_to(REPO).with_suffix("").parts)
    for path in (REPO / "airflow_provider_automl").rglob("*.py")
    if re.search(r"^ *>>> ", path.read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_run(name: str) -> None:
    with redirect_stdout(io.StringIO()) as output:
        results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0, output.getvalue()
    assert results.attempted > 0


def _blocks(*languages: str) -> list[Any]:
    """The fenced blocks of all pages in these languages; all blocks if none is named."""
    return [
        pytest.param(language, text, id=f"{page.relative_to(REPO)}-{number}")
        for page in PAGES
        for number, (language, text) in enumerate(
            re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        )
        if not languages or language in languages
    ]


def test_every_block_is_in_a_language_that_is_checked() -> None:
    """Python is checked in test_packaging.py."""
    languages = {language for language, _ in (block.values for block in _blocks())}
    assert languages == {"bash", "console", "json", "properties", "py", "python", "sql"}


@pytest.mark.parametrize(("language", "text"), _blocks("py"))
def test_parts_of_programs_compile(language: str, text: str) -> None:
    """What cannot run without the program around it; the blocks that can are called python."""
    ast.parse(text)


@pytest.mark.parametrize(("language", "text"), _blocks("json"))
def test_json_parses(language: str, text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize(("language", "text"), _blocks("properties"))
def test_properties_are_names_and_values(language: str, text: str) -> None:
    for line in text.splitlines():
        assert re.fullmatch(r"[a-z.-]+=\S+", line)


@pytest.mark.parametrize(("language", "text"), _blocks("sql"))
def test_sql_parses(language: str, text: str) -> None:
    """Statements end where they should, and quotes are closed. What sqlglot does not know, such as roles, it skips."""
    assert all(sqlglot.parse(text, error_level=sqlglot.ErrorLevel.RAISE))


@pytest.mark.parametrize(("language", "text"), _blocks("bash", "console"))
def test_the_shell_reads_commands(language: str, text: str) -> None:
    """The JSON and the Python in their arguments parse, too, and JSON names what exists."""
    script = re.sub(r"<[a-z ]+>", "PLACEHOLDER", re.sub(r"^\$ ", "", text, flags=re.MULTILINE))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    words = shlex.split(script, comments=True)
    for before, word in zip(["", *words], words, strict=False):
        value = re.sub(r"^[A-Z_]+=", "", word)
        if value.startswith("{"):
            found = json.loads(value)
            if "conn_type" in found:
                assert found["extra"].keys() <= _EXTRA.keys()
            else:
                params = re.findall(
                    r'^ +"(\w+)": Param\(', (REPO / "dags/automl_experiment.py").read_text(), re.MULTILINE
                )
                assert found.keys() <= set(params)
        elif before == "-c":
            ast.parse(word.replace(r"\$", "$"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_commands_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets of make, modules of the tests, and the command line with the options shown."""
    text = page.read_text()
    targets = re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= set(targets)
    for module in re.findall(r"python -m ((?:tests|benchmarks)[\w.]*)", text):
        assert importlib.util.find_spec(module), module
    called: list[str] = []
    monkeypatch.setattr(cli, "run", lambda command, options: called.append(command.name) or 0)
    monkeypatch.setattr(__main__, "list_dags", lambda: called.append("list") or 0)
    monkeypatch.setattr(__main__, "copy_dags", lambda directory, force: called.append("copy") or 0)
    commands = re.findall(r"^(?:\$ )?python -m airflow_provider_automl (.*)$", text, re.MULTILINE)
    for command in commands:
        assert __main__.main(shlex.split(command, comments=True)) == 0
    assert len(called) == len(commands)
