-- The sums for the metrics of a score, in one scan of the predictions: AUC and DeLong's variance as in auc.sql, and per
-- distinct score the terms of average precision, losses, calibration and the counts at a threshold.
-- E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845.
-- A row of the result is a cell of a group: a bin of the scores from 0 to 1, all scores outside of it (cell = bins),
-- or skipped rows (cell below 0: the negative sum of the reasons' codes). The caller adds up all cells exactly.
-- precise: the precision at that score and above. Effect of one more row on average precision: a positive row adds
-- precise + gained - lost; a negative row subtracts what is lost at all scores up to its own.
-- p and q: positives and negatives at one distinct score, as counts (BIGINT, which takes DuckDB half the time) or as
-- weights. p_from: positives at that score and above. Products are DOUBLE: counts are exact up to 2^52.
WITH automl_judged AS (
  SELECT
    CASE WHEN :label IS NULL THEN 1 ELSE 0 END AS null_label,
    CASE WHEN automl_is_nan(:label_number) THEN 1 ELSE 0 END AS nan_label,
    CASE WHEN :label = :positive THEN 1 ELSE 0 END AS positive,
    :unknown_label AS unknown_label,
    automl_double(:score) AS score,
    :weight AS weight,
    :groups
  FROM "{source}"
),
automl_coded AS (
  SELECT
    "{keys}", positive, score, weight,
    null_label + nan_label * 2
    + CASE WHEN weight IS NULL THEN 4 ELSE 0 END
    + CASE WHEN weight >= 0 AND weight < :infinity OR weight IS NULL THEN 0 ELSE 8 END
    + CASE WHEN score IS NULL THEN 16 ELSE 0 END
    + CASE WHEN automl_is_nan(score) THEN 32 ELSE 0 END
    + unknown_label * 128 AS code
  FROM automl_judged
),
automl_usable AS (
  SELECT
    "{keys}", code,
    CASE WHEN code = 0 THEN score END AS score,
    CASE WHEN code = 0 THEN positive ELSE 0 END AS positive,
    CASE WHEN code = 0 THEN weight ELSE 0 END AS weight
  FROM automl_coded
),
automl_grouped AS (
  SELECT "{keys}", code, score, COUNT(*) AS n, SUM(positive) AS positives, :weights
  FROM automl_usable
  GROUP BY "{keys}", code, score
),
automl_points AS (
  SELECT
    "{keys}", code, score, n, positives,
    :p AS p,
    CASE WHEN code > 0 THEN 0 ELSE :q END AS q,
    CASE WHEN score < 0 THEN 0 WHEN score > 1 THEN 1 ELSE score END AS share,
    CASE
      WHEN code > 0 THEN 0 - code
      WHEN score < 0 OR score > 1 THEN :bins
      WHEN score = 1 THEN :bins - 1
      ELSE CAST(FLOOR(score * :bins) AS BIGINT)
    END AS cell
  FROM automl_grouped
),
automl_ranked AS (
  SELECT
    "{keys}", cell, score, share, n, positives,
    CAST(p AS DOUBLE) AS p,
    CAST(q AS DOUBLE) AS q,
    CAST(
      SUM(p) OVER (PARTITION BY "{keys}" ORDER BY score ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS DOUBLE
    ) AS p_from,
    CAST(
      SUM(q) OVER (PARTITION BY "{keys}" ORDER BY score ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS DOUBLE
    ) AS q_from,
    CAST(SUM(p) OVER (PARTITION BY "{keys}") AS DOUBLE) AS p_all,
    CAST(SUM(q) OVER (PARTITION BY "{keys}") AS DOUBLE) AS q_all,
    CASE WHEN share > :least THEN 0 - LN(share) ELSE 0 - LN(:least) END AS loss_p,
    CASE WHEN share < 1 - :least THEN 0 - LN(1 - share) ELSE 0 - LN(1 - (1 - :least)) END AS loss_q
  FROM automl_points
),
automl_placed AS (
  SELECT
    "{keys}", cell, score, share, n, positives, p, q, p_from, q_from, p_all, q_all, loss_p, loss_q,
    q_from - q * CAST(0.5 AS DOUBLE) AS over_p,
    p_all - p_from + p * CAST(0.5 AS DOUBLE) AS under_q,
    CASE WHEN p_from + q_from > 0 THEN automl_ratio(p_from, p_from + q_from) ELSE 0 END AS precise,
    CASE WHEN p > 0 THEN automl_ratio(p, p_from + q_from) ELSE 0 END AS per_row
  FROM automl_ranked
),
automl_pulled AS (
  SELECT
    "{keys}", cell, score, share, n, positives, p, q, p_from, q_from, p_all, q_all, loss_p, loss_q, over_p, under_q, precise,
    SUM(per_row) OVER (PARTITION BY "{keys}" ORDER BY score ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS gained,
    SUM(per_row * precise) OVER (
      PARTITION BY "{keys}" ORDER BY score ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS lost
  FROM automl_placed
)
SELECT
  "{keys}", cell,
  SUM(n) AS n,
  SUM(positives) AS n_p,
  SUM(p) AS p,
  SUM(q) AS q,
  SUM(p * over_p) AS over_sum,
  SUM(p * over_p * over_p) AS over_squares,
  SUM(q * under_q) AS under_sum,
  SUM(q * under_q * under_q) AS under_squares,
  SUM(p * precise) AS precision_sum,
  SUM(p * (precise + gained - lost)) AS pull_sum,
  SUM(p * (precise + gained - lost) * (precise + gained - lost)) AS pull_squares,
  SUM(q * lost * lost) AS lost_squares,
  MAX(ABS(p_from * q_all - q_from * p_all)) AS gap,
  SUM(CASE WHEN score >= :threshold THEN p ELSE 0 END) AS tp,
  SUM(CASE WHEN score >= :threshold THEN q ELSE 0 END) AS fp,
  SUM(p * loss_p) AS loss_p,
  SUM(q * loss_q) AS loss_q,
  SUM(p * loss_p * loss_p) AS loss_p_squares,
  SUM(q * loss_q * loss_q) AS loss_q_squares,
  SUM(p * (1 - share) * (1 - share) + q * share * share) AS brier,
  SUM(p * (1 - share) * (1 - share) * (1 - share) * (1 - share) + q * share * share * share * share) AS brier_squares,
  SUM((p + q) * share) AS shares,
  MIN(score) AS least,
  MAX(score) AS most
FROM automl_pulled
GROUP BY "{keys}", cell
LIMIT :limit
