"""A server behind a proxy that has a path of its own and asks who comes: every request, and the websocket."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from comfy.errors import ServerForbids
from comfy.protocol.address import ComfyAddress
from comfy.protocol.client import ComfyClient
from comfy.protocol.events import Event, Progress
from comfy.protocol.patience import Patience
from comfy.protocol.run import PromptRun
from comfy.protocol.sniff import HEAD_BYTES, sniff
from comfy.rewrites.output_prefix import set_output_prefix
from comfy.wan.templates import get_template
from tests.support.clips import make_clip, make_picture
from tests.support.door import Door
from worker.inputs.cache import CachedInput
from worker.inputs.upload import upload

pytestmark = pytest.mark.timeout(150)

BASIC = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
NO_POLLS = Patience(poll_interval_s=600.0, reconnect_attempts=0)


class Server(Protocol):
    url: str
    output: Path


def a_graph() -> dict[str, Any]:
    wanted = {"prompt": "a fox", "width": 64, "height": 64, "frames": 9, "steps": 4}
    return set_output_prefix(get_template("wan22-t2v-a14b").build(**wanted).graph, uuid.uuid4().hex)[0]


@pytest.fixture(params=["user and password", "token"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[ComfyClient]:
    is_token = request.param == "token"
    with Door(server.url, "Bearer t0k" if is_token else BASIC) as door:
        text = f"http://{door.host}/ui/" if is_token else f"http://me:p%40ss@{door.host}/ui"
        made = ComfyClient(ComfyAddress.parse(text, token="t0k" if is_token else None), patience=NO_POLLS)
        yield made
        made.close()
        assert door.turned_away == 0


def test_a_run_goes_through_the_door_with_its_websocket(client: ComfyClient) -> None:
    heard: list[Event] = []

    # Without polls: the end can come by the websocket only.
    run: PromptRun = client.run(a_graph(), on_event=lambda _, event: heard.append(event))

    file, into = run.outputs[0], io.BytesIO()
    assert client.view(file, into) > 1000
    assert any(isinstance(event, Progress) for event in heard)
    assert client.knows(run.prompt_id)
    assert not client.knows(str(uuid.uuid4()))


def test_who_is_not_let_in_is_told_so_and_nothing_of_what_was_shown(server: Server) -> None:
    with Door(server.url, BASIC) as door:
        client = ComfyClient(f"http://me:wr0ng@{door.host}/ui")

        with pytest.raises(ServerForbids, match="401") as refused:
            client.queue()

    assert refused.value.status == 401
    assert "wr0ng" not in str(refused.value)


def a_picture(folder: Path) -> Path:
    return make_picture(folder / f"{uuid.uuid4().hex}.png")


def a_video(folder: Path) -> Path:
    return make_clip(folder / f"{uuid.uuid4().hex}.mp4")


def a_sound(folder: Path) -> Path:
    path = folder / f"{uuid.uuid4().hex}.wav"
    path.write_bytes(silence())
    return path


class Uploads(ComfyClient):
    """A client that counts what it sends."""

    sent = 0

    def upload_input(self, *args: Any, **options: Any) -> dict[str, Any]:
        self.sent += 1
        return super().upload_input(*args, **options)


@pytest.mark.parametrize("make", [a_picture, a_video, a_sound])
def test_an_input_of_any_kind_is_uploaded_once(
    server: Server, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    media = sniff(path.read_bytes()[:HEAD_BYTES])
    assert media is not None
    client, found = Uploads(server.url), CachedInput(path=path, sha256="", kind=media.kind)

    names = {upload(client, found, "1.image") for _ in range(2)}

    assert names == {f"farm/{path.name}"}
    assert client.sent == 1
    assert client.has_input(path.name, subfolder="farm", size_bytes=path.stat().st_size)
    assert not client.has_input(path.name, subfolder="farm", size_bytes=1)


def silence() -> bytes:
    """A tenth of a second of nothing, as WAV."""
    data = bytes(1600)
    header = b"WAVEfmt " + (16).to_bytes(4, "little") + bytes.fromhex("0100010040 1f0000 401f0000 0100 0800")
    body = header + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body
