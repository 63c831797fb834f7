"""Where the parts of a local stack are found; who only looks for a stack needs no more of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from farm.local.state import Passwords

HOST: Final = "127.0.0.1"
REGION: Final = "us-east-1"
BUCKET: Final = "farm"


class PartName(StrEnum):
    """A part of the stack, in the order in which they depend on each other."""

    VALKEY = "valkey"
    S3 = "s3"
    WORKER = "worker"
    FLOWER = "flower"
    GATEWAY = "gateway"


def valkey_url(port: int, passwords: Passwords) -> str:
    """Where clients find Valkey, password included."""
    return f"redis://:{passwords.valkey}@{HOST}:{port}/0"


def local_url(port: int) -> str:
    """Where a client on this machine finds S3, Flower or the gateway."""
    return f"http://{HOST}:{port}"
