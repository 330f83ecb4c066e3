-- The rows that a DELETE with that condition would leave.
INSERT INTO "{table}" ("{columns}") SELECT "{columns}" FROM "{source}" WHERE CASE WHEN :condition THEN 0 ELSE 1 END = 1
