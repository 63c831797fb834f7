"""Finished files that wait for the storage: whole or not at all, within a budget, for one job only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from comfy.rewrites.optimize import Optimized
from farm.job import JobState
from farm.status.not_fetching import NotFetching
from farm.store.base import Claim
from farm.store.codec import spec_digests
from farm.testing import MemoryJobStore
from tests.support.jobs import OTHER, a_job, a_result, an_error, claimed
from worker.fetching.gate import Gate
from worker.results.publish import LocalOutput
from worker.results.rendered import Rendered
from worker.results.republish import Republisher
from worker.results.retained import RetainedRenders
from worker.results.storage_watch import StorageWatch

LIMIT = 1000
NOW_S = time.time()  # by the store's clock


def a_render(folder: Path, content: bytes = b"a clip") -> Rendered:
    folder.mkdir(exist_ok=True)
    clip = folder / "clip.mp4"
    clip.write_bytes(content)
    return Rendered(
        outputs=(LocalOutput(path=clip, node_id="61", filename=clip.name),),
        graph={"1": {"class_type": "SaveVideo", "inputs": {"x": float("inf")}}},
        changes=(),
        fitted=Optimized(graph={}, outcomes=()),
    )


@pytest.fixture
def store() -> MemoryJobStore:
    return MemoryJobStore()


@pytest.fixture
def claim(store: MemoryJobStore) -> Claim:
    job_id = store.submit([a_job()])[0].job_id
    return claimed(store, job_id)


@pytest.fixture
def retained(tmp_path: Path) -> RetainedRenders:
    return RetainedRenders(tmp_path / "retained", limit_bytes=LIMIT)


def test_what_is_kept_is_found_again_by_the_next_process(
    retained: RetainedRenders, claim: Claim, tmp_path: Path
) -> None:
    assert retained.keep(claim, a_render(tmp_path / "output"), {"name": "w1"}, now_s=NOW_S)

    found = RetainedRenders(tmp_path / "retained", limit_bytes=LIMIT).find(claim.job_id, claim.spec)

    assert found is not None
    assert (found.attempt, found.worker) == (1, {"name": "w1"})
    assert found.rendered.outputs[0].path.read_bytes() == b"a clip"
    assert found.rendered.outputs[0].filename == "clip.mp4"
    assert not (tmp_path / "output" / "clip.mp4").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"a clap"),
        lambda path: path.write_bytes(b"a cl"),
        lambda path: path.unlink(),
    ],
    ids=["changed", "cut short", "gone"],
)
def test_files_that_are_not_whole_are_dropped(
    retained: RetainedRenders, claim: Claim, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    retained.keep(claim, a_render(tmp_path / "output"), {}, now_s=NOW_S)
    spoil(next((tmp_path / "retained" / claim.token).glob("*.mp4")))

    assert retained.find(claim.job_id, claim.spec) is None
    assert retained.all() == []


def test_files_of_another_spec_are_not_this_jobs_result(
    retained: RetainedRenders, claim: Claim, tmp_path: Path
) -> None:
    retained.keep(claim, a_render(tmp_path / "output"), {}, now_s=NOW_S)

    assert retained.find(claim.job_id, replace(claim.spec, graph={"2": {}})) is None


def test_what_an_older_worker_kept_under_the_jobs_id_is_found_and_forgotten(
    retained: RetainedRenders, claim: Claim, tmp_path: Path
) -> None:
    retained.keep(claim, a_render(tmp_path / "output"), {}, now_s=NOW_S)
    old = (tmp_path / "retained" / claim.token).rename(tmp_path / "retained" / claim.job_id)
    note = json.loads((old / "kept.json").read_text())
    del note["token"]
    note["spec_digest"] = spec_digests(claim.spec)[1]
    assert "kept_at" in note  # as workers before this version wrote it
    (old / "kept.json").write_text(json.dumps(note))

    restarted = RetainedRenders(tmp_path / "retained", limit_bytes=LIMIT)
    found = restarted.find(claim.job_id, claim.spec)
    assert found is not None
    restarted.forget(found.token)

    assert not old.exists()


def test_forgetting_one_attempt_spares_the_files_of_another_of_the_same_number(
    retained: RetainedRenders, claim: Claim, tmp_path: Path
) -> None:
    retained.keep(claim, a_render(tmp_path / "output"), {}, now_s=NOW_S)

    retained.forget(OTHER)

    assert retained.find(claim.job_id, claim.spec) is not None


def test_there_is_no_more_room_than_the_limit_says(
    retained: RetainedRenders, claim: Claim, tmp_path: Path
) -> None:
    assert not retained.keep(claim, a_render(tmp_path / "large", b"x" * (LIMIT + 1)), {}, now_s=NOW_S)
    assert retained.keep(claim, a_render(tmp_path / "small", b"x" * (LIMIT // 2)), {}, now_s=NOW_S)

    assert retained.full
    other = replace(claim, job_id="another-job-id", token=OTHER)
    assert not retained.keep(other, a_render(tmp_path / "second", b"x" * (LIMIT // 2 + 1)), {}, now_s=NOW_S)


def test_a_half_put_away_render_is_cleared(claim: Claim, tmp_path: Path) -> None:
    folder = tmp_path / "retained" / claim.token
    folder.mkdir(parents=True)
    (folder / "0-clip.mp4").write_bytes(b"a cl")

    assert RetainedRenders(tmp_path / "retained", limit_bytes=LIMIT).all() == []
    assert not folder.exists()


class Scene:
    """A republisher whose storage and publisher are the test's."""

    def __init__(
        self, retained: RetainedRenders, store: MemoryJobStore, *, hold_limit_s: float = 3600.0
    ) -> None:
        self.published: list[str] = []
        self.gate = Gate()
        self.gate.open(NotFetching.STARTING)
        self.loop = Republisher(
            "w1",
            retained,
            store,
            StorageWatch("w1", self.gate, store, retained),
            ask_storage=lambda: None,
            publish=self.published.append,
            hold_limit_s=hold_limit_s,
        )


