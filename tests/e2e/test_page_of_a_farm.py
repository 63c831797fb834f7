"""The gateway's page over a whole farm whose worker runs an emulator: what people see of real jobs.

`make docs-pictures` keeps what the browser has seen: the pictures of docs/gateway.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from farm.storage import S3Storage
from tests.support.browser import Page, find_browser, opened_page
from tests.support.gateway import Gateway
from tests.support.page import TOO_WIDE, click, go, is_shown
from tests.support.whole_farm import WholeFarm, a_clip

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")

MOST_BYTES = 100_000
DOCS = Path(__file__).parents[2] / "docs"
PROMPTS = (
    "A red fox trots through fresh snow at dawn, low sun through birch trunks",
    "A heron lifts off a still lake, mist, slow pan",
    "Paper boats on a rain gutter, macro, shallow focus",
    "A lighthouse in a storm, waves over the rocks, wide shot",
)


@pytest.fixture
def farm(new_farm: Callable[..., WholeFarm]) -> WholeFarm:
    farm = new_farm()
    farm.start_worker("gpu0", FARM_PREVIEWS="true", FARM_CANCEL_GRACE_S="3")
    return farm


@pytest.fixture
def gateway(farm: WholeFarm) -> Iterator[Gateway]:
    with Gateway(farm.redis, S3Storage(farm.s3)) as found:
        yield found


@pytest.mark.long
def test_people_see_their_clips_a_job_at_work_the_form_and_the_fleet(
    farm: WholeFarm, gateway: Gateway
) -> None:
    sized = {"width": 320, "height": 192, "frames": 17}
    graphs = [a_clip(prompt=prompt, seed=700 + at, **sized) for at, prompt in enumerate(PROMPTS)]
    done = [
        farm.submit(graph, title=prompt.partition(",")[0], labels=["reel=7"])
        for graph, prompt in zip(graphs, PROMPTS, strict=True)
    ]
    for each in done:
        farm.wait_final(each)
    farm.workers[0].misbehave("raise", error="ValueError", message="the shapes differ")
    failed = farm.wait_final(farm.submit(a_clip(), title="A hare"))
    farm.workers[0].misbehave("slow", factor=30)
    running = farm.submit(a_clip(prompt="An owl turns its head", steps=60, **sized), title="An owl at night")
    waiting = farm.submit(a_clip(prompt="A cat in the rain"), title="A cat in the rain", priority=2)
    farm.wait_step(running, at_least=3)

    with opened_page(f"{gateway.url}/", size="1200,800") as page:
        page.wait_until("document.querySelectorAll('.clip').length === 7")
        page.wait_until("[...document.images].filter((each) => each.naturalWidth > 0).length === 4")
        see(page, "clips")

        page.set_scheme("dark")
        go(page, f"#/job/{running.job_id}", "An owl at night")
        page.wait_until("document.querySelector('.stage img')?.naturalWidth > 0")
        page.wait_until(f"parseInt({ROWS.replace('NAME', 'Step times')}.at(-1)?.[1]) >= 5")
        see(page, "job")
        sampler, steps, _, each_s = page.evaluate(f"{ROWS.replace('NAME', 'Step times')}.at(-1)")
        assert "Sampler" in sampler
        assert re.fullmatch(r"\d+ of \d+", steps)
        assert re.fullmatch(r"[\d.]+ s", each_s)

        go(page, f"#/job/{done[0].job_id}", "A red fox trots through fresh snow at dawn")
        page.wait_until("document.querySelector('.stage video')?.readyState >= 2")
        for words in ("What the render doctor found", "Where the seconds went", "What was changed"):
            is_shown(page, words)
        report = done[0].refresh().record.result
        assert report is not None
        assert report.report is not None
        for finding in report.report["findings"]:
            is_shown(page, finding["message"])
        samplers = [each for prompt in report.report["prompts"] for each in prompt["samplers"]]
        assert len(page.evaluate(ROWS.replace("NAME", "Step times"))) == len(samplers) > 0

        go(page, f"#/job/{failed.job_id}", "A hare")
        for words in ("What went wrong", "the shapes differ", "What the render doctor found", "Log lines"):
            is_shown(page, words)

        page.set_scheme("light")
        go(page, f"#/new/{done[0].job_id}", "Render again with …")
        assert page.evaluate("document.querySelector('textarea[name=prompt]').value") == PROMPTS[0]
        assert page.evaluate("document.querySelector('input[name=seed]').value") == "700"
        click(page, "Plan and check")
        is_shown(page, "Checks")
        see(page, "form")

        page.set_scheme("dark")
        go(page, "#/fleet", "Fleet")
        is_shown(page, waiting.record.spec.title)
        is_shown(page, "gpu0@test")
        see(page, "fleet")

        page.set_size(375, 667)
        go(page, f"#/job/{done[1].job_id}", "A heron lifts off a still lake")
        page.wait_until("document.querySelector('.stage video')?.readyState >= 2")
        see(page, "telephone")
        assert page.evaluate(TOO_WIDE) == []
        page.set_scheme("light")
        assert page.said == []


@pytest.mark.parametrize("name", ["clips", "job", "form", "fleet", "telephone"])
def test_its_pictures_are_in_the_documentation(name: str) -> None:
    picture = DOCS / "page" / f"{name}.png"

    assert f"(page/{name}.png)" in (DOCS / "gateway.md").read_text(encoding="utf-8")
    assert 0 < picture.stat().st_size <= MOST_BYTES


ROWS = (
    "[...document.querySelectorAll('[aria-label=\"NAME\"] tbody tr')]"
    ".map((row) => [...row.cells].map((cell) => cell.innerText))"
)


def see(page: Page, name: str) -> None:
    """What can be seen, kept where somebody wants it: in so few colours that it is small."""
    page.evaluate("scrollTo(0, 0); document.activeElement?.blur()")
    with Image.open(BytesIO(page.screenshot())) as picture:
        few = picture.convert("RGB").quantize(96)
    written = BytesIO()
    few.save(written, "PNG", optimize=True)
    assert len(few.getcolors() or ()) > 20  # it has drawn something
    assert len(written.getvalue()) <= MOST_BYTES
    if "FARM_TEST_PICTURES" in os.environ:
        folder = Path(os.environ["FARM_TEST_PICTURES"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(written.getvalue())
