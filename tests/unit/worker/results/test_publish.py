"""From files on this disk to a job's result."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy.doctor.clip import ClipLook
from farm.errors import StorageDenied, StorageUnavailable
from farm.storage import StoredFile
from farm.testing import FolderStorage
from tests.support.clips import cut, make_clip, make_picture
from tests.support.jobs import OTHER, TOKEN
from tests.support.secrets_in_files import FILES, graph_text, has_secret
from worker.errors import AttemptStopped, BrokenOutput
from worker.results.publish import LocalOutput, Publisher, key_names

JOB = "0123456789abcdef"


class MoodyStorage(FolderStorage):
    """A storage that calls back before each upload, and may raise there."""

    before_upload: Callable[[str], None] = staticmethod(lambda key: None)

    def upload(self, path: Path, key: str, **given: Any) -> StoredFile:
        self.before_upload(key)
        return super().upload(path, key, **given)


@pytest.fixture
def storage(tmp_path: Path) -> MoodyStorage:
    return MoodyStorage(tmp_path / "store", prefix="team")


@pytest.fixture
def publisher(storage: MoodyStorage) -> Iterator[Publisher]:
    made = Publisher(storage, patience_s=10.0)
    yield made
    made.close()


def output(path: Path, node_id: str = "9") -> LocalOutput:
    return LocalOutput(path=path, node_id=node_id, filename=path.name)


def test_every_output_is_stored_with_its_facts(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "WAN_00001.mp4", frames=17)
    first_frame = make_picture(tmp_path / "WAN_00001.png")

    result = publisher.publish(JOB, OTHER, [output(clip), output(first_frame)], {})

    video, picture = result.artifacts
    prefix = f"team/jobs/{JOB}/{OTHER}/"
    assert result.bucket == "farm"
    assert (video.key, video.media_type) == (prefix + "wan_00001.mp4", "video/mp4")
    assert video.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert video.size_bytes == clip.stat().st_size
    assert video.video is not None
    assert (video.video.frames, video.filename, video.node_id) == (17, "WAN_00001.mp4", "9")
    assert video.poster_key is not None
    assert storage.read_bytes(video.poster_key).startswith(b"\xff\xd8")
    assert (picture.key, picture.media_type) == (prefix + "wan_00001.png", "image/png")
    assert (picture.video, picture.poster_key) == (None, None)
    assert storage.media_types[video.poster_key] == "image/jpeg"


def test_pictures_of_one_node_are_looked_at_as_the_frames_of_a_clip(
    publisher: Publisher, tmp_path: Path
) -> None:
    frames = [make_picture(tmp_path / f"WAN_{number:05}.png") for number in range(1, 6)]
    batch = [make_picture(tmp_path / f"batch_{number}.jpg") for number in range(4)]
    unread = [tmp_path / f"WAN_{number:05}.exr" for number in range(5)]
    for path in unread:
        path.write_bytes(b"v/1\x01")
    outputs = [*map(output, frames), *(output(path, "10") for path in batch)]
    outputs += [output(path, "11") for path in unread]
    seen: list[ClipLook] = []

    publisher.publish(JOB, OTHER, outputs, {}, saw=seen.append)

    assert [(look.name, look.count, len(look.frames)) for look in seen] == [
        ("WAN_00001.png to WAN_00005.png", 5, 5), ("WAN_00000.exr to WAN_00004.exr", 5, 0),
    ]  # fmt: skip


def test_the_manifest_is_written_last_and_tells_everything(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    outputs = [output(make_clip(tmp_path / f"{n}.mp4")) for n in range(3)]
    run = {
        "graph": {"3": {"class_type": "KSampler", "inputs": {"cfg": math.nan}}},
        "worker": {"name": "gpu0"},
    }

    result = publisher.publish(JOB, TOKEN, outputs, run, timings=lambda: {"execute": 1.5})

    assert storage.writes[-1] == result.manifest_key == f"team/jobs/{JOB}/{TOKEN}/manifest.json"
    manifest = json.loads(storage.read_bytes(result.manifest_key))
    assert manifest["worker"] == {"name": "gpu0"}
    assert manifest["graph"]["3"]["inputs"]["cfg"] == "NaN"
    assert manifest["timings_s"]["execute"] == 1.5
    assert [entry["sha256"] for entry in manifest["artifacts"]] == [a.sha256 for a in result.artifacts]
    assert manifest["artifacts"][0]["video"]["codec"] == "h264"
    assert result.timings_s.keys() == {"check", "upload", "execute"}


def test_the_manifest_holds_no_secret_of_a_presigned_input(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    run = {"inputs": {"12.image": "https://user:pw@host/a.png?X-Amz-Signature=secret"}}

    result = publisher.publish(JOB, TOKEN, [output(make_clip(tmp_path / "a.mp4"))], run)

    manifest = json.loads(storage.read_bytes(result.manifest_key))
    assert manifest["inputs"] == {"12.image": "https://host/a.png"}


@pytest.mark.parametrize("emulated", [True, False])
def test_the_result_says_whether_it_was_emulated(
    publisher: Publisher, tmp_path: Path, emulated: bool
) -> None:
    clip = make_clip(tmp_path / "a.mp4")

    result = publisher.publish(JOB, TOKEN, [output(clip)], {"worker": {"emulated": emulated}})

    assert result.emulated is emulated


def test_a_broken_output_leaves_nothing_in_the_storage(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    whole, broken = make_clip(tmp_path / "a.mp4"), cut(make_clip(tmp_path / "b.mp4", frames=33), 0.5)

    with pytest.raises(BrokenOutput, match=r"b\.mp4"):
        publisher.publish(JOB, TOKEN, [output(whole), output(broken)], {})

    assert list(storage.list()) == []


def test_progress_counts_all_bytes(publisher: Publisher, tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{n}.mp4") for n in range(3)]
    seen: list[tuple[int, int]] = []

    publisher.publish(JOB, TOKEN, [output(clip) for clip in clips], {}, progress=lambda *at: seen.append(at))

    total = sum(clip.stat().st_size for clip in clips)
    assert max(seen) == (total, total)


def test_a_storage_that_is_away_for_a_while_is_waited_for(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    refusals = iter(range(2))

    def refuse_twice(key: str) -> None:
        if next(refusals, None) is not None:
            raise StorageUnavailable("s3", "503 SlowDown")

    storage.before_upload = refuse_twice

    result = publisher.publish(JOB, TOKEN, [output(make_clip(tmp_path / "a.mp4"))], {})

    assert next(refusals, None) is None
    assert storage.exists(result.artifacts[0].key)


def test_a_storage_that_stays_away_is_given_up_and_the_file_kept(
    storage: MoodyStorage, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    storage.broken = StorageUnavailable("s3", "gone")
    publisher = Publisher(storage, patience_s=0.1)

    with pytest.raises(StorageUnavailable, match="gone"):
        publisher.publish(JOB, TOKEN, [output(clip)], {})

    assert clip.exists()
    publisher.close()


def test_wrong_credentials_are_not_tried_again(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    tries = []

    def refuse(key: str) -> None:
        tries.append(key)
        raise StorageDenied("s3", "wrong secret")

    storage.before_upload = refuse

    with pytest.raises(StorageDenied):
        publisher.publish(JOB, TOKEN, [output(make_clip(tmp_path / "a.mp4"))], {})

    assert len(tries) == 1


def test_a_stop_ends_it_at_once_although_the_storage_is_silent(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    stop, answers = threading.Event(), threading.Event()

    def be_silent(_key: str) -> None:
        stop.set()
        answers.wait(60)

    storage.before_upload = be_silent
    clip = make_clip(tmp_path / "a.mp4")

    with pytest.raises(AttemptStopped):
        publisher.publish(JOB, TOKEN, [output(clip)], {}, stop=stop)

    assert not answers.is_set()
    assert clip.exists()
    answers.set()


def test_a_stop_ends_the_wait_for_a_storage_that_is_away(storage: MoodyStorage, tmp_path: Path) -> None:
    stop = threading.Event()

    def refuse(key: str) -> None:
        stop.set()
        raise StorageUnavailable("s3", "gone")

    storage.before_upload = refuse
    publisher = Publisher(storage, patience_s=1000.0)

    with pytest.raises(AttemptStopped):
        publisher.publish(JOB, TOKEN, [output(make_clip(tmp_path / "a.mp4"))], {}, stop=stop)

    publisher.close()


def test_discarding_an_attempt_spares_the_others(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    kept = publisher.publish(JOB, OTHER, [output(clip)], {})
    publisher.publish(JOB, TOKEN, [output(clip)], {})

    publisher.discard(JOB, TOKEN)

    assert storage.exists(kept.manifest_key)
    assert list(storage.list(f"team/jobs/{JOB}/{TOKEN}/")) == []


def test_discarding_never_fails(publisher: Publisher, storage: MoodyStorage) -> None:
    storage.broken = StorageUnavailable("s3", "gone")

    publisher.discard(JOB, TOKEN)


def test_outputs_of_one_name_get_different_keys() -> None:
    names = ["a.mp4", "a.mp4", "A.mp4", "a.mp4.poster.jpg", "manifest.json"]
    outputs = [LocalOutput(path=Path(name), node_id="9", filename=name) for name in names]

    keys = key_names(outputs)

    posters = {key + ".poster.jpg" for key in keys}
    assert len(set(keys)) == 5
    assert not posters & set(keys)
    assert "manifest.json" not in keys
    assert keys[:2] == ["a.mp4", "9-a.mp4"]


@pytest.mark.parametrize(
    "kind", ["mp4 as SaveVideo writes it", "webm of AV1", "animated webp", "png", "latent"]
)
def test_no_prompt_is_published_unless_it_is_kept(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path, kind: str
) -> None:
    name, make = FILES[kind]
    kept = output(make(tmp_path / f"kept-{name}", graph_text()))
    clean = output(make(tmp_path / f"clean-{name}", graph_text()))

    with_prompt = publisher.publish(JOB, "kept", [kept], {}, keep_metadata=True)
    without = publisher.publish(JOB, "clean", [clean], {})

    assert has_secret(storage.read_bytes(with_prompt.artifacts[0].key))
    content = storage.read_bytes(without.artifacts[0].key)
    assert not has_secret(content)
    assert without.artifacts[0].sha256 == hashlib.sha256(content).hexdigest()
    for result, state in ((with_prompt, "kept"), (without, "removed")):
        manifest = json.loads(storage.read_bytes(result.manifest_key))
        assert manifest["artifacts"][0]["metadata"] == {"state": state, "why": None}


def test_the_manifest_says_where_a_graph_could_not_be_taken_out(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    path = tmp_path / "scene.ply"
    path.write_text("ply\n" + graph_text())

    result = publisher.publish(JOB, "kept", [output(path)], {})

    told = json.loads(storage.read_bytes(result.manifest_key))["artifacts"][0]["metadata"]
    assert told["state"] == "left"
    assert "a graph stands in it" in told["why"]


def test_a_file_that_a_node_linked_from_elsewhere_is_not_changed_there(
    publisher: Publisher, storage: MoodyStorage, tmp_path: Path
) -> None:
    name, make = FILES["mp4 as SaveVideo writes it"]
    given = make(tmp_path / name, graph_text())
    before = given.read_bytes()
    linked = tmp_path / "out.mp4"
    linked.hardlink_to(given)

    result = publisher.publish(JOB, "kept", [output(linked)], {})

    assert given.read_bytes() == before
    assert not has_secret(storage.read_bytes(result.artifacts[0].key))
