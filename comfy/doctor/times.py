"""What a worker measured of one job: better than any log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from comfy.doctor.report import Phase, PhaseTime, Status
from comfy.protocol.phases import Phase as Work
from comfy.protocol.progress import NodeTiming
from comfy.words import seconds_words

_PHASES: Final = {
    Work.LOAD: Phase.LOADING,
    Work.TEXT: Phase.TEXT,
    Work.IMAGE: Phase.IMAGE,
    Work.SAMPLE: Phase.SAMPLING,
    Work.SAMPLE_HIGH: Phase.SAMPLING_HIGH,
    Work.SAMPLE_LOW: Phase.SAMPLING_LOW,
    Work.VAE: Phase.VAE,
    Work.FRAMES: Phase.FRAMES,
    Work.SAVE: Phase.SAVING,
}
_UNHEARD_S: Final = 3.0
_UNHEARD_PART: Final = 0.05  # of the prompt's own time
SAMPLINGS: Final = (Phase.SAMPLING, Phase.SAMPLING_HIGH, Phase.SAMPLING_LOW)
BEFORE: Final = {  # the attempt
    "paused": Phase.PAUSED,
    "queue": Phase.WAITING,
    "lease": Phase.LEASE,
    "backoff": Phase.BACKOFF,
    "held": Phase.HELD,
    "earlier": Phase.DISCARDED,
}
_RENDERED: Final = {"discarded": Phase.DISCARDED, "prepare": Phase.PREPARING, "collect": Phase.COLLECTING}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRender:
    """A clip was spoilt by another attention than PyTorch's, and was rendered once more with that."""

    because: str  # id of the finding: "video-black"
    attention: str  # what had computed it: "sage"
    seconds: float  # of the render that was thrown away, and of what lay between the two
    helped: bool  # whether the second clip is not spoilt


@dataclass(frozen=True, slots=True, kw_only=True)
class CardUse:
    """What was seen of the card while a job had it."""

    looks: int
    shared: int  # looks at which another process held memory of it
    others_bytes: int  # the most that they held
    slowed: int  # looks at which it slowed itself down
    slowed_by: str  # "heat", "power supply"; "" where it did not
    hottest_c: int | None  # None: it has no thermometer


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAttempt:
    """An attempt that came before, and to nothing."""

    number: int
    worker: str
    outcome: str  # "failed", "lost", "released", "canceled", "unpublished"
    seconds: float  # of a lost one: until its worker was last heard of
    silent_s: float = 0.0  # from then until a steward took it
    why: str = ""
    code: str = ""  # of its error: "disk_full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed, as whoever ran it knows; its log may say nothing of it."""

    message: str
    node_id: str = ""  # that failed, or was at work; "" for none, or nobody knows
    class_type: str = ""
    limit_s: float | None = None  # the time limit that ended it; None: something else did
    grace_s: float | None = None  # its node was given so long to yield, and did not; None: it did
    status: Status = Status.FAILED  # another one counts for more than what the log says


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """How long one node ran, as the websocket told it."""

    node_id: str
    phase: Phase
    seconds: float
    steps: int | None = None  # of a sampler
    seconds_per_step: float | None = None  # without the first


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimes:
    """All that was measured of a job."""

    # Of the store, from submission to claim: those of `BEFORE`, and "unpublished": what attempts took whose
    # files are published now. Of the worker: "discarded", "prepare", "comfy", "execute", "stopping",
    # "collect", "upload", "publish", "attempt".
    seconds: Mapping[str, float]
    past: tuple[PastAttempt, ...] = ()  # that the seconds before are told of
    nodes: tuple[NodeTime, ...] = ()
    unheard_s: float = 0.0  # the longest time in which nobody listened, while nodes began or ended
    output_bytes: int | None = None  # of what was stored
    again: SecondRender | None = None
    fallbacks: tuple[str, ...] = ()  # what was tried in turn because the card ran out of memory
    card: CardUse | None = None  # None: nobody looked


def node_times(timings: Iterable[NodeTiming], steps: Mapping[str, int]) -> tuple[NodeTime, ...]:
    """From what a run on the websocket has kept.

    Args:
        steps: sampler node -> the steps that it runs, as far as that is known.
    """
    return tuple(
        NodeTime(
            node_id=node.node_id,
            phase=_PHASES.get(node.phase, Phase.OTHER),
            seconds=node.seconds,
            steps=steps.get(node.node_id),
            seconds_per_step=node.seconds_per_step,
        )
        for node in timings
        if node.seconds is not None
    )


