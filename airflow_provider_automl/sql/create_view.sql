-- A view of this session only: the way to learn the columns of a query.
CREATE TEMPORARY VIEW "{view}" AS SELECT * FROM "{source}"
