"""A log cut into prompts, with what each of them printed. Memory is bounded, however long the log is."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeVar, get_args

from comfy.doctor.report import Evidence, Status
from comfy.log.entry import LogEntry
from comfy.log.facts import (
    AttentionFailedFact,
    BarFact,
    BlockSwapFact,
    CodeFact,
    CompileLimitFact,
    ComplaintFact,
    DownloadFact,
    EncoderFailedFact,
    ErrorFact,
    FrameFact,
    GgufFact,
    HandlerFact,
    HostMemoryFact,
    ImportFailedFact,
    InterpolatedFact,
    InterruptedFact,
    LogFact,
    LoraKeyFact,
    LoraLoadedFact,
    MemoryFact,
    ModelLoadedFact,
    ModelRequestedFact,
    NodeFailedFact,
    OutOfMemoryFact,
    PromptDoneFact,
    PromptQueuedFact,
    PromptRefusedFact,
    QuantisedOpsFact,
    ReadyFact,
    ReportFact,
    SamplingFact,
    ServerEndedFact,
    StartFrameFact,
    StartingFact,
    StepsSkippedFact,
    TextEncoderFact,
    VaeFact,
    VaeRetryFact,
    VersionFact,
    WeightsFact,
    WorkingFact,
)
from comfy.log.lines import ModelNames
from comfy.log.repeats import each_once

Kind = TypeVar("Kind", bound=LogFact)

_MOST_RUNS: Final = 200
_MOST_ENTRIES: Final = 400  # of a run, or of a server
_OF_ONE_KIND: Final = 40
_MOST_UNKNOWN: Final = 20
_MOST_FRAMES: Final = 200
# Bars and loads tell where the time went: they are kept for longer.
_TELL_TIME: Final = (BarFact, ModelLoadedFact, ModelRequestedFact)
# A run has begun when one of these comes, whether or not its beginning is in the log.
_ACTIVITY: Final = frozenset(
    (WeightsFact, ModelRequestedFact, ModelLoadedFact, TextEncoderFact, VaeFact, GgufFact,
     BarFact, SamplingFact, NodeFailedFact, OutOfMemoryFact, VaeRetryFact, LoraKeyFact, LoraLoadedFact,
     AttentionFailedFact, BlockSwapFact, StepsSkippedFact, InterruptedFact, CompileLimitFact,
     QuantisedOpsFact, WorkingFact)
)  # fmt: skip
# These come at a server's start or after a prompt's end as well: of a prompt of its own they are where the
# log knows of neither.
_OF_A_FRAGMENT: Final = (
    DownloadFact, EncoderFailedFact, InterpolatedFact, FrameFact, ErrorFact, ServerEndedFact,
)  # fmt: skip
_BEGINS: Final = (PromptQueuedFact, PromptDoneFact)  # it, or the one before: from there on its time is told
_ENDS: Final = (ServerEndedFact, HostMemoryFact)
_STARTS: Final = (MemoryFact, VersionFact)
_DAY_S: Final = 86_400.0
_CLOCKS_OFF_S: Final = 3.0
_CLOCKS_OFF_PART: Final = 0.05  # of the prompt's own time
_OF_A_START: Final = (ReadyFact, ImportFailedFact, StartFrameFact)


@dataclass(slots=True)
class Lines:
    """Entries of the log, and how many there were of each kind."""

    entries: list[LogEntry] = field(default_factory=list)
    counts: dict[type[LogFact], int] = field(default_factory=dict)
    stamped: LogEntry | None = None  # the last one that has a stamp

    def add(self, entry: LogEntry) -> None:
        """Keep an entry; of very many that say the same, only the first."""
        kind, counts, entries = entry.kind, self.counts, self.entries
        if kind is None:
            return
        counts[kind] = number = counts.get(kind, 0) + 1
        if len(entries) < _MOST_ENTRIES and (number <= _OF_ONE_KIND or kind in _TELL_TIME):
            entries.append(entry)
        if entry.is_stamped:
            self.stamped = entry

    def of(self, kind: type[Kind]) -> Iterator[tuple[LogEntry, Kind]]:
        """The entries of a kind, the first of very many."""
        for entry in self.entries:
            if entry.kind is kind and isinstance(entry.fact, kind):
                yield entry, entry.fact

    def last(self, kind: type[Kind]) -> Kind | None:
        """The last fact of a kind."""
        if kind not in self.counts:
            return None
        of_kind = (entry.fact for entry in reversed(self.entries) if entry.kind is kind)
        return next((fact for fact in of_kind if isinstance(fact, kind)), None)

    def count(self, kind: type[LogFact]) -> int:
        """How many there were."""
        return self.counts.get(kind, 0)


@dataclass(slots=True)
class Run(Lines):
    """One prompt."""

    number: int = 0
    status: Status = Status.UNFINISHED
    queued: LogEntry | None = None
    done: LogEntry | None = None
    began: LogEntry | None = None
    ended: list[LogEntry] = field(default_factory=list)  # the lines that tell of the server's end
    frames: list[LogEntry] = field(default_factory=list)  # of tracebacks: where in the nodes' code
    first_of_server: bool = False
    is_beside: bool = False  # refused while another one ran
    read_before: int | None = None  # diffusion models that its server had read; None: its start is not told
    server: Lines = field(default_factory=Lines)  # what the server said of itself when it ran

    @property
    def first_line(self) -> int:
        """Number of the first line that is known to be of it."""
        entry = self.began or self.queued or next(iter(self.entries), None)
        return entry.number if entry is not None else 0

    @property
    def end(self) -> LogEntry | None:
        """The line that tells of its end; where something else ended it the last that has a stamp."""
        is_over = self.status not in (Status.UNFINISHED, Status.REFUSED)
        return self.stamped if self.done is None and is_over else self.done

    @property
    def seconds(self) -> float | None:
        """What ComfyUI says that it took; else as long as stamps tell of it, if something else ended it."""
        end = self.end
        if end is not None and isinstance(end.fact, PromptDoneFact):
            return end.fact.seconds
        began = self.began if self.began is not None and self.began.kind in _BEGINS else None
        if end is None or end.at_s is None or began is None or began.at_s is None:
            return None
        # Stamps that go back, or are all alike, are of whoever copied the log.
        return end.at_s - began.at_s if end.at_s > began.at_s else None

    @property
    def read(self) -> int | None:
        """Diffusion models that its server has read until its end; None: its start is not told."""
        return None if self.read_before is None else self.read_before + self.count(WeightsFact)

    @property
    def diffusion_mib(self) -> list[float]:
        """Sizes of the diffusion models that were loaded, whole, where they are told."""
        loads = (fact for _, fact in self.of(ModelLoadedFact) if fact.is_diffusion)
        return [fact.whole_mib for fact in loads if fact.whole_mib]

    @property
    def may_have_experts(self) -> bool:
        """Whether two diffusion models may be at work in it, as far as their number and sizes are told."""
        sizes = self.diffusion_mib
        if sizes and max(sizes) > _EXPERTS_DIFFER * min(sizes):
            return False
        return self.read > 1 if self.read else self.count(WeightsFact) != 1


_EXPERTS_DIFFER: Final = 1.05  # at most, as files of one precision


@dataclass(slots=True)
class Record:
    """A whole log."""

    runs: deque[Run] = field(default_factory=lambda: deque(maxlen=_MOST_RUNS))
    all_runs: int = 0
    server: Lines = field(default_factory=Lines)  # of the last start
    starts: int = 0
    outside: Lines = field(default_factory=Lines)  # what came while no prompt ran
    ignored: Lines = field(default_factory=Lines)  # why outputs of prompts that ran did not pass the check
    refused: Lines = field(default_factory=Lines)  # why prompts, or outputs of theirs, did not pass the check
    unknown: dict[str, Evidence] = field(default_factory=dict)
    lines: int = 0
    known: int = 0
    stamped: int = 0
    source: str = ""  # what names the server, where the log holds several

    def keep_last(self) -> None:
        """Forget all prompts but the last one: it is known that no other is meant."""
        last = [run for run in self.runs if not run.is_beside][-1:]
        for run in last:
            run.number = 1
        self.runs, self.all_runs = deque(last, maxlen=_MOST_RUNS), len(last)


class Reader:
    """Takes the entries of one server's log, as they come."""

    def __init__(self) -> None:
        self.record = Record()
        self._waiting: deque[LogEntry] = deque(maxlen=10_000)
        self._refused: deque[tuple[LogEntry, LogEntry]] = deque(maxlen=_MOST_RUNS)  # while another one ran
        self._run: Run | None = None
        self._into: Lines = self.record.server  # where lines go that only say something of what they stand in
        self._runs_of_server = 0
        self._read = 0  # diffusion models, by this server
        self._told_before = Lines()  # of the same start, before its first line was told once more
        self._report: list[tuple[LogEntry, ReportFact]] = []
        self._complaints: list[LogEntry] = []
        self._frames: deque[LogEntry] = deque(maxlen=_MOST_FRAMES)
        self._active = 0  # line at which a prompt was last seen at work
        self._later_s = 0.0  # than their stamps say the lines are
        self._takes: Mapping[type[LogFact] | None, Callable[[LogEntry], None]] = {
            **dict.fromkeys(get_args(LogFact), self._keep),
            **dict.fromkeys(_ACTIVITY, self._work),
            **dict.fromkeys(_ENDS, self._note_end),
            **dict.fromkeys(_STARTS, self._start),
            None: self._unknown,
            PromptQueuedFact: self._queue,
            ComplaintFact: self._complain,
            ReportFact: self._note_report,
            PromptRefusedFact: self._refuse,
            PromptDoneFact: self._finish,
            HandlerFact: self.record.outside.add,
            CodeFact: self._frames.append,
        }

    def read(self, log: Iterable[LogEntry]) -> None:
        """A whole log."""
        takes = self._takes
        for entry in each_once(log):
            if self._later_s:
                entry.later_s = self._later_s
            takes[entry.kind](entry)
        self.end()

    def take(self, entry: LogEntry) -> None:
        """One more entry."""
        if self._later_s:
            entry.later_s = self._later_s
        self._takes[entry.kind](entry)

    def end(self) -> None:
        """The log is at its end."""
        if not self.record.all_runs and self._fragment():
            self._begin(None)
        if self._run is not None and (self._run.entries or self._run.queued is not None):
            _believe_traceback(self._run)
            if not any(isinstance(fact.says, NodeFailedFact) for _, fact in self._report):
                _believe_frames(self._run)
            self._close(_cut_off(self._run, Status.LOST if _has_died(self._run) else Status.UNFINISHED))
        while self._waiting and len(self.record.runs) < _MOST_RUNS:  # queued, and not begun
            self._begin(None)
            self._close(Status.UNFINISHED)
        self._complete(self._told_before.entries)
        self._complete([entry.as_fact(fact.says) for entry, fact in self._report])
        self._believe_report()
        self._ignore_complaints()
        self._believe_complaints()
        _name_models(self.record.runs)

    def _complain(self, entry: LogEntry) -> None:
        self._complaints.append(entry)  # another prompt may run meanwhile
        del self._complaints[:-_OF_ONE_KIND]

    def _believe_complaints(self) -> None:
        for entry in self._complaints:
            self.record.refused.add(entry)
        self._complaints.clear()

    def _ignore_complaints(self) -> None:
        """Behind these a prompt has worked: only some of its outputs were left out."""
        if self._complaints and self._active > self._complaints[-1].number:
            for entry in self._complaints:
                self.record.ignored.add(entry)
            self._complaints.clear()

    def _believe_report(self) -> None:
        """A report is of a prompt that failed; its log, if there is one, most often tells of it too."""
        if any(run.status in (Status.FAILED, Status.OUT_OF_MEMORY) for run in self.record.runs):
            return
        for entry, fact in self._report:
            if isinstance(fact.says, PromptRefusedFact):
                if all(run.status is not Status.REFUSED for run in self.record.runs):
                    self._refuse(entry.as_fact(fact.says))
                return
            if isinstance(fact.says, NodeFailedFact):
                last = self.record.runs[-1] if self.record.runs else None
                if last is None or last.status is not Status.UNFINISHED:
                    self._begin(None)
                else:
                    self._run = self.record.runs.pop()
                if self._run is not None:
                    self._run.add(entry.as_fact(fact.says))
                    self._close(_status(self._run))
                return

    def _complete(self, told: Iterable[LogEntry]) -> None:
        """What else is known of the server, where its own start does not say it."""
        server = self.record.server
        for entry in [
            each for each in told if each.kind not in (*server.counts, NodeFailedFact, PromptRefusedFact)
        ]:
            server.add(entry)

    def _fragment(self) -> list[LogEntry]:
        """Of the lines before the first prompt those that are its own, where its beginning is cut off."""
        if self.record.starts or any(map(self.record.server.count, _OF_A_START)):
            return []
        entries = self.record.server.entries
        begun = next((at for at, entry in enumerate(entries) if entry.kind is StartingFact), None)
        own = [entry for entry in entries[:begun] if _is_of_a_fragment(entry)]
        return own if any(entry.kind is not ServerEndedFact for entry in own) else []

    def _queue(self, entry: LogEntry) -> None:
        self._ignore_complaints()
        self._waiting.append(entry)
        if self._run is None:
            self._begin(entry)

    def _note_report(self, entry: LogEntry) -> None:
        if isinstance(entry.fact, ReportFact):
            self._report.append((entry, entry.fact))

    def _start(self, entry: LogEntry) -> None:
        """Of a start's lines the first one that we know tells that a new server begins."""
        if (
            self._run is not None
            or self._runs_of_server
            or not self.record.starts
            or entry.kind in self.record.server.counts
        ):
            self._server_starts(entry)
        else:
            self._keep(entry)

    def _server_starts(self, entry: LogEntry) -> None:
        if self._run is not None:
            self._close(_cut_off(self._run, Status.LOST))
        self._waiting.clear()
        # Whoever imports ComfyUI in other processes has a start told again and again, and in part.
        is_the_same = not self._runs_of_server and not self.record.server.count(ReadyFact)
        self._complete(self._told_before.entries)
        self._told_before = self.record.server if is_the_same else Lines()
        self._runs_of_server = self._read = 0
        self.record.server = self._into = Lines()
        self.record.starts += 1
        self.record.server.add(entry)

    def _begin(self, entry: LogEntry | None) -> None:
        self.record.all_runs += 1
        self._runs_of_server += 1
        queued = self._waiting.popleft() if self._waiting else None
        own = self._fragment() if queued is None and self.record.all_runs == 1 else []
        self._complete(self._told_before.entries)
        self._told_before = Lines()
        self._run = self._into = Run(
            number=self.record.all_runs,
            queued=queued,
            began=entry,
            first_of_server=self._runs_of_server == 1 and self.record.starts > 0,
            read_before=self._read if self.record.starts else None,
            server=self.record.server,
        )
        for each in own:
            self.take(each)

    def _refuse(self, entry: LogEntry) -> None:
        self._believe_complaints()
        self.record.refused.add(entry)
        # It was the last to come; if it is the one that seems to run, it never did.
        if self._run is None:
            self._begin(None)
        if self._waiting:
            self._refused.append((self._waiting.pop(), entry))
        elif self._run is not None and not self._run.entries:
            self._run.add(entry)
            self._close(Status.REFUSED)

    def _finish(self, entry: LogEntry) -> None:
        if self._run is None:
            self._begin(None)
        if self._run is not None:
            self._run.done = entry
            self._active = entry.number
            _believe_traceback(self._run)
            self._close(_status(self._run))
        if self._waiting:
            self._begin(entry)

    def _close(self, status: Status) -> None:
        if self._run is not None:
            self._run.status = status
            first, done = self._run.first_line, self._run.done
            self._run.frames = [
                entry
                for entry in self._frames
                if first <= entry.number and (done is None or entry.number < done.number)
            ]
            self._put_later(self._run)
            self._read += self._run.count(WeightsFact)
            self.record.runs.append(self._run)
        self._run, self._into = None, self.record.outside
        while self._refused:  # behind the prompt that ran when they came
            queued, told = self._refused.popleft()
            self.record.all_runs += 1
            run = Run(number=self.record.all_runs, queued=queued, status=Status.REFUSED, is_beside=True)
            run.add(told)
            self.record.runs.append(run)

    def _put_later(self, run: Run) -> None:
        """Where its stamps go over midnight, and its own time says that this is all."""
        if run.done is None or not run.done.is_undated:  # the usual case, without a look at each stamp
            return
        told = [entry for entry in (run.began, *run.entries, run.done) if entry is not None]
        last_s = _midnight(told, run, self._later_s)
        if last_s is not None:
            self._later_s += _DAY_S
            for entry in {id(each): each for each in (*told, *self._waiting)}.values():
                if entry.at_s is not None and last_s - entry.at_s > _DAY_S / 2:
                    entry.later_s += _DAY_S

    def _keep(self, entry: LogEntry) -> None:
        self._into.add(entry)

    def _work(self, entry: LogEntry) -> None:
        if self._run is None and not self._is_of_another_prompt(entry):
            self._begin(entry)
        self._into.add(entry)
        if self._run is not None:
            self._active = entry.number
            if self._run.ended:  # not by what was told before: it goes on
                self._run.ended = []

    def _note_end(self, entry: LogEntry) -> None:
        self._into.add(entry)
        if self._run is not None and _is_end(entry.fact):
            self._run.ended.append(entry)

    def _is_of_another_prompt(self, entry: LogEntry) -> bool:
        if entry.kind is WorkingFact:  # a node may read a model while the server starts
            return bool(self.record.starts) and not self.record.server.count(ReadyFact)
        return _is_other_bar(entry)

    def _unknown(self, entry: LogEntry) -> None:
        unknown = self.record.unknown
        before = unknown.pop(entry.text, None)
        times = before.times + 1 if before is not None else 1
        unknown[entry.text] = Evidence(text=entry.text, line=entry.number, times=times)
        if len(unknown) > _MOST_UNKNOWN:
            del unknown[next(iter(unknown))]


