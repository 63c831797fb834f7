"""From a log, a graph, a card and measured times to a report: `diagnose`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from comfy.doctor import refusals, sampling, streaming
from comfy.doctor.clip import USUAL, ClipLook, Thresholds
from comfy.doctor.folklore import folklore_of
from comfy.doctor.levers import levers_of
from comfy.doctor.record import Record, Run
from comfy.doctor.registry import OF_THE_JOB, RULES
from comfy.doctor.report import (
    OFF_CARD_PHASES,
    Finding,
    LogCount,
    Phase,
    PhaseTime,
    PromptReport,
    Question,
    Report,
    Sampler,
    Server,
    Status,
)
from comfy.doctor.rule import Case, seconds_in
from comfy.doctor.servers import by_seconds_lost, read_records, together
from comfy.doctor.timeline import doubts_of, is_stamped, models_of, phases_of, samplers_of, wait_s
from comfy.doctor.times import SAMPLINGS, Failure, JobTimes, doubt_of
from comfy.doctor.times import phases_of as phases_by_times
from comfy.doctor.times import wall as wall_by_times
from comfy.doctor.words import numbers_words
from comfy.log.facts import (
    AttentionFact,
    DeviceFact,
    DynamicVramFact,
    MemoryFact,
    NodeFailedFact,
    VersionFact,
    VramStateFact,
)
from comfy.log.stream import Log, LogStream
from comfy.wan.cards import known_card, unknown_card
from comfy.wan.pace_book import PaceBook
from comfy.words import first_words, seconds_words

_MUCH_UNEXPLAINED: Final = 0.2  # of the wall time
_LEAST_UNEXPLAINED_S: Final = 5.0
_LONG_FINISHING_S: Final = 60.0
_EACH_NODE: Final = "the job through the farm, which times each node"
_LONGEST_ERROR: Final = 300  # characters
_MOST_DOUBTS: Final = 3  # prompts


def diagnose(
    log: Log = b"",
    *,
    graph: Mapping[str, Any] | None = None,
    card: str | None = None,
    times: JobTimes | None = None,
    paces: PaceBook | None = None,
    clips: Sequence[ClipLook] = (),
    clip_limits: Thresholds = USUAL,
    failure: Failure | None = None,
    emulated: bool = False,
) -> Report:
    """Say where the seconds went, what was lost and what to change; what cannot be concluded is said too.

    Args:
        log: of ComfyUI or of whatever ran it: text, bytes, an open file or lines, of any size, with
            any number of prompts; of several servers, where each line says whose it is. It is read
            once, in constant memory, and no content of it raises.
        graph: what was run, in API format; without it sizes and steps are only what the log says.
        card: by its name, as NVML or a person gives it; default: what the log says.
        times: what was measured of a job, which counts for more than its log; of that the last prompt
            is the job's.
        clips: what was measured in the files' frames, judged by `clip_limits`.
        failure: why the job failed; without it one whose times are given went well.
        paces: what jobs took on this farm, which counts for more than published times.
        emulated: the emulator took it: whatever its log says, no model was loaded and no card computed.

    Raises:
        ValueError: no card of that name is known, though a person has given it.
    """
    if card and times is None and known_card(card) is None:
        raise ValueError(unknown_card(card))
    doubt = doubt_of(times) if times is not None else ""
    if times is not None and doubt:
        times = replace(times, nodes=())
    reports = []
    for record in read_records(LogStream(log), of_one=times is not None):
        if times is not None:
            record.keep_last()
        prompts = tuple(_prompt(run, record) for run in record.runs)
        if times is not None:
            prompts = (_with_times(prompts[-1] if prompts else None, times, ended_well=failure is None),)
        if failure is not None:
            prompts = _failed(prompts, failure)
        case = Case(
            record=record,
            prompts=prompts,
            graph=graph or {},
            gpu=card or _card_in(record),
            times=times,
            book=paces or PaceBook({}),
            clips=tuple(clips),
            clip_limits=clip_limits,
            failure=failure,
            emulated=emulated,
        )
        reports.append(_report(case))
    report = together(reports)
    if not doubt:
        return report
    question = Question(
        what=f"{doubt} were not believed", decides="a worker that does not stand still meanwhile"
    )
    return replace(report, questions=(question, *report.questions))


def _report(case: Case) -> Report:
    record = case.record
    return Report(
        server=_server(record),
        prompts=case.prompts,
        prompts_left_out=record.all_runs - len(record.runs),
        findings=_findings(case),
        folklore=() if case.emulated else folklore_of(case),
        questions=tuple(_questions(case)),
        levers=() if case.emulated else levers_of(case),
        log=LogCount(
            lines=record.lines,
            known=record.known,
            stamped=record.stamped,
            unknown=tuple(record.unknown.values()),
        ),
    )


def _findings(case: Case) -> tuple[Finding, ...]:
    found = [
        Finding(
            id=rule.id,
            severity=each.severity or rule.severity,
            confidence=each.confidence,
            message=each.message,
            remedy=each.remedy or rule.remedy,
            evidence=each.evidence,
            cost=each.cost,
            prompt=each.prompt,
            worker=each.worker,
        )
        for rule in (OF_THE_JOB if case.emulated else RULES)
        for each in rule.check(case)
    ]
    return by_seconds_lost(found)


def _prompt(run: Run, record: Record) -> PromptReport:
    failed = run.last(NodeFailedFact)
    waited = wait_s(run, record.runs)
    waiting = [PhaseTime(phase=Phase.WAITING, seconds=round(waited, 3), source="stamps")] if waited else []
    wall_s = run.seconds
    return PromptReport(
        number=run.number,
        status=run.status,
        wall_s=None if wall_s is None else round(wall_s + (waited or 0.0), 3),
        phases=(*waiting, *phases_of(run)),
        models=models_of(run),
        samplers=samplers_of(run),
        error=first_words(failed.message, _LONGEST_ERROR) if failed is not None else "",
        source=record.source,
    )


def _with_times(last: PromptReport | None, times: JobTimes, *, ended_well: bool) -> PromptReport:
    """The job's own prompt, with the times that were measured, and what its log tells of it."""
    failed = last if not ended_well else None
    samplers = tuple(
        Sampler(
            steps=node.steps,
            seconds=node.seconds,
            seconds_per_step=node.seconds_per_step,
            first_step_s=None,
        )
        for node in times.nodes
        if node.phase in SAMPLINGS and node.steps is not None
    )
    return PromptReport(
        number=1,
        status=failed.status if failed is not None else Status.DONE,
        wall_s=wall_by_times(times),
        phases=phases_by_times(times, _told_by_log(last, times)),
        models=last.models if last is not None else (),
        samplers=samplers or (last.samplers if last is not None else ()),
        error=failed.error if failed is not None else "",
    )


