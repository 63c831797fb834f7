"""The pages that are made from the code are what the code says."""

from __future__ import annotations

import pytest

from farm.status.not_fetching import Cause, NotFetching
from pages import not_fetching
from pages.__main__ import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_reason_for_not_fetching_and_every_cause_is_on_its_page() -> None:
    assert all(f"| `{reason}` | {reason.why} |" in not_fetching.page() for reason in NotFetching)
    assert all(f"| `{cause}` |" in not_fetching.page() for cause in Cause)
