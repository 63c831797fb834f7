"""The files that a run made: from the ``outputs`` of its history entry, and where they lie on disk.

A video may stand under any key (``images`` for SaveVideo, ``gifs`` for VHS_VideoCombine, …), so every
node and every key is read. Source: measured on ComfyUI 0.3.64 and 0.12.1 with SaveVideo, SaveWEBM, VHS.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from comfy.errors import UnknownMessage


class MediaKind(StrEnum):
    """What a file is, judged by its name's ending."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"
    OTHER = "other"


_KIND_OF_SUFFIX = {
    **dict.fromkeys((".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".gif"), MediaKind.VIDEO),
    **dict.fromkeys(
        (".png", ".apng", ".jpg", ".jpeg", ".webp", ".avif", ".tiff", ".bmp", ".exr"), MediaKind.IMAGE
    ),
    **dict.fromkeys((".wav", ".mp3", ".flac", ".opus", ".ogg", ".m4a", ".aac"), MediaKind.AUDIO),
}


def kind_of_name(filename: str) -> MediaKind:
    """What a file is by the ending of its name."""
    return _KIND_OF_SUFFIX.get(PurePosixPath(filename).suffix.lower(), MediaKind.OTHER)


# Source: VideoHelperSuite, video_formats/16bit-png.json: "extension": "%03d.png".
_COUNTER = re.compile(r"%(0\d)d")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file that a node says it has written."""

    node_id: str
    key: str  # under which the node lists it: "images", "gifs", …
    filename: str
    subfolder: str  # below the folder that `type` names; "" for the folder itself
    type: str  # "output" is a result; "temp" and "input" are not
    kind: MediaKind
    fullpath: str | None = None  # absolute on the server's disk, when the node tells it (VHS does)

    @property
    def is_result(self) -> bool:
        """Whether the file is kept: temporary ones are gone at ComfyUI's next start."""
        return self.type == "output"

    @property
    def is_sequence(self) -> bool:
        """Whether the name is a pattern for many: VHS_VideoCombine names ``x_%03d.png`` for all pictures."""
        return _COUNTER.search(self.filename) is not None

    def member(self, number: int) -> OutputFile:
        """One file of a sequence; the first has number 1."""
        return replace(self, filename=_COUNTER.sub(lambda found: f"{number:0{found[1]}d}", self.filename))

    @property
    def relative_path(self) -> PurePosixPath:
        """The path below the folder that `type` names, as the node gave it: not checked."""
        return PurePosixPath(self.subfolder.replace("\\", "/")) / self.filename


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeText:
    """What a node showed as text: a caption, a prompt that a model has improved."""

    node_id: str
    text: str


def list_texts(outputs: Mapping[str, Any]) -> tuple[NodeText, ...]:
    """List the texts of a history entry's ``outputs``: what PreviewAny, SaveText and custom nodes show."""
    found = []
    for node_id, node_output in outputs.items():
        shown = node_output.get("text") if isinstance(node_output, Mapping) else None
        parts = [shown] if isinstance(shown, str) else shown if isinstance(shown, list | tuple) else ()
        text = "\n".join(part for part in parts if isinstance(part, str))
        if text.strip():
            found.append(NodeText(node_id=node_id, text=text))
    return tuple(found)


def list_outputs(outputs: Mapping[str, Any]) -> tuple[OutputFile, ...]:
    """List every file of a history entry's ``outputs``, each once; `is_result` tells which are kept.

    Entries of another form (text, numbers, lists of lists) are passed over: a node may report what it likes.
    """
    found: dict[tuple[str, str, str], OutputFile] = {}
    for node_id, node_output in outputs.items():
        if isinstance(node_output, Mapping):
            for file in _files_of_node(node_id, node_output):
                found.setdefault((file.type, file.subfolder, file.filename), file)
    return tuple(found.values())


def files_of_others(
    files: Iterable[OutputFile], cached_nodes: Collection[str], own_folder: str, output_dir: Path | None
) -> tuple[OutputFile, ...]:
    """List the results that a run names and has not written: a cached node tells the name of before.

    Args:
        files: all that the run names.
        cached_nodes: those that the server answered from its cache.
        own_folder: where nobody else writes, relative to the output folder: an earlier try may have done so.
        output_dir: ComfyUI's, when this machine has it: then its own are looked for, too.
    """
    cached = [file for file in files if file.is_result and file.node_id in cached_nodes]
    return tuple(file for file in cached if not _is_there(file, own_folder, output_dir))


def _is_there(file: OutputFile, own_folder: str, output_dir: Path | None) -> bool:
    if not file.relative_path.is_relative_to(own_folder):
        return False
    names = [file, file.member(1)] if file.is_sequence else [file]
    return output_dir is None or any((output_dir / each.relative_path).is_file() for each in names)


def locate(folder: Path, file: OutputFile) -> Path:
    """Give the file's path on this machine's disk, inside the folder for certain.

    Args:
        folder: ComfyUI's output folder (or temp, as `file.type` says).

    Raises:
        UnknownMessage: the name is absolute, climbs out by ``..`` or by a symbolic link, or holds a NUL.
        FileNotFoundError: there is no such file.
    """
    relative = file.relative_path
    text = str(relative)
    if "\0" in text or relative.is_absolute() or ".." in relative.parts or not file.filename:
        raise UnknownMessage("output file name", text)
    path = (folder / relative).resolve(strict=True)
    if not path.is_relative_to(folder.resolve()):
        raise UnknownMessage("output file name (it leaves the output folder)", text)
    return path


def _files_of_node(node_id: str, node_output: Mapping[str, Any]) -> Iterator[OutputFile]:
    animated = node_output.get("animated")
    is_animated = isinstance(animated, list | tuple) and any(flag is True for flag in animated)
    for key, entries in node_output.items():
        if not isinstance(entries, list | tuple):
            continue
        for entry in entries:
            file = _file(node_id, key, entry, is_animated)
            if file is not None:
                yield file


def _file(node_id: str, key: str, entry: Any, is_animated: bool) -> OutputFile | None:
    if not isinstance(entry, Mapping):
        return None
    filename, subfolder = entry.get("filename"), entry.get("subfolder") or ""
    if not isinstance(filename, str) or not filename or not isinstance(subfolder, str):
        return None
    fullpath = entry.get("fullpath")
    return OutputFile(
        node_id=node_id,
        key=key,
        filename=filename,
        subfolder=subfolder,
        type=str(entry.get("type", "output")),
        kind=_kind(filename, is_animated),
        fullpath=fullpath if isinstance(fullpath, str) else None,
    )


def _kind(filename: str, is_animated: bool) -> MediaKind:
    kind = kind_of_name(filename)
    # SaveAnimatedWEBP: a picture's ending, a clip inside.
    return MediaKind.VIDEO if kind is MediaKind.IMAGE and is_animated else kind