def clocks_off_s(wall_s: float) -> float:
    """What clocks of one prompt may differ by, and a log's lines lie in the buffer of whoever stamps them."""
    return max(_CLOCKS_OFF_S, _CLOCKS_OFF_PART * wall_s)


def _midnight(told: Iterable[LogEntry], run: Run, later_s: float) -> float | None:
    """The last stamp before a day begins anew, where they have no date; None: none does in this prompt."""
    stamps = [at_s for entry in told if (at_s := entry.at_s) is not None]
    jumps = [at for at, (a, b) in enumerate(pairwise(stamps), 1) if a - b > _DAY_S / 2]
    has_date = any(at_s - later_s >= _DAY_S for at_s in stamps)
    if len(jumps) != 1 or has_date or run.done is None or run.done.at_s is None or run.seconds is None:
        return None
    right = stamps[: jumps[0]] + [at_s + _DAY_S for at_s in stamps[jumps[0] :]]
    # Before its first line a prompt is checked, and that is not of its time.
    longest, shortest = (right[-1] - at_s for at_s in right[:2])
    off_s = clocks_off_s(run.seconds)
    return stamps[jumps[0] - 1] if shortest - off_s <= run.seconds <= longest + off_s else None


def _is_end(fact: LogFact | None) -> bool:
    return isinstance(fact, ServerEndedFact) or (isinstance(fact, HostMemoryFact) and fact.is_end)


