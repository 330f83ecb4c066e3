-- The rows that a DELETE with that condition would leave, and new ones.
CREATE TABLE "{table}" COMMENT :mark AS
SELECT "{columns}" FROM "{target}" WHERE CASE WHEN :condition THEN 0 ELSE 1 END = 1
UNION ALL
SELECT :items FROM "{source}"
