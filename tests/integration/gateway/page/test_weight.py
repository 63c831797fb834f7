"""What the page costs on a farm of 100,000 jobs before something is seen, in a real Chromium."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.storage import S3Storage
from tests.support.browser import find_browser, opened_page
from tests.support.clips import make_clip, make_picture
from tests.support.gateway import Gateway
from tests.support.gateway_worker import HandWorker
from tests.support.jobs import a_job
from tests.support.many_jobs import copy_job
from tests.support.valkey import ValkeyServer

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")

JOBS = 100_000
SHOWN = 24
# What a browser asked for, the page itself too, and when first something and then the clips were painted.
LOADED = """
(() => {
  const asked = ["navigation", "resource"].flatMap((each) => performance.getEntriesByType(each));
  const jobs = asked.filter((each) => each.name.includes("/farm/v1/jobs"));
  return {
    ours: asked.filter((each) => new URL(each.name).origin === location.origin)
      .map((each) => [new URL(each.name).pathname, each.transferSize]),
    painted: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    listed: jobs[0].responseEnd,
  };
})()
"""


# A page that nobody looks at asks for no news, which would be counted too.
UNSEEN = "Object.defineProperty(document, 'hidden', {value: true})"
MORE = "[...document.querySelectorAll('button')].find((each) => each.textContent === 'More').click()"


@pytest.fixture
def gateway(
    start_valkey: Callable[..., ValkeyServer], s3_settings: S3Settings, tmp_path: Path
) -> Iterator[Gateway]:
    settings = RedisSettings.read(url=start_valkey("--appendonly", "no").url, namespace="many")
    with Gateway(settings, S3Storage(s3_settings)) as found:
        one = a_job(title="A red fox", labels=["batch=7"])
        found.store.submit([one])
        worker = HandWorker(found.store, found.storage)
        worker.start(one.job_id)
        clip = make_clip(tmp_path / "a.mp4").read_bytes()
        worker.succeed(one.job_id, clip=clip, poster=make_picture(tmp_path / "a.jpg").read_bytes())
        copy_job(settings, one.job_id, JOBS - 1)
        yield found


def records_read(gateway: Gateway) -> int:
    """How many records Redis has given out, whoever asked."""
    with redis.Redis.from_url(gateway.redis.url.get_secret_value()) as client:
        return int(client.info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0))


def test_the_first_sight_of_a_large_farm_reads_what_it_shows_and_no_more(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    before = records_read(gateway)

    with opened_page("about:blank") as page:
        page.run_first(UNSEEN)
        page.open(f"{gateway.url}/")
        page.wait_until(f"document.querySelectorAll('.clip').length === {SHOWN}")
        read = records_read(gateway) - before
        loaded = page.evaluate(LOADED)
        said = page.said

        page.evaluate(MORE)
        page.wait_until(f"document.querySelectorAll('.clip').length === {2 * SHOWN}")
        then_read = records_read(gateway) - before - read

    asked = [path for path, _ in loaded["ours"]]
    weight = sum(size for _, size in loaded["ours"])
    with capsys.disabled():
        sys.stdout.write(
            f"\n{JOBS:,} jobs: painted after {loaded['painted']:.0f} ms, "
            f"listed after {loaded['listed']:.0f} ms, {weight / 1000:.0f} kB in {len(asked)} requests\n"
        )
    assert said == []
    assert read == SHOWN
    assert then_read == SHOWN
    assert [path for path in asked if path.startswith("/farm/")] == ["/farm/v1/entry", "/farm/v1/jobs"]
    assert sorted(path for path in asked if not path.startswith("/farm/")) == [
        "/",
        *(f"/page/{name}.js" for name in ("api", "app", "card", "clips", "compare", "dom", "exact")),
        "/page/page.css",
    ]
    assert 0 < weight <= 200_000