def on_hold(
    store: MemoryJobStore, retained: RetainedRenders, claim: Claim, folder: Path, size: int = 10
) -> None:
    retained.keep(claim, a_render(folder, b"x" * size), {}, now_s=NOW_S)
    store.put_on_hold(claim.job_id, claim.attempt, an_error(), hold_s=60.0)


def test_what_waits_is_published_when_the_storage_answers(
    retained: RetainedRenders, store: MemoryJobStore, claim: Claim, tmp_path: Path
) -> None:
    on_hold(store, retained, claim, tmp_path / "output")
    scene = Scene(retained, store)

    scene.loop.hold()
    scene.loop.publish()

    assert scene.published == [claim.job_id]


def test_files_of_a_job_that_ended_otherwise_are_removed(
    retained: RetainedRenders, store: MemoryJobStore, claim: Claim, tmp_path: Path
) -> None:
    retained.keep(claim, a_render(tmp_path / "output"), {}, now_s=NOW_S)
    store.succeed(claim.job_id, claim.attempt, a_result())

    Scene(retained, store).loop.hold()

    assert retained.all() == []


def test_a_job_is_let_go_when_it_was_held_for_long_enough(
    retained: RetainedRenders, store: MemoryJobStore, claim: Claim, tmp_path: Path
) -> None:
    on_hold(store, retained, claim, tmp_path / "output")
    scene = Scene(retained, store, hold_limit_s=0.0)

    scene.loop.hold()
    scene.loop.publish()
    store.sweep()

    assert scene.published == []
    assert isinstance(store.claim(claim.job_id, worker="w2"), Claim)
    assert store.get(claim.job_id).state is JobState.RUNNING


def test_files_are_held_by_the_stores_clock_whatever_that_of_the_worker_says(
    retained: RetainedRenders,
    store: MemoryJobStore,
    claim: Claim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_hold(store, retained, claim, tmp_path / "output")
    scene = Scene(retained, store)
    monkeypatch.setattr(store, "_clock", lambda: NOW_S + 60.0)
    monkeypatch.setattr(time, "time", lambda: NOW_S + 7200.0)

    scene.loop.hold()
    scene.loop.publish()

    assert scene.published == [claim.job_id]


def test_files_that_an_attempt_publishes_stay_until_it_has_ended(
    retained: RetainedRenders, store: MemoryJobStore, claim: Claim, tmp_path: Path
) -> None:
    retained.keep(claim, a_render(tmp_path / "output"), {}, now_s=NOW_S - 8000.0)
    scene = Scene(retained, store)

    scene.loop.hold()
    assert retained.find(claim.job_id) is not None

    store.release(claim.job_id, claim.attempt, reason="drain")
    scene.loop.hold()
    assert retained.find(claim.job_id) is None


def test_the_gate_is_closed_while_too_much_waits(
    retained: RetainedRenders, store: MemoryJobStore, claim: Claim, tmp_path: Path
) -> None:
    on_hold(store, retained, claim, tmp_path / "output", size=LIMIT // 2)
    scene = Scene(retained, store)

    scene.loop.hold()
    scene.loop.publish()
    assert scene.gate.closed_for == {NotFetching.STORAGE_AWAY}
    retained.forget(claim.token)
    scene.loop.hold()
    scene.loop.publish()

    assert not scene.gate.closed_for
