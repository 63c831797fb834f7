"""The page in a real Chromium: what people do with it, and that it says nothing on its console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.status.worker import WorkerStatus
from farm.storage import S3Storage
from tests.integration.gateway.test_comfy_sdk import GRAPH
from tests.support.browser import Page, find_browser, opened_page
from tests.support.clips import make_clip, make_picture
from tests.support.gateway import Gateway
from tests.support.gateway_worker import HandWorker

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")

# Every control and picture of the page, and what it is called for who does not see it.
NAMELESS = """
[...document.querySelectorAll("button, input, select, textarea, a, video, img, progress")].filter((each) => {
  if (each.closest("[hidden], dialog:not([open]), [aria-hidden=true]")) return false;
  if (each.tagName === "IMG") return !each.hasAttribute("alt");
  const label = each.labels?.[0]?.textContent ?? "";
  return !(each.getAttribute("aria-label") || label || each.textContent).trim();
}).map((each) => each.outerHTML)
"""
HOSTS = "[...new Set(performance.getEntriesByType('resource').map((each) => new URL(each.name).origin))]"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4").read_bytes()


@pytest.fixture
def gateway(gateway_redis: RedisSettings, s3_settings: S3Settings) -> Iterator[Gateway]:
    with Gateway(gateway_redis, S3Storage(s3_settings)) as found:
        yield found


@pytest.fixture
def worker(gateway: Gateway) -> HandWorker:
    return HandWorker(gateway.store, gateway.storage)


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with opened_page("about:blank") as found:
        yield found


@pytest.fixture
def page(browser: Page, gateway: Gateway) -> Iterator[Page]:
    browser.open(f"{gateway.url}/")
    there = f"location.origin === {json.dumps(gateway.url)} && document.querySelector"
    browser.wait_until(f"{there}('main h1, dialog[open]') !== null")
    yield browser
    assert browser.said == [], "something is on the console"
    assert browser.evaluate(NAMELESS) == []


def go(page: Page, place: str, heading: str) -> None:
    page.evaluate(f"location.hash = {json.dumps(place)}")
    page.wait_until(f"document.querySelector('main h1')?.textContent === {json.dumps(heading)}")


def click(page: Page, button: str) -> None:
    buttons = "[...document.querySelectorAll('button')]"
    page.evaluate(f"{buttons}.find((each) => each.textContent === {json.dumps(button)}).click()")


def search(page: Page, words: str, count: int) -> None:
    page.evaluate(f"document.querySelector('input[name=search]').value = {json.dumps(words)}")
    page.evaluate("document.querySelector('form[role=search]').requestSubmit()")
    page.wait_until(f"document.querySelectorAll('.clip').length === {count}")


def is_shown(page: Page, words: str) -> None:
    page.wait_until(f"document.querySelector('main').innerText.includes({json.dumps(words)})")


def text(page: Page) -> str:
    return str(page.evaluate("document.querySelector('main').innerText"))


def submit(gateway: Gateway, title: str, **more: Any) -> str:
    key = more.pop("key", None)
    body = {"graph": GRAPH, "title": title, **more}
    return str(gateway.ask("/farm/v1/jobs", method="POST", key=key, body=body).json["job_id"])


def done(gateway: Gateway, worker: HandWorker, title: str, clip: bytes, folder: Path) -> str:
    job_id = submit(gateway, title)
    worker.start(job_id)
    worker.succeed(job_id, clip=clip, poster=make_picture(folder / "poster.jpg").read_bytes())
    return job_id


def test_a_clip_plays_under_the_pointer_and_opens_large(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    job_id = done(gateway, worker, "A red fox", clip, tmp_path)
    submit(gateway, "A white hare")
    search(page, "", 2)
    page.wait_until("document.querySelector('.clip img')?.naturalWidth > 0")

    page.evaluate(
        "document.querySelector('.clip:has(img) .show').dispatchEvent(new PointerEvent('pointerenter'))"
    )
    page.wait_until("document.querySelector('.clip video')?.readyState >= 2")
    go(page, f"#/job/{job_id}", "A red fox")
    page.wait_until("document.querySelector('.stage video')?.readyState >= 2")

    assert "succeeded" in text(page)
    storage = "/".join(gateway.storage.url("x").split("/")[:3])
    assert set(page.evaluate(HOSTS)) == {gateway.url, storage}


def test_clips_are_searched_and_many_are_canceled_at_once(gateway: Gateway, page: Page) -> None:
    kept = submit(gateway, "A white hare")
    gone = [submit(gateway, f"A red fox {number}") for number in range(3)]
    search(page, "red", 3)

    page.evaluate("document.querySelectorAll('.clip input').forEach((each) => each.click())")
    click(page, "Cancel")
    page.wait_until("document.getElementById('notice').textContent === 'canceled: 3'")

    assert {gateway.store.get(job_id).state.value for job_id in gone} == {"canceled"}
    assert gateway.store.get(kept).state.value == "queued"


def test_a_job_is_watched_to_its_clip(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    job_id = submit(gateway, "A red fox")
    go(page, f"#/job/{job_id}", "A red fox")
    worker.start(job_id)
    picture = make_picture(tmp_path / "preview.jpg").read_bytes()

    worker.step(job_id, 2, picture=picture)
    page.wait_until("document.querySelector('.stage img')?.naturalWidth > 0")
    page.wait_until("document.querySelector('progress').value === 0.5")
    worker.succeed(job_id, clip=clip, poster=picture)

    page.wait_until("document.querySelector('.stage video')?.readyState >= 2")
    assert "succeeded" in text(page)


def test_a_failed_job_says_why_and_is_tried_again(gateway: Gateway, worker: HandWorker, page: Page) -> None:
    job_id = submit(gateway, "A red fox")
    worker.start(job_id)
    worker.fail(job_id)
    go(page, f"#/job/{job_id}", "A red fox")
    assert "KSampler: the shapes differ" in text(page)

    click(page, "Try again")

    is_shown(page, "queued")
    assert gateway.store.get(job_id).state.value == "queued"


def test_a_template_is_filled_in_planned_and_rendered(gateway: Gateway, page: Page) -> None:
    go(page, "#/new", "New")
    page.evaluate("document.querySelector('textarea[name=prompt]').value = 'a fox'")
    page.evaluate("document.querySelector('input[name=seed]').value = '7'")
    click(page, "Plan and check")
    page.wait_until(
        "document.querySelector('main').innerText.includes('Plan') && document.querySelector('table')"
    )

    page.evaluate("document.querySelector('main form').requestSubmit()")
    page.wait_until("location.hash.startsWith('#/job/')")

    (job,) = gateway.store.find().jobs
    assert job.spec.template_parameters["seed"] == 7
    page.wait_until("document.querySelector('main h1')?.textContent.includes('a fox')")


def test_a_workflow_file_is_dropped_and_rendered(gateway: Gateway, page: Page) -> None:
    go(page, "#/new", "New")
    file = f"new File([{json.dumps(json.dumps(GRAPH))}], 'mine.json', {{type: 'application/json'}})"
    page.evaluate(
        f"{{ const data = new DataTransfer(); data.items.add({file}); document.querySelector('.drop')"
        ".dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }"
    )
    page.wait_until("document.querySelector('.fields').innerText.includes('mine.json')")

    page.evaluate("document.querySelector('main form').requestSubmit()")
    page.wait_until("location.hash.startsWith('#/job/')")

    (job,) = gateway.store.find().jobs
    assert job.spec.graph.keys() == GRAPH.keys()


def test_the_fleet_is_shown(gateway: Gateway, page: Page) -> None:
    gateway.store.put_worker(
        WorkerStatus(name="gpu0@rack", vram_gib=24, emulated=True, state="ready"), ttl_s=60
    )
    submit(gateway, "A red fox")

    go(page, "#/fleet", "Fleet")

    is_shown(page, "gpu0@rack")
    assert "1 queued" in text(page)


def test_strange_words_are_shown_as_words(gateway: Gateway, page: Page) -> None:
    title = "<img src=x onerror=alert(1)> & more"
    job_id = submit(gateway, title)

    go(page, f"#/job/{job_id}", title)

    assert page.evaluate("document.querySelectorAll('main h1 img').length") == 0


def test_it_is_light_and_soon_there(gateway: Gateway, page: Page) -> None:
    loaded = "performance.getEntriesByType('resource').filter((each) => each.name.includes('/page/'))"
    sizes = page.evaluate(f"{loaded}.map((each) => each.decodedBodySize)")

    assert len(sizes) >= 6
    assert sum(sizes) < 200_000


class TestWithKeys:
    """Where the farm has keys."""

    @pytest.fixture
    def key(self, gateway: Gateway) -> str:
        return gateway.key()

    def test_it_asks_for_a_key_and_shows_what_is_its_tenants(
        self, gateway: Gateway, key: str, page: Page
    ) -> None:
        submit(gateway, "Mine", key=key)
        submit(gateway, "Not mine", key=gateway.key("other"))
        page.wait_until("document.querySelector('dialog[open]') !== null")
        page.said.clear()  # a browser tells of each 401

        page.evaluate(f"document.querySelector('dialog input').value = {json.dumps(key)}")
        page.evaluate("document.querySelector('dialog button').click()")
        page.wait_until("document.querySelectorAll('.clip').length === 1")

        assert "Mine" in text(page)
        assert "Not mine" not in text(page)
