"""The prediction job: Parquet batches in, Parquet batches out, in constant memory."""

from __future__ import annotations

import base64
import platform
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_automl.errors import did_you_mean, listing
from airflow_provider_automl.jobs import parquet, rowids
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.files import RESULT, write_json
from airflow_provider_automl.jobs.frames import kind, listed, to_pandas, to_show
from airflow_provider_automl.jobs.model_files import PREDICTOR, check_versions, read_manifest
from airflow_provider_automl.jobs.parquet import Parts
from airflow_provider_automl.jobs.probabilities import correct, to_json
from airflow_provider_automl.jobs.report import CURVE_ROWS, Inputs, report

if TYPE_CHECKING:
    import pyarrow as pa

#: A column of the first kind can be converted to a feature of the second; other conversions make no sense.
_CASTS = {("text", "number"), ("text", "time"), ("number", "text"), ("time", "text")}


@dataclass
class Input:
    """The rows to predict on, and the columns that the model reads."""

    parts: Parts
    columns: dict[str, str]  # feature -> column of the input
    types: dict[str, pa.DataType]  # feature -> its type in training
    output: list[str]  # the input's columns that the output includes


def predict(job: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Predict on every row, and report; returns the job's result.

    :param directory: where the report is written.
    :raises JobInputError: the model's files are not the registered ones, or the input does not fit the model.
    """
    manifest = read_manifest(Path(job["model_dir"]), job["model_digest"])
    check_versions(manifest, platform.python_version())
    source = open_input(job, manifest)
    model = Model(Path(job["model_dir"]), manifest) if source.parts.rows else None
    output = Path(job["output"])
    output.mkdir(parents=True, exist_ok=True)
    unfinished = output / ".partial"
    shown = [field.name for field in _added(manifest) if field.name != "predicted_probabilities"]
    sample = Sample(source.parts.rows, shown) if job["report"] else None
    columns = write(job, manifest, source, model, unfinished, sample)
    unfinished.rename(output / "part-00000.parquet")
    result = {
        "rows": source.parts.rows,
        "positive_class": manifest["positive_class"],
        "problem_type": manifest["problem_type"],
        "target_column": manifest["target_column"],
        "columns": columns,
        "notebook": None,
        "notebook_html": None,
        "notebook_error": "the report did not finish" if job["report"] else None,
    }
    if sample is None:
        return result
    # The predictions are complete: from here on, a crash or an exceeded limit only truncates the report.
    write_json(directory / RESULT, result)
    print("reporting in a notebook", flush=True)
    fill = partial(_fill, job=job, manifest=manifest, sample=sample)
    return result | report(job, result, directory / "report", fill)


class Sample:
    """A random sample of the rows in a stream, with their predictions.

    :param rows: how many rows the stream has.
    :param columns: the prediction columns to keep, in addition to all input columns.
    """

    def __init__(self, rows: int, columns: list[str]) -> None:
        import numpy as np

        self.rows = rows
        self.columns = columns
        self._share = min(1.0, CURVE_ROWS / max(rows, 1))
        self._random = np.random.default_rng(0)
        self.is_all = self._share == 1
        self.parts: list[pa.Table] = []

    def see(self, batch: pa.RecordBatch, output: pa.Table) -> None:
        """Sample from a batch of the input and its predictions."""
        import pyarrow as pa

        both = pa.Table.from_batches([batch])
        for name in self.columns:
            both = both.append_column(f"{_SAMPLED}{name}", output[name])
        if not self.is_all:
            both = both.filter(pa.array(self._random.random(len(both)) < self._share))
        self.parts.append(both)


#: Prefix of prediction columns in a table that also has the input's columns.
_SAMPLED = "__automl_predicted__"


def _fill(inputs: Inputs, job: dict[str, Any], manifest: dict[str, Any], sample: Sample) -> dict[str, Any]:
    """Write the notebook's inputs; returns its facts."""
    import pyarrow as pa

    if sample.parts:
        table = pa.concat_tables(sample.parts)
        predicted = [name for name in table.column_names if name.startswith(_SAMPLED)]
        inputs.frame("predictions", table.select(predicted).to_pandas().set_axis(sample.columns, axis=1))
        frame, types = to_show(table.drop_columns(predicted))
        inputs.profile(frame, hide=job["hide_table_contents"], types=types)
        if not sample.is_all:
            inputs.sampled |= {"predictions": len(frame), "profile": len(frame)}
    return {
        "rows": sample.rows,
        "ignored": dict.fromkeys(job["ignore_columns"] or (), "excluded by ignore_columns"),
        "target_column": manifest["target_column"],
        "classes": manifest["classes"],
        "held_out": None,
    }


def open_input(job: dict[str, Any], manifest: dict[str, Any]) -> Input:
    """Find the model's features in the input, and check all that can be checked before a prediction.

    :raises JobInputError: columns are missing or cannot be converted, the output would have a column twice, or row
        ids are NULL or not unique.
    """
    parts = Parts(job["input"])
    schema = parts.schema
    print(f"reading {parts.rows:,} rows of {len(schema.names)} columns", flush=True)
    ignored = set(job["ignore_columns"] or ())
    if unknown := sorted(ignored - set(schema.names)):
        names = listing([f"{name!r}{did_you_mean(name, schema.names)}" for name in unknown])
        raise JobInputError(f"The input has no column to ignore {names}: its columns are {listing(schema.names)}.")
    rowid = job["rowid_column"]
    if rowid is not None and rowid not in schema.names:
        raise JobInputError(
            f"The input has no row id column {rowid!r}{did_you_mean(rowid, schema.names)}: "
            f"its columns are {listing(schema.names)}."
        )
    types = {field.name: field.type for field in list(_trained(manifest))[:-1]}
    columns = _find_features(types, schema, ignored, manifest["target_column"])
    included = schema.names if rowid is None else [rowid]
    added = {field.name.lower() for field in _added(manifest)}
    if conflicts := [name for name in included if name.lower() in added]:
        raise JobInputError(
            f"The input already has {', '.join(map(repr, conflicts))}, which the prediction adds: rename the column, "
            "leave it out of the query, or set rowid_column to output only the row id and the predictions."
        )
    if rowid is not None:
        print(f"checking that {rowid} is unique", flush=True)
        rowids.check(parts, rowid, Path(job["output"]).parent)
    return Input(parts, columns, types, list(included))


class Model:
    """A model, fully loaded into memory."""

    def __init__(self, model_dir: Path, manifest: dict[str, Any]) -> None:
        from autogluon.tabular import TabularPredictor

        print("loading the model", flush=True)
        self._manifest = manifest
        self._predictor = TabularPredictor.load(str(model_dir / PREDICTOR), verbosity=1)
        self._predictor.persist()

    def __call__(self, source: Input, batch: pa.RecordBatch) -> list[pa.Array]:
        """The columns that a prediction adds, for these rows; calls the model once."""
        import numpy as np
        import pyarrow as pa

        manifest = self._manifest
        label = list(_trained(manifest))[-1]
        frame = to_pandas({name: _cast(batch[column], name, column, source) for name, column in source.columns.items()})
        if manifest["problem_type"] == "regression":
            values = self._predictor.predict(frame, as_pandas=False)
            return [pa.array(values.astype(np.float64), pa.float64())]
        binary = manifest["problem_type"] == "binary"
        raw = self._predictor.predict_proba(frame, as_pandas=False, as_multiclass=not binary)
        probabilities = correct(raw, manifest["correction"])
        if binary:
            chosen = (probabilities > manifest["decision_threshold"]).astype(np.int8)
            shown = probabilities
        else:
            chosen = probabilities.argmax(axis=1)
            shown = probabilities[np.arange(len(chosen)), chosen]
        classes = pa.array(manifest["classes"])
        classes = classes if classes.type == label.type else classes.cast(label.type)
        return [classes.take(pa.array(chosen)), pa.array(shown), to_json(probabilities, manifest["classes"])]


def write(
    job: dict[str, Any],
    manifest: dict[str, Any],
    source: Input,
    model: Model | None,
    path: Path,
    sample: Sample | None = None,
) -> list[str]:
    """Predict batch by batch into one Parquet file; returns its columns.

    A thread writes the previous batch while the model predicts the next.
    """
    import pyarrow as pa

    included = [source.parts.schema.field(name) for name in source.output]
    schema = pa.schema([*included, *_added(manifest)])
    needed = list(dict.fromkeys([*source.columns.values(), *source.output]))
    done = 0
    with parquet.writer(path, schema) as file, ThreadPoolExecutor(1) as background:
        written: Future[None] | None = None
        for batch in source.parts.batches(needed, int(job["batch_rows"])):
            assert model is not None  # it is None only if there are no rows
            predicted = model(source, batch)
            table = pa.Table.from_arrays([*(batch[field.name] for field in included), *predicted], schema=schema)
            if sample is not None:
                sample.see(batch, table)
            if written is not None:
                written.result()
            written = background.submit(file.write_table, table)
            done += len(batch)
            print(f"predicting: {done:,} of {source.parts.rows:,} rows done", flush=True)
        if written is not None:
            written.result()
    return list(schema.names)


def _trained(manifest: dict[str, Any]) -> pa.Schema:
    """The features and, last, the label, with their types in training."""
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["arrow_schema"])))


