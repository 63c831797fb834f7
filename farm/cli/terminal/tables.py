"""Jobs, workers, queues and findings as people read them. No decisions here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farm.asking.selection import values_of
from farm.check.finding import Finding
from farm.cli.terminal.asked import what_is_asked
from farm.cli.terminal.words import clock, seconds, size
from farm.job import Artifact, AttemptNote, JobRecord, JobResult, JobState, Progress
from farm.store.base import Counts

STATE_COLOURS: Final = {
    JobState.QUEUED: "cyan",
    JobState.RUNNING: "yellow",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELED: "magenta",
    JobState.EXPIRED: "magenta",
}
_OK, _NOTE, _BAD = Text("ok", "green"), Text("note", "yellow"), Text("bad", "red")
EMULATED: Final = "EMULATED: drawn by the farm's stand-in for ComfyUI; no WAN model has seen this prompt"


def coloured(state: JobState) -> Text:
    """The state's name in its colour."""
    return Text(state, STATE_COLOURS[state])


def progress_words(progress: Progress | None) -> str:
    """``sample_high 3/10, 1.20 s a step, 8.4 s left``."""
    if progress is None:
        return ""
    words = progress.phase
    if progress.steps:
        words += f" {progress.step or 0}/{progress.steps}"
    if progress.seconds_per_step is not None:
        words += f", {seconds(progress.seconds_per_step)} a step"
    if progress.eta_s is not None:
        words += f", {seconds(progress.eta_s)} left"
    return words


def why_held(job: JobRecord) -> str:
    """Why nothing runs a queued job for now; empty for one that is not held."""
    if job.paused_at is not None:
        return "paused"
    return f"parked: {job.parked}" if job.parked is not None else ""


def _what(job: JobRecord) -> str:
    if held := why_held(job):
        return held
    return progress_words(job.progress) if job.state is JobState.RUNNING else _first_line(job)


COLUMNS: Final[Mapping[str, Callable[[JobRecord], str | Text]]] = {
    "job": lambda job: job.job_id[:12],
    "state": lambda job: coloured(job.state),
    "submitted": lambda job: clock(job.submitted_at),
    "took": lambda job: seconds(took_s(job)),
    "p": lambda job: str(job.spec.priority),
    "title": lambda job: job.spec.title,
    "what": _what,
    "labels": lambda job: " ".join(job.spec.labels),
    "started": lambda job: clock(job.started_at),
    "finished": lambda job: clock(job.finished_at),
}
DEFAULT_COLUMNS: Final = "job,state,submitted,took,p,title,what"


def jobs_table(jobs: Iterable[JobRecord], columns: Sequence[str]) -> Table:
    """One line for each job; a column that is none of `COLUMNS` shows the parameter of that name."""
    table = plain_table(*columns)
    for job in jobs:
        table.add_row(*(COLUMNS[name](job) if name in COLUMNS else _parameter(job, name) for name in columns))
    return table


def _parameter(job: JobRecord, name: str) -> str:
    return ", ".join(dict.fromkeys("" if value is None else str(value) for value in values_of(job, name)))


def job_view(job: JobRecord) -> RenderableType:
    """All that matters of one job."""
    parts: list[RenderableType] = [_facts_table(job)]
    if job.attempts:
        parts.append(_attempts_table(job.attempts))
    if job.result is not None:
        parts.append(result_view(job.result))
    return Group(*parts)


def result_view(result: JobResult) -> RenderableType:
    """The files of a job, and where they are."""
    parts: list[RenderableType] = []
    if result.emulated:
        parts.append(Text(f" {EMULATED} ", "bold black on yellow"))
    table = plain_table("file", "what", "size")
    for artifact in result.artifacts:
        table.add_row(artifact.key, video_words(artifact), size(artifact.size_bytes))
    parts += [table, f"bucket {result.bucket}, manifest {result.manifest_key}"]
    for shown in result.texts:
        more = " … (the manifest has all of it)" if shown.cut else ""
        parts.append(f"text of node {shown.node_id}: {shown.text}{more}")
    if result.timings_s:
        parts.append("timings: " + ", ".join(f"{k} {seconds(v)}" for k, v in result.timings_s.items()))
    return Group(*parts)


