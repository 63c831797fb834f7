"""Log events: each has a name, and one meaning."""

from __future__ import annotations

from collections import defaultdict

from pages.log_events import ROOT, log_calls, page


def test_the_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "log-events.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_log_call_names_its_event_and_has_a_fixed_sentence() -> None:
    careless = [call.where for call in log_calls() if call.event is None or not call.sentence]

    assert careless == []


def test_no_event_has_two_meanings() -> None:
    sentences: dict[str, set[str]] = defaultdict(set)
    for call in log_calls():
        sentences[call.event or ""].add(call.sentence)

    assert {event: found for event, found in sentences.items() if len(found) > 1} == {}
