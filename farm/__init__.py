"""The producer, and what producer and worker share."""
