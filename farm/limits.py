"""How much the farm takes of what a stranger sends or stores; the whole table is `docs/limits.md`.

These are no settings: producer, store, worker and gateway have to agree on them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from comfy.graphs.graph import MAX_GRAPH_BYTES
from farm.errors import RecordUnreadable

MOST_JOB_BYTES: Final = MAX_GRAPH_BYTES  # as submitted, with all that it holds but its input files
MOST_UNPACKED_BYTES: Final = 2 * MOST_JOB_BYTES  # of one as it is stored: it has got addresses and defaults
MOST_INPUTS: Final = 256  # files of one job
MOST_PARAMETERS: Final = 1000  # of one job
MOST_BLOB_BYTES: Final = 64 << 20  # node definitions or model names of one worker, unpacked
MOST_NAMED_JOBS: Final = 1_000_000  # by their ids, in one call; a selection has no such limit
LONGEST_TEXT: Final = 4000  # characters of each text that is stored with a job: an error, a note
MOST_LISTED: Final = 100  # entries of each list in a message, or that is stored with an error
MAX_SEGMENT_BYTES: Final = 200  # of a key in the storage, between two slashes
MAX_KEY_BYTES: Final = 1024
_DEEPEST: Final = 6
_SEGMENT: Final = re.compile(r"[a-z0-9._-]+")


def short(text: str, *, longest: int = LONGEST_TEXT) -> str:
    """A text as it is stored: no longer than that, and such as every encoder takes."""
    more = len(text) - longest
    kept = text if more <= 0 else f"{text[:longest]}… and {more:,} more characters"
    return kept.encode(errors="replace").decode()


def listed(entries: Iterable[str], count: int, *, most: int = MOST_LISTED) -> list[str]:
    """The first of `count` entries, and how many more there are."""
    shown = list(islice(entries, most))
    return [*shown, f"… and {count - len(shown):,} more"] if count > len(shown) else shown


def bounded(value: Any, depth: int = 0) -> Any:
    """A JSON value with short texts and lists, for an error's details and an event's facts."""
    if isinstance(value, str):
        return short(value)
    if depth == _DEEPEST and isinstance(value, Mapping | list | tuple):
        return "…"
    if isinstance(value, Mapping):
        pairs = islice(value.items(), MOST_LISTED)
        return {short(str(key), longest=200): bounded(each, depth + 1) for key, each in pairs}
    if isinstance(value, list | tuple):
        kept = [bounded(each, depth + 1) for each in value[:MOST_LISTED]]
        return listed(kept, len(value))
    return value


def unpacked(data: bytes, *, most_bytes: int, words: bytes = b"") -> bytes:
    """Undo `zlib.compress`, as long as that gives no more than so much.

    Raises:
        RecordUnreadable: it is damaged, made with other words, or larger.
    """
    unpacker = zlib.decompressobj(zdict=words) if words else zlib.decompressobj()
    try:
        whole = unpacker.decompress(data, most_bytes)
    except zlib.error as exc:
        raise RecordUnreadable(
            f"what is stored cannot be unpacked ({exc}); did a newer farm store it?"
        ) from exc
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise RecordUnreadable(f"what is stored is damaged, or unpacks to more than {most_bytes >> 20} MiB")
    return whole


def check_key(key: str) -> str:
    """The key itself, if every store takes it.

    Raises:
        ValueError: it breaks the rule that `farm.storage.keys` tells.
    """
    for segment in key.split("/"):
        if not _SEGMENT.fullmatch(segment) or segment in (".", "..") or len(segment) > MAX_SEGMENT_BYTES:
            raise ValueError(
                f"{key!r} is no key of ours: {segment!r} must be 1 to {MAX_SEGMENT_BYTES} of a-z 0-9 . _ -"
            )
    if len(key) > MAX_KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes is longer than the {MAX_KEY_BYTES} that S3 takes")
    return key
