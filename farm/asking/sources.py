"""Where a job's input files come from: addresses, their pins, and how they may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from farm.storage.keys import parse_s3_uri

INPUT_SCHEMES: Final = ("s3", "https", "http", "file")  # file: a path on the worker's machine
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(?://|/)")
_PIN: Final = re.compile(r"#sha256=([^#]*)$")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """An address, and the content that it must have."""

    address: str  # without the pin
    sha256: str | None  # hex; None: whatever is there


def scheme_of(text: str) -> str | None:
    """The scheme of an address, in lower case; None for a path."""
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def without_pin(source: str) -> Pinned:
    """Take ``#sha256=…`` off an address: an input whose content must not change behind the job's back.

    Raises:
        ValueError: the pin is no SHA-256.
    """
    found = _PIN.search(source)
    if found is None:
        return Pinned(address=source, sha256=None)
    digest = found[1].lower()
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"the pin sha256={found[1][:70]} is no SHA-256 (64 hex digits)")
    return Pinned(address=source[: found.start()], sha256=digest)


def address_fault(source: str) -> str | None:
    """Say what is wrong with an address, as far as its form tells; None when a worker may try it."""
    scheme = scheme_of(source)
    if scheme not in INPUT_SCHEMES:
        return f"{scheme}: cannot be fetched; give a file, or an address with {', '.join(INPUT_SCHEMES)}"
    try:
        address = without_pin(source).address
        if scheme == "s3":
            return _s3_fault(address)
        if scheme in ("http", "https") and not _has_host(address):
            return "the address names no host"
    except ValueError as exc:
        return str(exc)
    return None


def public_source(source: str) -> str:
    """A source as it may stand in a log, error or manifest: without user, password, query and fragment."""
    try:
        parts = urlsplit(source)
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "(an address that cannot be read)"
    if parts.scheme not in INPUT_SCHEMES:
        return f"{parts.scheme[:20]}:…"
    return address if len(address) <= _LONGEST_SHOWN else address[: _LONGEST_SHOWN - 3] + "..."


def _s3_fault(address: str) -> str | None:
    try:
        parse_s3_uri(address)
    except ValueError:  # its own words repeat the address, which may hold a secret
        return "the form of an S3 address is s3://bucket/key, without '.' or '..' between slashes"
    return "write # as %23 in an S3 address" if "#" in address else None


def _has_host(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError as exc:
        raise ValueError(f"the address cannot be read: {exc}") from exc