def _told_by_log(last: PromptReport | None, times: JobTimes) -> tuple[PhaseTime, ...]:
    """Phases of the log, where no node's time was measured: of a job that failed under way."""
    if last is None or times.nodes:
        return ()
    return tuple(each for each in last.phases if each.phase not in (*OFF_CARD_PHASES, Phase.UNEXPLAINED))


def _failed(prompts: tuple[PromptReport, ...], failure: Failure) -> tuple[PromptReport, ...]:
    """The last prompt is the one that failed, whatever its log says."""
    message = first_words(failure.message, _LONGEST_ERROR)
    if not prompts:
        return (
            PromptReport(
                number=1,
                status=failure.status,
                wall_s=None,
                phases=(),
                models=(),
                samplers=(),
                error=message,
            ),
        )
    last = prompts[-1]
    told = last.status not in (Status.DONE, Status.UNFINISHED) and failure.status is Status.FAILED
    status = last.status if told else failure.status
    return (*prompts[:-1], replace(last, status=status, error=last.error or message))


def _card_in(record: Record) -> str:
    """The card that the log names: "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync"."""
    device = record.server.last(DeviceFact)
    if device is None or not device.device.startswith("cuda"):
        return ""
    return device.device.partition(" ")[2].rpartition(" : ")[0] or device.device.partition(" ")[2]


def _server(record: Record) -> Server:
    server = record.server
    about, device, memory = server.last(VersionFact), server.last(DeviceFact), server.last(MemoryFact)
    state, attention = server.last(VramStateFact), server.last(AttentionFact)
    dynamic = server.last(DynamicVramFact)
    return Server(
        version=about.version if about is not None else "",
        device=device.device if device is not None else "",
        vram_mib=memory.vram_mib if memory is not None else None,
        ram_mib=memory.ram_mib if memory is not None else None,
        vram_state=state.state if state is not None else "",
        attention=attention.name if attention is not None else "",
        dynamic_vram=dynamic.enabled if dynamic is not None else None,
        starts=record.starts,
        source=record.source,
    )


