"""What holds for every rewrite, on real graphs with random faults and on random ones."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from comfy.errors import GraphError
from comfy.graphs.graph import check_graph
from comfy.judging.validation import validate
from comfy.node_defs.definitions import ANY_TYPE, InputDef, NodeDef, Section, shipped_definitions
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import RewriteStatus, optimize
from comfy.rewrites.options import Attention, RewriteOptions
from comfy.rewrites.registry import REWRITES
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.site import Site
from comfy.wan.templates import TEMPLATES
from tests.support.sites import a_site, graphs_of_people, wrapper_graph

Graph = dict[str, Any]

_LORAS: Final = [
    f"wan2.2_{task}_lightx2v_4steps_lora_{version}_{noise}_noise.safetensors"
    for task, version in (("t2v", "v1.1"), ("i2v", "v1"))
    for noise in ("high", "low")
]
_FILES: Final = {"loras": [*_LORAS, "style.safetensors"]}
_NUMBERS: Final = st.one_of(st.integers(-2, 300), st.sampled_from([832, 480, 1280, 720, 10_000]))
# The same examples in every run: a new one that fails should meet who changes a rewrite, not who does not.
_QUICK: Final = settings(
    max_examples=int(os.environ.get("FARM_TEST_EXAMPLES", "40")),
    derandomize="FARM_TEST_EXAMPLES" not in os.environ,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@cache
def real_graphs() -> tuple[Graph, ...]:
    """Graphs as people have them, and the farm's own."""
    own = [
        template.build(**{each.name: "x.png" for each in template.parameters if each.required}, seed=1).graph
        for template in TEMPLATES.values()
    ]
    return (*graphs_of_people().values(), *own, wrapper_graph())


@st.composite
def mutated(draw: st.DrawFn) -> Graph:
    """A real graph in which some values are others, and some nodes are gone or stand twice."""
    graph = copy.deepcopy(draw(st.sampled_from(real_graphs())))
    for _ in range(draw(st.integers(0, 6))):
        node_id = draw(st.sampled_from(sorted(graph)))
        inputs = graph[node_id]["inputs"]
        literals = sorted(name for name, value in inputs.items() if not isinstance(value, list))
        if literals:
            name = draw(st.sampled_from(literals))
            inputs[name] = draw(_other(graph[node_id]["class_type"], name, inputs[name]))
    if draw(st.booleans()):
        node_id = draw(st.sampled_from(sorted(graph)))
        graph[f"{node_id}9"] = copy.deepcopy(graph[node_id])
    if draw(st.booleans()):
        graph["9000"] = {
            "class_type": "PreviewAny",
            "inputs": {"source": [draw(st.sampled_from(sorted(graph))), 0]},
        }
    return graph


def _other(class_type: str, name: str, value: Any) -> st.SearchStrategy[Any]:
    node = shipped_definitions().get(class_type)
    wanted = node.input(name) if node is not None else None
    if wanted is not None and wanted.choices:
        return st.sampled_from(list(wanted.choices))
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int | float):
        return _NUMBERS if isinstance(value, int) else st.floats(-1, 70, allow_nan=False)
    return st.one_of(st.just(value), st.sampled_from([*_LORAS, "wan2.2_vae.safetensors", ""]))


_SMALL: Final = (
    "EmptyImage",
    "ImageScaleBy",
    "RIFE VFI",
    "PreviewImage",
    "SaveImage",
    "SaveAnimatedWEBP",
    "VHS_VideoCombine",
    "CreateVideo",
    "SaveVideo",
    "UnloadModel",
    "PrimitiveInt",
    "PrimitiveFloat",
    "VAEDecode",
    "EmptyHunyuanLatentVideo",
    "VAELoader",
)


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Small graphs of nodes whose links fit, or nearly so."""
    graph: Graph = {}
    for number in range(draw(st.integers(1, 9))):
        class_type = draw(st.sampled_from(_SMALL))
        node = shipped_definitions()[class_type]
        inputs = {}
        for wanted in node.inputs:
            if wanted.section is Section.HIDDEN or (
                wanted.section is Section.OPTIONAL and draw(st.booleans())
            ):
                continue
            value = draw(_value(graph, wanted))
            if value is not None:
                inputs[wanted.name] = value
        graph[str(number)] = {"class_type": class_type, "inputs": inputs}
    return graph


def _value(graph: Graph, wanted: InputDef) -> st.SearchStrategy[Any]:
    sources = [
        [node_id, slot]
        for node_id, node in graph.items()
        for slot, output in enumerate(shipped_definitions()[node["class_type"]].outputs)
        if wanted.kind in (ANY_TYPE, output.kind) or output.kind == ANY_TYPE
    ]
    options: list[st.SearchStrategy[Any]] = [st.sampled_from(sources)] if sources else []
    if wanted.choices:
        options.append(st.sampled_from(list(wanted.choices)))
    elif wanted.kind == "INT":
        options.append(st.integers(max(int(wanted.minimum or 0), 0), 64))
    elif wanted.kind == "FLOAT":
        options.append(st.floats(1.0, 60.0))
    elif wanted.kind == "BOOLEAN":
        options.append(st.booleans())
    elif wanted.kind in ("STRING", "COMBO"):
        options.append(st.sampled_from(["x", "clip", "wan_2.1_vae.safetensors"]))
    return st.one_of(options) if options else st.none()


graphs: Final = st.one_of(mutated(), random_graphs())
sites: Final = st.builds(
    a_site,
    gib=st.sampled_from([None, 8, 12, 16, 24, 32, 48, 80, 141]),
    definitions=st.sampled_from([shipped_definitions(files=_FILES), shipped_definitions()]),
    nvenc=st.sampled_from([None, True, False]),
    attention_proven=st.sampled_from([{}, {"sdpa": 0.2, "sage": 0.1}, {"sage3": 0.1, "flash2": 0.2}]),
    writes_metadata=st.sampled_from([None, True, False]),
)
all_options: Final = st.builds(
    RewriteOptions,
    attention=st.sampled_from(Attention),
    lightning=st.booleans(),
    keep_metadata=st.booleans(),
    mp4=st.booleans(),
    max_width=st.sampled_from([None, 320, 832]),
    max_height=st.sampled_from([None, 256, 480]),
    max_frames=st.sampled_from([None, 33, 60]),
    max_fps=st.sampled_from([None, 8.0, 16.0, 24.0]),
    max_seconds=st.sampled_from([None, 0.5, 3.0]),
    interpolation=st.sampled_from([None, 1, 2]),
)
rules: Final = st.sampled_from(REWRITES)


def inputs_that_differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Node and input of everything that is otherwise; "class_type" for a node that came, went or turned."""
    found = set()
    for node_id in before.keys() | after.keys():
        old, new = before.get(node_id), after.get(node_id)
        if old is None or new is None or old["class_type"] != new["class_type"]:
            found.add((node_id, "class_type"))
        if new is None:
            continue
        was = old["inputs"] if old is not None else {}
        for name in was.keys() | new["inputs"].keys():
            if was.get(name) != new["inputs"].get(name) or (name in was) != (name in new["inputs"]):
                found.add((node_id, name))
    return found


