"""Rules about the card itself: somebody else computes on it, or it slows itself down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.doctor.record import evidence
from comfy.doctor.report import Confidence, Evidence, Severity
from comfy.doctor.rule import Case, Found, Rule
from comfy.log.facts import NodeFailedFact

_MUCH_BYTES: Final = 512 * 2**20  # a desktop's windows hold less
_OFTEN: Final = 0.2  # of the looks at the card
# torch tells of its own process and of others. In a container it cannot tell which is its own, and names none
# as that. Source: pytorch c10/cuda/CUDACachingAllocator.cpp.
_OWN: Final = "this process has"
_OTHER: Final = re.compile(r"Process \d+ has (\d+\.\d+) GiB memory in use")


def _shared(case: Case) -> Iterator[Found]:
    use = case.times.card if case.times is not None else None
    if use is not None and use.others_bytes >= _MUCH_BYTES and use.shared >= _OFTEN * use.looks:
        yield Found(
            message=f"another process held up to {use.others_bytes / 2**30:.1f} GiB of the card",
            evidence=(Evidence(text=f"seen at {use.shared} of {use.looks} looks at the card"),),
            prompt=case.prompts[-1].number if case.prompts else None,
        )
        return
    for run in case.runs:
        lines = [
            entry
            for entry, fact in run.of(NodeFailedFact)
            if _OWN in fact.message and sum(map(float, _OTHER.findall(fact.message))) * 2**30 >= _MUCH_BYTES
        ]
        if lines:
            yield Found(
                message="another process held memory of the card when it ran out",
                evidence=evidence(lines),
                prompt=run.number,
            )


def _throttled(case: Case) -> Iterator[Found]:
    use = case.times.card if case.times is not None else None
    if use is None or not use.looks or use.slowed < _OFTEN * use.looks:
        return
    heat = f", at up to {use.hottest_c} °C" if use.hottest_c is not None else ""
    yield Found(
        message=f"the card slowed itself down for its {use.slowed_by}{heat}",
        evidence=(Evidence(text=f"seen at {use.slowed} of {use.looks} looks at the card"),),
        prompt=case.prompts[-1].number if case.prompts else None,
        confidence=Confidence.PROVEN,
    )


RULES: Final = (
    Rule(
        id="gpu-shared",
        severity=Severity.WARNING,
        title="another process holds half a GiB of the card or more",
        remedy="`nvidia-smi` says whose it is: end it, or give each its card by CUDA_VISIBLE_DEVICES",
        check=_shared,
        source="NVML: nvmlDeviceGetComputeRunningProcesses",
    ),
    Rule(
        id="gpu-throttled",
        severity=Severity.WARNING,
        title="the card slows itself down for heat or power supply; its power limit alone is no fault",
        remedy="look at fans, dust and the room's air; at the power cables; `nvidia-smi -q -d PERFORMANCE`",
        check=_throttled,
        source="NVML: nvmlDeviceGetCurrentClocksEventReasons",
    ),
)
