"""What comes from Redis, S3 or a worker was perhaps not written by us: that one is refused, and no other."""

from __future__ import annotations

import hashlib
import json
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from pydantic import SecretStr

from farm.errors import FarmError, RecordUnreadable
from farm.fleet.model_lists import models_name, models_of
from farm.fleet.preflight import definitions_name, definitions_of
from farm.job import EventKind, JobRecord, JobState
from farm.limits import MOST_UNPACKED_BYTES
from farm.settings.redis import RedisSettings
from farm.status.worker import ModelsStatus, WorkerStatus, read_status
from farm.storage.downloads import download_all
from farm.store.base import Claim, Refused, StoreLimits
from farm.store.codec import RESULT, event_from, head_from_json, record_from, unpack_spec
from farm.store.redis.store import RedisJobStore, connect
from farm.testing import MemoryJobStore, PlainNotifier
from farm.testing.storage import FolderStorage
from tests.support.jobs import a_job, a_result

_DEEP: Final = b"[" * 100_000
_GARBAGE: Final[tuple[bytes, ...]] = (
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"{}",
    b"{",
    b'{"v":"x"}',
    b'{"v":1e999}',
    b'{"v":1,"q":{},"p":[],"t":3}',
    b"9" * 5000,
    b"-1",
    b"1e400",
    b"nan",
    _DEEP,
    b'{"v":' + _DEEP,
    b'{"a":' * 5000,
)
_FIELDS: Final = (
    *("head", "spec", "state", "at", "attempt", "failed", "lost", "worker", "started", "claimed"),
    *("finished", "lease", "not_before", "cancel_reason", "progress", "result", "error", "parked", "notes"),
    *("nonce", "accepted", "reused"),
)


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """What anybody who reaches Redis can do."""
    with redis.Redis.from_url(valkey_url) as opened:
        yield opened


@pytest.fixture
def store(valkey_url: str, namespace: str) -> RedisJobStore:
    """The store in which a stranger has written."""
    settings = RedisSettings.read(url=SecretStr(valkey_url), namespace=namespace)
    return connect(settings, StoreLimits(), PlainNotifier(namespace))


def stored(client: redis.Redis, store: RedisJobStore, job_id: str) -> dict[bytes, bytes]:
    found: Any = client.hgetall(store.keys.job(job_id))
    return dict(found)


@pytest.mark.parametrize("field", _FIELDS)
def test_a_damaged_field_of_a_record_is_told_as_ours(
    field: str, client: redis.Redis, store: RedisJobStore
) -> None:
    job = a_job()
    store.submit([job])
    whole = stored(client, store, job.job_id)
    readable = 0

    for garbage in _GARBAGE:
        try:
            record = record_from(job.job_id, {**whole, field.encode(): garbage})
        except FarmError:
            continue
        else:
            readable += isinstance(record, JobRecord)
    with pytest.raises(FarmError):
        record_from(
            job.job_id, {name: text for name, text in whole.items() if name not in (b"head", b"spec")}
        )

    assert readable < len(_GARBAGE)  # of the texts some are texts, after all


_KEYS: Final = (
    *("../x.mp4", "/etc/passwd", "jobs//x.mp4", "jobs/./x.mp4", "jobs/../../x.mp4", "", "/", "."),
    *("jobs/x\0.mp4", "jobs/\x1b[31m.mp4", "jobs/\u202ex.mp4", "jobs/x y.mp4", "jobs\\x.mp4", "jobs/x?y=1"),
    *("s3://elsewhere/x.mp4", "http://10.0.0.7/x.mp4", "x" * 300, "x/" * 600 + "x", "jobs/%2e%2e/x.mp4"),
)
_OF_RESULTS: Final = (
    *({"key": key} for key in _KEYS),
    *({"poster_key": key} for key in _KEYS),
    *({"manifest_key": key} for key in _KEYS),
    *({"sha256": text} for text in ("", "x", "AB" * 32, "../" * 20, "ab" * 33)),
    *({"size_bytes": size} for size in (-1, -(2**70), "many", 0.5)),
)


