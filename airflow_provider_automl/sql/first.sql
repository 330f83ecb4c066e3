-- Any non-NULL value of a column.
SELECT "{column}" AS value FROM "{source}" WHERE NOT "{column}" IS NULL LIMIT 1
