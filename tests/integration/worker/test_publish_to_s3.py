"""A render's files on a real S3 server, and back through its links."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from pathlib import Path
from urllib.request import urlopen

from farm.settings.s3 import S3Settings
from farm.storage import S3Patience, S3Storage
from tests.support.clips import make_clip
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.jobs import TOKEN
from tests.support.s3 import S3Server
from worker.results.media import probe
from worker.results.publish import LocalOutput, Publisher

JOB = "0123456789abcdef"


def test_a_published_clip_plays_from_its_link(s3_settings: S3Settings, tmp_path: Path) -> None:
    storage = S3Storage(s3_settings)
    publisher = Publisher(storage)
    clip = make_clip(tmp_path / "WAN_00001.mp4", frames=17)

    result = publisher.publish(
        JOB, TOKEN, [LocalOutput(path=clip, node_id="9", filename=clip.name)], {"worker": {"emulated": True}}
    )

    artifact = result.artifacts[0]
    with urlopen(storage.url(artifact.key, expires_s=60)) as answer:
        (tmp_path / "back.mp4").write_bytes(answer.read())
        assert answer.headers["Content-Type"] == "video/mp4"
    assert probe(tmp_path / "back.mp4") == artifact.video
    assert hashlib.sha256((tmp_path / "back.mp4").read_bytes()).hexdigest() == artifact.sha256
    manifest = json.loads(storage.read_bytes(result.manifest_key))
    assert manifest["artifacts"][0]["key"] == artifact.key
    assert result.emulated
    publisher.close()
    storage.close()


def test_a_server_that_comes_back_gets_the_clip(s3_server: S3Server, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "WAN_00001.mp4")
    with FaultProxy(s3_server.host, s3_server.port) as proxy:
        proxy.mode = Mode.REFUSE
        storage = S3Storage(
            s3_server.settings(endpoint_url=proxy.url, prefix=f"t{uuid.uuid4().hex[:12]}"),
            patience=S3Patience(connect_s=1.0, silence_s=5.0, attempts=1),
        )
        publisher = Publisher(storage, patience_s=60.0)
        back = threading.Thread(target=_heal_after_tries, args=(proxy,))
        back.start()

        result = publisher.publish(JOB, TOKEN, [LocalOutput(path=clip, node_id="9", filename=clip.name)], {})

        back.join()
        assert storage.read_bytes(result.artifacts[0].key) == clip.read_bytes()
        publisher.close()
        storage.close()


def _heal_after_tries(proxy: FaultProxy) -> None:
    seen = threading.Event()
    while proxy.connections < 2:
        seen.wait(0.02)
    proxy.mode = Mode.PASS
