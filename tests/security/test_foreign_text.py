"""What others wrote reaches a terminal or a log as text only: every command, every log event, every view."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import RenderableType

from comfy.log.foreign import forgive_encodings, one_line, plain, to_json
from farm.check.finding import Finding
from farm.cli.commands import COMMANDS
from farm.cli.fleet.views import worker_view
from farm.cli.jobs.tracking import Look
from farm.cli.jobs.views import BoardView, JsonView, LineView, View
from farm.cli.main import run
from farm.cli.stack.views import demo_view, news_line, stack_view
from farm.cli.terminal.door import PlainConsole
from farm.cli.terminal.exits import ExitCode
from farm.client import Farm
from farm.job import EventKind, JobEvent, JobRecord, JobState, Progress, ShownText
from farm.local.addresses import PartName
from farm.local.model_files import Renders
from farm.local.state import Passwords, StackState
from farm.local.supervisor import News, PartNews
from farm.logs import JsonFormatter, TextFormatter
from farm.process.identity import ProcessId
from farm.status.worker import WorkerStatus
from farm.store.base import NewEvent, Page
from farm.testing import FolderStorage, MemoryJobStore
from pages.log_events import log_calls
from tests.support.fleet import TEMPLATE, announce, render, wan_graph
from tests.support.jobs import an_error, claimed
from tests.support.spoilt import ACTS, HOSTILE, STORED, spoilt
from tests.support.terminal import MemoryDoor, a_console, text_of

# What rich itself puts beside the text: colours, links, moves of its bars.
RICH = re.compile(r"\x1b\[[\d;]*[mAKGJ]|\x1b\[\?25[lh]|\x1b\]8;[^\x1b]*\x1b\\|\r")
# They run until they are told to end; what they say is asked of their views below.
ENDLESS = {"up", "demo", "steward", "gateway"}

coloured = functools.partial(a_console, colours="truecolor")


class SpoiltStore(MemoryJobStore):
    """A store in which a stranger wrote all that is text."""

    def get(self, job_id: str) -> JobRecord:
        """As its base, spoilt."""
        return _spoilt_job(super().get(job_id))

    def find(self, **given: Any) -> Page:
        """As its base, spoilt."""
        page = super().find(**given)
        return dataclasses.replace(page, jobs=tuple(map(_spoilt_job, page.jobs)))

    def events(self, job_id: str, **given: Any) -> list[JobEvent]:
        """As its base, spoilt."""
        return list(map(_spoilt_event, super().events(job_id, **given)))

    def workers(self) -> list[WorkerStatus]:
        """As its base, spoilt."""
        return [spoilt(status) for status in super().workers()]


def _spoilt_job(job: JobRecord) -> JobRecord:
    bad: JobRecord = spoilt(job)
    bad = dataclasses.replace(bad, spec=dataclasses.replace(bad.spec, graph=job.spec.graph))
    if job.result is None or bad.result is None:
        return bad
    # Its files are there under their own names.
    files = [
        dataclasses.replace(mine, key=own.key)
        for mine, own in zip(bad.result.artifacts, job.result.artifacts, strict=True)
    ]
    result = dataclasses.replace(
        bad.result, artifacts=tuple(files), texts=(ShownText(node_id=HOSTILE, text=HOSTILE),)
    )
    return dataclasses.replace(bad, result=result)


def _spoilt_event(event: JobEvent) -> JobEvent:
    data = {key: value if key == "state" else spoilt(value) for key, value in event.data.items()}
    return dataclasses.replace(event, data={**data, STORED: STORED})


@pytest.fixture
def bad_farm(storage: FolderStorage) -> Callable[[], Farm]:
    """A farm with one job in each state, and a worker with every fact."""
    store = SpoiltStore()
    announce(
        store,
        vram_gib=24,
        state="ready",
        trouble="it does not get on",
        gpu={"name": "RTX 4090", "uuid": "GPU-1", "driver": "600"},
        load_plan={"mode": "high", "flags": ["--highvram"], "reasons": ["it fits"]},
        proof={
            "verdict": "differs",
            "differences": ["VRAM state"],
            "attention": "sdpa",
            "vram_state": "HIGH",
        },
        canary={
            "verdict": "unproven",
            "sentence": "it is another one",
            "traits": [{"trait": "posts", "came": "?"}],
        },
        nvenc={"usable": False, "reason": "no driver"},
        attention_trials={"proven": {"sage": 0.1}, "refused": {"flash": "no kernel"}},
        jobs={"f" * 32: {"phase": "load", "fraction": 0.5}},
        custom_nodes={"KJNodes": {"version": "1", "revision": "abc"}},
        warm_models=["vae/x.safetensors"],
        loads={"vae": {"state": "whole"}},
        attempts_ended={"failed": 2},
        resources={"disk_free_bytes": {"work": 5}},
    )
    there = Farm(store=store, storage=storage)
    for ends in (_fail, _succeed, _cancel, _run):
        job_id = there.submit(
            template=TEMPLATE, parameters={"prompt": "a fox"}, title="a fox", labels=["night"]
        ).job_id
        ends(store, storage, job_id)
    return lambda: Farm(store=store, storage=storage)


def _fail(store: MemoryJobStore, _storage: FolderStorage, job_id: str) -> None:
    claim = claimed(store, job_id)
    store.fail(job_id, claim.attempt, an_error(), retry_in_s=None)


def _succeed(store: MemoryJobStore, storage: FolderStorage, job_id: str) -> None:
    render(store, storage, job_id, emulated=True)


def _cancel(store: MemoryJobStore, _storage: FolderStorage, job_id: str) -> None:
    store.cancel(job_id, reason="no more")


def _run(store: MemoryJobStore, _storage: FolderStorage, job_id: str) -> None:
    claim = claimed(store, job_id)
    store.report(
        job_id,
        claim.attempt,
        events=[
            NewEvent(kind=EventKind.LOG, data={"line": "loading"}),
            NewEvent(kind=EventKind.FINDING, data={"message": "slow"}),
        ],
        progress=Progress(phase="load", fraction=0.1),
    )


def acts(shown: str) -> list[str]:
    """What of that would do something at a terminal; rich's own apart."""
    return ACTS.findall(RICH.sub("", shown))


