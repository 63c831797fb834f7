from __future__ import annotations

from typing import Any

from comfy.emulator.schedule import Cached, Caching, NodeCache, Schedule, signatures
from comfy.node_defs.definitions import shipped_definitions

_KNOWN = shipped_definitions()


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def order(graph: dict[str, Any], outputs: list[str], cached: tuple[str, ...] = ()) -> list[str]:
    schedule = Schedule(graph, outputs, _KNOWN, cached)
    done = []
    while (node_id := schedule.pick()) is not None:
        schedule.done(node_id)
        done.append(node_id)
    return done


def unchanged(_: str, __: Any) -> None:
    return None


def a_graph(**save: Any) -> dict[str, Any]:
    return {
        "1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
        "2": node("CreateVideo", images=["1", 0], fps=8.0),
        "3": node("SaveVideo", video=["2", 0], **save),
    }


def test_nodes_run_after_what_they_need_and_outputs_come_first() -> None:
    graph = {**a_graph(), "4": node("PreviewImage", images=["1", 0])}

    assert order(graph, ["3", "4"]) == ["1", "4", "2", "3"]


def test_what_is_cached_and_all_before_it_does_not_run() -> None:
    assert order(a_graph(), ["3"], cached=("1", "2")) == ["3"]


def test_what_no_output_needs_does_not_run() -> None:
    graph = {**a_graph(), "9": node("EmptyImage", width=8)}

    assert "9" not in order(graph, ["3"])


def test_a_signature_covers_class_inputs_and_all_before() -> None:
    base = signatures(a_graph(), unchanged)
    graph = a_graph()
    graph["1"]["inputs"]["color"] = 1

    other = signatures(graph, unchanged)

    assert base == signatures(a_graph(), unchanged)
    assert all(base[node_id] != other[node_id] for node_id in base)
    renamed = signatures({"7": a_graph()["1"]}, unchanged)
    assert renamed["7"] == base["1"]


def test_a_file_that_changed_changes_the_signature() -> None:
    assert signatures(a_graph(), lambda *_: "a")["1"] != signatures(a_graph(), lambda *_: "b")["1"]


def test_nodes_in_a_circle_have_no_signature_and_spoil_nothing() -> None:
    graph = {**a_graph(), "8": node("ImageScale", image=["9", 0]), "9": node("ImageScale", image=["8", 0])}

    assert signatures(graph, unchanged).keys() == {"1", "2", "3"}


def test_a_cache_with_room_keeps_the_results_of_all_prompts() -> None:
    cache = NodeCache(Caching.ALL_PROMPTS)
    cache.begin(a_graph(), unchanged)
    cache.put("1", Cached(outputs=(1,)))

    cache.begin({"9": {"class_type": "EmptyImage", "inputs": {}}}, unchanged)
    cache.begin(a_graph(), unchanged)

    assert cache.get("1") == Cached(outputs=(1,))


def test_the_cache_keeps_only_what_the_current_prompt_can_use() -> None:
    cache = NodeCache(Caching.LAST_PROMPT)
    cache.begin(a_graph(), unchanged)
    for node_id in a_graph():
        cache.put(node_id, Cached(outputs=(node_id,)))

    cache.begin(a_graph(filename_prefix="other"), unchanged)

    assert [cache.get(node_id) is not None for node_id in ("1", "2", "3")] == [True, True, False]
    cache.begin({"1": node("EmptyImage", width=1)}, unchanged)
    cache.begin(a_graph(), unchanged)
    assert cache.get("1") is None


def test_a_chain_of_two_thousand_nodes_is_no_trouble() -> None:
    graph = {"0": node("EmptyImage", width=8)}
    for number in range(1, 2000):
        graph[str(number)] = node("ImageScale", image=[str(number - 1), 0])

    assert len(signatures(graph, unchanged)) == 2000
    assert len(order(graph, ["1999"])) == 2000
