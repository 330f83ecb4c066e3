SELECT catalog_name, connector_name FROM system.metadata.catalogs
