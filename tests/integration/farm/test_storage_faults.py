"""S3Storage when the store, the network or the settings are not as they should be."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from farm.errors import BucketNotFound, FarmError, StackError, StorageDenied, StorageUnavailable
from farm.job import Artifact, JobRecord, JobResult
from farm.local.probes import s3_refuses
from farm.settings.s3 import S3Settings
from farm.storage import S3Patience, S3Storage
from farm.storage.downloads import download_all
from farm.testing import MemoryJobStore
from tests.support.fault_proxy import Direction, FaultProxy, Mode
from tests.support.jobs import TOKEN, a_job
from tests.support.s3 import S3Server

IMPATIENT = S3Patience(connect_s=1.0, silence_s=1.0, attempts=1)
SOME_PATIENCE = S3Patience(connect_s=2.0, silence_s=5.0, attempts=4)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.host, s3_server.port) as made:
        yield made


def through(proxy: FaultProxy, server: S3Server, patience: S3Patience) -> S3Storage:
    settings = server.settings(endpoint_url=proxy.url, prefix=f"t{uuid.uuid4().hex[:12]}")
    return S3Storage(settings, patience=patience)


def a_clip(folder: Path, size_bytes: int) -> Path:
    """A file whose parts are all of the same random bytes."""
    path = folder / "clip.mp4"
    path.write_bytes(uuid.uuid4().bytes * (size_bytes // 16))
    return path


def key_in(storage: S3Storage) -> str:
    return storage.keys.attempt_prefix("0123456789ab", TOKEN) + "clip.mp4"


def failure_of_check(settings: S3Settings) -> FarmError:
    storage = S3Storage(settings, patience=IMPATIENT)
    with pytest.raises(FarmError) as caught:
        storage.check()
    storage.close()
    return caught.value


def test_a_wrong_secret_is_named_with_its_settings(s3_server: S3Server) -> None:
    error = failure_of_check(s3_server.settings(secret_access_key="wrong-secret"))

    assert isinstance(error, StorageDenied)
    assert "the secret does not fit the access key" in str(error)
    assert "FARM_S3_SECRET_ACCESS_KEY" in str(error)
    assert f"127.0.0.1:{s3_server.port}" in str(error)
    assert "wrong-secret" not in str(error)


def test_an_unknown_key_is_named(s3_server: S3Server) -> None:
    error = failure_of_check(s3_server.settings(access_key_id="nobody-we-know"))

    assert isinstance(error, StorageDenied)
    assert "the access key is not known there" in str(error)


def test_a_key_without_its_secret_is_named(s3_server: S3Server) -> None:
    error = failure_of_check(s3_server.settings(secret_access_key=None))

    assert isinstance(error, StorageDenied)


def test_an_s3_that_wants_other_keys_is_refused_by_a_stack_at_once(s3_server: S3Server) -> None:
    port, bucket, key_id = s3_server.port, s3_server.bucket, s3_server.access_key_id

    assert s3_refuses(port, bucket, key_id, s3_server.secret_access_key) is None
    for keys in ((key_id, "wrong-secret"), ("nobody-we-know", s3_server.secret_access_key)):
        with pytest.raises(StackError, match=f"an S3 that is not of this stack answers on port {port}"):
            s3_refuses(port, bucket, *keys)


def test_a_missing_bucket_is_named(s3_server: S3Server, tmp_path: Path) -> None:
    storage = S3Storage(s3_server.settings(bucket="no-such-bucket"), patience=IMPATIENT)
    source = a_clip(tmp_path, 10 << 20)

    for use in (
        storage.check,
        lambda: storage.upload(source, "jobs/a/1/clip.mp4", media_type="video/mp4"),
        lambda: storage.download("jobs/a/1/clip.mp4", tmp_path / "out.mp4"),
        lambda: storage.find("jobs/a/1/clip.mp4"),
        lambda: list(storage.list()),
    ):
        with pytest.raises(BucketNotFound, match=r"there is no bucket 'no-such-bucket'.*FARM_S3_BUCKET"):
            use()
    storage.close()


def test_a_host_that_nobody_listens_on_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        port = taken.getsockname()[1]

        error = failure_of_check(
            S3Settings.read(
                endpoint_url=f"http://127.0.0.1:{port}", access_key_id="key", secret_access_key="secret"
            )
        )

    assert isinstance(error, StorageUnavailable)
    assert f"127.0.0.1:{port}" in str(error)
    assert "nothing listens there" in str(error)
    assert "FARM_S3_ENDPOINT_URL" in str(error)


def test_a_name_that_does_not_exist_is_named() -> None:
    error = failure_of_check(
        S3Settings.read(
            endpoint_url="http://s3.nowhere.invalid", access_key_id="key", secret_access_key="secret"
        )
    )

    assert "s3.nowhere.invalid" in str(error)
    assert "cannot be resolved" in str(error)


def test_https_to_a_plain_server_is_named(s3_server: S3Server) -> None:
    error = failure_of_check(s3_server.settings(endpoint_url=s3_server.url.replace("http", "https")))

    assert "TLS failed" in str(error)


def test_a_silent_server_is_given_up_in_time(proxy: FaultProxy, s3_server: S3Server) -> None:
    proxy.mode = Mode.BLACKHOLE
    storage = through(proxy, s3_server, IMPATIENT)

    with pytest.raises(StorageUnavailable, match="no answer in time"):
        storage.check()

    storage.close()


def test_a_server_that_resets_every_connection_is_unavailable(proxy: FaultProxy, s3_server: S3Server) -> None:
    proxy.mode = Mode.REFUSE
    storage = through(proxy, s3_server, IMPATIENT)

    with pytest.raises(StorageUnavailable):
        storage.check()

    storage.close()


@pytest.mark.parametrize("size_bytes", [3 << 20, 40 << 20], ids=["one request", "parts"])
def test_an_upload_survives_cut_connections(
    proxy: FaultProxy, s3_server: S3Server, tmp_path: Path, size_bytes: int
) -> None:
    source = a_clip(tmp_path, size_bytes)
    storage = through(proxy, s3_server, SOME_PATIENCE)
    proxy.cut_after(1 << 20, times=2)

    stored = storage.upload(source, key_in(storage), media_type="video/mp4")

    assert proxy.cuts_made == 2
    storage.download(key_in(storage), tmp_path / "back.mp4", sha256=stored.sha256)
    assert (tmp_path / "back.mp4").read_bytes() == source.read_bytes()
    storage.close()


@pytest.mark.parametrize("size_bytes", [3 << 20, 40 << 20], ids=["one request", "ranges"])
def test_a_download_survives_cut_connections(
    proxy: FaultProxy, s3_server: S3Server, tmp_path: Path, size_bytes: int
) -> None:
    source = a_clip(tmp_path, size_bytes)
    storage = through(proxy, s3_server, SOME_PATIENCE)
    stored = storage.upload(source, key_in(storage), media_type="video/mp4")
    proxy.cut_after(1 << 20, Direction.DOWN, times=2)

    storage.download(key_in(storage), tmp_path / "back.mp4", sha256=stored.sha256)

    assert proxy.cuts_made == 2
    assert (tmp_path / "back.mp4").read_bytes() == source.read_bytes()
    storage.close()


def a_stored_clip(storage: S3Storage, folder: Path) -> JobRecord:
    """A job whose clip of 8 MiB is in the store."""
    source = a_clip(folder, 8 << 20)
    key = key_in(storage)
    stored = storage.upload(source, key, media_type="video/mp4")
    artifact = Artifact(key=key, size_bytes=stored.size_bytes, sha256=stored.sha256, media_type="video/mp4")
    result = JobResult(bucket=storage.bucket, artifacts=(artifact,), manifest_key="none")
    store = MemoryJobStore()
    job_id = store.submit([a_job()])[0].job_id
    store.claim(job_id, worker="w1")
    store.succeed(job_id, 1, result)
    return store.get(job_id)


def test_a_clip_that_is_cut_off_is_gone_on_with_where_it_was(
    proxy: FaultProxy, s3_server: S3Server, tmp_path: Path
) -> None:
    storage = through(proxy, s3_server, IMPATIENT)
    record = a_stored_clip(storage, tmp_path)
    proxy.cut_after(3 << 20, Direction.DOWN, times=2)
    told: list[int] = []

    (path,) = download_all(record, storage, tmp_path / "out", progress=told.append)

    assert proxy.cuts_made == 2
    assert path.read_bytes() == (tmp_path / "clip.mp4").read_bytes()
    # What had come before each cut was not fetched again.
    assert sum(told) == max(itertools.accumulate(told)) == 8 << 20
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    storage.close()


def test_the_next_call_goes_on_with_what_an_outage_has_left(
    slow_line: FaultProxy, s3_server: S3Server, tmp_path: Path
) -> None:
    storage = through(slow_line, s3_server, IMPATIENT)
    slow_line.bytes_per_s = 0.0
    record = a_stored_clip(storage, tmp_path)
    slow_line.bytes_per_s = 4 << 20  # what a client has not read yet when its connection is reset is gone
    slow_line.cut_after(3 << 20, Direction.DOWN, times=1)
    stopped: list[int] = []

    def stop_serving(count: int) -> None:
        stopped.append(count)
        if sum(stopped):  # told first is what was there: nothing
            slow_line.mode = Mode.REFUSE

    with pytest.raises(StorageUnavailable):
        download_all(record, storage, tmp_path / "out", progress=stop_serving)
    (part,) = (tmp_path / "out").iterdir()
    left = part.stat().st_size
    slow_line.mode, slow_line.bytes_per_s = Mode.PASS, 0.0
    told: list[int] = []
    (path,) = download_all(record, storage, tmp_path / "out", progress=told.append)

    assert 0 < left < 8 << 20
    assert told[0] == left
    assert path.read_bytes() == (tmp_path / "clip.mp4").read_bytes()
    storage.close()


def test_an_upload_that_fails_leaves_no_object(
    proxy: FaultProxy, s3_server: S3Server, tmp_path: Path
) -> None:
    source = a_clip(tmp_path, 20 << 20)
    storage = through(proxy, s3_server, S3Patience(connect_s=1.0, silence_s=1.0, attempts=2))
    proxy.cut_after(1 << 20, times=100)

    with pytest.raises(StorageUnavailable):
        storage.upload(source, key_in(storage), media_type="video/mp4")

    assert not storage.exists(key_in(storage))
    storage.close()


@pytest.fixture
def slow_line(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.host, s3_server.port, window_bytes=16 << 10) as made:
        made.bytes_per_s = 2 << 20
        yield made


@pytest.mark.parametrize("size_bytes", [4 << 20, 9 << 20], ids=["one request", "parts"])
def test_a_slow_line_is_no_silent_server(
    slow_line: FaultProxy, s3_server: S3Server, tmp_path: Path, size_bytes: int
) -> None:
    source = a_clip(tmp_path, size_bytes)
    # Far less than the megabytes need that the kernel takes at once.
    storage = through(slow_line, s3_server, S3Patience(connect_s=1.0, silence_s=1.0, attempts=1))

    stored = storage.upload(source, key_in(storage), media_type="video/mp4")

    assert stored.size_bytes == size_bytes
    storage.close()


@pytest.mark.parametrize("size_bytes", [4 << 20, 40 << 20], ids=["one request", "parts"])
def test_an_upload_of_which_no_byte_moves_any_more_is_over(
    slow_line: FaultProxy, s3_server: S3Server, tmp_path: Path, size_bytes: int
) -> None:
    source = a_clip(tmp_path, size_bytes)
    storage = through(slow_line, s3_server, S3Patience(connect_s=1.0, silence_s=1.0, attempts=1))
    slow_line.bytes_per_s = 0.0
    slow_line.blackhole_after(1 << 20)

    with pytest.raises(StorageUnavailable, match="no answer in time"):
        storage.upload(source, key_in(storage), media_type="video/mp4")

    storage.close()


def test_a_link_is_for_its_object_only_and_ends(s3_server: S3Server, s3_settings: S3Settings) -> None:
    storage = S3Storage(s3_settings)
    storage.put_bytes(b"the clip", key_in(storage), media_type="video/mp4")

    link = storage.url(key_in(storage), expires_s=60, download_name="my clip.mp4")

    with urlopen(link) as answer:
        assert answer.headers["Content-Type"] == "video/mp4"
        assert 'filename="my clip.mp4"' in answer.headers["Content-Disposition"]
    assert s3_server.secret_access_key not in link
    with pytest.raises(HTTPError) as tampered:
        urlopen(link.replace("clip.mp4?", "other.mp4?"))
    with tampered.value:
        assert tampered.value.code == 403
    storage.close()


_UPLOAD_SCRIPT = """
import sys
from pathlib import Path
import psutil
from farm.settings.s3 import S3Settings
from farm.storage import S3Storage

