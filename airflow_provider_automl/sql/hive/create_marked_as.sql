CREATE TABLE "{table}" USING PARQUET WITH (automl_mark = :mark) AS SELECT "{columns}" FROM "{source}"
