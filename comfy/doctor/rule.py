"""What a rule of the doctor is, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from comfy.doctor.clip import USUAL, ClipLook, Thresholds
from comfy.doctor.record import Record, Run
from comfy.doctor.report import Confidence, Cost, Evidence, Phase, PromptReport, Sampler, Severity, Status
from comfy.doctor.times import Failure, JobTimes
from comfy.log.facts import (
    DeviceFact,
    LoadState,
    MemoryFact,
    ModelLoadedFact,
    TextEncoderFact,
    VaeFact,
    VramStateFact,
)
from comfy.wan.card_table import KnownCard
from comfy.wan.cards import known_card
from comfy.wan.forecast import Forecast, Target, forecast
from comfy.wan.models import GIB
from comfy.wan.pace_book import PaceBook
from comfy.wan.roles import Roles, find_roles
from comfy.wan.workload import StageLoad, Workload, read_workload

_STATES_OF_CARDS: Final = ("NORMAL_VRAM", "HIGH_VRAM", "LOW_VRAM", "NO_VRAM")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a rule strikes."""

    message: str
    evidence: tuple[Evidence, ...]
    cost: Cost | None = None
    prompt: int | None = None
    confidence: Confidence = Confidence.PROVEN
    remedy: str = ""  # in place of the rule's, where it can be said more exactly
    worker: str = ""  # as `Finding.worker`
    severity: Severity | None = None  # in place of the rule's, where it ended a prompt


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is known; a rule looks at what it needs and is silent where that is missing."""

    record: Record
    prompts: tuple[PromptReport, ...]  # as `record.runs`; or one, of times alone
    graph: Mapping[str, Any]
    gpu: str  # card by name; "" where nobody says: neither the caller nor the log
    times: JobTimes | None
    book: PaceBook
    clips: tuple[ClipLook, ...] = ()  # what was seen in the files
    clip_limits: Thresholds = USUAL
    failure: Failure | None = None  # of the last prompt, where whoever ran it knows
    emulated: bool = False  # no model was loaded, and nothing computed

    @property
    def runs(self) -> list[Run]:
        """The prompts with what they printed."""
        return list(self.record.runs)

    def logged(self) -> Iterator[tuple[Run, PromptReport]]:
        """The prompts of the log beside their reports; none, where all that is known is a job's times."""
        return zip(self.record.runs, self.prompts, strict=False)

    @property
    def on_gpu(self) -> bool:
        """Whether a card computes, as far as the log says."""
        device = self.record.server.last(DeviceFact)
        if device is not None:
            return not device.device.startswith("cpu")
        server = self.record.server
        state = server.last(VramStateFact)
        return (
            bool(self.gpu)
            or (state is not None and state.state in _STATES_OF_CARDS)
            or any(map(_names_card, self.record.runs))
        )

    @cached_property
    def roles(self) -> Roles:
        """The nodes of the graph by what they are for."""
        return find_roles(self.graph)

    @cached_property
    def work(self) -> Workload | None:
        """What the graph asks of a machine."""
        return read_workload(self.graph) if self.graph else None

    @cached_property
    def card(self) -> KnownCard | None:
        """What is known of cards of that name."""
        return known_card(self.gpu) if self.gpu else None

    @property
    def capability(self) -> tuple[int, int] | None:
        """Compute capability of the card."""
        return self.card.compute_capability if self.card is not None else None

    @cached_property
    def vram_bytes(self) -> int | None:
        """Of the card: as the log says, else as cards of that name have it."""
        memory = self.record.server.last(MemoryFact)
        if memory is not None and self.on_gpu:
            return int(memory.vram_mib * 2**20)
        return self.card.vram_mib * 2**20 if self.card is not None and self.card.vram_mib else None

    @cached_property
    def forecast(self) -> Forecast | None:
        """What the graph should take on this card; None: graph or card are not known."""
        if self.work is None or not self.gpu or not self.on_gpu or self.vram_bytes is None:
            return None
        memory = self.record.server.last(MemoryFact)
        ram = int(memory.ram_mib * 2**20) if memory is not None else None
        target = Target(
            name=self.gpu,
            gpu=self.gpu,
            free_bytes=self.vram_bytes - GIB // 2,
            ram_bytes=ram,
            streamed_bytes=self._streamed_bytes,
        )
        return forecast(self.work, target, self.book)

    @property
    def _streamed_bytes(self) -> int | None:
        """The most of a diffusion model that its load has left to stream; None: the log does not say it."""
        left = [
            fact.offloaded_mib
            for run in self.runs
            for _, fact in run.of(ModelLoadedFact)
            if fact.is_diffusion and fact.state is LoadState.PARTIAL and fact.offloaded_mib is not None
        ]
        return int(max(left) * 2**20) if left else None

    @property
    def server_is_unknown(self) -> bool:
        """Whether prompts ran on a server of whose start the log says nothing."""
        return bool(self.record.runs) and not self.record.server.count(MemoryFact)

    def stages_of(self, prompt: PromptReport) -> list[tuple[Sampler, StageLoad]]:
        """Samplers beside the stages of the graph that they ran, where they fit each other."""
        stages = self.work.stages if self.work is not None else ()
        if len(stages) != len(prompt.samplers):
            return []
        pairs = list(zip(prompt.samplers, stages, strict=True))
        return pairs if all(one.steps == stage.steps for one, stage in pairs if stage.steps) else []

    @property
    def is_of_another_graph(self) -> bool:
        """Whether what the prompts ran is not what the graph says, by the steps of its samplers."""
        ran = [prompt for prompt in self.done() if prompt.samplers]
        known = self.work is not None and all(stage.steps for stage in self.work.stages)
        return known and bool(ran) and not any(map(self.stages_of, ran))

    def done(self) -> Iterator[PromptReport]:
        """The prompts that went well."""
        return (prompt for prompt in self.prompts if prompt.status is Status.DONE)


def _names_card(run: Run) -> bool:
    """Whether a prompt's own lines tell of a card: nothing is loaded in part where there is none."""
    return (
        any(fact.device.startswith("cuda") for _, fact in run.of(VaeFact))
        or any(fact.device.startswith("cuda") for _, fact in run.of(TextEncoderFact))
        # Beside the CPU there is no limit, and nothing is told of one.
        or any(fact.state is LoadState.PARTIAL or fact.usable_mib for _, fact in run.of(ModelLoadedFact))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of the table of all rules; its words are the documentation."""

    id: str  # stable
    severity: Severity
    title: str  # what is wrong, in general
    remedy: str
    check: Callable[[Case], Iterable[Found]]
    cost: str = ""  # how the seconds are found, in words; "": they cannot be told
    source: str = ""  # of what is not measured; a link


def seconds_in(prompt: PromptReport, *phases: Phase) -> float | None:
    """Seconds of these phases; None where the prompt does not tell them apart."""
    found = [phase.seconds for phase in prompt.phases if phase.phase in phases]
    return sum(found) if found else None


def measured(seconds: float, formula: str) -> Cost:
    """Seconds that were measured here."""
    kept = round(seconds, 3)
    return Cost(seconds=kept, low=kept, high=kept, measured=True, formula=formula, source="")


def estimated(seconds: float, low: float, high: float, formula: str, source: str) -> Cost:
    """Seconds by a formula whose numbers are of elsewhere."""
    return Cost(
        seconds=round(max(seconds, 0.0), 3),
        low=round(max(low, 0.0), 3),
        high=round(max(high, 0.0), 3),
        measured=False,
        formula=formula,
        source=source,
    )
