"""The rows of a report while they are filled in."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Final

from comfy.canary.graphs import HEIGHT, WIDTH
from comfy.canary.report import Seen, Trait, TraitRow
from comfy.errors import ComfyError

log = logging.getLogger(__name__)

_LONGEST_WORDS: Final = 300
_EXPECTED: Final[Mapping[Trait, str]] = {
    Trait.VERSION: "a version in /system_stats",
    Trait.NODES: "EmptyImage, ImageScale, SaveImage and PreviewImage in /object_info, with the inputs we set",
    Trait.POST: "200 for our graph, under the UUID that we gave it",
    Trait.HISTORY: "a history entry that says success",
    Trait.OUTPUT: f"one saved PNG of {WIDTH}x{HEIGHT} pixels, in our own folder",
    Trait.TEMP: "the preview named as `temp`, and not among the results",
    Trait.QUEUE: "a prompt that runs told as running, and one that waits as pending",
    Trait.CANCEL_ALONE: "that the running prompt goes on when a waiting one is canceled",
    Trait.EVENTS: "start, node, output and end of the run on the websocket",
    Trait.PROGRESS: "how far the nodes are, on the websocket",
    Trait.CANCEL_QUEUED: "that a canceled prompt leaves the queue",
    Trait.CANCEL_RUNNING: "that a canceled prompt stops at its next node, and that history says so",
    Trait.LOG: "the lines that we read",
    Trait.CLEAN_UP: "its files removed, and its prompts forgotten",
}


class Rows:
    """One row for each trait, not seen at first."""

    def __init__(self) -> None:
        self._rows: dict[Trait, TraitRow] = {}
        for trait in Trait:
            self.note(trait, Seen.NOT_SEEN)

    def all(self) -> tuple[TraitRow, ...]:
        """In the order of the traits."""
        return tuple(self._rows.values())

    def seen(self, trait: Trait) -> Seen:
        """What became of this trait so far."""
        return self._rows[trait].seen

    def note(self, trait: Trait, seen: Seen, came: str = "") -> None:
        """Book what became of a trait; the last word counts."""
        self._rows[trait] = TraitRow(trait=trait, seen=seen, expected=_EXPECTED[trait], came=came)

    def held(self, trait: Trait, came: str = "") -> None:
        """It is as expected."""
        self.note(trait, Seen.HELD, came)

    def failed(self, trait: Trait, came: str) -> None:
        """It is otherwise."""
        self.note(trait, Seen.FAILED, came)

    def judge(self, trait: Trait, held: bool, came: str) -> None:
        """Book it by whether it held."""
        self.note(trait, Seen.HELD if held else Seen.FAILED, came)

    @contextlib.contextmanager
    def look(self, trait: Trait) -> Iterator[None]:
        """Book whatever goes wrong in the block as a failure of this trait."""
        try:
            yield
        except (ComfyError, OSError) as exc:
            self.failed(trait, _in_words(exc))
        except Exception as exc:
            # An answer of a form in which our readers do not even look for faults: the very thing to find.
            log.info("An answer could not be read", exc_info=True, extra={"event": "canary_stumbled"})
            self.failed(trait, f"an answer that cannot be read: {type(exc).__name__}: {_in_words(exc)}")


def _in_words(exc: Exception) -> str:
    return str(exc)[:_LONGEST_WORDS] or type(exc).__name__
