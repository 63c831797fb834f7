"""ComfyUI's own arithmetic, with the figures that were worked out by hand."""

from __future__ import annotations

import pytest

from comfy.wan.fit import Fit, ModelSizes, fit
from comfy.wan.models import GIB


def a_fit(free_gib: float, *, expert_gib: float = 13.31, activations_gib: float = 6.1) -> Fit:
    models = ModelSizes(
        experts=(int(expert_gib * GIB),) * 2,
        others=int(6.5 * GIB),
        activations=int(activations_gib * GIB),
        decode=int(5.2 * GIB),
        layer=68 * 2**20,
    )
    return fit(int(free_gib * GIB), models)


@pytest.mark.parametrize(
    ("free_gib", "expert_gib", "activations_gib", "streamed_gib"),
    [
        (23.7, 13.31, 6.1, 0.0),  # fp8 at 640x640x81 on a 24 GB card: whole
        (23.7, 13.31, 13.6, 3.6),  # at 1280x720x81: 9.7 GiB of it stay
        (15.7, 13.31, 6.1, 4.1),
        (47.7, 26.6, 13.6, 0.0),
        (31.7, 26.6, 13.6, 8.9),
        (7.7, 13.31, 6.1, 12.1),
    ],
)
def test_what_does_not_fit_beside_the_activations_streams(
    free_gib: float, expert_gib: float, activations_gib: float, streamed_gib: float
) -> None:
    found = a_fit(free_gib, expert_gib=expert_gib, activations_gib=activations_gib)

    assert found.streamed_bytes / GIB == pytest.approx(streamed_gib, abs=0.1)


@pytest.mark.parametrize(
    ("free_gib", "activations_gib", "runs"), [(7.7, 6.1, True), (7.7, 13.6, False), (15.7, 13.6, True)]
)
def test_a_clip_whose_activations_fill_the_card_does_not_run(
    free_gib: float, activations_gib: float, runs: bool
) -> None:
    assert a_fit(free_gib, activations_gib=activations_gib).runs is runs


def test_both_experts_stay_where_there_is_room_for_the_largest_stage_beside_them() -> None:
    assert not a_fit(33).all_stay
    assert a_fit(35).all_stay


def test_a_vae_that_does_not_fit_decodes_in_tiles() -> None:
    assert not a_fit(5.5).decodes_whole
    assert a_fit(6.0).decodes_whole
