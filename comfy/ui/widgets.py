"""A node's widget values by the names of the inputs that they stand for.

The editor saves a plain list; newer ones save names beside it. Which value belongs to which input follows
from the node's definition, in the order in which the editor makes widgets: required inputs, then optional
ones, each followed by what it brings along. Where the file was saved with another version of the node, its
own names count for more, and without any the form of the node that they fill value for value; where neither
tells it is refused: one value would stand for another's input.

What the editor or the server would cast is taken as it stands, and said.

Source: ComfyUI's frontend, ``litegraphService`` (widgets of a node), ``LGraphNode`` (``configure``),
``useIntWidget`` and ``valueControlWidgets`` (control after generate), ``uploadImage.ts``; VideoHelperSuite
``web/js/VHS.core.js`` (formats); rgthree-comfy ``power_lora_loader.js``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.graphs.links import is_link
from comfy.node_defs.definitions import COMBO_TYPE, InputDef, NodeDef, Section, parse_inputs
from comfy.node_defs.dynamic_inputs import DYNAMIC_COMBO, option_inputs, option_keys
from comfy.ui.casts import cast_note, castable, fits, is_doubtful

_BOX: Final = "BOUNDING_BOX"
_CURVE: Final = "CURVE"
_WIDGET_KINDS: Final = frozenset(
    {
        "INT", "FLOAT", "STRING", "BOOLEAN", COMBO_TYPE, DYNAMIC_COMBO, "COLOR", "COLORS", "MARKDOWN",
        "TEXTAREA", _BOX, "BOUNDING_BOXES", "CHART", "COMPOSITOR", _CURVE, "GALLERIA", "PAINTER", "RANGE",
        "VIDEO_EDIT", "AUDIO_RECORD",
    }
)  # fmt: skip
_NUMBERS: Final = frozenset({"INT", "FLOAT"})
_SEEDS: Final = frozenset({"seed", "noise_seed"})
# What stands behind a seed: what the editor does with it after a run.
_CONTROLS: Final = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
_FIXED: Final = "fixed"
_UPLOAD: Final = "image"  # the button of an upload
_CUSTOM_COMBO: Final = "CustomCombo"
_UPLOADS: Final = frozenset({"image", "video", "audio", "file"})  # values of the editor's upload buttons
_VIEWS: Final[Mapping[str, Any]] = {"IMAGECOMPARE": ["", ""]}  # what a view sends that is not empty text
_PICTURE: Final = ("<img src='data:", '<img src="data:', "data:image/", "<details>")
# Of nodes that save by name: what the editor keeps for itself.
_EDITORS_OWN: Final = frozenset({"control_after_generate", "videopreview", "upload"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a file keeps of a node's widgets."""

    values: Any = None  # a list in the order of the widgets, or a mapping by name
    named: Mapping[str, Any] | None = None  # by name, beside the list: files of editors since autumn 2026
    slots: Sequence[tuple[str, str]] = ()  # name and type of each widget that has a socket too, in order
    sockets: frozenset[str] = frozenset()  # names of all inputs that the file shows of the node
    linked: frozenset[str] = frozenset()  # those of them with a link and no word of a widget


@dataclass(frozen=True, slots=True, kw_only=True)
class Widgets:
    """What a node's widgets say."""

    values: dict[str, Any]
    notes: tuple[str, ...] = ()  # what was taken otherwise than it stands, in words


