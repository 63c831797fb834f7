"""Files with a readable head: safetensors, GLB, EXR, SVG.

Source: safetensors' README (length, JSON with ``__metadata__``); glTF 2.0, section 4.4 (GLB); OpenEXR's file
layout; SVG 2, section 5.9 (``metadata``).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from worker.results.metadata.edits import Edit, Malformed, Source
from worker.results.metadata.kept import says_emulated, stays

_MOST_HEAD_BYTES: Final = 100_000_000  # as safetensors has it
_MOST_SVG_BYTES: Final = 64 << 20
# What loaders and trainers go by; a prompt is none of it.
_OF_MODELS: Final = ("modelspec.", "ss_", "format")
_OF_EXR: Final = (b"name", b"type", b"view", b"renderingTransform", b"wrapmodes")
_MULTI_PART: Final = 0x1000
# CDATA may hold what looks like the end.
_SVG_METADATA: Final = re.compile(
    rb"<metadata\b[^>]*?(?:/>|>(?:<!\[CDATA\[.*?\]\]>|(?!</metadata).)*</metadata\s*>)|<!--.*?-->", re.DOTALL
)


def safetensors(source: Source) -> list[Edit]:
    """Edits that take the texts out of the head of saved latents and models."""
    length = source.number(0, 8, "little")
    head = _json(source, 8, length)
    given = head.get("__metadata__")
    if not isinstance(given, dict):
        return []
    kept = {name: value for name, value in given.items() if name.startswith(_OF_MODELS)}
    if kept == given:
        return []
    if kept:
        head["__metadata__"] = kept
    else:
        del head["__metadata__"]
    return [_padded_json(8, length, head)]


def glb(source: Source) -> list[Edit]:
    """Edits that take what ComfyUI adds out of a scene."""
    length, kind = source.number(12, 4, "little"), source.read(16, 4)
    if kind != b"JSON":
        raise Malformed("it does not begin with JSON")
    scene = _json(source, 20, length)
    asset = scene.get("asset")
    if not isinstance(asset, dict) or "extras" not in asset:
        return []
    scene["asset"] = {name: value for name, value in asset.items() if name != "extras"}
    return [_padded_json(20, length, scene)]


def _json(source: Source, at: int, length: int) -> dict[str, Any]:
    if length > min(_MOST_HEAD_BYTES, source.size - at):
        raise Malformed("its head does not fit")
    try:
        found = json.loads(source.read(at, length))
    except (ValueError, RecursionError) as exc:
        raise Malformed("its head is no JSON") from exc
    if not isinstance(found, dict):
        raise Malformed("its head is no JSON object")
    return found


def _padded_json(at: int, length: int, value: dict[str, Any]) -> Edit:
    """The same length as before: blanks after it are allowed, and nothing moves."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > length:
        raise Malformed("its head would grow")
    return Edit(start=at, end=at + length, new=text.ljust(length))


def exr(source: Source) -> list[Edit]:
    """Edits that blank the texts in the head of an EXR: pixels are found by place, so none moves."""
    found: list[Edit] = []
    parts, at = source.number(4, 4, "little") & _MULTI_PART, 8
    while True:
        while source.number(at, 1):
            name, at = _until_nul(source, at)
            kind, at = _until_nul(source, at)
            length = source.number(at, 4, "little")
            start, at = at + 4, at + 4 + length
            if kind in (b"string", b"stringvector") and name not in _OF_EXR:
                old = source.read(start, length)
                if not stays(name.decode("latin-1"), old):
                    found.append(
                        Edit(start=start, end=at, new=b" " * length if kind == b"string" else bytes(length))
                    )
        at += 1
        if not parts or not source.number(at, 1):
            return found


def _until_nul(source: Source, at: int) -> tuple[bytes, int]:
    name, found, _ = source.peek(at, 256).partition(b"\0")
    if not found:
        raise Malformed(f"no name at {at}")
    return name, at + len(name) + 1


def svg(source: Source) -> list[Edit]:
    """Edits that take metadata and comments out of a drawing."""
    if source.size > _MOST_SVG_BYTES:
        raise Malformed("it is too large to be looked through")
    return [
        Edit(start=found.start(), end=found.end())
        for found in _SVG_METADATA.finditer(source.read(0, source.size))
        if not says_emulated(found.group())
    ]
