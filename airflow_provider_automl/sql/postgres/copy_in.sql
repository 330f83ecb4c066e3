COPY "{table}" ("{columns}") FROM STDIN WITH (FORMAT CSV)
