"""A worker's folders: its alone, cleared of leftovers, and nobody else's files are touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.comfyui.folders import WorkerFolders, open_folders
from worker.comfyui.locks import HeldLock, gpu_lock_path
from worker.errors import FolderUnusable, InUse


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def folders(data: Path) -> Iterator[WorkerFolders]:
    folders, held = open_folders(data, holder="w1")
    yield folders
    held.release()


def touch(*paths: Path) -> list[Path]:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return list(paths)


def test_all_folders_are_made(folders: WorkerFolders, data: Path) -> None:
    assert {path.name for path in data.iterdir() if path.is_dir()} == {
        "output",
        "temp",
        "input",
        "user",
        "logs",
        "work",
    }


def test_leftovers_of_an_earlier_worker_are_removed_but_not_its_logs(data: Path) -> None:
    folders, held = open_folders(data, holder="w1")
    left = touch(folders.output / "jobs/1-1/clip.mp4", folders.temp / "x.png", folders.input / "a/b.png")
    kept = touch(folders.logs / "comfyui.log", folders.user / "comfyui.db")
    held.release()

    open_folders(data, holder="w2")[1].release()

    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_a_folder_in_use_is_refused_with_the_holders_name_and_left_as_it_is(
    folders: WorkerFolders, data: Path
) -> None:
    (running,) = touch(folders.output / "jobs/1-1/clip.mp4")

    with pytest.raises(InUse, match=rf"{data}.* by w1 \(process {os.getpid()}\)"):
        open_folders(data, holder="w2")

    assert running.exists()


@pytest.mark.parametrize("name", ["output", "temp", "input"])
def test_a_folder_that_holds_somebodys_files_is_never_emptied(data: Path, name: str) -> None:
    (precious,) = touch(data / name / "wedding.mp4")

    with pytest.raises(FolderUnusable, match="not a worker's"):
        open_folders(data, holder="w1")

    assert precious.exists()


def test_a_lock_ends_with_the_process_that_held_it(data: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from worker.comfyui.folders import open_folders
held = open_folders(Path({str(data)!r}), holder="gone")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)

    open_folders(data, holder="w2")[1].release()

    assert json.loads((data / "worker.lock").read_text())["holder"] == "w2"


def test_a_process_that_only_has_the_number_of_the_last_comfyui_is_left_alone(data: Path) -> None:
    data.mkdir()
    touch(data / "worker.lock")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        (data / "comfyui.pid").write_text(json.dumps({"pid": other.pid, "started": 1.0}))

        open_folders(data, holder="w1")[1].release()

        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("note", ["", "no json", "{}", '{"pid": 1}'])
def test_a_spoilt_note_of_the_last_comfyui_is_ignored(data: Path, note: str) -> None:
    data.mkdir()
    touch(data / "worker.lock")
    (data / "comfyui.pid").write_text(note)

    open_folders(data, holder="w1")[1].release()


def test_only_the_files_of_one_job_are_cleaned(folders: WorkerFolders) -> None:
    gone = touch(
        folders.output / "jobs/a-1/deep/x.mp4",
        folders.output / "jobs/a-1_00001_.png",
        folders.input / "jobs/a-1/i.png",
    )
    kept = touch(folders.output / "jobs/b-1/x.mp4", folders.input / "start.png", folders.temp / "new.png")

    folders.clean("jobs/a-1")

    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)


def test_between_two_jobs_no_preview_stays_and_nothing_else_goes(folders: WorkerFolders) -> None:
    previews = touch(folders.temp / "ComfyUI_temp_abcde_00001_.png", folders.temp / "vhs" / "x.webp")
    kept = touch(folders.output / "jobs/b-1/x.mp4", folders.input / "start.png")

    folders.empty_temp()

    assert folders.temp.is_dir()
    assert not any(path.exists() for path in previews)
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize("linked", ["", "output", "input"])
def test_comfyui_is_given_real_folders_where_ours_are_symbolic_links(tmp_path: Path, linked: str) -> None:
    disk, data = tmp_path / "disk", tmp_path / "data"
    disk.mkdir()
    if linked:
        data.mkdir()
    (data / linked).symlink_to(disk, target_is_directory=True)

    folders, held = open_folders(data, holder="w1")

    for folder in (folders.output, folders.input):
        assert folder == folder.resolve()
        assert folder.is_dir()
    held.release()


def test_leftovers_behind_a_symbolic_link_are_removed_and_the_link_stays(tmp_path: Path) -> None:
    disk, data = tmp_path / "disk", tmp_path / "data"
    touch(disk / "jobs" / "x.mp4", data / "worker.lock")
    (data / "output").symlink_to(disk, target_is_directory=True)

    open_folders(data, holder="w1")[1].release()

    assert (data / "output").is_symlink()
    assert list(disk.iterdir()) == []


def test_a_prefix_is_no_pattern(folders: WorkerFolders) -> None:
    kept = touch(folders.output / "jobs/a/x.mp4", folders.output / "jobs/b/x.mp4")

    folders.clean("jobs/*")
    folders.clean("jobs/[ab]")

    assert all(path.exists() for path in kept)


@pytest.mark.parametrize("prefix", ["../x", "/etc", "", ".", "a/../../b", ".."])
def test_a_prefix_that_leads_out_of_the_folder_is_refused(folders: WorkerFolders, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        folders.clean(prefix)


def test_a_link_is_removed_and_not_what_it_names(folders: WorkerFolders, tmp_path: Path) -> None:
    (target,) = touch(tmp_path / "elsewhere" / "x.mp4")
    (folders.output / "jobs").mkdir()
    (folders.output / "jobs" / "a").symlink_to(target.parent, target_is_directory=True)

    folders.clean("jobs/a")

    assert target.exists()
    assert not (folders.output / "jobs" / "a").is_symlink()


def test_a_card_has_one_holder_on_the_machine() -> None:
    path = gpu_lock_path(f"GPU-test-{os.getpid()}-{os.urandom(4).hex()}")
    held = HeldLock.take(path, what="GPU 0", holder="w1", advice="choose another")

    with pytest.raises(InUse, match=r"GPU 0 is in use by w1 .*choose another"):
        HeldLock.take(path, what="GPU 0", holder="w2", advice="choose another")

    held.release()
    HeldLock.take(path, what="GPU 0", holder="w2", advice="").release()
    path.unlink()


def test_leftovers_beyond_the_disk_budget_go_oldest_first_but_not_those_of_jobs(tmp_path: Path) -> None:
    folders, lock = open_folders(tmp_path, holder="me")
    kept = folders.output / "jobs" / "one" / "clip.mp4"
    old, newer, young = (folders.temp / name for name in ("old.png", "newer.png", "young.png"))
    for age_s, path in ((4000, kept), (3000, old), (2000, newer), (0, young)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (time.time() - age_s,) * 2)

    within = folders.shrink(400)
    beyond = folders.shrink(300)
    far_beyond = folders.shrink(50)

    assert (within, beyond, far_beyond) == (400, 300, 200)
    assert [path.exists() for path in (kept, old, newer, young)] == [True, False, False, True]
    lock.release()
