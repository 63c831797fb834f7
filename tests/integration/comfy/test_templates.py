"""Each template with each of its presets, on the emulator and on a real ComfyUI."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from typing import Any, Protocol

import av
import pytest
from PIL import Image

from comfy.errors import GraphRejected
from comfy.protocol.client import ComfyClient
from comfy.protocol.outputs import locate
from comfy.protocol.run import Outcome, PromptRun
from comfy.rewrites.output_prefix import set_output_prefix
from comfy.wan.templates import TEMPLATES, Template

pytestmark = pytest.mark.timeout(300)

SMALL: dict[str, Any] = {"width": 64, "height": 96, "frames": 5, "steps": 2, "fps": 8}
CASES = [(template, preset) for template in TEMPLATES.values() for preset in template.presets]


class Server(Protocol):
    output: Any
    url: str

    def ask(self, path: str) -> dict[str, Any]: ...


@pytest.fixture
def client(server: Server) -> Iterator[ComfyClient]:
    made = ComfyClient(server.url)
    yield made
    made.close()


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (90, 60), "teal").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("template", "preset"), CASES, ids=[f"{template.name}-{preset}" for template, preset in CASES]
)
def test_a_template_becomes_a_clip_of_the_size_that_was_asked(
    template: Template, preset: str, server: Server, client: ComfyClient
) -> None:
    graph = template.example(preset=preset, **SMALL)
    for number, slot in enumerate(template.pictures.values()):
        if slot.node_id in graph:
            stored = client.upload_input(f"picture{number}.png", picture(), overwrite=True)
            graph[slot.node_id]["inputs"]["image"] = stored["name"]
    _need_nodes(graph, server)
    graph, _ = set_output_prefix(graph, uuid.uuid4().hex)

    run = _run(client, graph)

    assert run.outcome is Outcome.SUCCEEDED
    (file,) = [file for file in run.outputs if file.is_result]
    with av.open(str(locate(server.output, file)), mode="r") as container:
        frames = list(container.decode(container.streams.video[0]))
    assert len(frames) == 5
    assert (frames[0].width, frames[0].height) == (64, 96)


def _run(client: ComfyClient, graph: dict[str, Any]) -> PromptRun:
    """Run it; a real server may lack the files, and nothing else may be wrong."""
    try:
        return client.run(graph)
    except GraphRejected as refusal:
        if {problem.kind for problem in refusal.problems} != {"missing_model"}:
            raise
        pytest.skip(f"files are missing: {refusal}")


def _need_nodes(graph: dict[str, Any], server: Server) -> None:
    """A server that has not all nodes, or a form of them without the inputs named here, is not asked."""
    for node in graph.values():
        class_type = node["class_type"]
        known = server.ask(f"/object_info/{class_type}").get(class_type)
        if known is None:
            pytest.skip(f"this server has no {class_type}")
        named = {name for section in known["input"].values() for name in section}
        if not set(node["inputs"]) <= named:
            pytest.skip(f"this server's {class_type} is of another version")
