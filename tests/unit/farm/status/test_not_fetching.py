"""The reasons for which a worker takes no jobs."""

from __future__ import annotations

import pytest

from farm.status.not_fetching import Cause, NotFetching, most_telling_first


@pytest.mark.parametrize("reason", NotFetching)
def test_every_reason_is_a_label_without_spaces_and_has_a_sentence(reason: NotFetching) -> None:
    assert reason.value.replace("_", "").isalpha()
    assert reason.why
    assert reason.until


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("starting", NotFetching.STARTING),
        ("draining", NotFetching.DRAINING),
        ("drained", NotFetching.DRAINED),
        ("spot notice", NotFetching.SPOT_NOTICE),
        ("comfy down", NotFetching.COMFYUI_DOWN),
        ("card cannot be used", NotFetching.GPU_UNUSABLE),
        ("quarantine", NotFetching.QUARANTINE),
        ("storage away", NotFetching.STORAGE_AWAY),
        ("Redis takes no writes", NotFetching.REDIS_READ_ONLY),
        ("ComfyUI runs otherwise than planned", NotFetching.NOT_PROVEN),
        ("ComfyUI is not proven to run as planned", NotFetching.NOT_PROVEN),
        ("consumer given up", NotFetching.CONSUMER_GIVEN_UP),
        ("the moon is full", NotFetching.UNKNOWN),
    ],
)
def test_the_words_of_older_workers_are_read_and_those_of_newer_ones_keep_their_weight(
    text: str, reason: NotFetching
) -> None:
    assert NotFetching(text) is reason


def test_what_is_to_be_mended_is_told_before_what_was_wanted_and_what_passes() -> None:
    told = most_telling_first(NotFetching)

    assert set(told) == set(NotFetching)
    assert [reason.cause for reason in told] == sorted(
        (reason.cause for reason in NotFetching), key=[Cause.FAULT, Cause.ORDER, Cause.PASSING].index
    )
