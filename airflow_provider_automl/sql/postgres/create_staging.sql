-- Seen by this session only, and gone with it.
CREATE TEMPORARY TABLE "{table}" ("{columns}" INT)
