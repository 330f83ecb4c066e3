"""The report on a training: an executed notebook, and the same as HTML that needs nothing else."""

from __future__ import annotations

import json
import os
import pkgutil
import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs import parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_NEEDED = ("papermill", "nbconvert", "ipykernel")
_CELL_SECONDS = 300
_SHOWN_ROWS = 5


def write_report(
    job: dict[str, Any],
    frame: pd.DataFrame,
    result: dict[str, Any],
    leaderboard: pa.Table,
    importance: pa.Table | None,
    directory: Path,
) -> dict[str, Any]:
    """Execute the notebook on what the training left. A report never fails a training.

    :returns: ``notebook`` and ``notebook_html`` (paths or None) and ``notebook_error`` (None or why there is none).
    """
    made: dict[str, Any] = {"notebook": None, "notebook_html": None, "notebook_error": None}
    if missing := [name for name in _NEEDED if util.find_spec(name) is None]:
        made["notebook_error"] = (
            f"{', '.join(missing)} is not installed in {sys.executable}: "
            f"{sys.executable} -m pip install papermill nbconvert ipykernel"
        )
        return made
    try:
        directory.mkdir()
        _write_inputs(job, frame, result, leaderboard, importance, directory)
        made["notebook"] = str(_execute(directory))
        made["notebook_html"] = str(_to_html(directory))
    except Exception as error:
        made["notebook_error"] = f"{type(error).__name__}: {str(error).strip()[-1000:]}"
        print(f"The report failed, the model is unharmed: {made['notebook_error']}", flush=True)
    return made


def _write_inputs(
    job: dict[str, Any],
    frame: pd.DataFrame,
    result: dict[str, Any],
    leaderboard: pa.Table,
    importance: pa.Table | None,
    directory: Path,
) -> None:
    """What the notebook reads: facts as JSON and small tables as Parquet. No rows if these are to be hidden."""
    hidden = ("input", "model_dir")
    facts = {
        "title": job["title"],
        "options": {name: value for name, value in job.items() if name not in hidden},
        "result": {name: value for name, value in result.items() if not name.startswith("notebook")},
    }
    (directory / "facts.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    shown = frame.drop(columns=[name for name in frame.columns if str(name).startswith("__automl")])
    profile = shown.dtypes.astype(str).to_frame("type")
    profile["missing"] = shown.isna().mean()
    profile["distinct"] = shown.nunique()
    for name in ("mean", "std") if job["hide_table_contents"] else ("mean", "std", "min", "max"):
        numbers = shown.select_dtypes("number")
        profile[name] = getattr(numbers, name)() if len(numbers.columns) else None
    profile.rename_axis("column").reset_index().to_parquet(directory / "profile.parquet")
    parquet.write(leaderboard, directory / "leaderboard.parquet")
    if importance is not None:
        parquet.write(importance, directory / "importance.parquet")
    if not job["hide_table_contents"]:
        shown.head(_SHOWN_ROWS).astype(str).to_parquet(directory / "rows.parquet")


def _execute(directory: Path) -> Path:
    import papermill

    template = pkgutil.get_data("airflow_provider_automl.jobs", "notebooks/train.ipynb")
    assert template is not None  # it is part of the package
    source = directory / "template.ipynb"
    source.write_bytes(template)
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):  # a home directory may not be writable
        os.environ[name] = str(directory / name.lower())
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    papermill.execute_notebook(
        str(source),
        str(directory / "train.ipynb"),
        parameters={"directory": str(directory)},
        kernel_name="python3",
        language="python",
        progress_bar=False,
        start_timeout=120,
        execution_timeout=_CELL_SECONDS,
    )
    return directory / "train.ipynb"


def _to_html(directory: Path) -> Path:
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        mathjax_url="", require_js_url="", jquery_url="", exclude_input_prompt=True
    )
    html, _ = exporter.from_filename(str(directory / "train.ipynb"))
    path = directory / "train.html"
    path.write_text(html, encoding="utf-8")
    return path
