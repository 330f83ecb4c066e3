-- The sums for two models' mean losses on the same rows and for the variance of the paired difference, one scan each.
-- The tables are grouped by row id, as in paired_auc.sql. A loss is the cost of one row; smaller is better.
-- The spread is of n times a value's distance from the mean (n * d - sum of d): it loses no digits to cancellation if
-- the differences are large and similar, as sums of squares would, and needs no division.
WITH automl_sides AS (
  SELECT
    "{champion_id}" AS id,
    1 AS champion,
    :champion_label AS label,
    :champion_unknown AS unknown,
    automl_double(:champion_actual) AS actual,
    automl_double(:champion_predicted) AS predicted
  FROM "{champion}"
  UNION ALL
  SELECT
    "{challenger_id}" AS id,
    0 AS champion,
    :challenger_label AS label,
    :challenger_unknown AS unknown,
    automl_double(:challenger_actual) AS actual,
    automl_double(:challenger_predicted) AS predicted
  FROM "{challenger}"
),
automl_known AS (
  SELECT
    id, champion, label,
    CASE WHEN actual IS NULL OR automl_is_nan(actual) THEN 0 ELSE unknown END AS unknown,
    CASE WHEN automl_is_nan(actual) OR unknown = 1 THEN NULL ELSE actual END AS actual,
    CASE WHEN automl_is_nan(predicted) THEN NULL ELSE predicted END AS predicted
  FROM automl_sides
),
automl_likely AS (
  SELECT
    id, champion, unknown, predicted, actual - predicted AS error,
    CASE WHEN actual IS NULL THEN NULL ELSE label END AS label,
    CASE WHEN actual = 1 THEN predicted ELSE 1 - predicted END AS likelihood
  FROM automl_known
),
automl_costed AS (
  SELECT
    id, champion, unknown, label, predicted,
    CASE
      WHEN :loss = 'squared' THEN error * error
      WHEN :loss = 'absolute' AND error < 0 THEN -error
      WHEN :loss = 'absolute' THEN error
      WHEN likelihood < :floor THEN -LN(:floor)
      WHEN likelihood > :ceiling THEN -LN(:ceiling)
      WHEN likelihood IS NULL THEN NULL
      ELSE -LN(likelihood)
    END AS loss
  FROM automl_likely
),
automl_paired AS (
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
  GROUP BY id
),
automl_judged AS (
  SELECT
    CASE WHEN id IS NULL THEN champions + challengers ELSE 0 END AS null_ids,
    CASE WHEN id IS NOT NULL AND champions > 1 THEN 1 ELSE 0 END AS champion_duplicates,
    CASE WHEN id IS NOT NULL AND challengers > 1 THEN 1 ELSE 0 END AS challenger_duplicates,
    CASE WHEN id IS NOT NULL AND challengers = 0 THEN 1 ELSE 0 END AS champion_only,
    CASE WHEN id IS NOT NULL AND champions = 0 THEN 1 ELSE 0 END AS challenger_only,
    CASE WHEN id IS NOT NULL AND champions > 0 AND challengers > 0 THEN 1 ELSE 0 END AS matched,
    CASE WHEN champion_label <> challenger_label THEN 1 ELSE 0 END AS contradiction,
    CASE WHEN champion_label IS NULL OR challenger_label IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN champion_loss IS NULL OR challenger_loss IS NULL THEN 1 ELSE 0 END AS null_loss,
    unknown, champion_loss, challenger_loss, least_predicted, most_predicted
  FROM automl_paired
),
automl_used AS (
  SELECT
    null_ids, champion_duplicates, challenger_duplicates, champion_only, challenger_only, matched, least_predicted,
    most_predicted,
    matched * contradiction AS contradiction,
    matched * unknown AS unknown,
    matched * null_label * (1 - unknown) AS null_label,
    matched * null_loss * (1 - null_label) AS null_score,
    CASE WHEN matched = 1 AND null_label + null_loss = 0 THEN champion_loss END AS champion_loss,
    CASE WHEN matched = 1 AND null_label + null_loss = 0 THEN challenger_loss END AS challenger_loss,
    CASE WHEN matched = 1 AND null_label + null_loss = 0 THEN champion_loss - challenger_loss END AS gain
  FROM automl_judged
),
automl_spread AS (
  SELECT
    null_ids, champion_duplicates, challenger_duplicates, champion_only, challenger_only, matched, least_predicted,
    most_predicted, contradiction, unknown, null_label, null_score, champion_loss, challenger_loss, gain,
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
FROM automl_spread