def bad_graph() -> dict[str, Any]:
    """A graph that can be read, with strange names wherever a graph has names."""
    graph = wan_graph()
    graph[f"[/nope]{HOSTILE}"] = {
        "class_type": f"Some{HOSTILE}",
        "inputs": {
            f"in{HOSTILE}": HOSTILE,
            "image": f"{HOSTILE}.png",
            "model_name": f"{HOSTILE}.safetensors",
        },
        "_meta": {"title": HOSTILE},
    }
    return graph


def calls(folder: Path, job_ids: Sequence[str]) -> dict[str, list[list[str]]]:
    """Each command as somebody may call it: the good way, and one that is refused with the name in it."""
    file = folder / f"g{plain(HOSTILE)[:20].replace('/', '')}.json"
    file.write_text(json.dumps(bad_graph()), encoding="utf-8")
    log = folder / "comfyui.log"
    said = f"got prompt\nWARNING: {HOSTILE}\nRequested to load {HOSTILE}\n{HOSTILE}\n"
    log.write_bytes(said.encode("utf-8", "surrogateescape"))
    named = ["-p", f"{HOSTILE.replace(chr(0), '')}=5"]
    good = ["--template", TEMPLATE, "-p", "prompt=a fox"]
    graph = [str(file)]
    # Those that wait for nothing: the last one runs for ever.
    failed, succeeded, canceled, _ = job_ids
    return {
        "submit": [[*good, "--title", HOSTILE], [*graph], [*good, *named], ["--template", HOSTILE]],
        "watch": [[failed], [succeeded, canceled], [HOSTILE]],
        "ls": [[], ["--json"], ["--label", HOSTILE]],
        "show": [[job] for job in job_ids] + [[failed, "--json"], [HOSTILE]],
        "cancel": [[failed], [HOSTILE]],
        "pause": [[failed], [HOSTILE]],
        "resume": [[failed], [HOSTILE]],
        "priority": [[failed, "--to", "3"], [HOSTILE]],
        "rm": [[failed, "--dry-run"], [HOSTILE]],
        "retry": [["--all-failed", "--dry-run"], [HOSTILE]],
        "pull": [[succeeded, "-o", str(folder / "out")], [failed, "-o", str(folder / "out")], [HOSTILE]],
        "open": [[succeeded], [failed]],
        "validate": [graph, [*good, *named]],
        "inspect": [graph, [*graph, "--json"], [*graph, *named]],
        "lint": [graph, [*graph, "--json"]],
        "plan": [graph, [*graph, "--json"], [*graph, "--gpu", HOSTILE]],
        "optimize": [[*graph, "--explain"], [*graph, "--json"], [*graph, "--worker", HOSTILE]],
        "templates": [[], [HOSTILE], ["--save", str(file), HOSTILE]],
        "workers": [[], ["--json"], [f"{STORED}gpu0@rack"], [HOSTILE]],
        "drain": [[f"{STORED}gpu0@rack"], [HOSTILE], ["--undo", f"{HOSTILE}@"]],
        "queues": [[], ["--json"]],
        "check": [[], ["--json"]],
        "diagnose": [
            [str(log)],
            [str(log), "--json"],
            [str(log), "--card", HOSTILE],
            [succeeded],
            [HOSTILE],
            ["--fleet"],
        ],
        "plan-gpu": [["--gpu", HOSTILE.replace("\0", "")]],
        "clean": [["--dry-run"]],
        "metrics": [["--once"]],
        "webhooks": [["add", HOSTILE], ["rm", HOSTILE], ["rotate", HOSTILE], ["dead", HOSTILE]],
        "keys": [["create", HOSTILE], ["create", "acme", "--label", HOSTILE], ["revoke", HOSTILE]],
        "down": [[]],
        "env": [[]],
    }


