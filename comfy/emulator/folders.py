"""Folders, the files in them, and what a new file is called."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What GET /models names, in the order of a real server, with the folders below models/ that it reads.
MODEL_FOLDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "checkpoints": ("checkpoints",),
    "configs": ("configs",),
    "loras": ("loras",),
    "vae": ("vae",),
    "text_encoders": ("text_encoders", "clip"),
    "diffusion_models": ("unet", "diffusion_models"),
    "clip_vision": ("clip_vision",),
    "style_models": ("style_models",),
    "embeddings": ("embeddings",),
    "diffusers": ("diffusers",),
    "vae_approx": ("vae_approx",),
    "controlnet": ("controlnet", "t2i_adapter"),
    "gligen": ("gligen",),
    "upscale_models": ("upscale_models",),
    "hypernetworks": ("hypernetworks",),
    "photomaker": ("photomaker",),
    "classifiers": ("classifiers",),
    "model_patches": ("model_patches",),
    "audio_encoders": ("audio_encoders",),
    "latent_upscale_models": ("latent_upscale_models",),
    "frame_interpolation": ("frame_interpolation",),
    "wav2vec2": ("wav2vec2",),
    "unet_gguf": ("unet", "diffusion_models"),
    "clip_gguf": ("text_encoders", "clip"),
}

_MODEL_SUFFIXES: Final = frozenset({".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"})
_IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff"})
_ANNOTATION: Final = re.compile(r"^(?P<name>.*?) ?\[(?P<type>input|output|temp)\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFolders:
    """The server's folders, all absolute."""

    base: Path
    output: Path
    temp: Path
    input: Path
    user: Path

    @property
    def models(self) -> Path:
        """Where model files lie, in one folder for each kind."""
        return self.base / "models"

    def of_type(self, name: str) -> Path | None:
        """The folder of a file's `type` ("output", "input", "temp"), or None."""
        return {"output": self.output, "input": self.input, "temp": self.temp}.get(name)

    def create(self) -> None:
        """Make the folders that a server writes into."""
        for folder in (self.output, self.temp, self.input, self.user):
            folder.mkdir(parents=True, exist_ok=True)


def annotated(name: str) -> tuple[str, str | None]:
    """Split ``"picture.png [output]"`` into the name and the type, None when it names none."""
    match = _ANNOTATION.match(name)
    return (match["name"], match["type"]) if match else (name, None)


def input_file(folders: ServerFolders, value: str) -> Path:
    """The file that a LoadImage node means, whether it exists or not."""
    name, kind = annotated(value)
    folder = folders.of_type(kind or "input") or folders.input
    return folder / name


def may_be_loaded(folders: ServerFolders, value: str, *, confined: bool) -> bool:
    """Whether a LoadImage node would find its file.

    Args:
        confined: a file counts only if it really lies in its folder, whatever path or link leads there.
    """
    path = input_file(folders, value)
    folder = folders.of_type(annotated(value)[1] or "input") or folders.input
    return path.exists() and (not confined or path.resolve().is_relative_to(folder.resolve()))


