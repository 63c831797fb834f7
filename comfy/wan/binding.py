"""Sets a graph's values by what they mean: `resolve` turns "prompt" or "frames" into inputs of nodes.

A name is an input path (``6.text``), a name that the caller bound to such paths, or a role that `find_roles`
finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.graph import find_input, inputs_of, is_link, no_such_input
from comfy.graphs.values import InputPath, Setting, setting
from comfy.node_defs.node_classes import node_class
from comfy.wan.parameters import MAX_SEED, SNAP, Parameter, ParameterKind, parameter_problem, read_switch
from comfy.wan.roles import END_IMAGE, START_IMAGE, Roles
from comfy.wan.sizes import FRAMES, SIDES
from comfy.wan.together import ALIKE, moved_along

# Other names under which people know a role.
ALIASES: Final = {
    "length": "frames",
    "num_frames": "frames",
    "negative_prompt": "negative",
    "positive": "prompt",
    "positive_prompt": "prompt",
    "noise_seed": "seed",
    "image": START_IMAGE,
    "first_image": START_IMAGE,
    "last_image": END_IMAGE,
    "frame_rate": "fps",
}

_MOST_PROBLEMS: Final = 20  # each is told with what is near it, which takes its time

Bindings = Mapping[str, str | Sequence[str]]  # name -> "node.input", or several


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What is to be written where."""

    values: dict[str, Any]  # "node.input" -> value
    files: dict[str, Any]  # "node.input" -> path, address or bytes of a file that the node is to read


def resolve(graph: Mapping[str, Any], roles: Roles, given: Mapping[str, Any], bind: Bindings) -> Resolved:
    """Find the inputs that the given names mean, and check the values of roles.

    Raises:
        GraphError: with a problem for every name that means nothing here or more than one thing, and for
            every value that its role does not take.
    """
    values: dict[str, Any] = {}
    files: dict[str, Any] = {}
    problems: list[GraphProblem] = []
    snap = _asks_to_snap(given, bind)
    for name, value in given.items():
        if name == SNAP and name not in bind:
            continue
        try:
            written = _written(graph, roles, name, value, bind, snap=snap)
        except GraphError as exc:
            problems += exc.problems
            if len(problems) >= _MOST_PROBLEMS:
                break
            continue
        for input_path, each in written.items():
            # An input path itself is set to the name of a file that the server has; a role is given a file.
            is_file = input_path != name and _is_file_input(graph, input_path)
            (files if is_file else values)[input_path] = each
    if problems:
        raise GraphError(problems)
    return Resolved(values=values, files=files)


def input_paths_of(graph: Mapping[str, Any], roles: Roles, name: str, bind: Bindings) -> tuple[str, ...]:
    """The inputs that a name means.

    Raises:
        GraphError: it means nothing here, several different things, or a value that a node computes.
    """
    if find_input(graph, name) is not None:
        return (name,)
    if name in bind:
        return _bound(graph, name, bind[name])
    role = ALIASES.get(name, name)
    if not roles.of(role):
        raise GraphError([no_such_input(graph, name) if "." in name else _no_role(name, roles, bind)])
    return _inputs_of_role(graph, roles, role)


def role_parameter(graph: Mapping[str, Any], roles: Roles, role: str) -> Parameter:
    """What a role takes: its type, unit and bounds."""
    if role in ("width", "height"):
        grid = roles.sizes[0].sides if roles.sizes else SIDES
        return Parameter(
            name=role,
            kind=ParameterKind.INTEGER,
            grid=grid,
            unit="pixels",
            help="of the clip that is sampled",
        )
    if role in _TYPES:
        return _TYPES[role]
    is_file = any(_is_file_input(graph, str(each.set_at)) for each in roles.of(role))
    kind = ParameterKind.FILE if is_file else ParameterKind.TEXT
    return Parameter(name=role, kind=kind, help="")


def _written(
    graph: Mapping[str, Any], roles: Roles, name: str, value: Any, bind: Bindings, *, snap: bool
) -> dict[str, Any]:
    paths = input_paths_of(graph, roles, name, bind)
    role = ALIASES.get(name, name)
    if find_input(graph, name) is not None or name in bind:
        return dict.fromkeys(paths, value)
    try:
        read = role_parameter(graph, roles, role).read(value, snap=snap)
    except ValueError as exc:
        raise GraphError([parameter_problem("bad_parameter", name, str(exc))]) from exc
    return dict.fromkeys(paths, read) | moved_along(graph, roles, role, read)


def _bound(graph: Mapping[str, Any], name: str, bound_to: str | Sequence[str]) -> tuple[str, ...]:
    paths = (bound_to,) if isinstance(bound_to, str) else tuple(bound_to)
    missing = [path for path in paths if find_input(graph, path) is None]
    if missing:
        message = f"is bound to {', '.join(missing)}: there is no such input"
        raise GraphError([parameter_problem("unknown_input", name, message)])
    return paths


