CREATE TABLE "{table}" AS SELECT :items FROM "{source}"
