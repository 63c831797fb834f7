"""What a ComfyUI lacks is told from its folder alone, with where it belongs and where it is to be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfy.graphs.required import model_files
from comfy.wan.templates import TEMPLATES, get_template
from farm.errors import SettingsError
from farm.local.model_files import Shelf, need_models, what_renders
from farm.settings.worker import WorkerSettings

T2V = get_template("wan22-t2v-a14b").example()


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    folder = tmp_path / "ComfyUI"
    (folder / "models").mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def settings(folder: Path, **more: str) -> WorkerSettings:
    return WorkerSettings.read(COMFYUI_DIR=str(folder), **more)


def put(folder: Path, template: str, *, renamed: dict[str, str] | None = None) -> None:
    for file in model_files(get_template(template).example()):
        path = folder / "models" / (renamed or {}).get(file.folder, file.folder) / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_each_missing_file_is_told_with_its_folder_and_where_to_get_it(comfyui: Path) -> None:
    (comfyui / "models" / "vae").mkdir()
    (comfyui / "models" / "vae" / "wan_2.1_vae.safetensors").touch()

    with pytest.raises(SettingsError) as told:
        need_models(settings(comfyui), T2V, "wan22-t2v-a14b")

    lines = str(told.value).splitlines()
    assert "COMFYUI_DIR: the template wan22-t2v-a14b" in lines[0]
    assert str(comfyui / "models") in lines[0]
    assert "  diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors  13.3 GiB" in lines
    assert not any("vae/" in line for line in lines)
    assert "https://docs.comfy.org/tutorials/video/wan/wan2_2" in str(told.value)


def test_older_names_of_folders_count(comfyui: Path) -> None:
    put(comfyui, "wan22-t2v-a14b", renamed={"diffusion_models": "unet", "text_encoders": "clip"})

    need_models(settings(comfyui), T2V, "wan22-t2v-a14b")


def test_models_below_the_base_count(comfyui: Path, tmp_path: Path) -> None:
    put(tmp_path / "base", "wan22-t2v-a14b")

    need_models(settings(comfyui, COMFYUI_BASE=str(tmp_path / "base")), T2V, "wan22-t2v-a14b")


@pytest.mark.parametrize("how", ["file", "argument"])
def test_nothing_is_called_missing_where_comfyui_looks_elsewhere_too(how: str, comfyui: Path) -> None:
    more = {"COMFYUI_ARGS": "--extra-model-paths-config /x.yaml"} if how == "argument" else {}
    if how == "file":
        (comfyui / "extra_model_paths.yaml").touch()

    need_models(settings(comfyui, **more), T2V, "wan22-t2v-a14b")


def test_a_folder_that_is_no_comfyui_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"COMFYUI_DIR: there is no main\.py in"):
        need_models(settings(tmp_path), T2V, "wan22-t2v-a14b")


def test_without_a_comfyui_the_emulator_renders_and_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYUI_DIR", raising=False)
    monkeypatch.delenv("COMFYUI_URL", raising=False)

    renders = what_renders(WorkerSettings.read())

    assert (renders.emulated, renders.missing) == (True, "")
    assert "emulator" in renders.by
    assert Shelf.of(WorkerSettings.read()) is None


def test_the_first_command_is_one_that_the_models_are_there_for(comfyui: Path) -> None:
    put(comfyui, "wan22-i2v-a14b")

    renders = what_renders(settings(comfyui))

    assert renders.missing == ""
    assert renders.command.startswith("farm submit -t wan22-i2v-a14b")
    assert "-p image=" in renders.command


def test_where_no_template_is_complete_that_of_the_demo_is_told(comfyui: Path) -> None:
    renders = what_renders(settings(comfyui))

    assert "wan22-t2v-a14b needs model files" in renders.missing
    assert len(TEMPLATES) > 1
