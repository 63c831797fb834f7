"""Hearing that the machine will be taken away; a server here plays the clouds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.http import served
from worker.service.spot import Command, Metadata, Notice, SpotWatch


class Cloud:
    """A metadata service: what it answers, and what it wants to see in a request."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.wants: tuple[str, str] = ("", "")
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
                self._answer(200 if asked else 400, "a-token")

            def do_GET(self) -> None:
                name, value = cloud.wants
                if self.headers.get(name) != value:
                    self._answer(401, "")
                elif self.path in cloud.answers:
                    self._answer(200, cloud.answers[self.path])
                else:
                    self._answer(404, "")

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """One that has nothing to say."""
    made = Cloud()
    with served(made.server):
        yield made


def test_aws_tells_the_time_of_the_end_to_who_brings_a_token(cloud: Cloud) -> None:
    cloud.wants = ("X-aws-ec2-metadata-token", "a-token")
    aws = Metadata("aws", base_url=cloud.url)
    assert aws.ask() is None

    end = datetime.now(UTC) + timedelta(seconds=120)
    action = {"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    cloud.answers["/latest/meta-data/spot/instance-action"] = json.dumps(action)

    notice = aws.ask()
    assert notice is not None
    assert 100 < notice.left_s <= 115


def test_gcp_says_true(cloud: Cloud) -> None:
    cloud.wants = ("Metadata-Flavor", "Google")
    gcp = Metadata("gcp", base_url=cloud.url)
    cloud.answers["/computeMetadata/v1/instance/preempted"] = "FALSE"
    assert gcp.ask() is None

    cloud.answers["/computeMetadata/v1/instance/preempted"] = "TRUE"

    assert gcp.ask() == Notice(source="gcp", left_s=25)


def test_azure_lists_an_event(cloud: Cloud) -> None:
    cloud.wants = ("Metadata", "true")
    azure = Metadata("azure", base_url=cloud.url)
    path = "/metadata/scheduledevents?api-version=2020-07-01"
    cloud.answers[path] = json.dumps({"Events": [{"EventType": "Freeze", "NotBefore": ""}]})
    assert azure.ask() is None

    end = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    cloud.answers[path] = json.dumps({"Events": [{"EventType": "Preempt", "NotBefore": end}]})

    notice = azure.ask()
    assert notice is not None
    assert 40 < notice.left_s <= 55


@pytest.mark.parametrize(("command", "told"), [("true", True), ("false", False)])
def test_a_command_that_succeeds_is_a_notice(command: str, told: bool) -> None:
    assert (Command(command, left_s=20).ask() is not None) is told


def test_a_notice_is_told_once_and_a_service_that_fails_is_asked_again() -> None:
    answers: list[Notice | Exception | None] = [ValueError("away"), None, Notice(source="gcp", left_s=9)]
    heard: list[Notice] = []
    ended = threading.Event()

    def ask() -> Notice | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hear(notice: Notice) -> None:
        heard.append(notice)
        ended.set()

    watch = SpotWatch(ask, hear, every_s=0.01)
    watch.start()

    assert ended.wait(60)
    watch.stop()
    assert heard == [Notice(source="gcp", left_s=9)]
    assert answers == []
