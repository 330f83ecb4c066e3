-- Visible to this session only, and dropped with it.
CREATE TEMPORARY TABLE "{table}" ("{columns}" INT)
