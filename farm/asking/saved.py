"""A user's own graphs, kept as templates: a graph with names for its inputs, one JSON file each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comfy.graphs.graph import Graph
from comfy.wan.templates import TEMPLATES
from farm.errors import InvalidJob, Problem

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTemplate:
    """A graph with the names that its owner gave to inputs."""

    name: str
    graph: Mapping[str, Any]
    bind: Mapping[str, Sequence[str]]  # name -> inputs, as "node.input"


def saved_templates() -> list[str]:
    """The names of those that are kept, sorted."""
    return sorted(path.stem for path in _folder().glob("*.json")) if _folder().is_dir() else []


def read_saved(name: str) -> SavedTemplate | None:
    """A template that was kept under this name; None when there is none.

    Raises:
        InvalidJob: its file cannot be read.
    """
    if not _NAME.fullmatch(name):
        return None
    path = _folder() / f"{name}.json"
    try:
        kept = json.loads(path.read_bytes())
        return SavedTemplate(name=name, graph=kept["graph"], bind=kept["bind"])
    except FileNotFoundError:
        return None
    except OSError as exc:
        message = f"{path} cannot be read: {exc.strerror}"
        raise InvalidJob([Problem(field="template", message=message)]) from exc
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        message = f"{path} holds no template: it was not written by `farm templates --save`, or is damaged"
        raise InvalidJob([Problem(field="template", message=message)]) from exc


def save_template(name: str, graph: Graph, bind: Mapping[str, Sequence[str]]) -> Path:
    """Keep a checked graph with its names.

    Raises:
        InvalidJob: the name is none, or a built-in template or another graph has it, or the file cannot be
            written.
    """
    if not _NAME.fullmatch(name):
        fault = "is no name for a template: small letters, digits, dots, dashes and underscores, at most 64"
        raise InvalidJob([Problem(field="template", message=f"{name!r} {fault}")])
    if name in TEMPLATES:
        raise InvalidJob([Problem(field="template", message=f"{name} is a built-in template")])
    path = _folder() / f"{name}.json"
    text = json.dumps({"bind": dict(bind), "graph": graph}, indent=1, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
            message = f"{name} is kept already: remove {path}, or choose another name"
            raise InvalidJob([Problem(field="template", message=message)])
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as exc:
        message = f"{path} cannot be written: {exc.strerror or exc}"
        raise InvalidJob([Problem(field="template", message=message)]) from exc
    return path


def _folder() -> Path:
    # Most graphs are named by a file or a built-in template, and have no use for either.
    from farm.local.running import stack_folder
    from farm.settings.graphs import TemplateSettings

    return TemplateSettings.read().folder or stack_folder() / "templates"
