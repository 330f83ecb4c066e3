-- The catalog has those too in which this user may do nothing: information_schema leaves them out.
SELECT nspname AS schema_name FROM pg_namespace