class ShiftedValuesError(ValueError):
    """A value cannot be that of the input it stands for: the node had other widgets when it was saved."""

    def __init__(self, wanted: _Read, reading: Sequence[_Read], saved: Sequence[Any]) -> None:
        here = ", ".join(f"{each.name}={each.value!r:.30}" for each in reading if each.given)
        super().__init__(
            f"the file's widget values do not fit this version of the node: {wanted.value!r:.40} stands "
            f"where {wanted.name} ({wanted.wanted.kind}) is expected. In the file: {_shown(saved)}; as this "
            f"version of the node reads them: {here:.400}. Save the workflow anew in a ComfyUI with this "
            "version of the node, or export it with Workflow > Export (API)"
        )
        self.name = wanted.name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One widget with the value that was read for it."""

    wanted: InputDef
    name: str  # in full, as the graph has it
    value: Any
    given: bool  # False: the file has none, so it is what a new node would have
    lacks_control: bool = False  # no word of what the editor does with it after a run stands behind it

    told: bool = False  # the file itself says that it is this one's value

    @property
    def fits(self) -> bool:
        may_be = castable if self.told else fits
        return not self.given or may_be(self.wanted, self.value)


@dataclass(slots=True)
class _Values:
    """The saved list, taken from the front."""

    left: deque[Any]

    def take(self) -> Any:
        return self.left.popleft() if self.left else None

    def skip(self, *choices: frozenset[str]) -> bool:
        """Drop the next value if it is one of these words."""
        found = bool(self.left) and isinstance(self.left[0], str) and any(self.left[0] in c for c in choices)
        if found:
            self.left.popleft()
        return found


def read_widgets(node: NodeDef, saved: Saved, others: Callable[[], Sequence[NodeDef]] = tuple) -> Widgets:
    """Input name -> value of every widget; where nothing was saved, what a new node would have.

    Args:
        others: other forms of the node's class; asked only where the values do not fill `node` one for one.

    Raises:
        ShiftedValuesError: the saved list cannot be that of this node, and the file does not name its values.
    """
    if not isinstance(saved.values, list | tuple | Mapping | None):
        read = read_widgets(node, replace(saved, values=[saved.values]), others)
        return replace(read, notes=("its one value is taken for a list of one", *read.notes))
    own = _OWN_WAYS.get(node.class_type)
    if own is not None and not isinstance(saved.values, Mapping):
        return Widgets(values=own(listed(saved.values)))
    by_name = saved.named if saved.named else saved.values
    if isinstance(by_name, Mapping):
        return _noted(list(_by_name(node, by_name)), saved)
    reading, left = _in_order(node, listed(saved.values))
    told = _told_by_file(saved)
    # Fewer values than widgets are no other form: later versions add theirs at the end.
    doubts = [each for each in reading if each.given and is_doubtful(each.wanted, each.value)]
    if told is None and (left or doubts or not all(each.fits for each in reading)):
        # A program that makes an editor's file of a graph writes no value where a link stands.
        told = _told_by_form(saved, others()) or _told_by_form(saved, [_without(node, saved.linked)])
        told = told or _told_by_form(saved, [_with_forced(node)])
    if told is None and {each.wanted.kind for each in doubts} >= {"INT", COMBO_TYPE}:
        raise ShiftedValuesError(doubts[0], reading, listed(saved.values))
    if told is None or not _is_of_another_version(reading, told):
        return _noted(reading, saved)
    renamed = list(_by_name(node, told))
    if not all(each.fits for each in renamed) and all(each.fits for each in reading):
        return _settled(reading, listed(saved.values))
    found = _settled(renamed, listed(saved.values))
    return Widgets(values=found.values, notes=(_version_note(renamed, told), *found.notes))


def saved_values(node: NodeDef, given: Mapping[str, Any]) -> list[Any]:
    """What the editor would save of a node's widgets with these values: `read_widgets` gives them back.

    A seed stays as it is when the editor runs the graph.
    """
    values: list[Any] = []
    for section in (Section.REQUIRED, Section.OPTIONAL):
        inputs = node.of(section)
        for each in inputs:
            values += _saved(each, given)
        values += [_UPLOAD] if any(each.is_upload for each in inputs) else []
    return values


def _saved(wanted: InputDef, given: Mapping[str, Any], prefix: str = "") -> Iterator[Any]:
    if not is_widget(wanted) or _is_unsaved(wanted):
        return
    name = prefix + wanted.name
    value = given.get(name)
    value = _default(wanted) if value is None or is_link(value) else value
    yield value["__value__"] if isinstance(value, Mapping) and set(value) == {"__value__"} else value
    if _has_control(wanted):
        yield _FIXED
        yield from [""] if wanted.kind == COMBO_TYPE else []
    for more in _brought_along(wanted, value):
        yield from _saved(more, given, f"{name}." if wanted.kind == DYNAMIC_COMBO else "")


def has_own_way(class_type: str) -> bool:
    """Whether the editor saves a node of this class as its own script has it."""
    return class_type in _OWN_WAYS


def read_without_definition(saved: Saved) -> dict[str, Any] | None:
    """As the file names its values; None where it does not name all of them."""
    if isinstance(saved.values, Mapping):
        return {name: sent(value) for name, value in saved.values.items() if name not in _EDITORS_OWN}
    told = _told_by_file(saved)
    return None if told is None else {name: sent(value) for name, value in told.items()}


def _settled(reading: Sequence[_Read], saved: Sequence[Any]) -> Widgets:
    if odd := next((each for each in reading if not each.fits), None):
        raise ShiftedValuesError(odd, reading, saved)
    notes = [
        f"{each.name}: {note}"
        for each in reading
        if each.given and (note := cast_note(each.wanted, each.value)) is not None
    ]
    if any(map(_is_picture, saved)):
        notes.append("a picture that its view showed stands among its values: left out")
    notes += [
        f"{each.name}: no control stands behind it, where an editor takes the next value for one"
        for each in reading
        if each.lacks_control
    ]
    values = {each.name: sent(each.value, each.wanted.kind) for each in reading if each.value is not None}
    return Widgets(values=values, notes=tuple(notes))


def sent(value: Any, kind: str = "") -> Any:
    """The value as a graph holds it: a bare list would be a link."""
    if kind == _CURVE:
        return {"__type__": kind, "__value__": value}
    return {"__value__": list(value)} if isinstance(value, list | tuple) else value


def _is_of_another_version(reading: Sequence[_Read], told: Mapping[str, Any]) -> bool:
    """Whether the file's own names are others than those that its values would get here.

    The same names in another order prove nothing: an editor may have sorted the sockets. Nor do more of them
    at the end: those are buttons and views.
    """
    if not told:
        return False
    given = {each.name for each in reading if each.given}
    return not all(each.fits for each in reading) or given != set(list(told)[: len(given)])


def _noted(reading: Sequence[_Read], saved: Saved) -> Widgets:
    found = _settled(reading, listed(saved.values))
    return Widgets(values=found.values, notes=(*_missing_notes(reading, saved), *found.notes))


def _missing_notes(reading: Sequence[_Read], saved: Saved) -> Iterator[str]:
    missing = [each.name for each in reading if not each.given and not _is_unsaved(each.wanted)]
    if missing and len(missing) < len(reading):
        by_name = saved.named or isinstance(saved.values, Mapping)
        where = "does not name" if by_name else "ends before"
        yield f"the file {where} these values, so they are a new node's: {', '.join(missing)}"
    elif shown := [name for name in missing if name not in saved.linked]:
        yield f"the file has no value of it, so they are a new node's: {', '.join(shown)}"


def _version_note(reading: Sequence[_Read], told: Mapping[str, Any]) -> str:
    known = {each.name for each in reading}
    left = [name for name in told if name not in known]
    new = [each.name for each in reading if not each.given]
    parts = ["its values were read by the names in the file, which is of another version of the node"]
    parts += [f"left out: {', '.join(left)}"] if left else []
    parts += [f"by default: {', '.join(new)}"] if new else []
    return "; ".join(parts)


def _told_by_file(saved: Saved) -> dict[str, Any] | None:
    """The values by the names of the file's own sockets; None where these do not name all of them."""
    if saved.named:
        return {name: value for name, value in saved.named.items() if name not in _EDITORS_OWN}
    values = _Values(deque(listed(saved.values)))
    found: dict[str, Any] = {}
    for name, kind in saved.slots:
        if not values.left:
            return None
        found[name] = value = values.take()
        # As many names as values leave nothing that could have shifted them.
        may_be = castable if len(saved.slots) == len(listed(saved.values)) else fits
        if not may_be(InputDef(name=name, section=Section.REQUIRED, kind=kind), value):
            return None
        if kind in ("INT", COMBO_TYPE):
            values.skip(_CONTROLS)
    values.skip(_UPLOADS)
    return found if not [value for value in values.left if value not in (None, "")] else None


