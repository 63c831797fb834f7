"""Input files for a ComfyUI whose disk is not ours: sent over HTTP, once for each content."""

from __future__ import annotations

from typing import Final

from comfy.errors import ServerError
from comfy.protocol.client import ComfyClient
from farm.errors import InputUnavailable
from worker.inputs.cache import INPUT_SUBFOLDER, CachedInput

_TOO_LARGE: Final = 413


def upload(client: ComfyClient, file: CachedInput, field: str) -> str:
    """Put a file into the server's input folder unless it is there; the name that its loaders take.

    Pictures, videos and sounds alike: the route's name says less than it takes.

    Raises:
        InputUnavailable: it is larger than the server takes.
        ComfyError: as `ComfyClient`.
    """
    # It is named by its content, and another prompt may be reading it: nothing is written over.
    if client.has_input(file.name, subfolder=INPUT_SUBFOLDER, size_bytes=file.path.stat().st_size):
        return f"{INPUT_SUBFOLDER}/{file.name}"
    try:
        answer = client.upload_input(
            file.name, file.path.read_bytes(), subfolder=INPUT_SUBFOLDER, overwrite=True
        )
    except ServerError as exc:
        if exc.status != _TOO_LARGE:
            raise
        reason = "it is larger than the ComfyUI that is to load it takes (its --max-upload-size)"
        raise InputUnavailable(file.name, reason, field=field) from exc
    return f"{answer['subfolder']}/{answer['name']}" if answer.get("subfolder") else str(answer["name"])
