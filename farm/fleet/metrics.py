"""The fleet as Prometheus reads it: what the store knows of jobs, and what workers say on their cards.

`FleetCollector` asks the store anew for each scrape; one exporter serves the whole fleet. The tables below
are all there is, and `docs/metrics.md` is made from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from farm.cards import MODELS_FIELD
from farm.errors import StoreUnavailable
from farm.store.base import Counts, JobStore

Card = Mapping[str, Any]
Samples = Iterable[tuple[tuple[str, ...], float]]  # values of the labels, and the value

UP: Final = "farm_redis_up"
UP_MEANING: Final = "1: the store answered this scrape; 0: it did not, and nothing else is told."


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
    read: Callable[[Card], Samples]


def _field(name: str) -> Callable[[Card], Samples]:
    """One number of the card."""
    return lambda card: _number(card.get(name))


def _number(value: Any) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, int | float):
        yield (), float(value)


def _by_name(value: Any) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, number in (value or {}).items():
        yield (str(name),), float(number)


def _info(card: Card) -> Samples:
    gpu, plan = card.get("gpu") or {}, card.get("load_plan") or {}
    told = (
        gpu.get("name"), gpu.get("uuid"), gpu.get("driver"), card.get("comfyui_version"),
        card.get("torch_version"), plan.get("mode"), card.get("vram_gib"), bool(card.get("emulated")),
    )  # fmt: skip
    yield tuple("" if value is None else str(value) for value in told), 1.0


def _proof(field: str) -> Callable[[Card], Samples]:
    def read(card: Card) -> Samples:
        value = (card.get("proof") or {}).get(field)
        return _number(len(value) if isinstance(value, list) else value)

    return read


def _verdict(card: Card) -> Samples:
    verdict = (card.get("proof") or {}).get("verdict")
    return [((str(verdict),), 1.0)] if verdict else []


def _unknown_warnings(card: Card) -> Samples:
    log = (card.get("proof") or {}).get("log") or {}
    return _number(len(log.get("unknown_warnings") or ()) if log else None)


def _paces(card: Card) -> Samples:
    for now in (card.get("jobs") or {}).values():
        if now and now.get("seconds_per_step") is not None:
            yield (str(now.get("phase")),), float(now["seconds_per_step"])


def _attention(card: Card) -> Samples:
    return _by_name((card.get("attention") or {}).get("proven"))


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
        read=lambda counts: [((lane.queue, str(lane.priority)), lane.waiting) for lane in counts.waiting],
    ),
    OfFarm(
        name="farm_oldest_wait_seconds",
        labels=("queue", "priority"),
        meaning="Since the oldest job that waits there was submitted.",
        read=lambda counts: [((lane.queue, str(lane.priority)), lane.oldest_s) for lane in counts.waiting],
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
        read=lambda card: [((), not card.get("not_fetching"))],
    ),
    OfWorker(
        name="farm_worker_not_fetching",
        labels=("reason",),
        meaning="1 for each reason for which it takes no jobs.",
        read=lambda card: [((str(reason),), 1) for reason in card.get("not_fetching") or ()],
    ),
    OfWorker(
        name="farm_worker_draining",
        meaning="1: `farm drain` has told it to take no jobs.",
        read=lambda card: [((), card.get("drain") is not None)],
    ),
    OfWorker(
        name="farm_worker_quarantined",
        labels=("code",),
        meaning="1: out of service, since its machine failed; why, as an error's code.",
        read=lambda card: [((str(card["quarantine"].get("code")),), 1)] if card.get("quarantine") else [],
    ),
    OfWorker(
        name="farm_worker_proof",
        labels=("verdict",),
        meaning="1 for what is known of its mode: proven, differs (from the plan), unproven.",
        read=_verdict,
    ),
    OfWorker(
        name="farm_worker_log_unknown_warnings",
        meaning="Warnings and errors of its ComfyUI that are not known, 20 at most.",
        read=_unknown_warnings,
    ),
    OfWorker(
        name="farm_worker_proof_differences",
        meaning="In how many points its ComfyUI runs otherwise than planned; `farm workers` says in which.",
        read=_proof("differences"),
    ),
    OfWorker(
        name="farm_worker_partial_loads",
        meaning="Diffusion models that were loaded only in part when the plan was proven last.",
        read=_proof("partial_loads"),
    ),
    OfWorker(
        name="farm_worker_vram_used_bytes",
        meaning="Of its card, by whomever.",
        read=_field("vram_used_bytes"),
    ),
    OfWorker(
        name="farm_worker_vram_total_bytes",
        meaning="Of its card.",
        read=lambda card: _number((card.get("gpu") or {}).get("vram_total_bytes")),
    ),
    OfWorker(
        name="farm_worker_gpu_temperature_celsius",
        meaning="Of its card.",
        read=_field("gpu_temperature_c"),
    ),
    OfWorker(
        name="farm_worker_gpu_ecc_uncorrected",
        meaning="Memory errors that its card could not correct, since the driver was loaded.",
        read=_field("gpu_ecc_uncorrected"),
    ),
    OfWorker(
        name="farm_worker_ram_available_bytes",
        meaning="Of the host, or of the container's limit.",
        read=_field("ram_available_bytes"),
    ),
    OfWorker(
        name="farm_worker_ram_total_bytes",
        meaning="Of the host, or of the container's limit.",
        read=_field("ram_total_bytes"),
    ),
    OfWorker(
        name="farm_worker_comfyui_rss_bytes",
        meaning="Host memory of its ComfyUI process.",
        read=_field("comfyui_rss_bytes"),
    ),
    OfWorker(
        name="farm_worker_rss_bytes",
        meaning="Host memory of the worker itself.",
        read=_field("worker_rss_bytes"),
    ),
    OfWorker(
        name="farm_worker_disk_free_bytes",
        labels=("folder",),
        meaning="Of the disks with its working folder and its models.",
        read=lambda card: _by_name(card.get("disk_free_bytes")),
    ),
    OfWorker(
        name="farm_worker_models_bytes",
        meaning="Size of all model files that its ComfyUI has.",
        read=lambda card: _number((card.get(MODELS_FIELD) or {}).get("bytes")),
    ),
    OfWorker(
        name="farm_worker_jobs",
        meaning="Jobs in its hands: one that renders, others that are published.",
        read=lambda card: [((), len(card.get("jobs") or ()))],
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
        read=_attention,
    ),
    OfWorker(
        name="farm_worker_attempts_total",
        labels=("outcome",),
        counter=True,
        meaning="Attempts that ended here since the worker was started: `succeeded`, `failed`, `queued` (it "
        "is tried again), `canceled`, `lost`, `given back`.",
        read=lambda card: _by_name(card.get("attempts_ended")),
    ),
)


class FleetCollector(Collector):
    """Registers with a `CollectorRegistry`; reads the store when it is scraped."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def describe(self) -> Iterable[Family]:
        """Nothing: a registry that is told no names does not scrape to learn them."""
        return ()

    def collect(self) -> Iterator[Family]:
        """All metrics as they are now; only `UP`, with 0, when the store does not answer."""
        try:
            counts, cards = self._store.counts(), self._store.workers()
        except StoreUnavailable:
            yield GaugeMetricFamily(UP, UP_MEANING, value=0)
            return
        yield GaugeMetricFamily(UP, UP_MEANING, value=1)
        for of_farm in FARM:
            family = GaugeMetricFamily(of_farm.name, of_farm.meaning, labels=of_farm.labels)
            for labels, value in of_farm.read(counts):
                family.add_metric(labels, value)
            yield family
        for of_worker in WORKERS:
            yield _of_workers(of_worker, cards)


def _of_workers(metric: OfWorker, cards: Iterable[Card]) -> Family:
    kind = CounterMetricFamily if metric.counter else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=("worker", *metric.labels))
    for card in cards:
        try:
            samples = list(metric.read(card))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue  # a worker of another version tells it in another form
        for labels, value in samples:
            family.add_metric((str(card.get("name", "?")), *labels), value)
    return family
