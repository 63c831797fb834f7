"""Run a real ComfyUI in each load mode, and measure: ``python -m bench.gpu.run --comfyui DIR``.

Two experts of WAN's shape with random weights are written first (27 GB for the 14B in fp8), so nothing has
to be downloaded. Each mode gets a ComfyUI of its own through the farm's own supervisor: what is measured is
what a worker would get. On a machine without a card, ``--shape tiny --modes cpu`` proves that all of it runs.

Then `make docs` shows the results in docs/load-modes.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench.gpu.weights import SHAPES, write_model
from comfy.errors import ComfyError
from comfy.protocol.events import Event
from comfy.protocol.run import PromptRun
from farm.settings.worker import WorkerSettings
from worker.comfyui.supervisor import ComfySupervisor
from worker.errors import GpuUnusable, WorkerError
from worker.gpu.card import GpuCard, read_card
from worker.plan.load_plan import LoadMode

HERE: Final = Path(__file__).parent
_LOOK_EVERY_S: Final = 0.1


class PeakVram:
    """The most that was used of a card while the block ran, by NVML: all processes together."""

    def __init__(self, card: GpuCard | None) -> None:
        self._card = card
        self._ended = threading.Event()
        self.used_bytes: int | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch in a thread."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        while self._card is not None and not self._ended.wait(_LOOK_EVERY_S):
            with contextlib.suppress(GpuUnusable):
                self.used_bytes = max(self.used_bytes or 0, read_card(self._card.uuid).used_bytes)


class Pace:
    """Seconds per step, from the moments at which steps are told; each sampler's first one is left out.

    Newer servers tell ten steps a second at most: so what counts is how many lie between two tellings.
    """

    def __init__(self) -> None:
        self._first: dict[str | None, tuple[int, float]] = {}  # node -> step, when
        self._last: dict[str | None, tuple[int, float]] = {}

    def __call__(self, run: PromptRun, _event: Event) -> None:
        now = run.progress
        if not now.step:
            return
        if now.step > self._last.get(now.node_id, (0, 0.0))[0]:
            self._last[now.node_id] = (now.step, time.monotonic())
            self._first.setdefault(now.node_id, self._last[now.node_id])

    @property
    def seconds_per_step(self) -> float | None:
        """Over both samplers; None when there were too few steps."""
        steps = sum(self._last[node][0] - self._first[node][0] for node in self._last)
        spent_s = sum(self._last[node][1] - self._first[node][1] for node in self._last)
        return spent_s / steps if steps else None


def graph(experts: Sequence[str], clip: tuple[int, int, int], steps: int, seed: int) -> dict[str, Any]:
    """Two experts one after the other over one latent, as the WAN 2.2 template does."""
    width, height, frames = clip
    size = {"width": width, "height": height, "length": frames, "batch_size": 1}
    nodes: dict[str, Any] = {
        "1": {"class_type": "FarmBenchConditioning", "inputs": {"seed": seed}},
        "2": {"class_type": "EmptyHunyuanLatentVideo", "inputs": size},
        "9": {"class_type": "SaveLatent", "inputs": {"samples": ["32", 0], "filename_prefix": "bench"}},
    }
    for position, name in enumerate(experts):
        loader, sampler, first = f"1{position + 1}", f"3{position + 1}", position == 0
        nodes[loader] = {"class_type": "UNETLoader", "inputs": {"unet_name": name, "weight_dtype": "default"}}
        nodes[sampler] = {
            "class_type": "KSamplerAdvanced",
            "inputs": {
                "model": [loader, 0],
                "positive": ["1", 0],
                "negative": ["1", 0],
                "latent_image": ["2", 0] if first else ["31", 0],
                "add_noise": "enable" if first else "disable",
                "noise_seed": seed,
                "steps": 2 * steps,
                "cfg": 1.0,
                "sampler_name": "euler",
                "scheduler": "simple",
                "start_at_step": 0 if first else steps,
                "end_at_step": steps if first else 2 * steps,
                "return_with_leftover_noise": "enable" if first else "disable",
            },
        }
    return nodes


def measure(
    given: argparse.Namespace, mode: LoadMode, settings: WorkerSettings, experts: Sequence[str]
) -> dict[str, Any]:
    """One mode: a cold job that loads, then a warm one that counts."""
    supervisor = ComfySupervisor.for_this_machine(settings)
    peak, pace = PeakVram(supervisor.gpu), Pace()
    error = None
    clip = _clip(given.clip)
    try:
        with peak.watching():
            supervisor.start()
            client = supervisor.client()
            for number, listen in enumerate((None, pace)):
                client.run(graph(experts, clip, given.steps, number), on_event=listen)
    except (ComfyError, WorkerError) as exc:
        error = str(exc).splitlines()[0]
    facts, proof = supervisor.facts(), supervisor.proof()
    plan = supervisor.plan
    supervisor.stop()
    return {
        "card": supervisor.gpu.name if supervisor.gpu is not None else "none (CPU)",
        "driver": supervisor.gpu.driver if supervisor.gpu is not None else None,
        "comfyui": facts.version if facts else "",
        "torch": facts.torch if facts else "",
        "weights": f"{given.shape} {'fp8' if given.fp8 else 'fp16'}, random",
        "clip": given.clip,
        "mode": plan.mode.value,
        "asked": mode.value,
        "flags": list(plan.flags),
        "seconds_per_step": pace.seconds_per_step,
        "peak_vram_bytes": peak.used_bytes,
        "differences": list(proof.differences) if proof else [],
        "error": error or (None if pace.seconds_per_step is not None else "too few steps"),
    }


def main(arguments: Sequence[str], *, say: Callable[[str], object] = print) -> int:
    """Measure every mode that was asked for; 1 when one of them failed."""
    given = _parser().parse_args(arguments)
    base = given.work.absolute() / "base"
    shutil.copytree(HERE / "node", base / "custom_nodes" / "farm_bench", dirs_exist_ok=True)
    width = "fp8" if given.fp8 else "fp16"
    experts = [f"wan_bench_{noise}_{given.shape}_{width}.safetensors" for noise in ("high", "low")]
    for seed, name in enumerate(experts):
        write_model(base / "models/diffusion_models" / name, SHAPES[given.shape], fp8=given.fp8, seed=seed)
    runs = []
    for mode in map(LoadMode, given.modes):
        settings = WorkerSettings.read(
            comfyui_dir=given.comfyui,
            comfyui_python=given.python,
            comfyui_base=base,
            load_mode=mode.value,
            models=",".join(experts),
            largest_clip=given.clip,
            data_dir=given.work / mode.value,
        )
        runs.append(measure(given, mode, settings, experts))
        say(json.dumps(runs[-1], indent=2))
        given.out.write_text(json.dumps({"runs": runs}, indent=2) + "\n")
    return 1 if any(run["error"] for run in runs) else 0


def _clip(text: str) -> tuple[int, int, int]:
    width, height, frames = map(int, text.split("x"))
    return width, height, frames


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comfyui", type=Path, required=True, help="folder of an installed ComfyUI")
    parser.add_argument("--python", type=Path, help="its interpreter")
    parser.add_argument("--shape", choices=list(SHAPES), default="14B")
    parser.add_argument("--fp8", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--clip", default="832x480x81", help="width x height x frames")
    parser.add_argument("--steps", type=int, default=4, help="of each expert")
    modes = [mode.value for mode in LoadMode]
    parser.add_argument(
        "--modes", nargs="+", choices=modes, default=["balanced", "reserved", "resident", "streamed"]
    )
    parser.add_argument(
        "--work", type=Path, default=Path(".farm/bench"), help="weights and ComfyUI's folders"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
