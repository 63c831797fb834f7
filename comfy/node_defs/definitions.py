"""What a ComfyUI server says its nodes take and give: `/object_info` as typed values, and back.

Two spellings of a list of choices are in use and both are read: old nodes say ``[["a", "b"], {}]``,
nodes of the V3 API say ``["COMBO", {"options": ["a", "b"]}]``.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, Final, cast

from comfy.errors import UnknownMessage
from comfy.generations import NEWEST, Generation
from comfy.node_defs.snapshot import NEWER_CORE, filled, pack_forms, pack_rows, shipped_nodes, sources_of

ANY_TYPE: Final = "*"
MATCH_TYPE: Final = "COMFY_MATCHTYPE_V3"  # takes or gives what its neighbours do
COMBO_TYPE: Final = "COMBO"

# An input with one of these options names a file of the server's input folder. The list of choices is what
# lay there when the definitions were asked for: a file uploaded since is right although it is not in it.
_UPLOAD_OPTIONS: Final = frozenset(
    {"image_upload", "video_upload", "audio_upload", "file_upload", "vhs_path_extensions"}
)


class Section(StrEnum):
    """Which of a node's three groups of inputs an input belongs to."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    HIDDEN = "hidden"  # filled by the server, never by the graph


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDef:
    """One input of a node class."""

    name: str
    section: Section
    # "INT", "MODEL", "STRING,FLOAT", "*", …; "COMBO" for both spellings of a list of choices.
    kind: str
    choices: tuple[Any, ...] | None = None  # None: not a list of choices, or the list is not known
    options: Mapping[str, Any] = field(default_factory=dict)  # default, min, max, step, … as the server says
    spec: Any = None  # the server's own JSON for this input

    @property
    def minimum(self) -> Any:
        """The smallest value the server takes, or None."""
        return self.options.get("min")

    @property
    def maximum(self) -> Any:
        """The largest value the server takes, or None."""
        return self.options.get("max")

    @property
    def default(self) -> Any:
        """What the server's own front end fills in, or None. A graph must still name it."""
        return self.options.get("default")

    @property
    def is_old_combo(self) -> bool:
        """Whether the choices are spelled the old way, as the type itself."""
        return (
            isinstance(self.spec, list | tuple) and bool(self.spec) and isinstance(self.spec[0], list | tuple)
        )

    @property
    def is_upload(self) -> bool:
        """Whether the value names a file that may be uploaded after the definitions were read."""
        return any(self.options.get(option) for option in _UPLOAD_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDef:
    """One output slot of a node class."""

    kind: str
    name: str
    is_list: bool = False
    spec: Any = None  # the server's own JSON for the type, where it is more than a name


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDef:
    """One node class as a server describes it."""

    class_type: str
    inputs: tuple[InputDef, ...]
    outputs: tuple[OutputDef, ...]
    output_node: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)  # display_name, category, python_module, …

    def input(self, name: str) -> InputDef | None:
        """The input called `name` that a graph may set (hidden ones are not), or None."""
        for candidate in self.inputs:
            if candidate.name == name and candidate.section is not Section.HIDDEN:
                return candidate
        return None

    def of(self, section: Section) -> tuple[InputDef, ...]:
        """The inputs of one section, in the server's order."""
        return tuple(candidate for candidate in self.inputs if candidate.section is section)


Definitions = Mapping[str, NodeDef]  # class_type -> definition


