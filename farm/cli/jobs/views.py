"""Jobs in progress on a terminal: bars that move, plain lines for a log, or JSON lines."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Protocol, Self

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from comfy.log.foreign import one_line
from farm.cli.terminal import as_json
from farm.cli.terminal.door import say
from farm.cli.terminal.tables import coloured, progress_words
from farm.cli.terminal.words import clock, seconds
from farm.job import EventKind, JobEvent, JobRecord, JobState, Progress

_PROGRESS: Final = TypeAdapter(Progress)
_LINE_EVERY_S: Final = 1.0  # of plain progress lines of one job


class View(Protocol):
    """Shows what happens to jobs. Used as a context manager."""

    def begin(self, job: JobRecord) -> None:
        """A job to be shown, as it is now."""

    def event(self, event: JobEvent) -> None:
        """Something happened to it."""

    def end(self, job: JobRecord) -> None:
        """It has ended."""

    def note(self, text: str) -> None:
        """A word to the person beside all that."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BarView:
    """A bar for each job: phase, step n of m, seconds a step, time left."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._tasks: dict[str, TaskID] = {}
        self._bars = Bars(
            _Field("job"),
            _Field("doing"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            _Field("pace"),
            console=out,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._bars.stop()

    def begin(self, job: JobRecord) -> None:
        """A new bar."""
        short = job.job_id[:8]
        self._tasks[job.job_id] = self._bars.add_task(
            "", total=1.0, job=f"{short} {job.spec.title}", doing=coloured(job.state), pace=""
        )
        if job.progress is not None:
            self._show(job.job_id, job.progress)

    def event(self, event: JobEvent) -> None:
        """Move the bar."""
        task = self._tasks[event.job_id]
        if event.kind is EventKind.STATE:
            state = JobState(event.data["state"])
            self._bars.update(task, doing=coloured(state), pace="")
            if state is JobState.RUNNING and event.data.get("attempt", 1) > 1:
                self._bars.update(task, completed=0.0)
        elif event.kind is EventKind.PHASE:
            self._bars.update(task, doing=str(event.data.get("phase", "")))
        elif (progress := progress_of(event)) is not None:
            self._show(event.job_id, progress)

    def end(self, job: JobRecord) -> None:
        """Fill the bar, or say why not."""
        why = job.reason or ""
        done = 1.0 if job.state is JobState.SUCCEEDED else None
        task = self._tasks[job.job_id]
        self._bars.update(task, doing=coloured(job.state), pace=why, completed=done)
        self._bars.stop_task(task)

    def note(self, text: str) -> None:
        """A line above the bars."""
        say(self._bars.console, text)

    def _show(self, job_id: str, progress: Progress) -> None:
        steps = f" {progress.step or 0}/{progress.steps}" if progress.steps else ""
        pace = [
            f"{seconds(progress.seconds_per_step)} a step" if progress.seconds_per_step is not None else "",
            f"{seconds(progress.eta_s)} left" if progress.eta_s is not None else "",
        ]
        self._bars.update(
            self._tasks[job_id],
            doing=progress.phase + steps,
            completed=min(max(progress.fraction, 0.0), 1.0),
            pace=", ".join(part for part in pace if part),
        )


class _Field(ProgressColumn):
    """What a bar carries under a name, as it is: rich's own column would read markup in it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def render(self, task: Task) -> Text:
        value = task.fields[self._name]
        return value if isinstance(value, Text) else Text(one_line(value))


class LineView:
    """A line for what happens, when nobody looks on or the output goes to a file."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._told_at: dict[str, float] = {}
        self._told: dict[str, str] = {}  # the last words on each job: a phase and its progress say the same

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def begin(self, job: JobRecord) -> None:
        """Say what it is."""
        self._line(job.job_id, f"{job.spec.title} ({job.state})")

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

    def end(self, job: JobRecord) -> None:
        """Say how it ended."""
        why = f": {job.reason}" if job.reason else ""
        self._line(job.job_id, f"{job.state}{why}")

    def note(self, text: str) -> None:
        """A line of its own."""
        say(self._out, text)

    def _line(self, job_id: str, text: str) -> None:
        say(self._out, one_line(f"{job_id[:8]} {text}"))


class JsonView:
    """Each event as one line of JSON, for programs."""

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._err = err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def begin(self, job: JobRecord) -> None:
        """Nothing: the first event tells it."""

    def event(self, event: JobEvent) -> None:
        """One line."""
        as_json.put_line(self._out, as_json.event(event))

    def end(self, job: JobRecord) -> None:
        """Nothing: the last event told it."""

    def note(self, text: str) -> None:
        """Not among the events."""
        say(self._err, text)


def progress_of(event: JobEvent) -> Progress | None:
    """The progress that an event carries; None when it is something else."""
    if event.kind is not EventKind.PROGRESS:
        return None
    try:
        return _PROGRESS.validate_python(event.data)
    except ValidationError:  # a newer worker says more than this program knows
        return None


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
