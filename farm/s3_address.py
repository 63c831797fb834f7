"""`S3Address`: where an S3 server listens, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from comfy.protocol.address import read_url


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Address:
    """A server, and what stands before its keys; never a secret."""

    scheme: str
    place: str  # host, with its port where one is named
    path: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``https://host[:port][/path]``.

        Raises:
            ValueError: it is none; says what is wrong without a secret.
        """
        url = read_url(text, ("http", "https"), form="https://host:9000")
        if url.user or url.password:
            raise ValueError(
                "it holds a user name; keys belong in FARM_S3_ACCESS_KEY_ID and FARM_S3_SECRET_ACCESS_KEY"
            )
        if url.query:
            raise ValueError("an endpoint has no '?'")
        return cls(scheme=url.scheme, place=url.place, path=tuple(filter(None, url.path.split("/"))))
