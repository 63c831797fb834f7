"""Finished files: looked at, kept while the storage is away, published with their manifest."""
