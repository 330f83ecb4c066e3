CREATE TABLE "{table}" ("{columns}" INT) COMMENT :mark
