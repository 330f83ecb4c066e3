-- From the catalog, because information_schema omits tables that this user may not read.
SELECT n.nspname AS table_schema, c.relname AS table_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND NOT STARTS_WITH(n.nspname, 'pg_')
ORDER BY n.nspname, c.relname
