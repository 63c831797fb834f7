"""The fleet as Prometheus reads it: what the store knows of jobs, and what workers say of themselves.

`FleetCollector` asks the store anew for each scrape; one exporter serves the whole fleet. The tables below
are all there is, and `docs/metrics.md` is made from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from comfy.canary.report import Seen
from farm.errors import StoreUnavailable
from farm.status.proof import Proof
from farm.status.worker import WorkerStatus
from farm.store.base import Counts
from farm.store.roles import ViewerStore
from farm.store.tally import BOUNDS, PHASES, Tally

Samples = Iterable[tuple[tuple[str, ...], float]]  # values of the labels, and the value

UP: Final = "farm_redis_up"
UP_MEANING: Final = "1: the store answered this scrape; 0: it did not, and nothing else is told."

ENDED: Final = "farm_jobs_ended_total"
ENDED_MEANING: Final = (
    "Jobs that ended, by state and code of the error (`reused`: with files of an earlier job). One "
    "that was retried by hand ends again. Counted where it ends, so it does not fall when records expire."
)

SPENT: Final = "farm_job_seconds"
SPENT_MEANING: Final = (
    "Histogram of what jobs with a result spent on each phase: `wait` for a worker, `prepare` (inputs, the "
    "graph fitted to the worker), `render` in ComfyUI, `collect` its files, `upload` them, `publish` (look "
    "at them and upload), `attempt` (all but the wait)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFarm:
    """A metric of jobs and queues."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    read: Callable[[Counts], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfWorker:
    """A metric of each live worker, labelled with its name and `labels`; a worker may not tell it."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    counter: bool = False  # begins again at 0 with the worker
    read: Callable[[WorkerStatus], Samples]


def _number(value: float | None) -> Samples:
    """A metric without labels; none when it is not told."""
    return [] if value is None else [((), float(value))]


def _by_name(values: Mapping[str, float]) -> Samples:
    return [((name,), float(value)) for name, value in values.items()]


def _info(worker: WorkerStatus) -> Samples:
    gpu = worker.gpu
    told = (
        gpu and gpu.name, gpu and gpu.uuid, gpu and gpu.driver, worker.comfyui_version, worker.torch_version,
        worker.load_plan.mode, worker.vram_gib, worker.emulated,
    )  # fmt: skip
    return [(tuple("" if value is None else str(value) for value in told), 1.0)]


def _proof(read: Callable[[Proof], float]) -> Callable[[WorkerStatus], Samples]:
    return lambda worker: _number(None if worker.proof is None else read(worker.proof))


def _verdict(worker: WorkerStatus) -> Samples:
    return [((worker.proof.verdict.value,), 1.0)] if worker.proof is not None else []


def _canary_verdict(worker: WorkerStatus) -> Samples:
    return [((worker.canary.verdict,), 1.0)] if worker.canary is not None else []


def _canary_failures(worker: WorkerStatus) -> Samples:
    traits = worker.canary.traits if worker.canary is not None else ()
    for trait in traits:
        if trait.seen == Seen.FAILED:
            yield (trait.trait, "yes" if trait.needed else "no"), 1.0


def _unknown_warnings(worker: WorkerStatus) -> Samples:
    log = worker.proof.log if worker.proof is not None else None
    return _number(len(log.unknown_warnings) if log is not None else None)


def _paces(worker: WorkerStatus) -> Samples:
    return [
        ((now.phase,), now.seconds_per_step)
        for now in worker.jobs.values()
        if now.seconds_per_step is not None
    ]


FARM: Final[tuple[OfFarm, ...]] = (
    OfFarm(
        name="farm_jobs",
        labels=("state",),
        meaning="Jobs that Redis holds in each state; finished ones until their retention is over.",
        read=lambda counts: [((state.value,), count) for state, count in counts.by_state.items()],
    ),
    OfFarm(
        name="farm_jobs_waiting",
        labels=("queue", "priority"),
        meaning="Jobs that wait for a worker, by VRAM class and priority (0 is the most urgent).",
        read=lambda counts: [((each.queue, str(each.priority)), each.waiting) for each in counts.waiting],
    ),
    OfFarm(
        name="farm_oldest_wait_seconds",
        labels=("queue", "priority"),
        meaning="Since the oldest job that waits there was submitted.",
        read=lambda counts: [((each.queue, str(each.priority)), each.oldest_s) for each in counts.waiting],
    ),
    OfFarm(
        name="farm_jobs_parked",
        meaning="Jobs that wait in no queue, because no live worker fits.",
        read=lambda counts: [((), counts.parked)],
    ),
    OfFarm(
        name="farm_leases_overdue",
        meaning="Leases that ran out and were not taken back: above 0 for long, no steward runs.",
        read=lambda counts: [((), counts.leases_overdue)],
    ),
)

WORKERS: Final[tuple[OfWorker, ...]] = (
    OfWorker(
        name="farm_worker_info",
        labels=("gpu", "gpu_uuid", "driver", "comfyui", "torch", "mode", "vram_class", "emulated"),
        meaning="Always 1: what the worker is, in labels.",
        read=_info,
    ),
    OfWorker(
        name="farm_worker_fetching",
        meaning="1: it takes jobs, when its GPU is free; 0: it does not.",
        read=lambda worker: [((), not worker.not_fetching)],
    ),
    OfWorker(
        name="farm_worker_not_fetching",
        labels=("reason", "cause"),
        meaning="1 for each [reason](not-fetching.md) for which it takes no jobs.",
        read=lambda worker: [((reason.value, reason.cause.value), 1) for reason in worker.not_fetching],
    ),
    OfWorker(
        name="farm_worker_draining",
        meaning="1: `farm drain` has told it to take no jobs.",
        read=lambda worker: [((), worker.drain is not None)],
    ),
    OfWorker(
        name="farm_worker_quarantined",
        labels=("code",),
        meaning="1: out of service, since its machine failed; why, as an error's code.",
        read=lambda worker: [((worker.quarantine.code,), 1)] if worker.quarantine is not None else [],
    ),
    OfWorker(
        name="farm_worker_proof",
        labels=("verdict",),
        meaning="1 for what is known of its mode: proven, differs (from the plan), unproven.",
        read=_verdict,
    ),
    OfWorker(
        name="farm_worker_canary",
        labels=("verdict",),
        meaning="1 for what its canary found: proven, unproven, unusable, busy (not proven yet).",
        read=_canary_verdict,
    ),
    OfWorker(
        name="farm_worker_canary_failed",
        labels=("trait", "needed"),
        meaning="1 for each trait of its ComfyUI that is not as the farm knows it; jobs need it: yes, no.",
        read=_canary_failures,
    ),
    OfWorker(
        name="farm_worker_log_unknown_warnings",
        meaning="Warnings and errors of its ComfyUI that are not known, 20 at most.",
        read=_unknown_warnings,
    ),
    OfWorker(
        name="farm_worker_proof_differences",
        meaning="In how many points its ComfyUI does not run as planned; `farm workers` says in which.",
        read=_proof(lambda proof: len(proof.differences)),
    ),
    OfWorker(
        name="farm_worker_partial_loads",
        meaning="Diffusion models that were loaded only in part when the plan was proven last.",
        read=_proof(lambda proof: proof.partial_loads),
    ),
    OfWorker(
        name="farm_worker_vram_used_bytes",
        meaning="Of its card, by whomever.",
        read=lambda worker: _number(worker.resources.vram_used_bytes),
    ),
    OfWorker(
        name="farm_worker_vram_total_bytes",
        meaning="Of its card.",
        read=lambda worker: _number(worker.gpu.vram_total_bytes if worker.gpu is not None else None),
    ),
    OfWorker(
        name="farm_worker_gpu_temperature_celsius",
        meaning="Of its card.",
        read=lambda worker: _number(worker.resources.gpu_temperature_c),
    ),
    OfWorker(
        name="farm_worker_gpu_ecc_uncorrected",
        meaning="Memory errors that its card could not correct, since the driver was loaded.",
        read=lambda worker: _number(worker.resources.gpu_ecc_uncorrected),
    ),
    OfWorker(
        name="farm_worker_ram_available_bytes",
        meaning="Of the host, or of the container's limit.",
        read=lambda worker: _number(worker.resources.ram_available_bytes),
    ),
    OfWorker(
        name="farm_worker_ram_total_bytes",
        meaning="Of the host, or of the container's limit.",
        read=lambda worker: _number(worker.ram_total_bytes),
    ),
    OfWorker(
        name="farm_worker_comfyui_rss_bytes",
        meaning="Host memory of its ComfyUI process.",
        read=lambda worker: _number(worker.resources.comfyui_rss_bytes),
    ),
    OfWorker(
        name="farm_worker_rss_bytes",
        meaning="Host memory of the worker itself.",
        read=lambda worker: _number(worker.resources.worker_rss_bytes),
    ),
    OfWorker(
        name="farm_worker_disk_free_bytes",
        labels=("folder",),
        meaning="Of the disks with its working folder and its models.",
        read=lambda worker: _by_name(worker.resources.disk_free_bytes),
    ),
    OfWorker(
        name="farm_worker_models_bytes",
        meaning="Size of all model files that its ComfyUI has.",
        read=lambda worker: _number(worker.models.bytes if worker.models is not None else None),
    ),
    OfWorker(
        name="farm_worker_jobs",
        meaning="Jobs in its hands: one that renders, others that are published.",
        read=lambda worker: [((), len(worker.jobs))],
    ),
    OfWorker(
        name="farm_worker_seconds_per_step",
        labels=("phase",),
        meaning="Pace of the sampler in the job that it renders now.",
        read=_paces,
    ),
    OfWorker(
        name="farm_worker_attention_seconds",
        labels=("backend",),
        meaning="What one attention of WAN's shape took, of each back-end that was found right on its card.",
        read=lambda worker: _by_name(worker.attention_trials.proven if worker.attention_trials else {}),
    ),
    OfWorker(
        name="farm_worker_findings_total",
        labels=("finding",),
        counter=True,
        meaning="Attempts of this worker, failed ones too, in which [the doctor](doctor.md) found this, "
        "since it was started.",
        read=lambda worker: _by_name({name: each.jobs for name, each in worker.findings.items()}),
    ),
    OfWorker(
        name="farm_worker_finding_seconds_total",
        labels=("finding",),
        counter=True,
        meaning="Seconds that [the doctor](doctor.md) lays to this, as far as they can be told.",
        read=lambda worker: _by_name({name: each.seconds for name, each in worker.findings.items()}),
    ),
    OfWorker(
        name="farm_worker_attempts_total",
        labels=("outcome",),
        counter=True,
        meaning="Attempts that ended here since the worker was started: `succeeded`, `failed`, `queued` (it "
        "is tried again), `canceled`, `lost`, `given back`.",
        read=lambda worker: _by_name(worker.attempts_ended),
    ),
    OfWorker(
        name="farm_worker_gpu_busy_seconds_total",
        counter=True,
        meaning="In which a job had its GPU, since the worker was started.",
        read=lambda worker: _number(worker.gpu_busy_s),
    ),
)


class FleetCollector(Collector):
    """Registers with a `CollectorRegistry`; reads the store when it is scraped."""

    def __init__(self, store: ViewerStore) -> None:
        self._store = store

    def describe(self) -> Iterable[Family]:
        """Nothing: a registry that is told no names does not scrape to learn them."""
        return ()

    def collect(self) -> Iterator[Family]:
        """All metrics as they are now; only `UP`, with 0, when the store does not answer."""
        try:
            counts, workers, tally = self._store.counts(), self._store.workers(), self._store.tally()
        except StoreUnavailable:
            yield GaugeMetricFamily(UP, UP_MEANING, value=0)
            return
        yield GaugeMetricFamily(UP, UP_MEANING, value=1)
        for of_farm in FARM:
            family = GaugeMetricFamily(of_farm.name, of_farm.meaning, labels=of_farm.labels)
            for labels, value in of_farm.read(counts):
                family.add_metric(labels, value)
            yield family
        yield _ended(tally)
        yield _spent(tally)
        for of_worker in WORKERS:
            yield _of_workers(of_worker, workers)


def _ended(tally: Tally) -> Family:
    family = CounterMetricFamily(ENDED, ENDED_MEANING, labels=("state", "code"))
    for (state, code), count in sorted(tally.ended.items()):
        family.add_metric((state.value, code), count)
    return family


def _spent(tally: Tally) -> Family:
    family = HistogramMetricFamily(SPENT, SPENT_MEANING, labels=("phase",))
    for phase in PHASES:
        spent = tally.spent[phase]
        up_to = list(zip(map(floatToGoString, BOUNDS), accumulate(spent.counts), strict=True))
        family.add_metric((phase,), up_to, spent.total_s)
    return family


def _of_workers(metric: OfWorker, workers: Iterable[WorkerStatus]) -> Family:
    kind = CounterMetricFamily if metric.counter else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=("worker", *metric.labels))
    for worker in workers:
        for labels, value in metric.read(worker):
            family.add_metric((worker.name, *labels), value)
    return family
