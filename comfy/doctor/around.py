"""Rules about what comes around sampling: interpolation, encoding, transport, errors, the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from comfy.doctor.errors import (
    OTHERWISE,
    PLACES,
    SMALLER,
    Place,
    frames_of,
    place_in,
    remedy_of,
    remedy_of_end,
)
from comfy.doctor.record import Run, evidence, is_out_of_memory
from comfy.doctor.report import OFF_CARD_PHASES, Cost, Evidence, Phase, PromptReport, Severity, Status
from comfy.doctor.rule import Case, Found, Rule, estimated, measured, seconds_in
from comfy.doctor.timeline import samplers_of, work_at_end
from comfy.doctor.times import Failure
from comfy.log.entry import LogEntry
from comfy.log.facts import (
    BarFact,
    DownloadFact,
    EncoderFailedFact,
    HandlerFact,
    HandlerStep,
    HostMemoryFact,
    ImportFailedFact,
    InterpolatedFact,
    LogFact,
    NodeFailedFact,
    OutOfMemoryFact,
)
from comfy.node_defs.node_classes import work_of

_LONG_FRAMES_S: Final = 10.0
_LONG_SAVE_S: Final = 10.0
LONG_PART: Final = 0.1  # of the wall time
_SLOW_UPLOAD: Final = 5e6  # bytes per second
_LONG_UPLOAD_S: Final = 5.0
_ANYWHERE: Final = Place(
    where="", less_memory=f"{SMALLER}; VAEDecodeTiled, where decoding ran out; {OTHERWISE}"
)
_FEW_FACTS: Final = 3
_MANY_LINES: Final = 50
_OWN: Final = "measured on loopback: a clip of 20 MB takes 0.12 to 0.17 s, one of 100 MB 0.6 to 0.8 s"


def long_phase(
    phase: Phase,
    message: str,
    *,
    least_s: float,
    part: float,
    kind: type[LogFact] | None = None,
    note: str = "",
) -> Callable[[Case], Iterator[Found]]:
    """A rule about a phase that takes long, and a large part of its prompt.

    Args:
        message: with `{seconds}` and `{wall}`.
        kind: of the lines that tell of it, where there are such.
    """

    def check(case: Case) -> Iterator[Found]:
        lines = {run.number: [entry for entry, _ in run.of(kind)] for run in case.runs} if kind else {}
        for prompt in case.prompts:
            wall_s, seconds = prompt.wall_s or 0.0, seconds_in(prompt, phase)
            if seconds is None or seconds <= max(least_s, part * wall_s):
                continue
            if phase not in OFF_CARD_PHASES and prompt.status is not Status.DONE:
                continue
            formula = f"{phase} {seconds:.1f} s"
            yield Found(
                message=message.format(seconds=f"{seconds:.0f} s", wall=f"{wall_s:.0f} s"),
                evidence=evidence(lines.get(prompt.number, [])) or (Evidence(text=formula),),
                cost=measured(seconds, formula + note),
                prompt=prompt.number,
            )

    return check


def _encoder(case: Case) -> Iterator[Found]:
    yield from _each(case, EncoderFailedFact, "FFmpeg could not encode the clip")


def _download(case: Case) -> Iterator[Found]:
    for run in case.runs:
        lines = [entry for entry, _ in run.of(DownloadFact)]
        lines += [entry for entry, bar in run.of(BarFact) if bar.is_download]
        if lines:
            yield Found(
                message="a model was fetched from the net while the prompt waited",
                evidence=evidence(lines),
                prompt=run.number,
            )


def _handler(case: Case, step: HandlerStep) -> list[LogEntry]:
    return [entry for entry, fact in case.record.outside.of(HandlerFact) if fact.step is step]


def _clips(lines: Sequence[LogEntry]) -> str:
    return f"{len(lines)} clip{'s' if len(lines) != 1 else ''}"


def _base64(case: Case) -> Iterator[Found]:
    lines = _handler(case, HandlerStep.BASE64)
    if lines:
        yield Found(
            message="clips go back as base64: a third larger, under the platform's limit of 10 or 20 MB",
            evidence=evidence(lines),
            cost=estimated(
                0.15 * len(lines), 0.01 * len(lines), 0.8 * len(lines),
                f"{_clips(lines)} × 0.15 s; a clip over the limit is lost altogether", _OWN,
            ),
        )  # fmt: skip


def _view(case: Case) -> Iterator[Found]:
    lines = _handler(case, HandlerStep.VIEWED)
    if lines:
        yield Found(
            message="clips are fetched over HTTP from a server on the same machine",
            evidence=evidence(lines),
            cost=estimated(
                0.08 * len(lines), 0.003 * len(lines), 0.42 * len(lines),
                f"{_clips(lines)} × 0.08 s (20 MB)", _OWN,
            ),
        )  # fmt: skip


def _lost_socket(case: Case) -> Iterator[Found]:
    lost = _handler(case, HandlerStep.DISCONNECTED)
    back = _handler(case, HandlerStep.RECONNECTED)
    if len(lost) > len(back):
        yield Found(
            message="the handler lost its websocket and did not come back: it never asks the history",
            evidence=evidence(lost),
        )


def _nothing(case: Case) -> Iterator[Found]:
    lines = _handler(case, HandlerStep.NOTHING)
    if lines and any(prompt.status is Status.DONE for prompt in case.prompts):
        yield Found(
            message="the prompt went well, and the handler found no output: it looks under `images` alone",
            evidence=evidence(lines),
        )


def _memory(case: Case) -> Iterator[Found]:
    for run, prompt in case.logged():
        if prompt.status is not Status.OUT_OF_MEMORY:
            continue
        lines = [entry for entry, fact in run.of(NodeFailedFact) if is_out_of_memory(fact.message)]
        lines += [entry for entry, _ in run.of(OutOfMemoryFact)]
        is_last = run is case.record.runs[-1]
        failed_class = case.failure.class_type if case.failure is not None and is_last else ""
        traced = place_in(frames_of(run))
        place, frame = traced or (PLACES.get(work_of(failed_class)) if failed_class else None, None)
        # What it did before tells no more than where it may have been.
        likely = PLACES.get(work_at_end(run)) if place is None and not failed_class else None
        where = f" {place.where}" if place else f", most likely {likely.where}" if likely else ""
        untold = "" if place else "; no traceback here says where it was"
        yield Found(
            message=f"the card had no memory left{where}, and the prompt failed",
            evidence=evidence([*lines[:1], frame, *lines[1:]] if frame is not None else lines),
            cost=thrown_away(case, run),
            prompt=run.number,
            remedy=(place or likely or _ANYWHERE).less_memory + untold,
        )


def _failed(case: Case) -> Iterator[Found]:
    runs = {run.number: run for run in case.runs}
    for prompt in case.prompts:
        run = runs.get(prompt.number)
        if prompt.status not in (Status.FAILED, Status.LOST):
            continue
        lost = prompt.status is Status.LOST and run is not None
        ended = run.ended if run is not None else []
        if any(entry.kind is HostMemoryFact for entry in ended) and run is case.record.runs[-1]:
            continue  # host-ram-short says why
        lines = ended if lost else [entry for entry, _ in run.of(NodeFailedFact)] if run is not None else []
        told = evidence(lines) or evidence(run.entries[-1:] if run is not None else ())
        yield Found(
            message="the server ended under the prompt" if lost else f"{_what_failed(case)}: {prompt.error}",
            evidence=told or (Evidence(text=prompt.error),),
            cost=thrown_away(case, run),
            prompt=prompt.number,
            remedy=remedy_of_end(ended) if lost else remedy_of(case, _error(prompt, run), run),
        )


def _error(prompt: PromptReport, run: Run | None) -> str:
    """The whole of it, where the log has it."""
    failed = run.last(NodeFailedFact) if run is not None else None
    return failed.message if failed is not None else prompt.error


def _what_failed(case: Case) -> str:
    failure = case.failure
    if failure is None:
        return "a node failed"
    return f"node {node_words(failure)} failed" if failure.class_type else "it failed"


def node_words(failure: Failure) -> str:
    return f"{failure.node_id} ({failure.class_type})"


def thrown_away(case: Case, run: Run | None) -> Cost | None:
    attempt_s = case.times.seconds.get("attempt") if case.times is not None else None
    if attempt_s is not None:
        return measured(attempt_s, "all that the attempt took came to nothing") if attempt_s else None
    if run is None:
        return None
    if run.seconds is None:
        steps_s = sum(each.seconds for each in samplers_of(run))
        return (
            measured(steps_s, "the steps that its bars tell of came to nothing, at least")
            if steps_s
            else None
        )
    return measured(run.seconds, "all that the prompt took came to nothing")


def _import(case: Case) -> Iterator[Found]:
    lines = [
        entry for some in (case.record.server, case.record.outside) for entry, _ in some.of(ImportFailedFact)
    ]
    if lines:
        yield Found(
            message="a custom node could not be imported: its classes are missing", evidence=evidence(lines)
        )


def _upload(case: Case) -> Iterator[Found]:
    times = case.times
    if times is None or times.output_bytes is None:
        return
    seconds = times.seconds.get("upload", 0.0)
    if seconds > _LONG_UPLOAD_S and times.output_bytes / seconds < _SLOW_UPLOAD:
        rate = times.output_bytes / seconds
        mb = f"{times.output_bytes / 1e6:.{0 if times.output_bytes > 1e7 else 1}f} MB"
        # What the storage would take in a second is not what the upload waited for.
        is_silent = times.output_bytes < _SLOW_UPLOAD
        yield Found(
            message=f"the storage took {seconds:.1f} s for {mb}: it was away, or slow to answer"
            if is_silent
            else f"{mb} went up at {rate / 1e6:.1f} MB/s",
            evidence=(Evidence(text=f"upload {seconds:.1f} s"),),
            cost=measured(seconds - times.output_bytes / _SLOW_UPLOAD, f"{seconds:.1f} s − {mb} / 5 MB/s"),
            remedy="`farm check` looks at the storage, and at the way there" if is_silent else "",
        )


def _not_understood(case: Case) -> Iterator[Found]:
    record = case.record
    if record.lines > _MANY_LINES and record.known < _FEW_FACTS:
        yield Found(
            message=f"of {record.lines} lines {record.known} are known: another program's log, or a fork's",
            evidence=(Evidence(text=f"{record.known} of {record.lines} lines"),),
        )


def _each(case: Case, kind: type[LogFact], message: str) -> Iterator[Found]:
    for run in case.runs:
        lines = [entry for entry, _ in run.of(kind)]
        if lines:
            yield Found(message=message, evidence=evidence(lines), prompt=run.number)


RULES: Final = (
    Rule(
        id="interpolation",
        severity=Severity.WARNING,
        title="interpolation takes long",
        remedy="update ComfyUI-Frame-Interpolation (since March 2026 on the card), or a lower multiplier",
        check=long_phase(
            Phase.FRAMES,
            "interpolation took {seconds}",
            least_s=_LONG_FRAMES_S,
            part=LONG_PART,
            kind=InterpolatedFact,
            note="; a newer version takes seconds",
        ),
        cost="the phase",
        source="https://github.com/Fannovel16/ComfyUI-Frame-Interpolation/pull/102",
    ),
    Rule(
        id="slow-encode",
        severity=Severity.INFO,
        title="encoding the clip takes long",
        remedy="a faster preset, more cores, or NVENC where the card has it (not A100, H100)",
        check=long_phase(
            Phase.SAVING, "encoding the clip took {seconds}", least_s=_LONG_SAVE_S, part=LONG_PART
        ),
        cost="the phase",
    ),
    Rule(
        id="encode-failed",
        severity=Severity.ERROR,
        title="FFmpeg failed",
        remedy="format video/h264-mp4: NVENC needs a card with an encoder and the driver capability `video`",
        check=_encoder,
        source="https://github.com/Kosinkadink/ComfyUI-VideoHelperSuite",
    ),
    Rule(
        id="download-at-run-time",
        severity=Severity.WARNING,
        title="a model is fetched while the prompt waits",
        remedy="put the file into the image or onto the volume",
        check=_download,
        source="https://github.com/Fannovel16/ComfyUI-Frame-Interpolation (vfi_utils.py)",
    ),
    Rule(
        id="base64-return",
        severity=Severity.WARNING,
        title="clips go back in the answer",
        remedy="set BUCKET_ENDPOINT_URL (and key) of the handler; the farm stores in S3 always",
        check=_base64,
        cost="clips × 0.15 s",
        source=_OWN,
    ),
    Rule(
        id="view-instead-of-disk",
        severity=Severity.INFO,
        title="clips are read over HTTP from the same machine",
        remedy="read ComfyUI's output folder; the farm does",
        check=_view,
        cost="clips × 0.08 s",
        source=_OWN,
    ),
    Rule(
        id="websocket-lost",
        severity=Severity.ERROR,
        title="the handler lost its websocket for good",
        remedy="raise WEBSOCKET_RECONNECT_ATTEMPTS; the farm asks the history instead",
        check=_lost_socket,
        source="https://github.com/runpod-workers/worker-comfyui (handler.py)",
    ),
    Rule(
        id="output-not-found",
        severity=Severity.ERROR,
        title="a clip was made and not returned",
        remedy="SaveVideo in place of VHS_VideoCombine for that handler; the farm takes every kind",
        check=_nothing,
        source="https://github.com/runpod-workers/worker-comfyui (handler.py)",
    ),
    Rule(
        id="out-of-memory",
        severity=Severity.ERROR,
        title="the card had no memory left",
        remedy=_ANYWHERE.less_memory,
        check=_memory,
        cost="all that the prompt took",
        source="https://github.com/Comfy-Org/ComfyUI (execution.py)",
    ),
    Rule(
        id="prompt-failed",
        severity=Severity.ERROR,
        title="a node failed, or the server ended",
        remedy="by the error's words: a file to fetch anew, a package to install, models that do not fit "
        "each other; where they tell nothing, what would decide it",
        check=_failed,
        cost="all that the prompt took",
    ),
    Rule(
        id="import-failed",
        severity=Severity.WARNING,
        title="a custom node is missing",
        remedy="install its requirements into ComfyUI's interpreter; the error names the package",
        check=_import,
        source="https://github.com/Comfy-Org/ComfyUI (nodes.py)",
    ),
    Rule(
        id="slow-upload",
        severity=Severity.WARNING,
        title="the storage takes less than 5 MB/s",
        remedy="a storage nearer to the workers, or a higher crf",
        check=_upload,
        cost="upload − bytes / 5 MB/s",
    ),
    Rule(
        id="log-not-understood",
        severity=Severity.INFO,
        title="of more than 50 lines fewer than three are known",
        remedy="give ComfyUI's own output, at level INFO",
        check=_not_understood,
    ),
)
