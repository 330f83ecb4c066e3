-- The rows are one JSON array of arrays of strings.
INSERT INTO "{table}" ("{columns}") SELECT :items FROM UNNEST(CAST(JSON_PARSE(:rows) AS VARCHAR[][])) AS t(r)
