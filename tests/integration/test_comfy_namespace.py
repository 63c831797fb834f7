"""ComfyUI has a package `comfy` of its own: ours must never hide it, nor it ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import comfy.errors

OURS = Path(comfy.errors.__file__).parent

# Files and folders at the top of ComfyUI's own comfy/. Source: ComfyUI 0.3.64 to 0.38.
THEIRS = frozenset(
    [
        "audio_encoders",
        "background_removal",
        "checkpoint_pickle",
        "cldm",
        "cli_args",
        "clip_model",
        "clip_vision",
        "comfy_types",
        "conds",
        "context_windows",
        "controlnet",
        "cuda_nvtx",
        "diffusers_convert",
        "diffusers_load",
        "extra_samplers",
        "float",
        "gligen",
        "hooks",
        "image_encoders",
        "k_diffusion",
        "latent_formats",
        "ldm",
        "lora",
        "lora_convert",
        "memory_management",
        "model_base",
        "model_detection",
        "model_management",
        "model_patcher",
        "model_prefetch",
        "model_sampling",
        "nested_tensor",
        "ops",
        "options",
        "patcher_extension",
        "pinned_memory",
        "pixel_space_convert",
        "quant_ops",
        "rmsnorm",
        "sample",
        "sampler_helpers",
        "samplers",
        "sd",
        "sd1_clip",
        "sdxl_clip",
        "supported_models",
        "supported_models_base",
        "t2i_adapter",
        "taesd",
        "text_encoders",
        "torch_utils",
        "utils",
        "weight_adapter",
    ]
)

MAIN = """
import comfy.options, comfy.utils, comfy.ldm.wan.model   # its own, found beside main.py
import comfy.errors, comfy.graphs.graph, comfy.wan.sizes        # ours, from the environment
import comfy.emulator
print(comfy.options.__file__)
print(comfy.errors.__file__)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder laid out like ComfyUI's: `comfy/` without `__init__.py`."""
    tree = tmp_path / "ComfyUI"
    for name in ("options.py", "utils.py", "ldm/wan/model.py"):
        path = tree / "comfy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine = True\n")
    (tree / "main.py").write_text(MAIN)
    return tree


def test_a_program_with_its_own_comfy_imports_from_both(tree: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(tree / "main.py")],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.split() == [str(tree / "comfy" / "options.py"), str(OURS / "errors.py")]


def test_ours_has_no_init_file_and_no_name_of_theirs() -> None:
    names = {path.stem for path in OURS.iterdir() if path.name != "__pycache__"}

    assert "__init__" not in names
    assert names & THEIRS == set()


def test_an_init_file_of_ours_would_hide_theirs(tree: Path, tmp_path: Path) -> None:
    # The reason for the rule above: without it, this would not fail.
    (tmp_path / "regular" / "comfy").mkdir(parents=True)
    (tmp_path / "regular" / "comfy" / "__init__.py").touch()
    code = f"import sys; sys.path.append({str(tmp_path / 'regular')!r}); import comfy.options"

    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tree)!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "No module named 'comfy.options'" in done.stderr
