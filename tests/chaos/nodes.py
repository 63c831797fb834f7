"""Where workers live: processes of this machine, or network namespaces of their own when root is at hand."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

_NUMBERS: Final = itertools.count()
_DISK_MIB: Final = 64  # far more than a few emulated clips need


class Node(Protocol):
    """One machine of the fleet."""

    servers_at: str  # the address at which it reaches what runs outside of it
    inside: tuple[str, ...]  # the command that runs another one there

    def cut_off(self) -> bool:
        """Pull its network cable; False when it has none."""

    def plug_in(self) -> None:
        """Put it back."""


class HereNode:
    """A process among others."""

    servers_at = "127.0.0.1"
    inside: tuple[str, ...] = ()

    def cut_off(self) -> bool:
        """It has no cable."""
        return False

    def plug_in(self) -> None:
        """Nothing to do."""


class NamespaceNode:
    """A network namespace, joined to the others by a bridge."""

    def __init__(self, name: str, servers_at: str) -> None:
        self.servers_at = servers_at
        self.inside: tuple[str, ...] = ("ip", "netns", "exec", name)
        self._cable = name

    def cut_off(self) -> bool:
        """Nothing arrives any more, and nobody is told."""
        _ip("link", "set", self._cable, "down")
        return True

    def plug_in(self) -> None:
        """Everything arrives again."""
        _ip("link", "set", self._cable, "up")


def can_have_namespaces() -> bool:
    """Whether this user may make nodes of their own."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    probe = f"fp{os.getpid()}"
    with contextlib.suppress(subprocess.CalledProcessError):
        _ip("netns", "add", probe)
        _ip("netns", "del", probe)
        return True
    return False


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Node]]:
    """So many nodes on one bridge, until the block ends; needs root."""
    number = (os.getpid() + next(_NUMBERS)) % 250
    bridge, net = f"fb{os.getpid() % 100000}x{number}", f"10.77.{number}"
    names = [f"fc{os.getpid() % 100000}x{place}" for place in range(count)]
    with contextlib.ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip_quietly, "link", "del", bridge)
        _ip("addr", "add", f"{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for place, name in enumerate(names):
            _ip("netns", "add", name)
            stack.callback(_ip_quietly, "netns", "del", name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", name, "master", bridge, "up")
            _ip("-n", name, "addr", "add", f"{net}.{place + 11}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        yield [NamespaceNode(name, f"{net}.1") for name in names]


class Disk:
    """A small disk of a worker's own, which can be filled; needs root."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        _run("mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(folder))

    def fill(self) -> None:
        """Not one more page fits."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))

    def clear(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Give it back."""
        subprocess.run(["umount", "-l", str(self._folder)], check=False, capture_output=True)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _ip_quietly(*words: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        _ip(*words)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
