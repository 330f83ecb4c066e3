-- Each row once per number: per class, or for all rows (0) and for its own group (1).
SELECT * FROM "{source}" CROSS JOIN "{numbers}"
