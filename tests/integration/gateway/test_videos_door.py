"""``/v1/videos`` with the client that people have: the `openai` package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clips import make_picture
from tests.support.gateway import Gateway
from tests.support.gateway_worker import CLIP, HandWorker

if TYPE_CHECKING:
    import openai  # a second, wherever the tests are collected: the tests that use it import it

# The vendor's own service has ended; what was written for it still speaks this.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")

SMALL = {"size": "64x64", "extra_body": {"frames": 5, "preset": "draft"}}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    import openai

    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=0) as found:
        yield found


def spec_of(gateway: Gateway, video_id: str) -> Any:
    return gateway.store.get(video_id).spec


def test_a_clip_is_asked_for_followed_and_fetched(client: openai.OpenAI, worker: HandWorker) -> None:
    video = client.videos.create(prompt="a fox", **SMALL)  # type: ignore[arg-type]
    assert (video.status, video.object, video.prompt, video.size) == ("queued", "video", "a fox", "64x64")
    worker.start(video.id)
    worker.step(video.id, 1)
    running = client.videos.retrieve(video.id)
    worker.succeed(video.id)

    done = client.videos.retrieve(video.id)

    assert (running.status, running.progress) == ("in_progress", 25)
    assert (done.status, done.progress) == ("completed", 100)
    assert done.completed_at is not None
    assert client.videos.download_content(video.id).read() == CLIP


def test_a_picture_makes_it_a_clip_of_that_picture(
    client: openai.OpenAI, gateway: Gateway, tmp_path: Path
) -> None:
    picture = make_picture(tmp_path / "fox.png")

    video = client.videos.create(prompt="it looks up", input_reference=picture, **SMALL)  # type: ignore[arg-type]

    spec = spec_of(gateway, video.id)
    assert spec.template == "wan22-i2v-a14b"
    (source,) = spec.inputs.values()
    assert gateway.storage.read_bytes(source.partition("farm/")[2]) == picture.read_bytes()


def test_what_is_said_in_that_apis_words_is_set_in_the_template(
    client: openai.OpenAI, gateway: Gateway
) -> None:
    video = client.videos.create(
        prompt="a fox",
        model="sora-2",
        seconds="4",
        size="1280x720",
        extra_body={
            "seed": 7,
            "negative_prompt": "blurry",
            "guidance_scale": 3.5,
            "fps": 16,
            "loras": "style.safetensors:0.7",
        },
    )

    asked = spec_of(gateway, video.id).template_parameters
    assert (asked["width"], asked["height"], asked["frames"]) == (1280, 720, 65)
    assert (asked["seed"], asked["negative"], asked["cfg"]) == (7, "blurry", 3.5)
    assert asked["loras"] == "style.safetensors:0.7"
    assert video.seconds == "4"


def test_clips_are_listed_page_by_page_and_jobs_of_other_doors_are_not(
    client: openai.OpenAI, gateway: Gateway
) -> None:
    ids = [client.videos.create(prompt="a fox", **SMALL).id for _ in range(5)]  # type: ignore[arg-type]
    gateway.farm_job()

    assert [video.id for video in client.videos.list(limit=2)] == ids[::-1]


def test_a_clip_is_deleted_once_it_has_ended(client: openai.OpenAI, worker: HandWorker) -> None:
    import openai

    waiting = client.videos.create(prompt="a fox", **SMALL)  # type: ignore[arg-type]
    running = client.videos.create(prompt="a fox", **SMALL)  # type: ignore[arg-type]
    worker.start(running.id)

    assert client.videos.delete(waiting.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(waiting.id)
    with pytest.raises(openai.ConflictError):
        client.videos.delete(running.id)
    worker.stop(running.id)
    assert client.videos.delete(running.id).deleted is True


def test_a_failed_clip_says_why(client: openai.OpenAI, worker: HandWorker) -> None:
    import openai

    video = client.videos.create(prompt="a fox", **SMALL)  # type: ignore[arg-type]
    worker.start(video.id)
    worker.fail(video.id)

    failed = client.videos.retrieve(video.id)

    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, "shapes" in failed.error.message) == ("node_failed", True)
    with pytest.raises(openai.ConflictError):
        client.videos.download_content(video.id)


BAD: dict[str, dict[str, Any]] = {
    "size": {"size": "large"},
    "seconds": {"seconds": "many"},
    "model": {"model": "nope"},
    "nope": {"extra_body": {"nope": 1}},
    "seed": {"extra_body": {"seed": "x"}},
    "prompt": {"prompt": " "},
}


@pytest.mark.parametrize("param", BAD)
def test_a_bad_field_is_named(client: openai.OpenAI, param: str) -> None:
    import openai

    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(**{"prompt": "a fox", **BAD[param]})

    assert caught.value.param == param
    assert list(client.videos.list()) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "s3://farm/x.png", "data:,%%", "data:,ä", 5]
)
def test_a_picture_comes_from_the_web_or_with_the_request(gateway: Gateway, url: object) -> None:
    body = {"prompt": "a fox", "input_reference": {"image_url": url}}

    answer = gateway.ask("/v1/videos", method="POST", body=body)

    assert (answer.status, answer.json["error"]["param"]) == (400, "input_reference")


def test_a_value_that_the_template_does_not_take_is_told(client: openai.OpenAI) -> None:
    import openai

    with pytest.raises(openai.UnprocessableEntityError, match="preset"):
        client.videos.create(prompt="a fox", extra_body={"preset": "nope"})


def test_keys_and_foreign_clips_are_told_in_that_apis_words(client: openai.OpenAI, gateway: Gateway) -> None:
    import openai

    video = client.videos.create(prompt="a fox", **SMALL)  # type: ignore[arg-type]
    stranger = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="wrong", max_retries=0)
    other = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key("other"), max_retries=0)
    with stranger, other:
        with pytest.raises(openai.AuthenticationError):
            stranger.videos.retrieve(video.id)
        with pytest.raises(openai.NotFoundError):
            other.videos.retrieve(video.id)
        with pytest.raises(openai.NotFoundError):
            other.videos.delete(video.id)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        *(("seconds", value) for value in (-1, 0, "0", "NaN", "1e308", True, [4], None)),
        *(("frames", value) for value in (-5, 0, 1.5, 1e400, 10**400)),
        *((name, 1e400) for name in ("seed", "steps", "fps", "guidance_scale", "flow_shift")),
        *(("seed", -1), ("steps", True), ("negative_prompt", ["x"]), ("preset", 1)),
    ],
)
def test_a_number_that_no_clip_has_is_refused_by_its_name(
    gateway: Gateway, param: str, value: object
) -> None:
    answer = gateway.ask("/v1/videos", method="POST", body={"prompt": "a fox", param: value})

    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert gateway.store.find().jobs == ()
