"""Files on the page: what is shown is what is sent, and why one was not taken stands where it was given."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.support.browser import Page
from tests.support.gateway import GRAPH, Gateway
from tests.support.page import click, drop_file, go, is_shown, is_shown_as_notice, submit, text

PICKED: Final = "[...document.querySelector('main form > .drop input').files].map((each) => each.name)"
BESIDE: Final = "document.querySelector('main form > .drop').innerText"
BAD: Final = {
    "half.json": ('{"1": {"class_type": ', "this is no JSON"),
    "null.json": ("null", "this is JSON, but no workflow"),
    "list.json": ("[1]", "this is JSON, but no workflow"),
    "empty.json": ("{}", "no nodes"),
    "other.json": ('{"a": 5}', "a node is an object"),
}


def choose(page: Page, name: str, content: str) -> None:
    """Choose a workflow file with the picker."""
    file = f"new File([{json.dumps(content)}], {json.dumps(name)}, {{type: 'application/json'}})"
    page.evaluate(
        f"{{ const data = new DataTransfer(); data.items.add({file});"
        "const picker = document.querySelector('main form > .drop input'); picker.files = data.files;"
        "picker.dispatchEvent(new Event('change', {bubbles: true})); }"
    )


@pytest.mark.parametrize("how", ["chosen", "dropped"])
def test_a_file_that_cannot_be_rendered_leaves_the_form_of_the_one_before(
    how: str, gateway: Gateway, page: Page
) -> None:
    def give(name: str, content: str) -> None:
        if how == "chosen":
            choose(page, name, content)
        else:
            drop_file(page, ".drop", name, content)

    go(page, "#/new", "New")
    give("mine.json", json.dumps(GRAPH))
    is_shown(page, "Parameters of mine.json")

    for name, (content, why) in BAD.items():
        give(name, content)
        page.wait_until(f"{BESIDE}.includes('{name} cannot be rendered')")
        assert why in page.evaluate(BESIDE), name
        assert page.evaluate(PICKED) == ["mine.json"]
        assert "Parameters of mine.json" in text(page)

    give("other.json", json.dumps(GRAPH))
    is_shown(page, "Parameters of other.json")
    assert "cannot be rendered" not in text(page)
    click(page, "Render")
    page.wait_until("location.hash.startsWith('#/job/')")
    (job,) = gateway.store.find().jobs
    assert job.spec.graph.keys() == GRAPH.keys()
    page.said.clear()  # a browser tells of what was refused


def test_a_bad_file_is_not_kept_beside_a_template(gateway: Gateway, page: Page) -> None:
    go(page, "#/new", "New")
    choose(page, "half.json", "{")
    page.wait_until(f"{BESIDE}.includes('half.json cannot be rendered')")
    assert page.evaluate(PICKED) == []

    choose(page, "mine.json", json.dumps(GRAPH))
    is_shown(page, "Parameters of mine.json")
    page.evaluate(
        "{ const choice = document.querySelector('select[name=template]'); choice.value = 'wan22-t2v-a14b';"
        "choice.dispatchEvent(new Event('change')); }"
    )
    page.wait_until("document.querySelector('.fields [name=preset]') !== null")

    assert page.evaluate(PICKED) == []
    assert "mine.json" not in text(page)


def test_a_file_beside_the_boxes_is_told_where_it_belongs(page: Page) -> None:
    go(page, "#/new", "New")
    drop_file(page, "h1", "mine.json", json.dumps(GRAPH))
    is_shown_as_notice(page, "Nothing was taken: drop a file within a box that has a broken line around it.")

    go(page, "#/fleet", "Fleet")
    drop_file(page, "h1", "mine.json", json.dumps(GRAPH))

    is_shown_as_notice(page, "Nothing was taken: files are dropped on the page New.")


def test_an_upload_that_fails_leaves_its_reason_and_no_name(gateway: Gateway, page: Page) -> None:
    job_id = submit(gateway, "A red fox")
    go(page, f"#/new/{job_id}", "Render again with …")
    page.evaluate("window.fetch = () => Promise.reject(new TypeError('the line is cut'))")
    drop_file(page, ".fields .drop", "fox.png", "x")

    is_shown(page, "fox.png: the line is cut")

    assert page.evaluate("document.querySelector('.fields .drop input[type=file]').files.length") == 0
    assert page.evaluate("document.querySelector('.fields .drop input[type=text]').value") == "fox.png"
    assert page.evaluate("document.querySelector('main form').checkValidity()")


def test_the_words_of_a_form_are_for_who_has_a_browser(page: Page) -> None:
    go(page, "#/new", "New")
    page.evaluate(
        "{ const choice = document.querySelector('select[name=template]'); choice.value = 'wan22-i2v-a14b';"
        "choice.dispatchEvent(new Event('change')); }"
    )
    page.wait_until("document.querySelector('.fields .drop') !== null")

    shown = text(page)

    assert [each for each in ("--", "s3://", "a path", "(steps)", "(frames)", "_") if each in shown] == []
    assert "image: where the clip starts: an address, or drop a file here" in shown
