COPY "{query}" TO :path (FORMAT PARQUET, ROW_GROUP_SIZE :batch_rows)