def _without(node: NodeDef, names: frozenset[str]) -> NodeDef:
    return replace(node, inputs=tuple(each for each in node.inputs if each.name not in names))


def _with_forced(node: NodeDef) -> NodeDef:
    """The node as editors before April 2025 saved it: an input that is always a socket had a value as well.

    Source: ComfyUI's frontend, ``migrateWidgetsValues``.
    """
    inputs = (replace(each, options={**each.options, "forceInput": False}) for each in node.inputs)
    return replace(node, inputs=tuple(inputs))


def _is_certain(read: _Read) -> bool:
    if not read.given:
        return _is_unsaved(read.wanted)
    return read.fits and not is_doubtful(read.wanted, read.value)


def _told_by_form(saved: Saved, forms: Sequence[NodeDef]) -> dict[str, Any] | None:
    """The values by the names of the form that they fill one for one; None where two such forms differ.

    Those count first that have all inputs which the file shows of the node.
    """
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for form in forms:
        reading, left = _in_order(form, listed(saved.values))
        if not left and all(map(_is_certain, reading)):
            has_all = saved.sockets <= {each.name for each in form.inputs}
            found[has_all].append({each.name: each.value for each in reading if each.given})
    best = found[True] or found[False]
    return best[0] if best and all(each == best[0] for each in best) else None


