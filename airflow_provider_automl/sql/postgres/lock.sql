-- Held until the transaction ends; needs no privilege and no table.
SELECT PG_ADVISORY_XACT_LOCK(HASHTEXT(:name))
