CREATE TABLE "{table}" ("{columns}" INT) WITH (external_location = :location, format = 'PARQUET')