def is_widget(wanted: InputDef) -> bool:
    """Whether the editor shows the input as a widget."""
    if wanted.options.get("forceInput") or wanted.section is Section.HIDDEN:
        return False
    kinds = {wanted.kind, str(wanted.options.get("widgetType"))}
    return _is_unsaved(wanted) or not kinds.isdisjoint(_WIDGET_KINDS)


def _is_unsaved(wanted: InputDef) -> bool:
    """Whether it is one of the editor's views: it has a value to send, which no file keeps."""
    return bool(wanted.options.get("socketless")) and wanted.kind not in _WIDGET_KINDS


def _of_custom_combo(values: Sequence[Any]) -> dict[str, Any]:
    """A list of choices of the user's own: the choice, its number (newer editors), then the choices.

    Source: ComfyUI's frontend, ``customWidgets.ts``: the number is counted anew.
    """
    if not values:
        return {}
    choice, *options = values
    if options and isinstance(options[0], int):
        options.pop(0)
    index = options.index(choice) if choice in options else -1
    return {"choice": choice, "index": index} | {
        f"option{number}": option for number, option in enumerate(options, 1)
    }


def _of_lora_rows(values: Sequence[Any]) -> dict[str, Any]:
    """Rows of LoRAs, as many as the user added, between a head and a button that are sent as well."""
    rows = [value for value in values if isinstance(value, Mapping) and "lora" in value]
    numbered = {
        f"lora_{number}": {name: value for name, value in row.items() if value is not None}
        for number, row in enumerate(rows, 1)
    }
    head = "PowerLoraLoaderHeaderWidget"
    return {head: {"type": head}, **numbered, "➕ Add Lora": ""}


_OWN_WAYS: Final[Mapping[str, Callable[[Sequence[Any]], dict[str, Any]]]] = {
    _CUSTOM_COMBO: _of_custom_combo,
    "Power Lora Loader (rgthree)": _of_lora_rows,
}


def _in_order(node: NodeDef, saved: Sequence[Any]) -> tuple[list[_Read], list[Any]]:
    """Each widget with its value, and the values that are left."""
    values = _Values(deque(value for value in saved if not _is_picture(value)))
    reading: list[_Read] = []
    for section in (Section.REQUIRED, Section.OPTIONAL):
        for each in node.of(section):
            reading += _take(each, values)
        if section is Section.REQUIRED and any(each.is_upload for each in node.of(section)):
            values.skip(_UPLOADS)
    values.skip(_UPLOADS)
    return reading, [value for value in values.left if value not in (None, "")]


def _is_picture(value: Any) -> bool:
    """Whether it is what a view of the editor's showed, a picture or a page, which some packs save."""
    return isinstance(value, str) and value.startswith(_PICTURE)


