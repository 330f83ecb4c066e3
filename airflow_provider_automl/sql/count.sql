SELECT COUNT(*) AS n FROM "{source}"
