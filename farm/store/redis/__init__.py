"""The job store's form in Redis."""
