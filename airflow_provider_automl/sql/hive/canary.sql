-- One row, by a task: a server that finds none is ill.
SELECT COUNT(*) AS n FROM (SELECT 1 AS x) AS q
