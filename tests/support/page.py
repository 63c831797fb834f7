"""What a person does on the gateway's page, and what is to hold of whatever it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from farm.status.worker import GpuStatus, LoadPlanStatus, ResourceStatus, WorkerStatus
from tests.support.browser import Page
from tests.support.clips import make_picture
from tests.support.gateway import GRAPH, Gateway
from tests.support.gateway_worker import HandWorker

# Every control and picture of the page, and what it is called for who does not see it.
NAMELESS = """
[...document.querySelectorAll("button, input, select, textarea, a, video, img, progress")].filter((each) => {
  if (each.closest("[hidden], dialog:not([open]), [aria-hidden=true]")) return false;
  if (each.tagName === "IMG") return !each.hasAttribute("alt");
  const label = each.labels?.[0]?.textContent ?? "";
  return !(each.getAttribute("aria-label") || label || each.textContent).trim();
}).map((each) => each.outerHTML)
"""
WORKER = WorkerStatus(
    name="gpu0@rack",
    gpu=GpuStatus(name="NVIDIA GeForce RTX 4090", vram_total_bytes=24 << 30),
    load_plan=LoadPlanStatus(mode="balanced"),
    resources=ResourceStatus(vram_used_bytes=20 << 30, gpu_temperature_c=71),
    warm_models=("diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",),
    vram_gib=24,
    state="ready",
)
BUTTONS = "[...document.querySelectorAll('button')]"


# What reaches over the edge of the screen, but for what a table holds, which is wound by itself.
TOO_WIDE = """
[...document.querySelectorAll("body *")].filter((each) => !each.closest(".wide-table *, .skip")
  && each.getBoundingClientRect().right > innerWidth + 0.5).map((each) => each.outerHTML.slice(0, 200))
"""


def go(page: Page, place: str, heading: str) -> None:
    """Go to a place of the page, and wait for its heading."""
    # The page itself hears of it first.
    page.evaluate(
        f"new Promise((done) => {{ if (location.hash === {json.dumps(place)}) return done();"
        f"addEventListener('hashchange', done, {{once: true}}); location.hash = {json.dumps(place)}; }})"
    )
    shown = "document.querySelector('main[aria-busy]') === null && document.querySelector('main h1')"
    page.wait_until(f"{shown}?.textContent === {json.dumps(heading)}")


def is_shown_as_notice(page: Page, words: str) -> None:
    """Wait until the page says so, aloud."""
    page.wait_until(f"document.getElementById('notice').textContent === {json.dumps(words)}")


def click(page: Page, button: str) -> None:
    """Press a button."""
    page.evaluate(f"{BUTTONS}.find((each) => each.textContent === {json.dumps(button)}).click()")


def search(page: Page, words: str, count: int) -> None:
    """Search for words, until so many clips are shown."""
    page.evaluate(f"document.querySelector('input[name=search]').value = {json.dumps(words)}")
    page.evaluate("document.querySelector('form[role=search]').requestSubmit()")
    page.wait_until(f"document.querySelectorAll('.clip').length === {count}")


def is_shown(page: Page, words: str) -> None:
    """Wait until the words are on the page."""
    page.wait_until(f"document.querySelector('main').innerText.includes({json.dumps(words)})")


def text(page: Page) -> str:
    """All that is on the page."""
    return str(page.evaluate("document.querySelector('main').innerText"))


def submit(gateway: Gateway, title: str, **more: Any) -> str:
    """Queue a job; its id."""
    key = more.pop("key", None)
    body = {"graph": GRAPH, "title": title, **more}
    answer = gateway.ask("/farm/v1/jobs", method="POST", key=key, body=body)
    assert answer.status == 201, answer.json
    return str(answer.json["job_id"])


def done(gateway: Gateway, worker: HandWorker, title: str, clip: bytes, folder: Path) -> str:
    """A job that has made a clip; its id."""
    job_id = submit(gateway, title)
    worker.start(job_id)
    worker.succeed(job_id, clip=clip, poster=make_picture(folder / "poster.jpg").read_bytes())
    return job_id


def drop_file(page: Page, place: str, name: str, content: str) -> None:
    """Drop a file on the first of such places."""
    page.evaluate(
        "{ const data = new DataTransfer();"
        f"const file = new File([{json.dumps(content)}], {json.dumps(name)}, {{type: 'application/json'}});"
        "data.items.add(file);"
        f"document.querySelector({json.dumps(place)})"
        ".dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }"
    )
