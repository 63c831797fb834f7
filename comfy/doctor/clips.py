"""Rules about the clip itself: whether its frames and its file are what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from comfy.doctor.attention import sage_lines
from comfy.doctor.clip import SPOILT, Expected, faults_of
from comfy.doctor.report import Confidence, Evidence, Severity
from comfy.doctor.rule import Case, Found, Rule, measured
from comfy.graphs.links import class_of, inputs_of, is_link
from comfy.graphs.values import literal
from comfy.log.facts import DynamicVramFact, VaeFact, WeightsFact
from comfy.node_defs.node_classes import Work, work_of
from comfy.wan.workload import Workload

_SAVERS: Final = ("SaveVideo", "VHS_VideoCombine")
_PASSES_ON: Final = ("CreateVideo",)  # between a decoder and a saver, and changes no picture
_PICTURES: Final = ("video", "images")
_SURE: Final = frozenset({"video-black", "video-wrong-size", "video-wrong-rate", "video-silent"})


def expected_of(graph: Mapping[str, Any], work: Workload | None) -> Expected:
    """What the graph asks of its clip, where nothing between the decoder and the file may change that."""
    savers = [node_id for node_id in graph if class_of(graph, node_id) in _SAVERS]
    if len(savers) != 1:
        return Expected()
    chain = _chain(graph, savers[0])
    rates = [literal(graph, node, name) for node in chain for name in ("fps", "frame_rate")]
    fps = next((float(rate) for rate in rates if isinstance(rate, int | float)), None)
    audio = any(_linked(graph, node, "audio") is not None for node in chain)
    whole = bool(chain) and work_of(class_of(graph, chain[-1]) or "") is Work.VAE
    size = work.size if work is not None and work.size_known and whole else None
    same_length = not any(
        literal(graph, node, "pingpong") is True or literal(graph, node, "trim_to_audio") is True
        for node in chain
    ) and not any(_changes_length(class_of(graph, node) or "") for node in graph)
    return Expected(
        width=size.width if size is not None else None,
        height=size.height if size is not None else None,
        count=size.frames if size is not None and size.batch == 1 and same_length else None,
        fps=fps,
        audio=audio or None,
    )


def _chain(graph: Mapping[str, Any], saver: str) -> list[str]:
    """The saver, and the nodes before it up to the decoder, as far as none of them may change a picture."""
    chain, at = [saver], saver
    while True:
        link = next((found for name in _PICTURES if (found := _linked(graph, at, name)) is not None), None)
        if link is None or link in chain:
            return chain
        chain.append(link)
        if class_of(graph, link) not in _PASSES_ON:
            return chain
        at = link


def _linked(graph: Mapping[str, Any], node_id: str, name: str) -> str | None:
    value: Any = inputs_of(graph, node_id).get(name)
    return str(value[0]) if value is not None and is_link(value) else None


def _changes_length(class_type: str) -> bool:
    words = ("Trim", "Concat", "Vace", "Context", "Extend", "Repeat", "Loop", "S2V", "Animate", "Batch")
    return any(word in class_type for word in words) or work_of(class_type) is Work.FRAMES


def _found(name: str, case: Case) -> Iterator[Found]:
    wanted = expected_of(case.graph, case.work)
    for look in case.clips:
        for fault in faults_of(look, wanted, case.clip_limits):
            if fault.id == name:
                yield Found(
                    message=f"{look.name}: {fault.message}",
                    evidence=(Evidence(text=f"{look.name}: {fault.seen}"),),
                    prompt=case.prompts[-1].number if case.prompts else None,
                    confidence=Confidence.PROVEN if name in _SURE and fault.whole else Confidence.LIKELY,
                )


def _again(case: Case) -> Iterator[Found]:
    again = case.times.again if case.times is not None else None
    if again is None:
        return
    came = "and is good" if again.helped else "and is no better: the attention is not the cause"
    fault = again.because.removeprefix("video-").replace("-", " ")
    yield Found(
        message=f"{fault} with {again.attention} attention; it was rendered once more with PyTorch's, {came}",
        evidence=(Evidence(text=f"{again.because} in the first clip"),),
        cost=measured(
            again.seconds, f"the first render, and what lay between the two: {again.seconds:.1f} s"
        ),
        prompt=case.prompts[-1].number if case.prompts else None,
        remedy=""
        if again.helped
        else "see that VAE and LoRAs are this model's, and what the prompt asks for",
    )


def _warm(case: Case) -> Iterator[Found]:
    """What ComfyUI kept of earlier runs may have spoilt it: nothing of this run's own explains it."""
    run = case.record.runs[-1] if case.record.runs else None
    dynamic = case.record.server.last(DynamicVramFact)
    if run is None or dynamic is None or not dynamic.enabled or sage_lines(case):
        return
    # A model that was read from disk in this very run holds nothing of another one.
    if run.count(WeightsFact) or run.count(VaeFact) or run.done is None:
        return
    for look in case.clips:
        spoilt = next(
            (each for each in faults_of(look, Expected(), case.clip_limits) if each.id in SPOILT), None
        )
        if spoilt is not None:
            yield Found(
                message=f"{look.name}: {spoilt.message}, by models that ComfyUI kept from an earlier run",
                evidence=(
                    Evidence(text=f"{look.name}: {spoilt.seen}"),
                    Evidence(
                        text="no model was read in this run; dynamic VRAM is on; attention is PyTorch's"
                    ),
                ),
                prompt=run.number,
                confidence=Confidence.LIKELY,
            )


