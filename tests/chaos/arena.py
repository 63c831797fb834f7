"""A farm made to be broken: workers behind proxies, and somebody who starts the dead ones again."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis

from farm.errors import FarmError, StoreUnavailable
from farm.handle import Job
from farm.job import JobState
from tests.chaos.history import Death, Harm
from tests.chaos.nodes import Disk, HereNode, can_have_namespaces, namespaces
from tests.chaos.place import Place
from tests.chaos.servers import S3Process
from tests.support.fault_proxy import FaultProxy
from tests.support.power import PoweredValkey, can_lose_power
from tests.support.valkey import ValkeyServer
from tests.support.whole_farm import WholeFarm, a_clip

NAMESPACE: Final = "chaos"
ROOT: Final = f"{{{NAMESPACE}}}:"
_WATCH_S: Final = 0.1
_STALL_S: Final = 1.0  # a look at everybody that takes so long
_BACKLOG: Final = 4  # most jobs that wait for each worker before the producer pauses
_STEP_S: Final = 0.05  # what a step of the emulator takes
_MOST_STEPS: Final = 100  # that the template takes
# Mostly the default; the others show that the more urgent go first.
_PRIORITIES: Final = (5, 5, 5, 5, 2, 8)


class Arena:
    """The farm and its surroundings; a dead worker is started again, as systemd would."""

    def __init__(
        self, folder: Path, *, workers: int, nodes: bool = False, long_s: float = 20.0, **store: Any
    ) -> None:
        """Prepare; `nodes` gives each worker a network namespace and a disk of its own, where root is.

        `long_s` is how long a storage is away that is away for long.
        """
        self.folder = folder
        self.long_s = long_s
        self._stack = ExitStack()
        (folder / "valkey").mkdir(parents=True)
        make = PoweredValkey if can_lose_power() else ValkeyServer
        self.valkey = make(folder / "valkey", "--appendonly", "yes", "--appendfsync", "always")
        self.s3 = S3Process(folder / "s3")
        self.producer_link = self._proxy(self.valkey.port)
        url = f"redis://127.0.0.1:{self.producer_link.port}/0"
        settings = self.s3.server.settings()
        self.farm = WholeFarm(folder / "farm", url, settings, namespace=NAMESPACE, **store)
        self.own_nodes = nodes and can_have_namespaces()
        self.places = self._make_places(workers)
        self.accepted: list[Job] = []
        self.submissions: list[tuple[str, str]] = []  # key, and the id that came back
        self.poison: set[str] = set()
        self.canceled: dict[str, float] = {}  # id -> when it was confirmed
        self.harms: list[Harm] = []
        self.deaths: list[Death] = []
        self.able: dict[str, list[tuple[float, float]]] = {}  # when a worker took jobs, as its status says
        self.outages: list[tuple[float, float]] = []
        self.start_s = 0.0  # what all workers took to become ready at once
        self._killed: set[tuple[str, int]] = set()
        self._closing = threading.Event()
        self._keepers = [
            threading.Thread(target=target, name=target.__name__, daemon=True)
            for target in (self._keep, self._watch)
        ]

    def __enter__(self) -> Self:
        self.valkey.start()
        self.s3.start()
        for place in self.places:
            place.launch()
        started = time.monotonic()
        self.farm.wait_ready(*(place.worker for place in self.places))
        self.start_s = time.monotonic() - started
        for keeper in self._keepers:
            keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_keeping()
        for place in self.places:
            place.close()
        self.farm.close()
        self.s3.kill()
        self.valkey.kill()
        self._stack.close()

    def lose_power(self) -> None:
        """Switch the machine of Valkey off; without a compiler, only its process is gone."""
        if isinstance(self.valkey, PoweredValkey):
            self.valkey.lose_power()
        else:
            self.valkey.kill()

    def stop_keeping(self) -> None:
        """Start nobody any more."""
        self._closing.set()
        for keeper in self._keepers:
            if keeper.ident is not None:
                keeper.join()

    def direct(self) -> redis.Redis:
        """A client past all proxies, which does not wait long for a server that is broken just now."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=1.0, retry=None)

    # -- jobs --------------------------------------------------------------------------------------

    def submit(self, *, steps: int, key: str | None = None, **options: Any) -> Job:
        """Submit until it is accepted; without a key, a lost answer leaves a job that nobody knows."""
        graph = a_clip(steps=steps, seed=random.getrandbits(24))
        if key is not None:
            graph = a_clip(steps=steps, seed=int(key[:6], 16))
        until = time.monotonic() + 120.0
        while True:
            try:
                job = self.farm.submit(graph, idempotency_key=key, **options)
            except StoreUnavailable:
                assert time.monotonic() < until, "the producer never got through"
                time.sleep(0.05)
            else:
                if key is not None:
                    self.submissions.append((key, job.job_id))
                self.accepted.append(job)
                return job

    def produce(self, count: int, seed: int, *, mean_s: float, share: Callable[[], float]) -> None:
        """Submit so many jobs of a length, as they are worked off: a few more than there are hands for.

        `share` says how much of the schedule has been played: there are jobs until its end.
        """
        dice = random.Random(seed)  # must be repeatable
        backlog = _BACKLOG * len(self.places)
        for number in range(count):
            while number > share() * count + backlog or self.waiting() > backlog:
                time.sleep(_WATCH_S)
            steps = min(max(2, round(mean_s / _STEP_S * dice.uniform(0.5, 1.5))), _MOST_STEPS)
            self.submit(steps=steps, priority=dice.choice(_PRIORITIES))

    def waiting(self) -> int:
        """How many jobs are queued."""
        with contextlib.suppress(redis.RedisError), self.direct() as client:
            return _number(client, "ZCARD", f"{ROOT}state:queued")
        return 0

    def running(self) -> dict[tuple[str, int], str]:
        """Job and attempt of everything that runs now, and the worker that has it."""
        found: dict[tuple[str, int], str] = {}
        with contextlib.suppress(redis.RedisError), self.direct() as client:
            for name in client.zrange(f"{ROOT}state:running", 0, -1):
                job_id = name.decode()
                attempt, worker = client.hmget(f"{ROOT}job:{job_id}", "attempt", "worker")
                if attempt and worker:
                    found[job_id, int(attempt)] = worker.decode()
        return found

    def unended(self) -> list[str]:
        """Ids of all jobs that wait or run."""
        with contextlib.suppress(redis.RedisError), self.direct() as client:
            ids = [
                name
                for state in ("queued", "running")
                for name in client.zrange(f"{ROOT}state:{state}", 0, -1)
            ]
            return sorted(name.decode() for name in ids)
        return []

    def await_cancel(self, job_id: str, *, within_s: float) -> None:
        """Note when the store confirms that a job is canceled."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            with contextlib.suppress(FarmError):
                state = self.farm.farm.store.get(job_id).state
                if state is JobState.CANCELED:
                    self.canceled.setdefault(job_id, time.time())
                if state.final:
                    return
            time.sleep(_WATCH_S)

    # -- those who look after it -------------------------------------------------------------------

    def kill(self, place: Place) -> None:
        """End a worker without a word."""
        name, now_s = place.worker.name, time.time()
        self.deaths.append(Death(worker=name, at_s=now_s))
        gone = frozenset({"lost"})
        self.harms.append(Harm(kind="killed", since_s=now_s, until_s=now_s, explains=gone, worker=name))
        place.signal(signal.SIGKILL)

    def _keep(self) -> None:
        """Start dead workers again; let poison do its work; note when nobody can repair anything."""
        while not self._closing.wait(_WATCH_S):
            since_s = time.time()
            for place in self.places:
                place.look_after()
            if not any(place.able for place in self.places):
                self.outages.append((since_s - _WATCH_S, time.time() + _WATCH_S))
            if self.poison:
                self._strike()

    def _watch(self) -> None:
        """Note who takes jobs, and when this machine was too busy to do anything."""
        looked_s = time.time()
        while not self._closing.wait(_WATCH_S):
            taking = self._taking()
            now_s = time.time()
            if now_s - looked_s > _STALL_S:
                self.outages.append((looked_s, now_s))
            for name in taking:
                spans = self.able.setdefault(name, [])
                if spans and spans[-1][1] == looked_s:
                    spans[-1] = (spans[-1][0], now_s)
                else:
                    spans.append((now_s, now_s))
            looked_s = now_s

    def _taking(self) -> list[str]:
        """Workers that are up, reach Valkey, and say that they take jobs."""
        able = {place.worker.name for place in self.places if place.able}
        with contextlib.suppress(FarmError):
            return [
                each.name for each in self.farm.farm.workers() if each.name in able and not each.not_fetching
            ]
        return []

    def _strike(self) -> None:
        for attempt, worker in self.running().items():
            if attempt[0] in self.poison and attempt not in self._killed:
                self._killed.add(attempt)
                for place in self.places:
                    if place.worker.name == worker:
                        self.kill(place)

    def _make_places(self, count: int) -> list[Place]:
        nodes = self._stack.enter_context(namespaces(count)) if self.own_nodes else [HereNode()] * count
        places = []
        for number, node in enumerate(nodes):
            links = (
                self._proxy(self.valkey.port, node.servers_at),
                self._proxy(self.s3.server.port, node.servers_at),
            )
            place = Place(number, self.farm, node, links, self.folder)
            if self.own_nodes:
                place.disk = Disk(self.farm.folder / f"w{number}")
                self._stack.callback(place.disk.unmount)
            places.append(place)
        return places

    def _proxy(self, port: int, listen_on: str = "127.0.0.1") -> FaultProxy:
        return self._stack.enter_context(FaultProxy("127.0.0.1", port, listen_on=listen_on))


def _number(client: redis.Redis, command: str, key: str) -> int:
    execute: Any = client.execute_command
    return int(execute(command, key))