storage = S3Storage(S3Settings.read())
small, large = Path(sys.argv[1]), Path(sys.argv[2])
me, peak = psutil.Process(), 0
def watch(_count):
    global peak
    peak = max(peak, me.memory_info().rss)
for _ in range(2):
    storage.upload(small, "jobs/memory-small/1/clip.mp4", media_type="video/mp4", progress=watch)
before, peak = peak, 0
stored = storage.upload(large, "jobs/memory-large/1/clip.mp4", media_type="video/mp4", progress=watch)
print(before, peak, stored.size_bytes)
storage.close()
"""


def test_memory_stays_flat_whatever_the_size(s3_server: S3Server, tmp_path: Path) -> None:
    small, large = tmp_path / "small.mp4", tmp_path / "large.mp4"
    small.write_bytes(b"x" * (20 << 20))
    with large.open("wb") as file:
        file.truncate(200 << 20)  # sparse: what counts is what the uploader keeps of it
    environment = {
        "FARM_S3_ENDPOINT_URL": s3_server.url,
        "FARM_S3_ACCESS_KEY_ID": s3_server.access_key_id,
        "FARM_S3_SECRET_ACCESS_KEY": s3_server.secret_access_key,
        "FARM_S3_REGION": "us-east-1",
    }

    done = subprocess.run(
        [sys.executable, "-c", _UPLOAD_SCRIPT, str(small), str(large)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    before, peak, size_bytes = (int(word) for word in done.stdout.split())
    assert size_bytes == 200 << 20
    assert peak - before < 32 << 20, f"{(peak - before) >> 20} MiB more for 180 MiB more"


def test_closing_ends_its_threads(s3_settings: S3Settings, tmp_path: Path) -> None:
    source = a_clip(tmp_path, 1 << 10)
    before = threading.active_count()
    storage = S3Storage(s3_settings)
    storage.upload(source, storage.keys.scratch_key("clip.mp4"), media_type="video/mp4")

    storage.close()

    assert threading.active_count() == before
