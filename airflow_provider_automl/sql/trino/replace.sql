CREATE OR REPLACE TABLE "{table}" AS SELECT :items FROM "{source}"
