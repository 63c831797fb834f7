"""When the next message is taken from Celery: once the GPU is free."""
