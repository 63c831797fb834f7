"""Finished files: looked at, retained while the storage is away, published with their manifest."""
