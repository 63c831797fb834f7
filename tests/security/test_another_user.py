"""ComfyUI as another user: custom nodes cannot read what is the worker's, nor lead it to what is root's."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

import comfy.errors
from comfy.canary.report import Verdict
from comfy.errors import UnknownMessage
from comfy.protocol.outputs import MediaKind, OutputFile
from farm.process.user import UnixUser
from farm.settings.worker import WorkerSettings
from tests.support.jobs import a_claim
from tests.support.valkey import eventually
from worker.comfyui.folders import open_folders
from worker.comfyui.keeper import ComfyState
from worker.comfyui.launch import find_target
from worker.comfyui.supervisor import ComfySupervisor
from worker.errors import ComfyUnusable, FolderUnusable
from worker.jobs.collect import collect

REPOSITORY = Path(comfy.errors.__file__).parents[1]
SECRET = "s3cret-of-the-worker"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can start a process of another user"
)


def _interpreter_for_all() -> str | None:
    """One that another user may run, of this version: it imports what is installed here."""
    ask = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for python in (sys.executable, "/usr/bin/python3", shutil.which("python3", path="/usr/local/bin")):
        try:
            if python and subprocess.run([python, "-c", ask], user="nobody", check=False).returncode == 0:
                return python
        except PermissionError:
            continue
    return None


# The emulator, after a custom node of the worst kind has looked around.
MAIN = """
    import json, os, pathlib, subprocess, sys
    sys.path[:0] = [{repository!r}, {packages!r}]

    def attempt(what):
        try:
            return what()
        except OSError as exc:
            return type(exc).__name__

    def secrets():
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if {secret!r} in (process / "environ").read_text(errors="replace"):
                    found.append(process.name)
            except OSError:
                pass
        return found

    if "--help" not in sys.argv:
        data = pathlib.Path({data!r})
        left = subprocess.Popen(["sleep", "600"], start_new_session=True)
        seen = dict(
            uid=os.getuid(), gid=os.getgid(), groups=os.getgroups(), left=left.pid,
            secrets=secrets(), worker=attempt(lambda: open("/proc/{worker}/environ").read()),
            memory=attempt(lambda: open("/proc/{worker}/mem", "rb").read(1)),
            listing=attempt(lambda: os.listdir(data)),
            cache=attempt(lambda: os.listdir(data / "inputs")),
            kept=attempt(lambda: os.listdir(data / "kept")),
            logs=attempt(lambda: (data / "logs/comfyui.log").read_text()),
            note=attempt(lambda: (data / "comfyui.pid").write_text("x")),
            swapped=attempt(lambda: (data / "input/farm").rename(data / "input/gone")),
            input=attempt(lambda: (data / "input/farm/start.png").read_text()),
            own_input=attempt(lambda: (data / "input/made.png").write_text("x")),
        )
        print("SEEN " + json.dumps(seen), flush=True)
    from comfy.emulator.__main__ import main
    sys.exit(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Folders that another user can reach; pytest's own are for nobody but root."""

    data: Path
    comfyui: Path
    python: str

    def settings(self, **given: Any) -> WorkerSettings:
        """Of a worker here, whose ComfyUI is somebody else."""
        return WorkerSettings.read(
            data_dir=self.data,
            comfyui_dir=self.comfyui,
            comfyui_python=self.python,
            **{"comfy_user": "nobody", "start_timeout_s": 120, **given},
        )


@pytest.fixture
def place() -> Iterator[Place]:
    python = _interpreter_for_all()
    if python is None:
        pytest.skip("no interpreter of this version that another user may run")
    root = Path(tempfile.mkdtemp(prefix="another-user-", dir="/tmp"))
    root.chmod(0o755)
    folder = root / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "nodes.py").touch()
    main = textwrap.dedent(MAIN).format(
        repository=str(REPOSITORY),
        packages=sysconfig.get_path("purelib"),
        secret=SECRET,
        data=str(root / "data"),
        worker=os.getpid(),
    )
    (folder / "main.py").write_text(main)
    yield Place(data=root / "data", comfyui=folder, python=python)
    shutil.rmtree(root)


