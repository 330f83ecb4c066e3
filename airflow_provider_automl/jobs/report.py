"""The report on a job: an executed notebook, and the same as a self-contained HTML page.

The job writes input files (see :mod:`~airflow_provider_automl.jobs.sections`), and papermill executes a notebook on
them: a built-in one from ``notebooks/``, or the user's own. A failed report never fails the job.
"""

from __future__ import annotations

import json
import os
import pkgutil
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from html import escape
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.jobs import parquet, processes
from airflow_provider_automl.jobs.files import LOG, strict

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

#: Modules that every report needs, and those that the built-in notebooks need for charts.
_NEEDED, _NEEDED_FOR_CHARTS = ("papermill", "nbconvert", "ipykernel"), ("altair", "vl_convert")
_PACKAGES = {"vl_convert": "vl-convert-python"}
_KERNEL_SECONDS = 120
_SHOWN_ROWS, _SHOWN_CHARACTERS = 5, 500
#: Larger inputs are sampled down to this many rows: for a profile's distinct values, and for curves.
PROFILE_ROWS, CURVE_ROWS = 200_000, 100_000
#: Keys of a job's description that are not options of the user.
_INTERNAL_KEYS = frozenset(
    {"kind", "input", "output", "model_dir", "title", "report", "export_leaderboard", "export_feature_importance"}
    | {"about", "timeout"}
)
_PARAMETERS = "parameters"  # papermill injects the parameters after the cell with this tag

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">{policy}
<meta name="viewport" content="width=device-width"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 1040px; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff; }}
h1 {{ font-size: 1.6em }} h2 {{ font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #8884; }}
table {{ border-collapse: collapse; font-size: .87em; display: block; overflow-x: auto; }}
th, td {{ padding: .2em .7em; text-align: right; border-bottom: 1px solid #8883; vertical-align: top; }}
table.pairs th, table.pairs td {{ text-align: left; overflow-wrap: anywhere; }} th {{ font-weight: 600; }}
pre {{ overflow-x: auto; font-size: .85em; white-space: pre-wrap; }}
table.dataframe {{ border: 0; }} .chart {{ display: inline-block; margin: .5em 1em .5em 0; vertical-align: top; }}
.warning {{ padding: .4em .8em; border-left: 4px solid #e08a00; background: #e08a0022; }}
.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"], .jp-OutputArea-output[data-mime-type*="error"]
  {{ border-left: 4px solid #d55e00; padding-left: .8em; }}
img, svg {{ max-width: 100%; }} {css}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #161616; }} }}
</style></head><body>
{body}
</body></html>
"""
#: For the built-in notebooks: no script runs and nothing is fetched, whatever text a table contains.
_NO_SCRIPT = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)


class Inputs:
    """The input files of a report's notebook; all but the facts are optional."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.sampled: dict[str, int] = {}

    def facts(self, **facts: Any) -> None:
        """Write everything that is not a table, as JSON."""
        text = json.dumps(strict({**facts, "environment": environment(), "sampled": self.sampled}), ensure_ascii=False)
        (self.directory / "facts.json").write_text(text, encoding="utf-8")

    def frame(self, name: str, table: pd.DataFrame) -> None:
        """Write a small table."""
        table.to_parquet(self.directory / f"{name}.parquet", index=False)

    def table(self, name: str, table: pa.Table | None) -> None:
        """Write a small table; None writes nothing."""
        if table is not None:
            parquet.write(table, self.directory / f"{name}.parquet")

    def profile(self, frame: pd.DataFrame, *, hide: bool, types: Mapping[str, str] | None = None) -> None:
        """Write one row per column: type, missing and distinct values, statistics of numbers; and the first rows.

        :param hide: leave out the first rows, and minimum and maximum, which are values of single rows.
        :param types: the names of the columns' types, if they are not the frame's.
        """
        if not hide:
            rows = frame.head(_SHOWN_ROWS).astype(str).reset_index(drop=True)
            self.frame("rows", rows.map(lambda text: text[:_SHOWN_CHARACTERS]))
        profile = frame.dtypes.astype(str).to_frame("type")
        if types is not None:
            profile["type"] = [types[name] for name in frame.columns]
        profile["missing"] = frame.isna().mean()
        sample = frame
        if len(frame) > PROFILE_ROWS:
            sample = frame.sample(PROFILE_ROWS, random_state=0)
            self.sampled["profile"] = PROFILE_ROWS
        profile["distinct"] = sample.nunique()
        numbers = sample.select_dtypes("number")
        for name in ("mean", "std") if hide else ("mean", "std", "min", "max"):
            profile[name] = getattr(numbers, name)() if len(numbers.columns) else None
        self.frame("profile", profile.rename_axis("column").reset_index())

    def held_out(self, labels: np.ndarray, predictions: np.ndarray, problem_type: str) -> None:
        """Write labels and predictions of held-out rows."""
        import numpy as np
        import pandas as pd

        if len(labels) > CURVE_ROWS:
            chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:CURVE_ROWS])
            labels, predictions = labels[chosen], predictions[chosen]
            self.sampled["held_out"] = CURVE_ROWS
        columns: dict[str, Any] = {"label": labels}
        if problem_type == "regression":
            columns["predicted"] = predictions
        elif predictions.ndim == 1:
            columns["score"] = predictions
        else:
            columns |= {f"p{index}": predictions[:, index] for index in range(predictions.shape[1])}
        self.frame("held_out", pd.DataFrame(columns))


def environment() -> dict[str, Any]:
    """The Python, machine and package versions of this process."""
    found = {"Python": platform.python_version(), "system": platform.platform(), "processors": os.cpu_count()}
    with suppress(ImportError):
        import psutil

        found["memory (GiB)"] = round(psutil.virtual_memory().total / 2**30, 1)
    for name in ("autogluon.tabular", "pandas", "scikit-learn", "lightgbm", "catboost", "xgboost", "pyarrow"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def report(
    job: Mapping[str, Any], result: Mapping[str, Any], directory: Path, fill: Callable[[Inputs], dict[str, Any]]
) -> dict[str, Any]:
    """Write the notebook's inputs to a new directory, and execute the notebook. Errors are reported, never raised.

    :param job: its ``kind`` (``train`` or ``predict``: names the built-in notebook and the output files), ``notebook``
        (a path, None: the built-in one) and ``report_time_limit`` (seconds, None: no limit).
    :param fill: writes the tables, and returns the facts that only this kind of job has.
    :returns: the changes to the job's result, as :func:`_execute` returns them.
    """
    try:
        inputs = Inputs(directory)
        inputs.facts(
            kind=job["kind"],
            title=job["title"],
            about=job.get("about") or {},
            options={name: value for name, value in job.items() if name not in _INTERNAL_KEYS},
            result={name: value for name, value in result.items() if not name.startswith("notebook")},
            **fill(inputs),
        )
    except Exception as error:
        print(f"The report failed; the job's results are not affected: {_summary(error)}", flush=True)
        return {"notebook_error": _summary(error)}
    return _execute(job, job["kind"], directory)


def _execute(job: Mapping[str, Any], name: str, directory: Path) -> dict[str, Any]:
    """Execute a notebook on the inputs in ``directory``.

    :returns: ``notebook`` and ``notebook_html`` (paths or None) and ``notebook_error`` (None, or what went wrong).
    """
    made: dict[str, Any] = {"notebook": None, "notebook_html": None, "notebook_error": None}
    builtin = job.get("notebook") is None
    needed = (*_NEEDED, *_NEEDED_FOR_CHARTS) if builtin else _NEEDED
    if missing := [_PACKAGES.get(module, module) for module in needed if util.find_spec(module) is None]:
        made["notebook_error"] = (
            f"{', '.join(missing)} is not installed in {sys.executable}: "
            f"{sys.executable} -m pip install {' '.join(missing)}"
        )
        return made
    target = directory / f"{name}.ipynb"
    problems = []
    try:
        source = directory / "template.ipynb"
        if builtin:
            template = pkgutil.get_data("airflow_provider_automl.jobs", f"notebooks/{name}.ipynb")
            assert template is not None  # it is package data
            source.write_bytes(template)
        else:
            shutil.copyfile(job["notebook"], source)
        _run(source, target, directory, job.get("report_time_limit"), builtin=builtin)
    except Exception as error:
        problems.append(_summary(error))
    try:
        if target.exists():
            made["notebook"] = str(target)
            made["notebook_html"] = str(_to_html(target, job["title"], builtin=builtin))
    except Exception as error:
        problems.append(_summary(error))
    if problems:
        made["notebook_error"] = " ".join(problems)
        print(f"The report is incomplete; the job's results are not affected: {problems[0]}", flush=True)
    return made


def _run(source: Path, target: Path, directory: Path, limit: float | None, *, builtin: bool) -> None:
    """Execute a notebook by papermill, which saves it after each cell: a failure keeps the cells before it."""
    import papermill

    tags = [cell.get("metadata", {}).get("tags", ()) for cell in json.loads(source.read_text("utf-8"))["cells"]]
    if not any(_PARAMETERS in tag for tag in tags):
        print(f"The notebook has no cell tagged {_PARAMETERS!r}: parameters are injected at its top", flush=True)
    log = directory.parent / LOG
    if log.exists():
        shutil.copyfile(log, directory / "log.txt")
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):  # a home directory may not be writable
        os.environ[name] = str(directory / name.lower())
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    package = Path(__file__).parents[2]  # a directory or a zip
    with _limited(limit):
        papermill.execute_notebook(
            str(source),
            str(target),
            parameters={"directory": str(directory), "package": str(package)},
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=_KERNEL_SECONDS,
            # A failed section of a built-in notebook must not stop the others.
            allow_errors=builtin,
        )


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Bound a block to ``seconds`` (None: no limit) by killing the processes that it has started.

    :raises TimeoutError: the block took longer.
    """
    before = processes.descendants([os.getpid()])
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        processes.kill_all(lambda: processes.descendants([os.getpid()]) - before)

    timer = threading.Timer(seconds, stop) if seconds is not None else None
    started = time.monotonic()
    try:
        if timer is not None:
            timer.daemon = True
            timer.start()
        yield
    except Exception as error:
        if expired.is_set():
            raise TimeoutError(
                f"the notebook was stopped after {time.monotonic() - started:.0f} s: raise report_time_limit"
            ) from error
        raise
    finally:
        if timer is not None:
            timer.cancel()
        # Background processes of the notebook, and a kernel that is still running.
        processes.kill_all(lambda: processes.descendants([os.getpid()]) - before)


def _summary(error: Exception) -> str:
    """An error in one line; for a failed cell, the error that the cell raised."""
    name, text = type(error).__name__, str(error)
    if hasattr(error, "ename"):  # papermill's error of a cell
        name, text = str(error.ename), str(getattr(error, "evalue", ""))
    if name == "DeadKernelError":
        return "The notebook's kernel died: it was killed, possibly by the out-of-memory killer."
    return f"{name}: {' '.join(text.split())[-1000:]}"


def _to_html(notebook: Path, title: str, *, builtin: bool) -> Path:
    """Convert a notebook to a self-contained HTML file; code is left out for built-in notebooks."""
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic",
        exclude_input=builtin,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_filename(str(notebook))
    css = "" if builtin else HtmlFormatter().get_style_defs(".highlight")
    page = _PAGE.format(policy=_NO_SCRIPT if builtin else "", title=escape(title), css=css, body=body)
    path = notebook.with_suffix(".html")
    path.write_text(page, encoding="utf-8")
    return path
