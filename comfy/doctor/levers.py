"""What would make the job shorter though nothing is wrong: fewer pixels, one pass, no interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from comfy.doctor.report import Lever, Phase, PromptReport
from comfy.doctor.rule import Case, estimated, measured, seconds_in
from comfy.wan.sizes import ClipSize
from comfy.wan.speed import forward_flops
from comfy.wan.workload import StageLoad

_SMALLER: Final = (832, 480)
_FEW_STEPS: Final = 4
_FORMULA: Final = "2·P·N + 4·L·d·N² operations a pass; P, L, d of the model, N tokens of the clip"


def levers_of(case: Case) -> tuple[Lever, ...]:
    """Choices, the largest first."""
    prompt = next(case.done(), None)
    if prompt is None:
        return ()
    return tuple(sorted(_levers(case, prompt), key=lambda lever: -lever.saves.seconds))


def _levers(case: Case, prompt: PromptReport) -> Iterator[Lever]:
    frames = seconds_in(prompt, Phase.FRAMES)
    if frames:
        yield Lever(what="no interpolation", saves=measured(frames, f"frames {frames:.1f} s"))
    pairs = case.stages_of(prompt)
    sampling = sum(one.seconds for one, _ in pairs)
    if not pairs or case.work is None or not case.work.size_known:
        return
    size, stage = case.work.size, pairs[0][1]
    width, height = _SMALLER if size.width >= size.height else _SMALLER[::-1]
    if size.width * size.height > width * height:
        yield _size_lever(stage, size, replace(size, width=width, height=height), sampling)
    steps = sum(one.steps for one, _ in pairs)
    if steps > _FEW_STEPS and stage.passes > 1:
        part = _FEW_STEPS / (steps * stage.passes)
        yield Lever(
            what=f"a 4-step LoRA, cfg 1: another picture, {_FEW_STEPS} passes for {steps * stage.passes}",
            saves=estimated(
                sampling * (1 - part),
                sampling * (1 - part) * 0.9,
                sampling * (1 - part) * 1.05,
                f"{sampling:.1f} s × (1 − {_FEW_STEPS}/{steps * stage.passes})",
                "https://docs.comfy.org/tutorials/video/wan/wan2_2: 513 s → 71 s on a 4090D",
            ),
        )


def _size_lever(stage: StageLoad, size: ClipSize, smaller: ClipSize, sampling: float) -> Lever:
    part = forward_flops(smaller, stage.weights.family) / forward_flops(size, stage.weights.family)
    saved = sampling * (1 - part)
    return Lever(
        what=f"{smaller.width}×{smaller.height} in place of {size.width}×{size.height}: another picture",
        saves=estimated(
            saved, saved * 0.9, saved * 1.1, f"{sampling:.1f} s of sampling × (1 − {part:.2f})", _FORMULA
        ),
    )
