"""A worker dies, or freezes for longer than its lease, at each seam of a job: the job succeeds exactly once.

The seams are made, not waited for: links to Valkey and S3 are held just there. Mid-sampling is in
`test_sudden_deaths`; `tests/chaos` strikes at any other moment.
"""

from __future__ import annotations

import contextlib
import io
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from PIL import Image

from farm.handle import Job
from farm.job import JobState
from farm.store.base import Drain
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.fleet import PICTURE
from tests.support.s3 import S3Server
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip, outcomes


@dataclass
class Stage:
    """Two workers: one that comes to harm, behind links of its own, and one that takes over when it may."""

    farm: WholeFarm
    redis: FaultProxy
    s3: FaultProxy
    other: WorkerProcess
    _victim: WorkerProcess | None = None

    @property
    def victim(self) -> WorkerProcess:
        """The one that comes to harm."""
        assert self._victim is not None
        return self._victim

    def cast(self) -> None:
        """A victim that lives, its links whole; the other one fetches nothing."""
        self.redis.mode = self.s3.mode = Mode.PASS
        self._let_other_fetch(drain=Drain.FINISH)
        if self._victim is None or self._victim.child.poll() is not None:
            self._victim = self.farm.start_worker(
                "victim",
                FARM_REDIS_URL=f"redis://127.0.0.1:{self.redis.port}/0",
                FARM_S3_ENDPOINT_URL=self.s3.url,
                FARM_FREEZE_TIMEOUT_S="60",
            )

    def take_over(self) -> None:
        """From now on the other one fetches."""
        self._let_other_fetch(drain=None)

    def succeeded_once(self, job: Job, *ends: str) -> None:
        """Its attempts ended so, and only the files of the accepted one are there."""
        record = job.wait(JOB_S).record
        assert outcomes(job) == list(ends)
        assert self.farm.states(job).count("succeeded") == 1
        assert self.farm.farm.storage.exists(job.result().main.key)
        assert f"/{record.token}/" in job.result().main.key

    def _let_other_fetch(self, *, drain: Drain | None) -> None:
        self.farm.farm.store.set_drain(self.other.name, drain)

        def obeyed() -> bool:
            return self.farm.says(self.other, lambda it: bool(it.not_fetching) is (drain is not None))

        eventually(obeyed, within_s=JOB_S)


@pytest.fixture(scope="module")
def whole_stage(
    tmp_path_factory: pytest.TempPathFactory, valkey_url: str, s3_server: S3Server
) -> Iterator[Stage]:
    port = int(valkey_url.rpartition(":")[2].partition("/")[0])
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(FaultProxy("127.0.0.1", each)) for each in (port, s3_server.port)]
        farm = WholeFarm(tmp_path_factory.mktemp("seams"), valkey_url, s3_server.settings(prefix="seams"))
        stack.callback(farm.close)
        yield Stage(farm=farm, redis=links[0], s3=links[1], other=farm.start_worker("other"))


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    """With a victim that lives."""
    whole_stage.cast()
    return whole_stage


def idle(stage: Stage, victim: WorkerProcess) -> Job:
    """Frozen while its pop is open: the message goes to a worker that will never read it."""
    victim.signal(signal.SIGSTOP)
    return stage.farm.submit()


def claimed(stage: Stage, victim: WorkerProcess) -> Job:
    """It has the job, and its ComfyUI has not taken the prompt."""
    victim.comfy().suspend()
    job = stage.farm.submit()
    stage.farm.wait_state(job, JobState.RUNNING)
    return job


def uploading(stage: Stage, victim: WorkerProcess) -> Job:
    """The first bytes are on their way, and none has arrived."""
    stage.s3.mode = Mode.BLACKHOLE
    job = stage.farm.submit(a_clip())
    stage.farm.wait_phase(job, "publishing")
    return job


def uploaded(stage: Stage, victim: WorkerProcess) -> Job:
    """All files are there, and the commit has not arrived."""
    job = uploading(stage, victim)
    stage.redis.mode = Mode.BLACKHOLE
    stage.s3.mode = Mode.PASS
    eventually(lambda: any(key.endswith("/manifest.json") for key in stage.farm.stored(job)), within_s=JOB_S)
    return job


def committed(stage: Stage, victim: WorkerProcess) -> Job:
    """The commit was carried out, and the worker has not heard of it."""
    stage.farm.submit().wait(JOB_S)  # Valkey has the script by now, so the next commit is one request
    job = stage.farm.submit()
    stage.redis.swallow_answer_to(f"jobs/{job.job_id}/".encode())
    stage.farm.wait_final(job)
    return job


Seam = Callable[[Stage, WorkerProcess], Job]


@pytest.mark.parametrize(
    ("seam", "ends"),
    [
        (idle, ("succeeded",)),
        (claimed, ("lost", "succeeded")),
        (uploading, ("lost", "succeeded")),
        (uploaded, ("lost", "succeeded")),
        (committed, ("succeeded",)),
    ],
)
def test_a_worker_that_is_killed_costs_no_job_and_makes_no_second_result(
    stage: Stage, seam: Seam, ends: tuple[str, ...]
) -> None:
    victim = stage.victim
    job = seam(stage, victim)

    victim.kill()

    victim.child.wait(JOB_S)
    stage.take_over()
    job.wait(JOB_S)
    # What the dead worker had sent arrives only now.
    stage.redis.mode = stage.s3.mode = Mode.PASS
    stage.succeeded_once(job, *ends)


def test_a_worker_that_was_cut_off_while_it_prepared_begins_no_run_of_a_job_that_another_has(
    stage: Stage,
) -> None:
    victim = stage.victim
    stage.s3.mode, asked = Mode.BLACKHOLE, stage.s3.bytes_asked
    job = stage.farm.submit(PICTURE, inputs={"1.image": _png()})
    stage.farm.wait_state(job, JobState.RUNNING)
    eventually(lambda: stage.s3.bytes_asked > asked, within_s=JOB_S)  # it has asked for the picture

    stage.redis.mode = Mode.BLACKHOLE

    stage.take_over()
    job.wait(JOB_S)
    stage.s3.mode = Mode.PASS  # the picture arrives, and Valkey is still away
    eventually(lambda: list((victim.folder / "inputs").rglob("*.png")), within_s=JOB_S)
    stage.redis.mode = Mode.PASS
    victim.told("lease_lost")
    assert victim.runs(job.job_id) == []
    stage.succeeded_once(job, "lost", "succeeded")


@pytest.mark.parametrize("seam", [uploading, uploaded])
def test_a_worker_that_wakes_up_after_its_lease_takes_back_what_it_stored(stage: Stage, seam: Seam) -> None:
    victim = stage.victim
    job = seam(stage, victim)

    victim.signal(signal.SIGSTOP)

    stage.take_over()
    job.wait(JOB_S)
    stage.redis.mode = stage.s3.mode = Mode.PASS
    victim.signal(signal.SIGCONT)
    stage.succeeded_once(job, "lost", "succeeded")
    eventually(lambda: stage.farm.holds_only_the_result_of(job), within_s=JOB_S)


def _png() -> bytes:
    """A picture."""
    data = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(data, "PNG")
    return data.getvalue()
