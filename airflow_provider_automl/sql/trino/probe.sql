SELECT 1 AS found FROM "{table}" LIMIT 0
