"""Whether ComfyUI really runs as it was planned: its own log and answers held against the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from comfy.loglines import (
    AttentionFact,
    AttentionFailedFact,
    DeviceFact,
    DynamicVramFact,
    LoadState,
    LogFact,
    ModelLoadedFact,
    ModelRequestedFact,
    VramStateFact,
    read_line,
)
from worker.comfyui.process import ComfyFacts
from worker.gpu.card import GIB, GpuCard
from worker.plan.load_plan import LoadMode, LoadPlan

_STATES: Final = {
    LoadMode.RESIDENT: "HIGH_VRAM",
    LoadMode.BALANCED: "NORMAL_VRAM",
    LoadMode.RESERVED: "NORMAL_VRAM",
    LoadMode.STREAMED: "NO_VRAM",
    LoadMode.CPU: "DISABLED",
}
# What ComfyUI calls WAN's diffusion models: WAN21, WAN22, WAN21_Vace, WAN_Animate2, …
_DIFFUSION: Final = ("WAN2", "WAN_")
# Flags of ComfyUI's that choose the attention of the whole process, and how its log names that.
_ATTENTION_OF: Final = {
    "--use-sage-attention": "sage",
    "--use-flash-attention": "flash",
    "--use-pytorch-cross-attention": "pytorch",
    "--use-ck-attention": "comfy kitchen",
}
_SLOW_ATTENTION: Final = frozenset({"split", "sub quadratic"})
# What a card's driver keeps for itself makes the two totals differ by some hundred MiB.
_SAME_CARD_PART: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was seen, and in what it differs from the plan."""

    vram_state: str | None = None  # "NORMAL_VRAM", …; None: the log does not say
    device: str | None = None
    attention: str | None = None
    dynamic_vram: bool | None = None
    partial_loads: int = 0  # models that did not fit, and stream a part of their weights in each step
    differences: tuple[str, ...] = ()  # in words; empty: as planned, as far as can be seen
    silent: bool = False  # the log tells nothing (a fork, a high log level, or a server that is not ours)

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the plan."""
        return not self.differences


def prove(
    plan: LoadPlan,
    card: GpuCard | None,
    lines: Iterable[str],
    comfy: ComfyFacts,
) -> Proof:
    """Hold what ComfyUI printed and answered against the plan.

    Args:
        card: the one that the plan is for; None when it was made without one.
        lines: from the process's start on; with a job's lines too, its loads are looked at.
    """
    facts = [fact for line in lines if (fact := read_line(line)) is not None]
    state, device, attention, dynamic = _last_words(facts)
    loads = list(_loads_of(facts))
    partial = sum(load.state is LoadState.PARTIAL for load in loads)
    differences = [
        *_of_state(plan, state, comfy),
        *_of_flags(plan, comfy),
        *_of_loads(plan, loads),
        *_of_device(plan, card, device, attention, comfy),
        *_of_attention(attention, facts, comfy),
        *_of_dynamic(plan, dynamic, loads),
    ]
    return Proof(
        vram_state=state,
        device=device,
        attention=attention,
        dynamic_vram=dynamic,
        partial_loads=partial,
        differences=tuple(differences),
        silent=state is None and device is None,
    )


def _last_words(facts: Iterable[LogFact]) -> tuple[str | None, str | None, str | None, bool | None]:
    """VRAM state, device, attention and dynamic VRAM, each as it was said last."""
    state = device = attention = None
    dynamic: bool | None = None
    for fact in facts:
        match fact:
            case VramStateFact():
                state = fact.state
            case DeviceFact():
                device = fact.device
            case AttentionFact():
                attention = fact.name
            case DynamicVramFact():
                dynamic = fact.enabled
    return state, device, attention, dynamic


def _of_state(plan: LoadPlan, state: str | None, comfy: ComfyFacts) -> Iterator[str]:
    expected = _STATES[plan.mode]
    if plan.mode is LoadMode.BALANCED and "--lowvram" in comfy.argv:
        expected = "LOW_VRAM"  # the operator's own wish, and much the same
    if state is not None and state != expected:
        yield f"mode {plan.mode} was planned, which is {expected}, but its VRAM state is {state}"


def _of_flags(plan: LoadPlan, comfy: ComfyFacts) -> Iterator[str]:
    missing = [flag for flag in plan.flags if flag.startswith("--") and flag not in comfy.argv]
    if missing and comfy.argv:
        yield f"it runs without {', '.join(missing)}"


def _loads_of(facts: Iterable[LogFact]) -> Iterator[ModelLoadedFact]:
    """Loads of diffusion models: what becomes of text encoder and VAE follows other rules."""
    wanted = None
    for fact in facts:
        match fact:
            case ModelRequestedFact():
                wanted = fact.model_class
            case ModelLoadedFact() if (fact.model_class or wanted or "").startswith(_DIFFUSION):
                yield fact


def _of_loads(plan: LoadPlan, loads: Sequence[ModelLoadedFact]) -> Iterator[str]:
    partial = [load for load in loads if load.state is LoadState.PARTIAL]
    whole = [load for load in loads if load.state is LoadState.COMPLETE]
    if plan.mode is LoadMode.RESIDENT and partial:
        yield f"models were to stay on the card whole, but {len(partial)} loaded only in part"
    if plan.mode is LoadMode.STREAMED and whole:
        yield f"nothing was to stay on the card, but {len(whole)} models loaded whole"
    if plan.mode not in (LoadMode.BALANCED, LoadMode.RESERVED):
        return
    if any(load.loaded_mib is not None and load.loaded_mib < 1 for load in partial):
        yield "nothing of a model stays on the card: every layer streams, as with --novram"
    elif partial and plan.whole and not plan.dynamic:
        yield f"models were to fit the card whole, but {len(partial)} loaded only in part"


def _of_device(
    plan: LoadPlan, card: GpuCard | None, device: str | None, attention: str | None, comfy: ComfyFacts
) -> Iterator[str]:
    if plan.mode is LoadMode.CPU and device is not None and device != "cpu":
        yield f"it was to compute on the CPU, and does so on {device}"
    if card is None or plan.mode is LoadMode.CPU or comfy.is_emulator:
        return
    kind = comfy.devices[0].kind if comfy.devices else None
    if kind == "cpu" or device == "cpu":
        yield f"it computes on the CPU, although there is a {card.name}"
        return
    seen_bytes = comfy.devices[0].vram_total_bytes if comfy.devices else 0
    if seen_bytes and not _SAME_CARD_PART < seen_bytes / card.total_bytes < 1 / _SAME_CARD_PART:
        yield (
            f"it sees {seen_bytes / GIB:.1f} GiB of VRAM and the card has "
            f"{card.total_bytes / GIB:.1f} GiB: most likely it runs on another card"
        )
    if attention in _SLOW_ATTENTION:
        yield f"its attention is the slow fall-back ({attention})"


def _of_attention(attention: str | None, facts: Iterable[LogFact], comfy: ComfyFacts) -> Iterator[str]:
    """Whether the attention that its flags ask for is the one that computes."""
    for flag, name in _ATTENTION_OF.items():
        if flag in comfy.argv and attention is not None and attention != name:
            yield f"{flag} was asked for, but its attention is {attention}"
    failed = [fact.name for fact in facts if isinstance(fact, AttentionFailedFact)]
    for name in dict.fromkeys(failed):
        yield f"its {name} attention fails, {failed.count(name)} times so far: PyTorch's computes instead"


def _of_dynamic(plan: LoadPlan, dynamic: bool | None, loads: Sequence[ModelLoadedFact]) -> Iterator[str]:
    staged = any(load.state is LoadState.DYNAMIC for load in loads)
    if plan.dynamic:
        if dynamic is False:
            yield "dynamic VRAM is not at work: comfy-aimdo is missing, or torch is older than 2.8"
        elif dynamic is None and loads and not staged:
            yield "dynamic VRAM is not at work: models load in the old way"
    elif (dynamic or staged) and plan.mode is not LoadMode.BALANCED:
        yield f"dynamic VRAM is at work, which mode {plan.mode} excludes"
    elif staged and plan.whole is not None:
        yield "dynamic VRAM is at work, although this ComfyUI's flags do not speak of it"
