"""Whatever a worker and a local stack write, whoever runs them: for their own user alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from farm.local.running import attach
from tests.support.environment import environment_of_others
from tests.support.s3 import S3Server
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm

# As careless as a shell can be: whatever is closed was closed by us.
_OPEN: Final = "import os, runpy, sys; os.umask(0); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
_SMALL: Final = ("-p", "prompt=fox", "-p", "frames=5", "-p", "width=64", "-p", "height=64")


def open_to_others(folder: Path) -> Iterator[str]:
    """Every file and folder in it that anybody else may read, write or enter, with its mode."""
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent), *(Path(parent, name) for name in (*folders, *files))):
            with suppress(FileNotFoundError):  # gone meanwhile
                facts = path.lstat()
                if not stat.S_ISLNK(facts.st_mode) and facts.st_mode & 0o077:
                    yield f"{path.relative_to(folder)} {stat.filemode(facts.st_mode)}"


def count_of(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*"))


def made_open(folder: Path) -> Path:
    """A folder that somebody has made before, for all."""
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    return folder


def test_all_that_a_worker_writes(tmp_path: Path, valkey_url: str, s3_server: S3Server) -> None:
    farm = WholeFarm(tmp_path, valkey_url, s3_server.settings(prefix=f"e{uuid.uuid4().hex[:12]}"))
    folder = made_open(tmp_path / "a")
    try:
        farm.wait_ready(farm.launch("a", command=("-c", _OPEN, "worker")))
        farm.submit().wait(JOB_S)
        found = sorted(set(open_to_others(folder)))
    finally:
        farm.close()

    assert (folder / "worker.lock").exists()
    assert found == sorted(set(open_to_others(folder))) == []


def test_all_that_a_local_stack_writes(tmp_path: Path) -> None:
    folder = made_open(tmp_path / ".farm")
    environ = environment_of_others() | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "FARM_EMULATOR_ARGS": "--step-seconds 0",
    }

    def farm(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _OPEN, "farm.cli", *arguments], cwd=tmp_path, env=environ
        )

    with farm("up", "--no-flower") as stack:
        try:
            eventually(lambda: attach(folder) is not None, within_s=START_S)
            with farm("submit", "--template", "wan22-t2v-a14b", *_SMALL, "--wait") as job:
                assert job.wait(JOB_S + START_S) == 0
            found = sorted(set(open_to_others(folder)))
        finally:
            stack.terminate()

    assert (folder / "worker" / "worker.lock").exists()
    assert found == sorted(set(open_to_others(folder))) == []
