SELECT * FROM "{source}" LIMIT 0
