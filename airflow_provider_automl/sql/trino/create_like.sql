CREATE TABLE "{table}" (LIKE "{source}")
