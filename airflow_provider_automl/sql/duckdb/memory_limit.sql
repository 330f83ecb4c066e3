SELECT CURRENT_SETTING('memory_limit') AS memory_limit, CURRENT_SETTING('threads') AS threads
