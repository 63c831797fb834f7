"""What the jobs of a worker load: the model files that are really there, with their sizes on disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comfy.graphs.required import SAME_FOLDER, ModelFile, folders_of_kind, model_files
from comfy.wan.fit import ModelSizes
from comfy.wan.memory import activation_bytes, vae_decode_bytes
from comfy.wan.models import WAN_14B
from comfy.wan.names import family_of, file_bytes
from comfy.wan.sizes import ClipSize, read_size
from comfy.wan.templates import TEMPLATES, get_template
from farm.settings.worker import WorkerSettings
from worker.errors import ComfyUnusable

DEFAULT_TEMPLATE: Final = "wan22-t2v-a14b"
_SUFFIXES: Final = frozenset({".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth"})
_ELSEWHERE: Final = "extra_model_paths.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """The models that a worker is meant for."""

    sizes: ModelSizes | None  # None: unknown, nothing was found
    single_family: bool  # the operator named them, so jobs of other families are not expected
    reasons: tuple[str, ...] = ()  # in words


def models_folder(settings: WorkerSettings) -> Path | None:
    """The folder with the model files; None when the worker starts no ComfyUI of its own."""
    base = settings.comfyui_base or settings.comfyui_dir
    if base is None or settings.comfyui_url is not None:
        return None
    return base.expanduser().absolute() / "models"


def bytes_on_disk(folder: Path, files: Iterable[ModelFile]) -> dict[str, int]:
    """Sizes of the model files that a graph names: name as in the graph -> bytes, of those that are there."""
    found: dict[str, int] = {}
    for file in files:
        for kind in folders_of_kind(file.folder):
            path = folder / kind / file.path
            if path.is_file():
                found[file.name] = path.stat().st_size
    return found


def models_meant(settings: WorkerSettings, *, assume: bool = False) -> Meant:
    """Read which models the worker is meant for, and how large their files are.

    Args:
        assume: where none are found, take the published sizes of the template's files.

    Raises:
        ComfyUnusable: there is no models folder, or a file that FARM_MODELS names is not in it.
    """
    folder = models_folder(settings)
    nothing = _assumed(settings) if assume else Meant(sizes=None, single_family=False)
    if folder is None:
        return nothing
    if not folder.is_dir():
        if (folder.parent / _ELSEWHERE).exists() or "--extra-model-paths-config" in settings.comfyui_args:
            return Meant(sizes=None, single_family=False, reasons=("the models lie elsewhere: not sized",))
        raise ComfyUnusable(
            f"there is no folder {folder}",
            "make it, or name the folder that holds `models`",
            setting="COMFYUI_BASE",
        )
    files = files_in(folder)
    clip = clip_size(settings.largest_clip)
    wanted = [name.strip() for name in settings.models.split(",") if name.strip()]
    if wanted:
        return _named(wanted, files, clip, folder)
    names = {name for _, name in _of_template(DEFAULT_TEMPLATE)}
    if names <= {name for _, name in files}:
        found = {key: size for key, size in files.items() if key[1] in names}
        return Meant(
            sizes=sizes_of(found, clip),
            single_family=False,
            reasons=(f"sized for the files of the template {DEFAULT_TEMPLATE}",),
        )
    if assume:
        return nothing
    return Meant(sizes=None, single_family=False, reasons=("no model files that we know: not sized",))


def _assumed(settings: WorkerSettings) -> Meant:
    published = {(kind, name): file_bytes(name, kind) or 0 for kind, name in _of_template(DEFAULT_TEMPLATE)}
    return Meant(
        sizes=sizes_of(published, clip_size(settings.largest_clip)),
        single_family=False,
        reasons=(f"no model files here: the published sizes of the template {DEFAULT_TEMPLATE} are taken",),
    )


def clip_size(text: str) -> ClipSize:
    """Read ``1280x720x81``: width, height, frames."""
    found = read_size(text)
    if found is None:
        raise ValueError(f"not a clip's size: {text!r}")
    return found


def sizes_of(files: Mapping[tuple[str, str], int], clip: ClipSize) -> ModelSizes | None:
    """Sizes from files: (folder, name) -> bytes; None when no diffusion model is among them."""
    experts = {name: size for (folder, name), size in files.items() if folder == "diffusion_models"}
    if not experts:
        return None
    largest = max(experts, key=lambda name: experts[name])
    # Of a model that the name does not tell, take WAN's largest: it asks for more, never for less.
    family = family_of(largest) or WAN_14B
    wide = experts[largest] > 1.5 * family.parameters
    return ModelSizes(
        experts=tuple(sorted(experts.values(), reverse=True)),
        others=sum(size for (folder, _), size in files.items() if folder != "diffusion_models"),
        activations=activation_bytes(clip, family),
        decode=vae_decode_bytes(clip, family),
        layer=family.largest_layer_bytes * (2 if wide else 1),
    )


def _named(wanted: list[str], files: Mapping[tuple[str, str], int], clip: ClipSize, folder: Path) -> Meant:
    """What FARM_MODELS names: templates and files."""
    names = {
        name
        for entry in wanted
        for name in ({file for _, file in _of_template(entry)} if entry in TEMPLATES else {entry})
    }
    missing = sorted(names - {name for _, name in files})
    if missing:
        raise ComfyUnusable(
            f"the models folder {folder} holds no {', '.join(missing)}",
            "put them there, or correct the list",
            setting="FARM_MODELS",
        )
    found = {key: size for key, size in files.items() if key[1] in names}
    families = {family_of(name) for where, name in found if where == "diffusion_models"}
    return Meant(
        sizes=sizes_of(found, clip),
        single_family=len(families) == 1,
        reasons=(f"sized for the models of FARM_MODELS, {len(found)} files",),
    )


def _of_template(name: str) -> set[tuple[str, str]]:
    graph: Mapping[str, Any] = get_template(name).build(prompt="x", seed=1).graph
    return {(file.folder, file.name) for file in model_files(graph)}


def files_in(folder: Path) -> dict[tuple[str, str], int]:
    """(folder, name below it) -> bytes, of every model file; links are followed, as ComfyUI does.

    Raises:
        OSError: the folder cannot be read.
    """
    found = {}
    for kind, below in _folders(folder):
        for path in _below(below):
            with contextlib.suppress(OSError):  # a link to nowhere, or it went a moment ago
                found[kind, path.relative_to(below).as_posix()] = path.stat().st_size
    return found


def _below(folder: Path) -> Iterable[Path]:
    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(where)
        if here in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(here)
        yield from (Path(where, name) for name in names if Path(name).suffix.lower() in _SUFFIXES)


def _folders(folder: Path) -> Iterable[tuple[str, Path]]:
    kind_of = {name: kind for kind, names in SAME_FOLDER.items() for name in names}
    for below in sorted(folder.iterdir()):
        if below.is_dir():
            yield kind_of.get(below.name, below.name), below