def input_images(folders: ServerFolders) -> list[str]:
    """The choices of a LoadImage node."""
    if not folders.input.is_dir():
        return []
    found = (path for path in folders.input.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
    return sorted(path.name for path in found)


class ModelShelf:
    """The model files of the server: those in its models folder, and those it only pretends to have."""

    def __init__(self, models: Path, pretended: Iterable[str]) -> None:
        self._models = models
        self._pretended: dict[str, list[str]] = {}
        for name in pretended:
            for folder in guess_folders(name):
                self._pretended.setdefault(folder, []).append(name.removeprefix(f"{folder}/"))

    def files(self, folder: str) -> list[str] | None:
        """The files of one kind ("loras"), sorted; None when there is no such kind."""
        names = MODEL_FOLDERS.get(folder)
        if names is None:
            return None
        found = set(self._pretended.get(folder, ()))
        wanted = frozenset({".gguf"}) if folder.endswith("_gguf") else _MODEL_SUFFIXES
        for name in names:
            root = self._models / name
            for path in root.rglob("*") if root.is_dir() else ():
                if path.suffix.lower() in wanted:
                    found.add(path.relative_to(root).as_posix())
        return sorted(found)

    def all_files(self) -> dict[str, list[str]]:
        """Every kind that a server lists, with its files."""
        return {folder: self.files(folder) or [] for folder in MODEL_FOLDERS}

    def size_mib(self, folder: str, name: str) -> float:
        """How big a model is: the real file's size, or what the official file of that name has."""
        for subfolder in MODEL_FOLDERS.get(folder, ()):
            path = self._models / subfolder / name
            if path.is_file():
                return path.stat().st_size / 2**20
        return pretended_size_mib(name)


def guess_folders(name: str) -> tuple[str, ...]:
    """The kinds of model that a pretended file is, by its name; "loras/x.safetensors" says it itself."""
    folder, slash, _ = name.partition("/")
    if slash and folder in MODEL_FOLDERS:
        return (folder,)
    low = name.lower()
    for words, kinds in _GUESSES:
        if any(word in low for word in words):
            return kinds
    return ("unet_gguf",) if low.endswith(".gguf") else ("diffusion_models",)


_GUESSES: Final[Sequence[tuple[tuple[str, ...], tuple[str, ...]]]] = (
    (("lora", "lightx2v", "lightning"), ("loras",)),
    (("clip_vision",), ("clip_vision",)),
    (("vae",), ("vae",)),
    (("umt5", "t5", "text_enc"), ("text_encoders",)),
)

# MiB, from the notes beside the official files.
_SIZES_MIB: Final[Sequence[tuple[str, float]]] = (
    ("umt5", 6420.0),
    ("wan_2.1_vae", 242.0),
    ("wan2.2_vae", 1341.0),
    ("vae", 242.0),
    ("clip_vision", 1208.0),
    ("lora", 1167.0),
    ("5b_fp16", 9533.0),
    ("14b_fp8", 13629.0),
    ("14b_fp16", 27238.0),
    ("1.3b", 2706.0),
)


def pretended_size_mib(name: str) -> float:
    """The size of the official file that this name reminds of."""
    low = name.lower()
    return next((size for word, size in _SIZES_MIB if word in low), 13629.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveTarget:
    """Where a node that saves puts its files."""

    folder: Path
    stem: str
    subfolder: str
    counter: int  # the first free number


class OutsideOutputFolderError(Exception):
    """A prefix leads out of the folder that may be written to."""


# Which files of a folder count when the next number is sought. VideoHelperSuite counts those of ComfyUI's own
# nodes too, not the other way round.
CORE_NUMBERED: Final = r"_(\d+)_"
VHS_NUMBERED: Final = r"_(\d+)\D*\..+"


def save_target(
    prefix: str,
    root: Path,
    *,
    width: int,
    height: int,
    numbered: str = CORE_NUMBERED,
    confined: bool = False,
) -> SaveTarget:
    """Find folder and number for a file; the folder is made.

    Numbers go on from the highest that is there: after a deletion a name is used again.

    Args:
        numbered: how the rest of a file's name looks after the stem; group 1 is the number.
        confined: a symbolic link must not lead out of `root` either.

    Raises:
        OutsideOutputFolderError: the prefix leads out of `root`.

    Source: ComfyUI ``folder_paths.get_save_image_path``.
    """
    path = os.path.normpath(_fill_in(prefix, width, height))
    subfolder, stem = os.path.split(path)
    folder = Path(os.path.abspath(root / subfolder))  # noqa: PTH100 - resolve() would follow links
    is_inside = folder.resolve().is_relative_to(root.resolve()) if confined else folder.is_relative_to(root)
    if not is_inside:
        raise OutsideOutputFolderError(
            "**** ERROR: Saving image outside the output folder is not allowed."
            f"\n full_output_folder: {folder}\n         output_dir: {root}"
            f"\n         commonpath: {os.path.commonpath((root, folder))}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(stem) + numbered)
    taken = (pattern.match(entry.name) for entry in os.scandir(folder))
    counter = max((int(match[1]) for match in taken if match), default=0) + 1
    return SaveTarget(folder=folder, stem=stem, subfolder=subfolder, counter=counter)


def _fill_in(prefix: str, width: int, height: int) -> str:
    if "%" not in prefix:
        return prefix
    now = time.localtime()
    fields = {
        "%width%": str(width),
        "%height%": str(height),
        "%year%": f"{now.tm_year}",
        "%month%": f"{now.tm_mon:02}",
        "%day%": f"{now.tm_mday:02}",
        "%hour%": f"{now.tm_hour:02}",
        "%minute%": f"{now.tm_min:02}",
        "%second%": f"{now.tm_sec:02}",
    }
    for field, value in fields.items():
        prefix = prefix.replace(field, value)
    return prefix
