"""A storage that answers with errors: what passes is waited out, what a person must mend is said at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from farm.errors import BucketNotFound, StorageDenied, StorageUnavailable
from farm.settings.s3 import S3Settings
from farm.storage import S3Patience, S3Storage
from tests.support.clips import make_clip
from tests.support.http import served
from tests.support.jobs import TOKEN
from worker.results.publish import LocalOutput, Publisher

JOB = "0123456789ab"
LOST = (0, "the answer is lost")  # the object is stored, and the connection cut instead of an answer


class Moods:
    """An S3 that takes every PUT, but first answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []  # one for each of the next PUTs
        self.objects: dict[str, bytes] = {}
        self.puts = 0
        moods = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, code = moods.next()
                if status in (0, 200):
                    moods.objects[self.path] = body
                if status == 0:
                    self.close_connection = True
                    self.connection.close()
                    return
                text = b"" if status == 200 else f"<Error><Code>{code}</Code></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]

    def next(self) -> tuple[int, str]:
        with self._lock:
            self.puts += 1
            return self.answers.pop(0) if self.answers else (200, "")

    def settings(self) -> S3Settings:
        return S3Settings.read(
            endpoint_url=f"http://127.0.0.1:{self.server.server_port}",
            bucket="farm",
            access_key_id="key",
            secret_access_key="secret",
            prefix="",
        )


@pytest.fixture
def moods() -> Iterator[Moods]:
    made = Moods()
    with served(made.server):
        yield made


@pytest.fixture
def publisher(moods: Moods) -> Iterator[Publisher]:
    storage = S3Storage(moods.settings(), patience=S3Patience(connect_s=2.0, silence_s=5.0, attempts=1))
    made = Publisher(storage, patience_s=30.0)
    yield made
    made.close()
    storage.close()


@pytest.fixture
def outputs(tmp_path: Path) -> list[LocalOutput]:
    path = make_clip(tmp_path / "clip.mp4")
    return [LocalOutput(path=path, node_id="61", filename="clip.mp4")]


@pytest.mark.parametrize(
    "answer",
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (507, "InsufficientStorage"),
        (409, "OperationAborted"),
        (412, "PreconditionFailed"),
        (400, "RequestTimeout"),
        LOST,
    ],
    ids=lambda answer: answer[1],
)
def test_what_passes_is_waited_out(
    moods: Moods, publisher: Publisher, outputs: list[LocalOutput], answer: tuple[int, str]
) -> None:
    moods.answers = [answer] * 3

    result = publisher.publish(JOB, TOKEN, outputs, {})

    clip = result.artifacts[0]
    assert moods.objects[f"/farm/{clip.key}"] == outputs[0].path.read_bytes()
    assert f"/farm/{result.manifest_key}" in moods.objects
    assert moods.puts >= 6  # clip, poster and manifest, and three tries that failed


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((403, "ExpiredToken"), StorageDenied),
        ((403, "AccessDenied"), StorageDenied),
        ((404, "NoSuchBucket"), BucketNotFound),
    ],
    ids=["ExpiredToken", "AccessDenied", "NoSuchBucket"],
)
def test_what_a_person_must_mend_is_said_at_once_and_the_file_stays(
    moods: Moods,
    publisher: Publisher,
    outputs: list[LocalOutput],
    answer: tuple[int, str],
    error: type[StorageUnavailable],
) -> None:
    moods.answers = [answer] * 20

    with pytest.raises(error):
        publisher.publish(JOB, TOKEN, outputs, {})

    assert moods.puts <= 2  # clip and poster
    assert outputs[0].path.exists()
