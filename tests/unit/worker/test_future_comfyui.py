"""A worker over a ComfyUI from the future: its canary decides, and what it found stands in the status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy.canary.waiting import CanaryLimits
from farm.job import JobState
from farm.status.not_fetching import NotFetching
from farm.status.proof import ProofVerdict
from farm.status.worker import WorkerStatus
from tests.support.emulator_thread import EmulatorThread
from tests.support.valkey import eventually
from tests.support.whole_worker import WholeWorker
from worker.comfyui import supervisor

# Some of each kind; `tests/integration/comfy/test_canary.py` has all ways in which one may differ.
NEEDED = {"refused_id": "post", "no_route=/history": "history"}
INFORMING = {"other_messages": "events", "ignores_cancel": "cancel_running"}

Start = Callable[..., WholeWorker]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a worker over a server that differs in these ways; returns once its canary is back."""
    made: list[WholeWorker | EmulatorThread] = []
    limits = CanaryLimits(queue_s=60.0, run_s=6.0, answer_s=3.0)
    monkeypatch.setattr(supervisor, "_CANARY_LIMITS", limits)

    def begin(*ways: str, **settings: Any) -> WholeWorker:
        server = EmulatorThread(tmp_path / "comfyui", "--future", *ways)
        made.append(server)
        whole = WholeWorker(server, tmp_path, **settings)
        made.append(whole)
        whole.worker.start()
        whole.worker.open()
        eventually(lambda: whole.says(lambda it: it.canary is not None and it.proof is not None))
        return whole

    yield begin
    for each in reversed(made):
        each.worker.stop() if isinstance(each, WholeWorker) else each.close()


def status_of(whole: WholeWorker) -> WorkerStatus:
    status = whole.status
    assert status is not None
    return status


@pytest.mark.parametrize(("way", "trait"), NEEDED.items(), ids=NEEDED)
def test_a_worker_fetches_nothing_for_a_comfyui_that_cannot_do_what_jobs_need(
    start: Start, way: str, trait: str
) -> None:
    whole = start("version", way)

    status = status_of(whole)
    assert status.canary is not None
    assert status.canary.verdict == "unusable"
    assert NotFetching.CANARY_FAILED in status.not_fetching
    assert not whole.gate.may_fetch(reserved=0)
    failed = {each.trait: each for each in status.canary.traits if each.seen == "failed"}
    assert failed[trait].needed
    assert status.trouble is not None
    assert f"{trait}: expected {failed[trait].expected}; came {failed[trait].came}" in status.trouble


@pytest.mark.parametrize(("way", "trait"), INFORMING.items(), ids=INFORMING)
def test_what_only_informs_leaves_the_mode_unproven_and_jobs_run(start: Start, way: str, trait: str) -> None:
    whole = start(way)

    eventually(lambda: whole.says(lambda it: not it.not_fetching))
    status = status_of(whole)
    assert status.canary is not None
    assert status.canary.verdict == "unproven"
    assert trait in {each.trait for each in status.canary.traits if each.seen == "failed"}
    assert status.proof is not None
    assert status.proof.verdict is ProofVerdict.UNPROVEN
    assert any(what.startswith(f"{trait}: ") for what in status.proof.unproven)
    job_id = whole.submit()
    assert whole.work_on(job_id) == "succeeded"
    assert whole.store.get(job_id).state is JobState.SUCCEEDED


def test_a_strict_worker_takes_no_job_in_a_mode_that_is_unproven(start: Start) -> None:
    whole = start("other_messages", strict=True)

    eventually(lambda: whole.says(lambda it: NotFetching.NOT_PROVEN in it.not_fetching))
    assert NotFetching.CANARY_FAILED not in whole.gate.closed_for
    assert not whole.gate.may_fetch(reserved=0)


def test_a_newer_comfyui_that_only_says_more_is_worked_with(start: Start) -> None:
    whole = start("version=0.99.0", "more_fields", "more_messages")

    eventually(lambda: whole.says(lambda it: not it.not_fetching))
    status = status_of(whole)
    assert status.canary is not None
    assert status.canary.verdict == "proven", status.canary.sentence
    assert status.canary.sentence.startswith("ComfyUI 0.99.0: protocol as 0.33.0, being newer than")
    assert whole.work_on(whole.submit()) == "succeeded"


def test_a_worker_that_need_not_heed_its_canary_tries_all_the_same(start: Start) -> None:
    whole = start("no_types", canary_required=False)

    eventually(lambda: whole.says(lambda it: not it.not_fetching))
    status = status_of(whole)
    assert status.canary is not None
    assert status.canary.verdict == "unusable"
    assert status.trouble is None
    assert status.proof is not None
    assert any(what.startswith("temp: ") for what in status.proof.unproven)
