CREATE TABLE "{table}" ("{columns}" INT) USING PARQUET LOCATION :location
