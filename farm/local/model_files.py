"""Which model files a ComfyUI of this machine lacks, told before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comfy.graphs.required import ModelFile, folders_of_kind, model_files
from comfy.wan.models import GIB
from comfy.wan.names import file_bytes
from comfy.wan.parameters import ParameterKind
from comfy.wan.templates import TEMPLATES, get_template
from farm.errors import SettingsError
from farm.settings.worker import WorkerSettings

DEFAULT_TEMPLATE: Final = "wan22-t2v-a14b"  # with which people begin
WHERE_TO_GET: Final = """\
The templates name these files, as ComfyUI's own workflows do, or for WanVideoWrapper those of
https://huggingface.co/Kijai/WanVideo_comfy . ComfyUI's pages on WAN,
https://docs.comfy.org/tutorials/video/wan/wan2_2 and https://docs.comfy.org/tutorials/video/wan/wan-video ,
link to where the others can be downloaded."""
_ELSEWHERE: Final = "extra_model_paths.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The folder with the model files, and whether all of them lie there."""

    folder: Path
    whole: bool  # False: ComfyUI was told of other folders too, which only it can read

    @classmethod
    def of(cls, settings: WorkerSettings) -> Shelf | None:
        """That of the ComfyUI that a worker would start; None when it starts none.

        Raises:
            SettingsError: COMFYUI_DIR names no ComfyUI.
        """
        if settings.comfyui_url is not None or settings.comfyui_dir is None:
            return None
        comfyui = settings.comfyui_dir.expanduser().absolute()
        if not (comfyui / "main.py").is_file():
            raise SettingsError(
                f"COMFYUI_DIR: there is no main.py in {comfyui}; name the folder of a ComfyUI"
            )
        base = settings.comfyui_base.expanduser().absolute() if settings.comfyui_base else comfyui
        told = "--extra-model-paths-config" in settings.comfyui_args
        return cls(folder=base / "models", whole=not told and not (comfyui / _ELSEWHERE).exists())

    def lacks(self, graph: Mapping[str, Any]) -> list[ModelFile]:
        """The model files of a graph that are not there; none when that cannot be known."""
        if not self.whole:
            return []
        files = {(file.folder, file.name): file for file in model_files(graph)}
        return [file for file in files.values() if not self._has(file)]

    def _has(self, file: ModelFile) -> bool:
        return any((self.folder / kind / file.path).is_file() for kind in folders_of_kind(file.folder))


def complete_templates(shelf: Shelf) -> list[str]:
    """The templates whose model files are there, in their plainest preset."""
    return [name for name, template in TEMPLATES.items() if not shelf.lacks(template.example())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renders:
    """What the worker of a stack will render with."""

    by: str  # for a person
    emulated: bool
    command: str  # a first job that it can render, as far as that can be known
    missing: str = ""  # the files that every template lacks something of, for a person


def what_renders(settings: WorkerSettings) -> Renders:
    """What these settings lead a worker to.

    Raises:
        SettingsError: COMFYUI_DIR names no ComfyUI.
    """
    shelf = Shelf.of(settings)
    if settings.comfyui_url is not None:
        return Renders(by="the ComfyUI at COMFYUI_URL", emulated=False, command=_first(DEFAULT_TEMPLATE))
    if shelf is None:
        by = "the emulator draws placeholder clips; set COMFYUI_DIR to a ComfyUI for real ones"
        return Renders(by=by, emulated=True, command=_first(DEFAULT_TEMPLATE, "-p preset=draft"))
    complete = complete_templates(shelf)
    graph = get_template(DEFAULT_TEMPLATE).example()
    return Renders(
        by=f"the ComfyUI in {settings.comfyui_dir}",
        emulated=False,
        command=_first(complete[0] if complete else DEFAULT_TEMPLATE),
        missing="" if complete else _told_missing(shelf, graph, DEFAULT_TEMPLATE),
    )


def _first(template: str, *options: str) -> str:
    needs_picture = any(
        each.required and each.kind is ParameterKind.FILE for each in TEMPLATES[template].parameters
    )
    picture = ("-p image=picture.png",) if needs_picture else ()
    return " ".join(
        (f'farm submit -t {template} -p prompt="a red fox in the snow"', *picture, *options, "--watch")
    )


def need_models(settings: WorkerSettings, graph: Mapping[str, Any], template: str) -> None:
    """Make sure that the ComfyUI which would be started has the model files of a graph.

    Args:
        template: the graph's, for the message.

    Raises:
        SettingsError: it lacks some; says which, where they belong, and where they are to be had.
    """
    shelf = Shelf.of(settings)
    if shelf is not None and (told := _told_missing(shelf, graph, template)):
        raise SettingsError(f"COMFYUI_DIR: {told}")


def _told_missing(shelf: Shelf, graph: Mapping[str, Any], template: str) -> str:
    """The files that a graph lacks, for a person; empty when it lacks none."""
    missing = shelf.lacks(graph)
    if not missing:
        return ""
    first = f"the template {template} needs model files that are not in {shelf.folder}:"
    return "\n".join((first, *_rows(missing), WHERE_TO_GET))


def _rows(missing: list[ModelFile]) -> Iterator[str]:
    for file in missing:
        size = file_bytes(file.name, file.folder)
        yield f"  {file.folder}/{file.name}" + (f"  {size / GIB:.1f} GiB" if size else "")
