-- Deterministic for the same data and seed: rows that tie are equal.
SELECT "{columns}" FROM "{source}" ORDER BY automl_shuffle_key(:seed, "{columns}") LIMIT :max_rows
