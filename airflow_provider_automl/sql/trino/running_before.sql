-- What earlier tries of a task still run: their queries begin with the task's comment, which ends in the number of the try.
SELECT query_id, SUBSTR(query, :start, 10) AS attempt
FROM system.runtime.queries
WHERE state NOT IN ('FINISHED', 'FAILED') AND STRPOS(query, :comment) = 1
