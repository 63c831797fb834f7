"""Jobs that go wrong, servers that misbehave, and people who change their minds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from farm.handle import Job
from farm.job import ErrorKind, EventKind, JobState, make_spec, new_job_id, queue_for
from farm.notifier import store_at
from farm.store.base import NewJob, Notification
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip, error_of, outcomes

# A run is a second long for those who want to do something to it meanwhile.
LONG = 60  # steps: three seconds


@pytest.mark.parametrize(
    "phase", ["posted", "start", "node", "step", "saved", "before_success", "before_end"]
)
def test_a_socket_dropped_at_any_phase_does_not_cost_the_job_a_second_run(
    farm: WholeFarm, worker: WorkerProcess, phase: str
) -> None:
    worker.misbehave("drop_socket", at=phase)

    job = farm.submit().wait(JOB_S)

    assert outcomes(job) == ["succeeded"]
    assert len(worker.runs(job.job_id)) == 1


def test_sockets_dropped_all_the_time_leave_polling(farm: WholeFarm, worker: WorkerProcess) -> None:
    worker.misbehave("drop_socket", at="step", times=None)

    job = farm.submit(a_clip(steps=12)).wait(JOB_S)

    assert len(worker.runs(job.job_id)) == 1


def test_a_lost_answer_to_the_post_does_not_run_the_job_twice(farm: WholeFarm, worker: WorkerProcess) -> None:
    # Longer than the client waits for an answer; the prompt is queued before.
    worker.misbehave("stall_http", seconds=7, path="/prompt")

    job = farm.submit(a_clip(steps=LONG)).wait(JOB_S)

    assert outcomes(job) == ["succeeded"]
    assert len(worker.runs(job.job_id)) == 1


def test_a_forgotten_history_does_not_cost_what_was_rendered(farm: WholeFarm, worker: WorkerProcess) -> None:
    worker.misbehave("mute", message="executing_null")
    worker.misbehave("forget_history", at="before_end")

    job = farm.submit().wait(JOB_S)

    assert outcomes(job) == ["succeeded"]
    assert len(worker.runs(job.job_id)) == 1
    assert farm.farm.storage.exists(job.result().main.key)


def test_a_run_answered_from_the_cache_with_a_file_that_is_gone_is_run_again(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    farm.submit().wait(JOB_S)
    worker.misbehave("serve_cached")

    job = farm.submit().wait(JOB_S)

    assert outcomes(job) == ["succeeded"]
    assert len(worker.runs(job.job_id)) == 2
    assert farm.farm.storage.exists(job.result().main.key)


def test_a_failed_job_keeps_the_last_lines_that_comfyui_printed_for_it(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    farm.submit().wait(JOB_S)
    worker.misbehave("raise", node="VAEDecode", error="value_error")

    job = farm.wait_final(farm.submit())

    lines = [event.data["line"] for event in job.events(live=False) if event.kind is EventKind.LOG]
    assert sum("Exception during processing" in line for line in lines) == 1
    assert sum("got prompt" in line for line in lines) == 1  # its own, not that of the job before


def test_a_truncated_clip_is_tried_again_and_then_failed_with_its_reason(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    worker.misbehave("spoil_output", times=None)

    job = farm.wait_final(farm.submit(max_attempts=2))

    assert job.state is JobState.FAILED
    assert outcomes(job) == ["failed", "failed"]
    error = error_of(job)
    assert error.code == "broken_output"
    assert ".mp4" in error.message
    assert farm.stored(job) == []


def test_a_rejected_graph_fails_at_once_and_names_node_and_input(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    graph = a_clip()
    graph["57"]["inputs"]["steps"] = -3

    job = farm.wait_final(unchecked(farm, graph))

    assert outcomes(job) == ["failed"]
    error = error_of(job)
    assert (error.kind, error.code, error.node_id) == (ErrorKind.JOB, "graph_rejected", "57")
    assert "steps" in error.message


def test_a_node_that_no_worker_has_is_a_fault_of_the_worker_and_is_told(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    graph = a_clip()
    graph["60"]["class_type"] = "NodeOfAnotherFarm"

    job = farm.wait_final(unchecked(farm, graph, max_attempts=2))

    assert outcomes(job) == ["failed"]
    error = error_of(job)
    assert error.kind is ErrorKind.UNSUITABLE
    assert "NodeOfAnotherFarm" in error.message
    assert worker.name in error.message


def test_a_failed_job_that_is_retried_succeeds(farm: WholeFarm, worker: WorkerProcess) -> None:
    worker.misbehave("raise", node="VAEDecode", error="value_error")
    job = farm.wait_final(farm.submit())

    job.retry()

    assert job.wait(JOB_S).record.attempts_failed == 0
    assert job.record.attempt == 2
    assert job.result().main.key.endswith(".mp4")


def test_a_canceled_job_that_waited_is_never_run(farm: WholeFarm, worker: WorkerProcess) -> None:
    first = farm.sampling(LONG)
    waiting = farm.submit()

    state = waiting.cancel(reason="changed my mind")

    assert state is JobState.CANCELED
    first.wait(JOB_S)
    farm.submit().wait(JOB_S)
    assert waiting.refresh().state is JobState.CANCELED
    assert worker.runs(waiting.job_id) == []


def test_a_canceled_running_job_frees_the_gpu_for_the_next_one(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    running = farm.sampling(100)
    neighbour = farm.submit()

    running.cancel()

    farm.wait_state(running, JobState.CANCELED)
    neighbour.wait(JOB_S)
    assert outcomes(neighbour) == ["succeeded"]
    assert len(worker.runs(neighbour.job_id)) == 1
    assert farm.stored(running) == []
    assert "succeeded" not in farm.states(running)


def test_a_canceled_job_whose_node_does_not_yield_costs_a_restart_and_no_neighbour(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    worker.misbehave("hang", at="step")
    stuck = farm.submit(a_clip(steps=LONG))
    farm.wait_phase(stuck, "sample_high")
    neighbour = farm.submit()

    stuck.cancel()

    farm.wait_state(stuck, JobState.CANCELED)
    neighbour.wait(JOB_S)
    assert outcomes(neighbour) == ["succeeded"]


def test_a_job_whose_deadline_passes_while_it_waits_expires(farm: WholeFarm, worker: WorkerProcess) -> None:
    first = farm.sampling(LONG)

    late = farm.submit(deadline=datetime.now(UTC) + timedelta(seconds=0.5))

    farm.wait_state(late, JobState.EXPIRED)
    assert not first.refresh().state.final
    first.wait(JOB_S)
    assert worker.runs(late.job_id) == []


def test_a_message_announced_twice_runs_the_job_once(farm: WholeFarm, worker: WorkerProcess) -> None:
    job = farm.submit(a_clip(steps=10))
    notification = Notification(
        job_id=job.job_id, queue=job.record.queue, priority=5, title="again", front=False
    )

    store_at(farm.redis).notify([notification] * 5)

    job.wait(JOB_S)
    farm.submit().wait(JOB_S)
    assert len(worker.runs(job.job_id)) == 1
    assert outcomes(job) == ["succeeded"]


def test_a_job_submitted_twice_with_one_key_is_one_job(farm: WholeFarm, worker: WorkerProcess) -> None:
    graph, key = a_clip(), new_job_id()

    jobs = [farm.submit(graph, idempotency_key=key) for _ in range(3)]

    assert len({job.job_id for job in jobs}) == 1
    jobs[0].wait(JOB_S)
    assert len(worker.runs(jobs[0].job_id)) == 1


def unchecked(farm: WholeFarm, graph: dict[str, Any], **fields: Any) -> Job:
    """A job that went in when no worker lived, so nobody could check it against a server's nodes."""
    spec = make_spec({"graph": graph, **fields})
    new = NewJob(job_id=new_job_id(), spec=spec, queue=queue_for(spec.requirements.vram_gib))
    farm.farm.store.submit([new])
    job = farm.farm.get(new.job_id)
    eventually(lambda: job.refresh().state is not JobState.QUEUED or job.record.attempt > 0, within_s=JOB_S)
    return job
