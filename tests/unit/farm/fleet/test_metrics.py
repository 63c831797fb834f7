"""What Prometheus is told, by the text that it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from farm.errors import StoreUnavailable
from farm.fleet.metrics import FARM, WORKERS, FleetCollector
from farm.job import JobResult
from farm.status.worker import WorkerStatus
from farm.store.base import StoreLimits
from farm.testing import MemoryJobStore
from tests.support.jobs import a_job, a_result, an_error, claimed

A_STATUS: Mapping[str, Any] = {
    "name": "gpu0@rack",
    "gpu": {"name": "NVIDIA L40S", "uuid": "GPU-1", "driver": "580", "vram_total_bytes": 48 * 2**30},
    "vram_gib": 48,
    "load_plan": {"mode": "balanced"},
    "comfyui_version": "0.38.1",
    "torch_version": "2.9",
    "emulated": False,
    "not_fetching": ["drained", "quarantine"],
    "drain": "now",
    "quarantine": {"code": "gpu_lost"},
    "proof": {
        "verdict": "differs",
        "differences": ["its VRAM state is NO_VRAM"],
        "partial_loads": 1,
        "log": {"unknown_warnings": ["the moon is full"]},
    },
    "canary": {
        "verdict": "unproven",
        "traits": [{"trait": "post", "seen": "held", "needed": True}, {"trait": "log", "seen": "failed"}],
    },
    "ram_total_bytes": 6,
    "resources": {
        "vram_used_bytes": 13 * 2**30,
        "gpu_temperature_c": 61,
        "gpu_ecc_uncorrected": 2,
        "ram_available_bytes": 5,
        "comfyui_rss_bytes": 7,
        "worker_rss_bytes": 8,
        "disk_free_bytes": {"work": 9},
    },
    "models": {"files": 1, "bytes": 10, "list": "d"},
    "jobs": {"ab" * 16: {"phase": "sample_low", "fraction": 0.5, "seconds_per_step": 1.5}},
    "attention_trials": {"proven": {"sdpa_flash": 0.002}},
    "attempts_ended": {"succeeded": 12, "failed": 1},
    "findings": {"partial-load": {"jobs": 3, "seconds": 42.5}},
    "gpu_busy_s": 90.5,
}


def samples(store: MemoryJobStore) -> dict[str, dict[tuple[str, ...], float]]:
    """Name -> values of the labels -> value, out of the text."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(store))
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            names = sorted(sample.labels, key=lambda name: (name != "worker", name))
            labels = tuple(sample.labels[name] for name in names)
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_jobs_queues_and_waits_are_told() -> None:
    store = MemoryJobStore()
    first, *_ = store.submit([a_job(priority=0), a_job(priority=5), a_job(priority=5)])
    store.claim(first.job_id, worker="w1")

    told = samples(store)

    assert told["farm_redis_up"] == {(): 1}
    assert told["farm_jobs"][("running",)] == 1
    assert told["farm_jobs"][("queued",)] == 2
    assert told["farm_jobs_waiting"] == {("5", "render.24"): 2}
    assert 0 <= told["farm_oldest_wait_seconds"][("5", "render.24")] < 60
    assert told["farm_leases_overdue"] == {(): 0}


def ended(store: MemoryJobStore, result: JobResult | None) -> None:
    job_id = store.submit([a_job()])[0].job_id
    claim = claimed(store, job_id)
    if result is not None:
        store.succeed(job_id, claim.attempt, result)
    else:
        store.fail(job_id, claim.attempt, an_error(), retry_in_s=None)


def test_how_jobs_ended_and_what_they_took_outlives_their_records() -> None:
    now = 1_000_000.0
    store = MemoryJobStore(StoreLimits(retention_s=60), clock=lambda: now)
    for execute_s in (0.5, 0.6, 400.0, 90_000.0):
        ended(store, replace(a_result(), timings_s={"queue": 3.0, "execute": execute_s}))
    ended(store, None)
    before = samples(store)

    now += 3600
    store.sweep()
    told = samples(store)

    assert told["farm_jobs"][("succeeded",)] == 0
    assert told["farm_jobs_ended_total"] == {("", "succeeded"): 4, ("made_up", "failed"): 1}
    buckets = {
        labels[0]: value for labels, value in told["farm_job_seconds_bucket"].items() if labels[1] == "render"
    }
    assert [buckets[bound] for bound in ("0.5", "1.0", "300.0", "600.0", "36000.0", "+Inf")] == [
        1,
        2,
        2,
        3,
        3,
        4,
    ]
    assert told["farm_job_seconds_count"][("render",)] == 4
    assert told["farm_job_seconds_sum"][("render",)] == pytest.approx(90_401.1)
    assert told["farm_job_seconds_sum"][("wait",)] == pytest.approx(12.0)
    assert {name: before[name] for name in told if name.startswith("farm_job_")} == {
        name: each for name, each in told.items() if name.startswith("farm_job_")
    }


def test_every_metric_of_a_worker_is_told_with_its_name() -> None:
    store = MemoryJobStore()
    store.put_worker(WorkerStatus.from_json(json.dumps(A_STATUS)), ttl_s=60)

    told = samples(store)

    assert {metric.name for metric in FARM} - told.keys() == {"farm_jobs_waiting", "farm_oldest_wait_seconds"}
    for metric in WORKERS:
        assert {labels[0] for labels in told[metric.name]} == {"gpu0@rack"}, metric.name
    assert told["farm_worker_proof_differences"] == {("gpu0@rack",): 1}
    assert told["farm_worker_canary"] == {("gpu0@rack", "unproven"): 1}
    assert told["farm_worker_canary_failed"] == {("gpu0@rack", "no", "log"): 1}
    assert told["farm_worker_fetching"] == {("gpu0@rack",): 0}
    assert told["farm_worker_not_fetching"] == {
        ("gpu0@rack", "order", "drained"): 1,
        ("gpu0@rack", "fault", "quarantine"): 1,
    }
    assert told["farm_worker_quarantined"] == {("gpu0@rack", "gpu_lost"): 1}
    assert told["farm_worker_draining"] == {("gpu0@rack",): 1}
    assert told["farm_worker_seconds_per_step"] == {("gpu0@rack", "sample_low"): 1.5}
    assert told["farm_worker_attempts_total"][("gpu0@rack", "succeeded")] == 12
    assert told["farm_worker_findings_total"] == {("gpu0@rack", "partial-load"): 3}
    assert told["farm_worker_finding_seconds_total"] == {("gpu0@rack", "partial-load"): 42.5}
    assert told["farm_worker_vram_used_bytes"] == {("gpu0@rack",): 13 * 2**30}


def test_a_worker_that_tells_little_has_the_metrics_that_it_tells() -> None:
    store = MemoryJobStore()
    store.put_worker(WorkerStatus(name="bare"), ttl_s=60)
    store.put_worker(WorkerStatus.from_json(json.dumps(A_STATUS)), ttl_s=60)

    told = samples(store)

    assert told["farm_worker_fetching"] == {("bare",): 1, ("gpu0@rack",): 0}
    assert told["farm_worker_vram_total_bytes"] == {("gpu0@rack",): 48 * 2**30}


def test_a_store_that_does_not_answer_is_a_metric_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryJobStore()

    def away() -> None:
        raise StoreUnavailable("127.0.0.1:6379", "connection refused")

    monkeypatch.setattr(store, "counts", away)

    assert samples(store) == {"farm_redis_up": {(): 0}}
