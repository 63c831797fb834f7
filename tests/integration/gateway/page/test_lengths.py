"""Names, paths and words of any length, on a telephone, a tablet and a desk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from farm.job import EventKind
from farm.store.base import NewEvent
from tests.support.browser import Page
from tests.support.clips import make_picture
from tests.support.gateway import GRAPH, Gateway
from tests.support.gateway_worker import HandWorker
from tests.support.page import TOO_WIDE, WORKER, click, go, is_shown, search, submit

WIDTHS: Final = (375, 768, 1280)
WORD: Final = "Averylongwordthatnobodywouldsay" * 5
PATH: Final = (
    "diffusion_models/" + "a_folder_of_somebody/" * 8 + "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
)
LABEL: Final = f"shot={WORD}"[:60]
WORDS: Final = " ".join(["An old sailor mends his net at dusk while the tide comes in over the flats"] * 2)

# Words that stand on several lines although they are short, or fit into the place that they stand in.
BROKEN: Final = r"""
(() => {
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const around = node.parentElement;
    const block = around.closest("td, th, li, p, label, h1, h2, button, figcaption, .about, summary");
    if (!block || !around.checkVisibility() || around.closest("option, textarea")) continue;
    const style = getComputedStyle(block);
    const column = block.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    for (const word of node.textContent.matchAll(/[^\s-]+/gu)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const parts = [...range.getClientRects()].filter((each) => each.width);
      if (new Set(parts.map((each) => Math.round(each.top))).size < 2) continue;
      const width = parts.reduce((sum, each) => sum + each.width, 0);
      if (word[0].length > 12 && width > column) continue;
      found.push(`${word[0].slice(0, 40)} in ${block.outerHTML.slice(0, 80)}`);
    }
  }
  return found;
})()
"""
# Controls of one line that stand beside each other, and neither begin nor end at one height.
UNEVEN: Final = """
(() => {
  const lines = "select, input:not([type=checkbox], [type=file])";
  const all = [...document.querySelectorAll(`main :is(${lines})`)].filter((each) => each.checkVisibility())
    .map((each) => [each.name, each.getBoundingClientRect()]);
  return all.flatMap(([name, at]) => all
    .filter(([, other]) => at.top < other.bottom && other.top < at.bottom && at.left < other.left)
    .filter(([, other]) => Math.abs(at.top - other.top) > 1 || Math.abs(at.bottom - other.bottom) > 1)
    .map(([other]) => `${name} beside ${other}`));
})()
"""


def faults(page: Page) -> list[str]:
    """What is wrong with what is shown, on each screen."""
    found: list[str] = []
    for width in WIDTHS:
        page.set_size(width, 800)
        shown = [*page.evaluate(TOO_WIDE), *page.evaluate(BROKEN), *page.evaluate(UNEVEN)]
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            shown.append(f"it is {wide} pixels wide")
        found += [f"{width}: {each}" for each in shown]
    page.set_size(1600, 1000)
    return found


@pytest.fixture
def done(gateway: Gateway, clip: bytes, tmp_path: Path) -> list[str]:
    """Two jobs that are done, of which all is as long as it may be."""
    worker = HandWorker(gateway.store, gateway.storage, name=f"gpu0@{WORD[:80]}")
    picture = make_picture(tmp_path / "poster.jpg").read_bytes()
    found = []
    for title in (WORD, WORDS):
        graph = {**GRAPH, "3": {"class_type": WORD, "inputs": {"text": WORDS, "name": PATH}}}
        labels = [LABEL, "night"]
        job_id = submit(
            gateway, title, graph=graph, parameters={"3.text": WORDS}, labels=labels, if_unplaceable="park"
        )
        claim = worker.start(job_id)
        line = NewEvent(kind=EventKind.LOG, data={"line": PATH})
        gateway.store.report(job_id, claim.attempt, [line], token=claim.token)
        worker.succeed(job_id, clip=clip, poster=picture)
        result = gateway.store.get(job_id).result
        assert result is not None
        changed = {"node_id": "3", "input_name": "name", "old": PATH, "new": WORD, "why": WORDS}
        manifest = {
            "changes": [changed],
            "out_of_memory": [{PATH: WORD}],
            "blocked": [{"node_id": "3", "message": PATH}],
        }
        gateway.storage.put_bytes(
            json.dumps(manifest).encode(), result.manifest_key, media_type="application/json"
        )
        found.append(job_id)
    return found


def test_nothing_is_wider_than_the_screen_and_no_word_is_broken_without_need(
    gateway: Gateway, page: Page, done: list[str]
) -> None:
    gateway.store.put_worker(replace(WORKER, name=f"gpu0@{WORD[:80]}", warm_models=(PATH, WORD)), ttl_s=600)
    failed = submit(gateway, "An owl", labels=[LABEL])
    waits = submit(gateway, f"{WORD} waits", vram_gib=80, if_unplaceable="park")
    worker = HandWorker(gateway.store, gateway.storage, name=f"gpu1@{WORD[:80]}")
    worker.start(failed)
    worker.fail(failed)
    found = {}

    go(page, "#/clips", "Clips")
    search(page, "", 4)
    found["clips"] = faults(page)
    search(page, "a", 4)
    page.evaluate("document.querySelectorAll('.clip:has(img) input').forEach((each) => each.click())")
    click(page, "Compare")
    page.wait_until("document.querySelectorAll('.compare video').length === 2")
    found["compare"] = faults(page)
    for job_id, title in ((done[0], WORD), (done[1], WORDS), (failed, "An owl"), (waits, f"{WORD} waits")):
        go(page, f"#/job/{job_id}", title)
        is_shown(page, "What was asked")
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        found[f"job {title[:20]}"] = faults(page)
    go(page, f"#/new/{done[0]}", "Render again with …")
    click(page, "Plan and check")
    is_shown(page, "Checks")
    found["again"] = faults(page)
    go(page, "#/new", "New")
    found["new"] = faults(page)
    page.evaluate(
        "{ const choice = document.querySelector('select[name=template]'); choice.value = 'wan22-i2v-a14b';"
        "choice.dispatchEvent(new Event('change')); }"
    )
    page.wait_until("document.querySelector('.fields .drop') !== null")
    found["new, of a picture"] = faults(page)
    go(page, "#/fleet", "Fleet")
    is_shown(page, "What waits for what")
    found["fleet"] = faults(page)

    told = [f"{view}, {each}" for view, all_of_it in found.items() for each in all_of_it]
    assert not told, "\n".join(told)