def apply(rewrite: Rewrite, graph: Mapping[str, Any], site: Site, options: RewriteOptions) -> Any:
    result = optimize(graph, site, accept=ChangeKind.DIFFERENT, options=options, rewrites=[rewrite])
    # One that fails would pass all that follows; and one that had to be undone is a fault as well.
    assert all(outcome.status is not RewriteStatus.FAILED for outcome in result.outcomes), result.outcomes
    return result


def faults(graph: Mapping[str, Any], definitions: Mapping[str, NodeDef]) -> set[tuple[Any, ...]]:
    return {(each.kind, each.node_id, each.input_name) for each in validate(graph, definitions).problems}


@_QUICK
@given(graph=graphs, site=sites, options=all_options)
def test_no_rewrite_makes_a_valid_graph_invalid(graph: Graph, site: Site, options: RewriteOptions) -> None:
    try:
        check_graph(graph)
    except GraphError:
        return
    for rewrite in REWRITES:
        after = apply(rewrite, graph, site, options).graph
        check_graph(after)
        assert faults(after, site.definitions) <= faults(graph, site.definitions)


@_QUICK
@given(graph=graphs, site=sites, options=all_options, rewrite=rules)
def test_twice_is_as_once(graph: Graph, site: Site, options: RewriteOptions, rewrite: Rewrite) -> None:
    once = apply(rewrite, graph, site, options).graph
    twice = apply(rewrite, once, site, options)

    assert twice.changes == ()
    assert twice.graph == once


@_QUICK
@given(graph=graphs, site=sites, options=all_options)
def test_all_of_them_twice_is_as_once(graph: Graph, site: Site, options: RewriteOptions) -> None:
    once = optimize(graph, site, accept=ChangeKind.DIFFERENT, options=options).graph

    assert optimize(once, site, accept=ChangeKind.DIFFERENT, options=options).graph == once


@_QUICK
@given(graph=graphs, site=sites, options=all_options)
def test_every_change_is_reported_and_nothing_else_changes(
    graph: Graph, site: Site, options: RewriteOptions
) -> None:
    before = json.dumps(graph, sort_keys=True)
    for rewrite in REWRITES:
        result = apply(rewrite, graph, site, options)

        reported = {(each.node_id, each.input_name) for each in result.changes}
        assert inputs_that_differ(graph, result.graph) <= reported
    assert json.dumps(graph, sort_keys=True) == before


@_QUICK
@given(graph=graphs, site=sites, options=all_options)
def test_what_is_exact_writes_nothing_but_what_is_put_into_files(
    graph: Graph, site: Site, options: RewriteOptions
) -> None:
    result = optimize(graph, site, accept=ChangeKind.EXACT, options=options)

    assert {each.kind for each in result.changes} <= {ChangeKind.EXACT}
    for node_id in graph:
        kept = result.graph.get(node_id)
        if kept is None:
            assert graph[node_id]["class_type"].startswith(("Preview", "Unload", "VHS_", "VRAM_"))
            continue
        old, new = graph[node_id]["inputs"], kept["inputs"]
        named = {each.input_name for each in result.changes if each.node_id == node_id}
        assert {name: value for name, value in new.items() if name not in named} == {
            name: value for name, value in old.items() if name not in named
        }
        for name in named:
            # A literal that is exact to write says what is put into the file; a link only goes past a node.
            assert name == "save_metadata" or isinstance(new[name], list)
