SELECT
  CURRENT_SETTING('lock_configuration') AS locked,
  CURRENT_SETTING('enable_external_access') AS reaches,
  CURRENT_SETTING('allowed_directories') AS allowed
