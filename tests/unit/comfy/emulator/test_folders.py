from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfy.emulator.folders import (
    VHS_NUMBERED,
    ModelShelf,
    OutsideOutputFolderError,
    ServerFolders,
    annotated,
    guess_folders,
    may_be_loaded,
    save_target,
)


def target(prefix: str, root: Path, **more: Any) -> tuple[str, str, int]:
    found = save_target(prefix, root, width=64, height=48, **more)
    assert found.folder.is_dir()
    return found.subfolder, found.stem, found.counter


def test_a_prefix_may_name_folders_and_they_are_made(tmp_path: Path) -> None:
    assert target("jobs/7/out", tmp_path) == ("jobs/7", "out", 1)
    assert (tmp_path / "jobs" / "7").is_dir()


def test_numbers_go_on_from_the_highest_of_the_same_prefix(tmp_path: Path) -> None:
    for name in ("x_00002_.mp4", "x_00005_.png", "xy_00009_.mp4", "x_00007.mp4"):
        (tmp_path / name).touch()

    assert target("x", tmp_path)[2] == 6
    assert target("x", tmp_path, numbered=VHS_NUMBERED)[2] == 8


def test_fields_are_filled_in(tmp_path: Path) -> None:
    _, stem, _ = target("x_%width%x%height%_%year%", tmp_path)

    assert stem.startswith("x_64x48_20")


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/etc/x", "a/../../../x"])
def test_a_prefix_that_leaves_the_folder_is_refused(tmp_path: Path, prefix: str) -> None:
    root = tmp_path / "output"
    root.mkdir()

    with pytest.raises(OutsideOutputFolderError, match="outside the output folder"):
        save_target(prefix, root, width=1, height=1)
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_a_name_may_say_its_folder() -> None:
    assert annotated("x.png [output]") == ("x.png", "output")
    assert annotated("x.png") == ("x.png", None)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", ("diffusion_models",)),
        ("wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors", ("loras",)),
        ("umt5_xxl_fp8_e4m3fn_scaled.safetensors", ("text_encoders",)),
        ("wan_2.1_vae.safetensors", ("vae",)),
        ("clip_vision_h.safetensors", ("clip_vision",)),
        ("wan2.2-Q8_0.gguf", ("unet_gguf",)),
        ("vae/strange.safetensors", ("vae",)),
    ],
)
def test_a_pretended_file_finds_its_folder(name: str, folders: tuple[str, ...]) -> None:
    assert guess_folders(name) == folders


def test_pretended_and_real_files_are_listed_together(tmp_path: Path) -> None:
    (tmp_path / "vae" / "sub").mkdir(parents=True)
    (tmp_path / "vae" / "sub" / "real.safetensors").write_bytes(b"x" * 2**20)
    (tmp_path / "vae" / "notes.txt").touch()
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "q.gguf").touch()
    shelf = ModelShelf(tmp_path, ["wan_2.1_vae.safetensors", "vae/given.safetensors"])

    assert shelf.files("vae") == ["given.safetensors", "sub/real.safetensors", "wan_2.1_vae.safetensors"]
    assert shelf.files("unet_gguf") == ["q.gguf"]
    assert shelf.files("diffusion_models") == []
    assert shelf.files("no_such") is None
    assert shelf.size_mib("vae", "sub/real.safetensors") == 1.0
    assert shelf.size_mib("vae", "wan_2.1_vae.safetensors") == 242.0


def test_a_confined_file_must_really_lie_in_its_folder(tmp_path: Path) -> None:
    folders = ServerFolders(
        base=tmp_path, **{name: tmp_path / name for name in ("output", "temp", "input", "user")}
    )
    folders.create()
    outside = tmp_path / "x.png"
    outside.touch()
    (folders.input / "in.png").touch()
    (folders.input / "link.png").symlink_to(outside)

    def loaded(name: str) -> list[bool]:
        return [may_be_loaded(folders, name, confined=confined) for confined in (False, True)]

    assert loaded("in.png") == [True, True]
    assert loaded(str(folders.input / "in.png")) == [True, True]
    assert loaded(str(outside)) == [True, False]
    assert loaded("../x.png") == [True, False]
    assert loaded("link.png") == [True, False]
    assert loaded("none.png") == [False, False]


def test_a_link_out_of_the_folder_is_no_place_to_save_where_files_are_confined(tmp_path: Path) -> None:
    root, outside = tmp_path / "output", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)

    assert target("link/x", root) == ("link", "x", 1)
    with pytest.raises(OutsideOutputFolderError):
        target("link/x", root, confined=True)
