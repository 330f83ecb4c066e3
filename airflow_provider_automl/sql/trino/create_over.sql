CREATE TABLE "{table}" (LIKE "{source}") COMMENT :mark WITH (external_location = :location, format = 'PARQUET')
