CREATE TABLE "{table}" ("{columns}" INT) COMMENT :mark WITH (external_location = :location, format = 'PARQUET')
