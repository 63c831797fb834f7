"""Input files through the whole farm: from wherever they come to the file that ComfyUI saves."""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from farm.job import ErrorKind, JobState
from tests.support.clips import make_picture
from tests.support.http import served
from tests.support.s3 import S3Server
from tests.support.whole_farm import JOB_S, WholeFarm, error_of

COPY: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
}


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the worker's machine that it gives out."""
    return tmp_path_factory.mktemp("plates")


@pytest.fixture(scope="module")
def farm(lasting_farm: WholeFarm, plates: Path) -> WholeFarm:
    """A farm whose worker may fetch from this machine."""
    lasting_farm.start_worker("a", FARM_ALLOW_PRIVATE_URLS="true", FARM_INPUT_FOLDERS=str(plates))
    return lasting_farm


class _Pictures(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Any]:
    """A web server that has one picture, under any path."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Pictures)
    server.content = make_picture(tmp_path / "web.png", size=(48, 32)).read_bytes()
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}/start.png"
    with served(server):
        yield server


def made_of(farm: WholeFarm, source: str | Path | bytes) -> list[str]:
    """What a job with that input has saved: media types of its files."""
    job = farm.submit(COPY, inputs={"1.image": source}).wait(JOB_S)
    return [artifact.media_type for artifact in job.result().facts.artifacts]


def test_a_path_and_bytes_are_uploaded(farm: WholeFarm, tmp_path: Path) -> None:
    picture = make_picture(tmp_path / "mine.png")

    assert made_of(farm, picture) == made_of(farm, picture.read_bytes()) == ["image/png"]


def test_a_url_is_fetched_and_a_pinned_one_only_once(farm: WholeFarm, site: Any) -> None:
    pinned = f"{site.url}?sig=1#sha256={hashlib.sha256(site.content).hexdigest()}"

    assert made_of(farm, pinned) == made_of(farm, pinned) == ["image/png"]
    assert site.asked == ["/start.png?sig=1"]


def test_another_bucket_is_read(farm: WholeFarm, s3_server: S3Server, tmp_path: Path) -> None:
    bucket = f"artists-{uuid.uuid4().hex[:8]}"
    client: Any = boto3.client(
        "s3",
        endpoint_url=s3_server.url,
        aws_access_key_id=s3_server.access_key_id,
        aws_secret_access_key=s3_server.secret_access_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    client.upload_file(str(make_picture(tmp_path / "x.png")), bucket, "art/x.png")
    client.close()

    assert made_of(farm, f"s3://{bucket}/art/x.png") == ["image/png"]


def test_a_file_of_an_opened_folder_is_read(farm: WholeFarm, plates: Path) -> None:
    assert made_of(farm, make_picture(plates / "plate 7.png").as_uri()) == ["image/png"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("file:///etc/passwd", "FARM_INPUT_FOLDERS"),
        ("s3://no-such-bucket-of-anybody/x.png", "s3://no-such-bucket-of-anybody/x.png"),
        ("http://127.0.0.1:9/x.png?sig=secret", "127.0.0.1 does not answer"),
    ],
)
def test_an_input_that_cannot_be_had_fails_the_job_in_words(farm: WholeFarm, source: str, words: str) -> None:
    job = farm.submit(COPY, inputs={"1.image": source})

    farm.wait_final(job)

    error = error_of(job)
    assert (error.kind, error.code) == (ErrorKind.JOB, "input_unavailable")
    assert "1.image: input" in error.message
    assert words in error.message
    assert "secret" not in "".join(str(event.data) for event in job.events(live=False))
    assert "secret" not in farm.workers[0].log


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes a request and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.png"


def test_a_cancel_ends_a_fetch_that_hangs(farm: WholeFarm, silent: str, tmp_path: Path) -> None:
    job = farm.submit(COPY, inputs={"1.image": silent})
    farm.wait_state(job, JobState.RUNNING)

    job.cancel()

    assert farm.wait_final(job).record.state is JobState.CANCELED
    assert made_of(farm, make_picture(tmp_path / "next.png")) == ["image/png"]  # the worker is free again


def test_a_fetch_that_hangs_ends_with_the_jobs_time(farm: WholeFarm, silent: str) -> None:
    job = farm.submit(COPY, inputs={"1.image": silent}, time_limit_s=1.0, max_attempts=1)

    farm.wait_final(job)

    assert error_of(job).code == "time_limit"
