"""Finding and stopping the stack that runs in a folder, from any process."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from farm.errors import StackError
from farm.local.addresses import BUCKET, REGION, PartName, local_url, valkey_url
from farm.local.state import STATE_FILE, Passwords, StackState, read_state

STATE_FOLDER: Final = Path(".farm")
NO_ROOM_BYTES: Final = 4 * 2**20  # with less a server cannot write for long

# Whoever names one of these has a Redis, or an S3, of their own: ours is neither started nor mixed in.
NAMES_REDIS: Final = ("FARM_REDIS_URL", "FARM_REDIS_URL_FILE")
NAMES_S3: Final = (
    "FARM_S3_ENDPOINT_URL",
    "BUCKET_ENDPOINT_URL",
    "FARM_S3_BUCKET",
    "BUCKET_NAME",
    "FARM_S3_ACCESS_KEY_ID",
    "FARM_S3_ACCESS_KEY_ID_FILE",
    "BUCKET_ACCESS_KEY_ID",
)
# What a stack was started with, and whoever finds it must mean too.
ALSO_REDIS: Final = ("FARM_NAMESPACE",)
ALSO_S3: Final = ("FARM_S3_PREFIX", "FARM_S3_PUBLIC_ENDPOINT_URL")


def stack_folder() -> Path:
    """The folder of the stack that counts for whoever stands here, as git looks for its own.

    The nearest `.farm` upwards in which a stack has ever run; else the one that this folder would get.
    """
    here = Path().absolute()
    found = (each / STATE_FOLDER for each in (here, *here.parents))
    return next(filter(_is_our_stack, found), Path(STATE_FOLDER))


def _is_our_stack(folder: Path) -> bool:
    # Above us may be a folder that everybody can write to: a stranger's stack must not get our jobs.
    try:
        return (folder / STATE_FILE).stat().st_uid == os.getuid()
    except OSError:
        return False


def attach(folder: Path | None = None) -> StackState | None:
    """The stack that runs in that folder (default: `stack_folder`), if one does."""
    state = read_state(stack_folder() if folder is None else folder)
    return state if state is not None and state.runs() else None


def why_silent(folder: Path | None = None) -> str:
    """Where to look when a server of that folder's stack (default: `stack_folder`) does not answer."""
    folder = stack_folder() if folder is None else folder
    try:
        if shutil.disk_usage(folder).free < NO_ROOM_BYTES:
            return f"the disk of {folder} is full: make room there, and the stack goes on by itself"
    except OSError:
        pass  # it is gone; its logs are named as well as anything
    return f"see its disk, and its last words in {folder / 'logs'}"


def local_environment(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that lead to the stack running in `folder`; empty when none does.

    Those of a service that the environment names itself are left out: half of ours and half of
    theirs would fit nobody.

    Args:
        folder: the stack's own; default: `stack_folder`.
        environ: what names services already; default: this process's.
    """
    state = attach(folder)
    if state is None:
        return {}
    named = named_already(os.environ if environ is None else environ)
    # With a Redis of their own they are in another farm, and its workers have a ComfyUI of their own.
    of_redis = ("FARM_REDIS_", "FARM_NAMESPACE", "FARM_WORKER_", "COMFYUI_")
    theirs = (of_redis if PartName.VALKEY in named else ()) + (("FARM_S3_",) if PartName.S3 in named else ())
    ours = {**state.worker, **state.environment}
    return {name: value for name, value in ours.items() if not name.startswith(theirs)}


def down(folder: Path | None = None, *, timeout_s: float = 90.0) -> bool:
    """Stop the stack that runs in that folder (default: `stack_folder`) and return when it is gone.

    Returns:
        False when none ran.

    Raises:
        StackError: it does not end in time.
    """
    folder = stack_folder() if folder is None else folder
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
    parts: frozenset[PartName],
    ports: Mapping[str, int],
    passwords: Passwords,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The variables that lead a client or worker to these parts.

    Args:
        environ: what the stack was started with.
    """
    given = environ or {}
    found: dict[str, str] = {}
    if PartName.VALKEY in parts:
        found["FARM_REDIS_URL"] = valkey_url(ports[PartName.VALKEY], passwords)
        found |= {name: given[name] for name in ALSO_REDIS if given.get(name)}
    if PartName.S3 in parts:
        found |= {
            "FARM_S3_ENDPOINT_URL": local_url(ports[PartName.S3]),
            "FARM_S3_BUCKET": BUCKET,
            "FARM_S3_ACCESS_KEY_ID": passwords.s3_key_id,
            "FARM_S3_SECRET_ACCESS_KEY": passwords.s3_secret,
            "FARM_S3_REGION": REGION,
        }
        found |= {name: given[name] for name in ALSO_S3 if given.get(name)}
    return found
