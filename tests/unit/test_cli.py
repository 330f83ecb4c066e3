from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_automl.__main__ import example_dags, main

NAMES = sorted(path.name for path in (Path(__file__).parents[2] / "dags").glob("*.py"))


def test_the_examples_are_those_of_the_checkout() -> None:
    assert [path.name for path in example_dags()] == NAMES
    assert "automl_experiment.py" in NAMES


def test_list_says_what_each_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dags", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[0] for line in lines] == NAMES
    assert all(line.split(": ", 1)[1].endswith(".") for line in lines)


def test_copy_makes_the_directory_and_twice_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "some" / "dags"
    assert main(["dags", "copy", str(target)]) == 0
    assert capsys.readouterr().out.count("copied  ") == len(NAMES)
    assert sorted(path.name for path in target.iterdir()) == NAMES
    for path in example_dags():
        assert (target / path.name).read_bytes() == path.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    assert main(["dags", "copy", str(target)]) == 0
    assert capsys.readouterr().out.count("unchanged ") == len(NAMES)
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before


def test_copy_leaves_changed_files_alone_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = tmp_path / "automl_experiment.py"
    changed.write_text("mine = True\n")
    assert main(["dags", "copy", str(tmp_path)]) == 1
    assert "Nothing was copied" in (said := capsys.readouterr().err)
    assert "automl_experiment.py" in said
    assert "--force" in said
    assert [path.name for path in tmp_path.iterdir()] == ["automl_experiment.py"]
    assert changed.read_text() == "mine = True\n"

    assert main(["dags", "copy", str(tmp_path), "--force"]) == 0
    assert f"overwritten  {changed}" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
    assert "mine" not in changed.read_text()


def test_copy_onto_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(["dags", "copy", str(file)]) == 1
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["dags"], ["dags", "copy"], ["dags", "move"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m airflow_provider_automl" in capsys.readouterr().err


def test_needs_the_standard_library_only(tmp_path: Path) -> None:
    """Run by a bare interpreter: no site packages, so neither Airflow nor anything else."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
        "from airflow_provider_automl.__main__ import main; sys.exit(main(['dags', 'copy', sys.argv[1]]))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