def test_every_command_is_tried() -> None:
    assert set(calls(Path("/tmp"), list("abcd"))) == set(COMMANDS) - ENDLESS


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - ENDLESS))
def test_a_command_shows_strange_text_as_text(
    command: str, bad_farm: Callable[[], Farm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [spoilt(Finding(name="Redis", ok=ok, what="it answers", remedy="do")) for ok in (True, False)]
    monkeypatch.setattr("farm.check.every.check_everything", lambda *_given, **_more: findings)
    monkeypatch.setattr("farm.cli.jobs.commands.open_with_system", lambda _url: False)
    ids = [job.job_id for job in bad_farm().list()][::-1]

    for arguments in calls(tmp_path, ids)[command]:
        for terminal in (False, True):
            out, err = (coloured(terminal=terminal) for _ in range(2))
            door = MemoryDoor(make=bad_farm, out=out, err=err, folder=tmp_path / "a\x1b]0;b\x07\n[/c]")
            code = run([command, *arguments], door=door)

            shown = text_of(out) + text_of(err)
            assert code != ExitCode.INTERNAL, shown
            assert acts(shown) == [], arguments
            assert shown or command in ("retry", "watch")


def test_json_says_exactly_what_was_there(bad_farm: Callable[[], Farm]) -> None:
    out = coloured()

    run(["ls", "--json"], door=MemoryDoor(make=bad_farm, out=out, err=coloured()))

    assert {job["title"] for job in json.loads(text_of(out))} == {f"{STORED}a fox"}


def views() -> Iterator[tuple[str, RenderableType]]:
    """What the commands that run for ever show, and a worker with all its facts."""
    state = StackState(
        owner=ProcessId(pid=1, started="now"),
        passwords=Passwords.generate(),
        ports={PartName.VALKEY: 1, PartName.S3: 2, PartName.FLOWER: 3},
        environment={"FARM_REDIS_URL": HOSTILE, "FARM_S3_ENDPOINT_URL": HOSTILE, "FARM_S3_BUCKET": HOSTILE},
        flower_url=HOSTILE,
        flower_user=HOSTILE,
        gateway_url=HOSTILE,
    )
    renders = Renders(by=HOSTILE, emulated=True, command=HOSTILE)
    folder = Path("/tmp") / HOSTILE.replace("\0", "")
    yield "up", stack_view(state, folder, renders, show_password=True)
    yield "news", news_line(PartNews(part=PartName.WORKER, news=News.DIED, detail=HOSTILE))
    status = spoilt(WorkerStatus(name="w", trouble="x", warm_models=("a",)))
    yield "worker", worker_view(status, {HOSTILE: 5})


@pytest.mark.parametrize(("name", "shown"), list(views()))
def test_a_view_shows_strange_text_as_text(name: str, shown: RenderableType) -> None:
    console = coloured(terminal=True)

    console.print(shown)

    assert acts(text_of(console)) == [], name
    assert "[/nope][red]" in text_of(console).replace("\n", "") or name == "up"


def test_the_demo_shows_strange_text_as_text(bad_farm: Callable[[], Farm]) -> None:
    job = next(job for job in bad_farm().list() if job.record.result is not None)
    console = coloured(terminal=True)

    console.print(demo_view(job.result(), [Path(HOSTILE.replace("\0", ""))] * 2))

    assert acts(text_of(console)) == []


@pytest.mark.parametrize("kind", list(EventKind))
@pytest.mark.parametrize("make", [BoardView, LineView, lambda out: JsonView(out, out)])
def test_what_happens_to_a_job_is_one_line_of_text(
    kind: EventKind, make: Callable[[PlainConsole], View], bad_farm: Callable[[], Farm]
) -> None:
    job = next(iter(bad_farm().list())).record
    data = {
        "state": "running",
        "phase": HOSTILE,
        "line": HOSTILE,
        "message": HOSTILE,
        "worker": HOSTILE,
        "reason": HOSTILE,
    }
    if kind is EventKind.PROGRESS:
        data = {"phase": HOSTILE, "fraction": "0.5"}
    event = JobEvent(event_id="1", job_id=job.job_id, at=job.submitted_at, kind=kind, data=data)
    console = coloured(terminal=make is BoardView)

    with make(console) as view:
        look = Look(running=[job], following=[job], held=[job], counts={JobState.RUNNING: 2}, held_count=1)
        view.begin(look, [job])
        view.event(event)
        view.show(look, [job])
        view.finish(look)
        view.note(HOSTILE)

    shown = text_of(console)
    assert acts(shown) == []
    lines = [line for line in shown.splitlines() if line.startswith("farm: all is well")]
    assert len(lines) <= 1  # of the note, which is ours and may have several lines


@pytest.mark.parametrize("form", [TextFormatter(), JsonFormatter()])
def test_a_log_event_is_one_line_whatever_its_facts_hold(form: logging.Formatter) -> None:
    events = {call.event: call for call in log_calls() if call.event is not None}
    assert len(events) > 100

    for event, call in events.items():
        extra = {
            "event": event,
            "fact": HOSTILE,
            "listed": [HOSTILE],
            "told": {HOSTILE: HOSTILE},
            "job_id": HOSTILE,
        }
        record = logging.getLogger("farm").makeRecord(
            "farm", 30, "f", 1, call.sentence, (), None, extra=extra
        )
        line = form.format(record)

        assert len(line.splitlines()) == 1, event
        assert ACTS.findall(line) == []


def test_what_an_exception_says_does_not_look_like_a_record() -> None:
    try:
        raise ValueError(f"a\n2026-01-01T00:00:00.000Z INFO farm: All is well {HOSTILE}")
    except ValueError as exc:
        record = logging.LogRecord("farm", 40, "f", 1, "It failed", (), (type(exc), exc, exc.__traceback__))

    text, as_json = TextFormatter().format(record), JsonFormatter().format(record)

    assert [line for line in text.splitlines()[1:] if not line.startswith("    ")] == []
    assert acts(text.replace("\n", "")) == []
    assert json.loads(as_json)["traceback"].endswith(HOSTILE)


CONTROLS = [
    *range(0x20),
    *range(0x7F, 0xA0),
    0x61C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
]


@pytest.mark.parametrize("code", [*CONTROLS, 0xD800, 0xDFFF])
def test_what_acts_on_a_terminal_becomes_one_other_letter(code: int) -> None:
    assert len(one_line(chr(code))) == 1
    assert ACTS.findall(one_line(chr(code))) == []
    assert plain(chr(code)) == (chr(code) if chr(code) in "\n\t" else one_line(chr(code)))
    assert json.loads(to_json([chr(code)])) == [chr(code)]
    assert ACTS.findall(to_json([chr(code)])) == []


def test_words_of_the_world_stay_as_they_are() -> None:
    for text in ("雪の中の狐", "ثعلب", "שועל", "👩\u200d🚒 naïve – “quoted” 3×4", "क्\u200dष"):
        assert one_line(text) == text


def test_a_terminal_of_few_letters_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    forgive_encodings()

    PlainConsole(file=stream).print("832×480 狐 \udc80")
    stream.flush()

    assert b"832?480" in stream.buffer.getvalue()
