-- The source has the new rows as part 1, and one row as part 0, which matches the rows to delete: an equality join.
MERGE INTO "{table}" USING "{source}"
ON s.automl_part = CASE WHEN :condition THEN 0 ELSE 2 END
WHEN MATCHED THEN DELETE
WHEN NOT MATCHED AND s.automl_part = 1 THEN INSERT ("{columns}") VALUES ("{values}")
