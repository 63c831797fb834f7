"""What a server says of converted workflows: only that files are missing, as we say ourselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from comfy.errors import GraphError
from comfy.judging.validation import validate
from comfy.node_defs.definitions import Definitions, with_choices
from comfy.ui.convert import convert
from tests.support.model_inputs import model_inputs
from tests.support.official_workflows import wan_workflows

if TYPE_CHECKING:
    from tests.contract.conftest import ComfyServer

# Of the 38 and more, so many are made of nodes that ComfyUI 0.3.64 has.
_AT_LEAST = 20


def graphs_for(known: Definitions) -> Iterator[tuple[str, dict[str, Any]]]:
    """The workflows of which a server has every node, in the version that they were made with."""
    judged_by = with_any_file(known)
    for name, workflow in wan_workflows().items():
        try:
            graph = convert(workflow, known).graph
        except GraphError:
            continue  # nodes that came later
        if validate(graph, judged_by).ok:
            yield name, graph


def with_any_file(known: Definitions) -> Definitions:
    """The definitions as they are before it is known which files lie on a machine."""
    free = dict(known)
    for class_type, name in model_inputs():
        if class_type in free and free[class_type].input(name):
            free[class_type] = with_choices(free[class_type], name, None)
    return free


def complaints(node_errors: Mapping[str, Any]) -> set[tuple[str, str, str, str]]:
    """Node, class, input and kind of everything that a server says."""
    return {
        (node_id, said["class_type"], error["extra_info"].get("input_name", ""), error["type"])
        for node_id, said in node_errors.items()
        for error in said["errors"]
    }


def test_a_converted_workflow_lacks_nothing_but_files(comfy: ComfyServer) -> None:
    known = comfy.definitions()
    checked = 0
    for name, graph in graphs_for(known):
        answer = comfy.post("/prompt", {"prompt": graph})
        said = complaints(answer.json["node_errors"])

        others = [
            each
            for each in said
            if each[3] != "custom_validation_failed"
            and not (each[3] == "value_not_in_list" and each[1:3] in model_inputs())
        ]
        assert others == [], name
        ours = validate(graph, known, generation=comfy.generation, input_file_exists=lambda _: False)
        assert complaints(ours.node_errors) == said, name
        if answer.status == 200:
            comfy.between_tests()
        checked += 1
    assert checked >= _AT_LEAST
