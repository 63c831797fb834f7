"""The plan held against runs that others have documented: ``python -m bench.documented_runs``.

The rates of `comfy.wan.speed` are derived from most of these runs, so that a small error says that the
formula carries a card from one size and number of steps to another. Runs marked *kept out* were not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from comfy.wan.cards import IDLE_BYTES, known_card
from comfy.wan.forecast import Target, forecast
from comfy.wan.models import GIB
from comfy.wan.pace_book import PaceBook
from comfy.wan.speed import Estimate
from comfy.wan.templates import get_template
from comfy.wan.workload import read_workload

HELD_WITHIN: Final = 0.20
_DOCS: Final = "https://docs.comfy.org/tutorials/video/wan/wan2_2"
_WAN22: Final = "https://github.com/Wan-Video/Wan2.2"
_WAN21: Final = "https://github.com/Wan-Video/Wan2.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One documented run: a warm one, everything of it counted."""

    card: str
    template: str
    seconds: float
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, str] | None = None  # in the template's file names: this part, and what takes its place
    held: bool = False  # one of those that the plan has to meet within a fifth
    kept_out: bool = False  # no rate is derived from it

    @property
    def title(self) -> str:
        """In few words."""
        sizes = "×".join(str(self.settings[name]) for name in ("width", "height", "frames"))
        return f"{self.card}, {self.template}, {sizes}, {self.settings['steps']} steps"


_FP16: Final = ("fp8_scaled", "fp16")


def _clip(width: int, height: int, frames: int, steps: int, cfg: float, **more: Any) -> dict[str, Any]:
    return {"width": width, "height": height, "frames": frames, "steps": steps, "cfg": cfg, **more}


def _reference(card: str, template: str, seconds: float, height: int, *, held: bool = False) -> Run:
    width = 832 if height == 480 else 1280
    cfg = 3.5 if "i2v" in template else 4.0
    return Run(
        card=card,
        template=template,
        seconds=seconds,
        source=_WAN22,
        settings=_clip(width, height, 81, 40, cfg),
        models=_FP16,
        held=held,
    )


_T2V, _I2V = "wan22-t2v-a14b", "wan22-i2v-a14b"
RUNS: Final = (
    Run(
        card="RTX 4090 D",
        template=_I2V,
        seconds=513,
        source=_DOCS,
        settings=_clip(640, 640, 81, 20, 3.5),
        held=True,
    ),
    Run(
        card="RTX 4090 D",
        template=_I2V,
        seconds=71,
        source=_DOCS,
        settings=_clip(640, 640, 81, 4, 1.0, preset="fast"),
        held=True,
    ),
    Run(
        card="RTX 4090 D",
        template=_T2V,
        seconds=71,
        source=_DOCS,
        settings=_clip(640, 640, 81, 4, 1.0, preset="fast"),
    ),
    _reference("A100 80GB", _T2V, 785.7, 480, held=True),
    _reference("H100", _T2V, 326.9, 480, held=True),
    _reference("A100 80GB", _T2V, 2735.7, 720),
    _reference("H100", _T2V, 1041.5, 720),
    _reference("A100 80GB", _I2V, 810, 480),
    _reference("H100", _I2V, 327.8, 480),
    _reference("A100 80GB", _I2V, 2810.9, 720),
    _reference("H100", _I2V, 1055.9, 720),
    _reference("H20", _T2V, 1133.9, 480),
    _reference("H20", _T2V, 4048.7, 720),
    Run(
        card="RTX 4090",
        template="wan22-ti2v-5b",
        seconds=534.7,
        source=_WAN22,
        settings=_clip(1280, 704, 121, 50, 5.0),
    ),
    Run(
        card="RTX 4090",
        template="wan21-t2v-1.3b",
        seconds=261.4,
        source=_WAN21,
        settings=_clip(832, 480, 81, 50, 6.0),
    ),
    Run(
        card="A100 80GB",
        template="wan21-t2v-14b",
        seconds=3342.6,
        source=_WAN21,
        settings=_clip(1280, 720, 81, 50, 5.0),
        models=_FP16,
    ),
    Run(
        card="H100",
        template="wan21-t2v-14b",
        seconds=1837.9,
        source=_WAN21,
        settings=_clip(1280, 720, 81, 50, 5.0),
        models=_FP16,
        kept_out=True,  # without FlashAttention 3, which the rate assumes
    ),
    Run(
        card="RTX 5060",
        template=_T2V,
        seconds=216,
        source="https://github.com/Comfy-Org/ComfyUI/pull/12557",
        settings=_clip(768, 480, 81, 4, 1.0, preset="fast"),
        kept_out=True,
    ),
    Run(
        card="RTX 5070 Ti",
        template=_I2V,
        seconds=84,
        source="https://huggingface.co/sunandbean",
        settings=_clip(832, 480, 81, 4, 1.0, preset="fast"),
        kept_out=True,
    ),
    Run(
        card="H100",
        template=_I2V,
        seconds=23.1,
        source="https://github.com/vllm-project/vllm-omni",
        settings=_clip(832, 480, 81, 4, 1.0, preset="fast"),
        kept_out=True,
    ),
)


def planned(run: Run) -> Estimate:
    """What the plan says of a run.

    Raises:
        ValueError: it says nothing.
    """
    given = {"prompt": "x", "seed": 1, **run.settings}
    template = get_template(run.template)
    needed = {each.name: "x.png" for each in template.parameters if each.required and each.name not in given}
    graph = dict(template.build(**needed, **given).graph)
    if run.models is not None:
        graph = {node_id: _other_model(node, *run.models) for node_id, node in graph.items()}
    card = known_card(run.card)
    work = read_workload(graph)
    if card is None or card.vram_mib is None or work is None:
        raise ValueError(f"no plan for {run.title}")
    free = card.vram_mib * 2**20 - IDLE_BYTES
    target = Target(name=card.name, gpu=card.name, free_bytes=free, ram_bytes=256 * GIB)
    warm = forecast(work, target, PaceBook({})).warm
    if warm is None:
        raise ValueError(f"the plan has no seconds for {run.title}")
    return warm


def _other_model(node: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    name = node["inputs"].get("unet_name")
    if not isinstance(name, str):
        return node
    return {**node, "inputs": {**node["inputs"], "unet_name": name.replace(old, new)}}


def table() -> Iterator[str]:
    """A line for each run."""
    for run in RUNS:
        found = planned(run)
        off = found.seconds / run.seconds - 1
        inside = "inside" if found.low <= run.seconds <= found.high else "OUTSIDE"
        marks = (" held" if run.held else "") + (" kept out" if run.kept_out else "")
        bounds = f"{found.low:.0f} to {found.high:.0f}"
        said = f"planned {found.seconds:7.1f} ({off:+.0%}), {inside} {bounds}{marks}"
        yield f"{run.title:62} {run.seconds:7.1f} s, {said}"


def held_errors() -> list[float]:
    """By which part the plan misses each run that it has to meet."""
    return [abs(planned(run).seconds / run.seconds - 1) for run in RUNS if run.held]


if __name__ == "__main__":
    print("\n".join(table()))
