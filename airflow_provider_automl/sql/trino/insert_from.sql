INSERT INTO "{table}" ("{columns}") SELECT :items FROM "{source}"
