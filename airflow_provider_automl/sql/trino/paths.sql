SELECT DISTINCT "$path" AS path FROM "{table}"
