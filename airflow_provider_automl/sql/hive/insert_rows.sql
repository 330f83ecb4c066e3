-- The rows are text; the items cast them.
INSERT INTO "{table}" ("{columns}") SELECT :items FROM "{rows}"
