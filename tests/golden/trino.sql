-- Written by: python -m tests.golden

-- add_column
ALTER TABLE "golden"."census" ADD COLUMN "capital-gain" DOUBLE;

-- append
INSERT INTO "golden"."census" (
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
)
SELECT
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
FROM "golden"."census";

-- auc
WITH judged AS (
  SELECT
    CASE WHEN "class" IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN (
      IS_NAN(CAST(NULL AS DOUBLE))
    ) THEN 1 ELSE 0 END AS nan_label,
    CASE WHEN "class" = ' >50K' THEN 1 ELSE 0 END AS positive,
    (
      CAST("score" AS DOUBLE)
    ) AS score
  FROM "golden"."census"
), grouped AS (
  SELECT
    score,
    CASE WHEN score IS NULL THEN 1 ELSE 0 END AS null_score,
    CASE WHEN (
      IS_NAN(score)
    ) THEN 1 ELSE 0 END AS nan_score,
    COUNT(*) AS n,
    SUM(null_label) AS null_labels,
    SUM(nan_label) AS nan_labels,
    SUM(positive) AS positives
  FROM judged
  GROUP BY
    score
), points AS (
  SELECT
    score,
    null_score,
    nan_score,
    n,
    null_labels,
    nan_labels,
    CAST(CASE WHEN null_score + nan_score > 0 THEN 0 ELSE positives END AS BIGINT) AS p,
    CAST(CASE
      WHEN null_score + nan_score > 0
      THEN 0
      ELSE n - null_labels - nan_labels - positives
    END AS BIGINT) AS q
  FROM grouped
), ranked AS (
  SELECT
    null_score,
    nan_score,
    n,
    null_labels,
    nan_labels,
    CAST(p AS DOUBLE) AS p,
    CAST(q AS DOUBLE) AS q,
    CAST(SUM(q) OVER (ORDER BY score ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS DOUBLE) AS q_from,
    CAST(SUM(p) OVER (ORDER BY score ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS DOUBLE) AS p_up_to
  FROM points
), placed AS (
  SELECT
    null_score,
    nan_score,
    n,
    null_labels,
    nan_labels,
    p,
    q,
    q_from - q * CAST(0.5 AS DOUBLE) AS over_p,
    p_up_to - p * CAST(0.5 AS DOUBLE) AS under_q
  FROM ranked
)
SELECT
  SUM(n) AS n,
  SUM(null_labels) AS null_labels,
  SUM(nan_labels) AS nan_labels,
  SUM(null_score * n) AS null_scores,
  SUM(nan_score * n) AS nan_scores,
  SUM(p) AS positives,
  SUM(q) AS negatives,
  SUM(p * over_p) AS over_sum,
  SUM(p * over_p * over_p) AS over_squares,
  SUM(q * under_q) AS under_sum,
  SUM(q * under_q * under_q) AS under_squares
FROM placed;

-- catalogs
SELECT catalog_name, connector_name FROM system.metadata.catalogs;

-- classes
SELECT
  "class" AS label,
  COUNT(*) AS n,
  SUM(
    CASE WHEN "score" IS NULL OR (
      IS_NAN(CAST("score" AS DOUBLE))
    ) THEN 0 ELSE 1 END
  ) AS scored
FROM "golden"."census"
GROUP BY
  "class"
ORDER BY
  COUNT(*) DESC,
  "class"
LIMIT 10;

-- columns
SELECT
  column_name,
  data_type,
  numeric_precision,
  numeric_scale
FROM information_schema.columns
WHERE
  table_name = 'golden_view'
ORDER BY
  ordinal_position;

-- count
SELECT COUNT(*) AS n FROM "golden"."census";

-- count_where
SELECT
  COUNT(CASE WHEN "class" = 'it''s' AND "hours-per-week" IS NULL THEN 1 END) AS n,
  COUNT(*) AS total
FROM "golden"."census";

-- create_as
CREATE TABLE "golden"."census" AS
SELECT
  'a',
  'it''s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP(6))
FROM "golden"."census";

-- create_like
CREATE TABLE "golden"."census" (LIKE "golden"."census");

-- create_marked
CREATE TABLE "golden"."census" (
  "record_id" VARCHAR,
  "class" VARCHAR,
  "score" DOUBLE,
  "hours-per-week" INTEGER,
  "recorded_at" TIMESTAMP
)
COMMENT 'automl it''s';

-- create_marked_as
CREATE TABLE "golden"."census"
COMMENT 'automl it''s' AS
SELECT
  'a',
  'it''s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP(6))
FROM "golden"."census";

-- create_over
CREATE TABLE "golden"."census" (
  LIKE "golden"."census"
)
COMMENT 'automl it''s'
WITH (
  external_location='file:///data/it''s',
  format='PARQUET'
);

-- create_schema
CREATE SCHEMA IF NOT EXISTS "golden";

-- create_table
CREATE TABLE IF NOT EXISTS "golden"."census" (
  "record_id" VARCHAR,
  "class" VARCHAR,
  "score" DOUBLE,
  "hours-per-week" INTEGER,
  "recorded_at" TIMESTAMP
);

-- create_view
CREATE TEMPORARY VIEW "golden_view" AS SELECT * FROM "golden"."census";

-- current_schema
SELECT CURRENT_SCHEMA AS "current_schema", CURRENT_CATALOG AS "current_catalog";

-- delete
DELETE FROM "golden"."census" WHERE "class" = 'it''s' AND "hours-per-week" IS NULL;

-- describe
SELECT * FROM "golden"."census" LIMIT 0;

-- drop_table
DROP TABLE IF EXISTS "golden"."census";

-- drop_view
DROP VIEW IF EXISTS "golden_view";

-- files
CREATE TABLE "golden"."census" (
  "record_id" VARCHAR,
  "class" VARCHAR,
  "score" DOUBLE,
  "hours-per-week" INTEGER,
  "recorded_at" TIMESTAMP
)
COMMENT 'automl it''s'
WITH (
  external_location='file:///data/it''s',
  format='PARQUET'
);

-- insert
INSERT INTO "golden"."census" (
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
)
SELECT
  'a',
  'it''s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP(6));

-- insert_from
INSERT INTO "golden"."census" (
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
)
SELECT
  'a',
  'it''s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP(6))
FROM "golden"."census";

-- insert_rows
INSERT INTO "golden"."census" (
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
)
SELECT
  'a',
  'it''s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP(6))
FROM UNNEST(CAST(JSON_PARSE('[["1", "it''s"]]') AS ARRAY(ARRAY(VARCHAR)))) AS t(r);

-- mark
COMMENT ON TABLE "golden"."census" IS 'automl it''s';

-- marks
SELECT
  comment
FROM system.metadata.table_comments
WHERE
  catalog_name = 'hive' AND schema_name = 'golden' AND table_name = 'census2';

-- merge
MERGE INTO "golden"."census"
USING "golden"."census"
ON s.automl_part = CASE WHEN "class" = 'it''s' AND "hours-per-week" IS NULL THEN 0 ELSE 2 END
WHEN MATCHED THEN DELETE
WHEN NOT MATCHED AND s.automl_part = 1 THEN INSERT ("record_id", "class", "score", "hours-per-week", "recorded_at") VALUES ("record_id", "class", "score", "hours-per-week", "recorded_at");

-- merged
CREATE TABLE "golden"."census"
COMMENT 'automl it''s' AS
SELECT
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
FROM "golden"."census"
WHERE
  CASE WHEN "class" = 'it''s' AND "hours-per-week" IS NULL THEN 0 ELSE 1 END = 1
UNION ALL
SELECT
  'a',
  'it''s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP(6))
FROM "golden"."census";

-- newest
WITH t AS (
  SELECT
    "record_id",
    "class",
    "score",
    "hours-per-week",
    "recorded_at",
    MAX(recorded_at) OVER (PARTITION BY record_id) AS last_recorded_at
  FROM "golden"."census"
)
SELECT
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
FROM t
WHERE
  (
    recorded_at = last_recorded_at OR record_id IS NULL
  )
  AND "class" = 'it''s'
  AND "hours-per-week" IS NULL;

-- paths
SELECT DISTINCT "$path" AS path FROM "golden"."census";

-- probe
SELECT 1 AS found FROM "golden"."census" LIMIT 0;

-- rename_table
ALTER TABLE "golden"."census" RENAME TO "golden"."census2";

-- replace
CREATE OR REPLACE TABLE "golden"."census" AS
SELECT
  'a',
  'it''s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP(6))
FROM "golden"."census";

-- running
SELECT
  query_id
FROM system.runtime.queries
WHERE
  NOT state IN ('FINISHED', 'FAILED')
  AND STRPOS(query, 'census2') > 0
  AND STRPOS(query, 'STRPOS') = 0;

-- running_before
SELECT
  query_id,
  SUBSTR(query, '20261125_000000', 10) AS attempt
FROM system.runtime.queries
WHERE
  NOT state IN ('FINISHED', 'FAILED') AND STRPOS(query, '/* automl it''s */') = 1;

-- sample
SELECT
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
FROM "golden"."census"
ORDER BY
  (
    MD5(
      TO_UTF8(
        JSON_FORMAT(
          CAST(ROW(1, "record_id", "class", "score", "hours-per-week", "recorded_at") AS JSON)
        )
      )
    )
  )
LIMIT 5;

-- schemas
SELECT schema_name FROM information_schema.schemata;

-- select
SELECT
  "record_id",
  "class",
  "score",
  "hours-per-week",
  "recorded_at"
FROM "golden"."census"
WHERE
  "class" = 'it''s' AND "hours-per-week" IS NULL;

-- tables
SELECT
  table_schema,
  table_name
FROM information_schema.tables
WHERE
  NOT table_schema IN ('information_schema', 'pg_catalog')
ORDER BY
  table_schema,
  table_name;

-- tables_of_schema
SELECT table_name, table_type FROM "information_schema"."tables" WHERE table_schema = 'golden';
