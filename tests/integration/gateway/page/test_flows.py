"""The page in a real Chromium: what people do with it, and that it says nothing on its console."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

from comfy.wan.templates import get_template
from farm.asking.form import form_of_graph
from farm.job import EventKind
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerStatus
from farm.store.base import Drain, NewEvent
from tests.support.browser import Page
from tests.support.clips import make_picture
from tests.support.gateway import GRAPH, Gateway
from tests.support.gateway_worker import HandWorker
from tests.support.page import (
    BUTTONS,
    WORKER,
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
from tests.support.valkey import eventually

STEPS = "document.querySelector('[aria-label=\"Step times\"] tbody tr')"
HOSTS = "[...new Set(performance.getEntriesByType('resource').map((each) => new URL(each.name).origin))]"


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
    click(page, "Cancel 3 jobs")
    is_shown_as_notice(page, "canceled: 3")

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
    worker.step(job_id, 3, picture=picture)
    page.wait_until(f"{STEPS}?.textContent.includes('3 of 4')")
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
    is_shown(page, "Parameters of mine.json")

    page.evaluate("document.querySelector('main form').requestSubmit()")
    page.wait_until("location.hash.startsWith('#/job/')")

    (job,) = gateway.store.find().jobs
    assert job.spec.graph.keys() == GRAPH.keys()


def test_the_fleet_is_shown_with_what_waits_and_a_worker_is_drained(gateway: Gateway, page: Page) -> None:
    ready = WorkerStatus(name="gpu0@rack", vram_gib=24, emulated=True, state="ready")
    gateway.store.put_worker(ready, ttl_s=600)
    submit(gateway, "A red fox")

    go(page, "#/fleet", "Fleet")
    is_shown(page, "gpu0@rack")
    is_shown(page, "What waits for what")
    click(page, "Drain")
    is_shown_as_notice(page, "gpu0@rack fetches nothing more.")

    assert "1 queued" in text(page)
    assert "A red fox" in text(page)
    assert gateway.store.drain_of("gpu0@rack") is Drain.FINISH
    gateway.store.put_worker(replace(ready, not_fetching=(NotFetching.DRAINED,)), ttl_s=600)
    page.wait_until(f"{BUTTONS}.some((each) => each.textContent === 'Resume')")
    click(page, "Resume")
    is_shown_as_notice(page, "gpu0@rack fetches again.")
    assert gateway.store.drain_of("gpu0@rack") is None


def test_a_job_says_what_was_changed_found_and_logged(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    job_id = submit(gateway, "A red fox")
    claim = worker.start(job_id)
    line = NewEvent(kind=EventKind.LOG, data={"line": "Requested to load <b>WAN21</b>"})
    gateway.store.report(job_id, claim.attempt, [line], token=claim.token)
    worker.succeed(job_id, clip=clip, poster=make_picture(tmp_path / "poster.jpg").read_bytes())
    result = gateway.store.get(job_id).result
    assert result is not None
    changed = {"node_id": "3", "input_name": "steps", "old": 20, "new": 4, "why": "few-step LoRAs"}
    manifest = {"changes": [changed], "rewrites": [], "out_of_memory": [], "worker": {"name": "secret"}}
    gateway.storage.put_bytes(
        json.dumps(manifest).encode(), result.manifest_key, media_type="application/json"
    )

    go(page, f"#/job/{job_id}", "A red fox")

    is_shown(page, "Node 3, steps: 20 became 4, for few-step LoRAs")
    page.evaluate("document.querySelector('details').open = true")
    is_shown(page, "Requested to load <b>WAN21</b>")


def test_clips_are_found_by_day_and_worker(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    done(gateway, worker, "A red fox", clip, tmp_path)
    submit(gateway, "A white hare")
    search(page, "", 2)

    page.evaluate("document.querySelector('input[name=worker]').value = 'w1'")
    search(page, "", 1)
    page.evaluate("document.querySelector('input[name=worker]').value = ''")
    page.evaluate("document.querySelector('input[name=until]').value = '2020-01-01'")
    search(page, "", 0)
    page.evaluate("document.querySelector('input[name=since]').value = '2020-01-01'")
    page.evaluate("document.querySelector('input[name=until]').value = ''")
    search(page, "", 2)


def test_many_are_tried_again_compared_and_downloaded(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    ended = [submit(gateway, f"Gone {number}") for number in range(2)]
    gateway.store.cancel_many(ended)
    for title in ("A red fox", "A white hare"):
        done(gateway, worker, title, clip, tmp_path)
    choose = "document.querySelectorAll('.clip input').forEach((each) => each.click())"

    search(page, "gone", 2)
    page.evaluate(choose)
    click(page, "Retry")
    is_shown_as_notice(page, "queued anew: 2")
    page.evaluate("document.querySelector('select[name=state]').value = 'succeeded'")
    search(page, "", 2)
    page.evaluate(choose)
    click(page, "Compare")
    page.wait_until("document.querySelectorAll('.compare video').length === 2")
    page.wait_until("[...document.querySelectorAll('.compare video')].every((each) => each.readyState >= 2)")
    page.evaluate("document.querySelector('.compare video').currentTime = 0.5")
    page.wait_until("document.querySelectorAll('.compare video')[1].currentTime === 0.5")
    saved = tmp_path / "saved"
    page.save_downloads(saved)
    click(page, "Download")

    is_shown_as_notice(page, "downloaded: the files of 2")
    eventually(lambda: len(list(saved.glob("*.mp4"))) == 2)
    assert {each.name.split("-")[0] for each in saved.iterdir()} == {"A_red_fox", "A_white_hare"}
    assert {each.read_bytes() for each in saved.iterdir()} == {clip}
    assert {gateway.store.get(job_id).state.value for job_id in ended} == {"queued"}


def test_a_picture_is_dropped_on_a_template_and_travels_with_the_job(
    gateway: Gateway, page: Page, tmp_path: Path
) -> None:
    go(page, "#/new", "New")
    choice = "document.querySelector('select[name=template]')"
    page.evaluate(f"{choice}.value = 'wan22-i2v-a14b'; {choice}.dispatchEvent(new Event('change'))")
    page.wait_until("document.querySelector('.fields .drop') !== null")
    picture = base64.b64encode(make_picture(tmp_path / "fox.jpg").read_bytes()).decode()
    page.evaluate(
        f"{{ const bytes = Uint8Array.from(atob('{picture}'), (each) => each.charCodeAt(0));"
        "const data = new DataTransfer(); data.items.add(new File([bytes], 'fox.jpg', {type: 'image/jpeg'}));"
        "document.querySelector('.fields .drop')"
        ".dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }"
    )
    page.wait_until("document.querySelector('.fields .drop input').value.startsWith('asset:')")
    page.evaluate("document.querySelector('textarea[name=prompt]').value = 'a fox'")

    page.evaluate("document.querySelector('main form').requestSubmit()")
    page.wait_until("location.hash.startsWith('#/job/')")

    (job,) = gateway.store.find().jobs
    (source,) = job.spec.inputs.values()
    assert source.startswith("s3://")


def test_a_dropped_graph_is_set_by_what_its_values_are_for(gateway: Gateway, page: Page) -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="a fox", seed=7, preset="fast").graph
    go(page, "#/new", "New")
    drop_file(page, ".drop", "mine.json", json.dumps(graph))
    is_shown(page, "Parameters of mine.json")
    assert page.evaluate("document.querySelector('textarea[name=prompt]').value") == "a fox"
    assert page.evaluate("document.querySelector('select[name=template]').selectedOptions[0].text") == (
        "a workflow file"
    )
    strengths = "[...document.querySelectorAll('input[name$=strength_model]')]"

    page.evaluate("document.querySelector('textarea[name=prompt]').value = 'a hare'")
    page.evaluate("document.querySelector('input[name=frames]').value = '33'")
    page.evaluate(f"{strengths}[0].value = '0.5'")
    page.evaluate("document.querySelector('input[name=labels]').value = 'shot=12 night'")
    page.evaluate("document.querySelector('select[name=priority]').value = '2'")
    click(page, "Render")
    page.wait_until("location.hash.startsWith('#/job/')")

    (job,) = gateway.store.find().jobs
    found = {each.parameter.name: each.value for each in form_of_graph(job.spec.graph)}
    assert (found["prompt"], found["frames"], found["seed"]) == ("a hare", 33, 7)
    assert sorted(value for name, value in found.items() if "strength" in name) == [0.5, 1.0]
    assert (job.spec.labels, job.spec.priority) == (("shot=12", "night"), 2)


def test_a_form_that_lacks_something_is_not_sent_and_a_refusal_names_what_is_wrong(
    gateway: Gateway, page: Page
) -> None:
    go(page, "#/new", "New")
    click(page, "Plan and check")
    click(page, "Render")
    assert page.evaluate("document.querySelector('textarea[name=prompt]:invalid') !== null")
    page.evaluate("document.querySelector('textarea[name=prompt]').value = 'a fox'")
    page.evaluate("document.querySelector('input[name=frames]').value = '2'")

    click(page, "Render")

    page.wait_until("document.querySelector('main [role=alert]')?.textContent.includes('frames')")
    assert gateway.store.find().jobs == ()
    page.said.clear()  # a browser tells of what was refused


def test_the_fleet_tells_what_a_card_does_holds_and_lacks(gateway: Gateway, page: Page) -> None:
    status = replace(WORKER, warm_models=("vae/wan_2.1_vae.safetensors",))
    gateway.store.put_worker(status, ttl_s=600)
    waiting = [submit(gateway, f"fox {number}") for number in range(2)]
    parked = submit(gateway, "An owl", vram_gib=80, if_unplaceable="park")

    go(page, "#/fleet", "Fleet")
    is_shown(page, "An owl")
    row = "document.querySelector('[aria-label=Workers] tbody tr').innerText"
    queue = "[...document.querySelector('[aria-label=Queues] tbody tr').cells].map((each) => each.innerText)"

    shown = page.evaluate(row)
    told = ("NVIDIA GeForce RTX 4090", "24 GiB", "balanced", "ready", "20 of 24 GiB, 71 °C")
    assert [each for each in (*told, "wan_2.1_vae.safetensors") if each not in shown] == []
    assert gateway.store.get(parked).parked
    class_gib, priority, count, oldest = page.evaluate(queue)
    assert (class_gib, priority, count) == ("8 GiB", "5", str(len(waiting)))
    assert oldest.endswith(" s")
    assert "fit no worker that lives" in text(page)


def test_four_clips_play_in_step_and_a_fifth_is_too_many(
    gateway: Gateway, worker: HandWorker, page: Page, clip: bytes, tmp_path: Path
) -> None:
    for number in range(5):
        done(gateway, worker, f"Take {number}", clip, tmp_path)
    search(page, "take", 5)
    click(page, "Choose all shown")
    click(page, "Compare")
    is_shown_as_notice(page, "Choose two to four clips that are done.")
    page.evaluate("document.querySelector('.clip input').click()")
    click(page, "Compare")
    videos = "[...document.querySelectorAll('.compare video')]"
    page.wait_until(f"{videos}.length === 4 && {videos}.every((each) => each.readyState >= 2)")

    page.evaluate(f"{videos}[2].play()")
    page.wait_until(f"{videos}.every((each) => !each.paused)")
    page.evaluate(f"{videos}[1].pause()")
    page.wait_until(f"{videos}.every((each) => each.paused)")
    page.evaluate(f"{videos}[3].currentTime = 0.5")
    page.wait_until(f"{videos}.every((each) => Math.abs(each.currentTime - 0.5) < 0.06)")
    click(page, "From the start")

    page.wait_until(f"{videos}.every((each) => each.currentTime === 0)")
