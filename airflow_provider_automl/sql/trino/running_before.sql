-- Running queries of earlier attempts of a task: they start with the task's comment, which ends in the attempt number.
SELECT query_id, SUBSTR(query, :start, 10) AS attempt
FROM system.runtime.queries
WHERE state NOT IN ('FINISHED', 'FAILED') AND STRPOS(query, :comment) = 1
