"""Comfy API v2 with the client that people have: every call of `comfy-sdk`, sync and async."""

from __future__ import annotations

import asyncio
import copy
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_sdk import AsyncComfy, Comfy, JobFailed, OutputReady, Preview, Progress, StatusChange, exceptions

from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.storage import S3Storage
from tests.support.clips import make_picture
from tests.support.gateway import GRAPH, Gateway
from tests.support.gateway_worker import CLIP, HandWorker
from tests.support.valkey import eventually


@pytest.fixture
def client(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Comfy]:
    monkeypatch.setenv("COMFY_BASE_URL", gateway.url)
    monkeypatch.setenv("COMFY_API_KEY", gateway.key())
    with Comfy() as found:
        yield found


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    return make_picture(tmp_path / "fox.png").read_bytes()


def submit(client: Comfy, **given: Any) -> Any:
    return client.submit(client.workflows.from_json(copy.deepcopy(GRAPH)), **given)


def test_bytes_go_over_once_and_are_one_asset(client: Comfy, picture: bytes, tmp_path: Path) -> None:
    first = client.assets.from_bytes(picture, filename="fox.png")
    asset_id = first.commit()

    again = client.assets.from_stream(io.BytesIO(picture), filename="fox.png")
    (tmp_path / "other.png").write_bytes(picture)
    elsewhere = client.assets.from_file(tmp_path / "other.png")

    assert first.created_new is True
    assert again.commit() == asset_id
    assert again.created_new is False
    assert elsewhere.commit() != asset_id, "the same bytes under another name are another asset"
    found = client.assets.get(asset_id)
    assert (found.hash, found.file_path, found.job_id) == (first.hash, "fox.png", None)
    assert found.expires_at is not None


@pytest.mark.parametrize("by", ["asset", "name"])
def test_a_job_reads_the_file_that_was_uploaded_for_it(
    client: Comfy, gateway: Gateway, picture: bytes, by: str
) -> None:
    asset = client.assets.from_bytes(picture, filename="fox.png")
    asset.commit()
    workflow = client.workflows.from_json(copy.deepcopy(GRAPH))
    if by == "asset":
        workflow.set_input("1", "image", asset)

    job = client.submit(workflow)

    spec = gateway.store.get(job.id).spec
    key = spec.inputs["1.image"].partition("://")[2].partition("/")[2]
    assert gateway.storage.read_bytes(key) == picture


def test_a_job_is_followed_to_its_files(client: Comfy, worker: HandWorker, tmp_path: Path) -> None:
    job = submit(client, metadata={"client": "acme", "shot": "12"})
    assert (job.status, job.metadata) == ("queued", {"client": "acme", "shot": "12"})
    seen: list[Any] = []
    reader = threading.Thread(target=lambda: seen.extend(job.events()), daemon=True)
    reader.start()
    worker.start(job.id)
    worker.step(job.id, 1, picture=b"jpeg")
    eventually(lambda: job.refresh().status == "running")
    worker.step(job.id, 2)
    worker.succeed(job.id)
    reader.join(30)

    assert not reader.is_alive(), "the stream ends by itself"
    last = [each for each in seen if isinstance(each, StatusChange)][-1]
    assert seen[-1] is last
    assert last.status == "succeeded"
    assert any(isinstance(each, OutputReady) for each in seen[:-1])
    done = client.jobs.get(job.id).wait(timeout=60)
    output = done.get_outputs("9")[0]
    assert (output.name, output.type, output.size_bytes) == ("clip.mp4", "video", len(CLIP))
    assert output.to_file(tmp_path / "a.mp4").read_bytes() == CLIP
    assert output.to_bytes(range=(4, 9)) == CLIP[4:10]
    assert output.job_id == job.id
    assert client.assets.get(output.id).job_id == job.id


def test_previews_and_progress_come_while_it_runs(client: Comfy, worker: HandWorker) -> None:
    job = submit(client)
    worker.start(job.id)
    worker.step(job.id, 1, picture=b"first")
    worker.step(job.id, 2, picture=b"second")
    found: dict[type[Any], Any] = {}

    for event in job.events():
        found[type(event)] = event
        if {Preview, Progress, StatusChange} <= set(found):
            break

    assert found[Preview].data == b"second", "the last one, on connect"
    assert found[Progress].value == 0.5
    assert (found[Progress].step, found[Progress].steps) == (2, 4)
    assert (found[Progress].nodes_done, found[Progress].nodes_total) == (1, 3)
    assert found[StatusChange].status == "running"


