"""A farm in memory for tests of the producer and the command line, and graphs to hand it."""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from comfy.generations import Generation
from comfy.graphs.required import model_files
from comfy.node_defs.definitions import definitions_to_json, shipped_definitions, with_choices
from comfy.wan.templates import get_template
from farm.client import Farm
from farm.fleet.model_lists import models_name
from farm.fleet.preflight import definitions_name
from farm.job import Artifact, EventKind, JobResult, VideoFacts
from farm.status.worker import WorkerStatus
from farm.store.base import NewEvent
from farm.store.roles import StatusStore
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.jobs import claimed

TEMPLATE = "wan22-t2v-a14b"
V0_12_1 = Generation.named("0.12.1")

# Small, and right: a picture is loaded and saved.
PICTURE: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
}


def wan_graph(**parameters: Any) -> dict[str, Any]:
    """The WAN text-to-video graph, as somebody would bring it in a file."""
    return get_template(TEMPLATE).build(**{"prompt": "a fox", "seed": 1, **parameters}).graph


def changed(graph: Mapping[str, Any], input_path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at "node.input"."""
    node_id, name = input_path.split(".", 1)
    copied = copy.deepcopy(dict(graph))
    copied[node_id]["inputs"][name] = value
    return copied


def announce(
    store: StatusStore,
    name: str = "gpu0@rack",
    *,
    without_nodes: Sequence[str] = (),
    without_models: Sequence[str] = (),
    more_nodes: Mapping[str, Any] | None = None,
    model_bytes: Mapping[str, int] | None = None,
    **facts: Any,
) -> None:
    """Let a worker live whose ComfyUI has the core nodes and the models of the template, but for these.

    Args:
        facts: what else its status says, as its JSON.
        model_bytes: sizes of model files that it tells, folder and name -> bytes; default: it tells none.
    """
    blob = _definitions(tuple(without_nodes), tuple(without_models), json.dumps(more_nodes or {}))
    digest = hashlib.sha256(blob).hexdigest()
    store.put_blob(definitions_name(digest), blob, ttl_s=600)
    told = {"name": name, "definitions": digest, "comfyui_version": V0_12_1.version, **facts}
    if model_bytes is not None:
        listed = zlib.compress(json.dumps(model_bytes).encode())
        told["models"] = {"list": hashlib.sha256(listed).hexdigest()}
        store.put_blob(models_name(told["models"]["list"]), listed, ttl_s=600)
    store.put_worker(WorkerStatus.from_json(json.dumps(told)), ttl_s=600)


@functools.cache  # of eight hundred nodes: a rack of workers has the same ones
def _definitions(without_nodes: tuple[str, ...], without_models: tuple[str, ...], more_nodes: str) -> bytes:
    files: dict[str, list[str]] = {}
    for preset in ("quality", "draft"):
        for file in model_files(wan_graph(preset=preset)):
            if file.name not in without_models and file.name not in files.get(file.folder, ()):
                files.setdefault(file.folder, []).append(file.name)
    nodes = shipped_definitions(V0_12_1, files=files)
    nodes["LoadImage"] = with_choices(nodes["LoadImage"], "image", ["example.png"])
    kept = {class_type: node for class_type, node in nodes.items() if class_type not in without_nodes}
    text = json.dumps({**definitions_to_json(kept), **json.loads(more_nodes)})
    return zlib.compress(text.encode())


def render(
    store: MemoryJobStore,
    storage: FolderStorage,
    job_id: str,
    *,
    emulated: bool = False,
    preview: bytes | None = None,
) -> None:
    """Do what a worker does for a job: claim it, show a preview, store two files of one name, commit."""
    claim = claimed(store, job_id)
    prefix = storage.keys.attempt_prefix(job_id, claim.token)
    if preview is not None:
        shown = {"node_id": "57", "media_type": "image/png", "image": base64.b64encode(preview).decode()}
        store.report(job_id, claim.attempt, [NewEvent(kind=EventKind.PREVIEW, data=shown)])
    poster = storage.put_bytes(b"jpeg", f"{prefix}clip.mp4.poster.jpg", media_type="image/jpeg")
    manifest = storage.put_bytes(b"{}", f"{prefix}manifest.json", media_type="application/json")
    facts = VideoFacts(codec="h264", width=64, height=64, frames=9, fps=16, duration_s=0.56)
    artifacts = []
    for folder, content, video in (("frames/", b"png", None), ("", b"mp4", facts)):
        stored = storage.put_bytes(content, f"{prefix}{folder}clip.mp4", media_type="video/mp4")
        artifacts.append(
            Artifact(
                key=stored.key,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                media_type="video/mp4",
                node_id="61" if video else "8",
                video=video,
                poster_key=poster.key if video else None,
            )
        )
    result = JobResult(
        bucket=storage.bucket,
        artifacts=tuple(artifacts),
        manifest_key=manifest.key,
        emulated=emulated,
    )
    store.succeed(job_id, claim.attempt, result)


@pytest.fixture
def store() -> MemoryJobStore:
    """An empty store."""
    return MemoryJobStore()


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    """An empty bucket."""
    return FolderStorage(tmp_path / "s3")


@pytest.fixture
def farm(store: MemoryJobStore, storage: FolderStorage) -> Farm:
    """A farm of these two; no worker lives yet."""
    return Farm(store=store, storage=storage)
