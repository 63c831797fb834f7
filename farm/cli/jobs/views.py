"""Jobs in progress on a terminal: a board that moves, plain lines for a log, or JSON lines."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, Self

from pydantic import TypeAdapter, ValidationError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from comfy.log.foreign import one_line
from farm.cli.jobs.tracking import Look
from farm.cli.terminal import as_json
from farm.cli.terminal.door import Door, say
from farm.cli.terminal.pictures import ROWS, Cleared, Picture, Way, drawn
from farm.cli.terminal.tables import STATE_COLOURS, progress_words, took_s, why_held
from farm.cli.terminal.words import clock, seconds
from farm.job import EventKind, JobEvent, JobRecord, JobResult, JobState, Progress
from farm.storage.base import ProgressHook

FEW: Final = 20  # jobs of which each is told by itself
_PROGRESS: Final = TypeAdapter(Progress)
_LINE_EVERY_S: Final = 1.0  # of plain progress lines of one job
_SUM_EVERY_S: Final = 30.0  # of plain lines that sum up many jobs
_BAR_WIDTH: Final = 12
_ID_LENGTH: Final = 8


class View(Protocol):
    """Shows what happens to jobs. Used as a context manager."""

    shows_events: bool  # or only what records say
    shows_previews: bool  # of events then these alone

    def begin(self, look: Look, jobs: Sequence[JobRecord]) -> None:
        """What is watched; the jobs themselves when they are few."""

    def event(self, event: JobEvent) -> None:
        """Something happened to one of them."""

    def show(self, look: Look, ended: Sequence[JobRecord]) -> None:
        """The jobs as they are now, and some of those that ended since."""

    def finish(self, look: Look) -> None:
        """Nothing is left to wait for."""

    def note(self, text: str) -> None:
        """A word to the person beside all that."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_exc: object) -> None: ...


