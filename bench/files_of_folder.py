"""How somebody's own files fare: `make bench-files FILES=folder`.

Beside the files may lie

- ``object_info.json``: what a server says of the nodes that they use;
- ``truth.json``: what ComfyUI's front end exports of each (`tests.tools.corpus --files`);
- ``labels.json``: what somebody who read them says of each: ``{"file": {"width": 832, "height": 480,
  "frames": "computed", "lint": [rules], "either": [rules that may be told or not]}}``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from comfy.errors import GraphError
from comfy.graphs.graph import Loaded
from comfy.graphs.values import Setting
from comfy.lint import lint
from comfy.node_defs.definitions import Definitions, parse_definitions, shipped_definitions
from comfy.rewrites.site import Site
from comfy.ui.load import load_any
from comfy.wan.models import GIB
from comfy.wan.roles import Roles, find_roles
from tests.support.corpus import bare

DEFINITIONS: Final = "object_info.json"
TRUTH: Final = "truth.json"
LABELS: Final = "labels.json"
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_NEAR: Final = 0.01  # pixels
_READ_OTHERWISE: Final = ("of another version", "list of one", "no control", "a picture")
_ROLES: Final = ("width", "height", "frames")


def files_in(folder: Path) -> dict[str, bytes]:
    """The files by name, without what lies beside them."""
    return {
        path.stem: path.read_bytes()
        for path in sorted(folder.glob("*.json"))
        if path.name not in (DEFINITIONS, TRUTH, LABELS)
    }


def definitions_beside(folder: Path) -> Definitions | None:
    """What a server says of the files' nodes, before what ships; None where that is not there."""
    path = folder / DEFINITIONS
    if not path.exists():
        return None
    return {**shipped_definitions(), **parse_definitions(json.loads(path.read_bytes()))}


def report(folder: Path) -> Iterator[str]:
    """All figures that can be told."""
    files = files_in(folder)
    truth = _beside(folder, TRUTH)
    beside = definitions_beside(folder)
    yield from _taken(files, "offline", shipped_definitions, truth)
    if beside is not None:
        yield from _taken(files, "with definitions", lambda: beside, truth)
    known = beside or shipped_definitions()
    loaded = {name: found for name, found in _read(files, lambda: known) if isinstance(found, Loaded)}
    roles = {name: find_roles(found.graph, known) for name, found in loaded.items()}
    yield from _sizes([found for found in roles.values() if found.stages])
    site = Site(definitions=known, name="RTX 4090", vram_bytes=24 * GIB, is_live=beside is not None)
    told = {
        name: {each.rule for each in lint(found.graph, site, left_out=found.left_out)}
        for name, found in loaded.items()
    }
    counts = Counter(rule for rules in told.values() for rule in rules)
    yield f"lint: {', '.join(f'{rule} {count}' for rule, count in sorted(counts.items()))}"
    labels = _beside(folder, LABELS)
    if labels:
        yield from _labelled_sizes(roles, labels)
        yield from _labelled_lint(told, labels)


def _beside(folder: Path, name: str) -> Mapping[str, Any]:
    path = folder / name
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def _read(
    files: Mapping[str, bytes], known: Callable[[], Definitions]
) -> Iterator[tuple[str, Loaded | GraphError]]:
    for name, content in files.items():
        try:
            yield name, load_any(content, known)
        except GraphError as exc:
            yield name, exc


def _taken(
    files: Mapping[str, bytes], way: str, known: Callable[[], Definitions], truth: Mapping[str, Any]
) -> Iterator[str]:
    read = dict(_read(files, known))
    graphs = {name: found.graph for name, found in read.items() if isinstance(found, Loaded)}
    yield _part(f"accepted {way}", len(graphs), len(files))
    reasons = Counter(
        reason
        for exc in read.values()
        if isinstance(exc, GraphError)
        for reason in {f"{each.kind} {each.class_type or ''}".strip() for each in exc.problems}
    )
    yield from (f"    {count} × {reason}" for reason, count in reasons.most_common())
    differing = {
        name: differences(found, truth[name], known())
        for name, found in read.items()
        if isinstance(found, Loaded) and name in truth
    }
    if differing:
        unequal = {name: found for name, found in differing.items() if found}
        yield _part("equal to the front end's export", len(differing) - len(unequal), len(differing))
        yield from (f"    not: {name}: {', '.join(found[:3])}" for name, found in unequal.items())