def _has_died(run: Run) -> bool:
    """Whether the server ended, and not because somebody has stopped it."""
    return bool(run.ended) and not any(
        isinstance(entry.fact, ServerEndedFact) and entry.fact.is_asked_for for entry in run.ended
    )


def _is_of_a_fragment(entry: LogEntry) -> bool:
    if entry.kind in _OF_A_FRAGMENT:
        return True
    fact = entry.fact if entry.kind is BarFact else None
    return isinstance(fact, BarFact) and (not fact.label or fact.is_download)


def _name_models(runs: Iterable[Run]) -> None:
    names = ModelNames()
    for run in runs:
        for at, entry in enumerate(run.entries):
            fact = entry.fact if entry.kind is ModelLoadedFact else None
            if isinstance(fact, ModelLoadedFact):
                named = names.name(fact)
                run.entries[at] = entry if named is fact else entry.as_fact(named)


def _is_other_bar(entry: LogEntry) -> bool:
    """No sampler's, or one of a prompt that is over: a bar is drawn once more at its beginning."""
    fact = entry.fact if entry.kind is BarFact else None
    return isinstance(fact, BarFact) and (bool(fact.label) or fact.done == 0)


def _believe_traceback(run: Run) -> None:
    """An error that comes right before the end has ended it, unless a node has caught it.

    What a node catches has no frame of the executor; where a prompt's beginning is cut off, so may that be.
    Releases of 2023 tell what failed in the traceback alone.
    """
    failed = run.last(NodeFailedFact)
    if not run.entries or run.entries[-1].kind is not ErrorFact or (failed is not None and failed.message):
        return
    last = run.entries[-1]
    is_the_prompts = failed is not None or run.queued is None or _is_of_executor(run)
    if isinstance(last.fact, ErrorFact) and is_the_prompts:
        run.add(last.as_fact(NodeFailedFact(message=last.fact.message)))


