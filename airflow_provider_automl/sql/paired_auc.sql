-- The sums for two models' AUCs on the same rows, their difference and DeLong's paired variance, in one scan each.
-- E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845.
-- The tables are grouped by row id, not joined: a column with many duplicate ids costs no more than a unique one.
-- "place" of a positive: negatives above its score and half of those at it; of a negative: positives below its score and
-- half of those at it. Small when AUC is near 1, which keeps the variance exact there; as in auc.sql, sums are BIGINT,
-- products are DOUBLE, and there is no division. Differences of the models' places are exact as well, so that nearly
-- identical models lose no digits. The maximum at one score of a running sum over ROWS equals a frame over RANGE, in
-- linear time on every engine.
WITH automl_sides AS (
  SELECT
    "{champion_id}" AS id,
    1 AS champion,
    CASE
      WHEN :champion_label IS NULL OR automl_is_nan(:champion_number) THEN NULL
      WHEN :champion_label = :champion_positive THEN 1
      ELSE 0
    END AS label,
    :champion_unknown AS unknown,
    automl_double("{champion_score}") AS score
  FROM "{champion}"
  UNION ALL
  SELECT
    "{challenger_id}" AS id,
    0 AS champion,
    CASE
      WHEN :challenger_label IS NULL OR automl_is_nan(:challenger_number) THEN NULL
      WHEN :challenger_label = :challenger_positive THEN 1
      ELSE 0
    END AS label,
    :challenger_unknown AS unknown,
    automl_double("{challenger_score}") AS score
  FROM "{challenger}"
),
automl_known AS (
  SELECT
    id, champion,
    CASE WHEN label IS NULL THEN 0 ELSE unknown END AS unknown,
    CASE WHEN unknown = 1 THEN NULL ELSE label END AS label,
    CASE WHEN automl_is_nan(score) THEN NULL ELSE score END AS score
  FROM automl_sides
),
automl_paired AS (
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
    CASE WHEN champion_score IS NULL OR challenger_score IS NULL THEN 1 ELSE 0 END AS null_score,
    unknown,
    champion_label AS label,
    champion_score,
    challenger_score
  FROM automl_paired
),
automl_classed AS (
  SELECT
    null_ids, champion_duplicates, challenger_duplicates, champion_only, challenger_only, matched,
    matched * contradiction AS contradiction,
    matched * unknown AS unknown,
    matched * null_label * (1 - unknown) AS null_label,
    matched * (1 - null_label) * null_score AS null_score,
    CAST(CASE WHEN matched = 1 AND null_label + null_score = 0 AND label = 1 THEN 1 ELSE 0 END AS BIGINT) AS p,
    CAST(CASE WHEN matched = 1 AND null_label + null_score = 0 AND label = 0 THEN 1 ELSE 0 END AS BIGINT) AS q,
    champion_score,
    challenger_score
  FROM automl_judged
),
automl_ranked AS (
  SELECT
    null_ids, champion_duplicates, challenger_duplicates, champion_only, challenger_only, matched, contradiction,
    unknown, null_label, null_score, p, q, champion_score, challenger_score,
    SUM(q) OVER (ORDER BY champion_score ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS champion_q_from,
    SUM(p) OVER (ORDER BY champion_score ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS champion_p_up_to,
    SUM(q) OVER (ORDER BY challenger_score ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS challenger_q_from,
    SUM(p) OVER (ORDER BY challenger_score ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS challenger_p_up_to
  FROM automl_classed
),
automl_tied AS (
  SELECT
    null_ids, champion_duplicates, challenger_duplicates, champion_only, challenger_only, matched, contradiction,
    unknown, null_label, null_score,
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
),
automl_placed AS (
  SELECT
    null_ids, champion_duplicates, challenger_duplicates, champion_only, challenger_only, matched, contradiction,
    unknown, null_label, null_score, p, q,
    p * (champion_q_from - champion_q_at * CAST(0.5 AS DOUBLE)) AS champion_over,
    q * (champion_p_up_to - champion_p_at * CAST(0.5 AS DOUBLE)) AS champion_under,
    p * (challenger_q_from - challenger_q_at * CAST(0.5 AS DOUBLE)) AS challenger_over,
    q * (challenger_p_up_to - challenger_p_at * CAST(0.5 AS DOUBLE)) AS challenger_under
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
  SUM((champion_over - challenger_over) * (champion_over - challenger_over)) AS gain_over_squares,
  SUM(champion_under - challenger_under) AS gain_under_sum,
  SUM((champion_under - challenger_under) * (champion_under - challenger_under)) AS gain_under_squares
FROM automl_placed
