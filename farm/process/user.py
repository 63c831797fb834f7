"""Another user of this machine, for a child that is not to read what is the farm's."""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

# Without it nobody can be made the owner of a file, nor a process given to another user.
_ROOT: Final = 0
_NONE: Final = 2**32 - 1  # what chown(2) and setuid(2) take for "leave it"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixUser:
    """Whom a child runs as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]  # that the system gives this user, and none of ours
    home: Path | None  # None: there is no such folder

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name``, ``name:group`` or ``uid:gid``.

        Raises:
            ValueError: there is no such user or group, or it is root.
        """
        user, _, group = text.partition(":")
        entry = _entry(user)
        if entry is None and not (user.isdecimal() and group):
            raise ValueError(f"there is no user {user!r} here" + _numbers_need_a_group(user))
        uid = entry.pw_uid if entry is not None else int(user)
        gid = _gid(group) if group else entry.pw_gid if entry is not None else _ROOT
        if _ROOT in (uid, gid):
            raise ValueError("root, and its group, may read everything: name a user of its own")
        if max(uid, gid) >= _NONE:
            raise ValueError(f"{text!r} is no number of a user and a group")
        groups = os.getgrouplist(entry.pw_name, gid) if entry is not None else [gid]
        home = Path(entry.pw_dir) if entry is not None else None
        return cls(
            name=entry.pw_name if entry is not None else user,
            uid=uid,
            gid=gid,
            groups=tuple(groups),
            home=home if home is not None and home.is_dir() else None,
        )

    @property
    def start_options(self) -> dict[str, Any]:
        """For `subprocess`: start as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}

    @property
    def as_argument(self) -> str:
        """For the guard of a child."""
        return f"{self.uid}:{self.gid}:{','.join(map(str, self.groups))}"

    @contextlib.contextmanager
    def rights(self) -> Iterator[None]:
        """Within it this thread may do with files what that user may, and no more (Linux only).

        What somebody else writes into is full of links to where only root gets.
        """
        libc = ctypes.CDLL(None)
        try:
            # The raw effect is the thread's alone. The group first: afterwards it cannot be changed.
            libc.setfsgid(self.gid)
            libc.setfsuid(self.uid)
            yield
        finally:
            libc.setfsuid(os.geteuid())
            libc.setfsgid(os.getegid())


def can_become_others() -> bool:
    """Whether this process can start one of another user, and end it again."""
    return sys.platform == "linux" and os.geteuid() == _ROOT


def _entry(user: str) -> pwd.struct_passwd | None:
    with contextlib.suppress(KeyError, OverflowError):
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    return None


def _gid(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {group!r} here") from None


def _numbers_need_a_group(user: str) -> str:
    return ": a number without a name needs its group, as in 1001:1001" if user.isdecimal() else ""
