INSERT INTO "{table}" ("{columns}") SELECT "{columns}" FROM READ_PARQUET(:files, UNION_BY_NAME = TRUE)
