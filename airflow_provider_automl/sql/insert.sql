INSERT INTO "{table}" ("{columns}") SELECT :items