@pytest.mark.parametrize("changes", _OF_RESULTS, ids="-".join)
def test_a_result_that_no_worker_of_ours_has_written_is_not_believed(
    changes: dict[str, Any], client: redis.Redis, store: RedisJobStore
) -> None:
    (job,) = store.submit([a_job()])
    result = RESULT.dump_python(a_result(), mode="json")
    place = result if "manifest_key" in changes else result["artifacts"][0]
    client.hset(store.keys.job(job.job_id), "result", json.dumps(result))
    assert store.get(job.job_id).result == a_result()

    place |= changes
    client.hset(store.keys.job(job.job_id), "result", json.dumps(result))

    with pytest.raises(RecordUnreadable):
        store.get(job.job_id)


def test_one_damaged_record_hides_no_other(client: redis.Redis, store: RedisJobStore) -> None:
    jobs = [a_job() for _ in range(len(_GARBAGE) + 1)]
    store.submit(jobs)
    for job, garbage in zip(jobs, _GARBAGE, strict=False):
        client.hset(store.keys.job(job.job_id), "spec", garbage)

    listed = store.find(limit=100).jobs

    assert [record.job_id for record in listed] == [jobs[-1].job_id]


def test_a_name_of_no_priority_queue_stops_no_sweep_and_no_count(
    client: redis.Redis, store: RedisJobStore
) -> None:
    job = a_job()
    store.submit([job])
    (queues,) = [key for key in client.scan_iter(f"{store.keys.root}*") if client.type(key) == b"set"]
    client.sadd(queues, b"x", b"\xff:q", b"5", b"5:" + b"q" * 5000, b"99:render.24")

    store.sweep()
    counts = store.counts()

    assert [(each.queue, each.waiting) for each in counts.waiting] == [(job.queue, 1)]


def test_words_of_nobody_in_orders_and_means_are_passed_over(
    client: redis.Redis, store: RedisJobStore
) -> None:
    store.note_paces({"step": 2.0})
    for garbage in _GARBAGE[:12]:
        client.hset(f"{store.keys.root}paces", f"kind-{len(garbage)}", garbage)
        client.set(store.keys.drain("w"), garbage or b"x")
        assert store.drain_of("w") is not None

    assert set(store.paces()) == {"step"}


@pytest.mark.parametrize("garbage", _GARBAGE)
def test_a_status_that_is_none_says_so_and_stops_nobody(garbage: bytes) -> None:
    status = read_status("w@host", garbage)

    assert status.name == "w@host"
    assert status.not_fetching or garbage.startswith(b"{")


@pytest.mark.parametrize("garbage", _GARBAGE)
def test_an_event_that_cannot_be_read_is_one_of_an_unknown_kind(garbage: bytes) -> None:
    for fields in ({b"k": b"log", b"d": garbage}, {b"k": garbage, b"d": b"{}"}, {b"d": garbage}, {}):
        assert event_from("job", b"1-0", fields).kind in (EventKind.OTHER, EventKind.LOG)


@pytest.mark.parametrize("garbage", _GARBAGE)
def test_what_scripts_need_of_a_job_is_read_or_refused(garbage: bytes) -> None:
    with pytest.raises(RecordUnreadable):
        head_from_json(garbage)


def bomb(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(mebibytes)), packer.flush()])


def test_a_record_that_unpacks_to_hundreds_of_mebibytes_is_refused_soon() -> None:
    began = time.process_time()

    for mebibytes in (MOST_UNPACKED_BYTES // 2**20 + 1, 300):
        with pytest.raises(FarmError):
            unpack_spec(bomb(mebibytes))
    with pytest.raises(FarmError):
        unpack_spec(b'{"title":"' + b"x" * (2 * MOST_UNPACKED_BYTES) + b'"}')

    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "blob", [bomb(65), *(zlib.compress(garbage) for garbage in _GARBAGE if garbage != b"{}"), *_GARBAGE]
)
def test_what_a_worker_published_is_not_known_when_it_cannot_be_read(blob: bytes) -> None:
    store = MemoryJobStore()
    store.put_blob(definitions_name("d"), blob, ttl_s=60)
    store.put_blob(models_name("d"), blob, ttl_s=60)

    known = definitions_of(store, "d") or {}
    assert all(node.inputs == () for node in known.values())
    assert models_of(store, WorkerStatus(name="w", models=ModelsStatus(list="d"))) is None


_NAMES: Final = (
    "../OUT/x.mp4",
    "/etc/cron.d/x",
    ".bashrc",
    "..",
    ".",
    "",
    "a/b/../../../x.mp4",
    "C:\\x.mp4",
    "x.mp4\0.sh",
    "x.\x1b[31m",
    "x" * 5000,
    "-rf",
    "~/.ssh/authorized_keys",
    "x.p\u202egpj",
    "con.mp4",
    "x.mp4/",
)


