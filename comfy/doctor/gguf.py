"""The rule about GGUF where fp8_scaled would be faster: what unpacking costs, and what FP8 units gain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Final, NamedTuple

from comfy.doctor.encoder import is_mac
from comfy.doctor.record import Run, evidence
from comfy.doctor.report import Confidence, Cost, PromptReport, Severity
from comfy.doctor.rule import Case, Found, Rule, estimated
from comfy.log.entry import LogEntry
from comfy.log.facts import DeviceFact, GgufFact, TextEncoderFact, WeightsFact
from comfy.wan.models import GIB
from comfy.wan.speed import FP8_FASTER, GB, has_fp8_units


class _Kind(NamedTuple):
    bits: float  # of a weight, scales included
    moved_bytes: float  # that unpacking one weight to 16 bits reads and writes


# Bits: https://github.com/ggml-org/llama.cpp (ggml/src/ggml-common.h). Bytes: counted over the inputs and
# outputs of each operation of ComfyUI-GGUF's dequant.py on a matrix of 5120×5120; views move nothing.
_KINDS: Final = {
    "Q8_0": _Kind(8.5, 3.2),
    "Q6_K": _Kind(6.5625, 19.3),
    "Q5_K": _Kind(5.5, 19.5),
    "Q5_1": _Kind(6.0, 35.3),
    "Q5_0": _Kind(5.5, 35.3),
}
_FP8_BITS: Final = 8
# Of what cards are made with: an A16 or A2 at worst, a 3090 or 4090 taken, a B200 at best.
_MEMORY_BYTES_PER_S: Final = (200 * GB, 1000 * GB, 8000 * GB)
_MOST_FP8_FASTER: Final = 2.0  # of the peaks of FP8 and 16-bit units, in NVIDIA's data sheets
_SOURCE: Final = (
    "16-bit WAN on a 4090 beside fp8_scaled on a 4090 D, by their published times; ComfyUI-GGUF dequant.py"
)


def _gguf(case: Case) -> Iterator[Found]:
    if not case.on_gpu or _computes_fp8(case) is False:
        return
    where = "" if _computes_fp8(case) else ", if the card has FP8 units (RTX 40 and newer, L4, L40, H100)"
    for run, prompt in case.logged():
        told = [(entry, each) for entry, fact in _diffusion_ggufs(run) if (each := _wide_kind(case, fact))]
        if not told:
            continue
        kind = told[0][1]
        saves = "no memory is saved" if kind.bits > _FP8_BITS else "it saves memory, not time"
        yield Found(
            message=f"a GGUF of {kind.bits:.2g} bits a weight, where fp8_scaled has {_FP8_BITS} and computes "
            f"in them{where}: {saves}",
            evidence=evidence([entry for entry, _ in told]),
            cost=_cost(case, run, prompt, kind),
            prompt=run.number,
            confidence=Confidence.LIKELY,
        )


def _computes_fp8(case: Case) -> bool | None:
    """Whether ComfyUI computes in fp8 on the card; None: the card is not known.

    Source: comfy/model_management.py, supports_fp8_compute.
    """
    if case.card is not None:
        return has_fp8_units(case.card)
    device = case.record.server.last(DeviceFact)
    is_other = is_mac(case) or (device is not None and "RTX" not in device.device)
    return False if is_other else None


def _wide_kind(case: Case, fact: GgufFact) -> _Kind | None:
    """Its kind, if fp8_scaled would do in its place: no card is too small to take fewer bits."""
    kind = next((_KINDS[name] for name in fact.types[:2] if name in _KINDS), None)
    fits = kind is not None and (kind.bits > _FP8_BITS or (case.vram_bytes or 0) >= 15 * GIB)
    return kind if fits else None


def _cost(case: Case, run: Run, prompt: PromptReport, kind: _Kind) -> Cost | None:
    """What is computed in 16 bits would take FP8 units a part of the time, and nothing would unpack."""
    sampling = sum(one.seconds for one in prompt.samplers)
    if not sampling:
        return None
    steps = sum(one.steps for one in prompt.samplers)
    passes = max((stage.passes for _, stage in case.stages_of(prompt)), default=None)
    moved = max(run.diffusion_mib, default=0.0) * 2**20 * 8 / kind.bits * kind.moved_bytes
    worst, taken, best = (min(steps * moved / rate, sampling) for rate in _MEMORY_BYTES_PER_S)
    unpacking = taken * (passes or 1)
    gain = (sampling - unpacking) * (1 - 1 / FP8_FASTER)
    most = min(worst * (passes or 2), sampling)
    formula = (
        f"({sampling:.1f} s of sampling − {unpacking:.1f} s) × (1 − 1/{FP8_FASTER:g}) "
        f"+ {unpacking:.1f} s of unpacking: {steps} steps × {passes or 1} × {moved / GB:.0f} GB moved / "
        f"{_MEMORY_BYTES_PER_S[1] / GB:.0f} GB/s; FP8 units are 1 to {_MOST_FP8_FASTER:g} times as fast"
    )
    return estimated(
        gain + unpacking,
        best * (passes or 1) if _computes_fp8(case) else 0.0,
        (sampling - most) * (1 - 1 / _MOST_FP8_FASTER) + most,
        formula,
        _SOURCE,
    )


def _diffusion_ggufs(run: Run) -> Iterator[tuple[LogEntry, GgufFact]]:
    """Those of diffusion models: a text encoder may be a GGUF as well, and computes once."""
    told = [entry for entry in run.entries if entry.kind in (GgufFact, WeightsFact, TextEncoderFact)]
    for entry, then in zip_longest(told, told[1:]):
        if (
            entry is not None
            and isinstance(entry.fact, GgufFact)
            and (then is None or then.kind is not TextEncoderFact)
        ):
            yield entry, entry.fact


RULES: Final = (
    Rule(
        id="gguf-where-fp8-fits",
        severity=Severity.WARNING,
        title="GGUF of five bits or more on a card that computes in fp8",
        # Of normal weights Q8_0 is off by 0.5 %, fp8 with one scale by 2.6 % (root mean square).
        remedy="load the …_fp8_scaled.safetensors of the model with UNETLoader, weight_dtype default; its "
        "weights are rounded more coarsely than Q8_0's (2.6 % against 0.5 %), so pictures differ a little",
        check=_gguf,
        cost="(sampling − unpacking) × (1 − 1/1.57) + unpacking, which is bytes moved / bandwidth",
        source="https://github.com/city96/ComfyUI-GGUF (dequant.py), docs.comfy.org/tutorials/video/wan",
    ),
)
