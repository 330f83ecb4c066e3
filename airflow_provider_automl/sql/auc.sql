-- The sums for AUC (ties count half) and DeLong's variance, in one scan of the predictions.
-- E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845.
-- p and q: positives and negatives at one distinct score. over_p: negatives above that score and half of those at it, so
-- that over_p / N = 1 - v10; under_q: positives below it and half of those at it, so that under_q / P = 1 - v01.
-- These are small when AUC is near 1, which keeps the variance exact there. Running sums are BIGINT, which takes DuckDB
-- half the time; products are DOUBLE, multiples of a half: exact up to 2^52. There is no division here, because engines
-- divide integers and decimals differently.
WITH automl_judged AS (
  SELECT
    CASE WHEN :label IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN automl_is_nan(:label_number) THEN 1 ELSE 0 END AS nan_label,
    CASE WHEN :label = :positive THEN 1 ELSE 0 END AS positive,
    automl_double("{score}") AS score
  FROM "{source}"
),
automl_grouped AS (
  SELECT
    score,
    CASE WHEN score IS NULL THEN 1 ELSE 0 END AS null_score,
    CASE WHEN automl_is_nan(score) THEN 1 ELSE 0 END AS nan_score,
    COUNT(*) AS n,
    SUM(null_label) AS null_labels,
    SUM(nan_label) AS nan_labels,
    SUM(positive) AS positives
  FROM automl_judged
  GROUP BY score
),
automl_points AS (
  SELECT
    score, null_score, nan_score, n, null_labels, nan_labels,
    CAST(CASE WHEN null_score + nan_score > 0 THEN 0 ELSE positives END AS BIGINT) AS p,
    CAST(CASE WHEN null_score + nan_score > 0 THEN 0 ELSE n - null_labels - nan_labels - positives END AS BIGINT) AS q
  FROM automl_grouped
),
automl_ranked AS (
  SELECT
    null_score, nan_score, n, null_labels, nan_labels,
    CAST(p AS DOUBLE) AS p,
    CAST(q AS DOUBLE) AS q,
    CAST(SUM(q) OVER (ORDER BY score ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS DOUBLE) AS q_from,
    CAST(SUM(p) OVER (ORDER BY score ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS DOUBLE) AS p_up_to
  FROM automl_points
),
automl_placed AS (
  SELECT
    null_score, nan_score, n, null_labels, nan_labels, p, q,
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
FROM automl_placed
