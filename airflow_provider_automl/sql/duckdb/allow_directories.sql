SET allowed_directories = :directories
