"""Take the metadata out of one file, whatever it is; nothing in it is encoded anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from worker.results.metadata.edits import Edit, Malformed, Source, apply
from worker.results.metadata.headers import exr, glb, safetensors, svg
from worker.results.metadata.iso_media import iso_media
from worker.results.metadata.matroska import matroska
from worker.results.metadata.pictures import gif, jpeg, png, tiff, webp
from worker.results.metadata.sounds import flac, id3, ogg, riff

log = logging.getLogger(__name__)

_HEAD_BYTES: Final = 1024
_BLOCK_BYTES: Final = 1 << 20
# Stands in every graph, and so in every prompt or workflow that a node writes.
_OF_GRAPHS: Final = tuple("class_type".encode(coding) for coding in ("ascii", "utf-16-le", "utf-16-be"))


class MetadataState(StrEnum):
    """What became of a file's metadata."""

    NONE = "none"  # there were none beyond what a player needs
    REMOVED = "removed"
    KEPT = "kept"  # the job keeps them, and the farm lets it
    LEFT = "left"  # a graph stands in it, or may, and it could not be taken out


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The state, and of what was left, why."""

    state: MetadataState
    why: str | None = None


def strip(path: Path) -> Metadata:
    """Take everything out of a file that tells more than a player needs: prompt, graph, comments, EXIF, XMP.

    Raises:
        OSError: the disk is full, or broken; the file is as it was.
    """
    try:
        with path.open("rb") as file:
            source = Source(file, path.stat().st_size)
            find = _finder(source.peek(0, _HEAD_BYTES))
            if find is None:
                return _unknown(file)
            # What was cleaned before, or was blank to begin with, is found again.
            edits = [each for each in find(source) if not each.stands_in(source)]
        if edits:
            apply(path, edits)
        return Metadata(state=MetadataState.REMOVED if edits else MetadataState.NONE)
    except Malformed as exc:
        return _left(path, str(exc))
    except PermissionError as exc:
        return _left(path, f"the file cannot be written ({exc.strerror})")


def _left(path: Path, why: str) -> Metadata:
    log.warning(
        "The metadata of a file could not be removed",
        extra={"event": "metadata_left", "file": path.name, "reason": why},
    )
    return Metadata(state=MetadataState.LEFT, why=why)


def _unknown(file: BinaryIO) -> Metadata:
    file.seek(0)
    before = b""
    while block := file.read(_BLOCK_BYTES):
        if any(word in before + block for word in _OF_GRAPHS):
            return _left(Path(file.name), "a graph stands in it, and files of this kind are not known here")
        before = block[-64:]
    return Metadata(state=MetadataState.NONE)


def _finder(head: bytes) -> Callable[[Source], list[Edit]] | None:
    return next((find for fits, find in _KINDS if fits(head)), None)


def _is_safetensors(head: bytes) -> bool:
    return head[8:10] in (b'{"', b"{ ", b"{}") and head[5:8] == bytes(3)


def _is_svg(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text.startswith((b"<?xml", b"<svg", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in head


def _is_mpeg_sound(head: bytes) -> bool:
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0)


_KINDS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[Source], list[Edit]]], ...]] = (
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat"), iso_media),
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", matroska),
    (lambda head: head[:8] == b"\x89PNG\r\n\x1a\n", png),
    (lambda head: head[:2] == b"\xff\xd8", jpeg),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", webp),
    (lambda head: head[:4] == b"RIFF", riff),
    (lambda head: head[:4] == b"GIF8", gif),
    (lambda head: head[:4] in (b"II*\0", b"MM\0*"), tiff),
    (lambda head: head[:4] == b"v/1\x01", exr),
    (lambda head: head[:4] == b"fLaC", flac),
    (lambda head: head[:4] == b"OggS", ogg),
    (lambda head: head[:4] == b"glTF", glb),
    (_is_safetensors, safetensors),
    (_is_svg, svg),
    (_is_mpeg_sound, id3),
)
