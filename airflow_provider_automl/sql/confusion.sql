-- The confusion matrix, from which all metrics of predicted classes are computed.
WITH automl_judged AS (
  SELECT
    "{label}" AS label,
    "{prediction}" AS prediction,
    :weight AS weight,
    :groups
  FROM "{source}"
),
automl_coded AS (
  SELECT
    "{keys}", label, prediction, weight,
    CASE WHEN weight IS NULL THEN 4 WHEN weight >= 0 AND weight < :infinity THEN 0 ELSE 8 END AS code
  FROM automl_judged
)
SELECT
  "{keys}", label, prediction, code, COUNT(*) AS n, SUM(CASE WHEN code = 0 THEN weight ELSE 0 END) AS w
FROM automl_coded
GROUP BY "{keys}", label, prediction, code
LIMIT :limit
