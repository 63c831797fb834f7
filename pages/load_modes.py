"""``docs/load-modes.md``, made from the load plan itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from comfy.generations import NEWEST, OLDEST
from comfy.wan.fit import ModelSizes, fate, fit
from comfy.wan.memory import VRAM_CLASSES_GIB
from comfy.wan.models import GIB
from comfy.wan.names import file_bytes
from worker.comfyui.command import pretended_card
from worker.plan.flags import flags_of_version
from worker.plan.load_plan import LoadMode, LoadPlan, plan_load
from worker.plan.model_files import clip_size, sizes_of

MEASURED: Final = Path(__file__).parents[1] / "bench" / "gpu" / "results.json"

_HOST_RAM_BYTES: Final = 256 * GIB
_ENCODER: Final = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
# Family, clip, files. The clips are those that the models were trained at.
_FAMILIES: Final[tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]] = (
    (
        "1.3B fp16",
        "832x480x81",
        (("diffusion_models", "wan2.1_t2v_1.3B_fp16.safetensors"), ("vae", "wan_2.1_vae.safetensors")),
    ),
    (
        "5B fp16",
        "1280x704x121",
        (("diffusion_models", "wan2.2_ti2v_5B_fp16.safetensors"), ("vae", "wan2.2_vae.safetensors")),
    ),
    *(
        (
            f"A14B {width}",
            "1280x720x81",
            (
                ("diffusion_models", f"wan2.2_t2v_high_noise_14B_{name}.safetensors"),
                ("diffusion_models", f"wan2.2_t2v_low_noise_14B_{name}.safetensors"),
                ("vae", "wan_2.1_vae.safetensors"),
            ),
        )
        for width, name in (("fp8", "fp8_scaled"), ("fp16", "fp16"))
    ),
)

_INTRODUCTION: Final = """\
# Load modes

How ComfyUI is started on a card, and what becomes of the models there. `farm plan-gpu` explains the plan
for this machine, `farm plan-gpu --gpu "RTX 4090" --ram 64 --comfyui 0.3.64` for another one;
`FARM_LOAD_MODE` forces a mode, and the plan then says what it thinks of that.

| mode | flag | what it means | when |
| --- | --- | --- | --- |
| `balanced` | none | ComfyUI keeps what fits and streams the rest from host memory | nearly always |
| `reserved` | `--reserve-vram` | the same, with a part left to others | others hold memory of the card |
| `resident` | `--highvram` | diffusion models stay on the card for good | legacy ComfyUI, and `FARM_MODELS` \
names one family with two experts that fit together |
| `streamed` | `--novram` | nothing stays: every layer crosses the bus in each step | only when forced |
| `cpu` | `--cpu` | no card | there is none, or it is hidden on purpose |

No flag is given that the installed ComfyUI does not name in its `--help`. `--lowvram` is never given: it does
nearly nothing any more. `--normalvram` is never given: it ends ComfyUI since 0.22.0. `--highvram` and
`--novram` switch dynamic VRAM off. Whether the mode that was planned is the mode that runs is read from
ComfyUI's log after its start and after each job: a difference is logged as `not_as_planned`, and a log that
does not say enough as `unproven`. Both are shown by `farm workers`, and with `FARM_STRICT=true` the worker
takes no more jobs.
"""

_LEGEND: Final = """
## By card, model family and ComfyUI

Cards that do nothing else, and a worker that `FARM_MODELS` dedicates to the family. *whole*: an expert lies
on the card whole; *both*: the two experts together; *streams n%*: so much of an expert comes from host memory
in each step; *too small*: the clip's activations leave no room even for streaming, such jobs belong on a
larger card. *tiles*: the VAE decodes in tiles. Under dynamic VRAM the shares are estimates. Host memory is
not short here; `farm plan-gpu` says when it is.

This page is made from the code by `make docs`; a test holds the two together.
"""

_OPEN: Final = """
Not measured yet on a GPU. `python -m bench.gpu.run` runs a real ComfyUI in each mode on the machine at hand
and writes what it finds to `bench/gpu/results.json`, from which this section is made. Until then the table
above is what ComfyUI's own arithmetic says.
"""


def page(measured: Path = MEASURED) -> str:
    """The page as text."""
    parts = [_INTRODUCTION + _LEGEND]
    for title, version in (
        (f"Legacy memory management (ComfyUI before 0.16.0, here {OLDEST})", OLDEST.version),
        (f"Dynamic VRAM (ComfyUI since 0.16.0, here {NEWEST})", NEWEST.version),
    ):
        parts.append(f"\n### {title}\n\n" + "\n".join(_table(version)) + "\n")
    parts.append("\n## Measured\n" + _measured(measured))
    return "".join(parts)


def _table(version: str) -> Iterator[str]:
    sizes = [(title, clip, _sizes(files, clip)) for title, clip, files in _FAMILIES]
    yield "| card | " + " | ".join(f"{title}, {clip.replace('x', '×')}" for title, clip, _ in sizes) + " |"
    yield "| --- |" + " --- |" * len(sizes)
    for gib in VRAM_CLASSES_GIB:
        cells = [_cell(gib, models, version) for _, _, models in sizes]
        yield f"| {gib} GB | " + " | ".join(cells) + " |"


def _sizes(files: Sequence[tuple[str, str]], clip: str) -> ModelSizes:
    named = (*files, ("text_encoders", _ENCODER))
    found = sizes_of({(kind, name): file_bytes(name, kind) or 0 for kind, name in named}, clip_size(clip))
    if found is None:
        raise ValueError("a family without a diffusion model")
    return found


def _cell(gib: int, models: ModelSizes, version: str) -> str:
    card = pretended_card(None, gib)
    accepted = flags_of_version(version)
    plan = plan_load(card, _HOST_RAM_BYTES, accepted, models=models, single_family=True)
    return f"`{plan.mode}`{_flags(plan)}: {_fate(plan, models, card.free_bytes)}"


def _flags(plan: LoadPlan) -> str:
    return f" `{' '.join(plan.flags)}`" if plan.flags else ""


def _fate(plan: LoadPlan, models: ModelSizes, free_bytes: int) -> str:
    streamed = plan.mode is LoadMode.STREAMED
    return fate(fit(free_bytes, models), experts=len(models.experts), streamed=streamed)


def _measured(results: Path) -> str:
    if not results.exists():
        return _OPEN
    runs: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["runs"]
    rows = [
        "",
        "| card | ComfyUI, torch | weights | clip | mode | s per step | peak VRAM, GiB | proof |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        proof = "; ".join(run["differences"]) or "as planned"
        pace = f"{run['seconds_per_step']:.2f}" if run["seconds_per_step"] is not None else run["error"]
        peak = f"{run['peak_vram_bytes'] / GIB:.1f}" if run["peak_vram_bytes"] is not None else "–"
        rows.append(
            f"| {run['card']} | {run['comfyui']}, {run['torch']} | {run['weights']} | {run['clip']} | "
            f"`{run['mode']}` | {pace} | {peak} | {proof} |"
        )
    return "\n".join(rows) + "\n"
