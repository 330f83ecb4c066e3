SELECT query_id
FROM system.runtime.queries
WHERE state NOT IN ('FINISHED', 'FAILED') AND STRPOS(query, :name) > 0 AND STRPOS(query, 'STRPOS') = 0