def _added(manifest: dict[str, Any]) -> list[pa.Field]:
    """The columns that a prediction adds."""
    import pyarrow as pa

    label = list(_trained(manifest))[-1]
    predicted = f"predicted_{manifest['target_column']}"
    if manifest["problem_type"] == "regression":
        return [pa.field(predicted, pa.float64())]
    return [
        pa.field(predicted, label.type),
        pa.field("predicted_proba", pa.float64()),
        pa.field("predicted_probabilities", pa.string()),
    ]


def _find_features(types: dict[str, pa.DataType], schema: pa.Schema, ignored: set[str], target: str) -> dict[str, str]:
    """The input column of each feature: the same name, or else the same name in another case."""
    by_lower: dict[str, list[str]] = {}
    for name in schema.names:
        by_lower.setdefault(name.lower(), []).append(name)
    found, missing, mismatched = {}, [], []
    for feature, trained in types.items():
        candidates = [feature] if feature in schema.names else by_lower.get(feature.lower(), [])
        if len(candidates) != 1 or candidates[0] in ignored:
            missing.append(feature)
            continue
        found[feature] = candidates[0]
        actual = schema.field(candidates[0]).type
        if kind(actual) != kind(trained) and (kind(actual), kind(trained)) not in _CASTS:
            mismatched.append(f"{candidates[0]!r} is of type {actual}, but the model expects {trained}")
    if missing:
        why = " (excluded by ignore_columns)" if ignored & set(missing) else ""
        raise JobInputError(
            f"The input lacks {len(missing)} of the model's {len(types)} features: "
            f"{listed(missing)}{why}; its columns are {listing(schema.names)}."
        )
    if mismatched:
        more = f"; and {len(mismatched) - 5} more" if len(mismatched) > 5 else ""
        raise JobInputError(
            f"The input does not fit the model: {'; '.join(mismatched[:5])}{more}. Convert these columns."
        )
    return found


def _cast(values: pa.Array, feature: str, column: str, source: Input) -> pa.Array:
    """A feature's column, converted to the kind that it had in training."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trained = source.types[feature]
    if kind(values.type) == kind(trained):
        return values
    wanted = {"number": pa.float64(), "time": pa.timestamp("us"), "text": pa.string()}[kind(trained)]
    try:
        if kind(values.type) == "text":
            values = pc.utf8_trim_whitespace(values)
        return values.cast(wanted)
    except pa.ArrowInvalid as error:
        raise JobInputError(
            f"The input does not fit the model: {column!r} is of type {values.type}, but the model expects {trained}, "
            f"and not every value can be converted ({error}). Convert the column."
        ) from error
