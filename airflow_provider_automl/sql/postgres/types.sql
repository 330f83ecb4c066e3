SELECT CAST(oid AS BIGINT) AS code, FORMAT_TYPE(oid, NULL) AS name, typtype AS kind FROM pg_type WHERE oid IN (:codes)
