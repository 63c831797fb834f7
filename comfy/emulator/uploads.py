"""`POST /upload/image`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from comfy.emulator.folders import ServerFolders


def store_upload(folders: ServerFolders, form: Mapping[str, Any]) -> dict[str, str] | None:
    """Write an uploaded picture; None when the form cannot be obeyed.

    A file of the same name and content is used as it is; one of other content keeps its name and the new one
    becomes ``name (1).png``, unless ``overwrite`` says otherwise.

    Source: ComfyUI ``server.py``, ``image_upload``.
    """
    image = form.get("image")
    kind = str(form.get("type", "input"))
    root = folders.of_type(kind)
    if not isinstance(image, web.FileField) or not image.filename or root is None:
        return None
    subfolder = str(form.get("subfolder", ""))
    folder = Path(os.path.abspath(root / os.path.normpath(subfolder)))  # noqa: PTH100 - links are meant
    if not folder.is_relative_to(root):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    content = image.file.read()
    path = folder / Path(image.filename).name
    if str(form.get("overwrite")) not in {"true", "1"}:
        path = _free_name(path, content)
    path.write_bytes(content)
    return {"name": path.name, "subfolder": subfolder, "type": kind}


def _free_name(path: Path, content: bytes) -> Path:
    wanted = hashlib.sha256(content).digest()
    number = 0
    candidate = path
    while candidate.exists() and hashlib.sha256(candidate.read_bytes()).digest() != wanted:
        number += 1
        candidate = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return candidate
