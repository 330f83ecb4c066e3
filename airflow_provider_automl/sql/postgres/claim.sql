-- Held until the transaction ends; needs no privilege and no table.
SELECT PG_TRY_ADVISORY_XACT_LOCK(:claim) AS held