def _questions(case: Case) -> Iterator[Question]:
    yield from _of_time(case) if case.times is None else _of_a_jobs_time(case, case.times)
    if not case.emulated:
        yield from streaming.undecided(case)
        yield from sampling.undecided(case)
    yield from refusals.undecided(case)
    paced = any(prompt.samplers for prompt in case.prompts) and not case.emulated
    if paced and case.is_of_another_graph:
        yield Question(
            what="whether the steps are slow: the graph's steps are not those that the log's prompts ran",
            decides="the graph that was run (--graph FILE)",
        )
    elif paced and case.forecast is None:
        missing = [
            *(["the graph (--graph FILE)"] if case.work is None else []),
            *(["the card (--card NAME)"] if not case.gpu else []),
        ]
        unknown = bool(case.gpu) and case.card is None
        decides = " and ".join(missing) or ("a card that is known" if unknown else "a card that computes")
        yield Question(what="whether the steps are slow for this size and card", decides=decides)
    for look in case.clips:
        if unseen := look.count - len(look.frames):
            yield Question(
                what=f"{look.name}: whether {unseen} of its {look.count} frames are good",
                decides="a look at them: it is too large to be decoded whole, or of a kind that is not read",
            )
    if case.server_is_unknown:
        yield Question(
            what="how ComfyUI was started: version, card, VRAM state, attention",
            decides="the log from its first line on",
        )


def _of_time(case: Case) -> Iterator[Question]:
    """Where the seconds went of prompts of which it is not told: each reason once, for all its prompts."""
    doubted = {run.number: doubts for run in case.runs if (doubts := doubts_of(run))}
    for number, doubts in list(doubted.items())[:_MOST_DOUBTS]:
        yield Question(
            what=f"prompt {number}: {' and '.join(doubts)} were not believed",
            decides="one server's log alone, stamped as its lines are printed by a clock that is not set; "
            "or the job through the farm",
        )
    if len(doubted) > _MOST_DOUBTS:
        yield Question(
            what=f"{len(doubted) - _MOST_DOUBTS} more prompts have stamps or bars that were not believed",
            decides="the same",
        )
    dark = {
        prompt.number: rest
        for prompt in case.prompts
        if prompt.number not in doubted and (rest := _much_unexplained(prompt))
    }
    stamped = {run.number for run in case.runs if is_stamped(run)}
    bare = {number: rest for number, rest in dark.items() if number not in stamped}
    if bare:
        yield Question(
            what=f"{numbers_words(list(bare))}: {seconds_words(sum(bare.values()))} are unexplained: "
            "loading, text, VAE, interpolation and encoding are not told apart",
            decides="the same log with stamps: `docker logs -t`, `kubectl logs --timestamps`, or a "
            "second `--verbose DETAIL FILE` of ComfyUI since 0.30; or the job through the farm",
        )
    untold = {number: rest for number, rest in dark.items() if number in stamped}
    if untold:
        yield Question(
            what=f"{numbers_words(list(untold))}: {seconds_words(sum(untold.values()))} are unexplained: no "
            "line says what ran, such as nodes before the first model, or steps without bars",
            decides=_EACH_NODE,
        )
    behind = {
        prompt.number: rest
        for prompt in case.prompts
        if (rest := seconds_in(prompt, Phase.FINISHING) or 0.0) > _LONG_FINISHING_S
        and rest > _MUCH_UNEXPLAINED * (prompt.wall_s or rest)
    }
    if behind:
        yield Question(
            what=f"{numbers_words(list(behind))}: {seconds_words(sum(behind.values()))} behind the last "
            "step: VAE, upscaling, interpolation and encoding are not told apart",
            decides=_EACH_NODE,
        )


def _of_a_jobs_time(case: Case, times: JobTimes) -> Iterator[Question]:
    """The same of a job, which went through the farm, whatever its log looks like."""
    rest = sum(map(_much_unexplained, case.prompts))
    if rest and not doubt_of(times):
        yield Question(
            what=f"{seconds_words(rest)} are unexplained: no node was heard of meanwhile",
            decides="what ComfyUI and the worker have logged of these seconds",
        )


def _much_unexplained(prompt: PromptReport) -> float:
    rest = sum(phase.seconds for phase in prompt.phases if phase.phase is Phase.UNEXPLAINED)
    is_much = rest > _LEAST_UNEXPLAINED_S and rest > _MUCH_UNEXPLAINED * (prompt.wall_s or rest)
    return rest if is_much else 0.0
