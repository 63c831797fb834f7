"""Names of objects: what a key may look like, which key a thing gets, what a name's ending means.

The rule is the smallest that every store keeps: segments of ``[a-z0-9._-]``, none longer than 200 bytes, and
no key that is a folder of another one. (A store over plain files answers 500 to ``a`` beside ``a/b``, 400 to
``a//b``, and may have a file system under it that knows no upper case.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from farm.limits import MAX_SEGMENT_BYTES, check_key

_ATTEMPT: Final = re.compile(r"[0-9a-f]{32}|[0-9]{1,9}")  # the token of a claim; before, a number

# Written out rather than asked of `mimetypes`, which reads the host's own tables: a file must get the
# same type on every node. It also types `.webp` and `.webm` only on some.
_MEDIA_TYPES: Final = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".gif": "image/gif",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".avif": "image/avif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tiff": "image/tiff",
    ".exr": "image/x-exr",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
UNKNOWN_MEDIA_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLayout:
    """Which key a thing of the farm gets. Prefixes end in a slash."""

    prefix: str = ""  # folder within the bucket, without slashes at its ends

    def job_prefix(self, job_id: str) -> str:
        """Everything that any attempt at the job has stored."""
        return check_key(f"{self._root}jobs/{job_id}") + "/"

    def attempt_prefix(self, job_id: str, token: str) -> str:
        """Everything that one attempt stores: no two attempts ever write to the same key.

        Args:
            token: of its claim. Its number would not do: after a fail-over it may be given twice.
        """
        return check_key(f"{self._root}jobs/{job_id}/{token}") + "/"

    def input_key(self, sha256: str, suffix: str) -> str:
        """Key of an input file; the same content has the same key, whoever brings it.

        Args:
            suffix: ending of the name, with its dot; "" for none.
        """
        return check_key(f"{self._root}inputs/{sha256}{suffix.lower()}")

    def scratch_key(self, name: str) -> str:
        """A key for a moment, outside of all jobs and inputs."""
        return check_key(f"{self._root}scratch/{name}")

    @property
    def jobs_prefix(self) -> str:
        """What all attempts at all jobs have stored."""
        return f"{self._root}jobs/"

    @property
    def inputs_prefix(self) -> str:
        """All input files."""
        return f"{self._root}inputs/"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All that is the farm's own; a bucket may hold more."""
        return self.jobs_prefix, self.inputs_prefix, f"{self._root}scratch/"

    def attempt_of(self, key: str) -> tuple[str, str] | None:
        """Job id and token of the attempt that stored under a key; None: it is no attempt's.

        An older farm named its attempts by number: then that stands in the token's place.
        """
        parts = key.removeprefix(self.jobs_prefix).split("/", 2)
        if not key.startswith(self.jobs_prefix) or len(parts) < 3 or not _ATTEMPT.fullmatch(parts[1]):
            return None
        return parts[0], parts[1]

    @property
    def _root(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""


def safe_name(filename: str) -> str:
    """A file's name as one segment of a key: its ending is kept, whatever is not allowed becomes ``-``."""
    name = re.sub(r"[^a-z0-9._-]+", "-", PurePosixPath(filename.replace("\\", "/")).name.lower())
    suffix = PurePosixPath(name).suffix
    suffix = suffix if 1 < len(suffix) <= 16 else ""
    stem = name.removesuffix(suffix).lstrip(".-") or "file"
    return stem[: MAX_SEGMENT_BYTES - len(suffix)] + suffix


def media_type_of(name: str) -> str:
    """Content type by the ending of a file name or key."""
    return _MEDIA_TYPES.get(PurePosixPath(name).suffix.lower(), UNKNOWN_MEDIA_TYPE)


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. The key is anybody's and need not follow our rule.

    Raises:
        ValueError: it is no such address.
    """
    parts = urlsplit(uri)
    key = unquote(parts.path).removeprefix("/")
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or not key or parts.query:
        raise ValueError(f"{uri!r} is not of the form s3://bucket/key")
    # On its way such a name is taken for a path, and leads to another bucket, or to an error of any kind.
    if not {".", ".."}.isdisjoint((parts.netloc, *key.split("/"))):
        raise ValueError(f"{uri!r} has '.' or '..' between slashes, which no store takes for a name")
    return parts.netloc, key
