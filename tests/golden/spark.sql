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
WITH automl_judged AS (
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
), automl_grouped AS (
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
  FROM automl_judged
  GROUP BY
    score
), automl_points AS (
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
  FROM automl_grouped
), automl_ranked AS (
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
  FROM automl_points
), automl_placed AS (
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
  FROM automl_ranked
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
FROM automl_placed;

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

-- confusion
WITH automl_judged AS (
  SELECT
    `class` AS label,
    `class` AS prediction,
    1 AS weight,
    `class` AS k0
  FROM `golden`.`census`
), automl_coded AS (
  SELECT
    `k0`,
    label,
    prediction,
    weight,
    CASE
      WHEN weight IS NULL
      THEN 4
      WHEN weight >= 0 AND weight < CAST('Infinity' AS DOUBLE)
      THEN 0
      ELSE 8
    END AS code
  FROM automl_judged
)
SELECT
  `k0`,
  label,
  prediction,
  code,
  COUNT(*) AS n,
  SUM(CASE WHEN code = 0 THEN weight ELSE 0 END) AS w
FROM automl_coded
GROUP BY
  `k0`,
  label,
  prediction,
  code
LIMIT 100;

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

-- crossed
SELECT * FROM `golden`.`census` CROSS JOIN (SELECT 0 AS copy) AS copies;

-- current_schema
SELECT CURRENT_DATABASE() AS current_schema;

-- delete
DELETE FROM `golden`.`census` WHERE `class` = 'it\'s' AND `hours-per-week` IS NULL;

-- describe
DESCRIBE SELECT * FROM `golden`.`census`;

-- drop_table
DROP TABLE IF EXISTS `golden`.`census`;

-- errors
WITH automl_judged AS (
  SELECT
    (
      CAST(`hours-per-week` AS DOUBLE)
    ) AS actual,
    (
      CAST(`score` AS DOUBLE)
    ) AS predicted,
    1 AS weight,
    `class` AS k0
  FROM `golden`.`census`
), automl_coded AS (
  SELECT
    `k0`,
    actual,
    predicted,
    weight,
    (
      CASE WHEN actual IS NULL THEN 1 ELSE 0 END + CASE WHEN (
        ISNAN(actual)
      ) THEN 2 ELSE 0 END + CASE WHEN predicted IS NULL THEN 16 ELSE 0 END + CASE WHEN (
        ISNAN(predicted)
      ) THEN 32 ELSE 0 END + CASE
        WHEN (
          ISNAN(actual)
        ) OR (
          ISNAN(predicted)
        )
        THEN 0
        WHEN ABS(actual) > CAST('1e+75' AS DOUBLE) OR ABS(predicted) > CAST('1e+75' AS DOUBLE)
        THEN 64
        ELSE 0
      END
    ) + CASE WHEN weight IS NULL THEN 4 ELSE 0 END + CASE
      WHEN weight >= 0 AND weight < CAST('Infinity' AS DOUBLE) OR weight IS NULL
      THEN 0
      ELSE 8
    END AS code
  FROM automl_judged
), automl_usable AS (
  SELECT
    `k0`,
    code,
    CASE WHEN code = 0 THEN actual END AS actual,
    CASE WHEN code = 0 THEN predicted - actual END AS error,
    CASE WHEN code = 0 THEN ABS(predicted - actual) END AS size,
    CASE WHEN code = 0 THEN weight ELSE 0 END AS weight
  FROM automl_coded
), automl_centred AS (
  SELECT
    `k0`,
    code,
    actual,
    error,
    size,
    weight,
    AVG(actual) OVER (PARTITION BY `k0`, code) AS actual_mean,
    AVG(error) OVER (PARTITION BY `k0`, code) AS error_mean,
    AVG(size) OVER (PARTITION BY `k0`, code) AS size_mean,
    AVG(error * error) OVER (PARTITION BY `k0`, code) AS square_mean,
    CAST(SUM(weight) OVER (PARTITION BY `k0`, code) AS DOUBLE) AS whole,
    CAST(SUM(weight) OVER (
      PARTITION BY `k0`, code
      ORDER BY size NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS DOUBLE) AS up_to
  FROM automl_usable
), automl_ready AS (
  SELECT
    `k0`,
    code,
    actual,
    error,
    size,
    weight,
    actual_mean,
    error_mean,
    size_mean,
    square_mean,
    whole,
    up_to,
    actual - actual_mean AS centred
  FROM automl_centred
)
SELECT
  `k0`,
  code,
  COUNT(*) AS n,
  SUM(weight) AS w,
  SUM(weight * error) AS error_sum,
  SUM(weight * (
    error - error_mean
  ) * (
    error - error_mean
  )) AS error_squares,
  SUM(weight * size) AS size_sum,
  SUM(weight * (
    size - size_mean
  ) * (
    size - size_mean
  )) AS size_squares,
  SUM(weight * error * error) AS square_sum,
  SUM(weight * (
    error * error - square_mean
  ) * (
    error * error - square_mean
  )) AS square_squares,
  SUM(weight * centred) AS actual_sum,
  SUM(weight * centred * centred) AS actual_squares,
  SUM(weight * centred) AS centred_sum,
  SUM(weight * centred * centred * centred) AS centred_cubes,
  SUM(weight * centred * centred * centred * centred) AS centred_fourths,
  SUM(weight * error * error * centred) AS crossed,
  SUM(weight * error * error * centred * centred) AS crossed_squares,
  SUM(
    weight * (
      (
        size
      ) / (
        CASE
          WHEN ABS(actual) > CAST('1e-15' AS DOUBLE)
          THEN ABS(actual)
          ELSE CAST('1e-15' AS DOUBLE)
        END
      )
    )
  ) AS ratio_sum,
  MIN(CASE WHEN weight > 0 THEN actual END) AS least,
  MAX(CASE WHEN weight > 0 THEN actual END) AS most,
  MIN(
    CASE
      WHEN weight > 0 AND 2 * up_to >= whole * (
        1 - CAST('1e-12' AS DOUBLE)
      )
      THEN size
    END
  ) AS median_low,
  MIN(
    CASE
      WHEN weight > 0 AND 2 * up_to > whole * (
        1 + CAST('1e-12' AS DOUBLE)
      )
      THEN size
    END
  ) AS median_high
FROM automl_ready
GROUP BY
  `k0`,
  code
LIMIT 100;

-- first
SELECT `class` AS value FROM `golden`.`census` WHERE NOT `class` IS NULL LIMIT 1;

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

-- labels
SELECT
  `class` AS label,
  COUNT(*) AS n
FROM `golden`.`census`
GROUP BY
  `class`
ORDER BY
  COUNT(*) DESC,
  `class` NULLS LAST
LIMIT 10;

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

-- numbered
SELECT
  ROW_NUMBER() OVER (ORDER BY `record_id` NULLS LAST, `class` NULLS LAST) AS row_id,
  `record_id`,
  `class`,
  `score`,
  `hours-per-week`,
  `recorded_at`
FROM `golden`.`census`;

-- paired_auc
WITH automl_sides AS (
  SELECT
    `record_id` AS id,
    1 AS champion,
    CASE
      WHEN `class` IS NULL OR (
        ISNAN(CAST(NULL AS DOUBLE))
      )
      THEN NULL
      WHEN `class` = ' >50K'
      THEN 1
      ELSE 0
    END AS label,
    0 AS unknown,
    (
      CAST(`score` AS DOUBLE)
    ) AS score
  FROM `golden`.`census`
  UNION ALL
  SELECT
    `record_id` AS id,
    0 AS champion,
    CASE
      WHEN `class` IS NULL OR (
        ISNAN(CAST(NULL AS DOUBLE))
      )
      THEN NULL
      WHEN `class` = ' >50K'
      THEN 1
      ELSE 0
    END AS label,
    0 AS unknown,
    (
      CAST(`score` AS DOUBLE)
    ) AS score
  FROM `golden`.`census`
), automl_known AS (
  SELECT
    id,
    champion,
    CASE WHEN label IS NULL THEN 0 ELSE unknown END AS unknown,
    CASE WHEN unknown = 1 THEN NULL ELSE label END AS label,
    CASE WHEN (
      ISNAN(score)
    ) THEN NULL ELSE score END AS score
  FROM automl_sides
), automl_paired AS (
  SELECT
    id,
    SUM(champion) AS champions,
    SUM(1 - champion) AS challengers,
    MAX(unknown) AS unknown,
    MAX(CASE WHEN champion = 1 THEN label END) AS champion_label,
    MAX(CASE WHEN champion = 0 THEN label END) AS challenger_label,
    MAX(CASE WHEN champion = 1 THEN score END) AS champion_score,
    MAX(CASE WHEN champion = 0 THEN score END) AS challenger_score
  FROM automl_known
  GROUP BY
    id
), automl_judged AS (
  SELECT
    CASE WHEN id IS NULL THEN champions + challengers ELSE 0 END AS null_ids,
    CASE WHEN NOT id IS NULL AND champions > 1 THEN 1 ELSE 0 END AS champion_duplicates,
    CASE WHEN NOT id IS NULL AND challengers > 1 THEN 1 ELSE 0 END AS challenger_duplicates,
    CASE WHEN NOT id IS NULL AND challengers = 0 THEN 1 ELSE 0 END AS champion_only,
    CASE WHEN NOT id IS NULL AND champions = 0 THEN 1 ELSE 0 END AS challenger_only,
    CASE WHEN NOT id IS NULL AND champions > 0 AND challengers > 0 THEN 1 ELSE 0 END AS matched,
    CASE WHEN champion_label <> challenger_label THEN 1 ELSE 0 END AS contradiction,
    CASE WHEN champion_label IS NULL OR challenger_label IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN champion_score IS NULL OR challenger_score IS NULL THEN 1 ELSE 0 END AS null_score,
    unknown,
    champion_label AS label,
    champion_score,
    challenger_score
  FROM automl_paired
), automl_classed AS (
  SELECT
    null_ids,
    champion_duplicates,
    challenger_duplicates,
    champion_only,
    challenger_only,
    matched,
    matched * contradiction AS contradiction,
    matched * unknown AS unknown,
    matched * null_label * (
      1 - unknown
    ) AS null_label,
    matched * (
      1 - null_label
    ) * null_score AS null_score,
    CAST(CASE
      WHEN matched = 1 AND null_label + null_score = 0 AND label = 1
      THEN 1
      ELSE 0
    END AS BIGINT) AS p,
    CAST(CASE
      WHEN matched = 1 AND null_label + null_score = 0 AND label = 0
      THEN 1
      ELSE 0
    END AS BIGINT) AS q,
    champion_score,
    challenger_score
  FROM automl_judged
), automl_ranked AS (
  SELECT
    null_ids,
    champion_duplicates,
    challenger_duplicates,
    champion_only,
    challenger_only,
    matched,
    contradiction,
    unknown,
    null_label,
    null_score,
    p,
    q,
    champion_score,
    challenger_score,
    SUM(q) OVER (
      ORDER BY champion_score NULLS LAST
      ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS champion_q_from,
    SUM(p) OVER (
      ORDER BY champion_score NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS champion_p_up_to,
    SUM(q) OVER (
      ORDER BY challenger_score NULLS LAST
      ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS challenger_q_from,
    SUM(p) OVER (
      ORDER BY challenger_score NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS challenger_p_up_to
  FROM automl_classed
), automl_tied AS (
  SELECT
    null_ids,
    champion_duplicates,
    challenger_duplicates,
    champion_only,
    challenger_only,
    matched,
    contradiction,
    unknown,
    null_label,
    null_score,
    CAST(p AS DOUBLE) AS p,
    CAST(q AS DOUBLE) AS q,
    CAST(MAX(champion_q_from) OVER (PARTITION BY champion_score) AS DOUBLE) AS champion_q_from,
    CAST(MAX(champion_p_up_to) OVER (PARTITION BY champion_score) AS DOUBLE) AS champion_p_up_to,
    CAST(SUM(q) OVER (PARTITION BY champion_score) AS DOUBLE) AS champion_q_at,
    CAST(SUM(p) OVER (PARTITION BY champion_score) AS DOUBLE) AS champion_p_at,
    CAST(MAX(challenger_q_from) OVER (PARTITION BY challenger_score) AS DOUBLE) AS challenger_q_from,
    CAST(MAX(challenger_p_up_to) OVER (PARTITION BY challenger_score) AS DOUBLE) AS challenger_p_up_to,
    CAST(SUM(q) OVER (PARTITION BY challenger_score) AS DOUBLE) AS challenger_q_at,
    CAST(SUM(p) OVER (PARTITION BY challenger_score) AS DOUBLE) AS challenger_p_at
  FROM automl_ranked
), automl_placed AS (
  SELECT
    null_ids,
    champion_duplicates,
    challenger_duplicates,
    champion_only,
    challenger_only,
    matched,
    contradiction,
    unknown,
    null_label,
    null_score,
    p,
    q,
    p * (
      champion_q_from - champion_q_at * CAST(0.5 AS DOUBLE)
    ) AS champion_over,
    q * (
      champion_p_up_to - champion_p_at * CAST(0.5 AS DOUBLE)
    ) AS champion_under,
    p * (
      challenger_q_from - challenger_q_at * CAST(0.5 AS DOUBLE)
    ) AS challenger_over,
    q * (
      challenger_p_up_to - challenger_p_at * CAST(0.5 AS DOUBLE)
    ) AS challenger_under
  FROM automl_tied
)
SELECT
  SUM(null_ids) AS null_ids,
  SUM(champion_duplicates) AS champion_duplicates,
  SUM(challenger_duplicates) AS challenger_duplicates,
  SUM(champion_only) AS champion_only,
  SUM(challenger_only) AS challenger_only,
  SUM(matched) AS matched,
  SUM(contradiction) AS contradictions,
  SUM(unknown) AS unknown_labels,
  SUM(null_label) AS null_labels,
  SUM(null_score) AS null_scores,
  SUM(p) AS positives,
  SUM(q) AS negatives,
  SUM(champion_over) AS champion_over_sum,
  SUM(champion_over * champion_over) AS champion_over_squares,
  SUM(champion_under) AS champion_under_sum,
  SUM(champion_under * champion_under) AS champion_under_squares,
  SUM(challenger_over) AS challenger_over_sum,
  SUM(challenger_over * challenger_over) AS challenger_over_squares,
  SUM(challenger_under) AS challenger_under_sum,
  SUM(challenger_under * challenger_under) AS challenger_under_squares,
  SUM(champion_over - challenger_over) AS gain_over_sum,
  SUM((
    champion_over - challenger_over
  ) * (
    champion_over - challenger_over
  )) AS gain_over_squares,
  SUM(champion_under - challenger_under) AS gain_under_sum,
  SUM(
    (
      champion_under - challenger_under
    ) * (
      champion_under - challenger_under
    )
  ) AS gain_under_squares
FROM automl_placed;

-- paired_means
WITH automl_sides AS (
  SELECT
    `record_id` AS id,
    1 AS champion,
    `class` AS label,
    0 AS unknown,
    (
      CAST(`hours-per-week` AS DOUBLE)
    ) AS actual,
    (
      CAST(`score` AS DOUBLE)
    ) AS predicted
  FROM `golden`.`census`
  UNION ALL
  SELECT
    `record_id` AS id,
    0 AS champion,
    `class` AS label,
    0 AS unknown,
    (
      CAST(`hours-per-week` AS DOUBLE)
    ) AS actual,
    (
      CAST(`score` AS DOUBLE)
    ) AS predicted
  FROM `golden`.`census`
), automl_known AS (
  SELECT
    id,
    champion,
    label,
    CASE WHEN actual IS NULL OR (
      ISNAN(actual)
    ) THEN 0 ELSE unknown END AS unknown,
    CASE WHEN (
      ISNAN(actual)
    ) OR unknown = 1 THEN NULL ELSE actual END AS actual,
    CASE WHEN (
      ISNAN(predicted)
    ) THEN NULL ELSE predicted END AS predicted
  FROM automl_sides
), automl_likely AS (
  SELECT
    id,
    champion,
    unknown,
    predicted,
    actual - predicted AS error,
    CASE WHEN actual IS NULL THEN NULL ELSE label END AS label,
    CASE WHEN actual = 1 THEN predicted ELSE 1 - predicted END AS likelihood
  FROM automl_known
), automl_costed AS (
  SELECT
    id,
    champion,
    unknown,
    label,
    predicted,
    CASE
      WHEN 'log' = 'squared'
      THEN error * error
      WHEN 'log' = 'absolute' AND error < 0
      THEN -error
      WHEN 'log' = 'absolute'
      THEN error
      WHEN likelihood < CAST('1e-15' AS DOUBLE)
      THEN -LN(CAST('1e-15' AS DOUBLE))
      WHEN likelihood > CAST('0.999999999999999' AS DOUBLE)
      THEN -LN(CAST('0.999999999999999' AS DOUBLE))
      WHEN likelihood IS NULL
      THEN NULL
      ELSE -LN(likelihood)
    END AS loss
  FROM automl_likely
), automl_paired AS (
  SELECT
    id,
    SUM(champion) AS champions,
    SUM(1 - champion) AS challengers,
    MAX(unknown) AS unknown,
    MAX(CASE WHEN champion = 1 THEN label END) AS champion_label,
    MAX(CASE WHEN champion = 0 THEN label END) AS challenger_label,
    MAX(CASE WHEN champion = 1 THEN loss END) AS champion_loss,
    MAX(CASE WHEN champion = 0 THEN loss END) AS challenger_loss,
    MIN(predicted) AS least_predicted,
    MAX(predicted) AS most_predicted
  FROM automl_costed
  GROUP BY
    id
), automl_judged AS (
  SELECT
    CASE WHEN id IS NULL THEN champions + challengers ELSE 0 END AS null_ids,
    CASE WHEN NOT id IS NULL AND champions > 1 THEN 1 ELSE 0 END AS champion_duplicates,
    CASE WHEN NOT id IS NULL AND challengers > 1 THEN 1 ELSE 0 END AS challenger_duplicates,
    CASE WHEN NOT id IS NULL AND challengers = 0 THEN 1 ELSE 0 END AS champion_only,
    CASE WHEN NOT id IS NULL AND champions = 0 THEN 1 ELSE 0 END AS challenger_only,
    CASE WHEN NOT id IS NULL AND champions > 0 AND challengers > 0 THEN 1 ELSE 0 END AS matched,
    CASE WHEN champion_label <> challenger_label THEN 1 ELSE 0 END AS contradiction,
    CASE WHEN champion_label IS NULL OR challenger_label IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN champion_loss IS NULL OR challenger_loss IS NULL THEN 1 ELSE 0 END AS null_loss,
    unknown,
    champion_loss,
    challenger_loss,
    least_predicted,
    most_predicted
  FROM automl_paired
), automl_used AS (
  SELECT
    null_ids,
    champion_duplicates,
    challenger_duplicates,
    champion_only,
    challenger_only,
    matched,
    least_predicted,
    most_predicted,
    matched * contradiction AS contradiction,
    matched * unknown AS unknown,
    matched * null_label * (
      1 - unknown
    ) AS null_label,
    matched * null_loss * (
      1 - null_label
    ) AS null_score,
    CASE WHEN matched = 1 AND null_label + null_loss = 0 THEN champion_loss END AS champion_loss,
    CASE WHEN matched = 1 AND null_label + null_loss = 0 THEN challenger_loss END AS challenger_loss,
    CASE
      WHEN matched = 1 AND null_label + null_loss = 0
      THEN champion_loss - challenger_loss
    END AS gain
  FROM automl_judged
), automl_spread AS (
  SELECT
    null_ids,
    champion_duplicates,
    challenger_duplicates,
    champion_only,
    challenger_only,
    matched,
    least_predicted,
    most_predicted,
    contradiction,
    unknown,
    null_label,
    null_score,
    champion_loss,
    challenger_loss,
    gain,
    gain * CAST(COUNT(gain) OVER () AS DOUBLE) - SUM(gain) OVER () AS deviation
  FROM automl_used
)
SELECT
  SUM(null_ids) AS null_ids,
  SUM(champion_duplicates) AS champion_duplicates,
  SUM(challenger_duplicates) AS challenger_duplicates,
  SUM(champion_only) AS champion_only,
  SUM(challenger_only) AS challenger_only,
  SUM(matched) AS matched,
  SUM(contradiction) AS contradictions,
  SUM(unknown) AS unknown_labels,
  SUM(null_label) AS null_labels,
  SUM(null_score) AS null_scores,
  MIN(least_predicted) AS least_predicted,
  MAX(most_predicted) AS most_predicted,
  COUNT(gain) AS n,
  SUM(champion_loss) AS champion_sum,
  SUM(challenger_loss) AS challenger_sum,
  SUM(gain) AS gain_sum,
  SUM(deviation * deviation) AS deviation_squares
FROM automl_spread;

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

-- scores
WITH automl_judged AS (
  SELECT
    CASE WHEN `class` IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN (
      ISNAN(CAST(NULL AS DOUBLE))
    ) THEN 1 ELSE 0 END AS nan_label,
    CASE WHEN `class` = ' >50K' THEN 1 ELSE 0 END AS positive,
    0 AS unknown_label,
    (
      CAST(score AS DOUBLE)
    ) AS score,
    1 AS weight,
    `class` AS k0
  FROM `golden`.`census`
), automl_coded AS (
  SELECT
    `k0`,
    positive,
    score,
    weight,
    null_label + nan_label * 2 + CASE WHEN weight IS NULL THEN 4 ELSE 0 END + CASE
      WHEN weight >= 0 AND weight < CAST('Infinity' AS DOUBLE) OR weight IS NULL
      THEN 0
      ELSE 8
    END + CASE WHEN score IS NULL THEN 16 ELSE 0 END + CASE WHEN (
      ISNAN(score)
    ) THEN 32 ELSE 0 END + unknown_label * 128 AS code
  FROM automl_judged
), automl_usable AS (
  SELECT
    `k0`,
    code,
    CASE WHEN code = 0 THEN score END AS score,
    CASE WHEN code = 0 THEN positive ELSE 0 END AS positive,
    CASE WHEN code = 0 THEN weight ELSE 0 END AS weight
  FROM automl_coded
), automl_grouped AS (
  SELECT
    `k0`,
    code,
    score,
    COUNT(*) AS n,
    SUM(positive) AS positives
  FROM automl_usable
  GROUP BY
    `k0`,
    code,
    score
), automl_points AS (
  SELECT
    `k0`,
    code,
    score,
    n,
    positives,
    CAST(positives AS BIGINT) AS p,
    CASE WHEN code > 0 THEN 0 ELSE CAST(n - positives AS BIGINT) END AS q,
    CASE WHEN score < 0 THEN 0 WHEN score > 1 THEN 1 ELSE score END AS share,
    CASE
      WHEN code > 0
      THEN 0 - code
      WHEN score < 0 OR score > 1
      THEN 10
      WHEN score = 1
      THEN 10 - 1
      ELSE CAST(FLOOR(score * 10) AS BIGINT)
    END AS cell
  FROM automl_grouped
), automl_ranked AS (
  SELECT
    `k0`,
    cell,
    score,
    share,
    n,
    positives,
    CAST(p AS DOUBLE) AS p,
    CAST(q AS DOUBLE) AS q,
    CAST(SUM(p) OVER (
      PARTITION BY `k0`
      ORDER BY score NULLS LAST
      ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS DOUBLE) AS p_from,
    CAST(SUM(q) OVER (
      PARTITION BY `k0`
      ORDER BY score NULLS LAST
      ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS DOUBLE) AS q_from,
    CAST(SUM(p) OVER (PARTITION BY `k0`) AS DOUBLE) AS p_all,
    CAST(SUM(q) OVER (PARTITION BY `k0`) AS DOUBLE) AS q_all,
    CASE
      WHEN share > CAST('1e-15' AS DOUBLE)
      THEN 0 - LN(share)
      ELSE 0 - LN(CAST('1e-15' AS DOUBLE))
    END AS loss_p,
    CASE
      WHEN share < 1 - CAST('1e-15' AS DOUBLE)
      THEN 0 - LN(1 - share)
      ELSE 0 - LN(1 - (
        1 - CAST('1e-15' AS DOUBLE)
      ))
    END AS loss_q
  FROM automl_points
), automl_placed AS (
  SELECT
    `k0`,
    cell,
    score,
    share,
    n,
    positives,
    p,
    q,
    p_from,
    q_from,
    p_all,
    q_all,
    loss_p,
    loss_q,
    q_from - q * CAST(0.5 AS DOUBLE) AS over_p,
    p_all - p_from + p * CAST(0.5 AS DOUBLE) AS under_q,
    CASE
      WHEN p_from + q_from > 0
      THEN (
        (
          p_from
        ) / (
          p_from + q_from
        )
      )
      ELSE 0
    END AS precise,
    CASE WHEN p > 0 THEN (
      (
        p
      ) / (
        p_from + q_from
      )
    ) ELSE 0 END AS per_row
  FROM automl_ranked
), automl_pulled AS (
  SELECT
    `k0`,
    cell,
    score,
    share,
    n,
    positives,
    p,
    q,
    p_from,
    q_from,
    p_all,
    q_all,
    loss_p,
    loss_q,
    over_p,
    under_q,
    precise,
    SUM(per_row) OVER (
      PARTITION BY `k0`
      ORDER BY score NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS gained,
    SUM(per_row * precise) OVER (
      PARTITION BY `k0`
      ORDER BY score NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS lost
  FROM automl_placed
)
SELECT
  `k0`,
  cell,
  SUM(n) AS n,
  SUM(positives) AS n_p,
  SUM(p) AS p,
  SUM(q) AS q,
  SUM(p * over_p) AS over_sum,
  SUM(p * over_p * over_p) AS over_squares,
  SUM(q * under_q) AS under_sum,
  SUM(q * under_q * under_q) AS under_squares,
  SUM(p * precise) AS precision_sum,
  SUM(p * (
    precise + gained - lost
  )) AS pull_sum,
  SUM(p * (
    precise + gained - lost
  ) * (
    precise + gained - lost
  )) AS pull_squares,
  SUM(q * lost * lost) AS lost_squares,
  MAX(ABS(p_from * q_all - q_from * p_all)) AS gap,
  SUM(CASE WHEN score >= CAST('0.5' AS DOUBLE) THEN p ELSE 0 END) AS tp,
  SUM(CASE WHEN score >= CAST('0.5' AS DOUBLE) THEN q ELSE 0 END) AS fp,
  SUM(p * loss_p) AS loss_p,
  SUM(q * loss_q) AS loss_q,
  SUM(p * loss_p * loss_p) AS loss_p_squares,
  SUM(q * loss_q * loss_q) AS loss_q_squares,
  SUM(p * (
    1 - share
  ) * (
    1 - share
  ) + q * share * share) AS brier,
  SUM(
    p * (
      1 - share
    ) * (
      1 - share
    ) * (
      1 - share
    ) * (
      1 - share
    ) + q * share * share * share * share
  ) AS brier_squares,
  SUM((
    p + q
  ) * share) AS shares,
  MIN(score) AS least,
  MAX(score) AS most
FROM automl_pulled
GROUP BY
  `k0`,
  cell
LIMIT 100;

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
