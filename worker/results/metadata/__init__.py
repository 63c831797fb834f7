"""Metadata out of finished files: prompt and graph are not published, the pictures stay bit by bit."""

from worker.results.metadata.strip import Metadata, MetadataState, strip

__all__ = ["Metadata", "MetadataState", "strip"]