class _Entries(Mapping[str, NodeDef]):
    """Nodes that are read when they are asked for: a server has a thousand, and a graph uses twenty."""

    def __init__(
        self,
        entries: Mapping[str, Mapping[str, Any]],
        complete: Callable[[NodeDef], NodeDef] = lambda node: node,
    ) -> None:
        self._entries = entries
        self._complete = complete
        self._read: dict[str, NodeDef] = {}

    def __getitem__(self, class_type: str) -> NodeDef:
        found = self._read.get(class_type)
        if found is None:
            found = self._complete(parse_node(class_type, self._entries[class_type]))
            self._read[class_type] = found
        return found

    def __contains__(self, class_type: object) -> bool:
        return class_type in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def parse_definitions(body: Any) -> Definitions:
    """Read the body of ``GET /object_info`` (or of ``/object_info/{node}``).

    A node of which nothing can be read is left out, and an input of unknown form becomes one that takes
    anything: one careless custom node must not hide the other four hundred.

    Raises:
        UnknownMessage: the body is no JSON object.

    Source: ComfyUI ``server.py``, ``node_info``.
    """
    if not isinstance(body, Mapping):
        raise UnknownMessage("object_info", body)
    return _Entries({name: info for name, info in body.items() if isinstance(info, Mapping)})


def parse_node(class_type: str, info: Mapping[str, Any]) -> NodeDef:
    """Read one node's entry of ``/object_info``."""
    return NodeDef(
        class_type=class_type,
        inputs=parse_inputs(info.get("input"), info.get("input_order")),
        outputs=_parse_outputs(info),
        output_node=info.get("output_node") is True,
        facts={key: value for key, value in info.items() if key not in _BUILT_KEYS},
    )


def parse_inputs(sections: Any, order: Any = None) -> tuple[InputDef, ...]:
    """Read ``{"required": {name: spec}, "optional": …}``; what has another form is left out.

    Args:
        order: ``{"required": [name, …], …}``, which counts before the order of `sections`, as it does for the
            editor: some way the order of an object's keys may have got lost.
    """
    inputs: list[InputDef] = []
    for section in Section:
        specs = sections.get(section.value) if isinstance(sections, Mapping) else None
        if isinstance(specs, Mapping):
            named = _as_list(order.get(section.value)) if isinstance(order, Mapping) else ()
            ordered = dict.fromkeys([*(name for name in named if name in specs), *specs])
            inputs.extend(_parse_input(str(name), section, specs[name]) for name in ordered)
    return tuple(inputs)


# Keys of a node's entry that `node_to_json` builds itself.
_BUILT_KEYS: Final = frozenset(
    {"input", "input_order", "output", "output_is_list", "output_name", "name", "output_node"}
)


def _parse_input(name: str, section: Section, spec: Any) -> InputDef:
    if isinstance(spec, str):  # hidden inputs of old nodes: "PROMPT"
        return InputDef(name=name, section=section, kind=spec, spec=spec)
    if not isinstance(spec, list | tuple) or not spec:
        return InputDef(name=name, section=section, kind=ANY_TYPE, spec=spec)
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}
    kind = spec[0]
    if isinstance(kind, list | tuple):
        return InputDef(
            name=name, section=section, kind=COMBO_TYPE, choices=tuple(kind), options=options, spec=spec
        )
    choices = options.get("options") if kind == COMBO_TYPE else None
    return InputDef(
        name=name,
        section=section,
        kind=kind if isinstance(kind, str) else ANY_TYPE,
        choices=tuple(choices) if isinstance(choices, list | tuple) else None,
        options=options,
        spec=spec,
    )


def _parse_outputs(info: Mapping[str, Any]) -> tuple[OutputDef, ...]:
    kinds = _as_list(info.get("output"))
    names = _as_list(info.get("output_name"))
    lists = _as_list(info.get("output_is_list"))
    outputs = []
    for index, kind in enumerate(kinds):
        # A list of choices as an output type (a "sampler name" output) fits inputs of any list of choices.
        text = kind if isinstance(kind, str) else COMBO_TYPE
        name = names[index] if index < len(names) else text
        is_list = bool(lists[index]) if index < len(lists) else False
        outputs.append(OutputDef(kind=text, name=str(name), is_list=is_list, spec=kind))
    return tuple(outputs)


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def node_to_json(node: NodeDef) -> dict[str, Any]:
    """One node's entry of ``/object_info``, as the server it came from would say it."""
    inputs: dict[str, dict[str, Any]] = {}
    for candidate in node.inputs:
        inputs.setdefault(candidate.section.value, {})[candidate.name] = candidate.spec
    return {
        "input": inputs,
        "input_order": {section: list(specs) for section, specs in inputs.items()},
        "output": [output.kind if output.spec is None else output.spec for output in node.outputs],
        "output_is_list": [output.is_list for output in node.outputs],
        "output_name": [output.name for output in node.outputs],
        "name": node.class_type,
        "output_node": node.output_node,
        **node.facts,
    }


