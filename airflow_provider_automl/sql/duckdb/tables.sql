SELECT table_schema, table_name
FROM information_schema.tables
WHERE table_catalog = CURRENT_DATABASE()
ORDER BY table_schema, table_name
