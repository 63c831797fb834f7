"""What every `Storage` promises: on a folder, on rclone (a real server with its quirks), and on moto."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from farm.errors import ObjectDamaged, ObjectNotFound, TransferStopped
from farm.storage import S3Storage, Storage
from farm.testing import FolderStorage
from tests.support.jobs import OTHER, TOKEN

_LARGE = 20 * (1 << 20) + 17  # three parts, the last one odd


@pytest.fixture(params=["folder", "rclone", "moto"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "folder":
        yield FolderStorage(tmp_path / "store", prefix="t1")
        return
    name = "s3_settings" if request.param == "rclone" else "moto_settings"
    made = S3Storage(request.getfixturevalue(name))
    yield made
    made.close()


def a_file(path: Path, size_bytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size_bytes))
    return path


def key_of(storage: Storage, name: str) -> str:
    return storage.keys.attempt_prefix("0123456789ab", TOKEN) + name


@pytest.mark.parametrize("size_bytes", [0, 1, 100_000, _LARGE], ids=["empty", "one", "small", "large"])
def test_a_file_comes_back_as_it_was(storage: Storage, tmp_path: Path, size_bytes: int) -> None:
    source = a_file(tmp_path / "source.mp4", size_bytes)
    key = key_of(storage, "clip.mp4")

    stored = storage.upload(source, key, media_type="video/mp4")
    fetched = storage.download(key, tmp_path / "out" / "clip.mp4", sha256=stored.sha256)

    assert stored.size_bytes == size_bytes
    assert stored.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert fetched == stored
    assert (tmp_path / "out" / "clip.mp4").read_bytes() == source.read_bytes()


def test_progress_adds_up_to_the_size(storage: Storage, tmp_path: Path) -> None:
    source = a_file(tmp_path / "source.mp4", _LARGE)
    up: list[int] = []
    down: list[int] = []

    storage.upload(source, key_of(storage, "clip.mp4"), media_type="video/mp4", progress=up.append)
    storage.download(key_of(storage, "clip.mp4"), tmp_path / "out.mp4", progress=down.append)

    assert sum(up) == _LARGE
    assert sum(down) == _LARGE
    assert len(up) > 3


def test_a_stopped_upload_leaves_no_object(storage: Storage, tmp_path: Path) -> None:
    source = a_file(tmp_path / "source.mp4", _LARGE)
    key = key_of(storage, "clip.mp4")

    with pytest.raises(TransferStopped):
        storage.upload(source, key, media_type="video/mp4", stop=lambda: True)

    assert not storage.exists(key)


def test_a_stopped_download_leaves_no_file(storage: Storage, tmp_path: Path) -> None:
    key = key_of(storage, "clip.mp4")
    storage.upload(a_file(tmp_path / "source.mp4", _LARGE), key, media_type="video/mp4")

    with pytest.raises(TransferStopped):
        storage.download(key, tmp_path / "out" / "clip.mp4", stop=lambda: True)

    assert list((tmp_path / "out").iterdir()) == []


def test_an_object_that_is_not_there_is_named(storage: Storage, tmp_path: Path) -> None:
    for read in (
        lambda: storage.download("jobs/none", tmp_path / "out" / "x"),
        lambda: storage.read_bytes("jobs/none"),
        lambda: storage.stream("jobs/none"),
    ):
        with pytest.raises(ObjectNotFound) as caught:
            read()
        assert caught.value.key == "jobs/none"
    assert storage.find("jobs/none") is None
    assert list((tmp_path / "out").iterdir()) == []


def test_content_of_another_hash_is_not_kept(storage: Storage, tmp_path: Path) -> None:
    key = key_of(storage, "clip.mp4")
    storage.put_bytes(b"one thing", key, media_type="video/mp4")

    with pytest.raises(ObjectDamaged, match="SHA-256"):
        storage.download(key, tmp_path / "out" / "clip.mp4", sha256="0" * 64)

    assert list((tmp_path / "out").iterdir()) == []


def test_a_failed_download_leaves_the_older_file(storage: Storage, tmp_path: Path) -> None:
    older = tmp_path / "clip.mp4"
    older.write_bytes(b"older")

    with pytest.raises(ObjectNotFound):
        storage.download("jobs/none", older)

    assert older.read_bytes() == b"older"


def test_a_second_write_replaces_the_first(storage: Storage) -> None:
    key = key_of(storage, "manifest.json")

    storage.put_bytes(b'{"a": 1}', key, media_type="application/json")
    storage.put_bytes(b"{}", key, media_type="application/json")

    assert storage.read_bytes(key) == b"{}"


def test_a_read_is_limited(storage: Storage) -> None:
    key = key_of(storage, "manifest.json")
    storage.put_bytes(b"x" * 1000, key, media_type="application/json")

    with pytest.raises(ObjectDamaged, match="1000 bytes"):
        storage.read_bytes(key, limit_bytes=999)


def test_a_stream_gives_the_asked_range(storage: Storage, tmp_path: Path) -> None:
    source = a_file(tmp_path / "source.bin", 3 * (1 << 20))
    key = key_of(storage, "clip.bin")
    storage.upload(source, key, media_type="application/octet-stream")
    content = source.read_bytes()

    assert b"".join(storage.stream(key)) == content
    assert b"".join(storage.stream(key, start=1_500_000)) == content[1_500_000:]
    assert b"".join(storage.stream(key, start=10, length=5)) == content[10:15]


def test_a_listing_is_in_order_and_keeps_to_its_prefix(storage: Storage) -> None:
    for name in ("b.png", "a.mp4", "c.json"):
        storage.put_bytes(b"xyz", key_of(storage, name), media_type="image/png")
    storage.put_bytes(
        b"", storage.keys.attempt_prefix("0123456789ab", OTHER) + "a.mp4", media_type="video/mp4"
    )

    found = list(storage.list(storage.keys.attempt_prefix("0123456789ab", TOKEN)))

    assert [entry.key for entry in found] == [key_of(storage, name) for name in ("a.mp4", "b.png", "c.json")]
    assert {entry.size_bytes for entry in found} == {3}
    assert list(storage.list("no-such-folder/")) == []


def test_deleting_an_attempt_leaves_its_neighbours(storage: Storage) -> None:
    for token in (TOKEN, OTHER):
        prefix = storage.keys.attempt_prefix("0123456789ab", token)
        storage.put_bytes(b"x", prefix + "clip.mp4", media_type="video/mp4")
        storage.put_bytes(b"x", prefix + "manifest.json", media_type="application/json")

    deleted = storage.delete_prefix(storage.keys.attempt_prefix("0123456789ab", TOKEN))

    left = [found.key.split("/")[-2] for found in storage.list(storage.keys.job_prefix("0123456789ab"))]
    assert deleted == 2
    assert left == [OTHER, OTHER]


@pytest.mark.parametrize("prefix", ["", "/", "jobs/abc"])
def test_only_a_folder_can_be_deleted(storage: Storage, prefix: str) -> None:
    with pytest.raises(ValueError, match="must end in"):
        storage.delete_prefix(prefix)


def test_deleting_what_is_not_there_is_no_error(storage: Storage) -> None:
    storage.delete("jobs/none")

    assert storage.delete_prefix("jobs/none/") == 0


def test_a_link_gives_the_object_to_anybody(storage: Storage) -> None:
    key = key_of(storage, "clip.mp4")
    storage.put_bytes(b"the clip", key, media_type="video/mp4")

    link = storage.url(key, expires_s=60, download_name="Ünïque “clip”.mp4")

    with urlopen(link) as answer:
        assert answer.read() == b"the clip"


def test_an_input_is_stored_once_under_its_hash(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "Start Frame.PNG"
    source.write_bytes(b"a picture")
    digest = hashlib.sha256(b"a picture").hexdigest()

    first = storage.upload_input(source)
    before = storage.find(storage.keys.input_key(digest, ".png"))
    again = storage.upload_input(b"a picture", suffix=".png")

    assert first == again == f"s3://{storage.bucket}/{storage.keys.input_key(digest, '.png')}"
    assert storage.find(storage.keys.input_key(digest, ".png")) == before


def test_half_an_input_is_sent_again(storage: Storage) -> None:
    digest = hashlib.sha256(b"a picture").hexdigest()
    storage.put_bytes(b"a pic", storage.keys.input_key(digest, ".png"), media_type="image/png")

    storage.upload_input(b"a picture", suffix=".png")

    assert storage.read_bytes(storage.keys.input_key(digest, ".png")) == b"a picture"


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "a/../b", "Ä", "a b", "A", "a/" + "x" * 201])
def test_a_key_that_some_store_refuses_is_refused_by_all(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="no key of ours"):
        storage.put_bytes(b"x", key, media_type="text/plain")


def test_many_threads_may_use_it_at_once(storage: Storage, tmp_path: Path) -> None:
    sources = [a_file(tmp_path / f"source{n}.png", 300_000 + n) for n in range(12)]
    stored: dict[int, str] = {}

    def work(n: int) -> None:
        stored[n] = storage.upload(sources[n], key_of(storage, f"{n}.png"), media_type="image/png").sha256

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(sources))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for n, source in enumerate(sources):
        assert stored[n] == hashlib.sha256(source.read_bytes()).hexdigest()
        assert storage.read_bytes(key_of(storage, f"{n}.png")) == source.read_bytes()


def test_a_check_leaves_nothing_behind(storage: Storage) -> None:
    storage.check()

    assert [found.key for found in storage.list(storage.keys.scratch_key("x").removesuffix("x"))] == []