def definitions_to_json(definitions: Definitions) -> dict[str, Any]:
    """The body of ``GET /object_info`` for these definitions."""
    return {name: node_to_json(node) for name, node in definitions.items()}


class _Packs(Mapping[str, NodeDef]):
    """The nodes of `pack_forms` in their first form; the files are read when nothing else has a class."""

    def __getitem__(self, class_type: str) -> NodeDef:
        found = forms_of(class_type)
        if not found:
            raise KeyError(class_type)
        return found[0]

    def __contains__(self, class_type: object) -> bool:
        return class_type in pack_rows()

    def __iter__(self) -> Iterator[str]:
        return iter(pack_rows())

    def __len__(self) -> int:
        return len(pack_rows())


@lru_cache(maxsize=1024)
def forms_of(class_type: str) -> tuple[NodeDef, ...]:
    """The forms that a class has in the packs and versions that ship beside the first; no file is judged."""
    return tuple(_with_files(parse_node(class_type, each), None) for each in pack_forms(class_type))


def shipped_definitions(
    generation: Generation | None = None, *, files: Mapping[str, Sequence[str]] | None = None
) -> MutableMapping[str, NodeDef]:
    """The nodes of a WAN graph as a server of this generation describes them, without asking a server.

    Args:
        generation: None: as the newest describes them, nodes that came since, and those of more packs.
        files: model files by folder (``{"vae": ["wan_2.1_vae.safetensors"]}``); a folder that is not named is
            empty. Without `files` nothing is known of any folder, and no file name is judged.
    """
    known = _without_files(generation) if files is None else _filled(generation, files)
    behind = [known] if generation is not None else [known, _Packs()]
    # Looked up one behind the other; what is written goes to the first, which is the caller's own.
    return ChainMap({}, *cast("list[dict[str, NodeDef]]", behind))


@cache
def _snapshot(generation: Generation | None) -> Mapping[str, Mapping[str, Any]]:
    return shipped_nodes((*NEWEST.core_facts, NEWER_CORE) if generation is None else generation.core_facts)


@cache
def _without_files(generation: Generation | None) -> Definitions:
    return _filled(generation, None)


def _filled(generation: Generation | None, files: Mapping[str, Sequence[str]] | None) -> Definitions:
    return _Entries(_snapshot(generation), lambda node: _with_files(node, files))


def _with_files(node: NodeDef, files: Mapping[str, Sequence[str]] | None) -> NodeDef:
    for each in node.inputs:
        if sources_of(each.choices):
            node = with_choices(node, each.name, filled(each.choices or (), files))
    return node


def with_choices(node: NodeDef, name: str, choices: Sequence[Any] | None) -> NodeDef:
    """A copy of `node` whose input `name` offers these choices (None: unknown, so not judged)."""
    inputs = tuple(
        _offering(candidate, choices) if candidate.name == name else candidate for candidate in node.inputs
    )
    return NodeDef(
        class_type=node.class_type,
        inputs=inputs,
        outputs=node.outputs,
        output_node=node.output_node,
        facts=node.facts,
    )


def _offering(old: InputDef, choices: Sequence[Any] | None) -> InputDef:
    listed = list(choices or ())
    if old.is_old_combo:
        spec = [listed, *old.spec[1:]]
        options = old.options
    else:
        options = {**old.options, "options": listed}
        spec = [COMBO_TYPE, options]
    return InputDef(
        name=old.name,
        section=old.section,
        kind=COMBO_TYPE,
        choices=None if choices is None else tuple(choices),
        options=options,
        spec=spec,
    )