def unheard_s(timings: Iterable[NodeTiming]) -> float:
    """As `JobTimes` has it."""
    return max((node.unsure_s for node in timings), default=0.0)


def doubt_of(times: JobTimes) -> str:
    """Why its nodes' times are not believed, in words; else empty."""
    executed_s = times.seconds.get("execute", 0.0)
    if times.unheard_s <= max(_UNHEARD_S, _UNHEARD_PART * executed_s):
        return ""
    took = f" (ComfyUI says {seconds_words(executed_s)} in all)" if executed_s else ""
    return f"times of nodes, of which nothing was heard for {seconds_words(times.unheard_s)}{took},"


def phases_of(times: JobTimes, others: Iterable[PhaseTime] = ()) -> tuple[PhaseTime, ...]:
    """Where the job's seconds went; they add up to its wall time, from its submission to its stored files.

    Args:
        others: what is known of the nodes from elsewhere.
    """
    known = [*_named(BEFORE, times), *_named(_RENDERED, times), *_of_nodes(times.nodes), *others]
    known += _named({"stopping": Phase.STOPPING}, times)
    publish_s = times.seconds.get("publish", 0.0) + _unpublished_s(times)
    if publish_s:
        known.append(PhaseTime(phase=Phase.PUBLISHING, seconds=publish_s, source="worker"))
    known.sort(key=lambda each: list(Phase).index(each.phase))
    wall_s = wall(times)
    return tuple(known) if wall_s is None else filled(known, wall_s)


def filled(known: Sequence[PhaseTime], wall_s: float) -> tuple[PhaseTime, ...]:
    """The phases and what nobody knows, which add up to the wall time.

    Two clocks may count a little more than there was: then each phase is shortened by as large a part.
    """
    whole = sum(phase.seconds for phase in known)
    part = min(wall_s / whole, 1.0) if whole > 0 else 1.0
    fitting = [replace(each, seconds=round(each.seconds * part, 4)) for each in known]
    rest = round(max(wall_s - sum(phase.seconds for phase in fitting), 0.0), 4)
    return (*fitting, PhaseTime(phase=Phase.UNEXPLAINED, seconds=rest, source="rest"))


def wall(times: JobTimes) -> float | None:
    """From submission to stored files; of a job that is not published yet, as far as it came."""
    seconds = times.seconds
    attempt = seconds.get("attempt")
    if attempt is None and "comfy" in seconds:
        attempt = sum(seconds.get(name, 0.0) for name in (*_RENDERED, "comfy", "publish"))
    if attempt is None:
        return None
    return attempt + sum(seconds.get(name, 0.0) for name in (*BEFORE, "unpublished"))


def _unpublished_s(times: JobTimes) -> float:
    """What attempts took to store files that are published now, beside rendering them."""
    seconds = times.seconds
    rendered_s = sum(seconds.get(name, 0.0) for name in (*_RENDERED, "comfy"))
    return max(seconds.get("unpublished", 0.0) - rendered_s, 0.0)


def _named(names: Mapping[str, Phase], times: JobTimes) -> list[PhaseTime]:
    return [
        PhaseTime(phase=phase, seconds=times.seconds[name], source="worker", detail=_detail(name, times))
        for name, phase in names.items()
        if name in times.seconds
    ]


def _detail(name: str, times: JobTimes) -> str:
    """Which attempts came to nothing."""
    numbers = [str(each.number) for each in times.past if each.seconds and each.outcome != "unpublished"]
    if name != "earlier" or not numbers:
        return ""
    return f"attempt{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _of_nodes(nodes: Iterable[NodeTime]) -> Iterable[PhaseTime]:
    """Nodes of one phase together; what a sampler took beside its steps is loading."""
    seconds: dict[Phase, float] = {}
    details: dict[Phase, str] = {}
    for node in nodes:
        before = _before_steps(node)
        seconds[Phase.LOADING] = seconds.get(Phase.LOADING, 0.0) + before
        seconds[node.phase] = seconds.get(node.phase, 0.0) + node.seconds - before
        if node.seconds_per_step is not None and node.steps is not None:
            details[node.phase] = f"{node.steps} steps × {node.seconds_per_step:.2f} s"
    for phase in Phase:
        if seconds.get(phase, 0.0) > 0:
            yield PhaseTime(
                phase=phase,
                seconds=round(seconds[phase], 4),
                source="websocket",
                detail=details.get(phase, ""),
            )


def _before_steps(node: NodeTime) -> float:
    if node.phase not in SAMPLINGS or node.seconds_per_step is None or node.steps is None:
        return 0.0
    return max(node.seconds - node.steps * node.seconds_per_step, 0.0)