def _take(wanted: InputDef, values: _Values, prefix: str = "") -> Iterator[_Read]:
    if not is_widget(wanted):
        return
    name = prefix + wanted.name
    if _is_unsaved(wanted):
        yield _Read(wanted=wanted, name=name, value=_VIEWS.get(wanted.kind, ""), given=False)
        return
    if wanted.kind in _NUMBERS:
        # A control that another version of the node had and this one has not.
        values.skip(_CONTROLS)
    read = _read(wanted, name, values.take())
    for _ in range(4 if wanted.kind == _BOX else 0):  # its sides, once more as numbers
        if values.left and isinstance(values.left[0], int | float):
            values.take()
    lacks_control = _has_control(wanted) and not values.skip(_CONTROLS)
    yield replace(read, lacks_control=lacks_control and read.given and bool(values.left))
    if _has_control(wanted) and not lacks_control and wanted.kind == COMBO_TYPE:
        values.take()  # the filter that goes with the control of a list
    for more in _brought_along(wanted, read.value):
        yield from _take(more, values, f"{name}." if wanted.kind == DYNAMIC_COMBO else "")


def _read(wanted: InputDef, name: str, value: Any) -> _Read:
    given = value is not None
    return _Read(wanted=wanted, name=name, value=value if given else _default(wanted), given=given)


def _brought_along(wanted: InputDef, value: Any) -> Iterator[InputDef]:
    """The widgets that appear because of a choice: a dynamic list's, or those of a video format."""
    if wanted.kind == DYNAMIC_COMBO:
        yield from option_inputs(wanted, value)
    formats = wanted.options.get("formats")
    if isinstance(formats, Mapping):
        yield from format_inputs(formats.get(value))


def format_inputs(listed: Any) -> Iterator[InputDef]:
    """VideoHelperSuite's way to write the inputs of one format: ``[name, type or choices, options]``."""
    for each in listed if isinstance(listed, list | tuple) else ():
        if isinstance(each, list | tuple) and len(each) >= 2 and isinstance(each[0], str):
            yield from parse_inputs({"optional": {each[0]: list(each[1:3])}})


def _has_control(wanted: InputDef) -> bool:
    return bool(wanted.options.get("control_after_generate")) or (
        wanted.kind == "INT" and wanted.name in _SEEDS
    )


def _default(wanted: InputDef) -> Any:
    if wanted.default is not None:
        return wanted.default
    if wanted.kind == DYNAMIC_COMBO:
        return next(iter(option_keys(wanted)), None)
    if wanted.kind == COMBO_TYPE:
        return next(iter(wanted.choices or ()), None)
    return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}.get(wanted.kind)


def _by_name(node: NodeDef, saved: Mapping[str, Any]) -> Iterator[_Read]:
    if node.class_type == _CUSTOM_COMBO:
        for name in ("choice", "index"):
            if name in saved:
                wanted = InputDef(name=name, section=Section.REQUIRED, kind="*")
                yield _Read(wanted=wanted, name=name, value=saved[name], given=True)
        return
    waiting: list[InputDef] = [*node.of(Section.REQUIRED), *node.of(Section.OPTIONAL)]
    while waiting:
        wanted = waiting.pop(0)
        if not is_widget(wanted):
            continue
        if _is_unsaved(wanted):
            yield _Read(wanted=wanted, name=wanted.name, value=_VIEWS.get(wanted.kind, ""), given=False)
            continue
        read = replace(_read(wanted, wanted.name, saved.get(wanted.name)), told=True)
        yield read
        prefix = f"{wanted.name}." if wanted.kind == DYNAMIC_COMBO else ""
        waiting[:0] = [replace(each, name=prefix + each.name) for each in _brought_along(wanted, read.value)]


def listed(saved: Any) -> Sequence[Any]:
    """Saved widget values as a list; empty when they are by name or missing."""
    if isinstance(saved, list | tuple):
        return saved
    return () if saved is None or isinstance(saved, Mapping) else (saved,)


def _shown(values: Sequence[Any]) -> str:
    return ", ".join(f"{value!r:.30}" for value in values)[:400]
