-- The rows that a DELETE with this condition would keep, and new ones.
CREATE TABLE "{table}" COMMENT :mark AS
SELECT "{columns}" FROM "{target}" WHERE CASE WHEN :condition THEN 0 ELSE 1 END = 1
UNION ALL
SELECT :items FROM "{source}"
