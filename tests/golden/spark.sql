-- Written by: python -m tests.golden

-- add_column
ALTER TABLE `golden`.`census` ADD COLUMNS (`capital-gain` DOUBLE);

-- append
INSERT INTO `golden`.`census` (
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
)
SELECT
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
FROM `golden`.`census`;

-- auc
WITH judged AS (
  SELECT
    CASE WHEN `class` IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN (
      ISNAN(CAST(NULL AS DOUBLE))
    ) THEN 1 ELSE 0 END AS nan_label,
    CASE WHEN `class` = ' >50K' THEN 1 ELSE 0 END AS positive,
    (
      CAST(`score` AS DOUBLE)
    ) AS score
  FROM `golden`.`census`
), grouped AS (
  SELECT
    score,
    CASE WHEN score IS NULL THEN 1 ELSE 0 END AS null_score,
    CASE WHEN (
      ISNAN(score)
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
    CAST(SUM(q) OVER (ORDER BY score NULLS LAST ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS DOUBLE) AS q_from,
    CAST(SUM(p) OVER (ORDER BY score NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS DOUBLE) AS p_up_to
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

-- classes
SELECT
  `class` AS label,
  COUNT(*) AS n,
  SUM(
    CASE WHEN `score` IS NULL OR (
      ISNAN(CAST(`score` AS DOUBLE))
    ) THEN 0 ELSE 1 END
  ) AS scored
FROM `golden`.`census`
GROUP BY
  `class`
ORDER BY
  COUNT(*) DESC,
  `class` NULLS LAST
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
  ordinal_position NULLS LAST;

-- count
SELECT COUNT(*) AS n FROM `golden`.`census`;

-- count_where
SELECT
  COUNT(CASE WHEN `class` = 'it\'s' AND `hours-per-week` IS NULL THEN 1 END) AS n,
  COUNT(*) AS total
FROM `golden`.`census`;

-- create_marked
CREATE TABLE `golden`.`census` (
  `record_id` STRING,
  `class` STRING,
  `score` DOUBLE,
  `hours-per-week` INT,
  `recorded_at` TIMESTAMP_NTZ
)
USING PARQUET
TBLPROPERTIES (
  'automl_mark'='automl it\'s'
);

-- create_marked_as
CREATE TABLE `golden`.`census`
USING PARQUET
TBLPROPERTIES (
  'automl_mark'='automl it\'s'
) AS
SELECT
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
FROM `golden`.`census`;

-- create_schema
CREATE SCHEMA IF NOT EXISTS `golden`;

-- create_table
CREATE TABLE IF NOT EXISTS `golden`.`census` (
  `record_id` STRING,
  `class` STRING,
  `score` DOUBLE,
  `hours-per-week` INT,
  `recorded_at` TIMESTAMP_NTZ
)
USING PARQUET;

-- create_view
CREATE TEMPORARY VIEW `golden_view` AS SELECT * FROM `golden`.`census`;

-- current_schema
SELECT CURRENT_DATABASE() AS current_schema;

-- delete
DELETE FROM `golden`.`census` WHERE `class` = 'it\'s' AND `hours-per-week` IS NULL;

-- describe
DESCRIBE SELECT * FROM `golden`.`census`;

-- drop_table
DROP TABLE IF EXISTS `golden`.`census`;

-- drop_view
DROP VIEW IF EXISTS `golden_view`;

-- first_file
SELECT INPUT_FILE_NAME() AS path FROM `golden`.`census` LIMIT 1;

-- insert
INSERT INTO `golden`.`census` (
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
)
SELECT
  'a',
  'it\'s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP_NTZ);

-- insert_rows
INSERT INTO `golden`.`census` (
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
)
SELECT
  'a',
  'it\'s',
  CAST('0.5' AS DOUBLE),
  NULL,
  CAST('2026-11-25 12:00:00' AS TIMESTAMP_NTZ)
FROM (
  SELECT
    1 AS n
);

-- keep
INSERT INTO `golden`.`census` (
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
)
SELECT
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
FROM `golden`.`census`
WHERE
  CASE WHEN `class` = 'it\'s' AND `hours-per-week` IS NULL THEN 0 ELSE 1 END = 1;

-- newest
WITH t AS (
  SELECT
    `record_id`,
    `class`,
    `score`,
    `hours-per-week`,
    `recorded_at`,
    MAX(recorded_at) OVER (PARTITION BY record_id) AS last_recorded_at
  FROM `golden`.`census`
)
SELECT
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
FROM t
WHERE
  (
    recorded_at = last_recorded_at OR record_id IS NULL
  )
  AND `class` = 'it\'s'
  AND `hours-per-week` IS NULL;

-- paths
SELECT DISTINCT INPUT_FILE_NAME() AS path FROM `golden`.`census`;

-- rename_table
ALTER TABLE `golden`.`census` RENAME TO `golden`.`census2`;

-- sample
SELECT
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
FROM `golden`.`census`
ORDER BY
  (
    XXHASH64(1, `record_id`, `class`, `score`, `hours-per-week`, `recorded_at`)
  ) NULLS LAST
LIMIT 5;

-- schemas
SELECT schema_name FROM information_schema.schemata;

-- select
SELECT
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
FROM `golden`.`census`
WHERE
  `class` = 'it\'s' AND `hours-per-week` IS NULL;

-- tables
SELECT
  table_schema,
  table_name
FROM information_schema.tables
WHERE
  NOT table_schema IN ('information_schema', 'pg_catalog')
ORDER BY
  table_schema NULLS LAST,
  table_name NULLS LAST;
