"""One job through the whole farm: everything that it makes is there, and nothing else stays."""

from __future__ import annotations

import io
import json
import urllib.request
from pathlib import Path

import av
import redis
from PIL import Image

from comfy.wan.templates import get_template
from farm.handle import Job
from farm.job import EventKind
from farm.status.proof import ProofVerdict
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip, outcomes


def test_a_job_becomes_a_playable_clip_with_poster_and_manifest(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    job = farm.farm.submit(
        template="wan22-t2v-a14b",
        parameters={"prompt": "a fox", "width": 64, "height": 80, "frames": 9, "steps": 4, "fps": 8},
        labels=["e2e"],
    )

    job.wait(JOB_S)

    result = job.result()
    clip = result.main
    assert clip.video is not None
    assert (clip.video.width, clip.video.height, clip.video.frames, clip.video.fps) == (64, 80, 9, 8.0)
    assert clip.media_type == "video/mp4"
    assert result.facts.emulated
    assert_plays(fetch(result.url()), frames=9)
    assert clip.poster_key is not None
    poster = Image.open(io.BytesIO(fetch(farm.farm.storage.url(clip.poster_key))))
    assert poster.format == "JPEG"
    assert_complete(json.loads(fetch(farm.farm.storage.url(result.facts.manifest_key))), worker, job)


def test_pictures_and_values_of_a_template_and_of_a_plain_graph_arrive(
    farm: WholeFarm, tmp_path: Path
) -> None:
    picture = tmp_path / "start.png"
    Image.new("RGB", (64, 48), "teal").save(picture)
    small = {"prompt": "a fox", "width": 65, "height": 80, "frames": 5, "fps": 8, "snap": True}
    built = get_template("wan22-i2v-a14b").build(prompt="x", image="x.png").graph

    of_template = farm.farm.submit(
        template="wan22-i2v-a14b", parameters={**small, "image": picture, "preset": "draft"}
    )
    of_graph = farm.farm.submit(
        built, {**small, "picture": picture, "steps": 4}, bind={"picture": "62.image"}
    )

    for job in (of_template, of_graph):
        clip = job.wait(JOB_S).result().main
        assert clip.video is not None
        assert (clip.video.width, clip.video.height, clip.video.frames) == (64, 80, 5)
        assert list(job.record.spec.inputs) == ["62.image"]
    assert of_graph.record.spec.parameters["6.text"] == "a fox"
    assert of_graph.record.spec.parameters["57.end_at_step"] == 2


def test_the_events_of_a_job_tell_its_life_in_order(farm: WholeFarm) -> None:
    job = farm.submit(a_clip(steps=8))

    events = list(farm.farm.events(job.job_id))

    assert farm.states(job) == ["queued", "running", "succeeded"]
    phases = [event.data["phase"] for event in events if event.kind is EventKind.PHASE]
    assert phases[0] == "preparing"
    assert phases[-1] == "publishing"
    assert {"sample_high", "sample_low"} <= set(phases)
    fractions = [event.data["fraction"] for event in events if event.kind is EventKind.PROGRESS]
    assert fractions == sorted(fractions)
    assert len(fractions) >= 2


def test_the_status_of_a_worker_tells_what_it_has_and_what_it_did(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    before = farm.status(worker)
    assert before is not None
    job = farm.sampling(40)

    def seen_at_work() -> bool:
        # A new phase is told at once, steps with the next refresh.
        status = farm.status(worker)
        now = status.jobs.get(job.job_id) if status is not None else None
        return now is not None and now.phase.startswith("sample")

    eventually(seen_at_work, within_s=JOB_S)
    job.wait(JOB_S)

    def seen_done() -> bool:
        now = farm.status(worker)
        assert now is not None
        succeeded = before.attempts_ended.get("succeeded", 0)
        return not now.jobs and now.attempts_ended.get("succeeded", 0) > succeeded

    eventually(seen_done, within_s=JOB_S)
    status = farm.status(worker)
    assert status is not None
    assert "vae/wan_2.1_vae.safetensors" in status.warm_models
    assert status.loads["WAN21"].state == "dynamic"
    assert (status.node_classes or 0) > 10
    assert (status.resources.worker_rss_bytes or 0) > 2**20
    assert (status.resources.comfyui_rss_bytes or 0) > 2**20
    assert status.proof is not None
    assert status.proof.verdict is ProofVerdict.PROVEN


def test_a_finished_job_leaves_nothing_but_its_record_and_its_files(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    job = farm.submit()

    job.wait(JOB_S)

    clip = job.result().main
    name = clip.key.rpartition("/")[2]
    token = job.refresh().record.token
    assert farm.stored(job) == sorted(
        f"{token}/{each}" for each in (name, f"{name}.poster.jpg", "manifest.json")
    )
    folders = [worker.folder / name for name in ("output", "temp", "input", "scratch")]
    eventually(lambda: not any(job.job_id in str(path) for each in folders for path in each.rglob("*")))
    with redis.Redis.from_url(farm.redis.url.get_secret_value(), decode_responses=True) as client:
        root = f"{{{farm.redis.namespace}}}:"
        assert client.zcard(f"{root}leases") == 0
        assert client.zcard(f"{root}due") == 0
        assert client.zcard(f"{root}state:running") == 0
        assert client.zcard(f"{root}state:queued") == 0
        assert client.hlen(f"{root}q:unacked") == 0
        naming = {key.removeprefix(root) for key in client.scan_iter(f"{root}*{job.job_id}*")}
        assert naming == {f"job:{job.job_id}", f"events:{job.job_id}"}


def test_the_same_graph_twice_gives_two_results_whose_files_are_there(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    graph = a_clip(seed=7)

    first = farm.submit(graph).wait(JOB_S)
    second = farm.submit(graph).wait(JOB_S)

    assert second.result().main.key != first.result().main.key
    assert_plays(fetch(first.result().url()), frames=5)
    assert_plays(fetch(second.result().url()), frames=5)
    # Answered from the cache, but for the node that saves.
    assert outcomes(second) == ["succeeded"]
    sampled = [
        entry for entry in worker.record(second.job_id) if entry.get("class_type") == "KSamplerAdvanced"
    ]
    assert sampled == []


def assert_complete(manifest: dict[str, object], worker: WorkerProcess, job: Job) -> None:
    """The manifest says enough to make the clip again, and how long everything took."""
    graph = manifest["graph"]
    assert isinstance(graph, dict)
    # The graph as it was executed, not as it was given.
    assert job.job_id in graph["61"]["inputs"]["filename_prefix"]
    told = manifest["worker"]
    assert isinstance(told, dict)
    assert told["name"] == worker.name
    assert told["comfyui_version"]
    assert told["load_plan"]["mode"]
    timings_s = manifest["timings_s"]
    assert isinstance(timings_s, dict)
    assert {"queue", "prepare", "execute", "collect", "check", "upload"} <= set(timings_s)
    assert {"queue", "prepare", "execute", "publish", "attempt"} <= set(job.result().facts.timings_s)
    assert manifest["changes"]
    assert manifest["artifacts"]


def assert_plays(clip: bytes, *, frames: int) -> None:
    """Every frame can be decoded."""
    with av.open(io.BytesIO(clip), mode="r") as container:
        assert len(list(container.decode(video=0))) == frames


def fetch(url: str) -> bytes:
    """What a browser would get."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
        return body
