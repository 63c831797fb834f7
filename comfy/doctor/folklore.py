"""What logs are often read to say, and do not: named where it stands in the log, blamed for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.doctor.attention import falls_back, gains_nothing, sage_lines
from comfy.doctor.record import Run, evidence
from comfy.doctor.report import Evidence, Folklore, PromptReport
from comfy.doctor.rule import Case
from comfy.doctor.sampling import is_image_key
from comfy.graphs.links import class_of, inputs_of
from comfy.log.facts import (
    HandlerFact,
    HandlerStep,
    LoraKeyFact,
    ModelLoadedFact,
    ModelRequestedFact,
    ModuleOnCardFact,
    SamplingFact,
)
from comfy.wan.models import WAN_14B
from comfy.wan.precision import Precision
from comfy.wan.sizes import ClipSize
from comfy.wan.speed import Estimate, forward_flops, rate_of

LONG_STEP_S: Final = 20.0
_LARGEST: Final = ClipSize(width=1280, height=720, frames=81)  # of what WAN 2.2 is asked for
_LOADERS_WITHOUT_DEVICE: Final = ("UnetLoaderGGUF", "UNETLoader", "UnetLoaderGGUFAdvanced")
_COMFYUI: Final = "https://github.com/Comfy-Org/ComfyUI (comfy/model_patcher.py)"


def folklore_of(case: Case) -> tuple[Folklore, ...]:
    """All that applies to this log and graph."""
    return tuple(
        found
        for found in (
            _modules(case),
            _silence(case),
            _sage(case),
            _twice(case),
            _image_keys(case),
            _long(case),
            *_devices(case),
        )
        if found is not None
    )


def _modules(case: Case) -> Folklore | None:
    parts = [*case.runs, case.record.outside, case.record.server]
    lines = [entry for part in parts for entry, _ in part.of(ModuleOnCardFact)]
    if not lines:
        return None
    return Folklore(
        id="lowvram-line",
        claim="`lowvram: loaded module regularly` means that low VRAM is at work, and slow",
        truth="it is printed at level DEBUG for each module that lies on the card whole; only "
        "`loaded partially` tells of streaming",
        evidence=evidence(lines, count=sum(part.count(ModuleOnCardFact) for part in parts), most=1),
        source=_COMFYUI,
    )


def _silence(case: Case) -> Folklore | None:
    lines = [e for e, fact in case.record.outside.of(HandlerFact) if fact.step is HandlerStep.SILENT]
    if not lines:
        return None
    return Folklore(
        id="websocket-silence",
        claim="`Websocket receive timed out` means that the connection is bad",
        truth="ten seconds without a message are normal in a long node: nothing is lost by them",
        evidence=evidence(lines, most=1),
        source="https://github.com/runpod-workers/worker-comfyui (handler.py)",
    )


def _sage(case: Case) -> Folklore | None:
    lines = sage_lines(case)
    gain = gains_nothing(case)
    if not lines or gain or falls_back(case):  # what failed is told as a finding, and never computed there
        return None
    known = (
        "on cards of this kind it was measured faster than PyTorch's at the length of videos"
        if gain is False
        else "whether it is depends on the card: faster on Ada and Blackwell, no gain on A100 and H100"
    )
    return Folklore(
        id="sage-is-slow",
        claim="SageAttention is slower than SDPA and should be off",
        truth=f"{known}; a black or noisy clip is the reason to take it off",
        evidence=evidence(lines, most=1),
        source="https://github.com/kohya-ss/musubi-tuner/issues/217, Wan2.1 issue 273",
    )


def _twice(case: Case) -> Folklore | None:
    for run in case.runs:
        lines = [e for e, fact in run.of(ModelRequestedFact) if fact.model_class == "WAN21"]
        if len(lines) == 2 and run.may_have_experts:
            return Folklore(
                id="requested-twice",
                claim="`Requested to load WAN21` twice in a prompt means that the model was evicted",
                truth="WAN 2.2 A14B has two experts, and each is asked for once",
                evidence=evidence(lines, most=2),
                source=_COMFYUI,
            )
    return None


def _image_keys(case: Case) -> Folklore | None:
    lines = [e for run in case.runs for e, fact in run.of(LoraKeyFact) if is_image_key(fact.key)]
    if not lines:
        return None
    return Folklore(
        id="lora-image-keys",
        claim="`lora key not loaded: …img_emb…` means that the LoRA does not work",
        truth="WAN 2.2 has no image embedding: a LoRA of WAN 2.1 I2V loses that part alone; the rest works",
        evidence=evidence(lines, most=1),
        source="https://github.com/kijai/ComfyUI-WanVideoWrapper/issues/889",
    )


def _long(case: Case) -> Folklore | None:
    """Only where card, size and passes bear the steps out: else they are a finding, or a question."""
    for run, prompt in case.logged():
        for at, one in enumerate(prompt.samplers):
            pace = one.seconds_per_step or 0.0
            normal = _normal(case, run, prompt, at) if pace > LONG_STEP_S else None
            if normal is not None and pace <= normal[0].high:
                return Folklore(
                    id="long-steps",
                    claim=f"{pace:.0f} s a step are abnormal",
                    truth=f"not by themselves: {normal[1]}",
                    evidence=(Evidence(text=f"{one.steps} steps at {pace:.2f} s"),),
                    source=f"https://github.com/Wan-Video/Wan2.2 (README); {normal[0].source}",
                )
    return None


def _normal(case: Case, run: Run, prompt: PromptReport, at: int) -> tuple[Estimate, str] | None:
    """What a step takes there, with its reason; without a graph: what one of A14B may, with guidance."""
    if case.work is not None:
        pairs, plan = case.stages_of(prompt), case.forecast
        step = plan.stages[at].step if pairs and plan is not None else None
        if step is None:
            return None
        name = pairs[at][1].size.name
        return step, f"{step.low:.0f} to {step.high:.0f} s are predicted for {name} on a {case.gpu}"
    told = run.last(SamplingFact)
    if not case.gpu or not case.on_gpu or not (told or _is_of_wan(run)):
        return None
    size = ClipSize(width=told.width, height=told.height, frames=told.frames) if told else _LARGEST
    rate = rate_of(case.gpu, Precision.WIDE)
    if rate is None:
        return None
    one = rate.seconds(forward_flops(size, WAN_14B))
    words = f"a pass of A14B over {size.name} takes a {case.gpu} {one.low:.0f} to {one.high:.0f} s (16 bit)"
    return one.times(2), f"{words}, and guidance takes two passes"


def _is_of_wan(run: Run) -> bool:
    """Whether a model of WAN was loaded that may be A14B by its size."""
    loads = (fact for _, fact in run.of(ModelLoadedFact) if fact.is_of_wan)
    return any(fact.whole_mib is None or fact.whole_mib > _LEAST_A14B_MIB for fact in loads)


_LEAST_A14B_MIB: Final = 4096  # of two bits a weight; 1.3B has 2.7 GiB of 16 bits


def _devices(case: Case) -> Iterator[Folklore | None]:
    for node_id in case.graph:
        if class_of(case.graph, node_id) not in _LOADERS_WITHOUT_DEVICE:
            continue
        if "load_device" in inputs_of(case.graph, node_id):
            name = f"{class_of(case.graph, node_id)} {node_id}"
            yield Folklore(
                id="load-device",
                claim="`load_device: main_device` on the loader brings the model onto the card",
                truth=f"{name} has no such input: ComfyUI drops it, and loads the model once more for it",
                evidence=(Evidence(text=f"{name}: load_device"),),
                source="https://github.com/city96/ComfyUI-GGUF (nodes.py)",
            )
