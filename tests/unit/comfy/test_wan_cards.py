"""Cards are found by what NVML calls them, and by what people call them; none is taken for another."""

from __future__ import annotations

import pytest

from comfy.wan.card_table import KNOWN_CARDS
from comfy.wan.cards import known_card, no_card, sizes_of, vram_class_gib
from comfy.wan.precision import Precision
from comfy.wan.speed import rate_of
from tests.support.tables import for_each


@for_each(
    "name, expected",
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("RTX 4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 D", "RTX 4090 D"),
        ("4090D", "RTX 4090 D"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Laptop"),
        ("4090 mobile", "RTX 4090 Laptop"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti SUPER"),
        ("4070tis", "RTX 4070 Ti SUPER"),
        ("4080s", "RTX 4080 SUPER"),
        ("NVIDIA GeForce RTX 4070", "RTX 4070"),
        ("NVIDIA GeForce RTX 5060", "RTX 5060"),
        ("RTX 5060 Ti 16 GB", "RTX 5060 Ti 16GB"),
        ("5090", "RTX 5090"),
        ("NVIDIA GeForce RTX 2080 Super with Max-Q Design", "RTX 2080 SUPER Max-Q"),
        ("NVIDIA TITAN RTX", "TITAN RTX"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("A100 80 GB", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("Tesla T4", "T4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L40", "L40"),
        ("Quadro RTX 6000", "Quadro RTX 6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("A6000", "RTX A6000"),
        ("NVIDIA RTX 4000 SFF Ada Generation", "RTX 4000 SFF Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Blackwell Max-Q"),
        ("RTX 6000", None),  # of Turing, Ada or Blackwell: nobody can tell
        ("RTX 4090 48GB", None),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", None),
        ("Voodoo 2", None),
        ("RTX", None),
        ("", None),
    ],
)
def test_a_card_is_found_by_its_name(name: str, expected: str | None) -> None:
    found = known_card(name)

    assert (found.name if found else None) == expected


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("NVIDIA GeForce RTX 4060 Ti", ["RTX 4060 Ti 8GB", "RTX 4060 Ti 16GB"]),
        ("3080", ["RTX 3080 10GB", "RTX 3080 12GB"]),
        ("A100", ["A100 40GB", "A100 80GB"]),
    ],
)
def test_a_name_that_leaves_the_memory_open_takes_none_of_the_sizes(name: str, sizes: list[str]) -> None:
    found = known_card(name)

    assert found is not None
    assert found.vram_mib is None
    assert [card.name for card in sizes_of(found)] == sizes
    assert all(size in no_card(name) for size in sizes)


def test_cards_near_an_unknown_name_are_named() -> None:
    assert "RTX 6000 Ada" in no_card("RTX 6000")
    assert no_card("Voodoo 2").endswith("give its VRAM in GiB too")


def test_every_card_is_found_by_all_its_names_and_has_a_class_and_a_bound() -> None:
    for card in KNOWN_CARDS:
        assert [known_card(name) for name in (card.name, *card.also)] == [card] * (1 + len(card.also))
        assert rate_of(card.name, Precision.WIDE) is not None
        assert card.vram_mib is not None
        assert card.vram_mib < 8000 or vram_class_gib(card.vram_mib * 2**20) is not None


def test_no_two_cards_share_a_name() -> None:
    names = [name.lower() for card in KNOWN_CARDS for name in (card.name, *card.also)]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("RTX 4090 D", "documented times on a 4090D"),
        ("RTX 4090", "by the RTX 4090 D's rate"),
        ("H200", "time tables"),
        ("RTX 5060", "a bound, no time is published"),
    ],
)
def test_a_rate_says_whether_it_was_measured_on_that_card(card: str, words: str) -> None:
    rate = rate_of(card, Precision.FP8)

    assert rate is not None
    assert words in rate.source
