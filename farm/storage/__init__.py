"""Where files are kept: `Storage` (a `Protocol`) and its S3 form. Its fake is `farm.testing.storage`."""

from __future__ import annotations

from farm.limits import check_key
from farm.storage.base import ListedObject, S3Patience, Storage, StoredFile
from farm.storage.keys import KeyLayout, media_type_of, parse_s3_uri, safe_name
from farm.storage.s3 import S3Storage

__all__ = [
    "KeyLayout",
    "ListedObject",
    "S3Patience",
    "S3Storage",
    "Storage",
    "StoredFile",
    "check_key",
    "media_type_of",
    "parse_s3_uri",
    "safe_name",
]
