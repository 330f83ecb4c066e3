-- The condition applies to the newest row of each record_id only.
WITH t AS (SELECT "{columns}", MAX(recorded_at) OVER (PARTITION BY record_id) AS last_recorded_at FROM "{table}")
SELECT "{columns}" FROM t WHERE (recorded_at = last_recorded_at OR record_id IS NULL) AND :condition
