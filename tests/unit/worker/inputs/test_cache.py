"""The input cache: fetched once, kept by content, provided where ComfyUI looks."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from comfy.protocol.outputs import MediaKind
from farm.asking.sources import public_source
from farm.errors import InputUnavailable, StorageUnavailable, TransferStopped
from farm.settings.worker import WorkerSettings
from farm.storage import StoredFile
from farm.testing import FolderStorage
from tests.support.clips import make_clip, make_picture
from worker.inputs.cache import InputCache
from worker.inputs.fetch import FetchRefused


class CountingStorage(FolderStorage):
    """Counts downloads, and can be told to take its time."""

    downloads = 0
    gate: threading.Event | None = None

    def download(self, key: str, path: Path, **given: Any) -> StoredFile:
        self.downloads += 1
        if self.gate is not None:
            self.gate.wait(60)
        return super().download(key, path, **given)


class NoWeb:
    """A fetcher that is never to be asked."""

    def fetch(self, url: str, path: Path, **_: object) -> None:
        raise FetchRefused("there is no web here")


@pytest.fixture
def storage(tmp_path: Path) -> CountingStorage:
    return CountingStorage(tmp_path / "store")


def a_cache(tmp_path: Path, storage: FolderStorage, *, fetcher: Any = None, **settings: Any) -> InputCache:
    return InputCache(
        tmp_path / "cache",
        storage,
        WorkerSettings.read(**settings),
        fetcher=fetcher or NoWeb(),  # type: ignore[arg-type]
    )


def a_picture_source(storage: FolderStorage, tmp_path: Path) -> str:
    picture = make_picture(tmp_path / "p0.png", size=(16, 16))
    return storage.upload_input(picture)


def test_a_provided_picture_lies_where_loaders_look(storage: CountingStorage, tmp_path: Path) -> None:
    source = a_picture_source(storage, tmp_path)
    content = (tmp_path / "p0.png").read_bytes()

    name = a_cache(tmp_path, storage).provide(source, tmp_path / "input", holder="a")

    assert name == f"farm/{hashlib.sha256(content).hexdigest()}.png"
    assert (tmp_path / "input" / name).read_bytes() == content
    assert [path.name for path in (tmp_path / "input" / "farm").iterdir()] == [name.removeprefix("farm/")]


def test_the_same_upload_is_fetched_once_and_survives_a_restart(
    storage: CountingStorage, tmp_path: Path
) -> None:
    source = a_picture_source(storage, tmp_path)

    first = a_cache(tmp_path, storage).provide(source, tmp_path / "input", holder="a")
    again = a_cache(tmp_path, storage).provide(source, tmp_path / "input", holder="a")

    assert first == again
    assert storage.downloads == 1


def test_threads_that_want_the_same_wait_for_one_fetch(storage: CountingStorage, tmp_path: Path) -> None:
    storage.put_bytes(make_picture(tmp_path / "x.png").read_bytes(), "art/x.png", media_type="image/png")
    storage.gate = threading.Event()
    cache = a_cache(tmp_path, storage)
    names: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: names.append(cache.provide("s3://farm/art/x.png", tmp_path / "input", holder="a"))
        )
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while storage.downloads == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    storage.gate.set()
    for thread in threads:
        thread.join()

    assert len(set(names)) == 1
    # A thread may come when the first fetch is over: then it fetches again, which is right, too.
    assert storage.downloads < 4


def test_content_decides_the_ending(storage: CountingStorage, tmp_path: Path) -> None:
    storage.put_bytes(make_picture(tmp_path / "x.webp").read_bytes(), "art/x.png", media_type="image/png")

    cached = a_cache(tmp_path, storage).fetch("s3://farm/art/x.png", holder="a")

    assert (cached.kind, cached.path.suffix) == (MediaKind.IMAGE, ".webp")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("s3://farm/art/none.png", "there is no object"),
        ("s3://no-such-bucket/x.png", "no bucket"),
        ("s3://farm", "s3://bucket/key"),
        ("https://user:secret@host/x.png?X-Amz-Signature=secret", "no web"),
        ("file:///etc/passwd", "none of the folders that this worker gives out (FARM_INPUT_FOLDERS)"),
        ("data:image/png;base64,secret", "only s3:, http: and https:"),
        ("/etc/passwd", "only s3:, http: and https:"),
        ("", "only s3:, http: and https:"),
    ],
)
def test_what_cannot_be_had_names_field_and_source_but_no_secret(
    storage: CountingStorage, tmp_path: Path, source: str, reason: str
) -> None:
    with pytest.raises(InputUnavailable) as caught:
        a_cache(tmp_path, storage).fetch(source, holder="a", field="12.image")

    assert caught.value.field == "12.image"
    assert reason in str(caught.value)
    assert "12.image" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"#!/bin/sh\nrm -rf /", b"PK\x03\x04zip"])
def test_what_is_no_media_is_refused_and_not_kept(
    storage: CountingStorage, tmp_path: Path, content: bytes
) -> None:
    storage.put_bytes(content, "art/x.png", media_type="image/png")

    with pytest.raises(InputUnavailable, match="no picture, video or sound"):
        a_cache(tmp_path, storage).fetch("s3://farm/art/x.png", holder="a")

    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_is_too_large_is_not_fetched(storage: CountingStorage, tmp_path: Path) -> None:
    storage.put_bytes(b"x" * (2 << 20), "art/x.png", media_type="image/png")

    with pytest.raises(InputUnavailable, match="FARM_INPUT_LIMIT_MIB"):
        a_cache(tmp_path, storage, input_limit_mib=1).fetch("s3://farm/art/x.png", holder="a")

    assert storage.downloads == 0


def test_an_upload_that_was_damaged_is_not_used(storage: CountingStorage, tmp_path: Path) -> None:
    source = a_picture_source(storage, tmp_path)
    key = source.removeprefix("s3://farm/")
    storage.put_bytes(
        make_picture(tmp_path / "y.png", size=(99, 9)).read_bytes(), key, media_type="image/png"
    )

    with pytest.raises(InputUnavailable, match="damaged"):
        a_cache(tmp_path, storage).fetch(source, holder="a")


def test_a_storage_that_is_away_is_not_the_jobs_fault(storage: CountingStorage, tmp_path: Path) -> None:
    source = a_picture_source(storage, tmp_path)
    storage.broken = StorageUnavailable("s3", "gone")

    with pytest.raises(StorageUnavailable):
        a_cache(tmp_path, storage).fetch(source, holder="a")


def test_a_local_file_is_taken_from_a_folder_that_is_given_out(
    storage: CountingStorage, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "plates" / "my clip.mp4")
    cache = a_cache(tmp_path, storage, input_folders=f"/mnt/nowhere:{tmp_path / 'plates'}")

    cached = cache.fetch(clip.as_uri(), holder="a")

    assert cached.kind is MediaKind.VIDEO
    assert cached.path.read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("way_out", ["plates/../secret.png", "plates/link.png", "plates-too/x.png"])
def test_no_way_leads_out_of_a_folder_that_is_given_out(
    storage: CountingStorage, tmp_path: Path, way_out: str
) -> None:
    for place in ("secret.png", "plates-too/x.png"):
        make_picture(tmp_path / place)
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "link.png").symlink_to(tmp_path / "secret.png")
    cache = a_cache(tmp_path, storage, input_folders=str(tmp_path / "plates"))

    with pytest.raises(InputUnavailable, match="none of the folders"):
        cache.fetch(f"file://{tmp_path}/{way_out}", holder="a")


def test_a_foreign_bucket_is_read_with_the_farms_credentials(
    storage: CountingStorage, tmp_path: Path
) -> None:
    picture = make_picture(tmp_path / "store" / "artists-own" / "art" / "x.png")

    cached = a_cache(tmp_path, storage).fetch("s3://artists-own/art/x.png", holder="a")

    assert cached.path.read_bytes() == picture.read_bytes()


def test_a_pinned_input_must_have_that_content_and_is_not_fetched_again(
    storage: CountingStorage, tmp_path: Path
) -> None:
    content = make_picture(tmp_path / "x.png").read_bytes()
    storage.put_bytes(content, "art/x.png", media_type="image/png")
    pinned = f"s3://farm/art/x.png#sha256={hashlib.sha256(content).hexdigest().upper()}"
    cache = a_cache(tmp_path, storage)
    first = cache.fetch(pinned, holder="a")

    storage.put_bytes(content + b"more", "art/x.png", media_type="image/png")
    again = cache.fetch(pinned, holder="b")

    assert (first, storage.downloads) == (again, 1)
    with pytest.raises(InputUnavailable, match=r"damaged|has the SHA-256"):
        a_cache(tmp_path / "other", storage).fetch(pinned, holder="a")


def test_a_pinned_url_with_other_content_is_refused_and_not_kept(
    storage: CountingStorage, tmp_path: Path
) -> None:
    class Web:
        def fetch(self, url: str, path: Path, **_: object) -> None:
            assert url == "https://host/x.png"
            make_picture(path.with_suffix(".png")).replace(path)

    with pytest.raises(InputUnavailable, match=r"has the SHA-256 .* not the 0000"):
        a_cache(tmp_path, storage, fetcher=Web()).fetch(f"https://host/x.png#sha256={'0' * 64}", holder="a")

    assert list((tmp_path / "cache").iterdir()) == []


def test_a_fetch_from_s3_ends_when_its_job_is_stopped(storage: CountingStorage, tmp_path: Path) -> None:
    storage.put_bytes(make_picture(tmp_path / "x.png").read_bytes(), "art/x.png", media_type="image/png")

    with pytest.raises(TransferStopped):
        a_cache(tmp_path, storage).fetch("s3://farm/art/x.png", holder="a", stop=lambda: True)

    assert list((tmp_path / "cache").iterdir()) == []


def test_the_least_recently_used_go_first(storage: CountingStorage, tmp_path: Path) -> None:
    cache = a_cache(tmp_path, storage, input_cache_mib=1)
    old = [cache.fetch(a_large_source(storage, number), holder="a") for number in range(3)]
    for age, cached in zip((9000, 8000, 7000), old, strict=True):
        os.utime(cached.path, (time.time() - age,) * 2)
    cache.release("a")

    newest = cache.fetch(a_large_source(storage, 3), holder="b")

    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {old[2].name, newest.name}


def test_what_a_live_job_was_given_stays_however_long_it_takes(
    storage: CountingStorage, tmp_path: Path
) -> None:
    cache = a_cache(tmp_path, storage, input_cache_mib=1)
    given = cache.provide(a_large_source(storage, 0), tmp_path / "input", holder="long job")
    for path in (tmp_path / "cache").iterdir():
        os.utime(path, (time.time() - 7 * 86400,) * 2)

    for number in range(1, 5):
        cache.provide(a_large_source(storage, number), tmp_path / "input", holder="others")
        cache.release("others")

    assert (tmp_path / "input" / given).exists()
    assert (tmp_path / "cache" / given.removeprefix("farm/")).exists()


def test_provided_files_go_with_the_cached_ones(storage: CountingStorage, tmp_path: Path) -> None:
    cache = a_cache(tmp_path, storage, input_cache_mib=1)
    for number in range(4):
        cache.provide(a_large_source(storage, number), tmp_path / "input", holder="a")
    cache.release("a")

    last = cache.provide(a_large_source(storage, 4), tmp_path / "input", holder="b")

    left = {f"farm/{path.name}" for path in (tmp_path / "input" / "farm").iterdir()}
    assert last in left
    assert len(left) == 2


def test_leftovers_of_a_killed_worker_are_removed(storage: CountingStorage, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "0123.part").write_bytes(b"half a file")

    a_cache(tmp_path, storage)

    assert list((tmp_path / "cache").iterdir()) == []


def a_large_source(storage: FolderStorage, number: int) -> str:
    """Half a MiB that begins as a PNG does."""
    return storage.upload_input(b"\x89PNG\r\n\x1a\n" + bytes([number]) * 500_000, suffix=".png")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("https://user:pw@host:8443/a/b.png?sig=x#f", "https://host:8443/a/b.png"),
        ("s3://bucket/key.png", "s3://bucket/key.png"),
        ("data:image/png;base64,AAAA", "data:…"),
        ("http://[broken", "(an address that cannot be read)"),
    ],
)
def test_a_source_is_shown_without_its_secrets(source: str, shown: str) -> None:
    assert public_source(source) == shown
