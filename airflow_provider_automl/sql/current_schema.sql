SELECT CURRENT_SCHEMA() AS current_schema
