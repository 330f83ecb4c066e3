SELECT "{label}" AS label, COUNT(*) AS n FROM "{source}" GROUP BY "{label}" ORDER BY COUNT(*) DESC, "{label}" LIMIT :most
