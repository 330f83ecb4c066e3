CREATE TABLE "{table}" COMMENT :mark AS SELECT :items FROM "{source}"
