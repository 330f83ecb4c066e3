SELECT COUNT(*) AS n FROM "{source}" WHERE :condition
