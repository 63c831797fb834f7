"""What a running stack writes down for others, and the lock that keeps a second one away."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from farm.errors import StackError
from farm.process.identity import ProcessId

log = logging.getLogger(__name__)

STATE_FILE: Final = "stack.json"
LOCK_FILE: Final = "stack.lock"
LOCK_PATIENCE_S: Final = 1.0  # somebody who only looks holds the lock for a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """Made once for a folder and kept, so that links and settings stay good over a restart."""

    valkey: str
    s3_key_id: str
    s3_secret: str
    flower: str

    @classmethod
    def generate(cls) -> Self:
        """New ones. Only letters and digits: they stand in addresses and configuration files."""
        return cls(
            valkey=secrets.token_hex(24),
            s3_key_id=secrets.token_hex(10),
            s3_secret=secrets.token_hex(20),
            flower=secrets.token_hex(12),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """A stack as its state file tells it. The file is for its owner's eyes only."""

    owner: ProcessId  # the process that runs the stack
    passwords: Passwords = field(repr=False)
    ports: dict[str, int]  # part -> its port on 127.0.0.1
    environment: dict[str, str] = field(repr=False)  # FARM_* variables with which a client finds the stack
    # What a further worker of it takes: the ComfyUI that the stack's own has, and another folder.
    worker: dict[str, str] = field(default_factory=dict, repr=False)
    children: dict[str, ProcessId] = field(default_factory=dict)  # part -> its process
    stopped: bool = False  # it went down in good order; only ports and passwords still count
    flower_url: str | None = None
    flower_user: str = "farm"
    gateway_url: str | None = None
    started_at: AwareDatetime = field(default_factory=lambda: datetime.now(UTC))

    def runs(self) -> bool:
        """Whether the stack is there now."""
        return not self.stopped and self.owner.alive()


_ADAPTER: Final = TypeAdapter(StackState)


def read_state(folder: Path) -> StackState | None:
    """The state that was last written in a stack's folder, of a running stack or not."""
    path = folder / STATE_FILE
    try:
        return _ADAPTER.validate_json(_own_content(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as exc:
        log.warning(
            "State file of the local stack is not ours alone and is left aside",
            extra={"event": "stack_state_foreign", "path": str(path), "reason": str(exc)},
        )
        return None
    except ValidationError as exc:
        log.warning(
            "State file of the local stack cannot be read and is left aside",
            extra={"event": "stack_state_broken", "path": str(path), "problems": exc.error_count()},
        )
        return None


def _own_content(path: Path) -> bytes:
    """The content of a file that nobody else could have written.

    Raises:
        PermissionError: somebody else owns it or may write it, or it is a link.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise PermissionError("it is a link") from exc
        raise
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            raise PermissionError("another user owns it or may write it")
        return file.read()


def write_state(folder: Path, state: StackState) -> None:
    """Replace the state file as a whole; only its owner may read it."""
    write_private(folder / STATE_FILE, _ADAPTER.dump_json(state, indent=2))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read: the old content or the new one, never half."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


class FolderLock:
    """The right to run the stack of a folder. It ends with the process, however that ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Take the lock.

        Raises:
            StackError: a stack already runs there, or the folder cannot be written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise StackError(f"the stack's folder {folder} belongs to another user; choose another one")
            folder.chmod(0o700)  # also one that was made by hand, or by a version before
            write_private(folder / ".gitignore", b"*\n")  # passwords, and everybody's clips
            # Not inherited by children: else a leftover one would keep the lock.
            descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StackError(f"the stack's folder {folder} cannot be used: {exc.strerror}") from exc
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                os.close(descriptor)
                state = read_state(folder)
                who = f" (process {state.owner.pid})" if state else ""
                raise StackError(
                    f"a stack already runs in {folder}{who}; use it, stop it with `farm down`, "
                    "or choose another folder"
                ) from None
            return cls(descriptor)

    def release(self) -> None:
        """Let another one run."""
        os.close(self._descriptor)
