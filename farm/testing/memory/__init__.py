"""The job store in one process's memory: for tests, and the model that the Redis form is checked against."""
