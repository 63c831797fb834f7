"""Finding and stopping the stack that runs in a folder, from any process."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from farm.errors import StackError
from farm.local.parts import BUCKET, PartName, s3_url, valkey_url
from farm.local.probes import REGION
from farm.local.state import Passwords, StackState, read_state

STATE_FOLDER: Final = Path(".farm")

# Whoever names one of these has a Redis, or an S3, of their own: ours is neither started nor mixed in.
NAMES_REDIS: Final = ("FARM_REDIS_URL",)
NAMES_S3: Final = (
    "FARM_S3_ENDPOINT_URL",
    "BUCKET_ENDPOINT_URL",
    "FARM_S3_BUCKET",
    "BUCKET_NAME",
    "FARM_S3_ACCESS_KEY_ID",
    "BUCKET_ACCESS_KEY_ID",
)


def attach(folder: Path = STATE_FOLDER) -> StackState | None:
    """The stack that runs in that folder, if one does."""
    state = read_state(folder)
    return state if state is not None and state.runs() else None


def local_environment(here: Path = Path(), environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that lead to the stack running in `here`; empty when none does.

    Those of a service that the environment names itself are left out: half of ours and half of
    theirs would fit nobody.
    """
    state = attach(here / STATE_FOLDER)
    if state is None:
        return {}
    named = named_already(os.environ if environ is None else environ)
    theirs = (("FARM_REDIS_",) if PartName.VALKEY in named else ()) + (
        ("FARM_S3_",) if PartName.S3 in named else ()
    )
    return {name: value for name, value in state.environment.items() if not name.startswith(theirs)}


def down(folder: Path = STATE_FOLDER, *, timeout_s: float = 90.0) -> bool:
    """Stop the stack that runs in that folder and return when it is gone; False when none ran.

    Raises:
        StackError: it does not end in time.
    """
    state = attach(folder)
    if state is None:
        return False
    state.owner.signal(signal.SIGTERM)
    if not state.owner.wait_gone(timeout_s):
        raise StackError(
            f"the stack in {folder} (process {state.owner.pid}) does not end within {timeout_s:g} s; "
            f"`kill -9 {state.owner.pid}` ends it and its parts, no job is lost"
        )
    return True


def named_already(environ: Mapping[str, str]) -> frozenset[PartName]:
    """Parts for which the environment names a service; an empty variable names nothing."""
    variables = {PartName.VALKEY: NAMES_REDIS, PartName.S3: NAMES_S3}
    return frozenset(part for part, names in variables.items() if any(environ.get(name) for name in names))


def stack_environment(
    parts: frozenset[PartName], ports: Mapping[str, int], passwords: Passwords
) -> dict[str, str]:
    """The variables that lead a client or worker to these parts."""
    found: dict[str, str] = {}
    if PartName.VALKEY in parts:
        found["FARM_REDIS_URL"] = valkey_url(ports[PartName.VALKEY], passwords)
    if PartName.S3 in parts:
        found |= {
            "FARM_S3_ENDPOINT_URL": s3_url(ports[PartName.S3]),
            "FARM_S3_BUCKET": BUCKET,
            "FARM_S3_ACCESS_KEY_ID": passwords.s3_key_id,
            "FARM_S3_SECRET_ACCESS_KEY": passwords.s3_secret,
            "FARM_S3_REGION": REGION,
        }
    return found
