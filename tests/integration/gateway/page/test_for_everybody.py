"""The page for who does not see it, has no mouse, likes it dark, or holds a telephone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from comfy.wan.templates import get_template
from farm.status.not_fetching import NotFetching
from tests.support.browser import Page
from tests.support.clips import make_picture
from tests.support.gateway import Gateway
from tests.support.gateway_worker import HandWorker
from tests.support.page import (
    NAMELESS,
    TOO_WIDE,
    WORKER,
    click,
    done,
    drop_file,
    go,
    is_shown,
    search,
    submit,
)

# Of this package, the script alone: its Playwright is left out of the environment.
_AXE_IN: Final = find_spec("axe_playwright_python")
SERIOUS = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations
  .filter((each) => ["serious", "critical"].includes(each.impact))
  .map((each) => [each.id, ...each.nodes.map((node) => node.html)]))
"""
FOCUSED = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
LONG = "Averylongwordthatnobodywouldsay" * 5


@pytest.fixture(scope="module")
def axe() -> str:
    assert _AXE_IN is not None
    assert _AXE_IN.origin is not None
    return Path(_AXE_IN.origin).with_name("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def jobs(gateway: Gateway, worker: HandWorker, clip: bytes, tmp_path: Path) -> dict[str, str]:
    """A job of each kind, by its title."""
    made = {title: done(gateway, worker, title, clip, tmp_path) for title in ("A red fox", "A white hare")}
    made |= {title: submit(gateway, title) for title in ("An owl that fails", LONG, "A heron at work")}
    for title in ("An owl that fails", "A heron at work"):
        worker.start(made[title])
    worker.fail(made["An owl that fails"])
    worker.step(made["A heron at work"], 2, picture=make_picture(tmp_path / "preview.jpg").read_bytes())
    gateway.store.put_worker(WORKER, ttl_s=600)
    gateway.store.put_worker(
        replace(WORKER, name="gpu1@rack", not_fetching=(NotFetching.DRAINED,)), ttl_s=600
    )
    return made


def views(page: Page, jobs: dict[str, str]) -> Iterator[str]:
    """Bring up all that the page shows, one after the other; what it is."""
    go(page, "#/clips", "Clips")
    search(page, "", len(jobs))
    yield "clips"
    for title in ("A red fox", "A white hare"):
        page.evaluate(f"document.querySelector('[aria-label=\"Choose {title}\"]').click()")
    click(page, "Compare")
    page.wait_until("document.querySelectorAll('.compare video').length === 2")
    yield "two clips side by side"
    click(page, "Cancel")
    page.wait_until("document.querySelector('dialog[open] button') !== null")
    yield "a question"
    click(page, "Leave it")
    search(page, "nothing of the kind", 0)
    yield "no clips"
    for title, job_id in jobs.items():
        go(page, f"#/job/{job_id}", title)
        is_shown(page, "What was asked")
        yield f"job {title}"
    go(page, "#/job/nobody", "That cannot be shown")
    page.said.clear()  # a browser tells of each 404
    yield "no such job"
    go(page, "#/new", "New")
    page.evaluate("document.querySelector('textarea[name=prompt]').value = 'a fox'")
    click(page, "Plan and check")
    is_shown(page, "Checks")
    yield "a template's form, planned"
    page.evaluate(
        "const choice = document.querySelector('select[name=template]'); choice.value = 'wan22-i2v-a14b';"
        "choice.dispatchEvent(new Event('change'))"
    )
    page.wait_until("document.querySelector('.fields .drop') !== null")
    yield "a form with a file"
    graph = get_template("wan22-t2v-a14b").build(prompt="a fox", preset="fast").graph
    drop_file(page, ".drop", "mine.json", json.dumps(graph))
    is_shown(page, "Parameters of mine.json")
    yield "the form of a graph"
    go(page, "#/fleet", "Fleet")
    is_shown(page, "What waits for what")
    yield "fleet"


# Colours are the same at any width, so each scheme is looked at on one screen.
@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 375)], ids=["desk", "telephone"])
def test_each_view_is_for_everybody(
    scheme: str, width: int, axe: str, page: Page, jobs: dict[str, str]
) -> None:
    page.set_scheme(scheme)
    page.set_size(width, 800)

    faults = {}
    for view in views(page, jobs):
        page.evaluate(f"{axe}; true")
        found = [*page.evaluate(SERIOUS), *page.evaluate(NAMELESS), *page.evaluate(TOO_WIDE)]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append("it has to be wound sideways")
        if found:
            faults[view] = found
    page.set_scheme("light")
    page.set_size(1600, 1000)

    assert faults == {}


def test_all_is_done_by_the_keyboard_alone(gateway: Gateway, page: Page, jobs: dict[str, str]) -> None:
    go(page, "#/clips", "Clips")
    search(page, "red", 1)
    page.evaluate("document.activeElement.blur()")

    tab_to(page, lambda: page.evaluate(FOCUSED) == "To the content")
    page.press("Enter", text="\r")
    page.wait_until("document.activeElement.id === 'main'")
    tab_to(page, lambda: page.evaluate("document.activeElement.name") == "search")
    tab_to(page, lambda: page.evaluate(FOCUSED) == "Choose A red fox")
    page.press(" ", text=" ")
    page.wait_until("document.querySelector('.clip input').checked")
    is_shown(page, "1 chosen")
    tab_to(page, lambda: page.evaluate(FOCUSED) == "A red fox, succeeded")
    page.wait_until("document.querySelector('.clip video')?.readyState >= 2")
    page.press("Enter", text="\r")
    page.wait_until("document.querySelector('main h1')?.textContent === 'A red fox'")
    page.wait_until("document.activeElement.id === 'main'")

    assert page.evaluate("document.title") == "A red fox – WAN farm"
    assert page.evaluate("location.hash") == f"#/job/{jobs['A red fox']}"


def tab_to(page: Page, there: Callable[[], bool]) -> None:
    """Go on from control to control."""
    for _ in range(40):
        page.press("Tab")
        if there():
            return
    raise AssertionError(f"never reached; the focus is on {page.evaluate(FOCUSED)!r}")


def test_what_happens_is_said_aloud(gateway: Gateway, worker: HandWorker, page: Page) -> None:
    job_id = submit(gateway, "A red fox")
    go(page, f"#/job/{job_id}", "A red fox")
    page.wait_until("document.querySelector('main [role=status]').textContent.startsWith('queued')")

    worker.start(job_id)
    page.wait_until("document.querySelector('main [role=status]').textContent.startsWith('running')")
    worker.fail(job_id)

    page.wait_until("document.querySelector('main [role=alert]')?.textContent.includes('the shapes differ')")
    page.wait_until("document.querySelector('main [role=status]').textContent.startsWith('failed')")
