-- As errors.sql, for rows of weight 1: DuckDB has a numerically stable variance (Welford's) and a median without sort,
-- which take a quarter of the time and memory. The sums for R²'s standard error use the mean of all rows, which is
-- close enough to a group's own mean for that purpose.
WITH automl_judged AS (
  SELECT
    automl_double("{label}") AS actual,
    automl_double("{prediction}") AS predicted,
    :groups
  FROM "{source}"
),
automl_coded AS (
  SELECT
    "{keys}", actual, predicted,
    automl_no_error(actual, predicted, :huge) AS code
  FROM automl_judged
),
automl_usable AS (
  SELECT
    "{keys}", code,
    CASE WHEN code = 0 THEN actual END AS actual,
    CASE WHEN code = 0 THEN predicted - actual END AS error,
    CASE WHEN code = 0 THEN ABS(predicted - actual) END AS size
  FROM automl_coded
),
automl_centre AS (
  SELECT AVG(actual) AS centre FROM automl_usable
),
automl_ready AS (
  SELECT "{keys}", code, actual, error, size, actual - centre AS centred FROM automl_usable CROSS JOIN automl_centre
)
SELECT
  "{keys}", code,
  COUNT(*) AS n,
  CASE WHEN code = 0 THEN COUNT(*) ELSE 0 END AS w,
  SUM(error) AS error_sum,
  VAR_POP(error) * COUNT(*) AS error_squares,
  SUM(size) AS size_sum,
  VAR_POP(size) * COUNT(*) AS size_squares,
  VAR_POP(error) * COUNT(*) + automl_ratio(SUM(error) * SUM(error), COUNT(*)) AS square_sum,
  VAR_POP(error * error) * COUNT(*) AS square_squares,
  CASE WHEN code = 0 THEN CAST(0 AS DOUBLE) END AS actual_sum,
  VAR_POP(actual) * COUNT(*) AS actual_squares,
  SUM(centred) AS centred_sum,
  SUM(centred * centred * centred) AS centred_cubes,
  SUM(centred * centred * centred * centred) AS centred_fourths,
  SUM(error * error * centred) AS crossed,
  SUM(error * error * centred * centred) AS crossed_squares,
  SUM(automl_ratio(size, CASE WHEN ABS(actual) > :least THEN ABS(actual) ELSE :least END)) AS ratio_sum,
  MIN(actual) AS least,
  MAX(actual) AS most,
  MEDIAN(size) AS median_low,
  MEDIAN(size) AS median_high
FROM automl_ready
GROUP BY "{keys}", code
LIMIT :limit
