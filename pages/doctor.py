"""``docs/doctor.md``, made from the rules and the report's types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from comfy.doctor import report as types
from comfy.doctor.clip import USUAL
from comfy.doctor.registry import RULES
from comfy.doctor.report import Severity

_INTRODUCTION: Final = """\
# The render doctor

`farm diagnose JOB` says where a job's seconds went, what was lost and what to change; `farm diagnose FILE`
and `… | farm diagnose -` do so for any log of ComfyUI or of what ran it ([lines](log-lines.md)). `--graph
FILE` and `--card "RTX 4090"` say what a log does not. `--json` gives the schema below, `--html FILE` a page
of its own.

From Python, without a farm, Redis, Celery or any other package (`pip install --no-deps` of the wheel does):

```python
from comfy.doctor.diagnose import diagnose

report = diagnose(open("comfyui.log", "rb"), graph=graph, card="RTX 4090")
```

- Phases add up to the wall time; what nobody knows is *unexplained*. A worker's own times count first (the
  websocket's), then stamps of the log, then its progress bars. Without stamps only sampling is told apart.
- Seconds of a finding are measured, or estimated with two bounds; formula and source stand beside them.
- What is often read into a log and is not there is named as such, and blamed for nothing.
- What cannot be concluded is listed with what would decide it.

This page is made from the code by `make docs`; a test holds the two together.
"""
_TYPES: Final = (
    types.Report, types.Server, types.PromptReport, types.PhaseTime, types.Sampler, types.ModelUse,
    types.Finding, types.Cost, types.Evidence, types.Folklore, types.Question, types.Lever, types.LogCount,
)  # fmt: skip
_ENUMS: Final = (types.Severity, types.Confidence, types.Phase, types.Status)


_CLIPS: Final = """
## Clips

A sample of a clip's frames is measured while its poster is made: brightness from 0 to 255, spread (standard
deviation), steps between neighbours, change from frame to frame. By other thresholds than these they are
judged with `diagnose(clips=…, clip_limits=Thresholds(…))`, and on a worker with
`FARM_CLIP_LIMITS=rough=0.9,…`:

| threshold | value | what it is |
| --- | --- | --- |
"""
_THRESHOLDS: Final = {
    "most": "so many of the frames have to be bad for black, one colour and noise",
    "black_mean": "a frame is black up to this mean brightness (0 to 255) …",
    "black_spread": "… and up to this spread of it",
    "flat_spread": "a frame is of one colour up to this spread of each colour",
    "rough": "a frame is noise from this mean step between neighbours on, over the spread …",
    "flicker": "… and from this mean change to the next frame on, over the spread …",
    "rough_spread": "… where the spread is at least this: the grain of a dark scene is no noise",
    "still": "a clip is frozen if no two frames that follow each other differ by more than this (of 255) …",
    "still_frames": "… of so many frames at least",
    "dead_part": "a frame has dead patches if this part of its blocks is black beside bright ones …",
    "dead_frames": "… and a clip has them if so many of its frames do",
    "fps_off": "the frame rate may differ from what was asked for by this part",
}


def page() -> str:
    """The page as text."""
    limits = "".join(
        f"| `{each.name}` | {getattr(USUAL, each.name):g} | {_THRESHOLDS[each.name]} |\n"
        for each in fields(USUAL)
    )
    return _INTRODUCTION + "".join(map(_section, Severity)) + _CLIPS + limits + _schema()


def _section(severity: Severity) -> str:
    head = f"\n## {severity.value.capitalize()}s\n\n"
    head += "| id | what | remedy | seconds |\n| --- | --- | --- | --- |\n"
    return head + "\n".join(_rows(severity)) + "\n"


def _rows(severity: Severity) -> Iterator[str]:
    for rule in sorted(RULES, key=lambda rule: rule.id):
        if rule.severity is severity:
            source = f" ({rule.source})" if rule.source else ""
            yield f"| `{rule.id}` | {rule.title}{source} | {rule.remedy} | {rule.cost or 'not told'} |"


def _schema() -> str:
    parts = ["\n## JSON\n\nA *Report*, and `version` (1). Fields may be added; none changes its meaning.\n"]
    for kind in _TYPES:
        parts.append(f"\n### {kind.__name__}\n\n{_first_line(kind)}\n\n| field | type |\n| --- | --- |\n")
        parts += [f"| `{field.name}` | {_type(str(field.type))} |\n" for field in fields(kind)]
    for enum in _ENUMS:
        parts.append(f"\n### {enum.__name__}\n\n" + ", ".join(f"`{each.value}`" for each in enum) + "\n")
    return "".join(parts)


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _type(text: str) -> str:
    return (
        text.replace("tuple[", "array of ").replace(", ...]", "").replace("|", "or").replace("None", "null")
    )
