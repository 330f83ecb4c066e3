SELECT comment
FROM system.metadata.table_comments
WHERE catalog_name = :catalog AND schema_name = :schema AND table_name = :name
