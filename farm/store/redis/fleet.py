"""The part of the Redis store that knows the workers: what they say of themselves, and locks."""

from __future__ import annotations

from collections.abc import Mapping

from comfy.wan.paces import REMEMBERED_JOBS, Pace
from farm.status.worker import WorkerStatus, read_status
from farm.store.base import Drain
from farm.store.redis.link import RedisLink, in_ms
from farm.store.redis.lua import Argument


class RedisFleet(RedisLink):
    """Statuses, blobs and locks; all of them end by themselves."""

    def put_worker(self, status: WorkerStatus, *, ttl_s: float) -> None:
        self._run("put_worker", status.name, status.to_json(), in_ms(ttl_s))

    def drop_worker(self, name: str) -> None:
        self._command("DEL", self.keys.worker(name))

    def workers(self) -> list[WorkerStatus]:
        found: dict[str, bytes] = {name.decode(): text for name, text in self._run("workers")}
        return [read_status(name, text) for name, text in sorted(found.items())]

    def set_drain(self, name: str, drain: Drain | None) -> None:
        if drain is None:
            self._command("DEL", self.keys.drain(name))
        else:
            self._command("SET", self.keys.drain(name), drain.value)
        self._command("PUBLISH", self.keys.control, b"")

    def drain_of(self, name: str) -> Drain | None:
        told: bytes | None = self._command("GET", self.keys.drain(name))
        try:
            return Drain(told.decode()) if told else None
        except ValueError:
            return Drain.FINISH  # a word of a newer farm: it is certainly not to fetch

    def put_blob(self, name: str, data: bytes, *, ttl_s: float) -> None:
        self._command("SET", self.keys.blob(name), data, "PX", in_ms(ttl_s))

    def get_blob(self, name: str) -> bytes | None:
        data: bytes | None = self._command("GET", self.keys.blob(name))
        return data

    def note_paces(self, seconds: Mapping[str, float]) -> None:
        flat: list[Argument] = [part for name, spent in seconds.items() for part in (name, repr(spent))]
        if flat:
            self._run("note_paces", self.limits.paces_kept, REMEMBERED_JOBS, *flat)

    def paces(self) -> dict[str, Pace]:
        flat = self._command("HGETALL", f"{self.keys.root}paces")
        found = {}
        for name, text in flat.items():
            try:
                count, mean_s, variance_s2 = text.split()
                pace = Pace(count=int(count), mean_s=float(mean_s), variance_s2=float(variance_s2))
                found[name.decode()] = pace
            except ValueError:
                continue  # somebody else's: what one kind of job takes is not known then
        return found

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        return bool(self._run("acquire", name, holder, in_ms(ttl_s)))

    def unlock(self, name: str, holder: str) -> None:
        self._run("unlock", name, holder)
