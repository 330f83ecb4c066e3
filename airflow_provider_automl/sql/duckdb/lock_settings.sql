SET lock_configuration = TRUE