class BoardView:
    """What runs, what comes next, what is held and why, and one line that sums up; what ended leaves it."""

    shows_events = False

    def __init__(self, out: Console, way: Way | None = None) -> None:
        """`way`: how its terminal takes pictures, if it does."""
        self._out = out
        self._way = way
        self._picture: tuple[str, Picture] | None = None  # and whose it is
        self.shows_previews = way is not None
        self._live = Live(console=out, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._live.stop()
        self._clear()

    def begin(self, look: Look, jobs: Sequence[JobRecord]) -> None:
        """A first board, below those of few jobs that have ended already."""
        self.show(look, [job for job in jobs if job.state.final])

    def event(self, event: JobEvent) -> None:
        """The picture that is shown, if it is one: of the rest records say as much."""
        if self._way is None or event.kind is not EventKind.PREVIEW:
            return
        with contextlib.suppress(ValueError):  # no base64: not sent by a worker of ours
            sequence = drawn(self._way, base64.b64decode(str(event.data.get("image"))))
            self._picture = (event.job_id, Picture(sequence)) if sequence else self._picture

    def show(self, look: Look, ended: Sequence[JobRecord]) -> None:
        """The board anew; a line stays for what ended, if it is one of few or did not end well."""
        for job in ended:
            if look.total <= FEW or job.state is not JobState.SUCCEEDED:
                say(self._out, _end_line(job))
        height = self._out.size.height
        of, picture = self._picture or ("", None)
        if picture is not None and height > 2 * ROWS and any(job.job_id == of for job in look.running):
            self._live.update(Group(picture, board(look, height - ROWS)), refresh=True)
        else:
            self._live.update(board(look, height), refresh=True)
            self._clear()  # only now: what is printed draws the board below it anew

    def finish(self, look: Look) -> None:
        """The sum stays, and why some are held."""
        self._live.stop()
        _say_finish(self._out, look)

    def note(self, text: str) -> None:
        """A line above the board."""
        say(self._out, text)

    def _clear(self) -> None:
        if self._picture is not None and self._way is not None:
            self._out.print(Cleared(self._way), end="")
        self._picture = None


def board(look: Look, height: int) -> RenderableType:
    """As many of the jobs as fit on a screen of so many lines, and the sum of all."""
    table = Table.grid(padding=(0, 1), expand=True)
    for ratio in (None, 6, 2, None, None, 3):
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
    # A line for the sum, and one for what is typed next.
    for row, _ in zip(_rows(look), range(max(height - 2, 1)), strict=False):
        table.add_row(*row)
    return Group(table, summary(look)) if table.row_count else summary(look)


def _rows(look: Look) -> Iterator[tuple[RenderableType, ...]]:
    for job in look.running:
        progress = job.progress or Progress(phase="preparing", fraction=0.0)
        done = _shown_fraction(progress)
        pace = [
            f"{seconds(progress.seconds_per_step)} a step" if progress.seconds_per_step is not None else "",
            f"{seconds(progress.eta_s)} left" if progress.eta_s is not None else "",
            f"on {job.worker}",
        ]
        steps = f" {progress.step or 0}/{progress.steps}" if progress.steps else ""
        yield (
            *_name(job),
            Text(one_line(progress.phase + steps), STATE_COLOURS[JobState.RUNNING]),
            ProgressBar(total=1.0, completed=done, width=_BAR_WIDTH),
            Text(f"{done:.0%}".rjust(4)),
            Text(one_line(", ".join(part for part in pace if part))),
        )
    if (more := look.counts.get(JobState.RUNNING, 0) - len(look.running)) > 0:
        yield Text(""), Text(f"… and {more:,} more run")
    for number, job in enumerate(look.following):
        first = "next" if number == 0 else f"then, priority {job.spec.priority}"
        again = f", again from {clock(job.not_before)}" if job.not_before is not None else ""
        yield *_name(job), Text(first + again, STATE_COLOURS[JobState.QUEUED])
    for job in look.held:
        yield *_name(job), Text(one_line(why_held(job)), "magenta")


def _name(job: JobRecord) -> tuple[Text, Text]:
    return Text(job.job_id[:_ID_LENGTH]), Text(one_line(job.spec.title))


def _shown_fraction(progress: Progress) -> float:
    """Only what has ended is whole."""
    return min(max(int(progress.fraction * 100) / 100, 0.0), 0.99)


def summary(look: Look) -> Text:
    """``1,203 of 2,000 done · 4 running · 793 waiting · 2 failed · 3.4 a minute · 3 h 53 min left``."""
    counts = look.counts
    waiting = counts.get(JobState.QUEUED, 0) - look.held_count
    parts = [
        f"{look.done:,} of {look.total:,} done",
        f"{counts.get(JobState.RUNNING, 0):,} running",
        f"{waiting:,} waiting",
        f"{look.held_count:,} held" if look.held_count else "",
        *(
            f"{counts[state]:,} {state}"
            for state in (JobState.FAILED, JobState.CANCELED, JobState.EXPIRED)
            if counts.get(state)
        ),
    ]
    if look.goes_on and look.rate_per_s is not None:
        parts.append(f"{look.rate_per_s * 60:.3g} a minute")
    if look.goes_on and look.eta_s is not None:
        parts.append(f"{seconds(look.eta_s)} left")
    return Text(" · ".join(part for part in parts if part), "bold")


class LineView:
    """A line for what happens, when nobody looks on or the output goes to a file."""

    shows_events = True
    shows_previews = False

    def __init__(self, out: Console) -> None:
        self._out = out
        self._told_at: dict[str, float] = {}
        self._told: dict[str, str] = {}  # the last words on each job: a phase and its progress say the same
        self._summed_at: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def begin(self, look: Look, jobs: Sequence[JobRecord]) -> None:
        """Say what it is."""
        for job in jobs:
            self._line(job.job_id, f"{job.spec.title} ({job.state})")
        self._sum_up(look)

    def event(self, event: JobEvent) -> None:
        """Say what happened; progress once a second at most, in the job's own time."""
        text = _event_words(event)
        if not text or text == self._told.get(event.job_id):
            return
        if event.kind is EventKind.PROGRESS:
            at = event.at.timestamp()
            if at - self._told_at.get(event.job_id, float("-inf")) < _LINE_EVERY_S:
                return
            self._told_at[event.job_id] = at
        self._told[event.job_id] = text
        self._line(event.job_id, f"{clock(event.at)} {text}")

    def show(self, look: Look, ended: Sequence[JobRecord]) -> None:
        """How jobs ended, and of many now and then the sum."""
        for job in ended:
            say(self._out, _end_line(job))
        self._sum_up(look)

    def finish(self, look: Look) -> None:
        """The sum, and why some are held."""
        _say_finish(self._out, look)

    def note(self, text: str) -> None:
        """A line of its own."""
        say(self._out, text)

    def _sum_up(self, look: Look) -> None:
        now = datetime.now(UTC)
        if look.total <= FEW:
            return
        if self._summed_at is None or (now - self._summed_at).total_seconds() >= _SUM_EVERY_S:
            self._summed_at = now
            say(self._out, summary(look))

    def _line(self, job_id: str, text: str) -> None:
        say(self._out, one_line(f"{job_id[:_ID_LENGTH]} {text}"))


class JsonView:
    """Each event as one line of JSON, for programs."""

    shows_events = True
    shows_previews = False

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._err = err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def begin(self, look: Look, jobs: Sequence[JobRecord]) -> None:
        """Nothing: the first events tell it."""

    def event(self, event: JobEvent) -> None:
        """One line."""
        as_json.put_line(self._out, as_json.plain(event))

    def show(self, look: Look, ended: Sequence[JobRecord]) -> None:
        """Nothing: events tell it."""

    def finish(self, look: Look) -> None:
        """The sum is no event."""
        _say_held(self._err, look)

    def note(self, text: str) -> None:
        """Not among the events."""
        say(self._err, text)


@contextlib.contextmanager
def bytes_bar(door: Door, results: Sequence[JobResult], *, json: bool) -> Iterator[ProgressHook]:
    """A bar with rate and time left for the files of these jobs, where somebody looks on."""
    if json or not door.lively:
        yield lambda _: None
        return
    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=door.out, transient=True) as bars:
        total = sum(artifact.size_bytes for result in results for artifact in result.artifacts)
        task = bars.add_task("", total=total)
        yield lambda count: bars.advance(task, count)