def test_a_failed_job_says_which_node_and_why(client: Comfy, worker: HandWorker) -> None:
    job = submit(client)
    worker.start(job.id)
    worker.fail(job.id)

    with pytest.raises(JobFailed) as caught:
        job.result()

    error = caught.value.error
    assert error is not None
    assert (error.code, error.node_id, error.class_type) == ("node_failed", "9", "KSampler")
    assert error.traceback == "line 1\nline 2\n"


def test_a_cancel_is_asked_for_and_then_done(client: Comfy, worker: HandWorker) -> None:
    waiting, running = submit(client), submit(client)
    worker.start(running.id)

    assert waiting.cancel().status == "canceled"
    assert running.cancel().status == "canceling"
    worker.stop(running.id)
    assert running.refresh().status == "canceled"
    assert running.cancel().status == "canceled"


def test_lists_are_by_label_and_page_by_page(client: Comfy) -> None:
    ours = [submit(client, metadata={"shot": "7", "n": str(each)}).id for each in range(5)]
    submit(client, metadata={"shot": "8"})

    found = list(client.list_jobs(metadata={"shot": "7"}, limit=2))
    both = list(client.list_jobs(metadata={"shot": "7", "n": "3"}))

    assert [each.id for each in found] == ours[::-1], "newest first"
    assert [each.id for each in both] == [ours[3]]
    assert found[0].create_time is not None
    assert len(list(client.list_jobs())) == 6


def test_the_graph_that_runs_can_be_had(client: Comfy) -> None:
    job = submit(client, metadata={"farm.set.9.filename_prefix": "set"})

    found = job.get_workflow()

    assert found.format == "api"
    assert found.graph["9"]["inputs"]["filename_prefix"] == "set"
    assert found.graph["2"] == GRAPH["2"]


def test_the_farms_own_options_ride_in_metadata(client: Comfy, gateway: Gateway) -> None:
    job = submit(
        client,
        metadata={
            "client": "acme",
            "farm.priority": "2",
            "farm.title": "A fox, at last",
            "farm.deadline": "2199-01-01T00:00:00Z",
            "farm.time_limit_s": "60",
        },
    )

    spec = gateway.store.get(job.id).spec
    assert (spec.priority, spec.title, spec.time_limit_s) == (2, "A fox, at last", 60.0)
    assert spec.deadline is not None
    assert spec.deadline.year == 2199
    assert job.metadata == {"client": "acme"}


def test_a_template_stands_for_a_workflow(client: Comfy, gateway: Gateway) -> None:
    metadata = {"farm.template": "wan22-t2v-a14b", "farm.set.prompt": "a fox", "farm.set.frames": "5"}

    job = client.submit(client.workflows.from_json({}), metadata=metadata)

    spec = gateway.store.get(job.id).spec
    assert spec.template == "wan22-t2v-a14b"
    assert (spec.template_parameters["prompt"], spec.template_parameters["frames"]) == ("a fox", 5)


def test_an_asset_goes_once_no_job_needs_it(client: Comfy, worker: HandWorker, picture: bytes) -> None:
    asset = client.assets.from_bytes(picture, filename="fox.png")
    asset_id = asset.commit()
    job = submit(client)

    with pytest.raises(exceptions.ComfyError, match="depends") as caught:
        client.assets.delete(asset_id)
    assert caught.value.code == "asset_in_use"

    worker.start(job.id)
    worker.succeed(job.id)
    client.assets.delete(asset_id)
    with pytest.raises(exceptions.NotFound):
        client.assets.delete(asset_id)
    output = job.refresh().outputs[0]
    with pytest.raises(exceptions.ComfyError) as held:
        client.assets.delete(output.id)
    assert held.value.code == "asset_in_use"


