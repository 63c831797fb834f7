"""What an attempt tells of its render, with a ComfyUI that is only its answer."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import MagicMock

import pytest

from comfy.rewrites import Optimized
from farm.settings import WorkerSettings
from farm.testing import (
    FolderStorage,
    MemoryJobStore,
)
from tests.support.clips import make_picture
from tests.support.jobs import GRAPH, a_job
from worker.jobs import attempt as attempts
from worker.jobs.lease import LeaseKeeper
from worker.jobs.render import Rendered
from worker.results.kept import KeptRenders
from worker.results.publish import LocalOutput, S3Publisher
from worker.service.model_shelf import ModelShelf

MODELS = [{"folder": "vae", "name": "a.safetensors"}, {"folder": "vae", "name": "elsewhere.safetensors"}]


def test_the_result_names_the_model_files_that_the_worker_had_when_the_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = MemoryJobStore(), tmp_path / "ComfyUI/models/vae/a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 7)
    shelf = ModelShelf(store, WorkerSettings.read(comfyui_dir=tmp_path / "ComfyUI"))
    shelf._look()

    def a_run_while_which_the_file_is_replaced(*_: object, **__: object) -> Rendered:
        file.write_bytes(b"x" * 8)
        shelf._look()
        picture = make_picture(tmp_path / "a.png")
        return Rendered(
            outputs=(LocalOutput(path=picture, node_id="9", filename="a.png"),),
            graph=GRAPH,
            changes=(),
            fitted=Optimized(graph={}, outcomes=()),
        )

    monkeypatch.setattr(attempts, "render", a_run_while_which_the_file_is_replaced)
    publisher = S3Publisher(FolderStorage(tmp_path / "s3"))
    parts = attempts.Parts(
        name="w1",
        store=store,
        keeper=LeaseKeeper(store, renew_s=3, lease_s=15),
        comfy=MagicMock(),
        tailor=MagicMock(),
        inputs=MagicMock(),
        publisher=publisher,
        kept=KeptRenders(tmp_path / "kept", limit_bytes=1000),
        hold_limit_s=60,
        scratch=tmp_path / "scratch",
        facts=dict,
        renew_s=3,
        sizes_of=shelf.sizes_of,
    )
    (job,) = store.submit([a_job(requirements={"models": MODELS})])

    outcome = attempts.attempt(job.job_id, parts, announce=lambda _: None)

    publisher.close()
    result = store.get(job.job_id).result
    assert (outcome, result and result.model_bytes) == ("succeeded", {"vae/a.safetensors": 7})
