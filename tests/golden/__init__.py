"""The text of every query, as each engine gets it, in a file an engine for people to review: ``ENGINE.sql``.

``python -m tests.golden`` writes them anew. What a query is given here is fixed, and of a small table that
``tests/warehouse/test_golden.py`` makes on the real engines, to run the texts there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlglot import exp, parse_one

from airflow_provider_automl import sql

HERE = Path(__file__).parent
ROOT = Path(sql.__file__).parent
ENGINES = ("duckdb", "postgres", "trino", "hive", "spark")

#: Where files are; whoever runs a text puts a directory of his own there.
DATA = "/data"

#: The small table's columns.
COLUMNS = {
    "record_id": "VARCHAR",
    "class": "VARCHAR",
    "score": "DOUBLE",
    "hours-per-week": "INTEGER",
    "recorded_at": "TIMESTAMP",
}

_SIDES = ("champion", "challenger")

# What stands in a placeholder, by its name: with braces or a colon, where that tells two apart.
_PARAMETERS: dict[str, object] = {
    "source": "golden.census",
    "table": "golden.census",
    "target": "golden.census",
    "tables": "information_schema.tables",
    "schema": "golden",
    "catalog": "hive",
    "name": "census2",
    "column": {"capital-gain": "DOUBLE"},
    "columns": list(COLUMNS),
    "values": list(COLUMNS),
    "items": ["a", "it's", 0.5, None, datetime(2026, 11, 25, 12, tzinfo=UTC)],
    "order": ["record_id", "class"],
    "condition": {"class": "it's", "hours-per-week": None},
    ":label": exp.column(exp.to_identifier("class", quoted=True)),
    "{label}": "class",
    "prediction": "class",
    "numbers": exp.select(exp.alias_(exp.Literal.number(0), "copy")).subquery("copies"),
    "groups": [exp.alias_(exp.column(exp.to_identifier("class", quoted=True)), "k0")],
    "keys": ["k0"],
    ":weight": 1,
    "weights": [],
    "p": exp.cast(exp.column("positives"), "BIGINT"),
    "q": exp.cast(exp.column("n") - exp.column("positives"), "BIGINT"),
    "threshold": 0.5,
    "bins": 10,
    "least": 1e-15,
    "tolerance": 1e-12,
    "infinity": float("inf"),
    "huge": 1e75,
    ":score": exp.column("score"),
    "label_number": exp.cast(exp.null(), "DOUBLE"),
    "positive": " >50K",
    "unknown_label": exp.Literal.number(0),
    **{f"{side}_unknown": exp.Literal.number(0) for side in _SIDES},
    "score": "score",
    "most": 10,
    "max_rows": 5,
    "seed": 1,
    "batch_rows": 9,
    "files": [f"{DATA}/it's.parquet"],
    "path": f"{DATA}/it's.parquet",
    "location": f"file://{DATA}/it's",
    "limit": 100,
    "query": exp.select("*").from_(exp.to_table("golden.census")).subquery(),
    "{rows}": exp.select(exp.alias_(exp.Literal.number(1), "n")).subquery(),
    ":rows": '[["1", "it\'s"]]',
    "mark": "automl it's",
    "comment": "/* automl it's */",
    "start": "20261125_000000",
    "application": "automl census.train 1 manual",
    "row_security": "off",
    "read_only": "off",
    "directories": [f"{DATA}/it's"],
    "lock_timeout": "600000",
    "claim": -(2**40),
    "upper": 2**32 - 256,
    "lower": 0,
    "codes": [20, 25],
    **{f"{{{side}}}": "golden.census" for side in _SIDES},
    **{f"{side}_id": "record_id" for side in _SIDES},
    **{f"{side}_label": exp.column(exp.to_identifier("class", quoted=True)) for side in _SIDES},
    **{f"{side}_number": exp.cast(exp.null(), "DOUBLE") for side in _SIDES},
    **{f"{side}_positive": " >50K" for side in _SIDES},
    **{f"{side}_score": "score" for side in _SIDES},
    **{f"{side}_actual": exp.column(exp.to_identifier("hours-per-week", quoted=True)) for side in _SIDES},
    **{f"{side}_predicted": exp.column(exp.to_identifier("score", quoted=True)) for side in _SIDES},
    "loss": "log",
    "floor": 1e-15,
    "ceiling": 1 - 1e-15,
}
# Where one query needs something else.
_OTHERWISE: dict[str, dict[str, object]] = {
    "errors": {"{label}": "hours-per-week", "prediction": "score"},
    "unweighted_errors": {"{label}": "hours-per-week", "prediction": "score"},
    "set_memory_limit": {"limit": "1GiB"},
    "first": {"column": "class"},
    "definition": {"name": '"golden"."census"'},
    "create_staging": {"table": "pg_temp.automl_staging"},
    "hive/rename_table": {"name": "golden.census2"},  # a bare name would be in the session's schema
    "spark/rename_table": {"name": "golden.census2"},
    "trino/rename_table": {"name": "golden.census2"},
}


def names(engine: str) -> list[str]:
    """The queries that an engine has."""
    return sorted({path.stem for directory in (ROOT, ROOT / engine) for path in directory.glob("*.sql")})


def statement(name: str, engine: str) -> exp.Expression:
    """A query with the fixed parameters."""
    own = ROOT / engine / f"{name}.sql"
    path = own if own.is_file() else ROOT / f"{name}.sql"
    given = _PARAMETERS | _OTHERWISE.get(name, {}) | _OTHERWISE.get(f"{engine}/{name}", {})
    tree = parse_one(path.read_text(encoding="utf-8"), dialect="duckdb")
    found: dict[str, object] = {}
    for node in tree.walk():
        if isinstance(node, exp.Placeholder) and node.name:
            key, shown = node.name, f":{node.name}"
        elif isinstance(node, exp.Identifier) and node.name.startswith("{"):
            key, shown = node.name.strip("{}"), node.name
        else:
            continue
        if not given.keys() & {key, shown}:
            raise KeyError(f"{path.relative_to(ROOT)} has {shown}: give it a value in tests/golden/__init__.py")
        found[key] = (
            COLUMNS if isinstance(node.parent, exp.ColumnDef) and key == "columns" else given.get(shown, given.get(key))
        )
    return sql.statement(name, engine, **found)


def rendered(name: str, engine: str) -> str:
    """A query's text, as an engine gets it."""
    return sql.to_text(statement(name, engine), engine)


def text(engine: str) -> str:
    """What an engine's file must hold: each text, broken into lines where it is long."""
    parts = []
    for name in names(engine):
        short = rendered(name, engine)
        long = statement(name, engine).sql(dialect=engine, comments=False, pretty=True)
        parts.append(f"-- {name}\n{short if len(short) <= 120 else long};\n")
    return "\n".join(["-- Written by: python -m tests.golden\n", *parts])


def statements(engine: str) -> dict[str, str]:
    """The statements in an engine's file."""
    found: dict[str, str] = {}
    for part in (HERE / f"{engine}.sql").read_text(encoding="utf-8").split("\n-- ")[1:]:
        name, _, body = part.partition("\n")
        found[name] = body.strip().removesuffix(";")
    return found
