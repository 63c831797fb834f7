"""Measures how fast one producer queues jobs: in batches and one by one, from the template and from a graph.

    python -m bench.enqueue [--jobs 20000] [--singles 2000] [--url redis://...]

Starts a Valkey of its own (append-only file on, `everysec`) unless a URL is given. A worker's node
definitions are in place, so that every job is held against them as on a farm that works.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import statistics
import time
import zlib
from collections.abc import Callable

from bench.servers import own_valkey
from comfy.graphs.required import model_files
from comfy.node_defs.definitions import definitions_to_json, shipped_definitions
from comfy.wan.templates import get_template
from farm import Farm, JobRequest
from farm.fleet.preflight import definitions_name
from farm.notifier import store_at
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.status.worker import WorkerStatus
from farm.storage import S3Storage
from farm.store.roles import StatusStore

TEMPLATE = "wan22-t2v-a14b"
PROMPT = "A red fox trots through fresh snow at dawn, breath steaming, low sun through birch trunks, take {}"
TARGET_PER_S = 5000
TARGET_P99_MS = 10


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of each batch run")
    parser.add_argument("--singles", type=int, default=2_000, help="submits one by one")
    parser.add_argument("--url", help="a Redis to use; it is written to")
    chosen = parser.parse_args()
    with own_valkey() if chosen.url is None else contextlib.nullcontext(chosen.url) as url:
        for name, request in (("template", of_template), ("plain graph", of_graph())):
            redis = RedisSettings.read(url=url, namespace="bench-enqueue")
            farm = Farm(
                redis=redis,
                storage=S3Storage(S3Settings.read()),
            )
            with farm:
                announce_worker(store_at(redis))
                farm.submit_many(request(number) for number in range(500))
                in_batches(farm, name, request, chosen.jobs)
                one_by_one(farm, name, request, chosen.singles)


def of_template(number: int) -> JobRequest:
    """A job of the built-in template, its own prompt and seed."""
    return JobRequest(template=TEMPLATE, parameters={"prompt": PROMPT.format(number), "seed": number})


def of_graph() -> Callable[[int], JobRequest]:
    """Jobs of one plain graph, as a mapping, with other values in two of its inputs."""
    graph = get_template(TEMPLATE).build(prompt="", seed=0).graph

    def request(number: int) -> JobRequest:
        values = {"6.text": PROMPT.format(number), "57.noise_seed": number}
        return JobRequest(graph=graph, parameters=values)

    return request


def announce_worker(store: StatusStore) -> None:
    """A live worker whose ComfyUI has the core nodes and the files of the template."""
    files: dict[str, list[str]] = {}
    for file in model_files(get_template(TEMPLATE).build(prompt="").graph):
        files.setdefault(file.folder, []).append(file.name)
    text = json.dumps(definitions_to_json(shipped_definitions(files=files))).encode()
    digest = hashlib.sha256(text).hexdigest()
    store.put_blob(definitions_name(digest), zlib.compress(text), ttl_s=3600)
    store.put_worker(WorkerStatus(name="bench", definitions=digest), ttl_s=3600)


def in_batches(farm: Farm, name: str, request: Callable[[int], JobRequest], count: int) -> None:
    """Jobs per second of `submit_many`."""
    began = time.perf_counter()
    farm.submit_many(request(number) for number in range(count))
    rate = count / (time.perf_counter() - began)
    print(f"{name}: {rate:,.0f} jobs/s in batches of 500 ({count:,} jobs; target {TARGET_PER_S:,})")


def one_by_one(farm: Farm, name: str, request: Callable[[int], JobRequest], count: int) -> None:
    """Milliseconds of one `submit`."""
    took_ms = []
    for number in range(count):
        wanted = request(number)
        began = time.perf_counter()
        farm.submit(wanted.graph, wanted.parameters, template=wanted.template)
        took_ms.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(took_ms, n=100)
    print(f"{name}: one submit p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms (target {TARGET_P99_MS} ms)")


if __name__ == "__main__":
    main()
