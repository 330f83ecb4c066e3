CREATE TABLE "{table}" ("{columns}" INT) USING PARQUET WITH (automl_mark = :mark)