def video_words(artifact: Artifact) -> str:
    """``h264 832×480, 81 frames at 16 fps, 5.06 s``."""
    video = artifact.video
    if video is None:
        return artifact.media_type
    frames = f"{video.frames} frames at {video.fps:g} fps"
    return f"{video.codec} {video.width}×{video.height}, {frames}, {seconds(video.duration_s)}"


def queues_table(counts: Counts) -> RenderableType:
    """Waiting jobs by VRAM class and priority, and all jobs by state."""
    table = plain_table("queue", "priority", "waiting")
    for each in sorted(counts.waiting, key=lambda each: (each.queue, each.priority)):
        table.add_row(each.queue, str(each.priority), f"{each.waiting:,}")
    states = Text(", ").join(
        Text.assemble(coloured(state), f" {counts.by_state.get(state, 0):,}")
        for state in JobState
        if counts.by_state.get(state)
    )
    parked = f"; {counts.parked:,} of the queued are parked: no live worker fits" if counts.parked else ""
    return Group(table, Text.assemble("all jobs: ", states or "none", parked))


def findings_table(findings: Sequence[Finding]) -> Table:
    """What was looked at, and what to do."""
    table = plain_table("", "what", "found")
    for finding in findings:
        mark = _OK if finding.ok else _NOTE if finding.optional else _BAD
        remedy = f"\n→ {finding.remedy}" if finding.remedy else ""
        table.add_row(mark, finding.name, finding.what + remedy)
    return table


def plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _facts_table(job: JobRecord) -> Table:
    spec = job.spec
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    facts: dict[str, str | Text] = {
        "job": job.job_id,
        "title": spec.title,
        "state": Text.assemble(coloured(job.state), " (cancel requested)" if job.cancel_requested else ""),
        "reason": (job.cancel_reason if job.cancel_requested else job.reason) or "",
        "progress": progress_words(job.progress) if job.state is JobState.RUNNING else "",
        "error": Text.assemble((job.error.message, "red"), f" ({job.error.code})") if job.error else "",
        "queue": f"{job.queue}, priority {spec.priority}",
        "reused from": job.reused_from or "",
        "labels": ", ".join(spec.labels),
        "worker": job.worker or "",
        "submitted": clock(job.submitted_at),
        "started": clock(job.started_at) if job.started_at else "",
        "finished": clock(job.finished_at) if job.finished_at else "",
        "not before": clock(job.not_before) if job.not_before else "",
        "deadline": clock(spec.deadline) if spec.deadline else "",
        "attempts": _attempts_words(job),
        "template": spec.template or "",
        **dict(what_is_asked(spec)),
    }
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    return table


def _attempts_words(job: JobRecord) -> str:
    """``3 (1 failed, 1 lost)``: as the table below tells it, whatever of it counts against the job."""
    outcomes = Counter(note.outcome for note in job.attempts)
    ended = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    return f"{job.attempt} ({ended})" if ended else str(job.attempt)


def _attempts_table(notes: Sequence[AttemptNote]) -> Table:
    table = plain_table("attempt", "worker", "how it ended", "took", "why")
    for note in notes:
        took_s = (note.ended_at - note.started_at).total_seconds()
        why = f"{note.error.message} ({note.error.code})" if note.error else ""
        table.add_row(str(note.attempt), note.worker, note.outcome, seconds(took_s), why)
    return table


def took_s(job: JobRecord) -> float | None:
    """Seconds from a job's first start to its end, if it has both."""
    if job.started_at is None or job.finished_at is None:
        return None
    return (job.finished_at - job.started_at).total_seconds()


def _first_line(job: JobRecord) -> str:
    why = job.reason or (job.error.message if job.error else "")
    return why.splitlines()[0] if why else ""
