"""A table that runs as one test shows as much as its members would alone."""

from __future__ import annotations

import inspect

import pytest

from tests.support.tables import for_each


def test_every_member_runs_and_each_failure_names_its_own() -> None:
    seen = []

    @for_each("number, word", [(1, "one"), (2, "two"), (3, "three")])
    def is_even(number: int, word: str, fixture: str) -> None:
        seen.append((word, fixture))
        assert number % 2 == 0

    assert list(inspect.signature(is_even).parameters) == ["fixture"]
    with pytest.raises(ExceptionGroup, match="2 of 3 members failed") as caught:
        is_even(fixture="shared")

    assert seen == [("one", "shared"), ("two", "shared"), ("three", "shared")]
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["number=1, word='one'"],
        ["number=3, word='three'"],
    ]


def test_a_table_over_a_table_is_all_their_pairs() -> None:
    seen = []

    @for_each("first", "ab")
    @for_each("second", (pair for pair in "xy"))
    def notes(first: str, second: str) -> None:
        seen.append(first + second)

    notes()

    assert seen == ["ax", "ay", "bx", "by"]


def test_a_table_without_members_is_no_test() -> None:
    with pytest.raises(AssertionError, match="shows nothing"):
        for_each("word", [])