def _inputs_of_role(graph: Mapping[str, Any], roles: Roles, role: str) -> tuple[str, ...]:
    settings = roles.of(role)
    if computed := next((each for each in settings if each.is_computed), None):
        raise GraphError([_computed(graph, role, computed)])
    if any(each.value != settings[0].value for each in settings):
        shown = ", ".join(f"{each.set_at} = {each.value!r:.40}" for each in settings)
        message = f"means several things in this graph: {shown}; name the input that you mean"
        raise GraphError([parameter_problem("ambiguous_role", role, message)])
    return tuple(dict.fromkeys(str(_where_to_write(graph, roles, role, each)) for each in settings))


def _where_to_write(graph: Mapping[str, Any], roles: Roles, role: str, value: Setting) -> InputPath:
    """The source of a value when it serves this role alone, else the input itself: its link is cut."""
    if not value.is_elsewhere:
        return value.set_at
    asked = {each.asked for each in roles.of(role)}
    alike = ALIKE.get(role, frozenset()) | {each.input_name for each in asked}
    users = _users(graph, roles, value.set_at)
    alone = all(user in asked or user.input_name in alike for user in users)
    return value.set_at if alone else value.asked


def _users(graph: Mapping[str, Any], roles: Roles, at: InputPath) -> list[InputPath]:
    """The inputs of running nodes that get the value which stands at this input."""
    found = []
    for node_id in roles.running:
        for name, linked in inputs_of(graph, node_id).items():
            behind = setting(graph, node_id, name) if is_link(linked) else None
            if behind is not None and behind.set_at == at:
                found.append(InputPath(node_id=node_id, input_name=name))
    # What only hands on is a user of the input, too, and none that counts.
    return [user for user in found if not _hands_on(graph, user, found)]


def _hands_on(graph: Mapping[str, Any], user: InputPath, users: Sequence[InputPath]) -> bool:
    return any(
        inputs_of(graph, each.node_id)[each.input_name][0] == user.node_id for each in users if each != user
    )


def _computed(graph: Mapping[str, Any], role: str, value: Setting) -> GraphProblem:
    source_id = value.source_id or ""
    behind = [setting(graph, source_id, name) for name in inputs_of(graph, source_id)]
    paths = [str(each.set_at) for each in behind if each is not None and not each.is_computed]
    given = f"; set what it is given: {', '.join(paths)}" if paths else ""
    maker = f"node {source_id} ({graph[source_id].get('class_type')})" if source_id in graph else source_id
    return parameter_problem("computed_role", role, f"is computed at {value.asked} by {maker}{given}")


def _no_role(name: str, roles: Roles, bind: Bindings) -> GraphProblem:
    known = [f"{role} ({', '.join(str(each.set_at) for each in roles.of(role))})" for role in roles.settings]
    listed = ", ".join([*bind, *known]) or "none"
    message = (
        f"is no input (write node.input, for example 6.text) and no role of this graph; it has: {listed}"
    )
    return parameter_problem("unknown_role", name, message)


def _asks_to_snap(given: Mapping[str, Any], bind: Bindings) -> bool:
    if SNAP not in given or SNAP in bind:
        return False
    try:
        return read_switch(given[SNAP])
    except ValueError as exc:
        raise GraphError([parameter_problem("bad_parameter", SNAP, str(exc))]) from exc


def _is_file_input(graph: Mapping[str, Any], input_path: str) -> bool:
    found = find_input(graph, input_path)
    return found is not None and node_class(str(graph[found[0]].get("class_type"))).input_file == found[1]


_TYPES: Final = {
    "prompt": Parameter(name="prompt", kind=ParameterKind.TEXT, help="what the clip shows"),
    "negative": Parameter(name="negative", kind=ParameterKind.TEXT, help="what the clip avoids"),
    "seed": Parameter(
        name="seed", kind=ParameterKind.INTEGER, minimum=0, maximum=MAX_SEED, help="of the first sampler"
    ),
    "frames": Parameter(
        name="frames", kind=ParameterKind.INTEGER, grid=FRAMES, unit="frames", help="that are sampled"
    ),
    "fps": Parameter(
        name="fps",
        kind=ParameterKind.NUMBER,
        minimum=1,
        maximum=120,
        unit="frames per second",
        help="of the file",
    ),
    "steps": Parameter(
        name="steps", kind=ParameterKind.INTEGER, minimum=1, maximum=1000, help="of all samplers together"
    ),
    "cfg": Parameter(name="cfg", kind=ParameterKind.NUMBER, minimum=0, maximum=100, help="guidance scale"),
    "shift": Parameter(name="shift", kind=ParameterKind.NUMBER, minimum=0, maximum=100, help="of the noise"),
}
