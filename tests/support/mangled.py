"""What two processes over each other, a cut or a joker make of the numbers in a log."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final

MANGLED: Final = (
    "", ".", "1.2.3", "82.00.45", "..",
    "1.", ".5", "9" * 5000, "0." + "3" * 5000, "1e400", "1e+999", "1e", "-1",
    "0", "0.0", "1,2", "1,000,00", "nan", "inf", "²", "٣", "1_000", "0x1f", "1 2", "?", "9" * 9,
)  # fmt: skip
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def each_mangled(text: str) -> Iterator[str]:
    """A line with each of its numbers replaced, one by one and all at once."""
    for other in MANGLED:
        for found in _NUMBER.finditer(text):
            yield text[: found.start()] + other + text[found.end() :]
        yield other.join(_NUMBER.split(text))


def some_mangled(text: str, seed: int, part: float) -> str:
    """A log with so many of its numbers replaced."""
    dice = random.Random(seed)
    return _NUMBER.sub(lambda found: dice.choice(MANGLED) if dice.random() < part else found[0], text)
