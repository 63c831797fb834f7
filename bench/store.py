"""Measures the job store: how fast, how much memory, and does a long queue cost.

    python -m bench.store [--queued 100000] [--url redis://...]

Starts a Valkey of its own (append-only file on, `everysec`) unless a URL is given. Prints one line per
figure; the comparison with a long queue is made side by side, calls on both farms alternating.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import redis
from pydantic import SecretStr

from bench.servers import own_valkey
from farm.asking.prepare import prepare
from farm.asking.request import JobRequest
from farm.broker import CeleryNotifier, make_app
from farm.job import JobResult, JobSpec, new_job_id, queue_for
from farm.settings.redis import RedisSettings
from farm.store.base import Claim, NewJob, StoreLimits
from farm.store.redis.store import RedisJobStore, connect

PROMPT = (
    "A red fox trots through fresh snow at dawn, breath steaming, low sun through birch trunks, "
    "shallow depth of field, take {}"
)
BATCH = 500


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queued", type=int, default=100_000, help="jobs of the long queue")
    parser.add_argument("--url", help="a Redis to use; it is written to")
    chosen = parser.parse_args()
    with own_valkey() if chosen.url is None else nullcontext(chosen.url) as url:
        short, long = store_at(url, "bench-short"), store_at(url, "bench-long")
        oldest = fill_and_weigh(url, long, chosen.queued)
        few = jobs(100)
        short.submit(few)
        enqueue(url)
        cycles(url)
        compare((short, long), (deque(job.job_id for job in few), oldest), chosen.queued)


def store_at(url: str, namespace: str) -> RedisJobStore:
    """A store with the real notifier."""
    settings = RedisSettings.read(url=SecretStr(url), namespace=namespace)
    return connect(settings, StoreLimits(), CeleryNotifier(make_app(settings), namespace))


def jobs(count: int) -> list[NewJob]:
    """WAN jobs that differ in prompt and seed, as a producer would hand them in."""
    specs = _specs()
    return [NewJob(job_id=new_job_id(), spec=next(specs), queue=queue_for(24)) for _ in range(count)]


def _specs() -> Iterator[JobSpec]:
    number = 0
    while True:
        number += 1
        # A new prompt and seed for every tenth: building the graph is not what is measured here.
        if number % 10 == 1:
            parameters = {"prompt": PROMPT.format(number)}
            request = JobRequest(
                template="wan22-t2v-a14b", parameters=parameters, options={"labels": ["batch=7"]}
            )
            spec = prepare(request)
        yield replace(spec, title=f"{spec.title} {number}")


def fill_and_weigh(url: str, store: RedisJobStore, count: int) -> deque[str]:
    """Queue `count` jobs in batches; say how fast, and what one weighs with its message. Their ids."""
    first = jobs(1)
    ids = deque(job.job_id for job in first)
    with redis.Redis.from_url(url) as client:
        store.submit(first)
        before = memory(client)
        took_s = 0.0
        for start in range(0, count, BATCH):
            batch = jobs(min(BATCH, count - start))
            began = time.perf_counter()
            store.submit(batch)
            took_s += time.perf_counter() - began
            ids.extend(job.job_id for job in batch)
        say("enqueue in batches", f"{count / took_s:,.0f} jobs/s ({BATCH} in a batch, {count:,} jobs)")
        say("memory of a queued job with its message", f"{(memory(client) - before) / count:,.0f} bytes")
    return ids


def memory(client: redis.Redis) -> int:
    """Bytes that the server uses for data and indexes."""
    info: Callable[..., dict[str, int]] = client.info
    return info("memory")["used_memory"]


def enqueue(url: str) -> None:
    """One job at a time, from one producer."""
    store = store_at(url, "bench-single")
    waiting = jobs(2000)
    say("submit of one job", spread([timed(partial(store.submit, [job])) for job in waiting]))


def cycles(url: str) -> None:
    """A job's whole life, as the store sees it: claim, renew, succeed."""
    store = store_at(url, "bench-cycle")
    waiting = jobs(2000)
    store.submit(waiting)
    result = JobResult(bucket="b", artifacts=(), manifest_key="m")
    parts: dict[str, list[float]] = {"claim": [], "renew": [], "succeed": []}
    began = time.perf_counter()
    for job in waiting:
        parts["claim"].append(timed(partial(store.claim, job.job_id, worker="w")))
        parts["renew"].append(timed(partial(store.renew, job.job_id, 1)))
        parts["succeed"].append(timed(partial(store.succeed, job.job_id, 1, result)))
    took_s = time.perf_counter() - began
    say("claim + renew + succeed", f"{len(waiting) / took_s:,.0f} cycles/s")
    for name, times in parts.items():
        say(f"  {name}", spread(times))


def compare(
    stores: tuple[RedisJobStore, RedisJobStore], ids: tuple[deque[str], deque[str]], queued: int
) -> None:
    """The same calls on a farm with 100 waiting jobs and on one with many, turn by turn, oldest job first."""
    submits: tuple[list[float], list[float]] = ([], [])
    claims: tuple[list[float], list[float]] = ([], [])
    sweeps: tuple[list[float], list[float]] = ([], [])
    new = iter(jobs(2000))
    for _ in range(1000):
        for at, store in enumerate(stores):
            job = next(new)
            submits[at].append(timed(partial(store.submit, [job])))
            sweeps[at].append(timed(store.sweep))
            claims[at].append(timed(partial(claimed, store, ids[at].popleft())))
            ids[at].append(job.job_id)
    for name, (few, many) in {"submit": submits, "claim": claims, "sweep": sweeps}.items():
        ratio = statistics.median(many) / statistics.median(few)
        say(f"{name}, 100 queued", spread(few))
        say(f"{name}, {queued:,} queued", f"{spread(many)}; {ratio:.2f} times the median")


def claimed(store: RedisJobStore, job_id: str) -> None:
    """Claim a job, which must be granted."""
    assert isinstance(store.claim(job_id, worker="w"), Claim)


def timed(call: Callable[[], object]) -> float:
    """Seconds that the call took."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def spread(times_s: Sequence[float]) -> str:
    """Median and tail, in ms."""
    ordered = sorted(times_s)
    p50, p99 = (1000 * ordered[len(ordered) * percent // 100] for percent in (50, 99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


def say(what: str, figure: str) -> None:
    """One line of the report."""
    print(f"{what:42} {figure}", flush=True)


if __name__ == "__main__":
    main()
