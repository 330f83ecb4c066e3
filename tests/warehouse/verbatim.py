# ruff: noqa: E501 - lists of queries
"""Queries as users write them, in each engine's own syntax: what must reach the engine as it is written.

``texts(engine)`` are over the table ``s.v`` (:func:`rows`). Some are of constructs that sqlglot reads or writes otherwise
than the engine does, or does not read at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pyarrow as pa

ENGINES = ("duckdb", "postgres", "trino", "hive", "spark")


def rows() -> pa.Table:
    """Twelve rows with NULLs, quotes, a day or two each of dates and times."""
    start = dt.datetime(2026, 1, 7, 21, 30)  # noqa: DTZ001 - a column without zone
    return pa.table(
        {
            "id": pa.array(range(12), pa.int64()),
            "g": pa.array(["a", "b", None, "it's", 'say "x"', "a", "b", "c", "-- c", "/* d */", ";", "é"]),
            "x": pa.array([None if i == 5 else i * 0.75 - 2 for i in range(12)], pa.float64()),
            "n": pa.array([i % 4 for i in range(12)], pa.int32()),
            "d": pa.array([dt.date(2026, 1, 1 + i) for i in range(12)], pa.date32()),
            "ts": pa.array([start + dt.timedelta(hours=9 * i) for i in range(12)], pa.timestamp("us")),
        }
    )


# Expressions over a row that every engine reads.
_EXPRESSIONS = [
    "x * 2", "x / 3", "id % 5", "-x", "ABS(x - 1)", "ROUND(x)", "FLOOR(x)", "CEIL(x)", "id + n * 2 - 1",
    "COALESCE(g, 'none')", "UPPER(g)", "LOWER(g)", "LENGTH(g)", "SUBSTR(g, 1, 2)", "TRIM(g)", "REPLACE(g, 'a', 'b')",
    "CONCAT(COALESCE(g, ''), '-- no comment')", "'/* no comment */'", "';'", "'a\"b'", "'%s %% %(x)s {x} {{ x }}'",
    "CASE WHEN x > 2 THEN 'high' WHEN x IS NULL THEN NULL ELSE 'low' END", "CASE n WHEN 0 THEN 'zero' ELSE 'more' END",
    "g IS NULL", "g IS NOT NULL", "x BETWEEN 1 AND 3", "id IN (1, 2, 3)", "g LIKE 'a%'", "NOT (n = 2)", "NULLIF(n, 2)",
    "CAST(x AS BIGINT)", "CAST(id AS REAL)", "CAST(n AS DECIMAL(12, 3))", "CAST('12' AS INT) + n",
    "DATE '2026-01-10'", "TIMESTAMP '2026-01-10 12:34:56'", "d > DATE '2026-01-05'", "ts < TIMESTAMP '2026-01-09 00:00:00'",
    "1e3", "1.50", "GREATEST(n, 2)", "LEAST(n, 2)", "SUM(n) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "ROW_NUMBER() OVER (PARTITION BY n ORDER BY id DESC)", "LAG(id) OVER (ORDER BY id)",
    "EXTRACT(YEAR FROM d)", "EXTRACT(DAY FROM d)",
]  # fmt: skip

# Statements that every engine reads.
_STATEMENTS = [
    "SELECT * FROM s.v",
    "select ID, X from s.v where id < 3",
    "SELECT id FROM s.v -- where id = 1",
    "SELECT id FROM s.v\n-- the end\n",
    "-- the beginning\nSELECT id FROM s.v",
    "SELECT id\n\n\nFROM s.v\t WHERE id<>2 ;",
    "SELECT id FROM s.v; -- done;",
    "SELECT v.id AS a, w.id AS b FROM s.v v JOIN s.v w ON v.id = w.id + 1",
    "SELECT v.id, w.x FROM s.v AS v LEFT JOIN s.v AS w ON v.n = w.id WHERE v.id < 4",
    "SELECT n, COUNT(*) AS c, SUM(x) AS t FROM s.v GROUP BY n",
    "SELECT n, COUNT(*) AS c FROM s.v GROUP BY n HAVING COUNT(*) > 2",
    "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY n, g",
    "SELECT DISTINCT n FROM s.v",
    "SELECT id FROM s.v ORDER BY x DESC, id LIMIT 3",
    "SELECT id FROM s.v WHERE id < 2 UNION ALL SELECT n FROM s.v WHERE id > 9",
    "SELECT n FROM s.v UNION SELECT n FROM s.v",
    "WITH q AS (SELECT id, n FROM s.v WHERE n < 2) SELECT q.id FROM q",
    "WITH a AS (SELECT id FROM s.v), b AS (SELECT id FROM a WHERE id > 2) SELECT b.id FROM b",
    "WITH automl AS (SELECT 1 AS one) SELECT one FROM automl",
    "SELECT id FROM (SELECT id, n FROM s.v WHERE n = 1) q",
    "SELECT id FROM s.v WHERE n IN (SELECT n FROM s.v WHERE id = 3)",
    "SELECT id FROM s.v v WHERE EXISTS (SELECT 1 FROM s.v w WHERE w.n = v.id)",
    "SELECT id AS `select`, x AS `some name` FROM s.v",
    "SELECT MAX(id) AS m, MIN(d) AS first_day FROM s.v",
    "SELECT 1 AS one",
    "SELECT COUNT(DISTINCT n) AS c, AVG(x) AS a FROM s.v",
    "SELECT id, 'a)b(c' AS p FROM s.v WHERE g <> '('",
    "SELECT a.id FROM s.v a, s.v b WHERE a.id = b.n AND b.id < 4",
    "SELECT v.* FROM s.v v CROSS JOIN (SELECT 1 AS k) k WHERE v.id < 3",
]

# In one engine's own syntax.
_OWN_EXPRESSIONS = {
    "duckdb": [
        # Intervals, of which sqlglot loses parts.
        "ts - INTERVAL '3 days 12:00'", "ts + INTERVAL '1 day 12:00'", "ts + INTERVAL '1 day ago'", "ts + INTERVAL '2' DAY",
        "ts + INTERVAL 3 HOURS", "ts + INTERVAL (n) DAYS", "INTERVAL '1 year 2 months'", "INTERVAL '90 minutes'",
        "ts + INTERVAL '1.5 hours'", "ts - INTERVAL '1 week'", "ts + INTERVAL '01:02:03'", "d + INTERVAL 1 MONTH",
        "INTERVAL '-1 day'", "INTERVAL '1 day -2 hours'", "ts > timestamp '2026-01-10' - INTERVAL '3 days 12:00'",
        "d - DATE '2026-01-01'", "ts - TIMESTAMP '2026-01-01'", "d + 3", "AGE(ts, TIMESTAMP '2025-12-25')",
        # Typed literals, casts.
        "x::DECIMAL(8, 2)", "'12'::INT", "TRY_CAST(g AS INT)", "DECIMAL '1.50'", "'\\x41'::BLOB", "1_000", "1e-3",
        "'2026-01-01'::DATE", "TIMESTAMPTZ '2026-01-01 00:00:00+02'", "TIME '12:00:01'", "CAST(x AS FLOAT)", "x::HUGEINT",
        "E'a\\nb'", "$$it's; fine$$", "$tag$a $$ b$tag$", "'a' || g || 'b'", "g || NULL", "CAST([1, 2] AS INT[])",
        # Structs, lists, maps, lambdas.
        "{'a': id, 'b': g}", "{'a': id}.a", "[id, n]", "[id, n][1]", "LIST_VALUE(1, 2, 3)", "MAP {'k': id}", "MAP {'k': n}['k']",
        "LIST_TRANSFORM([1, 2, 3], lambda y: y + n)", "[y * 2 FOR y IN [1, 2, 3] IF y > n]", "UNNEST([id, n])",
        "STRUCT_PACK(a := id)", "ROW(id, g)", "STRUCT_EXTRACT({'a': n}, 'a')", "LIST_SORT([3, 1, n])", "LEN([1, 2])",
        # Operators and functions of its own.
        "id // 5", "2 ** n", "n ^ 2", "n!", "g ILIKE 'A%'", "g SIMILAR TO '[a-c]'", "g ~ '^a'", "g !~ 'b'", "g GLOB 'a*'",
        "x IS DISTINCT FROM 1", "n & 1", "n << 2", "~n", "@x", "(id::VARCHAR)[1:1]", "g[1:2]", "g[-1]", "g.upper()",
        "(n = 1) IS TRUE", "n IN [1, 2]", "DATE_TRUNC('hour', ts)", "STRFTIME(ts, '%Y-%m')",
        "EPOCH(ts)", "ts AT TIME ZONE 'UTC'", "EXTRACT(EPOCH FROM ts)", "DATE_PART('dow', d)", "MD5(g)", "HASH(g)",
        "COUNT(*) FILTER (WHERE n > 0) OVER ()", "FIRST_VALUE(g IGNORE NULLS) OVER (ORDER BY id)",
        "SUM(n) OVER (ORDER BY ts RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)", "IF(n > 1, 'y', 'n')",
        "SUM(x) OVER w", "x::DOUBLE / 0", "ISNAN('nan'::DOUBLE)", "'Infinity'::DOUBLE", "STRING_SPLIT(g, '')",
        "REGEXP_EXTRACT(g, '(.)', 1)", "PRINTF('%05d', id)", "CURRENT_DATE = CURRENT_DATE", "COLUMNS('id')",
    ],
    "postgres": [
        "ts - INTERVAL '3 days 12:00'", "ts + INTERVAL '1 day 12:00'", "ts + INTERVAL '1 day ago'", "INTERVAL '.5 day'",
        "INTERVAL '1-2'", "INTERVAL '1' YEAR", "INTERVAL '3 4:05:06'", "INTERVAL 'P1Y2M3DT4H5M6S'", "INTERVAL '1 week'",
        "INTERVAL '@ 1 minute'", "INTERVAL '1.5 hours'", "INTERVAL '-1 day'", "INTERVAL '1 day -2 hours'", "INTERVAL '4:05'",
        "INTERVAL '2' DAY", "INTERVAL '12:00' HOUR TO MINUTE", "n * INTERVAL '1 day'", "JUSTIFY_HOURS(INTERVAL '27 hours')",
        "ts > timestamp '2026-01-10' - INTERVAL '3 days 12:00'", "d + 3", "d - DATE '2026-01-01'", "ts - TIMESTAMP '2026-01-01'",
        "x::numeric(8, 2)", "'12'::int", "numeric '1.50'", "int4 '7'", "'\\x41'::bytea", "B'101'", "X'1F'", "float8 '1e3'",
        "timestamptz '2026-01-01 00:00:00+02'", "time '12:00:01'", "E'a\\nb'", "E'it\\'s'", "U&'d\\0061t'", "$$it's; fine$$",
        "$tag$a $$ b$tag$", "g || 'x'", "CAST(x AS real)", "'{1,2}'::int[]", "ARRAY[id, n]", "(ARRAY[1, 2, 3])[2]",
        "(ARRAY[1, 2, 3])[1:2]", "ARRAY[[1, 2], [3, 4]]", "id = ANY (ARRAY[1, 2])", "n = ALL ('{1}'::int[])",
        "ARRAY(SELECT n ORDER BY 1)", "ROW(id, g)", "jsonb_build_object('a', id)", "'{\"a\": 1}'::jsonb -> 'a'",
        "'{\"a\": {\"b\": 2}}'::jsonb #>> '{a,b}'", "'{\"a\": 1}'::jsonb @> '{\"a\": 1}'", "'[1, 2]'::json ->> 0",
        "jsonb_path_query_first('[1, 2]', '$[0]')", "n ^ 2", "|/ id", "n # 3", "n & 1", "n << 2", "~n", "@ x", "n::text",
        "g ILIKE 'A%'", "g SIMILAR TO '[a-c]'", "g ~ '^a'", "g !~* 'B'", "g ~~ 'a%'", "x IS DISTINCT FROM 1",
        "(n = 1) IS UNKNOWN", "id BETWEEN SYMMETRIC 5 AND 2", "g COLLATE \"C\" > 'b'", "(d, d + 2) OVERLAPS (d + 1, d + 3)",
        "date_trunc('hour', ts)", "to_char(ts, 'YYYY-MM\"T\"HH24')", "extract(epoch from ts)", "ts AT TIME ZONE 'UTC'",
        "date_part('dow', d)", "position('a' in g)", "substring(g from 1 for 2)", "overlay(g placing 'x' from 1 for 1)",
        "trim(both 'a' from g)", "format('%s-%s', id, g)", "md5(g)", "lpad(g, 3, '*')", "split_part(g, ' ', 1)",
        "regexp_replace(g, '(.)', '\\1\\1')", "count(*) FILTER (WHERE n > 0) OVER ()", "sum(x) OVER w",
        "first_value(g) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW)", "CURRENT_DATE = CURRENT_DATE",
        "sum(n) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW)", "int4range(n, n + 3)",
        "5 <@ int4range(n, 9)", "'a'::\"char\"", "inet '10.0.0.1' << inet '10.0.0.0/8'", "point(1, 2) <-> point(4, 6)",
        "CAST('nan' AS double precision)", "'infinity'::float8", "width_bucket(x, 0, 5, 5)", "num_nonnulls(g, x)",
        "1 OPERATOR(pg_catalog.+) n", "pg_typeof(x)", "CASE WHEN n > 0 THEN 1 END IS NULL",
    ],
    "trino": [
        "DECIMAL '0.05'", "DECIMAL '1.50'", "DECIMAL '123456789012345678901234567890'", "x > DECIMAL '0.05'", "CHAR 'ab'",
        "CAST('ab' AS CHAR(4))", "REAL '1.5'", "DOUBLE '1e3'", "BIGINT '7'", "TINYINT '7'", "SMALLINT '7'", "VARCHAR 'x'",
        "X'4142'", "U&'d\\0061t'", "TIMESTAMP '2026-01-01 00:00:00.123456'", "TIMESTAMP '2026-01-01 00:00:00 Europe/Berlin'",
        "TIME '12:00:01'", "DATE '2026-01-01' + INTERVAL '2' DAY", "INTERVAL '1' YEAR", "INTERVAL '1-2' YEAR TO MONTH",
        "INTERVAL '2 03:04' DAY TO MINUTE", "INTERVAL '1 02:03:04.005' DAY TO SECOND", "INTERVAL -'3' HOUR", "ts - INTERVAL '36' HOUR",
        "ts + INTERVAL '1 12' DAY TO HOUR", "JSON '{\"a\": 1}'", "json_extract_scalar('{\"a\": 1}', '$.a')", "UUID '12151fd2-7586-11e9-8f9e-2a86e4085a59'",
        "IPADDRESS '10.0.0.1'", "ARRAY[id, n]", "ARRAY[1, 2, 3][2]", "ROW(id, g)", "CAST(ROW(1, 'a') AS ROW(p BIGINT, q VARCHAR)).p",
        "MAP(ARRAY['k'], ARRAY[id])", "MAP(ARRAY['k'], ARRAY[n])['k']", "transform(ARRAY[1, 2, 3], y -> y + n)",
        "filter(ARRAY[1, 2, 3], y -> y > n)", "reduce(ARRAY[1, 2], 0, (a, y) -> a + y, a -> a)", "cardinality(ARRAY[1, 2])",
        "element_at(ARRAY[1], 5)", "sequence(1, n + 1)", "TRY(1 / n)", "TRY_CAST(g AS BIGINT)", "IF(n > 1, 'y', 'n')", "id / 5",
        "7 / 2", "7 / 2.0", "1.5 * n", "DECIMAL '10' / 3", "x IS DISTINCT FROM 1", "g LIKE 'a!%' ESCAPE '!'", "n = ANY (VALUES 1, 2)",
        "n < ALL (VALUES 9, 8)", "regexp_like(g, '^a')", "regexp_extract(g, '(.)', 1)", "date_trunc('hour', ts)", "date_diff('day', d, DATE '2026-02-01')",
        "date_format(ts, '%Y-%m')", "format('%05d', id)", "to_unixtime(ts)", "at_timezone(CAST(ts AS TIMESTAMP WITH TIME ZONE), 'UTC') IS NOT NULL",
        "ts AT TIME ZONE 'UTC' IS NOT NULL", "extract(DOW FROM d)", "day_of_week(d)", "md5(to_utf8(g))", "to_hex(md5(to_utf8(g)))", "split(g, ' ')",
        "strpos(g, 'a')", "concat_ws('-', g, 'x')", "position('a' IN g)", "substring(g FROM 1 FOR 1)", "trim(BOTH 'a' FROM g)",
        "sum(x) OVER w", "first_value(g) IGNORE NULLS OVER (ORDER BY id)",
        "sum(n) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1' DAY PRECEDING AND CURRENT ROW)", "array_agg(n) OVER (ORDER BY id ROWS 1 PRECEDING)",
        "nan()", "infinity()", "is_nan(x)", "bitwise_and(n, 1)", "power(2, n)", "CURRENT_DATE = CURRENT_DATE", "typeof(x)", "coalesce(g, 'none') || 'x'",
        "width_bucket(x, 0, 5, 5)", "CASE WHEN n > 0 THEN 1 END IS NULL", "contains(ARRAY[1, 2], n)", "approx_distinct(n) OVER ()",
    ],
    "hive": [
        "named_struct('a', id)", "named_struct('a', id).a", "array(id, 2)", "array(1, 2, 3)[1]", "map('k', id)", "map('k', n)['k']",
        "d + INTERVAL '2' DAY", "ts + INTERVAL '1' YEAR", "ts - INTERVAL '3' HOUR", "ts - INTERVAL '1 12:00:00' DAY TO SECOND",
        "date_add(d, 3)", "date_sub(d, 3)", "datediff(d, '2026-01-01')", "add_months(d, 1)", "trunc(d, 'MM')", "date_format(ts, 'yyyy-MM')",
        "unix_timestamp(ts)", "to_date(ts)", "year(d)", "weekofyear(d)", "last_day(d)", "'a\\'b'", "'a\\nb'", "\"double quoted\"", "'it''s'",
        "10L", "10S", "10Y", "1.5BD", "1e3", "10 DIV 3", "7 / 2", "7 % 3", "n & 1", "n | 4", "n ^ 1", "~n", "pmod(-7, 3)", "x <=> 1", "g RLIKE '^a'",
        "g REGEXP 'b'", "nvl(g, 'none')", "if(n > 1, 'y', 'n')", "coalesce(g, 'none')", "cast(x AS DECIMAL(8, 2))", "cast('1.50' AS DECIMAL(4, 2))",
        "cast(id AS STRING)", "cast('2026-01-01' AS DATE)", "concat_ws('-', g, 'x')", "split('a b', ' ')", "size(array(1, 2))", "sort_array(array(3, 1))",
        "array_contains(array(1, 2), n)", "instr(g, 'a')", "locate('a', g)", "regexp_extract(g, '(.)', 1)", "regexp_replace(g, 'a', 'b')",
        "substr(g, -1)", "reverse(g)", "repeat(g, 2)", "lpad(g, 3, '*')", "initcap(g)", "md5(g)", "sha2(g, 256)", "hex('AB')", "conv('ff', 16, 10)",
        "get_json_object('{\"a\": 1}', '$.a')", "parse_url('http://a.b/c?d=e', 'HOST')", "round(2.5)", "bround(2.5)", "log2(8)", "cbrt(27)", "pow(2, n)", "sign(x)",
        "greatest(n, 2)", "sum(n) OVER (PARTITION BY id)", "row_number() OVER (PARTITION BY n ORDER BY id)", "ntile(3) OVER (ORDER BY id)", "lead(id, 2) OVER (ORDER BY id)",
        "first_value(g) OVER (ORDER BY id)", "sum(n) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)", "percent_rank() OVER (ORDER BY id)",
        "current_date = current_date", "x IS NOT DISTINCT FROM 1", "g NOT LIKE 'a%'", "length(g) > 1 OR g IS NULL", "isnull(g)", "isnotnull(g)", "assert_true(1 = 1)",
        "levenshtein('kitten', 'sitting')", "soundex('a')", "translate(g, 'a', 'z')", "base64(cast(g AS BINARY))", "crc32(g)", "factorial(n)", "cast(n AS BOOLEAN)", "space(2)",
        "quarter(d)", "hour(ts)", "months_between(d, '2026-01-01')", "next_day(d, 'MON')", "from_unixtime(0)", "cast(ts AS DATE)", "ascii(g)", "find_in_set('b', 'a,b')",
    ],
    "spark": [
        "INTERVAL '3 days 12 hours'", "ts - INTERVAL '3 days 12 hours'", "INTERVAL 1 DAY", "INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '2 03:04' DAY TO MINUTE",
        "ts + INTERVAL 3 HOURS 30 MINUTES", "ts - INTERVAL '1' DAY", "d + INTERVAL '1' MONTH", "ts + make_interval(0, 0, 0, 1)", "d - DATE'2026-01-01'", "ts - TIMESTAMP_NTZ'2026-01-01'",
        "10L", "10S", "10Y", "1.5D", "1.5F", "1.5BD", "1e3", "X'4142'", "DATE'2026-01-01'", "TIMESTAMP_NTZ'2026-01-01 00:00:00.123456'", "TIMESTAMP_LTZ'2026-01-01 00:00:00'",
        "'a\\'b'", "'a\\nb'", "r'a\\nb'", "\"double quoted\"", "'it''s'", "cast(x AS DECIMAL(8, 2))", "x::decimal(8, 2)", "try_cast(g AS INT)", "n::string", "CAST('1.50' AS DECIMAL(4, 2))",
        "struct(id, g)", "named_struct('a', id)", "named_struct('a', id).a", "array(id, 2)", "array(1, 2, 3)[1]", "element_at(array(1, 2), 1)", "map('k', id)", "map('k', n)['k']",
        "transform(array(1, 2, 3), y -> y + n)", "filter(array(1, 2, 3), y -> y > n)", "aggregate(array(1, 2), 0, (a, y) -> a + y)", "exists(array(1, 2), y -> y = n)", "zip_with(array(1), array(2), (a, b) -> a + b)",
        "sequence(1, n + 1)", "try_divide(1, n)", "try_add(id, n)", "10 DIV 3", "7 / 2", "7 % 3", "n & 1", "n | 4", "n ^ 1", "~n", "n << 2", "pmod(-7, 3)", "x <=> 1", "g RLIKE '^a'", "g ILIKE 'A%'",
        "g LIKE ANY ('a%', 'b%')", "nvl(g, 'none')", "nvl2(g, 'y', 'n')", "if(n > 1, 'y', 'n')", "date_add(d, 3)", "datediff(d, DATE'2026-01-01')", "add_months(d, 1)", "date_trunc('hour', ts)",
        "trunc(d, 'MM')", "date_format(ts, 'yyyy-MM')", "extract(DOW FROM d)", "date_part('dow', d)", "make_date(2026, 1, n + 1)", "unix_timestamp(ts)", "to_date('2026-01-01')", "last_day(d)", "next_day(d, 'MON')",
        "concat_ws('-', g, 'x')", "split('a b', ' ')", "size(array(1, 2))", "sort_array(array(3, 1))", "array_contains(array(1, 2), n)", "array_distinct(array(1, 1))", "regexp_extract(g, '(.)', 1)", "regexp_replace(g, 'a', 'b')",
        "format_string('%05d', id)", "substring(g, -1)", "reverse(g)", "lpad(g, 3, '*')", "initcap(g)", "md5(g)", "sha2(g, 256)", "xxhash64(g)", "hash(g)", "get_json_object('{\"a\": 1}', '$.a')", "from_json('{\"a\": 1}', 'a INT').a",
        "to_json(named_struct('a', id))", "round(2.5)", "bround(2.5)", "greatest(n, 2)", "sum(n) OVER (PARTITION BY id)", "count(*) FILTER (WHERE n > 0) OVER ()", "sum(x) OVER w", "first_value(g) IGNORE NULLS OVER (ORDER BY id)",
        "sum(n) OVER (ORDER BY id RANGE BETWEEN 2 PRECEDING AND CURRENT ROW)", "typeof(x)", "equal_null(g, 'a')", "isnan(double('nan'))", "double('infinity')", "left(g, 1)", "position('a' IN g)", "overlay(g PLACING 'x' FROM 1 FOR 1)",
        "trim(BOTH 'a' FROM g)", "current_date = current_date", "width_bucket(x, 0, 5, 5)", "bit_count(n)", "CASE WHEN n > 0 THEN 1 END IS NULL", "g COLLATE UTF8_BINARY", "array(named_struct('a', n))[0].a",
    ],
}  # fmt: skip
_OWN_STATEMENTS = {
    "duckdb": [
        "FROM s.v", "FROM s.v SELECT id WHERE n = 1", "SELECT * EXCLUDE (g) FROM s.v", "SELECT * REPLACE (n + 1 AS n) FROM s.v", "SELECT COLUMNS('n|id') FROM s.v", "TABLE s.v",
        "VALUES (1, 'a'), (2, 'b')", "SELECT * FROM (VALUES (1, 'a')) AS t(k, w)", "SELECT n, COUNT(*) AS c FROM s.v GROUP BY ALL", "SELECT id FROM s.v ORDER BY ALL LIMIT 2",
        "PIVOT s.v ON n IN (0, 1, 2, 3) USING SUM(id) GROUP BY g", "PIVOT (SELECT id, n FROM s.v) ON n USING COUNT(*)", "UNPIVOT (SELECT id, n FROM s.v) ON n INTO NAME k VALUE w", "FROM (PIVOT s.v ON n IN (0, 1) USING MAX(id) GROUP BY d)",
        "SELECT id FROM s.v QUALIFY ROW_NUMBER() OVER (PARTITION BY n ORDER BY id) = 1", "SELECT id FROM s.v USING SAMPLE 100%", "SELECT id FROM s.v TABLESAMPLE 100%", "SELECT id FROM s.v LIMIT 50%",
        "SELECT v.id, w.id AS other FROM s.v v ASOF JOIN s.v w ON v.ts >= w.ts AND v.n = w.n", "SELECT v.id FROM s.v v SEMI JOIN s.v w ON v.id = w.n", "SELECT v.id FROM s.v v ANTI JOIN s.v w ON v.id = w.n", "SELECT id, w FROM s.v POSITIONAL JOIN (SELECT id AS w FROM s.v)",
        "SELECT v.id, l.m FROM s.v v, LATERAL (SELECT v.n * 2 AS m) l", "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5) SELECT i FROM r", "SELECT id, g AS 'quoted' FROM s.v", "SELECT id AS \"A b\", n AS \"x\"\"y\" FROM s.v",
        "SELECT UNNEST({'a': 1, 'b': 2})", "SELECT n, SUM(x) AS t FROM s.v GROUP BY ROLLUP (n)", "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY GROUPING SETS ((n), (g), ())", "SELECT id FROM s.v WHERE n = 1 INTERSECT ALL SELECT id FROM s.v WHERE id > 3", "SELECT id, n FROM s.v EXCEPT SELECT 1, 1",
        "SELECT id FROM s.v UNION ALL BY NAME SELECT n AS id FROM s.v", "SELECT range AS i FROM range(3)", "SELECT * FROM generate_series(1, 3) AS t(i)", "SELECT i.id FROM s.v AS i /* a /* nested */ comment */", "SELECT id, /* ; */ n FROM s.v", "SELECT id: v.id, twice: v.id * 2 FROM s.v",
        "SELECT ARG_MAX(g, id) AS last, LIST(id ORDER BY id DESC) AS ids, STRING_AGG(g, ',' ORDER BY id) AS gs FROM s.v", "SELECT SUM(x) OVER w AS t FROM s.v WINDOW w AS (ORDER BY id ROWS 2 PRECEDING)", "SELECT id FROM s.v WHERE (n, id) IN ((1, 1), (2, 2))",
        "SELECT id, FROM s.v", "SELECT id FROM s.v WHERE g = 'a' OR g = $$b$$", "(SELECT id FROM s.v)", "((SELECT id FROM s.v) UNION ALL (SELECT n FROM s.v))", "WITH a AS MATERIALIZED (SELECT id FROM s.v) SELECT * FROM a", "SELECT s.v.id FROM s.v", "SELECT v FROM s.v AS v", "DESCRIBE s.v", "SUMMARIZE s.v",
    ],
    "postgres": [
        "TABLE s.v", "VALUES (1, 'a'), (2, 'b')", "SELECT * FROM (VALUES (1, 'a')) AS t(k, w)", "SELECT DISTINCT ON (n) n, id FROM s.v ORDER BY n, id", "SELECT v.id, l.m FROM s.v v, LATERAL (SELECT v.n * 2 AS m) l", "SELECT v.id, l.m FROM s.v v LEFT JOIN LATERAL (SELECT v.n * 2 AS m) l ON true",
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5) SELECT i FROM r", "WITH a AS MATERIALIZED (SELECT id FROM s.v) SELECT * FROM a", "SELECT id FROM s.v FETCH FIRST 3 ROWS ONLY", "SELECT id FROM s.v ORDER BY n FETCH FIRST 2 ROWS WITH TIES", "SELECT id FROM s.v OFFSET 9",
        "SELECT id FROM s.v TABLESAMPLE SYSTEM (100)", "SELECT n, SUM(x) AS t FROM s.v GROUP BY ROLLUP (n)", "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY GROUPING SETS ((n), (g), ())", "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY CUBE (n, g)", "SELECT id FROM s.v WHERE n = 1 INTERSECT ALL SELECT id FROM s.v WHERE id > 3",
        "SELECT id, n FROM s.v EXCEPT SELECT 1, 1", "SELECT i FROM generate_series(1, 3) AS i", "SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS t(i, o)", "SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS t(k, w)", "SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS t(a, b)",
        "SELECT i.id FROM s.v AS i /* a /* nested */ comment */", "SELECT id, /* ; */ n FROM s.v", "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) AS m FROM s.v", "SELECT string_agg(g, ',' ORDER BY id) AS gs, array_agg(id ORDER BY id DESC) AS ids FROM s.v", "SELECT sum(x) OVER w AS t FROM s.v WINDOW w AS (ORDER BY id ROWS 2 PRECEDING)",
        "SELECT id FROM s.v WHERE (n, id) IN ((1, 1), (2, 2))", "SELECT id AS \"A b\", n AS \"x\"\"y\" FROM s.v", "SELECT id AS U&\"d\\0061t\" FROM s.v", "(SELECT id FROM s.v)", "((SELECT id FROM s.v) UNION ALL (SELECT n FROM s.v))", "SELECT ALL id FROM ONLY s.v", "SELECT s.v.id FROM s.v", "SELECT (ROW(1, 'a')).f1 AS a",
        "SELECT * FROM json_to_recordset('[{\"a\": 1}]') AS t(a int)", "SELECT id FROM s.v v NATURAL JOIN (SELECT id, n FROM s.v) w", "SELECT id FROM s.v FULL JOIN (SELECT 99 AS id) w USING (id)", "SELECT id FROM s.v ORDER BY x USING >", "SELECT id FROM s.v WHERE g = 'a' OR g = $$b$$", "SELECT count(*) AS c FROM s.v WHERE g SIMILAR TO '%(a|b)%'",
        "SELECT mode() WITHIN GROUP (ORDER BY n) AS m FROM s.v", "SELECT 'a'\n'b' AS ab", "SELECT id FROM s.v WHERE NOT g ~ 'a' IS TRUE",
    ],
    "trino": [
        "TABLE s.v", "VALUES (1, 'a'), (2, 'b')", "SELECT * FROM (VALUES (1, 'a')) AS t(k, w)", "SELECT id FROM s.v ORDER BY id OFFSET 3 LIMIT 2", "SELECT id FROM s.v ORDER BY n FETCH FIRST 2 ROWS WITH TIES", "SELECT id FROM s.v FETCH FIRST 3 ROWS ONLY", "SELECT v.id, t.y FROM s.v v CROSS JOIN UNNEST(ARRAY[1, 2]) AS t(y)",
        "SELECT v.id, t.y, t.o FROM s.v v CROSS JOIN UNNEST(ARRAY[v.n, 9]) WITH ORDINALITY AS t(y, o)", "SELECT v.id, l.m FROM s.v v CROSS JOIN LATERAL (SELECT v.n * 2 AS m) l", "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5) SELECT i FROM r", "SELECT n, sum(x) AS t FROM s.v GROUP BY ROLLUP (n)",
        "SELECT n, g, count(*) AS c FROM s.v GROUP BY GROUPING SETS ((n), (g), ())", "SELECT n, g, count(*) AS c FROM s.v GROUP BY CUBE (n, g)", "SELECT id FROM s.v WHERE n = 1 INTERSECT SELECT id FROM s.v WHERE id > 3", "SELECT id, n FROM s.v EXCEPT SELECT 1, 1", "SELECT id FROM s.v TABLESAMPLE BERNOULLI (100)",
        "SELECT * FROM TABLE(sequence(1, 3))", "SELECT * FROM TABLE(exclude_columns(input => TABLE(s.v), columns => DESCRIPTOR(g)))", "SELECT id, /* ; */ n FROM s.v", "SELECT id AS \"A b\", n AS \"x\"\"y\" FROM s.v", "SELECT listagg(g, ',') WITHIN GROUP (ORDER BY id) AS gs FROM s.v", "SELECT array_agg(id ORDER BY id DESC) AS ids FROM s.v",
        "SELECT max_by(g, id) AS last, approx_distinct(n) AS k, arbitrary(1) AS o FROM s.v", "SELECT sum(x) OVER w AS t FROM s.v WINDOW w AS (ORDER BY id ROWS 2 PRECEDING)", "SELECT * FROM s.v MATCH_RECOGNIZE (ORDER BY id MEASURES A.id AS first_id PATTERN (A B) DEFINE B AS B.n > A.n)", "SELECT id FROM s.v WHERE (n, id) IN (VALUES (1, 1), (2, 2))",
        "(SELECT id FROM s.v)", "((SELECT id FROM s.v) UNION ALL (SELECT n FROM s.v))", "SELECT v.id FROM s.v AS v (id, a, b, c, d, e)", "SELECT grouping(n) AS k, count(*) AS c FROM s.v GROUP BY ROLLUP (n)", "SELECT count_if(n > 1) AS c, bool_and(n < 9) AS b, map_agg(id, n) AS m FROM s.v", "SELECT numeric_histogram(2, x) AS h FROM s.v", "SELECT json_query('{\"a\": [1]}', 'lax $.a') AS j",
        "SELECT * FROM json_table('[1, 2]', 'lax $[*]' COLUMNS (y INTEGER PATH 'lax $'))", "SELECT (ROW(1, 'a')).* AS (p, q)", "SELECT id FROM s.v v JOIN s.v w USING (id) WHERE w.n > 1",
    ],
    "hive": [
        "SELECT v.id, y FROM s.v v LATERAL VIEW explode(array(1, 2)) e AS y", "SELECT v.id, p, y FROM s.v v LATERAL VIEW posexplode(array(5, 6)) e AS p, y", "SELECT v.id, y FROM s.v v LATERAL VIEW OUTER explode(array(v.n)) e AS y", "SELECT explode(array(1, 2)) AS y", "SELECT id, n FROM s.v DISTRIBUTE BY n SORT BY id", "SELECT id FROM s.v CLUSTER BY id",
        "SELECT v.id FROM s.v v LEFT SEMI JOIN s.v w ON v.id = w.n", "SELECT n, SUM(x) AS t FROM s.v GROUP BY n WITH ROLLUP", "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY n, g GROUPING SETS ((n), (g))", "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY n, g WITH CUBE", "SELECT /*+ MAPJOIN(w) */ v.id FROM s.v v JOIN s.v w ON v.id = w.n",
        "SELECT collect_list(n) AS l, collect_set(1) AS t FROM (SELECT n FROM s.v WHERE id < 2) q", "SELECT percentile(id, 0.5) AS m, stddev_pop(x) AS sd, corr(id, n) AS c FROM s.v", "SELECT stack(2, 1, 'a', 2, 'b') AS (k, w)", "SELECT inline(array(struct(1, 'a'))) AS (k, w)", "SELECT json_tuple('{\"a\": 1}', 'a') AS a",
        "WITH q1 AS (SELECT id FROM s.v) SELECT a.id FROM q1 a JOIN q1 b ON a.id = b.id", "WITH q AS (SELECT ')' AS p, id FROM s.v) SELECT p, id FROM q", "WITH automl_query AS (SELECT id FROM s.v) SELECT id FROM automl_query", "SELECT id AS `a`, n AS `x-y` FROM s.v", "SELECT `id` FROM `s`.`v`", "SELECT v.id FROM s.v v FULL OUTER JOIN s.v w ON v.id = w.n",
        "SELECT id FROM s.v WHERE n NOT IN (1, 2)", "SELECT id FROM s.v WHERE g = 'a\\'b' OR n = 1", "SELECT id FROM s.v LIMIT 3, 2", "SELECT sum(x) OVER w AS t FROM s.v WINDOW w AS (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)", "SELECT id FROM s.v WHERE n = 1 INTERSECT SELECT id FROM s.v WHERE id > 3", "SELECT id, n FROM s.v EXCEPT SELECT 1L, 1",
    ],
    "spark": [
        "FROM s.v SELECT id", "TABLE s.v", "VALUES (1, 'a'), (2, 'b')", "SELECT * FROM VALUES (1, 'a'), (2, 'b') AS t(k, w)", "SELECT v.id, y FROM s.v v LATERAL VIEW explode(array(1, 2)) e AS y", "SELECT v.id, y FROM s.v v LATERAL VIEW OUTER explode(array(v.n)) e AS y", "SELECT explode(array(1, 2)) AS y", "SELECT id FROM s.v DISTRIBUTE BY n SORT BY id", "SELECT id FROM s.v CLUSTER BY id",
        "SELECT v.id FROM s.v v LEFT SEMI JOIN s.v w ON v.id = w.n", "SELECT v.id FROM s.v v LEFT ANTI JOIN s.v w ON v.id = w.n", "SELECT n, SUM(x) AS t FROM s.v GROUP BY n WITH ROLLUP", "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY GROUPING SETS ((n), (g), ())", "SELECT n, g, COUNT(*) AS c FROM s.v GROUP BY CUBE (n, g)", "SELECT n, COUNT(*) AS c FROM s.v GROUP BY ALL",
        "SELECT /*+ BROADCAST(w) */ v.id FROM s.v v JOIN s.v w ON v.id = w.n", "SELECT /*+ REPARTITION(3) */ id FROM s.v", "SELECT * EXCEPT (g) FROM s.v", "SELECT * FROM (SELECT id, n FROM s.v) PIVOT (SUM(id) FOR n IN (0, 1, 2, 3))", "SELECT * FROM (SELECT id, n FROM s.v) UNPIVOT (w FOR k IN (n))", "SELECT id FROM s.v TABLESAMPLE (100 PERCENT)",
        "SELECT v.id, l.m FROM s.v v, LATERAL (SELECT v.n * 2 AS m) l", "SELECT * FROM range(3)", "SELECT stack(2, 1, 'a', 2, 'b') AS (k, w)", "SELECT inline(array(struct(1, 'a'))) AS (k, w)", "SELECT sum(x) OVER w AS t FROM s.v WINDOW w AS (ORDER BY id ROWS 2 PRECEDING)", "SELECT id FROM s.v ORDER BY id LIMIT 2 OFFSET 3", "SELECT id AS `A b`, n AS `x-y` FROM s.v", "SELECT `id` FROM `s`.`v`",
        "SELECT id FROM s.v WHERE n = 1 INTERSECT ALL SELECT id FROM s.v WHERE id > 3", "SELECT id, n FROM s.v MINUS SELECT 1L, 1", "WITH q(k) AS (SELECT id FROM s.v) SELECT k FROM q", "SELECT i.id FROM s.v AS i /* a /* nested */ comment */", "SELECT id, /* ; */ n FROM s.v", "(SELECT id FROM s.v)", "SELECT max_by(g, id) AS last, collect_list(n) AS l, percentile(id, 0.5) AS m FROM s.v WHERE id < 3", "SELECT s.v.id FROM s.v",
        "SELECT id, n FROM s.v |> WHERE n = 1", "SELECT any_value(1) AS o, count_if(n > 1) AS c, bool_and(n < 9) AS b FROM s.v", "SELECT id FROM s.v WHERE g = 'a\\'b' OR n = 1",
    ],
}  # fmt: skip


def lost(engine: str) -> Iterator[str]:
    """Queries of which sqlglot would lose a part."""
    return (f"SELECT id, {expression} AS v FROM s.v" for expression in _lost(engine))


def _lost(engine: str) -> Iterator[str]:
    for k in range(1, 11):
        if engine in ("duckdb", "postgres"):
            yield f"ts - INTERVAL '{k} days {k + 3:02}:15'"
            yield f"ts + INTERVAL '{k} days ago'"
            yield f"ts + INTERVAL '{k} hours ago'"
            yield f"INTERVAL '.{k} day'" if engine == "postgres" else f"ts - INTERVAL '{k} months {k + 1} days ago'"
        elif engine == "trino":
            yield f"DECIMAL '{k}.50'"
            yield f"n > DECIMAL '0.{k}'"
            yield f"x * DECIMAL '1.0{k}'"
            yield f"CHAR 'a{k}b'"
        elif engine == "hive":
            yield f"named_struct('k{k}', id)"
            yield f"array(named_struct('k{k}', n, 'b', g))"
            yield f"named_struct('k{k}', named_struct('b', n))"
            yield f"map('a', named_struct('k{k}', n))"
        else:
            yield f"to_char(id, '{'9' * (k + 1)}')"
            yield f"to_char(id, 'S{'0' * (k + 1)}')"
            yield f"(SELECT percentile_cont(0.{k}5) WITHIN GROUP (ORDER BY x) FROM s.v)"
            yield f"to_json(parse_json('{{\"k\": {k}}}'))"


def texts(engine: str) -> Iterator[str]:
    """Queries over ``s.v``. Of those that all engines read, slow ones get every third."""
    slow = engine in ("hive", "spark")
    step = 3 if slow else 1
    for expression in [*_EXPRESSIONS[::step], *_OWN_EXPRESSIONS[engine]]:
        window = " WINDOW w AS (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)" if "OVER w" in expression else ""
        yield f"SELECT id, {expression} AS v FROM s.v{window}"
    for statement in _STATEMENTS[::step]:
        yield statement if slow else statement.replace("`", '"')
    yield from _OWN_STATEMENTS[engine]
    yield from lost(engine)
