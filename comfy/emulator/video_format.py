"""Which container and codec SaveVideo writes, in the form of each generation's node.

Source: ComfyUI ``comfy_extras/nodes_video.py``, ``SaveVideo.execute``; errors as real servers raise them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from comfy.emulator.clips import AV1, H264, Codec
from comfy.node_defs.definitions import InputDef, NodeDef
from comfy.node_defs.dynamic_inputs import is_dynamic, option_inputs, option_keys

_AUTO: Final = "auto"


def video_codec(node: NodeDef, given: Mapping[str, Any]) -> Codec:
    """How a clip is encoded, and with which extension.

    Raises:
        ValueError, TypeError: what the node itself raises for these inputs.
    """
    if not is_dynamic(node):
        return _of_plain_lists(given)
    container = given.get("format")
    choices = _input(node.inputs, "format")
    if not isinstance(container, str | int | float | None):  # it came along a link
        raise ValueError(f"{container!r} is not a valid VideoContainer")
    if container not in option_keys(choices):
        raise TypeError("SaveVideo.execute() missing 1 required positional argument: 'format'")
    inner = _input(option_inputs(choices, container), "codec")
    name = given.get("format.codec")
    if name not in option_keys(inner):
        name = given.get("codec")
    if name not in option_keys(_input(node.inputs, "codec")):
        name = _AUTO
    if container == "webm" and name == "h264":
        raise ValueError("WebM output requires the AV1 codec")
    codec = AV1 if name == "av1" or container == "webm" else H264
    return replace(codec, extension="mp4" if container == _AUTO else str(container))


def _of_plain_lists(given: Mapping[str, Any]) -> Codec:
    # Servers that do not look at the choices of new-style nodes find a wrong one here.
    if given["format"] not in {_AUTO, "mp4"}:
        raise ValueError(f"'{given['format']}' is not a valid VideoContainer")
    if given["codec"] not in {_AUTO, "h264"}:
        raise ValueError("Only H264 codec is supported for now")
    return H264


def _input(inputs: tuple[InputDef, ...], name: str) -> InputDef:
    return next(each for each in inputs if each.name == name)