@pytest.fixture
def supervisor(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[ComfySupervisor]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("FARM_REDIS_URL", f"redis://:{SECRET}@host")
    made = ComfySupervisor.for_this_machine(place.settings())
    made.take()
    start = place.data / "inputs" / "start.png"
    start.write_text("an input")
    os.link(start, place.data / "input/farm/start.png")
    yield made
    made.stop()


def seen_by(supervisor: ComfySupervisor) -> dict[str, Any]:
    def lines() -> list[str]:
        return [each.text for each in supervisor.lines_since(0.0) if each.text.startswith("SEEN ")]

    eventually(lambda: bool(lines()), within_s=60)
    seen: dict[str, Any] = json.loads(lines()[0].removeprefix("SEEN "))
    return seen


def test_a_custom_node_reads_nothing_of_the_worker_and_the_worker_its_files(
    supervisor: ComfySupervisor,
) -> None:
    nobody = pwd.getpwnam("nobody")
    # What a fork shows of the environment that this process began with.
    with subprocess.Popen(["sleep", "600"]) as of_the_worker:
        try:
            supervisor.start()
            seen = seen_by(supervisor)
        finally:
            of_the_worker.kill()

    assert (seen["uid"], seen["gid"]) == (nobody.pw_uid, nobody.pw_gid)
    assert 0 not in seen["groups"]
    assert seen["secrets"] == []
    assert {seen[what] for what in ("worker", "memory", "listing", "cache", "kept", "logs", "note")} == {
        "PermissionError"
    }
    assert seen["swapped"] == "PermissionError"  # what the worker writes into stays what it made
    assert seen["input"] == "an input"
    assert seen["own_input"] == 1
    report = supervisor.send_canary(give_up=threading.Event(), on_wait=lambda _why: None)
    assert report.verdict is Verdict.PROVEN, report.sentence


def test_what_it_leaves_behind_ends_with_it(supervisor: ComfySupervisor) -> None:
    supervisor.start()
    left = psutil.Process(seen_by(supervisor)["left"])
    assert left.uids().real == pwd.getpwnam("nobody").pw_uid

    supervisor.stop()

    assert supervisor.state is not ComfyState.READY
    assert not left.is_running()


def test_folders_are_cleared_with_its_rights_wherever_its_links_lead(place: Place, tmp_path: Path) -> None:
    nobody = UnixUser.parse("nobody")
    folders, held = open_folders(place.data, holder="w1", user=nobody)
    precious = tmp_path / "precious.txt"
    precious.write_text("root's")
    with nobody.rights():
        (folders.output / "jobs").symlink_to(tmp_path)
        (folders.temp / "away").symlink_to(tmp_path)
        (folders.output / "old.png").write_text("x")

    folders.clean("jobs/precious")
    folders.empty_temp()

    assert precious.exists()
    assert not (folders.temp / "away").is_symlink()
    held.release()


def test_a_result_is_taken_out_of_its_reach_and_what_is_not_its_own_comes_by_its_own_rights(
    place: Place, tmp_path: Path
) -> None:
    nobody = UnixUser.parse("nobody")
    folders, held = open_folders(place.data, holder="w1", user=nobody)
    with nobody.rights():
        (folders.output / "own.png").write_text("own")
        (folders.output / "private").symlink_to("../kept")
    (folders.output / "planted.png").write_text("root's")
    comfy = SimpleNamespace(output_dir=folders.output, output_owner=nobody.uid, is_ours=True)
    client = SimpleNamespace(view=lambda _file, target: target.write(b"by view"))
    context = SimpleNamespace(comfy=comfy, scratch=tmp_path, claim=a_claim({}), stop=threading.Event())

    def collected(name: str) -> str:
        file = OutputFile(
            node_id="1", key="images", filename=name, subfolder="", type="output", kind=MediaKind.IMAGE
        )
        run = SimpleNamespace(outputs=[file], texts=())
        (output,) = collect(cast("Any", run), cast("Any", client), cast("Any", context))
        assert output.path.is_relative_to(tmp_path)
        return output.path.read_text()

    assert collected("own.png") == "own"
    assert collected("planted.png") == "by view"
    (folders.root / "kept/secret.png").touch()
    with pytest.raises(UnknownMessage, match="leaves the output folder"):
        collected("private/secret.png")
    held.release()


def test_what_a_worker_before_left_becomes_readable_for_the_new_user(place: Place) -> None:
    folders, held = open_folders(place.data, holder="w1")
    (folders.user / "comfyui.db").touch()
    held.release()

    folders, held = open_folders(place.data, holder="w1", user=UnixUser.parse("nobody"))

    with UnixUser.parse("nobody").rights():
        (folders.user / "comfyui.db").write_text("written")
    held.release()


def test_a_folder_that_it_cannot_reach_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)

    with pytest.raises(FolderUnusable, match=r"nobody \(FARM_COMFY_USER\) cannot get there"):
        open_folders(tmp_path / "closed" / "data", holder="w1", user=UnixUser.parse("nobody"))


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("root", "root"),
        ("0:0", "root"),
        ("nobody:0", "root"),
        ("nobody:root", "root"),
        ("no-such-user", "no user"),
        ("nobody:no-such-group", "no group"),
        ("54321", "needs its group"),
        ("-1:1", "no user"),
        ("99999999999:1", "no number of a user"),
        (":", "no user"),
    ],
)
def test_a_user_that_cannot_be_is_told_by_its_setting(place: Place, user: str, why: str) -> None:
    with pytest.raises(ComfyUnusable, match=why) as refused:
        find_target(place.settings(comfy_user=user))

    assert refused.value.setting == "FARM_COMFY_USER"


def test_without_root_it_is_refused_instead_of_forgotten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ComfyUnusable, match="only a worker that runs as root"):
        find_target(place.settings())
