"""Names of what the store keeps in Redis. The scripts make the same names from the root."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one farm. The braces are a hash tag: all of them live in one cluster slot.

    ======================= ============ ===============================================================
    ``{farm}:job:<id>``      hash         the record; fields in `codec`
    ``{farm}:events:<id>``   stream       its events, from its first move until a while after its end; capped
    ``{farm}:state:<state>`` sorted set   ids by order of submission (µs): also the index of all jobs
    ``{farm}:label:<label>`` sorted set   ids by order of submission
    ``{farm}:lane:<p>:<q>``  sorted set   waiting ids of a priority and queue, by order of submission
    ``{farm}:lanes``         set          the priority queues that hold jobs
    ``{farm}:passed``        hash         priority queue -> the youngest order that was claimed in it
    ``{farm}:leases``        sorted set   running ids by the end of their lease (ms)
    ``{farm}:due``           sorted set   waiting ids that must be announced at a time (ms)
    ``{farm}:parked``        sorted set   waiting ids that no live worker fits, by order of submission
    ``{farm}:deadlines``     sorted set   ids never started, by deadline (ms)
    ``{farm}:finished``      sorted set   ended ids by when (ms)
    ``{farm}:unshortened``   sorted set   those of them that still have a stream, by when
    ``{farm}:removed``       sorted set   ids of removed jobs whose files may still be there, by when (ms)
    ``{farm}:idem:<hash>``   string       id and spec digest that an idempotency key stands for
    ``{farm}:content:<hash>`` string      the job whose result is kept for jobs of that content
    ``{farm}:last``          string       the youngest order (µs)
    ``{farm}:epoch``         string       made at first use: another one means that Redis forgot all
    ``{farm}:forgot``        string       when that was noticed (ms), for the length of the retention
    ``{farm}:worker:<name>`` string       a worker's status, with a time to live; names in ``{farm}:workers``
    ``{farm}:lately``        sorted set   "GiB name" of workers that live or may be back soon, by when
    ``{farm}:blob:<name>``   string       node definitions that statuses name, with a time to live
    ``{farm}:drain:<name>``  string       that a worker shall fetch nothing: ``finish`` or ``now``
    ``{farm}:paces``         hash         kind of job -> how long it took: "count mean variance"
    ``{farm}:tally``         hash         how many jobs ended how, and what they took: ``farm.store.tally``
    ``{farm}:paces_heard``   sorted set   the same kinds by when they were last heard of (ms)
    ``{farm}:lock:<name>``   string       who holds a lock, with a time to live
    ``{farm}:barrier``       string       written before a wait for the disk or replicas, which counts writes
    ``{farm}:apikey:<id>``   hash         an API key: digest of its secret, tenant, scopes, label, times
    ``{farm}:apikeys``       set          the ids of all API keys that were ever made
    ``{farm}:apikey_used``   hash         id of a key -> when it was last used (ms)
    ``{farm}:rate:<id>``     string       how far a key has used up its requests (µs), for that long
    ``{farm}:open:<tenant>`` sorted set   jobs that a tenant has open, by when they came (ms)
    ``{farm}:once:<hash>``   string       that an idempotency key of a door was used
    ``{farm}:webhook:<id>``  hash         an endpoint that is told of ends of jobs: ``farm.store.webhooks``
    ``{farm}:webhooks``      set          the ids of all of them
    ``{farm}:webhooks_of:<tenant>`` set   those that are told of a tenant's jobs; of none: of all jobs
    ``{farm}:outbox:<id>``   sorted set   messages for a webhook, by when they are due (ms)
    ``{farm}:dead:<id>``     sorted set   messages that were given up, by when (ms)
    ``{farm}:message:<id>:<message>`` hash  the end that is told, tries, and why the last one failed
    ``{farm}:asset:<id>``    string       a tenant's file: tenant, path, content; with a time to live
    ``{farm}:asset_path:<tenant>:<hash>`` string  the asset that the tenant uploaded last under a path
    ``{farm}:asset_blob:<tenant>:<blake3>`` string  where a content lies that the tenant has brought
    ``{farm}:asset_jobs:<id>`` set        the jobs that read an asset
    ``{farm}:control``       channel      ids of jobs to cancel; an empty one: a drain was ordered
    ======================= ============ ===============================================================

    Names in Redis stay when the code takes a better word (``lane`` for a priority queue): the versions on
    both sides of an upgrade read the same ones.
    """

    namespace: str

    @property
    def root(self) -> str:
        """What every key begins with."""
        return f"{{{self.namespace}}}:"

    @property
    def control(self) -> str:
        """The channel that carries ids of running jobs whose cancel was requested."""
        return f"{self.root}control"

    @property
    def epoch(self) -> str:
        """A random word, made when this Redis is first used for the farm."""
        return f"{self.root}epoch"

    @property
    def forgot(self) -> str:
        """When it was noticed that this Redis forgot everything."""
        return f"{self.root}forgot"

    @property
    def removed(self) -> str:
        """Sorted set: removed jobs whose files may still be there."""
        return f"{self.root}removed"

    def state(self, state: str) -> str:
        """Sorted set: the jobs in that state, by when they were submitted."""
        return f"{self.root}state:{state}"

    def job(self, job_id: str) -> str:
        """Hash: the record."""
        return f"{self.root}job:{job_id}"

    def events(self, job_id: str) -> str:
        """Stream: the events."""
        return f"{self.root}events:{job_id}"

    def idempotency(self, name: str) -> str:
        """String: the job that a caller's key stands for, and a digest of what it asks for."""
        return f"{self.root}idem:{name}"

    def worker(self, name: str) -> str:
        """String: what a worker says of itself."""
        return f"{self.root}worker:{name}"

    def drain(self, name: str) -> str:
        """String: what a worker was told."""
        return f"{self.root}drain:{name}"

    def blob(self, name: str) -> str:
        """String: bytes that a status names."""
        return f"{self.root}blob:{name}"

    def api_key(self, key_id: str) -> str:
        """Hash: what is known of an API key."""
        return f"{self.root}apikey:{key_id}"

    @property
    def api_keys(self) -> str:
        """Set: the ids of all API keys."""
        return f"{self.root}apikeys"

    @property
    def api_keys_used(self) -> str:
        """Hash: when each API key was last used."""
        return f"{self.root}apikey_used"

    def open_jobs(self, tenant: str) -> str:
        """Sorted set: the jobs of a tenant that wait or run."""
        return f"{self.root}open:{tenant}"

    def webhook(self, webhook_id: str) -> str:
        """Hash: an endpoint that is told of ends of jobs."""
        return f"{self.root}webhook:{webhook_id}"

    @property
    def webhooks(self) -> str:
        """Set: the ids of all of them."""
        return f"{self.root}webhooks"

    def webhooks_of(self, tenant: str) -> str:
        """Set: those that are told of a tenant's jobs; "" for those that are told of all."""
        return f"{self.root}webhooks_of:{tenant}"

    def outbox(self, webhook_id: str) -> str:
        """Sorted set: messages for it, by when they are due."""
        return f"{self.root}outbox:{webhook_id}"

    def dead(self, webhook_id: str) -> str:
        """Sorted set: messages for it that were given up."""
        return f"{self.root}dead:{webhook_id}"

    def message(self, webhook_id: str, message_id: str) -> str:
        """Hash: one of its messages."""
        return f"{self.root}message:{webhook_id}:{message_id}"

    def asset(self, asset_id: str) -> str:
        """String: a tenant's file."""
        return f"{self.root}asset:{asset_id}"

    def asset_jobs(self, asset_id: str) -> str:
        """Set: the jobs that read it."""
        return f"{self.root}asset_jobs:{asset_id}"

    def asset_path(self, tenant: str, digest: str) -> str:
        """String: the asset that a tenant uploaded last under a path."""
        return f"{self.root}asset_path:{tenant}:{digest}"

    def asset_blob(self, tenant: str, blake3: str) -> str:
        """String: where a content lies that a tenant has brought."""
        return f"{self.root}asset_blob:{tenant}:{blake3}"

    def once(self, name: str) -> str:
        """String: an idempotency key of a door was used."""
        return f"{self.root}once:{name}"


_PRIORITY_QUEUE: Final = re.compile(rb"([0-9]):([A-Za-z0-9._-]{1,100})")


def priority_queue(queue: str, priority: int) -> str:
    """Name of a priority queue, as sets and hashes hold it."""
    return f"{priority}:{queue}"


def of_priority_queue(name: bytes) -> tuple[str, int] | None:
    """Queue and priority back from the name; None when somebody else has put it there."""
    found = _PRIORITY_QUEUE.fullmatch(name)
    return (found[2].decode(), int(found[1])) if found is not None else None
