-- The sums for the regression metrics, in one scan. A row of the result is a group's counted rows (code 0), or skipped
-- rows (code: the sum of the reasons' codes).
-- Squares are summed about the mean, which a window computes first: the difference of two large sums would cancel.
-- The median of the absolute errors is where the running weight reaches half of the total.
WITH automl_judged AS (
  SELECT
    automl_double("{label}") AS actual,
    automl_double("{prediction}") AS predicted,
    :weight AS weight,
    :groups
  FROM "{source}"
),
automl_coded AS (
  SELECT
    "{keys}", actual, predicted, weight,
    automl_no_error(actual, predicted, :huge)
    + CASE WHEN weight IS NULL THEN 4 ELSE 0 END
    + CASE WHEN weight >= 0 AND weight < :infinity OR weight IS NULL THEN 0 ELSE 8 END AS code
  FROM automl_judged
),
automl_usable AS (
  SELECT
    "{keys}", code,
    CASE WHEN code = 0 THEN actual END AS actual,
    CASE WHEN code = 0 THEN predicted - actual END AS error,
    CASE WHEN code = 0 THEN ABS(predicted - actual) END AS size,
    CASE WHEN code = 0 THEN weight ELSE 0 END AS weight
  FROM automl_coded
),
automl_centred AS (
  SELECT
    "{keys}", code, actual, error, size, weight,
    AVG(actual) OVER (PARTITION BY "{keys}", code) AS actual_mean,
    AVG(error) OVER (PARTITION BY "{keys}", code) AS error_mean,
    AVG(size) OVER (PARTITION BY "{keys}", code) AS size_mean,
    AVG(error * error) OVER (PARTITION BY "{keys}", code) AS square_mean,
    CAST(SUM(weight) OVER (PARTITION BY "{keys}", code) AS DOUBLE) AS whole,
    CAST(
      SUM(weight) OVER (
        PARTITION BY "{keys}", code ORDER BY size ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS DOUBLE
    ) AS up_to
  FROM automl_usable
),
automl_ready AS (
  SELECT
    "{keys}", code, actual, error, size, weight, actual_mean, error_mean, size_mean, square_mean, whole, up_to,
    actual - actual_mean AS centred
  FROM automl_centred
)
SELECT
  "{keys}", code,
  COUNT(*) AS n,
  SUM(weight) AS w,
  SUM(weight * error) AS error_sum,
  SUM(weight * (error - error_mean) * (error - error_mean)) AS error_squares,
  SUM(weight * size) AS size_sum,
  SUM(weight * (size - size_mean) * (size - size_mean)) AS size_squares,
  SUM(weight * error * error) AS square_sum,
  SUM(weight * (error * error - square_mean) * (error * error - square_mean)) AS square_squares,
  SUM(weight * centred) AS actual_sum,
  SUM(weight * centred * centred) AS actual_squares,
  SUM(weight * centred) AS centred_sum,
  SUM(weight * centred * centred * centred) AS centred_cubes,
  SUM(weight * centred * centred * centred * centred) AS centred_fourths,
  SUM(weight * error * error * centred) AS crossed,
  SUM(weight * error * error * centred * centred) AS crossed_squares,
  SUM(weight * automl_ratio(size, CASE WHEN ABS(actual) > :least THEN ABS(actual) ELSE :least END)) AS ratio_sum,
  MIN(CASE WHEN weight > 0 THEN actual END) AS least,
  MAX(CASE WHEN weight > 0 THEN actual END) AS most,
  MIN(CASE WHEN weight > 0 AND 2 * up_to >= whole * (1 - :tolerance) THEN size END) AS median_low,
  MIN(CASE WHEN weight > 0 AND 2 * up_to > whole * (1 + :tolerance) THEN size END) AS median_high
FROM automl_ready
GROUP BY "{keys}", code
LIMIT :limit
