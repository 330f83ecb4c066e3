SELECT table_name, table_type FROM "{tables}" WHERE table_schema = :schema
