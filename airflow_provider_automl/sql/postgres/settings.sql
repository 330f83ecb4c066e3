-- Settings of the transaction: the text format of values, independent of the server's defaults; row-level security
-- raises an error where rows are replaced; read-only where rows are read; and, unless the connection or the server set
-- them: application name, lock timeout, and cancellation of the statement of a dead client.
SELECT
  SET_CONFIG('datestyle', 'ISO', TRUE) AS datestyle,
  SET_CONFIG('bytea_output', 'hex', TRUE) AS bytea_output,
  SET_CONFIG('extra_float_digits', '1', TRUE) AS extra_float_digits,
  SET_CONFIG('row_security', :row_security, TRUE) AS row_security,
  CASE
    WHEN CURRENT_SETTING('transaction_read_only') = 'off' THEN SET_CONFIG('transaction_read_only', :read_only, TRUE)
  END AS transaction_read_only,
  CASE
    WHEN CURRENT_SETTING('application_name') = '' THEN SET_CONFIG('application_name', :application, TRUE)
  END AS application_name,
  CASE WHEN CURRENT_SETTING('lock_timeout') = '0' THEN SET_CONFIG('lock_timeout', :lock_timeout, TRUE) END AS lock_timeout,
  CASE
    WHEN CURRENT_SETTING('client_connection_check_interval', TRUE) = '0'
    THEN SET_CONFIG('client_connection_check_interval', '2s', TRUE)
  END AS client_connection_check_interval
