-- Returns one row computed by a task; a server that returns none is unhealthy.
SELECT COUNT(*) AS n FROM (SELECT 1 AS x) AS q
