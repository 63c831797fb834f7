"""Frames of ComfyUI's websocket become events: protocol without I/O."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

from comfy.errors import UnknownMessage
from comfy.protocol.events import (
    Event,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    FeatureFlags,
    LogLine,
    Logs,
    NodeProgress,
    Preview,
    Progress,
    ProgressState,
    ProgressText,
    Status,
    Unknown,
)


def read_text(frame: str | bytes) -> Event:
    """Read a text frame.

    Raises:
        UnknownMessage: it is no JSON of the form ``{"type", "data"}``, or lacks what the type promises.
    """
    try:
        message = json.loads(frame)
        kind, data = message["type"], message.get("data")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise UnknownMessage("websocket message", frame) from exc
    return read_message(str(kind), data)


def read_message(kind: str, data: Any) -> Event:
    """Read the data of a message of this type; a type that we do not know becomes `Unknown`.

    Raises:
        UnknownMessage: the data lacks what the type promises.
    """
    reader = _READERS.get(kind)
    if reader is None:
        return Unknown(type=kind, data=data)
    try:
        return reader(data)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise UnknownMessage(kind, data) from exc


def read_binary(frame: bytes) -> Event:
    """Read a binary frame: a big-endian number for the event, then what belongs to it.

    Raises:
        UnknownMessage: it is cut short, or its metadata cannot be read.

    Source: ComfyUI protocol.py ``BinaryEventTypes``; server.py ``send_image``, ``send_image_with_metadata``.
    """
    try:
        (event,) = struct.unpack_from(">I", frame)
        reader = _BINARY_READERS.get(event)
        return Unknown(type=f"binary {event}", data=len(frame)) if reader is None else reader(frame[4:])
    except (struct.error, KeyError, TypeError, ValueError, AttributeError) as exc:
        raise UnknownMessage("binary websocket message", frame[:32]) from exc


def _status(data: Any) -> Event:
    remaining = data["status"]["exec_info"]["queue_remaining"]
    return Status(queue_remaining=int(remaining), sid=_text_or_none(data.get("sid")))


def _execution_start(data: Any) -> Event:
    return ExecutionStart(prompt_id=_text(data["prompt_id"]), timestamp_ms=_milliseconds(data))


def _execution_cached(data: Any) -> Event:
    return ExecutionCached(prompt_id=_text(data["prompt_id"]), nodes=tuple(map(_text, data["nodes"])))


def _executing(data: Any) -> Event:
    return Executing(node=_text_or_none(data["node"]), prompt_id=_text_or_none(data.get("prompt_id")))


def _progress_state(data: Any) -> Event:
    nodes = tuple(
        NodeProgress(
            node=_text(node_id),
            value=_number(node["value"]),
            maximum=_number(node["max"]),
            state=_text(node["state"]),
        )
        for node_id, node in data["nodes"].items()
    )
    return ProgressState(prompt_id=_text(data["prompt_id"]), nodes=nodes)


def _progress(data: Any) -> Event:
    maximum = _number(data["max"])
    if maximum <= 0:
        raise ValueError("max is not positive")
    return Progress(
        node=_text_or_none(data.get("node")),
        prompt_id=_text_or_none(data.get("prompt_id")),
        value=_number(data["value"]),
        maximum=maximum,
    )


def _executed(data: Any) -> Event:
    output = data.get("output") or {}
    if not isinstance(output, dict):
        raise TypeError("output is no object")
    return Executed(prompt_id=_text(data["prompt_id"]), node=_text(data["node"]), output=output)


def _execution_success(data: Any) -> Event:
    return ExecutionSuccess(prompt_id=_text(data["prompt_id"]), timestamp_ms=_milliseconds(data))


def _execution_error(data: Any) -> Event:
    traceback = data.get("traceback")
    return ExecutionError(
        prompt_id=_text(data["prompt_id"]),
        node_id=_text_or_none(data.get("node_id")),
        node_type=_text_or_none(data.get("node_type")),
        exception_type=str(data["exception_type"]),
        exception_message=str(data["exception_message"]),
        traceback=tuple(map(str, traceback)) if isinstance(traceback, list) else (),
    )


def _execution_interrupted(data: Any) -> Event:
    return ExecutionInterrupted(
        prompt_id=_text(data["prompt_id"]),
        node_id=_text_or_none(data.get("node_id")),
        node_type=_text_or_none(data.get("node_type")),
    )


def _logs(data: Any) -> Event:
    return Logs(
        entries=tuple(LogLine(time=str(entry["t"]), text=str(entry["m"])) for entry in data["entries"])
    )


def _feature_flags(data: Any) -> Event:
    return FeatureFlags(flags=dict(data))


def _preview(body: bytes) -> Event:
    (image_type,) = struct.unpack_from(">I", body)
    return Preview(image=body[4:], media_type="image/png" if image_type == 2 else "image/jpeg")


def _preview_with_metadata(body: bytes) -> Event:
    metadata_bytes, image = _sized(body)
    metadata = json.loads(metadata_bytes)
    return Preview(
        image=image,
        media_type=_text(metadata["image_type"]),
        node=_text_or_none(metadata.get("node_id")),
        prompt_id=_text_or_none(metadata.get("prompt_id")),
    )


def _progress_text(body: bytes) -> Event:
    node, text = _sized(body)
    return ProgressText(node=node.decode(), text=text.decode())


def _sized(body: bytes) -> tuple[bytes, bytes]:
    """Split ``length, that many bytes, the rest``."""
    (length,) = struct.unpack_from(">I", body)
    if length > len(body) - 4:
        raise ValueError("the frame is cut short")
    return body[4 : 4 + length], body[4 + length :]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.40} is no number")
    return value


def _milliseconds(data: Mapping[str, Any]) -> int | None:
    value = data.get("timestamp")
    return int(value) if isinstance(value, int | float) else None


_READERS: Mapping[str, Callable[[Any], Event]] = {
    "status": _status,
    "feature_flags": _feature_flags,
    "execution_start": _execution_start,
    "execution_cached": _execution_cached,
    "executing": _executing,
    "progress_state": _progress_state,
    "progress": _progress,
    "executed": _executed,
    "execution_success": _execution_success,
    "execution_error": _execution_error,
    "execution_interrupted": _execution_interrupted,
    "logs": _logs,
}

_BINARY_READERS: Mapping[int, Callable[[bytes], Event]] = {
    1: _preview,
    3: _progress_text,
    4: _preview_with_metadata,
}
