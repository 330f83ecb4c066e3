SELECT
  "{label}" AS label,
  COUNT(*) AS n,
  SUM(CASE WHEN "{score}" IS NULL OR automl_is_nan(CAST("{score}" AS DOUBLE)) THEN 0 ELSE 1 END) AS scored
FROM "{source}"
GROUP BY "{label}"
ORDER BY COUNT(*) DESC, "{label}"
LIMIT :most
