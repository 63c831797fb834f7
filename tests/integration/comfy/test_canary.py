"""A canary flies through servers as they are, and through servers from the future."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comfy.canary.flight import run_canary
from comfy.canary.graphs import FOLDER, chain
from comfy.canary.report import CanaryReport, Seen, Trait, Verdict
from comfy.canary.waiting import CanaryLimits
from comfy.generations import NEWEST, Generation
from comfy.protocol.client import ComfyClient
from farm.check.comfyui import check_server
from tests.integration.comfy.conftest import Server

QUICK = CanaryLimits(queue_s=0.3, run_s=6.0, answer_s=3.0)
# A server acts on a cancel a moment after its answer, and later where others compute.
UNTIL_IT_STOPS = replace(QUICK, neighbour_s=60.0)


@pytest.fixture(scope="module")
def newest(start_lasting_emulator: Callable[..., Server]) -> Server:
    """An emulator of the newest generation: what the future begins with."""
    return start_lasting_emulator("--generation", NEWEST.version)


@pytest.fixture
def emulator(newest: Server) -> Iterator[Server]:
    """The same, behaving as a known server until it is told otherwise."""
    yield newest
    newest.behave()


@pytest.fixture
def fly() -> Iterator[Callable[..., CanaryReport]]:
    """Send a canary through a server, whose output folder is on this disk."""
    clients: list[ComfyClient] = []

    def send(server: Server, **how: Any) -> CanaryReport:
        clients.append(ComfyClient(server.url))
        return run_canary(clients[-1], **{"output_dir": server.output, **how})

    yield send
    for client in clients:
        client.close()


# --- servers as they are ---


def test_every_trait_holds_on_a_server_that_is_known(
    server: Server, fly: Callable[..., CanaryReport]
) -> None:
    report = fly(server)

    failed = [str(row) for row in report.rows if row.seen is Seen.FAILED]
    assert failed == []
    assert report.verdict is Verdict.PROVEN
    unseen = {row.trait for row in report.rows if row.seen is Seen.NOT_SEEN}
    assert unseen <= {Trait.CLEAN_UP}  # the folder of previews was not named
    version = server.ask("/system_stats")["system"]["comfyui_version"]
    assert report.taken_for == Generation.of(version).version
    assert report.sentence.startswith(f"ComfyUI {version}: protocol as {report.taken_for}; log: ")


def test_a_file_is_read_over_http_where_the_disk_is_not_shared(
    server: Server, fly: Callable[..., CanaryReport]
) -> None:
    report = fly(server, output_dir=None)

    row = report.row(Trait.OUTPUT)
    assert row is not None
    assert row.seen is Seen.HELD
    assert "by /view" in row.came


def test_another_output_folder_than_the_servers_is_found_out(
    emulator: Server, fly: Callable[..., CanaryReport], tmp_path: Path
) -> None:
    report = fly(emulator, output_dir=tmp_path)

    assert [row.trait for row in report.broken] == [Trait.OUTPUT]
    assert "not in the output folder" in report.sentence


def test_nothing_of_it_stays_behind(server: Server, fly: Callable[..., CanaryReport]) -> None:
    history, files = server.ask("/history"), set((server.output / FOLDER).rglob("*"))

    fly(server)

    assert set((server.output / FOLDER).rglob("*")) == files
    assert server.ask("/history").keys() == history.keys()
    assert server.ask("/queue") == {"queue_running": [], "queue_pending": []}


def test_a_history_that_is_faster_than_the_messages_is_no_fault_of_theirs(
    emulator: Server, fly: Callable[..., CanaryReport]
) -> None:
    emulator.differ("late_messages=1")

    report = fly(emulator)

    assert report.verdict is Verdict.PROVEN, report.sentence


def test_a_second_canary_is_not_answered_from_the_cache(
    server: Server, fly: Callable[..., CanaryReport]
) -> None:
    assert [fly(server).verdict for _ in range(2)] == [Verdict.PROVEN, Verdict.PROVEN]


def test_two_canaries_at_a_time_do_not_disturb_each_other(
    emulator: Server, fly: Callable[..., CanaryReport]
) -> None:
    reports: list[CanaryReport] = []
    flights = [threading.Thread(target=lambda: reports.append(fly(emulator))) for _ in range(2)]
    for flight in flights:
        flight.start()
    for flight in flights:
        flight.join()

    assert [report.broken for report in reports] == [(), ()]


def test_on_a_busy_server_it_gives_up_its_place_and_leaves_the_others_alone(
    emulator: Server, fly: Callable[..., CanaryReport]
) -> None:
    theirs = [str(uuid.uuid4()) for _ in range(2)]
    client = ComfyClient(emulator.url)
    for prompt_id in theirs:
        client.submit(chain(576, "theirs"), prompt_id=prompt_id, client_id="somebody")

    report = fly(emulator, limits=QUICK)

    queue = client.queue()
    client.close()
    assert report.verdict is Verdict.BUSY
    assert "not proven yet" in report.sentence
    assert [item[1] for item in (*queue["queue_running"], *queue["queue_pending"])] == theirs


def test_it_waits_its_turn_behind_others(emulator: Server, fly: Callable[..., CanaryReport]) -> None:
    client = ComfyClient(emulator.url)
    theirs = str(uuid.uuid4())
    client.submit(chain(64, "theirs"), prompt_id=theirs, client_id="somebody")

    report = fly(emulator)

    assert report.verdict is Verdict.PROVEN
    assert client.history(theirs)[theirs]["status"]["status_str"] == "success"
    client.close()


def test_a_server_that_dies_under_it_is_told_as_such(
    doomed: Server, fly: Callable[..., CanaryReport]
) -> None:
    doomed.misbehave("exit", node="SaveImage", exit_code=3)

    report = fly(doomed, limits=QUICK)

    assert report.verdict is Verdict.UNUSABLE
    # Which one depends on whether the answer to the post was still on its way.
    assert {Trait.POST, Trait.HISTORY} & {row.trait for row in report.broken}


# --- servers from the future ---

NEEDED = [
    ("no_route=/prompt", Trait.POST),
    ("refused_id", Trait.POST),
    ("own_id", Trait.POST),
    ("no_route=/history", Trait.HISTORY),
    ("other_history", Trait.HISTORY),
    ("other_status", Trait.HISTORY),
    ("other_files", Trait.OUTPUT),
    ("no_types", Trait.TEMP),
    ("no_route=/queue,/jobs", Trait.QUEUE),
    ("other_queue no_route=/jobs", Trait.QUEUE),
    ("other_jobs", Trait.QUEUE),
    ("no_route=/object_info", Trait.NODES),
    ("other_nodes", Trait.NODES),
    ("wide_cancel", Trait.CANCEL_ALONE),
]
INFORMING = [
    ("no_route=/system_stats", Trait.VERSION),
    ("no_socket", Trait.EVENTS),
    ("other_messages", Trait.EVENTS),
    ("other_messages", Trait.PROGRESS),
    ("ignores_cancel", Trait.CANCEL_QUEUED),
    ("ignores_cancel", Trait.CANCEL_RUNNING),
    ("no_route=/internal/logs", Trait.LOG),
]


@pytest.mark.parametrize(("way", "trait"), NEEDED, ids=[way for way, _ in NEEDED])
def test_what_jobs_need_and_the_future_lacks_makes_a_server_unusable(
    emulator: Server, fly: Callable[..., CanaryReport], way: str, trait: Trait
) -> None:
    emulator.differ("version", *way.split())

    report = fly(emulator, limits=UNTIL_IT_STOPS if trait is Trait.CANCEL_ALONE else QUICK)

    assert report.verdict is Verdict.UNUSABLE
    row = report.row(trait)
    assert row is not None
    assert row.is_broken
    assert row.came
    assert f"{trait}: expected {row.expected}; came {row.came}" in report.sentence


@pytest.mark.parametrize("way", ["no_route=/jobs", "no_route=/queue", "no_route=/features"])
def test_a_route_for_which_there_is_another_one_is_not_missed(
    emulator: Server, fly: Callable[..., CanaryReport], way: str
) -> None:
    emulator.differ(way)

    assert fly(emulator).verdict is Verdict.PROVEN


@pytest.mark.parametrize(("way", "trait"), INFORMING, ids=[f"{way}-{trait}" for way, trait in INFORMING])
def test_what_only_informs_leaves_a_server_usable_and_unproven(
    emulator: Server, fly: Callable[..., CanaryReport], way: str, trait: Trait
) -> None:
    emulator.differ(way)

    report = fly(emulator, limits=QUICK)

    assert report.verdict is Verdict.UNPROVEN
    assert trait in {row.trait for row in report.strange}
    assert report.broken == ()


def test_a_newer_server_that_only_says_more_is_taken_for_the_newest_generation(
    emulator: Server, fly: Callable[..., CanaryReport]
) -> None:
    emulator.differ("version=0.99.0", "more_fields", "more_messages")

    report = fly(emulator)

    assert report.verdict is Verdict.PROVEN, report.sentence
    assert report.is_newer
    assert report.sentence.startswith(
        f"ComfyUI 0.99.0: protocol as {NEWEST}, being newer than all that is known; log: "
    )


def test_farm_check_sends_one_through_the_server_that_it_is_told(emulator: Server) -> None:
    emulator.differ("version", "no_route=/history")

    version, canary = check_server(emulator.url, output=emulator.output)

    assert version.ok
    assert "0.99.0" in version.what
    assert canary.blocks
    assert "cannot be used; history: expected" in canary.what


def test_a_log_in_another_dress_is_counted(
    start_emulator: Callable[..., Server], fly: Callable[..., CanaryReport]
) -> None:
    report = fly(start_emulator("--future", "log_prefix"))

    assert report.verdict is Verdict.UNPROVEN
    assert [row.trait for row in report.strange] == [Trait.LOG]
    assert "log: 0 of 4 lines known" in report.sentence
