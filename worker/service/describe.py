"""What a worker says of itself, in Redis and in manifests: no secret, no path."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from comfy.canary.report import CanaryReport
from farm.settings.worker import WorkerSettings
from farm.status.not_fetching import NotFetching, most_telling_first
from farm.status.worker import (
    AttentionTrials,
    CanaryStatus,
    CanaryTraitStatus,
    CustomNodeStatus,
    GpuProcessStatus,
    GpuStatus,
    LoadPlanStatus,
    NvencStatus,
    QuarantineStatus,
    ResourceStatus,
    WorkerFacts,
    WorkerStatus,
)
from worker.comfyui.installed import comfyui_installed, custom_nodes
from worker.comfyui.supervisor import ComfySupervisor
from worker.fetching.gate import Gate
from worker.fetching.watchdog import Watchdog
from worker.gpu.card import GIB, GpuCard
from worker.gpu.watch import GpuWatch
from worker.jobs.at_work import AtWork
from worker.machine import Machine
from worker.plan import host
from worker.plan.load_plan import LoadPlan
from worker.plan.model_files import models_folder
from worker.results.storage_watch import StorageWatch
from worker.service.definitions import Definitions
from worker.service.disk import DiskWatch
from worker.service.draining import Draining
from worker.service.epoch import EpochWatch
from worker.service.finding_counts import FindingCounts
from worker.service.health import Health
from worker.service.model_shelf import ModelShelf


class StatusMaker:
    """Makes the status of one worker, out of what its parts know."""

    def __init__(
        self,
        name: str,
        settings: WorkerSettings,
        gate: Gate,
        machine: Machine,
        *,
        disk: DiskWatch,
        storage: StorageWatch,
        health: Health,
        draining: Draining,
        definitions: Definitions,
        epoch: EpochWatch,
        shelf: ModelShelf,
        at_work: AtWork,
        watchdog: Watchdog,
    ) -> None:
        """Keep whom to ask; nothing is read yet."""
        self._name = name
        self._settings = settings
        self._gate = gate
        self._machine = machine
        self._disk = disk
        self._storage = storage
        self._health = health
        self._draining = draining
        self._definitions = definitions
        self._epoch = epoch
        self._watchdog = watchdog
        self._shelf = shelf
        self._at_work = at_work
        self.findings = FindingCounts()  # of the jobs that were rendered here
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        # Of which start of ComfyUI: its revision, and its custom nodes.
        self._installed: tuple[int, str | None, dict[str, CustomNodeStatus]] = (-1, None, {})

    def facts(self) -> WorkerFacts:
        """What stays the same from job to job, and is in every manifest."""
        return worker_facts(self._name, self._machine.gpu, self._machine.comfy)

    def status(self) -> WorkerStatus:
        """All of it, as it is now."""
        machine, told = self._machine, self._draining.ordered
        forgot_at = self._epoch.forgot_at
        facts = self.facts()
        _, revision, nodes = self._code()
        return WorkerStatus(
            **{name: getattr(facts, name) for name in WorkerFacts.__dataclass_fields__},
            pid=os.getpid(),
            started_at=self._started_at,
            state=machine.comfy.state.value,
            not_fetching=most_telling_first(self._gate.closed_for),
            trouble=machine.trouble
            or self._disk.trouble
            or self._failure()
            or self._watchdog.trouble
            or self._storage.sentence,
            drain=told.value if told else None,
            redis_forgot_at=forgot_at.isoformat() if forgot_at else None,
            quarantine=self._quarantine(),
            storage=self._storage.status(),
            judged=self._health.suspicion.status(),
            resources=resources_now(machine.watch, machine.comfy, self._folders()),
            nvenc=NvencStatus(**asdict(machine.nvenc)) if machine.nvenc else None,
            canary=_canary_status(machine.canary.report),
            proof=machine.proof(),
            attention_trials=self._attention(),
            jobs=self._at_work.jobs(),
            attempts_ended=self._at_work.outcomes(),
            findings=self.findings.status(),
            gpu_busy_s=round(self._gate.gpu_held_s, 3),
            models=self._shelf.facts(),
            warm_models=tuple(machine.warm.files()),
            loads=machine.warm.loads(),
            comfyui_revision=revision,
            comfyui_flags=self._flags(),
            custom_nodes=nodes,
            definitions=self._definitions.digest,
            node_classes=self._definitions.classes,
        )

    def _flags(self) -> tuple[str, ...]:
        """Flags that ComfyUI runs with; their values may be paths."""
        facts = self._machine.comfy.facts()
        given = facts.argv if facts is not None else ()
        return tuple(sorted({word.partition("=")[0] for word in given if word.startswith("--")}))

    def _code(self) -> tuple[int, str | None, dict[str, CustomNodeStatus]]:
        """What ComfyUI's process has imported: as it was installed when that process began."""
        generation = self._machine.comfy.generation
        if generation != self._installed[0]:
            comfyui = comfyui_installed(self._settings)
            found = custom_nodes(self._settings).items()
            nodes = {name: CustomNodeStatus(version=at.version, revision=at.revision) for name, at in found}
            self._installed = (generation, comfyui.revision if comfyui else None, nodes)
        return self._installed

    def _attention(self) -> AttentionTrials | None:
        known = self._machine.attention.known if self._machine.attention is not None else None
        return AttentionTrials(proven=known.proven, refused=known.refused) if known is not None else None

    def _failure(self) -> str | None:
        failure = self._health.quarantine.failure
        return f"out of service: {failure.reason}" if failure is not None else None

    def _quarantine(self) -> QuarantineStatus | None:
        failure = self._health.quarantine.failure
        if failure is None:
            return None
        return QuarantineStatus(code=failure.code, reason=failure.reason, probes=failure.probes)

    def _folders(self) -> dict[str, Path]:
        """Where models are, and where a worker writes."""
        models = models_folder(self._settings)
        named = {"work": self._settings.data_dir}
        return named | {"models": models} if models is not None else named