def test_a_link_to_the_storage_is_followed_without_the_key(
    gateway_redis: RedisSettings, s3_settings: S3Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = S3Storage(s3_settings)
    with Gateway(gateway_redis, storage) as gateway:
        worker = HandWorker(gateway.store, storage)
        monkeypatch.setenv("COMFY_BASE_URL", gateway.url)
        monkeypatch.setenv("COMFY_API_KEY", gateway.key())
        with Comfy() as client:
            job = submit(client)
            worker.start(job.id)
            worker.succeed(job.id)
            output = job.refresh().outputs[0]

            link = output.get_download_url().url
            assert link.startswith(str(s3_settings.endpoint_url))
            assert output.to_bytes() == CLIP
            assert output.to_bytes(range=(4, 9)) == CLIP[4:10]


REFUSED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "unknown class": ({"1": {"class_type": "Nope", "inputs": {"a": ["1", 0]}}}, exceptions.InvalidWorkflow),
    "no output": ({"1": GRAPH["1"]}, exceptions.InvalidWorkflow),
    "broken link": (
        {**GRAPH, "2": {"class_type": "ImageInvert", "inputs": {"image": ["7", 0]}}},
        exceptions.InvalidWorkflow,
    ),
    "no node": ({"1": 5}, exceptions.InvalidWorkflow),
    "unknown asset": (
        {
            **GRAPH,
            "1": {
                "class_type": "LoadImage",
                "inputs": {"image": {"__type": "core/ASSET", "info": {"id": "nope"}}},
            },
        },
        exceptions.MissingAsset,
    ),
    "no asset at all": (
        {**GRAPH, "1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET"}}}},
        exceptions.MissingAsset,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_run_is_refused_by_its_name(client: Comfy, what: str) -> None:
    graph, kind = REFUSED[what]

    with pytest.raises(kind):
        client.submit(client.workflows.from_json(graph))

    assert list(client.list_jobs()) == []


def test_each_broken_node_is_named(client: Comfy) -> None:
    with pytest.raises(exceptions.InvalidWorkflow) as caught:
        client.submit(client.workflows.from_json(REFUSED["broken link"][0]))

    assert caught.value.details is not None
    (error,) = caught.value.details["node_errors"]["2"]
    assert (error["field"], error["reason"]) == ("image", "link_to_missing_node")


def test_an_idempotency_key_is_good_once(client: Comfy) -> None:
    submit(client, idempotency_key="k")

    with pytest.raises(exceptions.IdempotencyKeyReuse):
        submit(client, idempotency_key="k")

    assert len(list(client.list_jobs())) == 1


def test_a_key_whose_job_was_refused_may_come_again(client: Comfy) -> None:
    with pytest.raises(exceptions.InvalidWorkflow):
        client.submit(client.workflows.from_json(REFUSED["no output"][0]), idempotency_key="k")

    assert submit(client, idempotency_key="k").status == "queued"


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "two words"},
        {"": "x"},
        {"a=b": "c"},
        {"tenant": "other"},
        {"farm.nope": "1"},
        {"ä": "1"},
        {f"k{each}": "v" for each in range(17)},
    ],
)
def test_labels_that_cannot_be_kept_are_refused(client: Comfy, metadata: dict[str, str]) -> None:
    with pytest.raises(exceptions.ComfyError) as caught:
        submit(client, metadata=metadata)

    assert caught.value.code == "metadata_invalid"
    assert caught.value.http_status == 422


def test_the_async_client_does_all_of_it(
    gateway: Gateway, worker: HandWorker, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFY_BASE_URL", gateway.url)
    monkeypatch.setenv("COMFY_API_KEY", gateway.key())

    async def all_of_it() -> tuple[list[str], bytes]:
        async with AsyncComfy() as client:
            asset = client.assets.from_bytes(picture, filename="fox.png")
            workflow = client.workflows.from_json(copy.deepcopy(GRAPH))
            workflow.set_input("1", "image", asset)
            job = await client.submit(workflow, metadata={"shot": "1"})
            await asyncio.to_thread(worker.start, job.id)
            kinds: list[str] = []
            ended = False
            async for event in job.events():
                kinds.append(type(event).__name__)
                if not ended:
                    ended = True
                    await asyncio.to_thread(worker.succeed, job.id)
            await job.wait(timeout=60)
            assert [each.id async for each in client.list_jobs(metadata={"shot": "1"})] == [job.id]
            assert (await job.get_workflow()).format == "api"
            assert (await client.jobs.get(job.id)).status == "succeeded"
            output = job.outputs[0]
            assert (await output.get_download_url()).url.endswith("/content")
            clip = await output.to_bytes()
            await client.assets.delete(await asset.commit())
            other = await client.submit(client.workflows.from_json(copy.deepcopy(GRAPH)))
            assert (await other.cancel()).status == "canceled"
            return kinds, clip

    kinds, clip = asyncio.run(all_of_it())

    assert clip == CLIP
    assert kinds[-2:] == ["OutputReady", "StatusChange"]