def differences(found: Loaded, theirs: Mapping[str, Any], known: Definitions) -> list[str]:
    """Where a server would run something else than the front end's export.

    Left aside are nodes that are said to be read otherwise than an editor does, which takes one value for
    another there; inputs that no definition knows, which a server drops; and dates in names of files, which
    the front end fills in.
    """
    said = {note.split(" ")[1] for note in found.notes if any(word in note for word in _READ_OTHERWISE)}
    exported = {key: node for key, node in theirs.items() if "class_type" in node}
    ours, theirs = bare(found.graph), bare(exported)
    alone = ours.keys() ^ theirs.keys()
    odd = [f"{node_id} {(ours.get(node_id) or theirs[node_id])[0]}" for node_id in sorted(alone)]
    for node_id in sorted((ours.keys() & theirs.keys()) - said):
        (class_type, given), (_, wanted) = ours[node_id], theirs[node_id]
        odd += [
            f"{node_id} {class_type}.{name}"
            for name in sorted(given.keys() | wanted.keys())
            if not _is_same(given.get(name), wanted.get(name))
            and (name in given or _is_input(known, class_type, name))
            and "%date" not in str(given.get(name))
        ]
    return odd


def _is_same(value: Any, other: Any) -> bool:
    """Whether they are equal, or the points of one line: a browser computes these anew, to other digits."""
    if value == other or not isinstance(value, str) or not isinstance(other, str):
        return bool(value == other)
    lines = [_NUMBER.split(text) for text in (value, other)]
    points = [[float(number) for number in _NUMBER.findall(text)] for text in (value, other)]
    near = all(abs(one - two) < _NEAR for one, two in zip(*points, strict=False))
    return '"x":' in value and lines[0] == lines[1] and near


def _is_input(known: Definitions, class_type: str, name: str) -> bool:
    node = known.get(class_type)
    return node is None or node.input(name) is not None or "." in name


def _sizes(roles: Sequence[Roles]) -> Iterator[str]:
    for role in _ROLES:
        told = Counter(_how_known(found, role) for found in roles)
        ways = ", ".join(f"{how} {told[how]}" for how in ("known", "bounded", "computed", "silent"))
        yield f"{role} of {len(roles)} that sample: {ways}"


def _how_known(roles: Roles, role: str) -> str:
    found = roles.of(role)
    if found and all(map(_is_known, found)):
        return "known"
    if found and all(_is_known(each) or each.at_most is not None for each in found):
        return "bounded"
    return "computed" if found else "silent"


def _is_known(setting: Setting) -> bool:
    return setting.value is not None


def _labelled_sizes(roles: Mapping[str, Roles], labels: Mapping[str, Any]) -> Iterator[str]:
    """What was found of the sizes that stand in a file; those computed at run time ought to be said so."""
    for role in _ROLES:
        there = {name: each[role] for name, each in labels.items() if name in roles}
        values = {name: value for name, value in there.items() if isinstance(value, int)}
        wrong = {
            name: (found, there[name])
            for name in there
            if (found := _only(roles[name], role)) != values.get(name)
            and (found is not None or name in values)
        }
        missed = sum(name in values and found is None for name, (found, _) in wrong.items())
        right = len(values) - sum(name in values for name in wrong)
        yield f"{role}, by label: {right} of {len(values)} found, {len(wrong) - missed} wrong"
        yield from (f"    {name}: {found}, not {value}" for name, (found, value) in wrong.items())


def _only(roles: Roles, role: str) -> object:
    values = {setting.value for setting in roles.of(role)}
    return values.pop() if len(values) == 1 else None


def _labelled_lint(told: Mapping[str, set[str]], labels: Mapping[str, Any]) -> Iterator[str]:
    missed = [(name, rule) for name in told for rule in labels[name]["lint"] if rule not in told[name]]
    alarms = [
        (name, rule)
        for name, rules in told.items()
        for rule in sorted(rules - set(labels[name]["lint"]) - set(labels[name].get("either", ())))
    ]
    there = sum(len(labels[name]["lint"]) for name in told)
    right = there - len(missed)
    yield _part("lint, by label: told of what is there", right, there)
    yield _part("lint, by label: right of what was told", right, right + len(alarms))
    yield from (f"    {name}: not told {rule}" for name, rule in missed)
    yield from (f"    {name}: false alarm {rule}" for name, rule in alarms)


def _part(what: str, some: int, all_of: int) -> str:
    return f"{what}: {some} of {all_of} ({some / max(all_of, 1):.1%})"
