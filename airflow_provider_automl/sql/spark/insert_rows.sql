-- Rows as text, cast here.
INSERT INTO "{table}" ("{columns}") SELECT :items FROM "{rows}"
