"""Rules about attention: one that fails in each call, one that does not pay, one that stays behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.doctor.errors import COMPILER, COMPILER_FAILED
from comfy.doctor.record import evidence
from comfy.doctor.report import Confidence, Evidence, Severity
from comfy.doctor.rule import Case, Found, Rule
from comfy.graphs.links import class_of
from comfy.graphs.values import literal
from comfy.log.entry import LogEntry
from comfy.log.facts import (
    AttentionFact,
    AttentionFailedFact,
    AttentionRestoredFact,
    BarFact,
    FrameFact,
    NodeFailedFact,
    SagePatchedFact,
    WeightsFact,
)

# Where SageAttention was measured to gain nothing: A100 (8.0), H100 (9.0), datacentre cards of 8.6.
_NO_GAIN: Final = ((8, 0), (9, 0))
_NO_GAIN_NAMES: Final = ("A40", "A6000", "A5000", "A10")
# And where it gained: Ada's and Blackwell's cards for people (5090: Wan2.1 issue 273; 4090: its README).
_GAIN: Final = ((8, 9), (12, 0))
_UNFIT: Final = ("no kernel image", "kernel is not available", "not compatible with the current PyTorch")
_OF_SAGE: Final = re.compile(r"(?i)\bsage|\bsm\d{2,3} kernel is not available")
# Of a model beside the one that samples: WAN's heads have 128. Source: SageAttention, sageattention/core.py.
_HEAD: Final = re.compile(r"(?i)head_?dim")
_SPLIT: Final = "take --use-split-cross-attention out; "
_OLD_KJ: Final = "Patching comfy attention"


def gains_nothing(case: Case) -> bool | None:
    """Whether SageAttention was measured to gain nothing on such a card; None: no measurement is known."""
    if case.capability in _NO_GAIN or any(name in case.gpu.split() for name in _NO_GAIN_NAMES):
        return True
    return False if case.capability in _GAIN else None


def sage_lines(case: Case) -> list[LogEntry]:
    """Where the log says that SageAttention computes."""
    lines = [entry for entry, fact in case.record.server.of(AttentionFact) if fact.name == "sage"]
    return lines + [
        entry
        for some in (*case.runs, case.record.outside, case.record.server)
        for entry, _ in some.of(SagePatchedFact)
    ]


def falls_back(case: Case) -> bool:
    """Whether the attention that was asked for failed, and not for the heads of some other model alone."""
    return any(
        _HEAD.search(entry.text) is None for run in case.runs for entry, _ in run.of(AttentionFailedFact)
    )


def _fallback(case: Case) -> Iterator[Found]:
    for run in case.runs:
        failed = [entry for entry, _ in run.of(AttentionFailedFact)]
        if not failed:
            continue
        count = run.count(AttentionFailedFact)
        name = next(fact.name for _, fact in run.of(AttentionFailedFact))
        why, remedy = _why(failed)
        yield Found(
            message=f"{name} attention failed in {count} calls, and PyTorch's computed them{why}",
            evidence=evidence(failed, count=count),
            prompt=run.number,
            remedy=remedy,
        )


def _why(failed: list[LogEntry]) -> tuple[str, str]:
    """What the lines say of the reason, and its remedy; empty: they do not, and the rule's own."""
    texts = [entry.text for entry in failed]
    if any(word in text for text in texts for word in _UNFIT):
        return ": its build does not fit this card", ""
    if any(map(COMPILER_FAILED.search, texts)):
        return ": its kernels could not be compiled", COMPILER
    if all(map(_HEAD.search, texts)):
        return (
            ": it has no kernel for heads of that size",
            "leave it, where another model than the one that samples has such heads, as CLIP vision has",
        )
    return "", ""


def _unprofitable(case: Case) -> Iterator[Found]:
    lines = sage_lines(case) if not falls_back(case) else []
    if lines and gains_nothing(case):
        yield Found(
            message=f"SageAttention computes on a {case.gpu}, where no gain was measured",
            evidence=evidence(lines),
            confidence=Confidence.LIKELY,
        )


def _unsafe(case: Case) -> Iterator[Found]:
    computes = sage_lines(case)
    for run in case.runs:
        traced = [entry for entry, fact in run.of(FrameFact) if fact.sage]
        lines = [
            entry
            for entry, fact in run.of(NodeFailedFact)
            if (_OF_SAGE.search(fact.message) and "No module named" not in fact.message)
            or ((computes or traced) and any(word in fact.message for word in _UNFIT))
        ]
        if lines:
            yield Found(
                message="SageAttention ended a prompt",
                evidence=evidence([*computes[:1], *lines, *traced[:1]]),
                prompt=run.number,
            )


