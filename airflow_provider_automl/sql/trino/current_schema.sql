SELECT CURRENT_SCHEMA AS "current_schema", CURRENT_CATALOG AS "current_catalog"