def _rule(fault: str, severity: Severity, *, title: str, remedy: str, source: str = "") -> Rule:
    """The rule of one of `comfy.doctor.clip`'s faults."""
    check = partial(_found, fault)
    return Rule(id=fault, severity=severity, title=title, remedy=remedy, check=check, source=source)


_BACKEND: Final = "render it with SDPA: sage_attention disabled, no --use-sage-attention"
_SAGE: Final = "https://github.com/thu-ml/SageAttention/issues/148"

RULES: Final = (
    _rule(
        "video-black",
        Severity.ERROR,
        title="nine of ten frames, or all from one on, are plain black (brightness at most 6 of 255)",
        remedy=_BACKEND,
        source=_SAGE,
    ),
    _rule(
        "video-one-colour",
        Severity.ERROR,
        title="nine of ten frames, or all from one on, have one colour and nothing in it",
        remedy=_BACKEND,
        source=_SAGE,
    ),
    _rule(
        "video-noise",
        Severity.ERROR,
        title="nine of ten frames, or all from one on, are noise: nothing is larger than 16 pixels, or stays",
        remedy=_BACKEND + "; see that VAE and LoRAs are this model's",
        source=_SAGE,
    ),
    Rule(
        id="rendered-again",
        severity=Severity.WARNING,
        title="a clip was black or noise with another attention than PyTorch's, and was rendered twice",
        remedy="sage_attention: disabled, attention_mode: sdpa, no --use-sage-attention",
        check=_again,
        cost="the first render, and what lay between the two",
        source=_SAGE,
    ),
    Rule(
        id="state-left-behind",
        severity=Severity.ERROR,
        title="a clip is spoilt by what ComfyUI kept of an earlier run, most likely",
        remedy="restart ComfyUI (FARM_RECYCLE_JOBS) and run it once more; if that is good, update it, "
        "or --disable-dynamic-vram",
        check=_warm,
        source="https://github.com/Comfy-Org/ComfyUI/issues/15452, …/issues/16490",
    ),
    _rule(
        "video-frozen",
        Severity.WARNING,
        title="no part of any frame changes by more than 4 of 255, or of none in the clip's second half",
        remedy="if it shows what it should: more motion in the prompt, start and end images that differ",
    ),
    _rule(
        "video-patches",
        Severity.WARNING,
        title="plain black or white areas with hard edges on the VAE's grid, or two rectangles of them",
        remedy="decode with the VAE in bf16 or fp32 (--bf16-vae, --fp32-vae); else render it with SDPA",
    ),
    _rule(
        "video-wrong-size",
        Severity.WARNING,
        title="the clip has not the size that the graph asks for",
        remedy="a size that WAN takes: `farm validate FILE --snap`",
    ),
    _rule(
        "video-wrong-length",
        Severity.WARNING,
        title="the clip has not the number of frames that the graph asks for",
        remedy="a length of 4n+1: `farm validate FILE --snap`",
    ),
    _rule(
        "video-wrong-rate",
        Severity.WARNING,
        title="the clip's frame rate is not the graph's",
        remedy="set fps on the node that makes the video, not on one before it",
    ),
    _rule(
        "video-silent",
        Severity.WARNING,
        title="a sound was given to the clip, and it has none",
        remedy="a format with sound (video/h264-mp4, or SaveVideo)",
    ),
)
