-- Held until the end of the transaction; requires no privilege and no table.
SELECT PG_TRY_ADVISORY_XACT_LOCK(:claim) AS held
