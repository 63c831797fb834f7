"""Cards are found by what NVML calls them, and by what people call them."""

from __future__ import annotations

import pytest

from comfy.wan.cards import KNOWN_CARDS, known_card, vram_class_gib


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("RTX 4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("rtx4090", None),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti SUPER"),
        ("NVIDIA GeForce RTX 4070", "RTX 4070"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("A100 80 GB", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell"),
        ("Voodoo 2", None),
        ("", None),
    ],
)
def test_a_card_is_found_by_its_name(name: str, expected: str | None) -> None:
    found = known_card(name)

    assert (found.name if found else None) == expected


def test_every_card_is_found_by_its_own_name_and_has_a_class() -> None:
    for card in KNOWN_CARDS:
        assert known_card(card.name) == card
        assert vram_class_gib(card.vram_mib * 2**20) is not None
