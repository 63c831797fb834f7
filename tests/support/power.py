"""A Valkey whose machine may lose its power: what it had not brought to the disk is gone.

A small library between Valkey and the C library notes how long each file was when it was last synced; after
a SIGKILL the append-only file is cut to that: the page cache outlives a process, but no power cut.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.valkey import ValkeyServer

_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int synced(const char *name, int fd) {
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);
    struct stat before;
    int known = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);  /* later writes may miss it */
    int answer = real(fd);
    const char *folder = getenv("SYNCED_SIZES");
    if (answer == 0 && known && folder) {
        char path[4096], line[32];
        snprintf(path, sizeof path, "%s/%llu", folder, (unsigned long long) before.st_ino);
        int out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (out >= 0) {
            int length = snprintf(line, sizeof line, "%020lld", (long long) before.st_size);
            if (pwrite(out, line, length, 0) != length) answer = -1;
            close(out);
        }
    }
    return answer;
}

int fdatasync(int fd) { return synced("fdatasync", fd); }
int fsync(int fd) { return synced("fsync", fd); }
"""


def can_lose_power() -> bool:
    """Whether a C compiler is there to make the library."""
    return shutil.which("cc") is not None


class PoweredValkey(ValkeyServer):
    """A `ValkeyServer` that can be switched off with its machine."""

    def __init__(self, folder: Path, *args: str, password: str = "") -> None:
        super().__init__(folder, *args, password=password)
        self._sizes = folder / "synced"
        self._sizes.mkdir()
        source, self._library = folder / "power.c", folder / "power.so"
        source.write_text(_SOURCE)
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)

    def environment(self) -> dict[str, str]:
        """With the library before the others."""
        return {**os.environ, "LD_PRELOAD": str(self._library), "SYNCED_SIZES": str(self._sizes)}

    def unsynced_bytes(self) -> int:
        """How much of its files would be gone with the power now."""
        return sum(max(0, size - kept) for _, size, kept in self._files())

    def lose_power(self) -> None:
        """Switch it off; what was not synced is gone."""
        self.kill()
        for file, size, kept in self._files():
            if size > kept:
                os.truncate(file, kept)

    def _files(self) -> Iterator[tuple[Path, int, int]]:
        """Each file, how long it is, and how long it was when it was last synced."""
        for file in (self.folder / "appendonlydir").glob("*.aof"):
            facts = file.stat()
            noted = self._sizes / str(facts.st_ino)
            yield file, facts.st_size, int(noted.read_text()) if noted.exists() else 0