def _believe_frames(run: Run) -> None:
    """A traceback that is cut off before its error has ended it as well."""
    is_told = run.count(NodeFailedFact) or run.count(OutOfMemoryFact)
    if run.entries and run.entries[-1].kind is FrameFact and _is_of_executor(run) and not is_told:
        message = "the log is cut off before its traceback's end"
        run.add(run.entries[-1].as_fact(NodeFailedFact(message=message)))


def _is_of_executor(run: Run) -> bool:
    return any(not frame.sage for _, frame in run.of(FrameFact))


def _status(run: Run) -> Status:
    if run.count(OutOfMemoryFact):
        return Status.OUT_OF_MEMORY
    failed = run.last(NodeFailedFact)
    if failed is not None:
        return Status.OUT_OF_MEMORY if is_out_of_memory(failed.message) else Status.FAILED
    return Status.INTERRUPTED if run.count(InterruptedFact) else Status.DONE


def _cut_off(run: Run, otherwise: Status) -> Status:
    """What became of a prompt whose last line is missing: an error has ended it without one, too."""
    status = _status(run)
    return otherwise if status is Status.DONE else status


def is_out_of_memory(message: str) -> bool:
    """Whether an error's text is the card's that it has no memory left; CUDA's own allocator says no more."""
    return message.startswith("Allocation on device") or _NO_MEMORY.search(message) is not None


# Of torch for CUDA, HIP, XPU and MPS; of Metal, Vulkan, DirectML and ONNX Runtime.
_NO_MEMORY: Final = re.compile(
    r"(?i)out ?of ?(?:device ?)?memory|not enough GPU video memory|Failed to allocate memory for requested"
)


def evidence(entries: Iterable[LogEntry], *, count: int | None = None, most: int = 3) -> tuple[Evidence, ...]:
    """The first lines of these, the last of them with how many there are."""
    some = list(entries)
    shown = [Evidence(text=entry.text, line=entry.number) for entry in some[:most]]
    rest = (count if count is not None else len(some)) - len(shown)
    if shown and rest > 0:
        last = shown[-1]
        shown[-1] = Evidence(text=last.text, line=last.line, times=1 + rest)
    return tuple(shown)
