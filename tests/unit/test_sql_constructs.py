"""The queries keep to what every engine has: sqlglot lets through in silence what an engine lacks."""

from __future__ import annotations

from difflib import unified_diff

import pytest
from sqlglot import exp, parse_one

from airflow_provider_automl.sql.macros import MACROS
from tests.golden import ENGINES as DIALECTS
from tests.golden import HERE, ROOT, rendered
from tests.golden import text as golden

COMMON = sorted(path.stem for path in ROOT.glob("*.sql"))
ENGINES = sorted((path.parent.name, path.stem) for path in ROOT.glob("*/*.sql"))

# What a query for every engine may be made of. Before adding one: run it on Trino, Hive, Spark, Postgres and DuckDB.
ALLOWED = {
    *(exp.Select, exp.From, exp.Join, exp.Where, exp.Group, exp.Order, exp.Ordered, exp.Limit, exp.With, exp.CTE),
    exp.Union,
    *(exp.Table, exp.TableAlias, exp.Column, exp.Identifier, exp.Alias, exp.Star, exp.Placeholder),
    *(exp.Literal, exp.Null, exp.Boolean, exp.Cast, exp.DataType, exp.Paren, exp.Tuple),
    *(exp.Case, exp.If, exp.Coalesce, exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.Between),
    *(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Add, exp.Sub, exp.Mul, exp.Neg),
    *(exp.Abs, exp.Floor, exp.Ln),
    *(exp.Count, exp.Sum, exp.Min, exp.Max, exp.Avg, exp.Window, exp.WindowSpec, exp.RowNumber),
    *(exp.Create, exp.Schema, exp.ColumnDef, exp.Properties, exp.TemporaryProperty, exp.Insert, exp.Delete),
    *(exp.Drop, exp.Alter, exp.AlterRename, exp.CurrentSchema),
}


@pytest.mark.parametrize("name", COMMON)
def test_only_constructs_that_every_engine_has(name: str) -> None:
    tree = parse_one((ROOT / f"{name}.sql").read_text(encoding="utf-8"), dialect="duckdb")
    for node in tree.walk():
        if isinstance(node, exp.Anonymous):
            assert node.name.lower() in MACROS, f"{name}.sql calls {node.name}, which is no macro"
        else:
            assert type(node) in ALLOWED, f"{name}.sql has {type(node).__name__}, which some engine lacks: {node}"
        if isinstance(node, exp.Window) and node.args.get("order") and not isinstance(node.this, exp.RowNumber):
            frame = node.args.get("spec")
            assert frame is not None, f"{name}.sql: a window needs an explicit ROWS frame"
            assert frame.args["kind"] == "ROWS", f"{name}.sql: a window needs an explicit ROWS frame"
        if isinstance(node, exp.DataType) and isinstance(node.parent, exp.Cast):
            assert node.is_type("DOUBLE", "BIGINT"), f"{name}.sql casts to {node}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", COMMON)
def test_renders_for_every_engine(name: str, dialect: str) -> None:
    text = rendered(name, dialect)
    assert "{" not in text
    assert not [name for name in MACROS if f"{name}(" in text.lower()]
    assert parse_one(text, dialect=dialect).sql(dialect) == text


@pytest.mark.parametrize(("engine", "name"), ENGINES)
def test_an_engines_own_query_renders(engine: str, name: str) -> None:
    text = rendered(name, engine)
    assert "{" not in text
    assert text.replace("\\'", "").count("'") % 2 == 0


@pytest.mark.parametrize("engine", DIALECTS)
def test_the_golden_files_hold_what_is_rendered(engine: str) -> None:
    kept = (HERE / f"{engine}.sql").read_text(encoding="utf-8").splitlines()
    diff = list(unified_diff(kept, golden(engine).splitlines(), f"tests/golden/{engine}.sql", "rendered", lineterm=""))
    assert not diff, "\n".join(["review this, then write it by: python -m tests.golden", *diff])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_macros_have_one_text_a_dialect(dialect: str) -> None:
    for name, texts in MACROS.items():
        assert "default" in texts or set(DIALECTS) <= texts.keys(), name
        assert texts.keys() <= {"default", *DIALECTS}, name
        assert isinstance(parse_one(texts.get(dialect, texts["default"]), dialect=dialect), exp.Expression)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_auc_divides_nothing_and_scans_once(dialect: str) -> None:
    tree = parse_one(rendered("auc", dialect), dialect=dialect)
    assert not list(tree.find_all(exp.Div))
    assert len([table for table in tree.find_all(exp.Table) if table.db]) == 1
    names = [table.name for table in tree.find_all(exp.Table)]
    assert len(names) == len(set(names)), "an engine that inlines a CTE would scan again"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["paired_auc", "paired_means"])
def test_a_paired_comparison_divides_nothing_and_scans_each_table_once(name: str, dialect: str) -> None:
    tree = parse_one(rendered(name, dialect), dialect=dialect)
    assert not list(tree.find_all(exp.Div, exp.Join))
    names = [table.name for table in tree.find_all(exp.Table)]
    assert names.count("census") == 2
    assert len(names) == len(set(names)) + 1, "an engine that inlines a CTE would scan again"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_macros_have_a_text_for_every_engine(dialect: str) -> None:
    call = parse_one("SELECT automl_is_nan(x), automl_shuffle_key(1, a, b)", dialect="duckdb")
    from airflow_provider_automl.sql.macros import expand

    for node in list(call.find_all(exp.Anonymous)):
        node.replace(expand(node, dialect))
    text = call.sql(dialect)
    assert "automl" not in text.lower()
    assert not {column.name for column in call.find_all(exp.Column)} - {"x", "a", "b"}
