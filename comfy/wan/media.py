"""Finds the files that a graph is given: start and end image, and what else is put in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from comfy.graphs.values import Setting
from comfy.node_defs.node_classes import node_class
from comfy.wan.reader import Carried, Reader

START_IMAGE: Final = "start_image"
END_IMAGE: Final = "end_image"

# A role by the name of the input at which the file arrives; the first pattern that fits counts. Any other
# input that carries media gives the role its own name (control_video, reference_image, face_video, …).
_ROLES: Final = (
    (START_IMAGE, re.compile(r"^(start_image|first_image|first_frame|start_frame)$")),
    (END_IMAGE, re.compile(r"^(end_image|last_image|last_frame|end_frame)$")),
    ("audio", re.compile(r"^audio(_\d+)?$")),
)
# Inputs whose names say no more than what kind of thing arrives.
_PLAIN: Final = re.compile(
    r"^(image|images|pixels|frames|video|mask|masks|clip_.*|audio_encoder_output|\w+_embeds)(_\d+)?$"
)
_KIND: Final = {"file": "video"}  # LoadVideo's only input


def find_media(reader: Reader) -> dict[str, list[Setting]]:
    """Find by role the inputs that name the files; a file that plays two parts has the more telling one."""
    arrivals: dict[str, set[str]] = {}  # loading node -> the roles under which its file arrives
    for node_id in reader.nodes():
        for name in reader.linked(node_id, Carried.MEDIA):
            if (role := _role_of(name)) is not None:
                for loader_id in _loaders_behind(reader, node_id, name):
                    arrivals.setdefault(loader_id, set()).add(role)
    found: dict[str, list[Setting]] = {}
    for node_id in reader.nodes():
        input_name = node_class(reader.class_type(node_id)).input_file
        file = reader.setting(node_id, input_name) if input_name is not None else None
        if file is not None and input_name is not None:
            role = _best(arrivals.get(node_id, set())) or _KIND.get(input_name, input_name)
            found.setdefault(role, []).append(file)
    return found


@lru_cache(maxsize=4096)  # a graph may have thousands of inputs, of few names
def _role_of(input_name: str) -> str | None:
    named = next((role for role, pattern in _ROLES if pattern.search(input_name)), None)
    return named or (None if _PLAIN.search(input_name) else input_name)


def _best(roles: set[str]) -> str | None:
    """Start and end first, then a name of its own; sound is what a video brings along."""
    return min(
        roles, key=lambda role: (role not in (START_IMAGE, END_IMAGE), role == "audio", role), default=None
    )


def _loaders_behind(reader: Reader, node_id: str, input_name: str) -> list[str]:
    """The nodes that read a file for what arrives at an input, past what only changes the picture.

    A node that takes a latent makes something new, and an input whose name says what it is for was counted
    where it is: there the way ends.
    """
    found: list[str] = []
    seen: set[str] = set()
    waiting = [(node_id, input_name)]
    while waiting:
        source = reader.source(*waiting.pop())
        if source is None or source[0] in seen:
            continue
        at = source[0]
        seen.add(at)
        if node_class(reader.class_type(at)).input_file is not None:
            found.append(at)
            continue
        if not reader.linked(at, Carried.LATENT):
            passed = (name for name in reader.linked(at, Carried.MEDIA) if _role_of(name) in (None, "audio"))
            waiting += [(at, name) for name in passed]
    return found
