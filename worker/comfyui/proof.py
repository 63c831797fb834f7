"""Whether ComfyUI really runs as it was planned: its own log and answers held against the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from comfy.log.facts import (
    AttentionFact,
    AttentionFailedFact,
    DeviceFact,
    DynamicVramFact,
    LoadState,
    ModelLoadedFact,
    VramStateFact,
)
from comfy.log.reading import LogReader
from farm.status.proof import Proof, ProofVerdict
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
# Flags of ComfyUI's that choose the attention of the whole process, and how its log names that.
_ATTENTION_OF: Final = {
    "--use-sage-attention": "sage",
    "--use-flash-attention": "flash",
    "--use-pytorch-cross-attention": "pytorch",
    "--use-ck-attention": "comfy kitchen",
}
# What a card's driver keeps for itself makes the two totals differ by some hundred MiB.
_SAME_CARD_PART: Final = 0.9


def prove(plan: LoadPlan, card: GpuCard | None, log: LogReader, comfy: ComfyFacts) -> Proof:
    """Hold what ComfyUI printed and answered against the plan.

    Args:
        card: the one that the plan is for; None when it was made without one.
        log: from the process's start on; with a job's lines too, its loads are looked at.
    """
    state, device = log.last(VramStateFact), log.last(DeviceFact)
    attention, dynamic = log.last(AttentionFact), log.last(DynamicVramFact)
    loads = [load for load in log.all(ModelLoadedFact) if load.is_of_wan]
    in_jobs = (*_of_loads(plan, dynamic, loads), *_of_failing_attention(log))
    differences = (
        *_of_plan(plan, state, comfy, dynamic),
        *_of_device(plan, card, device, attention, comfy),
        *_of_attention(attention, comfy),
        # Where lines bear no mark, a node may have printed them, as a job's author wrote them.
        *(in_jobs if log.is_stamped else ()),
    )
    unproven = tuple(_unsaid(plan, log, comfy))
    return Proof(
        verdict=_verdict(differences, unproven),
        differences=differences,
        seen_in_jobs=() if log.is_stamped else in_jobs,
        unproven=unproven,
        vram_state=state.state if state is not None else None,
        device=device.device if device is not None else None,
        attention=attention.name if attention is not None else None,
        dynamic_vram=dynamic.enabled if dynamic is not None else None,
        partial_loads=sum(load.state is LoadState.PARTIAL for load in loads),
        log=log.reading(),
    )


def _verdict(differences: Sequence[str], unproven: Sequence[str]) -> ProofVerdict:
    if differences:
        return ProofVerdict.DIFFERS
    return ProofVerdict.UNPROVEN if unproven else ProofVerdict.PROVEN


def _unsaid(plan: LoadPlan, log: LogReader, comfy: ComfyFacts) -> Iterator[str]:
    """What the log would have to say before the mode counts as proven."""
    reading = log.reading()
    if log.last(VramStateFact) is None:
        yield f"its log does not say how it holds models ({reading})"
    if log.last(DeviceFact) is None:
        yield f"its log does not say what it computes on ({reading})"
    if log.last(AttentionFact) is None and any(flag in comfy.argv for flag in _ATTENTION_OF):
        yield f"its log does not say which attention computes ({reading})"
    if plan.dynamic and log.last(DynamicVramFact) is None:
        yield "its log does not say whether dynamic VRAM is at work"


def _of_plan(
    plan: LoadPlan,
    state: VramStateFact | None,
    comfy: ComfyFacts,
    dynamic: DynamicVramFact | None,
) -> Iterator[str]:
    if not plan.is_ours:
        return
    yield from _of_state(plan, state, comfy)
    yield from _of_flags(plan, comfy)
    yield from _of_dynamic(plan, dynamic)


def _of_state(plan: LoadPlan, state: VramStateFact | None, comfy: ComfyFacts) -> Iterator[str]:
    expected = _STATES[plan.mode]
    if plan.mode is LoadMode.BALANCED and "--lowvram" in comfy.argv:
        expected = "LOW_VRAM"  # the operator's own choice, and much the same
    if state is not None and state.state != expected:
        yield f"mode {plan.mode} was planned, which is {expected}, but its VRAM state is {state.state}"


def _of_flags(plan: LoadPlan, comfy: ComfyFacts) -> Iterator[str]:
    missing = [flag for flag in plan.flags if flag.startswith("--") and flag not in comfy.argv]
    if missing and comfy.argv:
        yield f"it runs without {', '.join(missing)}"


def _of_loads(
    plan: LoadPlan, dynamic: DynamicVramFact | None, loads: Sequence[ModelLoadedFact]
) -> Iterator[str]:
    if not plan.is_ours:
        return
    yield from _of_staging(plan, dynamic, loads)
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
    plan: LoadPlan,
    card: GpuCard | None,
    device: DeviceFact | None,
    attention: AttentionFact | None,
    comfy: ComfyFacts,
) -> Iterator[str]:
    if plan.mode is LoadMode.CPU and device is not None and device.device != "cpu":
        yield f"it was to compute on the CPU, and does so on {device.device}"
    if card is None or plan.mode is LoadMode.CPU or comfy.is_emulator:
        return
    kind = comfy.devices[0].kind if comfy.devices else None
    if kind == "cpu" or (device is not None and device.device == "cpu"):
        yield f"it computes on the CPU, although there is a {card.name}"
        return
    seen_bytes = comfy.devices[0].vram_total_bytes if comfy.devices else 0
    if seen_bytes and not _SAME_CARD_PART < seen_bytes / card.total_bytes < 1 / _SAME_CARD_PART:
        yield (
            f"it sees {seen_bytes / GIB:.1f} GiB of VRAM and the card has "
            f"{card.total_bytes / GIB:.1f} GiB: most likely it runs on another card"
        )
    if attention is not None and attention.is_slow:
        yield f"its attention is the slow fall-back ({attention.name})"


def _of_attention(attention: AttentionFact | None, comfy: ComfyFacts) -> Iterator[str]:
    """Whether the attention that its flags ask for is the one that computes."""
    for flag, name in _ATTENTION_OF.items():
        if flag in comfy.argv and attention is not None and attention.name != name:
            yield f"{flag} was asked for, but its attention is {attention.name}"


def _of_failing_attention(log: LogReader) -> Iterator[str]:
    for name in dict.fromkeys(fact.name for fact in log.all(AttentionFailedFact)):
        times = log.count(AttentionFailedFact)
        yield f"its {name} attention fails, {times} times so far: PyTorch's computes instead"


def _of_dynamic(plan: LoadPlan, dynamic: DynamicVramFact | None) -> Iterator[str]:
    if dynamic is None:
        return
    if plan.dynamic and not dynamic.enabled:
        yield f"dynamic VRAM is not at work: {dynamic.why}"
    elif not plan.dynamic and dynamic.enabled and plan.mode is not LoadMode.BALANCED:
        yield f"dynamic VRAM is at work, which mode {plan.mode} excludes"


def _of_staging(
    plan: LoadPlan, dynamic: DynamicVramFact | None, loads: Sequence[ModelLoadedFact]
) -> Iterator[str]:
    staged = any(load.state is LoadState.DYNAMIC for load in loads)
    if plan.dynamic:
        if dynamic is None and loads and not staged:
            yield "dynamic VRAM is not at work: models load in the old way"
    elif staged and plan.mode is not LoadMode.BALANCED:
        yield f"dynamic VRAM is at work, which mode {plan.mode} excludes"
    elif staged and plan.whole is not None:
        yield "dynamic VRAM is at work, although this ComfyUI's flags do not speak of it"
