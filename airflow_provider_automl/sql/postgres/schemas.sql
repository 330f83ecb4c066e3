-- From the catalog, because information_schema omits schemas without privileges.
SELECT nspname AS schema_name FROM pg_namespace