def _canary_status(report: CanaryReport | None) -> CanaryStatus | None:
    if report is None:
        return None
    traits = (
        CanaryTraitStatus(
            trait=row.trait, seen=row.seen, needed=row.trait.is_needed, expected=row.expected, came=row.came
        )
        for row in report.rows
    )
    return CanaryStatus(
        verdict=report.verdict, sentence=report.sentence, traits=tuple(traits), took_s=report.took_s
    )


def worker_facts(name: str, gpu: GpuCard | None, comfy: ComfySupervisor) -> WorkerFacts:
    """What stays the same from job to job."""
    facts = comfy.facts()
    return WorkerFacts(
        name=name,
        gpu=_gpu_status(gpu) if gpu is not None else None,
        load_plan=_plan_status(comfy.plan),
        vram_gib=comfy.vram_class_gib,
        ram_total_bytes=host.host_memory().total_bytes,
        comfyui_version=facts.version if facts else None,
        torch_version=facts.torch if facts else None,
        python_version=facts.python if facts else None,
        attention_backend=_attention_told(facts.argv if facts else ()),
        emulated=comfy.is_emulator,
    )


def facts_shown(facts: WorkerFacts, not_fetching: Sequence[NotFetching]) -> dict[str, str]:
    """What somebody who looks at one worker wants to know first, in words."""
    gpu = facts.gpu
    gib = f", {gpu.vram_total_bytes / GIB:.0f} GiB" if gpu and gpu.vram_total_bytes else ""
    version = facts.comfyui_version or "of unknown version"
    return {
        "GPU": f"{gpu.name}{gib}" if gpu else "none that it could read",
        "mode": facts.load_plan.mode,
        "ComfyUI": f"{version} (the emulator: clips are placeholders)" if facts.emulated else version,
        "fetches": f"nothing: {not_fetching[0].why}" if not_fetching else "jobs",
    }


def _attention_told(argv: Sequence[str]) -> str | None:
    """The back-end that ComfyUI was told to use for all models; None when it was told none."""
    told = next((each for each in argv if each.startswith("--use-") and each.endswith("-attention")), None)
    return told.removeprefix("--use-").removesuffix("-attention") if told is not None else None


def resources_now(
    watch: GpuWatch | None, comfy: ComfySupervisor, folders: Mapping[str, Path]
) -> ResourceStatus:
    """Memory and disk at this moment. `gpu_trouble` tells when the card cannot be used any more.

    Args:
        folders: what for -> where; of each the free space is told.
    """
    card = watch.card if watch is not None and watch.trouble is None else None
    return ResourceStatus(
        ram_available_bytes=host.host_memory().available_bytes,
        comfyui_rss_bytes=host.rss_bytes(comfy.pid) if comfy.pid is not None else None,
        worker_rss_bytes=host.rss_bytes(os.getpid()),
        disk_free_bytes={what: host.disk_space(folder).free_bytes for what, folder in folders.items()},
        gpu_trouble=str(watch.trouble) if watch is not None and watch.trouble is not None else None,
        vram_used_bytes=card.used_bytes if card is not None else None,
        vram_free_bytes=card.free_bytes if card is not None else None,
        gpu_temperature_c=card.temperature_c if card is not None else None,
        gpu_ecc_uncorrected=card.ecc_uncorrected if card is not None else None,
        gpu_processes=_gpu_processes(card) if card is not None else (),
    )


def _gpu_processes(card: GpuCard) -> tuple[GpuProcessStatus, ...]:
    return tuple(
        GpuProcessStatus(pid=process.pid, name=process.name, used_bytes=process.used_bytes)
        for process in card.processes
    )


def _gpu_status(gpu: GpuCard) -> GpuStatus:
    return GpuStatus(
        name=gpu.name,
        uuid=gpu.uuid,
        index=gpu.index,
        vram_total_bytes=gpu.total_bytes,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        parent_uuid=gpu.parent_uuid,
        ecc=gpu.ecc,
        has_nvenc=gpu.has_nvenc,
    )


def _plan_status(plan: LoadPlan) -> LoadPlanStatus:
    return LoadPlanStatus(
        mode=plan.mode.value, flags=plan.flags, reserve_bytes=plan.reserve_bytes, reasons=plan.reasons
    )
