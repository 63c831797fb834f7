"""Why a worker fetches no jobs: all reasons there are, each with its sentence for people.

`docs/not-fetching.md` and the label `reason` of a metric are made from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Self


class Cause(StrEnum):
    """Who has to do something about it, if anybody."""

    ORDER = "order"  # somebody, or the machine's owner, wanted it
    FAULT = "fault"  # something is broken; it ends when that is mended, by itself where the page says so
    PASSING = "passing"  # a part of normal work that ends by itself


class NotFetching(StrEnum):
    """A reason; several may hold at once."""

    why: str  # for people: "it fetches nothing: …"
    cause: Cause
    until: str  # what ends it

    STARTING = (
        "starting",
        "it is starting",
        Cause.PASSING,
        "ComfyUI answers and the connection to Redis stands",
    )
    DRAINING = ("draining", "its process is ending", Cause.ORDER, "its process is started again")
    DRAINED = ("drained", "`farm drain` told it to", Cause.ORDER, "`farm drain NAME --undo`")
    SPOT_NOTICE = (
        "spot_notice",
        "its machine will be taken away",
        Cause.ORDER,
        "it is started on another machine",
    )
    TAKEN = (
        "taken",
        "another worker has its name or its card",
        Cause.FAULT,
        "that one ends, or this one is given another name (`FARM_WORKER_NAME`)",
    )
    COMFYUI_DOWN = (
        "comfyui_down",
        "ComfyUI does not run",
        Cause.FAULT,
        "ComfyUI answers again; it is started anew by itself",
    )
    COMFYUI_SILENT = (
        "comfyui_silent",
        "its ComfyUI, which somebody else runs, does not answer",
        Cause.FAULT,
        "the server that `COMFYUI_URL` names answers",
    )
    GPU_UNUSABLE = (
        "gpu_unusable",
        "its GPU cannot be used",
        Cause.FAULT,
        "the driver answers for the GPU again",
    )
    QUARANTINE = (
        "quarantine",
        "jobs failed here for the machine's reasons, or as they fail nowhere else",
        Cause.FAULT,
        "a probe finds the machine well",
    )
    DISK_FULL = ("disk_full", "its disk has no room", Cause.FAULT, "there is room again, within seconds")
    STORAGE_AWAY = (
        "storage_away",
        "it cannot store finished files",
        Cause.FAULT,
        "the storage takes files of this worker again",
    )
    REDIS_READ_ONLY = (
        "redis_read_only",
        "Redis takes no writes",
        Cause.FAULT,
        "Redis has room, or is no replica any more",
    )
    CANARY_UNDER_WAY = (
        "canary_under_way",
        "its canary is still on its way through ComfyUI",
        Cause.PASSING,
        "the canary is back, within a second or so",
    )
    CANARY_BUSY = (
        "canary_busy",
        "prompts of others are before its canary, so ComfyUI is not proven yet",
        Cause.PASSING,
        "the ComfyUI that it is attached to has time for the canary",
    )
    CANARY_FAILED = (
        "canary_failed",
        "ComfyUI does not do what jobs need, as its canary found out",
        Cause.FAULT,
        "a canary comes through: one is sent at each start of ComfyUI, and now and then",
    )
    NOT_PROVEN = (
        "not_proven",
        "ComfyUI is not proven to run as planned",
        Cause.FAULT,
        "ComfyUI starts as planned and its log says so; only `FARM_STRICT` closes for this",
    )
    CONSUMER_GIVEN_UP = (
        "consumer_given_up",
        "it hears of no jobs any more",
        Cause.PASSING,
        "its process is started again",
    )
    UNKNOWN = (
        "unknown",
        "a reason that only its own version knows",
        Cause.FAULT,
        "see `farm workers` of that version",
    )

    def __new__(cls, code: str, why: str = "", cause: Cause = Cause.FAULT, until: str = "") -> Self:
        """Make a member whose value is its code alone."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.why, member.cause, member.until = why, cause, until
        return member

    @classmethod
    def _missing_(cls, value: object) -> Self:
        """The reason that workers of before called so; one that only newer workers know is `UNKNOWN`."""
        return cls(_FORMERLY.get(str(value), "unknown"))


_TELLING: Final = (Cause.FAULT, Cause.ORDER, Cause.PASSING)


def most_telling_first(reasons: Iterable[NotFetching]) -> tuple[NotFetching, ...]:
    """What somebody has to mend before what was wanted, and both before what ends by itself."""
    return tuple(sorted(reasons, key=lambda reason: (_TELLING.index(reason.cause), reason.value)))


# What they were called when they were free text.
_FORMERLY = {
    "spot notice": "spot_notice",
    "comfy down": "comfyui_down",
    "card cannot be used": "gpu_unusable",
    "storage away": "storage_away",
    "Redis takes no writes": "redis_read_only",
    "ComfyUI runs otherwise than planned": "not_proven",
    "ComfyUI is not proven to run as planned": "not_proven",
    "consumer given up": "consumer_given_up",
}
