"""An attempt from its claim to its outcome, on an emulator in a thread or with a render that is made up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from comfy.doctor.report import Phase, Status
from comfy.doctor.times import CardUse
from comfy.rewrites.optimize import Optimized
from farm.errors import StorageUnavailable
from farm.job import ErrorKind, EventKind, JobResult, JobState, queue_for
from farm.reports import report_in
from farm.settings.worker import WorkerSettings
from farm.status.worker import WorkerFacts, WorkerStatus
from farm.store.base import Claim, LeaseAnswer, StoreLimits
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.clips import make_picture
from tests.support.emulator_thread import EmulatorThread
from tests.support.jobs import GRAPH, a_job
from tests.support.valkey import eventually
from tests.support.whole_farm import a_clip
from tests.support.worker_here import WorkerHere
from worker.comfyui.folders import open_folders
from worker.jobs import attempt as attempts
from worker.jobs import tries
from worker.jobs.context import AloneOnGpu, AttemptContext, RenderContext
from worker.jobs.lease import LeaseKeeper
from worker.jobs.names import run_folder
from worker.plan.fallback import FallbackStep
from worker.results.publish import LocalOutput, Publisher
from worker.results.rendered import Rendered
from worker.results.retained import RetainedRenders
from worker.service.model_shelf import ModelShelf

MODELS = [{"folder": "vae", "name": "a.safetensors"}, {"folder": "vae", "name": "elsewhere.safetensors"}]


def context_of(store: MemoryJobStore, publisher: Publisher, folder: Path, **others: Any) -> AttemptContext:
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
        "hooks": MagicMock(
            facts=WorkerFacts,
            machine_trouble=lambda: None,
            sizes_of=lambda _files: {},
            drains=lambda _s: False,
        ),
        "renew_s": 3,
        "inputs_time_s": 600.0,
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

    monkeypatch.setattr(tries, "render", a_run_while_which_the_file_is_replaced)
    publisher = Publisher(FolderStorage(tmp_path / "s3"))
    hooks = MagicMock(facts=WorkerFacts, sizes_of=shelf.sizes_of)
    context = context_of(store, publisher, tmp_path, hooks=hooks)
    (job,) = store.submit([a_job(requirements={"models": MODELS})])

    outcome = attempts.attempt(job.job_id, context, announce=lambda _: None, turn=AloneOnGpu())

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
        self.publisher = Publisher(self.storage)
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
        return attempts.attempt(job_id, context, announce=lambda _: None, turn=AloneOnGpu())

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
    monkeypatch.setattr(tries, "render", made.render)
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


@pytest.fixture
def here(emulator_thread: EmulatorThread, tmp_path: Path) -> Iterator[WorkerHere]:
    made = WorkerHere(emulator_thread, MemoryJobStore(StoreLimits(lease_s=2.0)), tmp_path)
    yield made
    made.close()


def submitted(worker: WorkerHere, **fields: Any) -> str:
    (job,) = worker.store.submit([a_job(graph=a_clip(), **fields)])
    return job.job_id


def while_it_samples(worker: WorkerHere, job_id: str, act: Callable[[], object]) -> str:
    """Work on the job, and do that in the middle of it; what became of the job."""
    worker.comfy.server.misbehave("slow", factor=100.0)

    def wait() -> None:
        eventually(lambda: "sample_high" in worker.phases)
        act()

    acting = threading.Thread(target=wait)
    acting.start()
    outcome = worker.work_on(job_id)
    acting.join()
    return outcome


def stored_files(worker: WorkerHere, job_id: str) -> set[str]:
    return {found.key for found in worker.storage.list(worker.storage.keys.job_prefix(job_id))}


def fallbacks_told(worker: WorkerHere, job_id: str) -> list[str]:
    events = worker.store.events(job_id)
    return [event.data["fallback_step"] for event in events if "fallback_step" in event.data]


def test_a_job_becomes_a_stored_clip_with_its_manifest_and_leaves_nothing_else(here: WorkerHere) -> None:
    job_id = submitted(here)

    assert here.work_on(job_id) == "succeeded"

    record = here.store.get(job_id)
    assert record.result is not None
    manifest = json.loads(here.storage.read_bytes(record.result.manifest_key))
    assert (record.state, record.attempts_failed) == (JobState.SUCCEEDED, 0)
    assert stored_files(here, job_id) >= {record.result.artifacts[0].key, record.result.manifest_key}
    assert manifest["worker"]["name"] == "w1"
    assert {"queue", "prepare", "comfy", "collect", "publish", "attempt"} <= set(record.result.timings_s)
    assert (here.hooks.successes, len(here.hooks.rendered), here.hooks.renders_ended) == (1, 1, 1)
    assert not list((here.comfy.server.output / "jobs").iterdir())
    assert here.phases[-1] == "publishing"


def test_a_finished_job_carries_a_report_whose_phases_add_up_to_its_time(here: WorkerHere) -> None:
    job_id = submitted(here)

    here.work_on(job_id)

    record = here.store.get(job_id)
    report = report_in(record)
    assert report is not None
    assert record.result is not None
    assert here.hooks.reports == [report]
    (prompt,) = report.prompts
    whole = record.result.timings_s["queue"] + record.result.timings_s["attempt"]
    assert prompt.wall_s == pytest.approx(whole)
    assert sum(phase.seconds for phase in prompt.phases) == pytest.approx(whole, abs=0.01)
    assert {phase.phase for phase in prompt.phases} >= {Phase.WAITING, Phase.SAVING, Phase.PUBLISHING}
    assert report.server.vram_state == "NORMAL_VRAM"
    assert report.findings == ()


def test_what_the_doctor_finds_is_told_to_those_who_follow_the_job(
    here: WorkerHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "lora key not loaded: blocks.0.self_attn.q.lora_A.weight"
    monkeypatch.setattr(here.hooks, "printed_for", lambda *_when: ["got prompt", line])
    job_id = submitted(here)

    here.work_on(job_id)

    told = [event.data for event in here.store.events(job_id) if event.kind is EventKind.FINDING]
    assert "lora-not-loaded" in [data["code"] for data in told]
    assert [finding.id for report in here.hooks.reports for finding in report.findings] == ["lora-not-loaded"]


def test_what_was_seen_of_the_card_meanwhile_is_in_the_report(here: WorkerHere) -> None:
    here.hooks.card_use = CardUse(
        looks=20, shared=20, others_bytes=6 * 2**30, slowed=0, slowed_by="", hottest_c=70
    )
    job_id = submitted(here)

    here.work_on(job_id)

    assert [finding.id for report in here.hooks.reports for finding in report.findings] == ["gpu-shared"]


def test_a_doctor_that_fails_costs_no_result(here: WorkerHere, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_given: object) -> list[str]:
        raise RuntimeError("no lines")

    monkeypatch.setattr(here.hooks, "printed_for", fails)
    job_id = submitted(here)

    assert here.work_on(job_id) == "succeeded"
    record = here.store.get(job_id)
    assert record.result is not None
    assert record.result.report is None
    assert report_in(record) is not None  # of its seconds alone


def test_the_gpu_is_free_before_the_files_are_published(here: WorkerHere) -> None:
    job_id, stored_by_then = submitted(here), []

    class Watched(AloneOnGpu):
        def off_the_gpu(self) -> None:
            stored_by_then.append(list(here.storage.writes))

    attempts.attempt(job_id, here.context, announce=lambda _: None, turn=Watched())

    assert stored_by_then == [[]]


def test_a_node_that_fails_is_told_with_its_error_and_what_comfyui_printed(here: WorkerHere) -> None:
    here.comfy.server.misbehave("raise", node="VAEDecode", error="ValueError", message="no luck")
    job_id = submitted(here)

    assert here.work_on(job_id) == "failed"

    error = here.store.get(job_id).error
    assert error is not None
    assert (error.code, error.kind, error.node_type) == ("node_failed", ErrorKind.JOB, "VAEDecode")
    assert here.hooks.failures == ["node_failed"]
    assert any("printed" in str(event.data) for event in here.store.events(job_id))
    assert not stored_files(here, job_id)


def test_a_job_that_failed_carries_a_report_too_and_its_findings_are_counted(
    here: WorkerHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.comfy.server.misbehave("raise", node="VAEDecode", error="ValueError", message="no luck")
    printed = ["got prompt", "Requested to load WAN21", "!!! Exception during processing !!! no luck"]
    monkeypatch.setattr(here.hooks, "printed_for", lambda *_when: printed)
    job_id = submitted(here)

    assert here.work_on(job_id) == "failed"

    record = here.store.get(job_id)
    report = report_in(record)
    assert report is not None
    assert here.hooks.reports == [report]
    (prompt,) = report.prompts
    assert (prompt.status, prompt.error) == (Status.FAILED, "no luck")
    assert "prompt-failed" in report.seconds_lost()
    assert prompt.wall_s is not None
    assert sum(phase.seconds for phase in prompt.phases) == pytest.approx(prompt.wall_s, abs=0.01)


def test_a_job_that_never_had_the_card_carries_a_report_with_its_error(here: WorkerHere) -> None:
    loads = {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
    (job,) = here.store.submit([a_job(graph=loads, inputs={"1.image": "s3://no-such/inputs/a.png"})])

    here.work_on(job.job_id)

    record = here.store.get(job.job_id)
    report = report_in(record)
    assert report is not None
    assert record.error is not None
    assert report.prompts[-1].status is Status.FAILED
    assert report.prompts[-1].error == record.error.message[:300]


def test_a_decode_that_runs_out_of_memory_is_done_in_tiles_within_the_attempt(here: WorkerHere) -> None:
    here.comfy.server.misbehave("raise", node="VAEDecode", error="cuda_oom", times=None)
    job_id = submitted(here)

    assert here.work_on(job_id) == "succeeded"

    assert here.comfy.fallbacks == [FallbackStep.FREE, FallbackStep.TILED]
    assert fallbacks_told(here, job_id) == ["free", "tiled_decode"]
    result = here.store.get(job_id).result
    assert result is not None
    manifest = json.loads(here.storage.read_bytes(result.manifest_key))
    assert manifest["out_of_memory"] == ["free", "tiled_decode"]
    assert "VAEDecodeTiled" in {change["new"] for change in manifest["changes"]}
    assert not here.store.paces()  # a job that struggled for memory teaches nothing


def test_a_job_that_is_too_large_for_the_card_goes_to_a_larger_one(here: WorkerHere) -> None:
    for name, gib in (("w1", 24), ("w2", 48)):
        here.store.put_worker(WorkerStatus(name=name, vram_gib=gib), ttl_s=60)
    here.comfy.server.misbehave("raise", node="KSamplerAdvanced", error="cuda_oom", times=None)
    job_id = submitted(here)

    assert here.work_on(job_id) == "queued"

    record = here.store.get(job_id)
    assert record.queue == queue_for(32)
    assert fallbacks_told(here, job_id) == ["free", "larger_class"]
    assert record.error is not None
    assert record.error.details["fallback_steps"] == ["free", "larger_class"]


def test_a_cancel_ends_the_run_and_the_job(here: WorkerHere) -> None:
    job_id = submitted(here)

    outcome = while_it_samples(here, job_id, lambda: here.store.cancel(job_id))

    assert (outcome, here.store.get(job_id).state) == ("canceled", JobState.CANCELED)
    eventually(lambda: here.comfy.server.is_idle)
    assert not stored_files(here, job_id)
    assert not here.hooks.failures


def test_a_job_whose_comfyui_died_waits_for_another_try(here: WorkerHere) -> None:
    job_id = submitted(here)

    assert while_it_samples(here, job_id, here.comfy.die) == "queued"

    record = here.store.get(job_id)
    assert record.error is not None
    assert (record.error.code, record.attempts_failed) == ("comfy_died", 1)
    assert here.hooks.failures == ["comfy_died"]


@pytest.mark.parametrize("how", ["truncate", "empty", "delete"])
def test_a_spoilt_output_is_never_published_and_its_job_waits_for_another_try(
    here: WorkerHere, how: str
) -> None:
    here.comfy.server.misbehave("spoil_output", how=how)
    job_id = submitted(here)

    assert here.work_on(job_id) == "queued"

    record = here.store.get(job_id)
    assert record.error is not None
    assert (record.error.code, record.attempts_failed) == ("broken_output", 1)
    assert not stored_files(here, job_id)


def test_a_worker_whose_lease_was_lost_stores_nothing_and_ends_the_run(here: WorkerHere) -> None:
    job_id = submitted(here)

    def lose() -> None:
        here.store.release(job_id, 1, reason="a test", token=here.store.get(job_id).token or "")
        assert isinstance(here.store.claim(job_id, worker="w2"), Claim)

    assert while_it_samples(here, job_id, lose) == "lost"

    record = here.store.get(job_id)
    assert (record.state, record.worker, record.attempt) == (JobState.RUNNING, "w2", 2)
    eventually(lambda: here.comfy.server.is_idle)
    assert not stored_files(here, job_id)


def test_files_that_the_storage_refuses_wait_here_and_are_published_without_another_render(
    here: WorkerHere,
) -> None:
    job_id = submitted(here)
    here.storage.broken = StorageUnavailable("folder", "unplugged")

    assert here.work_on(job_id) == "queued"

    record = here.store.get(job_id)
    assert record.error is not None
    assert (record.error.code, record.attempts_failed) == ("storage_unavailable", 0)
    assert here.retained.find(job_id) is not None
    here.storage.broken = None
    outcome = attempts.attempt(
        job_id, here.context, announce=lambda _: None, turn=AloneOnGpu(), only_publish=True
    )
    assert outcome == "succeeded"
    assert (len(here.hooks.rendered), here.retained.all()) == (1, [])


def test_a_job_without_files_here_is_given_back_by_who_only_publishes(here: WorkerHere) -> None:
    job_id = submitted(here)

    outcome = attempts.attempt(
        job_id, here.context, announce=lambda _: None, turn=AloneOnGpu(), only_publish=True
    )

    assert (outcome, here.store.get(job_id).state) == ("given back", JobState.QUEUED)


def test_a_message_of_a_job_that_waits_no_more_is_dropped(here: WorkerHere) -> None:
    job_id = submitted(here)
    here.store.cancel(job_id)

    assert here.work_on(job_id) == "dropped: not_queued"
