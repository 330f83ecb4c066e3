CALL system.runtime.kill_query(query_id => ?, message => ?)
