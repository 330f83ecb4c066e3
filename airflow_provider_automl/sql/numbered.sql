SELECT ROW_NUMBER() OVER (ORDER BY "{order}") AS row_id, "{columns}" FROM "{source}"
