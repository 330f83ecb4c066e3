-- A table's columns from the catalog, without locking the table; no rows for a view or a missing table.
SELECT a.attname AS column_name, FORMAT_TYPE(a.atttypid, a.atttypmod) AS data_type
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE a.attrelid = TO_REGCLASS(:name) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
