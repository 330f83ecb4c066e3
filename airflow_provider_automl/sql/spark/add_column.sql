ALTER TABLE "{table}" ADD COLUMNS ("{column}" INT)
