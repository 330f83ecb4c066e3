-- Some value of a column, where there is one.
SELECT "{column}" AS value FROM "{source}" WHERE NOT "{column}" IS NULL LIMIT 1
