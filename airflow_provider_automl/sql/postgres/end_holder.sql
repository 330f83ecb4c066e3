-- Terminate this user's other session that holds a lock, given by its upper and lower 32 bits.
SELECT a.pid, PG_TERMINATE_BACKEND(a.pid) AS ended
FROM pg_locks AS l
JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = CURRENT_DATABASE()
  AND CAST(l.classid AS BIGINT) = :upper AND CAST(l.objid AS BIGINT) = :lower
  AND a.usename = CURRENT_USER AND a.pid <> PG_BACKEND_PID()
