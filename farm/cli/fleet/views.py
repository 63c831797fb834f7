"""Workers as people read them: the fleet at a glance, and one worker with all that it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comfy.canary.report import Seen
from farm.cli.terminal.tables import plain_table
from farm.cli.terminal.words import seconds, size
from farm.job import Progress
from farm.status.not_fetching import Cause, NotFetching
from farm.status.proof import Proof, ProofVerdict
from farm.status.worker import (
    AttentionTrials,
    CanaryStatus,
    CustomNodeStatus,
    GpuStatus,
    ModelLoadStatus,
    NvencStatus,
    ResourceStatus,
    WorkerStatus,
)

_VERDICTS = {
    ProofVerdict.PROVEN: "as planned",
    ProofVerdict.DIFFERS: "not as planned",
    ProofVerdict.UNPROVEN: "unproven",
}
_COLOURS = {Cause.ORDER: "yellow", Cause.FAULT: "red", Cause.PASSING: "cyan"}


def workers_table(workers: Sequence[WorkerStatus]) -> Table:
    """One line for each live worker."""
    table = plain_table("worker", "GPU", "class", "VRAM", "mode", "ComfyUI", "state", "job")
    for worker in workers:
        table.add_row(
            worker.name,
            (worker.gpu.name if worker.gpu is not None else "") or "none",
            f"{worker.vram_gib} GiB" if worker.vram_gib else "–",
            _vram(worker),
            _mode(worker),
            _comfyui(worker),
            Text("\n").join([_state(worker), *_troubles_shown(worker)]),
            "\n".join(_jobs(worker)) or "–",
        )
    return table


def worker_view(worker: WorkerStatus, models: Mapping[str, int] | None) -> RenderableType:
    """All that one worker says of itself.

    Args:
        models: its model files, folder and name -> bytes; None: not told.
    """
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, value in {**_work(worker), **_hardware(worker), **_software(worker)}.items():
        if value:
            facts.add_row(name, value)
    parts: list[RenderableType] = [facts]
    if models:
        parts.append(_models_table(models, set(worker.warm_models)))
    if worker.custom_nodes:
        parts.append(_nodes_table(worker.custom_nodes))
    return Group(*parts)


def _work(worker: WorkerStatus) -> dict[str, str | Text]:
    return {
        "worker": worker.name,
        "state": _state(worker),
        "since": worker.started_at or "",
        "trouble": Text("\n").join(_troubles_shown(worker)),
        "jobs": "\n".join(_jobs(worker)),
        "attempts": ", ".join(f"{count} {how}" for how, count in worker.attempts_ended.items()),
        "class": f"takes jobs of up to {worker.vram_gib} GiB" if worker.vram_gib else "",
    }


def _hardware(worker: WorkerStatus) -> dict[str, str | Text]:
    gpu, now = worker.gpu, worker.resources
    return {
        "GPU": f"{gpu.name} ({gpu.uuid})" if gpu is not None and gpu.name else "none",
        "GPU facts": ", ".join(_gpu_words(gpu)) if gpu is not None else "",
        "VRAM": _vram(worker),
        "temperature": f"{now.gpu_temperature_c} °C" if now.gpu_temperature_c is not None else "",
        "NVENC": _nvenc(worker.nvenc),
        "host RAM": _of(now.ram_available_bytes, worker.ram_total_bytes, "free"),
        "processes": _processes(now),
        "disk free": ", ".join(f"{what} {size(count)}" for what, count in now.disk_free_bytes.items()),
    }


def _software(worker: WorkerStatus) -> dict[str, str | Text]:
    plan, models, trials = worker.load_plan, worker.models, worker.attention_trials
    return {
        "ComfyUI": _comfyui(worker),
        "torch": worker.torch_version or "",
        "load plan": " ".join([plan.mode or "–", *plan.flags]),
        "why": "\n".join(plan.reasons),
        "proof": ", ".join(_proof_words(worker.proof)) if worker.proof is not None else "",
        "canary": "\n".join(_canary_words(worker.canary)) if worker.canary is not None else "",
        "attention": "\n".join(_attention_words(trials)) if trials is not None else "",
        "node classes": str(worker.node_classes or ""),
        "models": f"{models.files} files, {size(models.bytes)}"
        if models is not None and models.files
        else "",
        "warm": "\n".join(worker.warm_models),
        "loads": "\n".join(_load_words(worker.loads)),
    }


def _gpu_words(gpu: GpuStatus) -> Iterator[str]:
    if gpu.compute_capability:
        yield f"compute capability {'.'.join(map(str, gpu.compute_capability))}"
    if gpu.driver:
        yield f"driver {gpu.driver}"
    if gpu.parent_uuid:
        yield f"a MIG slice of {gpu.parent_uuid}"
    if gpu.ecc is not None:
        yield f"ECC {'on' if gpu.ecc else 'off'}"


def _proof_words(proof: Proof) -> Iterator[str]:
    yield _VERDICTS[proof.verdict]
    for words, value in (
        ("VRAM state", proof.vram_state),
        ("device", proof.device),
        ("attention", proof.attention),
    ):
        if value:
            yield f"{words} {value}"
    if proof.dynamic_vram is not None:
        yield f"dynamic VRAM {'on' if proof.dynamic_vram else 'off'}"
    if proof.partial_loads:
        yield f"{proof.partial_loads} models loaded in part"
    if proof.log is not None and proof.log.of:
        yield f"log: {proof.log}"
    if proof.log is not None and proof.log.unknown_warnings:
        yield f"{len(proof.log.unknown_warnings)} warnings that are not known"


def _canary_words(canary: CanaryStatus) -> Iterator[str]:
    """What failed is in its sentence; and what else it saw, and did not see."""
    yield canary.sentence
    held = [trait.trait for trait in canary.traits if trait.seen == Seen.HELD]
    if held:
        yield f"as expected: {', '.join(held)}"
    for trait in canary.traits:
        if trait.seen == Seen.NOT_SEEN:
            yield f"not seen: {trait.trait}" + (f" ({trait.came})" if trait.came else "")


def _attention_words(trials: AttentionTrials) -> Iterator[str]:
    for name, took_s in trials.proven.items():
        yield f"{name}: right, {took_s * 1000:.2f} ms"
    for name, why in trials.refused.items():
        yield f"{name}: {why}"


def _load_words(loads: Mapping[str, ModelLoadStatus]) -> Iterator[str]:
    for kind, load in loads.items():
        sizes = [
            f"{mib:.0f} MiB {words}"
            for mib, words in ((load.loaded_mib, "on the card"), (load.offloaded_mib, "streamed"))
            if mib is not None
        ]
        yield f"{kind}: {load.state}" + (f", {', '.join(sizes)}" if sizes else "")


def _processes(now: ResourceStatus) -> str:
    named = {"ComfyUI": now.comfyui_rss_bytes, "worker": now.worker_rss_bytes}
    return ", ".join(f"{name} {size(count)}" for name, count in named.items() if count is not None)


def _nvenc(nvenc: NvencStatus | None) -> str:
    if nvenc is None:
        return ""
    return "works" if nvenc.usable else f"does not work: {nvenc.reason}"


def _vram(worker: WorkerStatus) -> str:
    total = worker.gpu.vram_total_bytes if worker.gpu is not None else None
    return _of(worker.resources.vram_used_bytes, total, "used")


def _of(part: int | None, whole: int | None, what: str) -> str:
    if whole is None:
        return "–"
    return f"{size(part)} {what} of {size(whole)}" if part is not None else size(whole)


def _mode(worker: WorkerStatus) -> str:
    """The mode that was planned, and whether nobody knows that it is the one."""
    unproven = worker.proof is not None and worker.proof.verdict is ProofVerdict.UNPROVEN
    return (worker.load_plan.mode or "–") + (" (unproven)" if unproven else "")


def _comfyui(worker: WorkerStatus) -> Text:
    shown = Text(worker.comfyui_version or "–")
    if worker.comfyui_revision:
        shown.append(f" ({worker.comfyui_revision[:10]})")
    if worker.emulated:
        shown.append(" ").append(" EMULATED ", "bold black on yellow")
    return shown


def _state(worker: WorkerStatus) -> Text:
    closed = Text(", ").join(map(_reason, worker.not_fetching))
    return Text.assemble(worker.state, " (not fetching: ", closed, ")") if closed else Text(worker.state)


def _reason(reason: NotFetching) -> Text:
    return Text(reason.why, _COLOURS[reason.cause])


def _troubles_shown(worker: WorkerStatus) -> list[Text]:
    return [Text(trouble, "red") for trouble in _troubles(worker)]


def _troubles(worker: WorkerStatus) -> list[str]:
    """What is wrong with a worker: what stops it, and in what its ComfyUI differs from its plan."""
    proof = worker.proof or Proof()
    return [
        *([worker.trouble] if worker.trouble else []),
        *(f"not as planned: {difference}" for difference in proof.differences),
        *(f"as its jobs' lines have it: {what}" for what in proof.seen_in_jobs),
        *(f"unproven: {what}" for what in proof.unproven),
    ]


def _jobs(worker: WorkerStatus) -> list[str]:
    return [f"{job_id[:12]} {_at_work(now)}".strip() for job_id, now in worker.jobs.items()]


def _at_work(progress: Progress) -> str:
    steps = f" {progress.step or 0}/{progress.steps}" if progress.steps else ""
    pace = f", {seconds(progress.seconds_per_step)} a step" if progress.seconds_per_step else ""
    return f"{progress.phase}{steps}{pace}"


def _models_table(models: Mapping[str, int], warm: set[str]) -> Table:
    table = plain_table("model file", "size", "")
    for name, count in sorted(models.items()):
        table.add_row(name, size(count), "warm" if name in warm else "")
    return table


def _nodes_table(nodes: Mapping[str, CustomNodeStatus]) -> Table:
    table = plain_table("custom node", "version", "revision")
    for name, facts in sorted(nodes.items()):
        table.add_row(name, facts.version or "–", (facts.revision or "–")[:10])
    return table
