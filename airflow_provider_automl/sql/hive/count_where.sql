SELECT COUNT(CASE WHEN :condition THEN 1 END) AS n, COUNT(*) AS total FROM "{source}"
