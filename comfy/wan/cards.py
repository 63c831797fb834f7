"""Cards by name: what NVML will say of them, for a plan without the card, and whether they encode video."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from comfy.wan.card_table import KNOWN_CARDS, KnownCard
from comfy.wan.memory import VRAM_CLASSES_GIB
from comfy.wan.models import GIB

IDLE_BYTES: Final = 300 * 2**20  # what the driver holds of a card that does nothing
# ECC takes a sixteenth of GDDR6: an "24 GB" L4 reports 23,034 MiB, a "48 GB" A40 46,068 MiB.
_LEAST_PART_OF_CLASS: Final = 0.93

# Words of a name that tell no card from another.
_NOISE: Final = frozenset({"nvidia", "geforce", "tesla", "graphics", "gpu", "card", "generation", "edition"})
_SHORT: Final = {"s": "super", "mobile": "laptop", "notebook": "laptop"}
_MEMORY: Final = re.compile(r"(\d+)gb")


def vram_class_gib(total_bytes: int) -> int | None:
    """The largest VRAM class that so much memory stands for; None when it is less than all of them."""
    fitting = [gib for gib in VRAM_CLASSES_GIB if total_bytes >= gib * GIB * _LEAST_PART_OF_CLASS]
    return max(fitting, default=None)


def no_card(name: str) -> str:
    """What to say of a card's name by which no card, or more than one, is known."""
    card = known_card(name)
    if card is not None:
        sizes = " or ".join(each.name for each in sizes_of(card))
        return f"{name!r} comes with more or less memory: say {sizes}, or give its VRAM in GiB"
    return unknown_card(name, instead="give its VRAM in GiB too")


def unknown_card(name: str, *, instead: str = "") -> str:
    """What to say of a card's name that is not known.

    Args:
        instead: what helps but for another name.
    """
    near = ", ".join(names_near(name))
    ways = ", or ".join(way for way in (instead, f"one of: {near}" if near else "") if way)
    return f"no card {name!r} is known" + (f"; {ways}" if ways else "")


def known_card(name: str) -> KnownCard | None:
    """The kind of card that goes by a name: NVML's ("NVIDIA A100-SXM4-80GB") or a person's ("4090").

    Nothing is taken for something near it: a name has to tell the card whole. Its memory may be left out; of
    a card that comes with several sizes `vram_mib` is None then.
    """
    words = _words(name)
    exact = _by_words().get(words)
    if exact is not None:
        return exact
    asked = {int(found[1]) for word in words if (found := _MEMORY.fullmatch(word))}
    sizes = _by_kind().get(_without_memory(words), ())
    if asked:
        sizes = tuple(card for card in sizes if {round((card.vram_mib or 0) / 1024)} == asked)
    if len(sizes) < 2:
        return sizes[0] if sizes else None
    return replace(sizes[0], name=kind_of(sizes[0]), vram_mib=None)


def kind_of(card: KnownCard) -> str:
    """A card's name without its memory."""
    return " ".join(word for word in card.name.split() if not _MEMORY.fullmatch(word.lower()))


def sizes_of(card: KnownCard) -> tuple[KnownCard, ...]:
    """The cards that a name means which leaves the memory open."""
    return _by_kind().get(_without_memory(_words(card.name)), ())


def names_near(name: str) -> tuple[str, ...]:
    """Cards whose names have most in common with one that is not known."""
    words = _words(name)
    common = {card.name: len(words & _words(card.name)) for card in KNOWN_CARDS}
    most = max(common.values())
    return tuple(card for card, count in common.items() if most and count == most)


@lru_cache(maxsize=1)
def _by_words() -> dict[frozenset[str], KnownCard]:
    found: dict[frozenset[str], KnownCard] = {}
    for card in KNOWN_CARDS:
        for words in _spellings(card):
            found.setdefault(words, card)
    return found


@lru_cache(maxsize=1)
def _by_kind() -> dict[frozenset[str], tuple[KnownCard, ...]]:
    found: dict[frozenset[str], dict[str, KnownCard]] = {}
    for card in KNOWN_CARDS:
        for words in _spellings(card):
            found.setdefault(_without_memory(words), {})[card.name] = card
    return {words: tuple(cards.values()) for words, cards in found.items()}


def _spellings(card: KnownCard) -> Iterable[frozenset[str]]:
    for name in (card.name, *card.also):
        words = _words(name)
        yield words
        if "quadro" not in words and len(words) > 1:
            yield words - {"rtx"}


def _without_memory(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if not _MEMORY.fullmatch(word))


@lru_cache(maxsize=1024)
def _words(name: str) -> frozenset[str]:
    """Lower-case words that tell cards apart; "80GB" and "80 GB", "4070Ti" and "4070 Ti" are the same."""
    text = re.sub(r"(\d)\s*gb\b", r"\1gb", name.lower())
    text = re.sub(r"\brtx(?=\d|a\d)", "rtx ", text)
    text = re.sub(r"\b(\d{4})\s*(ti|super|s|d)(?=s?\b|super)", r"\1 \2 ", text)
    words = re.findall(r"[a-z0-9]+", text.replace("with max-q design", "max-q"))
    return frozenset(_SHORT.get(word, word) for word in words) - _NOISE
