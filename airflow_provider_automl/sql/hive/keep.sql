-- The rows that a DELETE with this condition would keep.
INSERT INTO "{table}" ("{columns}") SELECT "{columns}" FROM "{source}" WHERE CASE WHEN :condition THEN 0 ELSE 1 END = 1
