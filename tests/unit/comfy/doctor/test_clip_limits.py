"""Thresholds of a clip as an operator writes them."""

from __future__ import annotations

import pytest

from comfy.doctor.clip import USUAL, Thresholds, read_thresholds


def test_what_is_not_given_stays_as_usual() -> None:
    assert read_thresholds("") == USUAL
    assert read_thresholds("black_mean=4, tail = 0.5,") == Thresholds(black_mean=4, tail=0.5)


@pytest.mark.parametrize("text", ["blackmean=4", "tail", "tail=", "tail=high", "tail=-1", "tail=nan"])
def test_what_cannot_be_read_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        read_thresholds(text)
