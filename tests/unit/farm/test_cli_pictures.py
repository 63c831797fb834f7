"""Previews on a terminal: only where it takes pictures, and nothing of what a node sent reaches it."""

from __future__ import annotations

import base64
import io
import re
from datetime import UTC, datetime

import pytest
from PIL import Image

from farm.cli.jobs.tracking import Tracker
from farm.cli.jobs.views import BoardView
from farm.cli.jobs.watching import watch_jobs
from farm.cli.terminal.pictures import ROWS, Way, drawn, way_of
from farm.job import EventKind, JobEvent, Progress
from farm.store.base import NewEvent
from farm.testing import MemoryJobStore
from tests.support.jobs import a_job, a_result
from tests.support.terminal import a_console, text_of

# All that may stand in a picture of each way: its frame, numbers, and base64 or sixels.
FORM = {
    Way.KITTY: r"(\x1b_G[a-zA-Z0-9=,]+;[A-Za-z0-9+/=]*\x1b\\)+",
    Way.ITERM: r"\x1b\]1337;File=inline=1;height=8;preserveAspectRatio=1:[A-Za-z0-9+/=]+\x07",
    Way.SIXEL: r'\x1bPq"1;1;\d+;\d+[#0-9;?-~$-]+\x1b\\',
}


def a_picture(kind: str = "JPEG", size: tuple[int, int] = (96, 64)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "orange").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("environ", "way"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "dumb", "TERM_PROGRAM": "vscode"}, None),
        ({"TERM": "xterm-kitty"}, Way.KITTY),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Way.ITERM),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Way.ITERM),
        ({"TERM": "foot-extra"}, Way.SIXEL),
    ],
)
def test_how_a_terminal_takes_pictures_follows_from_its_variables(
    environ: dict[str, str], way: Way | None
) -> None:
    assert way_of(environ) is way


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_its_frame_and_nothing_that_acts_on_a_terminal(way: Way, kind: str) -> None:
    assert re.fullmatch(FORM[way], drawn(way, a_picture(kind)))


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize(
    "sent", [b"", b"\x1b]0;owned\x07", a_picture()[:40], a_picture("GIF"), b"\xff\xd8" + b"x" * 500]
)
def test_what_is_no_picture_draws_nothing(way: Way, sent: bytes) -> None:
    assert drawn(way, sent) == ""


def test_the_board_has_the_picture_of_a_job_while_it_runs(store: MemoryJobStore) -> None:
    terminal = a_console(terminal=True, width=120, colours=None)
    job_id = store.submit([a_job()])[0].job_id
    store.claim(job_id, worker="w1")
    data = {"image": base64.b64encode(a_picture()).decode(), "media_type": "image/jpeg", "node_id": "57"}
    shown = JobEvent(event_id="1", job_id=job_id, at=datetime.now(UTC), kind=EventKind.PREVIEW, data=data)
    tracker = Tracker(store, [job_id])

    with BoardView(terminal, Way.KITTY) as view:
        view.event(shown)
        view.show(tracker.look(), [])
        running = text_of(terminal)
        store.succeed(job_id, 1, a_result())
        view.show(tracker.look(), [])
        ended = text_of(terminal)[len(running) :]

    assert running.count("\x1b_Ga=T") == 1
    assert f"\x1b[{ROWS}A" in running
    assert "\x1b_Ga=T" not in ended
    assert "\x1b_Ga=d" in ended


def test_a_watch_reads_previews_only_for_a_terminal_that_shows_them(
    store: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = store.submit([a_job()])[0].job_id
    store.claim(job_id, worker="w1")
    data = {"image": base64.b64encode(a_picture()).decode(), "media_type": "image/jpeg", "node_id": "57"}
    sent = [NewEvent(kind=EventKind.PREVIEW, data=data)]
    store.report(job_id, 1, sent, progress=Progress(phase="vae", fraction=0.5))
    monkeypatch.setattr("farm.cli.jobs.watching.time.sleep", lambda _: store.succeed(job_id, 1, a_result()))
    terminal = a_console(terminal=True, width=120, colours=None)

    watch_jobs(store, [job_id], BoardView(terminal, None))

    assert "\x1b_G" not in text_of(terminal)
