-- A table's columns as the catalog has them, which locks nothing; none for a view, or where there is no such table.
SELECT a.attname AS column_name, FORMAT_TYPE(a.atttypid, a.atttypmod) AS data_type
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE a.attrelid = TO_REGCLASS(:name) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
