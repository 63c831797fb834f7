"""A gateway with links into a real S3 server, and its page in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.storage import S3Storage
from tests.support.browser import Page, find_browser, opened_page
from tests.support.clips import make_clip
from tests.support.gateway import Gateway
from tests.support.jobs import a_result
from tests.support.page import NAMELESS


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video."""
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4").read_bytes()


@pytest.fixture
def gateway(gateway_redis: RedisSettings, s3_settings: S3Settings) -> Iterator[Gateway]:
    """A gateway whose links lead to a real S3 server."""
    with Gateway(gateway_redis, S3Storage(s3_settings)) as found:
        found.storage.put_bytes(b"{}", a_result().manifest_key, media_type="application/json")
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """A browser that the tests of a module share."""
    if find_browser() is None:
        pytest.skip("no Chromium is installed")
    with opened_page("about:blank") as found:
        yield found


@pytest.fixture
def page(browser: Page, gateway: Gateway) -> Iterator[Page]:
    """The gateway's page, which says nothing on the console and has a name for each control."""
    browser.open(f"{gateway.url}/")
    there = f"location.origin === {json.dumps(gateway.url)} && document.querySelector"
    browser.wait_until(f"{there}('main h1, dialog[open]') !== null")
    yield browser
    assert browser.said == [], "something is on the console"
    assert browser.evaluate(NAMELESS) == []
    # A gateway that ends waits for its streams.
    browser.open("about:blank")
