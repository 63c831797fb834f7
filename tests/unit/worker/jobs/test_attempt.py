"""What an attempt tells of its render, with a ComfyUI that is only its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from comfy.rewrites import Optimized
from farm.job import JobResult
from farm.settings import WorkerSettings
from farm.status.worker import WorkerFacts
from farm.store.base import Claim, LeaseAnswer
from farm.testing import (
    FolderStorage,
    MemoryJobStore,
)
from tests.support.clips import make_picture
from tests.support.jobs import GRAPH, a_job
from worker.comfyui.folders import open_folders
from worker.jobs import attempt as attempts
from worker.jobs.context import AttemptContext, RenderContext
from worker.jobs.lease import LeaseKeeper
from worker.jobs.names import run_folder
from worker.results.publish import LocalOutput, S3Publisher
from worker.results.rendered import Rendered
from worker.results.retained import RetainedRenders
from worker.service.model_shelf import ModelShelf

MODELS = [{"folder": "vae", "name": "a.safetensors"}, {"folder": "vae", "name": "elsewhere.safetensors"}]


def context_of(store: MemoryJobStore, publisher: S3Publisher, folder: Path, **others: Any) -> AttemptContext:
    """A worker on that folder, whose parts are the test's as far as it names them."""
    given: dict[str, Any] = {
        "name": "w1",
        "keeper": LeaseKeeper(store, renew_s=3, lease_s=15),
        "comfy": MagicMock(),
        "fitter": MagicMock(),
        "inputs": MagicMock(),
        "retained": RetainedRenders(folder / "retained", limit_bytes=1000),
        "hold_limit_s": 60,
        "scratch": folder / "scratch",
        "hooks": MagicMock(facts=WorkerFacts, machine_trouble=lambda: None, sizes_of=lambda _files: {}),
        "renew_s": 3,
        "previews": False,
        "prompt_metadata": False,
    }
    return AttemptContext(store=store, publisher=publisher, **{**given, **others})


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
    hooks = MagicMock(facts=WorkerFacts, sizes_of=shelf.sizes_of)
    context = context_of(store, publisher, tmp_path, hooks=hooks)
    (job,) = store.submit([a_job(requirements={"models": MODELS})])

    outcome = attempts.attempt(job.job_id, context, announce=lambda _: None, off_the_gpu=lambda: None)

    publisher.close()
    result = store.get(job.job_id).result
    assert (outcome, result and result.model_bytes) == ("succeeded", {"vae/a.safetensors": 7})


class ForgotTheClaim(MemoryJobStore):
    """As a Redis that came back with older data: it gave the number to another claim, and takes no result."""

    def succeed(self, job_id: str, attempt: int, result: JobResult, *, token: str = "") -> LeaseAnswer:
        del job_id, attempt, result, token
        return LeaseAnswer.LOST


class OneWorker:
    """A worker's disk and a bucket on which two holders of one attempt's number work at once."""

    def __init__(self, folder: Path) -> None:
        self.storage = FolderStorage(folder / "s3")
        self.publisher = S3Publisher(self.storage)
        self.folders, self._lock = open_folders(folder / "worker", holder="w1")
        self.inputs = MagicMock()
        self._folder = folder
        self.claims: list[Claim] = []
        self.in_the_middle: Callable[[], object] = lambda: None  # of the next render

    def close(self) -> None:
        self.publisher.close()
        self._lock.release()

    def attempt(self, store: MemoryJobStore, job_id: str) -> str:
        comfy = MagicMock(clean=self.folders.clean)
        context = context_of(store, self.publisher, self._folder, comfy=comfy, inputs=self.inputs)
        return attempts.attempt(job_id, context, announce=lambda _: None, off_the_gpu=lambda: None)

    def files_of(self, claim: Claim) -> list[Path]:
        folders = (self.folders.output, self.folders.temp, self._folder / "scratch")
        return [folder / run_folder(claim) / "a.png" for folder in folders]

    def render(self, context: RenderContext) -> Rendered:
        claim = context.claim
        self.claims.append(claim)
        for path in self.files_of(claim):
            path.parent.mkdir(parents=True)
            make_picture(path)
        then, self.in_the_middle = self.in_the_middle, lambda: None
        then()
        return Rendered(
            outputs=(LocalOutput(path=self.files_of(claim)[0], node_id="9", filename="a.png"),),
            graph=GRAPH,
            changes=(),
            fitted=Optimized(graph={}, outcomes=()),
        )


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OneWorker]:
    made = OneWorker(tmp_path)
    monkeypatch.setattr(attempts, "render", made.render)
    yield made
    made.close()


def two_stores(job_id: str) -> tuple[MemoryJobStore, MemoryJobStore]:
    """The one that counts, and one whose claim is forgotten; both give the number 1."""
    stores = MemoryJobStore(), ForgotTheClaim()
    for store in stores:
        store.submit([a_job(job_id=job_id)])
    return stores


def test_the_clean_up_of_a_claim_that_lost_removes_nothing_of_the_winners(worker: OneWorker) -> None:
    winners, losers = two_stores("one-number")
    seen: list[bool] = []

    def lose() -> None:
        assert worker.attempt(losers, "one-number") == "lost"
        seen.extend(path.exists() for path in worker.files_of(worker.claims[0]))

    worker.in_the_middle = lose
    outcome = worker.attempt(winners, "one-number")

    winner, loser = worker.claims
    assert (winner.attempt, loser.attempt) == (1, 1)
    assert (outcome, seen) == ("succeeded", [True, True, True])
    assert not any(path.exists() for claim in worker.claims for path in worker.files_of(claim))
    assert {call.args for call in worker.inputs.release.call_args_list} == {(winner.token,), (loser.token,)}


def test_an_accepted_result_outlives_the_clean_up_of_the_other_holder_of_its_number(
    worker: OneWorker,
) -> None:
    winners, losers = two_stores("one-number")

    worker.in_the_middle = lambda: worker.attempt(winners, "one-number")
    assert worker.attempt(losers, "one-number") == "lost"

    record = winners.get("one-number")
    assert record.result is not None
    stored = {found.key for found in worker.storage.list(worker.storage.keys.job_prefix("one-number"))}
    assert stored == {record.result.artifacts[0].key, record.result.manifest_key}
    assert record.token is not None
    assert stored == {key for key in stored if f"/{record.token}/" in key}