def progress_of(event: JobEvent) -> Progress | None:
    """The progress that an event carries; None when it is something else."""
    if event.kind is not EventKind.PROGRESS:
        return None
    try:
        return _PROGRESS.validate_python(event.data)
    except ValidationError:  # a newer worker says more than this program knows
        return None


def _say_finish(out: Console, look: Look) -> None:
    _say_held(out, look)
    if look.total > 1:
        say(out, summary(look))


def _say_held(out: Console, look: Look) -> None:
    for job in look.held:
        say(out, one_line(f"{job.job_id[:_ID_LENGTH]} {job.spec.title}: {why_held(job)}"))
    if (more := look.held_count - len(look.held)) > 0:
        say(out, f"… and {more:,} more are held")


def _end_line(job: JobRecord) -> Text:
    """How a job ended, as a line that stays."""
    how = f": {job.reason}" if job.reason else ""
    if job.state is JobState.SUCCEEDED:
        how = f", 100 % in {seconds(took_s(job))}"
    name = one_line(f"{job.job_id[:_ID_LENGTH]} {job.spec.title}: ")
    return Text.assemble(name, (str(job.state), STATE_COLOURS[job.state]), one_line(how))


def _event_words(event: JobEvent) -> str:
    data: dict[str, Any] = event.data
    match event.kind:
        case EventKind.STATE:
            words = str(data.get("state"))
            words += f" on {data['worker']}" if data.get("worker") else ""
            words += f", attempt {data['attempt']}" if data.get("attempt", 0) > 1 else ""
            return words + (f": {data['reason']}" if data.get("reason") else "")
        case EventKind.PHASE:
            return str(data.get("phase", ""))
        case EventKind.PROGRESS:
            return progress_words(progress_of(event))
        case EventKind.LOG:
            return str(data.get("line", ""))
        case EventKind.FINDING:
            return f"finding: {data.get('message') or data.get('what') or data}"
        case EventKind.PREVIEW | EventKind.OTHER:
            return ""
