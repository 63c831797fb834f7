"""What each kind of fault may be blamed for: the checker takes no attempt that came to nothing without one.

Whatever is not named here must cost no attempt at all, and no second render.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.chaos.schedule import Fault


@dataclass(frozen=True, slots=True)
class Blame:
    """How attempts may end on account of a fault."""

    outcomes: frozenset[str]
    lasts_s: float = 0.0  # beyond the fault itself, until what it broke is found and mended
    at_claim: bool = False  # only those that were claimed just then: the answer may have been lost


def _blame(*outcomes: str, lasts_s: float = 0.0) -> Blame:
    return Blame(frozenset(outcomes), lasts_s)


_LOST: Final = _blame("lost")
_LEAVES: Final = _blame("released", "lost", "unpublished")
_NOT_STORED: Final = _blame("unpublished")
_UNHEARD: Final = Blame(frozenset({"lost"}), at_claim=True)
_COMFY: Final = _blame("failed", lasts_s=30.0)  # nobody may notice before the next job

# A worker that is killed is blamed on its own, by name (`Arena.kill`).
BLAME: Final[Mapping[Fault, Blame]] = {
    Fault.WORKER_FREEZE: _LOST,
    Fault.WORKER_SLEEP: _LOST,
    Fault.WORKER_DRAIN: _LEAVES,
    Fault.WORKER_QUIT: _LEAVES,
    Fault.WORKER_TREE: _LEAVES,
    **dict.fromkeys(
        (
            Fault.VALKEY_KILL,
            Fault.VALKEY_POWER,
            Fault.VALKEY_AWAY,
            Fault.VALKEY_FREEZE,
            Fault.VALKEY_FULL,
            Fault.CLIENT_KILL,
            Fault.CLIENT_STORM,
            Fault.REDIS_CUT,
        ),
        _UNHEARD,
    ),
    Fault.COMFY_KILL: _COMFY,
    Fault.COMFY_BROKEN: _COMFY,
    Fault.COMFY_FREEZE: _COMFY,
    Fault.COMFY_FORGETS: _COMFY,
    Fault.S3_KILL: _NOT_STORED,
    Fault.S3_FREEZE: _NOT_STORED,
    Fault.S3_AWAY: _NOT_STORED,
    Fault.S3_CUT: _NOT_STORED,
    Fault.S3_BLACKHOLE: _NOT_STORED,
    Fault.S3_SLOW: _NOT_STORED,
    Fault.REDIS_BLACKHOLE: _LOST,
    Fault.REDIS_MUTE: _LOST,
    Fault.SILENCE: _blame("lost", "unpublished"),
    Fault.CABLE: _blame("lost", "unpublished"),
    Fault.CARD_LOST: _blame("failed", "released", lasts_s=30.0),
    Fault.DISK_FULL: _blame("failed", "unpublished", lasts_s=30.0),
}
