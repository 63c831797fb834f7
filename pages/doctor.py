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
- Stamps tell only what the lines around a time bear out: what ran before the first model is unexplained,
  `evicting` is from a request until what is in the way has left and until a model is back, `finishing` is
  all behind the last step, and a step that did not end is sampling. Sampling is high and low only where two
  models of WAN were read.
- Seconds of a finding are measured, or estimated with two bounds; formula and source stand beside them.
- What is often read into a log and is not there is named as such, and blamed for nothing.
- A log may be packed by gzip. Of several servers each is read alone where their lines say whose they are as
  compose, `kubectl --prefix`, stern, journald's units, SwarmUI, PM2, RunPod and Ray write it; of `tail -f` on
  several files, and of two processes of one unit, the lines are taken for one server's.
- What cannot be concluded is listed with what would decide it.

How well it reads: 510 logs that people have posted, of all releases since 2023, were labelled by hand before
the doctor had seen them; each set was read once, and what was missed was mended by its kind behind that. At
those first readings 280 of 282 findings were right, 280 of the 300 that were due were told, and 1,164 of
1,212 facts were read as they are: each prompt's status, its steps, seconds a step, models and how they were
loaded. Of the last 129 of these logs it was 48 of 48, 48 of 55, and 264 of 270.

This page is made from the code by `make docs`; a test holds the two together.
"""
_TYPES: Final = (
    types.Report, types.Server, types.PromptReport, types.PhaseTime, types.Sampler, types.ModelUse,
    types.Finding, types.Cost, types.Evidence, types.Folklore, types.Question, types.Lever, types.LogCount,
)  # fmt: skip
_ENUMS: Final = (types.Severity, types.Confidence, types.Phase, types.Status)


_CLIPS: Final = """
## Clips

Each frame of a clip is measured while its poster is made: of movies (mp4, m4v, mov, mkv, webm, avi), of
animated GIF, WebP, PNG and AVIF, and of five or more pictures of one size that one node has written: they are
taken for the frames of a clip. Not measured are EXR, and of movies above 16 MiB or 268 million pixels all but
the first frame, the poster's stretch and the last one: the report says of how many frames it is open whether
they are good. Size, number, rate and sound are held against the graph where one SaveVideo or VHS_VideoCombine
writes the clip.

Measured are brightness from 0 to 255, spread (standard deviation), what of it is left in larger squares, the
largest local change. What is only likely is said to be: a bad end, noise, frozen, patches. By other
thresholds than these clips are judged with `diagnose(clips=…, clip_limits=Thresholds(…))`, and on a worker
with `FARM_CLIP_LIMITS=tail=0.5,…`:

| threshold | value | what it is |
| --- | --- | --- |
"""
_THRESHOLDS: Final = {
    "most": "so many of the frames have to be bad for black, one colour and noise …",
    "tail": "… or so many (and four) without a break up to the last; what fades to it is meant",
    "plain_detail": "a frame is of one colour up to this spread (brightness and colours, in squares of 4) …",
    "plain_peak": "… and if no pixel is further than this from the mean: fog, a dark sea, stars are more",
    "black_mean": "it is black if it has this mean brightness at most, too",
    "noise_structure": "a frame is noise if so little of the spread in squares of 16 is left in those of 64,",
    "noise_flicker": "… this part of the spread or more changes from frame to frame (by no motion), or none,",
    "noise_spread": "… the spread is at least this (a dark scene's grain is no noise)",
    "noise_peak": "… and no pixel is more spreads from the mean: snow in the night is",
    "noise_squares": "one that stands still is noise only if it has so many squares of 64: 480×272 has them",
    "still_change": "a clip is frozen if no square of 4 pixels changes by more than this in eight frames …",
    "still_drift": "… and the mean one by no more than this part of the spread …",
    "still_frames": "… of so many frames at least …",
    "still_tail": "… which are all, or this part of the clip and its end",
    "hole_corners": "a frame has dead patches if black or white areas have so many corners on the VAE's grid",
    "hole_edge": "… and this part of their outline is hard and on it: not that of a silhouette; …",
    "hole_boxes": "… or so many are rectangles with four hard sides anywhere; one on the grid counts twice",
    "hole_frames": "a clip has them if so many of its frames do",
    "fps_off": "the frame rate may be off by this part, or be the nearest that a GIF can hold",
}
_MEASURED: Final = """
Counted by `make bench-doctor` over 372 clips that are drawn and encoded for it, 198 of them good
(candle, fog, dark sea, stars, silhouettes, logos, cartoons, pixel art, strobes, fades, cuts, pans, grain,
snow, leaves, letterbox), in H.264 at crf 14, 20 and 32, H.265, VP9, AV1, GIF and WebP:

| finding | clips | precision | recall |
| --- | --- | --- | --- |
| `video-black` | 18 | 1.00 | 1.00 |
| `video-one-colour` | 24 | 1.00 | 1.00 |
| `video-noise` | 70 | 1.00 | 0.97 |
| `video-frozen` | 24 | 1.00 | 1.00 |
| `video-patches` | 38 | 1.00 | 0.89 |

The thresholds were chosen with these clips at hand. They were held against 297 real ones that lie in public
repositories of ComfyUI, its nodes and workflows, and of WAN (films, clips of WAN and other models,
animation, skeletons on black, screen casts): 296 good ones have no finding, and a picture that stands still
for eleven seconds has one. Of 32 of them, at 480×272 and crf 17 to 23 with a fault put into the frames,
were found: black from the half on 32, noise from the half on 63 of 64, frozen 61 of 64, soft noise in cells
of 16 pixels 30, a hole of 40×40 on the grid 27, three of 24 to 57 pixels off the grid 20: where a picture
has black and white of its own, a hole does not end hard.

Not seen: faint noise that an encoder at crf 32 has smoothed, noise at crf 40 (none is left in the file),
holes off the grid that are one alone, smaller than 16 pixels or coded at crf 26 and above, noise that is
half a picture. In a picture smaller than 480×272 noise that stands still is told as frozen, and of noise in
large cells nothing is told. Noise that was asked for is told as noise; flat colours that stand still for
half a clip are told as frozen. 81 frames take 0.13 to 0.2 s of one core beyond decoding at 832×480, and
0.22 to 0.33 s at 1280×720.
"""


def page() -> str:
    """The page as text."""
    limits = "".join(
        f"| `{each.name}` | {getattr(USUAL, each.name):g} | {_THRESHOLDS[each.name]} |\n"
        for each in fields(USUAL)
    )
    return _INTRODUCTION + "".join(map(_section, Severity)) + _CLIPS + limits + _MEASURED + _schema()


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
