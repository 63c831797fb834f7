"""The page while things go wrong under it: keys, gateways and Redis that go and come, jobs that vanish."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.gateway.keys import Scope, revoke_key
from farm.job import EventKind, JobState
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.status.worker import WorkerStatus
from farm.storage import S3Storage
from farm.store.base import NewEvent
from tests.support.browser import Page
from tests.support.clips import make_picture
from tests.support.gateway import GRAPH, Gateway
from tests.support.gateway_worker import HandWorker
from tests.support.jobs import a_job
from tests.support.many_jobs import copy_job
from tests.support.page import (
    BUTTONS,
    click,
    done,
    drop_file,
    go,
    is_shown,
    is_shown_as_notice,
    search,
    submit,
    text,
)
from tests.support.valkey import ValkeyServer

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\'"&amp;'
FOREIGN = """
performance.getEntriesByType("resource").map((each) => each.name)
  .filter((each) => !each.startsWith("blob:") && new URL(each).origin !== location.origin)
"""
IS_AWAY = "document.getElementById('away').textContent !== ''"
SEED = 2**63 + 11  # more than the numbers of a browser's language hold


def enter(page: Page, key: str) -> None:
    """Give the page a key."""
    page.wait_until("document.querySelector('#who[open]') !== null")
    page.evaluate(f"document.querySelector('#who input').value = {json.dumps(key)}")
    page.evaluate("document.querySelector('#who button').click()")
    # Told by an event of its own, after the dialog is gone.
    page.wait_until(f"sessionStorage.getItem('farm-key') === {json.dumps(key)}")


class TestKeys:
    """Where the farm has keys."""

    @pytest.fixture
    def key(self, gateway: Gateway) -> str:
        return gateway.key()

    def test_it_asks_for_one_and_shows_what_is_its_tenants(
        self, gateway: Gateway, key: str, page: Page
    ) -> None:
        submit(gateway, "Mine", key=key)
        submit(gateway, "Not mine", key=gateway.key("other"))

        enter(page, key)
        page.wait_until("document.querySelectorAll('.clip').length === 1")

        assert "Mine" in text(page)
        assert "Not mine" not in text(page)

    def test_a_wrong_one_is_asked_for_again_and_one_that_is_revoked_meanwhile(
        self, gateway: Gateway, key: str, page: Page
    ) -> None:
        submit(gateway, "Mine", key=key)
        enter(page, "farm_wrong")
        page.wait_until("document.querySelector('#who[open] [role=alert]:not([hidden])') !== null")
        enter(page, key)
        page.wait_until("document.querySelectorAll('.clip').length === 1")

        revoke_key(gateway.book, key.split("_")[1])
        page.evaluate("document.querySelector('form[role=search]').requestSubmit()")
        page.wait_until("document.querySelector('#who[open] [role=alert]:not([hidden])') !== null")
        enter(page, gateway.key())

        page.wait_until("document.querySelectorAll('.clip').length === 1")
        page.said.clear()  # a browser tells of each 401

    def test_who_may_not_steer_has_no_buttons_for_it_and_is_told_what_their_key_lacks(
        self, gateway: Gateway, key: str, page: Page
    ) -> None:
        gateway.store.put_worker(WorkerStatus(name="gpu0@rack", vram_gib=24, state="ready"), ttl_s=600)
        job_id = submit(gateway, "A red fox", key=key)
        enter(page, gateway.key("acme", Scope.READ))
        go(page, "#/fleet", "Fleet")
        is_shown(page, "gpu0@rack")
        assert page.evaluate(f"{BUTTONS}.filter((each) => each.textContent === 'Drain').length") == 0

        go(page, f"#/job/{job_id}", "A red fox")
        click(page, "Cancel")

        is_shown_as_notice(page, "this key may not do that: it lacks the scope submit")
        page.said.clear()  # a browser tells of each 403

    def test_clips_that_only_the_gateway_gives_out_are_shown_and_saved_by_who_has_a_key(
        self,
        gateway_redis: RedisSettings,
        s3_settings: S3Settings,
        browser: Page,
        clip: bytes,
        tmp_path: Path,
    ) -> None:
        with Gateway(gateway_redis, S3Storage(s3_settings), content="bytes") as gateway:
            key = gateway.key()
            job_id = submit(gateway, "A red fox", key=key)
            worker = HandWorker(gateway.store, gateway.storage)
            worker.start(job_id)
            worker.succeed(job_id, clip=clip, poster=make_picture(tmp_path / "p.jpg").read_bytes())
            browser.open(f"{gateway.url}/")
            enter(browser, key)
            browser.wait_until("document.querySelector('.clip img')?.naturalWidth > 0")

            browser.evaluate("document.querySelector('.clip input').click()")
            browser.save_downloads(tmp_path / "saved")
            click(browser, "Download")
            is_shown_as_notice(browser, "downloaded: the files of 1")
            browser.evaluate(f"location.hash = '#/job/{job_id}'")
            browser.wait_until("document.querySelector('.stage video')?.readyState >= 2")

            assert gateway.ask(f"/farm/v1/jobs/{job_id}/clip").status == 401
            assert browser.evaluate(FOREIGN) == []
            browser.open("about:blank")


@pytest.fixture
def server(start_valkey: Callable[..., ValkeyServer]) -> ValkeyServer:
    """A Redis that may go."""
    return start_valkey("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def fragile(server: ValkeyServer, s3_settings: S3Settings) -> Iterator[Gateway]:
    """A gateway over it."""
    settings = RedisSettings.read(url=server.url, timeout_s=1.0)
    with Gateway(settings, S3Storage(s3_settings)) as found:
        yield found


def test_while_redis_is_away_it_says_so_and_goes_on_when_that_is_back(
    server: ValkeyServer, fragile: Gateway, browser: Page
) -> None:
    job_id = submit(fragile, "A red fox")
    browser.open(f"{fragile.url}/")
    browser.wait_until("document.querySelectorAll('.clip').length === 1")

    server.kill()
    browser.evaluate("document.querySelector('form[role=search]').requestSubmit()")
    browser.wait_until(IS_AWAY)
    told = browser.evaluate("document.getElementById('away').textContent")
    server.start()
    browser.wait_until("document.querySelectorAll('.clip').length === 1")
    browser.wait_until(f"!({IS_AWAY})")

    assert "Redis" in told
    browser.evaluate(f"location.hash = '#/job/{job_id}'")
    browser.wait_until("document.querySelector('main [role=status]')?.textContent.startsWith('queued')")
    browser.open("about:blank")


def test_a_job_is_followed_over_the_restart_of_its_gateway(
    gateway_redis: RedisSettings, s3_settings: S3Settings, browser: Page, clip: bytes, tmp_path: Path
) -> None:
    storage = S3Storage(s3_settings)
    with Gateway(gateway_redis, storage) as first:
        job_id = submit(first, "A red fox")
        browser.open(f"{first.url}/#/job/{job_id}")
        browser.wait_until("document.querySelector('main [role=status]')?.textContent.startsWith('queued')")
    browser.wait_until(IS_AWAY)

    with Gateway(gateway_redis, storage, port=first.port) as second:
        worker = HandWorker(second.store, storage)
        worker.start(job_id)
        browser.wait_until("document.querySelector('main [role=status]').textContent.startsWith('running')")
        browser.wait_until(f"!({IS_AWAY})")
        worker.succeed(job_id, clip=clip, poster=make_picture(tmp_path / "p.jpg").read_bytes())
        browser.wait_until("document.querySelector('.stage video')?.readyState >= 2")
        browser.open("about:blank")


def test_a_job_that_is_removed_while_it_is_shown_is_said_to_be_gone(gateway: Gateway, page: Page) -> None:
    job_id = submit(gateway, "A red fox")
    go(page, f"#/job/{job_id}", "A red fox")
    page.wait_until("document.querySelector('main [role=status]')?.textContent.startsWith('queued')")

    gateway.store.cancel_many([job_id])
    gateway.store.remove([job_id])

    page.wait_until("document.querySelector('main [role=status]').textContent.match(/gone|canceled/)")
    search_anew(page)
    page.said.clear()  # a browser tells of each 404


def search_anew(page: Page) -> None:
    go(page, "#/clips", "Clips")
    search(page, "", 0)
    is_shown(page, "There are no such jobs.")


def test_ten_thousand_jobs_of_a_label_are_canceled_at_once(
    start_valkey: Callable[..., ValkeyServer], s3_settings: S3Settings, browser: Page
) -> None:
    settings = RedisSettings.read(url=start_valkey("--appendonly", "no").url)
    with Gateway(settings, S3Storage(s3_settings)) as gateway:
        one = a_job(title="A red fox", labels=["batch=7"])
        kept, _ = gateway.store.submit([a_job(title="A hare"), one])
        copy_job(settings, one.job_id, 9_999)
        browser.open(f"{gateway.url}/#/clips?label=batch%3D7")
        browser.wait_until("document.querySelectorAll('.clip').length === 24")

        browser.evaluate("document.querySelector('label.check input').click()")
        click(browser, "Cancel")
        click(browser, "Cancel all jobs that are found")
        is_shown_as_notice(browser, "canceled: 10000")

        assert gateway.store.counts().by_state[JobState.CANCELED] == 10_000
        assert gateway.store.get(kept.job_id).state == "queued"
        browser.open("about:blank")


def test_words_of_others_are_shown_as_words_wherever_they_stand(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    graph = {
        **GRAPH,
        "9": {"class_type": "SaveImage", "inputs": {**GRAPH["9"]["inputs"], "filename_prefix": HOSTILE}},
        "3": {"class_type": HOSTILE, "inputs": {"text": HOSTILE}},
    }
    parameters = {"3.text": f"{HOSTILE} again"}
    job_id = submit(gateway, HOSTILE, graph=graph, parameters=parameters, if_unplaceable="park")
    evil = HandWorker(gateway.store, gateway.storage, name=HOSTILE)
    claim = evil.start(job_id)
    line = NewEvent(kind=EventKind.LOG, data={"line": HOSTILE})
    gateway.store.report(job_id, claim.attempt, [line], token=claim.token)
    evil.succeed(job_id, clip=clip, poster=make_picture(tmp_path / "p.jpg").read_bytes())
    result = gateway.store.get(job_id).result
    assert result is not None
    changed = {"node_id": HOSTILE, "input_name": HOSTILE, "old": HOSTILE, "new": [HOSTILE], "why": HOSTILE}
    blocked = {"node_id": HOSTILE, "message": HOSTILE}
    manifest = {"changes": [changed], "out_of_memory": [HOSTILE], "blocked": [blocked]}
    gateway.storage.put_bytes(
        json.dumps(manifest).encode(), result.manifest_key, media_type="application/json"
    )
    status = WorkerStatus(name=HOSTILE, vram_gib=24, state=HOSTILE, warm_models=(HOSTILE,))
    gateway.store.put_worker(status, ttl_s=600)
    waits = submit(gateway, f"{HOSTILE} waits")

    for place, heading in (
        ("#/clips", "Clips"),
        (f"#/job/{job_id}", HOSTILE),
        (f"#/job/{waits}", f"{HOSTILE} waits"),
        (f"#/new/{job_id}", "Render again with …"),
        ("#/fleet", "Fleet"),
        (f"#/clips?search={HOSTILE}", "Clips"),
        (f"#/job/{HOSTILE}", "That cannot be shown"),
    ):
        go(page, place, heading)
        page.wait_until("document.querySelector('main').getAttribute('aria-busy') === null")
        assert page.evaluate("document.querySelectorAll('img[src=x], script:not([src])').length") == 0, place
        assert page.evaluate("window.hit ?? null") is None, place
    drop_file(page, "body", HOSTILE, "{}")
    go(page, "#/new", "New")
    drop_file(page, ".drop", HOSTILE, json.dumps({HOSTILE: {"class_type": HOSTILE, "inputs": {}}}))
    is_shown(page, "Nothing in this graph is known")

    assert page.evaluate("window.hit ?? null") is None
    page.said.clear()  # a browser tells of what was refused and of the job that is not there


def test_every_digit_of_a_seed_is_kept(gateway: Gateway, page: Page) -> None:
    graph = {
        **GRAPH,
        "5": {"class_type": "KSampler", "inputs": {"seed": SEED}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    }
    body = {"template": "wan22-t2v-a14b", "parameters": {"prompt": "a fox", "seed": SEED}}
    job_id = gateway.ask("/farm/v1/jobs", method="POST", body=body).json["job_id"]
    title = gateway.store.get(job_id).spec.title

    search(page, "", 1)
    is_shown(page, f"seed {SEED}")
    go(page, f"#/job/{job_id}", title)
    is_shown(page, str(SEED))
    go(page, f"#/new/{job_id}", "Render again with …")
    page.evaluate("document.querySelector('textarea[name=prompt]').value = 'a hare'")
    page.evaluate(f"document.querySelector('input[name=seed]').value = '{SEED + 1}'")
    click(page, "Render")
    page.wait_until("location.hash.startsWith('#/job/')")
    go(page, "#/new", "New")
    drop_file(page, ".drop", "mine.json", json.dumps(graph))
    is_shown(page, "Parameters of mine.json")
    click(page, "Render")
    page.wait_until("location.hash.startsWith('#/job/')")

    of_graph, again, _ = gateway.store.find().jobs
    assert again.spec.template_parameters["seed"] == SEED + 1
    assert again.spec.template_parameters["prompt"] == "a hare"
    assert of_graph.spec.graph["5"]["inputs"]["seed"] == SEED


def test_words_that_turn_around_stay_among_themselves(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    turned = "a fox \u202eevil\u0007 end"
    shown = "a fox [U+202E]evil[U+0007] end"
    job_id = done(gateway, worker, turned, clip, tmp_path)
    result = gateway.store.get(job_id).result
    assert result is not None
    changed = {"node_id": "3", "input_name": "text", "old": "\u05d0\u05d1", "new": turned, "why": "LoRAs"}
    gateway.storage.put_bytes(
        json.dumps({"changes": [changed]}).encode(), result.manifest_key, media_type="application/json"
    )

    search(page, "", 1)
    is_shown(page, shown)
    go(page, f"#/job/{job_id}", shown)
    is_shown(page, f"Node 3, text: \u05d0\u05d1 became {shown}, for LoRAs")

    isolated = "[...document.querySelectorAll('li bdi')].map((each) => getComputedStyle(each).unicodeBidi)"
    assert set(page.evaluate(isolated)) == {"isolate"}
    go(page, f"#/new/{job_id}", "Render again with …")
