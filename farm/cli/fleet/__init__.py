"""Commands about workers, the storage and metrics."""