def _wrong_node(case: Case) -> Iterator[Found]:
    """``attention_mode`` is the wrapper's; what KJNodes patches is ComfyUI's own."""
    lines = [entry for entry in sage_lines(case) if isinstance(entry.fact, SagePatchedFact)]
    if not lines:
        return
    for node_id in case.roles.running:
        if literal(case.graph, node_id, "attention_mode") in ("sdpa", "comfy"):
            name = f"{class_of(case.graph, node_id)} {node_id}"
            yield Found(
                message=f"{name} asks for SDPA, and a node of KJNodes has put SageAttention in its place",
                evidence=(*evidence(lines), Evidence(text=f"{name}: attention_mode=sdpa")),
            )


def _slow(case: Case) -> Iterator[Found]:
    for entry, fact in case.record.server.of(AttentionFact):
        if fact.is_slow and case.on_gpu and case.gpu:
            is_amd = "AMD" in case.gpu or "Radeon" in case.gpu
            yield Found(
                message=f"the slow attention computes: {fact.name}",
                evidence=evidence([entry]),
                confidence=Confidence.LIKELY if is_amd else Confidence.PROVEN,
                remedy=(_SPLIT if fact.name == "split" else "") + _ON_AMD if is_amd else "",
            )


def _stays(case: Case) -> Iterator[Found]:
    """KJNodes' old releases patch the whole process: the next graph gets it too, asked or not."""
    patched: LogEntry | None = None
    for run in case.runs:
        own = [entry for entry, _ in run.of(SagePatchedFact)]
        restored = run.count(AttentionRestoredFact)
        # A graph that is run again has its patched model in the cache, and says nothing of it.
        is_another = run.count(WeightsFact) > 0
        if patched is not None and is_another and not own and not restored and run.count(BarFact):
            yield Found(
                message="SageAttention was put in place by an earlier graph, and computes this one too",
                evidence=evidence([patched]),
                prompt=run.number,
                confidence=Confidence.LIKELY,
            )
            return
        if restored:
            patched = None
        old = [entry for entry in own if entry.text.startswith(_OLD_KJ)]
        patched = old[0] if old else patched


# By itself it takes SDPA for some of them (gfx90a, gfx942, gfx1100, …), with torch 2.7 and Triton.
# Source: comfy/model_management.py, 0.3.64 and 0.33.0, beside "AMD arch".
_ON_AMD: Final = (
    "--use-pytorch-cross-attention, and measure both: without a flag ComfyUI takes the slow one for many of "
    "AMD's cards"
)

RULES: Final = (
    Rule(
        id="attention-fallback",
        severity=Severity.WARNING,
        title="an attention that was asked for fails, and PyTorch's computes in its place",
        remedy="take --use-sage-attention (or --use-flash-attention) out, or install the build for this card",
        check=_fallback,
        source="https://github.com/Comfy-Org/ComfyUI (comfy/ldm/modules/attention.py)",
    ),
    Rule(
        id="sage-without-gain",
        severity=Severity.INFO,
        title="SageAttention on a card where it was measured to gain nothing",
        remedy="sage_attention: disabled on the KJNodes node, or no --use-sage-attention: PyTorch's SDPA",
        check=_unprofitable,
        source="https://github.com/kohya-ss/musubi-tuner/issues/217",
    ),
    Rule(
        id="sage-unsafe",
        severity=Severity.ERROR,
        title="SageAttention's build does not fit the card",
        remedy="sage_attention: disabled, or the build for this card's compute capability",
        check=_unsafe,
        source="https://github.com/thu-ml/SageAttention/issues/148",
    ),
    Rule(
        id="attention-wrong-node",
        severity=Severity.WARNING,
        title="attention is set on a node that does not decide it",
        remedy="sage_attention: disabled on the KJNodes node (PathchSageAttentionKJ, DiffusionModelLoaderKJ)",
        check=_wrong_node,
        source="https://github.com/kijai/ComfyUI-KJNodes",
    ),
    Rule(
        id="slow-attention",
        severity=Severity.WARNING,
        title="ComfyUI's slow attention computes on a card",
        remedy="take --use-split-cross-attention and --use-quad-cross-attention out: SDPA is default",
        check=_slow,
        source="https://github.com/Comfy-Org/ComfyUI (comfy/ldm/modules/attention.py)",
    ),
    Rule(
        id="attention-left-behind",
        severity=Severity.WARNING,
        title="one graph's SageAttention computes the next graph's pictures too",
        remedy="update KJNodes (newer ones patch the model), or run it once with sage_attention: disabled",
        check=_stays,
        source="https://github.com/kijai/ComfyUI-KJNodes",
    ),
)