class AnyKeyStorage(FolderStorage):
    """Gives the clip under whatever key a record names."""

    def download(self, key: str, path: Path, **options: Any) -> Any:
        """Write the clip to the path."""
        return super().download("clip.mp4", path, **options)

    def stream(self, key: str, **options: Any) -> Iterator[bytes]:
        """Give the clip."""
        return super().stream("clip.mp4", **options)


@pytest.fixture
def clips(tmp_path: Path) -> AnyKeyStorage:
    """A storage with one clip."""
    made = AnyKeyStorage(tmp_path / "s3")
    made.put_bytes(b"clip", "clip.mp4", media_type="video/mp4")
    return made


def a_record(name: str) -> JobRecord:
    """A succeeded job in whose record somebody has written this name wherever one stands."""
    (artifact,) = a_result().artifacts
    strange = replace(
        artifact, key=f"jobs/{name}", filename=name, node_id=name, sha256=hashlib.sha256(b"clip").hexdigest()
    )
    job = a_job(title=name[:200] or "clip", template_parameters={"seed": name, "prompt": name})
    return JobRecord(
        job_id=job.job_id,
        spec=job.spec,
        state=JobState.SUCCEEDED,
        submitted_at=datetime.now(UTC),
        queue=job.queue,
        result=replace(a_result(), artifacts=(strange,)),
    )


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize(
    "template", ["{title}-{seed}-{job}", "{file}", "{node}", "{prompt}", "{file}/{title}"]
)
def test_a_file_is_written_inside_the_folder_under_a_plain_name(
    name: str, template: str, clips: AnyKeyStorage, tmp_path: Path
) -> None:
    target = tmp_path / "out"

    (path,) = download_all(a_record(name), clips, target, name=template)

    assert path.parent == target
    assert path.read_bytes() == b"clip"
    assert re.fullmatch(r"[\w+][\w.+-]{,250}", path.name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "s3"]


@pytest.mark.parametrize("leads_to", ["elsewhere", "nowhere"])
def test_a_file_is_never_written_through_a_link_or_over_another(
    leads_to: str, clips: AnyKeyStorage, tmp_path: Path
) -> None:
    target, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    target.mkdir()
    elsewhere.write_bytes(b"clip")
    (target / "clip.mp4").symlink_to(tmp_path / leads_to)
    (target / "clip-2.mp4").write_bytes(b"another")

    (path,) = download_all(a_record("clip.mp4"), clips, target, name="{file}")

    assert path == target / "clip-3.mp4"
    assert (target / "clip.mp4").is_symlink()
    assert not (tmp_path / "nowhere").exists()
    assert (target / "clip-2.mp4").read_bytes() == b"another"


@pytest.mark.parametrize(
    "graph", [{}, {"1": {}}, {"1": 7}, {"1": {"inputs": []}}, {"1": {"inputs": {"seed": []}}}]
)
def test_a_graph_of_any_form_in_a_record_stops_no_download(
    graph: dict[str, Any], clips: AnyKeyStorage, tmp_path: Path
) -> None:
    record = a_record("x")

    (path,) = download_all(replace(record, spec=replace(record.spec, graph=graph)), clips, tmp_path / "out")

    assert path.exists()


@pytest.mark.parametrize("garbage", [*_GARBAGE, b"\x78\x9c", b"\x78garbage", None], ids=repr)
def test_a_job_whose_spec_cannot_be_read_fails_at_once_and_comes_back_no_more(
    garbage: bytes | None, client: redis.Redis, store: RedisJobStore
) -> None:
    store.submit([a_job(job_id="job-1"), a_job(job_id="job-2")])
    if garbage is None:
        client.hdel(store.keys.job("job-1"), "spec")
    else:
        client.hset(store.keys.job("job-1"), "spec", garbage)

    assert store.claim("job-1", worker="w1") is Refused.UNREADABLE

    assert store.claim("job-1", worker="w1") is Refused.NOT_QUEUED
    fields = stored(client, store, "job-1")
    assert fields[b"state"] == b"failed"
    assert b"spec_unreadable" in fields[b"error"]
    assert store.briefs(["job-1"])["job-1"].state is JobState.FAILED  # as who waits for its end asks
    assert isinstance(store.claim("job-2", worker="w1"), Claim)
