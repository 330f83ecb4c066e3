SELECT CURRENT_SCHEMA() AS current_schema, CURRENT_DATABASE() AS current_catalog
