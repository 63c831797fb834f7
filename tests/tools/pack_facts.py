"""Makes facts of node packs: `comfy/node_defs/node_facts/packs/<pack>.json`, out of what servers say of them.

    python -m tests.tools.pack_facts DUMP…

A dump is JSON with ``source`` (repository and commit), ``module`` (the pack's folder) and ``nodes``: the body
of ``GET /object_info`` of a ComfyUI whose models folders show ``@folder`` for their files. Left out are
texts, ranges, long defaults, long lists of choices, and every node that the facts at hand have in that form.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from comfy.generations import NEWEST
from comfy.node_defs.definitions import NodeDef, parse_node, shipped_definitions
from comfy.node_defs.snapshot import PACKS_FOLDER
from comfy.ui.widgets import is_widget

_MOST_CHOICES: Final = 12
_LONGEST: Final = 60  # characters of a default: longer ones are texts
_MODEL: Final = re.compile(r"\.(safetensors|gguf|ckpt|sft|pth?|bin|onnx|torchscript\.pt)$", re.IGNORECASE)
_UNKNOWN: Final = "@unknown"
# What decides which widgets the editor makes, in what order, and what an empty one holds.
_KEPT: Final = frozenset(
    {
        "default", "forceInput", "control_after_generate", "widgetType", "socketless", "formats", "options",
        "image_upload", "video_upload", "audio_upload", "file_upload", "vhs_path_extensions", "template",
    }
)  # fmt: skip


def facts_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """One node's entry as it is kept."""
    given = node.get("input")
    sections = given if isinstance(given, Mapping) else {}
    kept = {
        section: {name: _spec(spec) for name, spec in sections[section].items()}
        for section in ("required", "optional")
        if isinstance(sections.get(section), Mapping) and sections[section]
    }
    outputs = [kind if isinstance(kind, str) else "COMBO" for kind in node.get("output") or ()]
    found: dict[str, Any] = {"input": kept, "output": outputs}
    if node.get("output_node"):
        found["output_node"] = True
    return found


def _spec(spec: Any) -> Any:
    if not isinstance(spec, list) or not spec:
        return ["*"]
    kind, *rest = spec
    options = _options(rest[0]) if rest and isinstance(rest[0], Mapping) else {}
    if isinstance(kind, list):
        kind = _choices(kind)
        options.pop("options", None)
    elif not isinstance(kind, str):
        kind = "*"
    return [kind, options] if options else [kind]


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in given.items() if name in _KEPT and value is not None}
    if isinstance(kept.get("options"), list):
        dynamic = any(isinstance(each, Mapping) for each in kept["options"])
        kept["options"] = [_bare(each) for each in kept["options"]] if dynamic else _choices(kept["options"])
    default = kept.get("default")
    if isinstance(default, str) and (len(default) > _LONGEST or _MODEL.search(default)):
        del kept["default"]
    return kept


def _bare(option: Any) -> Any:
    """An option of a dynamic list, with the inputs that it brings along."""
    if not isinstance(option, Mapping):
        return option
    inputs = option.get("inputs")
    return {"key": option.get("key"), "inputs": facts_of({"input": inputs})["input"]}


def _choices(given: list[Any]) -> list[Any]:
    told = [each for each in given if not (isinstance(each, str) and _MODEL.search(each))]
    plain = all(isinstance(each, str | int | float) for each in told) and len(told) <= _MOST_CHOICES
    if plain and len(told) == len(given) and all(len(str(each)) <= _LONGEST for each in told):
        return given
    first = [each for each in told[:1] if len(str(each)) <= _LONGEST]
    return [*first, *(each for each in told[1:] if str(each).startswith("@")), _UNKNOWN]


def widgets_of(node: NodeDef) -> list[tuple[str, str]]:
    """What decides how saved values are read."""
    return [(each.name, each.kind) for each in node.inputs if is_widget(each)]


def main() -> None:
    """Write a file for each dump; of two with a node of one name, that of the later name counts first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dumps", nargs="+", type=Path)
    known = shipped_definitions(NEWEST)
    forms: dict[str, list[list[tuple[str, str]]]] = {name: [widgets_of(known[name])] for name in known}
    for path in sorted(parser.parse_args().dumps, reverse=True):
        dump = json.loads(path.read_bytes())
        nodes = {name: facts_of(node) for name, node in dump["nodes"].items()}
        new = {}
        for name, node in sorted(nodes.items()):
            if (form := widgets_of(parse_node(name, node))) not in forms.setdefault(name, []):
                forms[name].append(form)
                new[name] = node
        if not new:
            continue
        head = json.dumps({"source": dump["source"], "python_module": f"custom_nodes.{dump['module']}"})
        rows = [
            f"{json.dumps(name)}: {json.dumps(node, separators=(',', ':'), ensure_ascii=False)}"
            for name, node in new.items()
        ]
        text = head[:-1] + ',\n"nodes": {\n' + ",\n".join(rows) + "\n}}\n"
        (PACKS_FOLDER / f"{path.stem}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
