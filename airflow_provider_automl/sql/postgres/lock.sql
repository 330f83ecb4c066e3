-- Held until the end of the transaction; requires no privilege and no table.
SELECT PG_ADVISORY_XACT_LOCK(HASHTEXT(:name))
