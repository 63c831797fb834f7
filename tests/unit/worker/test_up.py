"""One worker for each card."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from farm.process.restart import Backoff
from tests.support.cards import CARD
from tests.support.valkey import eventually
from worker.errors import GpuUnusable
from worker.gpu.card import GpuCard
from worker.up import Post, Respawner, posts_for

DATA = Path("/data")


def card(index: int, uuid: str, parent: str | None = None) -> GpuCard:
    return replace(CARD, index=index, uuid=uuid, name="RTX 4090", parent_uuid=parent)


CARDS = [card(0, "GPU-aa"), card(1, "MIG-b1", "GPU-bb"), card(1, "MIG-b2", "GPU-bb"), card(2, "GPU-cc")]


def posts(*wanted: str, cards: list[GpuCard] = CARDS, count: int = 1) -> list[Post]:
    return posts_for(cards, wanted=wanted, count=count, host="rack", data_dir=DATA)


def test_each_card_and_each_slice_has_a_worker_of_its_own() -> None:
    assert [(post.name, post.variables["CUDA_VISIBLE_DEVICES"]) for post in posts()] == [
        ("gpu0@rack", "GPU-aa"),
        ("gpu1-mig0@rack", "MIG-b1"),
        ("gpu1-mig1@rack", "MIG-b2"),
        ("gpu2@rack", "GPU-cc"),
    ]
    assert posts()[0].variables["FARM_WORKER_DIR"] == "/data/gpu0"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (("0", "2"), ["gpu0@rack", "gpu2@rack"]),
        (("1",), ["gpu1-mig0@rack", "gpu1-mig1@rack"]),
        (("gpu-cc",), ["gpu2@rack"]),
        (("MIG-b2",), ["gpu1-mig1@rack"]),
    ],
)
def test_the_cards_that_are_asked_for_keep_their_names(wanted: tuple[str, ...], names: list[str]) -> None:
    assert [post.name for post in posts(*wanted)] == names


def test_a_card_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(GpuUnusable, match=r"no card '7'.*0 = GPU-aa.*--gpus"):
        posts("0", "7")


def test_a_machine_without_a_card_has_as_many_as_are_asked_for() -> None:
    found = posts(cards=[], count=2)

    assert [post.name for post in found] == ["worker0@rack", "worker1@rack"]
    assert "CUDA_VISIBLE_DEVICES" not in found[0].variables


def test_one_that_dies_is_started_again_and_the_other_is_not_touched(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, time; f = pathlib.Path(os.environ['MARK']);"
        "f.write_text(f.read_text() + 'x' if f.exists() else 'x');"
        "time.sleep(0 if f.name == 'dying' else 60)"
    )
    respawners = [
        Respawner(
            Post(name=name, variables={"MARK": str(tmp_path / name)}),
            [sys.executable, "-c", script],
            grace_s=1.0,
            environ=os.environ,
            backoff=Backoff(first_s=0.05, longest_s=60.0),
        )
        for name in ("dying", "steady")
    ]
    for respawner in respawners:
        respawner.start()

    def starts(name: str) -> int:
        mark = tmp_path / name
        return len(mark.read_text()) if mark.exists() else 0

    eventually(lambda: starts("dying") >= 2 and starts("steady") == 1, within_s=20)

    for respawner in respawners:
        respawner.stop()
    assert starts("steady") == 1


def test_one_whose_set_up_is_wrong_is_told_with_its_last_words_and_tried_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    respawner = Respawner(
        Post(name="wrong", variables={}),
        [sys.executable, "-c", "print('no S3 bucket is named'); raise SystemExit(78)"],
        grace_s=1.0,
        environ=os.environ,
        backoff=Backoff(first_s=0.05, longest_s=60.0),
    )

    respawner.start()
    eventually(lambda: respawner.refused)
    respawner.stop()

    (told,) = [record for record in caplog.records if record.__dict__.get("event") == "worker_ended"]
    assert told.__dict__["reason"] == "wrong ended with code 78; its last lines:\n  no S3 bucket is named"
    assert told.__dict__["in_s"] == 60.0
