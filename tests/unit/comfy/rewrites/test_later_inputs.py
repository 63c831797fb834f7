"""Inputs that a node requires here and did not have when the graph was saved."""

from __future__ import annotations

from typing import Any

from comfy.generations import NEWEST, Generation
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import Optimized, optimize
from comfy.rewrites.site import Site
from tests.support.fleet import wan_graph

_NEW = shipped_definitions(NEWEST)
_OLD = shipped_definitions(Generation.named("0.12.1"))


def an_old_graph() -> dict[str, Any]:
    """A WAN graph as 0.33.0 took it before its re-encoding asked for a colour space."""
    graph = wan_graph()
    graph["61"]["inputs"] |= {"codec": "h264", "codec.encoding": "re-encode", "codec.encoding.crf": 28}
    return graph


def filled_in(optimized: Optimized) -> list[tuple[str, str, Any, ChangeKind]]:
    return [
        (each.node_id, each.input_name, each.new, each.kind)
        for each in optimized.changes
        if each.rewrite == "later-inputs"
    ]


def test_a_graph_of_an_older_server_is_filled_in_and_told_as_an_exact_change() -> None:
    found = optimize(an_old_graph(), Site(definitions=_NEW), accept=ChangeKind.EXACT)

    assert filled_in(found) == [("61", "codec.encoding.color_space", "auto", ChangeKind.EXACT)]
    assert validate(an_old_graph(), _NEW).status == 400
    assert validate(found.graph, _NEW).ok


def test_nothing_is_filled_in_where_the_server_asks_for_no_more() -> None:
    assert filled_in(optimize(an_old_graph(), Site(definitions=_OLD))) == []
    assert filled_in(optimize(wan_graph(), Site(definitions=_NEW))) == []
