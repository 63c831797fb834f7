"""Where a prompt's seconds went, by the stamps of its lines where it has any, else by its progress bars.

ComfyUI prints a line when something begins ("Requested to load") or is done ("loaded completely"), not
both: the time between two lines belongs to what the earlier one has begun, or the later one has ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Final, NamedTuple

from comfy.doctor.record import Run, clocks_off_s
from comfy.doctor.report import ModelUse, Phase, PhaseTime, Sampler
from comfy.doctor.times import filled
from comfy.log.entry import LogEntry
from comfy.log.facts import (
    BarFact,
    DownloadFact,
    EvictedFact,
    GgufFact,
    InterpolatedFact,
    LogFact,
    ModelLoadedFact,
    ModelRequestedFact,
    NodeFailedFact,
    OutOfMemoryFact,
    SamplingFact,
    TextEncoderFact,
    UnloadedFact,
    VaeFact,
    VaeRetryFact,
    WeightsFact,
)
from comfy.log.foreign_dress import undress
from comfy.node_defs.node_classes import Work
from comfy.words import seconds_words

_ENDS_LOADING: Final = (WeightsFact, TextEncoderFact, VaeFact, GgufFact, ModelLoadedFact, DownloadFact)
_WORKS: Final = {
    Work.IMAGE: ("CLIPVision", "VisionModel"),
    Work.TEXT: ("TE", "CLIP", "Clip", "T5"),
    Work.VAE: ("VAE", "Autoencod"),
}
_SAMPLINGS: Final = (Phase.SAMPLING, Phase.SAMPLING_HIGH, Phase.SAMPLING_LOW)
# Bars that say what they count, as WanVideoWrapper, transformers and diffusers draw them.
_LABELS: Final = {
    Phase.LOADING: re.compile(
        r"(?i)(?:loading|initializing|merging) .*(?:parameters|weights|checkpoint|pipeline|block swap)"
    ),
    Phase.TEXT: re.compile(r"T5Encoder$"),
    Phase.IMAGE: re.compile(r"(?:Wan)?VAE encoding"),
    Phase.SAMPLING: re.compile(r"Sampling audio indices |Frames \d+-\d+$"),
    Phase.VAE: re.compile(r"(?:Wan)?VAE decoding"),
}
_CLOCK_S: Final = 1.5  # what a clock of whole seconds may be off
_FINE_CLOCK_S: Final = 0.2


def models_of(run: Run) -> tuple[ModelUse, ...]:
    """The models that came onto the card, in their order."""
    return tuple(
        ModelUse(
            model_class=fact.model_class or "",
            state=fact.state,
            loaded_mib=fact.loaded_mib,
            staged_mib=fact.staged_mib,
            offloaded_mib=fact.offloaded_mib,
        )
        for _, fact in run.of(ModelLoadedFact)
    )


def samplers_of(run: Run) -> tuple[Sampler, ...]:
    """The samplers' bars, each put together from its states."""
    return tuple(sampler for _, sampler in _samplers(run))


class _State(NamedTuple):
    """A sampler's bar as it was drawn once."""

    entry: LogEntry
    bar: BarFact
    model: str  # the diffusion model that came onto the card last
    is_behind_vae: bool  # a VAE came onto the card after that


def _samplers(run: Run) -> Iterator[tuple[LogEntry, Sampler]]:
    for states, is_sampler in _unlabelled(run):
        if is_sampler:
            entry, bar, model, _ = states[-1]
            first_s = next((each.bar.first_s for each in states if each.bar.first_s is not None), None)
            yield entry, _sampler(bar, first_s, model)


def _unlabelled(run: Run) -> Iterator[tuple[list[_State], bool]]:
    """The bars without a label, each with its states, and whether it is a sampler's.

    Interpolation, upscaling and tiles behind the decoder draw the same bars. A second pass of a sampler may
    stand there too, with the model that is still on the card, but has no more steps than the first one.
    """
    most = 0
    for states in _bars_without_label(run):
        _, bar, _, is_behind_vae = states[-1]
        if bar.done:
            is_sampler = not is_behind_vae or not most or bar.total <= most
            most = max(most, bar.total) if is_sampler else most
            yield states, is_sampler


def _bars_without_label(run: Run) -> Iterator[list[_State]]:
    states: list[_State] = []
    model, is_behind_vae = "", False
    for entry in run.entries:
        fact = entry.fact
        if isinstance(fact, ModelRequestedFact | ModelLoadedFact) and fact.is_diffusion:
            model, is_behind_vae = fact.model_class or "", False
        elif isinstance(fact, ModelRequestedFact | ModelLoadedFact) and fact.model_class:
            is_behind_vae = is_behind_vae or work_of(fact.model_class) is Work.VAE
        elif _begins_sampling(fact):
            is_behind_vae = False
        if states and _is_full(states[-1].bar) and _begins_sampling(fact):
            yield states
            states = []
        if not isinstance(fact, BarFact) or fact.label:
            continue
        if states and _is_another(entry, fact, states):
            yield states
            states = []
        states.append(_State(entry, fact, model, is_behind_vae))
    if states:
        yield states


def _is_full(bar: BarFact) -> bool:
    return bar.done == bar.total


def _begins_sampling(fact: LogFact | None) -> bool:
    """Whether a bar that comes after it is another one, even if a log keeps only the ends of bars."""
    return isinstance(fact, SamplingFact | WeightsFact) or (
        isinstance(fact, ModelRequestedFact | ModelLoadedFact)
        and (fact.is_diffusion or not fact.model_class or fact.model_class.startswith("Control"))
    )


def _is_another(entry: LogEntry, bar: BarFact, states: Sequence[_State]) -> bool:
    """Whether a state is of another bar than those before it: tqdm draws the last one twice."""
    before, last = states[-1].entry, states[-1].bar
    if bar.total != last.total or bar.done < last.done:
        return True
    if bar.elapsed_s < last.elapsed_s:
        # Dynamic VRAM sets its clock anew behind the first step. Source: comfy/utils.py, model_trange.
        return not last.done == 1 < bar.done
    if bar.done > last.done or entry.number == before.number:
        return False
    # A log that has a line for each state shows more of a bar than its end.
    begun = states[0]
    is_whole = _is_full(bar) and (_is_full(begun.bar) or begun.entry.number == before.number)
    if is_whole and (b"\r" in entry.dress or bar.elapsed_s - last.elapsed_s > _CLOCK_S):
        return True  # as a console is written to: what is drawn again stands in the same line
    if entry.at_s is not None and before.at_s is not None:
        return entry.at_s - before.at_s > max(_clock_s(entry.at_s, before.at_s), _seconds(bar) / 2)
    # A file keeps of a bar what is drawn at its end; pasted, it has a line's end for each return.
    is_again = entry.number == before.number + 1 and not before.above[undress(before.above).text].strip()
    return is_whole and not is_again


def _clock_s(*stamps: float) -> float:
    """What stamps may be off: most often they have fractions of seconds."""
    return _CLOCK_S if all(stamp.is_integer() for stamp in stamps) else _FINE_CLOCK_S


def _seconds(bar: BarFact) -> float:
    """How long it took: its clock counts whole seconds, and its pace is better where it agrees with that."""
    pace = bar.seconds_per_step
    if pace is not None and abs(bar.done * pace - bar.elapsed_s) < _CLOCK_S:
        return bar.done * pace
    return bar.elapsed_s


def _sampler(bar: BarFact, first_s: float | None, model: str) -> Sampler:
    """A bar as a sampler, its first step apart where it is not like the others."""
    pace, seconds = bar.seconds_per_step, _seconds(bar)
    apart = None
    if first_s is not None and pace is not None and first_s > seconds and bar.done > 1:
        seconds, apart = first_s + (bar.done - 1) * pace, first_s
    elif first_s is not None and bar.done > 1:
        rest = (seconds - first_s) / (bar.done - 1)
        # Below two seconds the clock's whole seconds say nothing of one step, nor of all that follow it.
        if first_s >= 2 and seconds - first_s > _CLOCK_S and first_s > 1.5 * rest:
            pace, apart = rest, first_s
    return Sampler(
        steps=bar.done,
        seconds=round(seconds, 3),
        seconds_per_step=pace,
        first_step_s=apart,
        model_class=model,
    )


def phases_of(run: Run) -> tuple[PhaseTime, ...]:
    """Where its seconds went; they add up to what ComfyUI says it took."""
    return _read(run)[0]


def doubts_of(run: Run) -> tuple[str, ...]:
    """What its lines tell of time and contradict each other in, in words: that was not believed."""
    return _read(run)[1]


def _read(run: Run) -> tuple[tuple[PhaseTime, ...], tuple[str, ...]]:
    """What ComfyUI says that a prompt took is its own clock's, which nobody sets: it counts first."""
    wall_s = run.seconds
    bars = _bars(run)
    found = _of_bars(bars)
    if wall_s is None:
        return tuple(found), ()
    doubts = []
    barred_s = sum(phase.seconds for phase in found)
    if barred_s > wall_s + clocks_off_s(wall_s):
        doubts.append(f"bars of {seconds_words(barred_s)} in a prompt of {seconds_words(wall_s)}")
        found, bars = [], {}
    if is_stamped(run):
        by_stamps = _stamp_phases(run, bars)
        doubt = _doubt_of_stamps(run, wall_s)
        if not doubt and sum(each.seconds for each in (*found, *by_stamps)) > wall_s + clocks_off_s(wall_s):
            doubt = "stamps that leave the bars no time"
        if doubt:
            doubts.append(doubt)
        else:
            found = sorted([*found, *by_stamps], key=lambda each: list(Phase).index(each.phase))
    return filled(found, wall_s), tuple(doubts)


def _bars(run: Run) -> dict[int, PhaseTime]:
    """What the bars tell, by the number of the line in which each was drawn last."""
    samplers = list(_samplers(run))
    two = (Phase.SAMPLING_HIGH, Phase.SAMPLING_LOW)
    names = two if _are_experts(run, samplers) else (Phase.SAMPLING,) * len(samplers)
    found = {
        entry.number: PhaseTime(phase=name, seconds=each.seconds, source="bars", detail=_detail(each))
        for name, (entry, each) in zip(names, samplers, strict=True)
        if each.seconds > 0
    }
    others = (states[-1] for states, is_sampler in _unlabelled(run) if not is_sampler)
    found |= {
        entry.number: PhaseTime(phase=Phase.FINISHING, seconds=_seconds(bar), source="bars")
        for entry, bar, _, _ in others
        if bar.elapsed_s > 0
    }
    return found | dict(_labelled(run))


def _are_experts(run: Run, samplers: list[tuple[LogEntry, Sampler]]) -> bool:
    """Whether two samplers are those of WAN 2.2's two experts, as far as what was loaded tells."""
    models = {sampler.model_class for _, sampler in samplers} - {""}
    if len(samplers) != 2 or len(models) > 1 or not all(each.startswith("WAN21") for each in models):
        return False
    if run.read or not run.may_have_experts:
        return run.may_have_experts
    first = samplers[0][0].number
    loads = [entry.number for entry, fact in run.of(ModelLoadedFact) if fact.is_diffusion]
    loads += [entry.number for entry, fact in run.of(ModelRequestedFact) if fact.is_diffusion]
    return min(loads, default=first) < first < max(loads, default=first)


def _labelled(run: Run) -> Iterator[tuple[int, PhaseTime]]:
    """The other bars of which it is known what they count."""
    bars = [(entry.number, fact) for entry, fact in run.of(BarFact) if fact.label]
    for (number, bar), (_, then) in zip_longest(bars, bars[1:], fillvalue=(0, None)):
        if bar is None or (then is not None and then.label == bar.label and then.done > bar.done):
            continue
        phase = next((phase for phase, words in _LABELS.items() if words.match(bar.label)), None)
        if phase is not None and bar.elapsed_s > 0:
            yield number, PhaseTime(phase=phase, seconds=bar.elapsed_s, source="bars")


def _of_bars(bars: Mapping[int, PhaseTime]) -> list[PhaseTime]:
    """Of each sampler by itself, of the others those of one phase together."""
    found = [each for each in bars.values() if each.detail]
    others = [each for each in bars.values() if not each.detail]
    for phase in dict.fromkeys(each.phase for each in others):
        seconds = sum(each.seconds for each in others if each.phase is phase)
        found.append(PhaseTime(phase=phase, seconds=seconds, source="bars"))
    return sorted(found, key=lambda each: list(Phase).index(each.phase))


def _doubt_of_stamps(run: Run, wall_s: float) -> str:
    """Why the stamps are not believed: their clock was set meanwhile, or they tell when a line was copied."""
    ends = [each.at_s for each in (run.began, run.end) if each is not None and each.at_s is not None]
    inner = [entry.at_s for entry in run.entries if entry.at_s is not None]
    stamps = [*ends[:-1], *inner, *ends[-1:]]
    back_s = max((a - b for a, b in pairwise(stamps)), default=0.0)
    if back_s > clocks_off_s(wall_s):
        return f"stamps that go back by {seconds_words(back_s)}"
    # Before its first line a prompt is checked, and that is not of its time.
    longest, shortest = stamps[-1] - inner[0], stamps[-1] - stamps[0]
    if longest > wall_s + clocks_off_s(wall_s):
        return f"stamps {seconds_words(longest)} apart in a prompt of {seconds_words(wall_s)}"
    if len(ends) == 2 and shortest < wall_s - clocks_off_s(wall_s):
        return f"stamps {seconds_words(shortest)} apart in a prompt of {seconds_words(wall_s)}"
    return ""


def wait_s(run: Run, others: Iterable[Run]) -> float | None:
    """How long it stood in ComfyUI's queue, by stamps.

    Args:
        others: the prompts that may have run meanwhile.
    """
    queued, began = run.queued, run.began
    if queued is None or began is None or queued.at_s is None or began.at_s is None:
        return None
    meanwhile = (
        each for each in others if each.done is not None and queued.number < each.done.number <= began.number
    )
    if began.at_s < queued.at_s or any(map(doubts_of, meanwhile)):
        return None
    return began.at_s - queued.at_s


def work_at_end(run: Run) -> Work:
    """What a prompt was at when an error ended it, as far as its lines tell."""
    work = Work.OTHER
    for entry in run.entries:
        fact = entry.fact
        if isinstance(fact, NodeFailedFact | OutOfMemoryFact):
            break
        if isinstance(fact, BarFact) and not fact.label:
            # Behind a sampler's last step comes the decoder, or another sampler's model.
            work = Work.SAMPLE if fact.done < fact.total else Work.VAE
        elif isinstance(fact, SamplingFact):
            work = Work.SAMPLE
        elif isinstance(fact, VaeRetryFact):
            work = Work.VAE
        elif isinstance(fact, ModelRequestedFact | ModelLoadedFact) and fact.model_class:
            work = work_of(fact.model_class) or (Work.SAMPLE if fact.is_diffusion else Work.OTHER)
    return work


def work_of(model_class: str) -> Work | None:
    """For what a model that is no diffusion model is brought onto the card."""
    return next((work for work, words in _WORKS.items() if any(each in model_class for each in words)), None)


def _detail(sampler: Sampler) -> str:
    pace = f" × {sampler.seconds_per_step:.2f} s" if sampler.seconds_per_step is not None else ""
    first = f", the first {sampler.first_step_s:.0f} s" if sampler.first_step_s is not None else ""
    return f"{sampler.steps} step{'s' if sampler.steps != 1 else ''}{pace}{first}"


def is_stamped(run: Run) -> bool:
    """Whether its lines have stamps by which its time can be told apart."""
    stamps = {entry.at_s for entry in run.entries if entry.at_s is not None}
    # One stamp for all is that of whoever copied the log.
    return run.end is not None and run.end.at_s is not None and len(stamps) > 1


def _stamp_phases(run: Run, bars: Mapping[int, PhaseTime]) -> list[PhaseTime]:
    return [
        PhaseTime(
            phase=phase,
            seconds=round(seconds, 3),
            source="stamps",
            detail="a step that did not end" if phase in _SAMPLINGS else "",
        )
        for phase, seconds in _by_stamps(run, bars).items()
        if seconds > 0
    ]


def _by_stamps(run: Run, bars: Mapping[int, PhaseTime]) -> dict[Phase, float]:
    """Seconds beside those that bars tell, by phase. ComfyUI's own clock begins when the prompt does.

    What no line tells of is left out: such as what is done before the first model.
    """
    last = run.end
    if last is None or last.at_s is None:
        return {}
    found: dict[Phase, float] = {}
    before, doing = last.at_s - (run.seconds or 0.0), Phase.UNEXPLAINED
    told = _Told(run, bars)
    unstamped_s = 0.0  # of bars: whoever stamps a server's output may leave out what it calls errors
    for entry in run.entries:
        bar = bars.get(entry.number)
        if entry.at_s is None and bar is not None:
            unstamped_s += bar.seconds
        if entry.at_s is None or (
            bar is None and isinstance(entry.fact, BarFact) and not _begins(entry.fact)
        ):
            continue
        spent = max(entry.at_s - before - unstamped_s, 0.0)
        before = max(entry.at_s, before)
        if unstamped_s:
            doing, unstamped_s = Phase.UNEXPLAINED, 0.0  # before the bar, or behind it
        if bar is not None:
            spent = max(spent - bar.seconds, 0.0)
        phase = told.ended_by(entry, doing)
        found[phase] = found.get(phase, 0.0) + spent
        doing = told.begun_by(entry, doing)
    found[doing] = found.get(doing, 0.0) + max(last.at_s - before - unstamped_s, 0.0)
    found.pop(Phase.UNEXPLAINED, None)  # as all that is left
    return found


def _begins(bar: BarFact) -> bool:
    """Whether it is a sampler's that has begun its first step."""
    return bar.done == 0 and not bar.label


class _Told:
    """What the lines of a prompt say of the time before and behind them, read one by one."""

    def __init__(self, run: Run, bars: Mapping[int, PhaseTime]) -> None:
        self._bars = bars
        samplers = [(number, each.phase) for number, each in bars.items() if each.detail]
        self._first_sampler, self._last_sampler = (samplers[0][0], samplers[-1][0]) if samplers else (0, 0)
        self._last_sampling = samplers[-1][1] if samplers else Phase.SAMPLING
        self._text_on_cpu = any(fact.device == "cpu" for _, fact in run.of(TextEncoderFact))
        self._read = run.read  # diffusion models: so many times one may be asked for as a new one
        self._asked = 0
        self._makes_room = self._comes_back = self._in_vae = False

    def ended_by(self, entry: LogEntry, doing: Phase) -> Phase:
        """What the time before a line belongs to.

        Args:
            doing: what the line before it has begun.
        """
        fact = entry.fact
        if isinstance(fact, InterpolatedFact):
            return Phase.FRAMES
        if isinstance(fact, VaeRetryFact) and self._in_vae:
            return Phase.VAE if fact.decoding else Phase.IMAGE
        if self._is_evicting(fact):
            return Phase.EVICTING
        # A text encoder on the CPU takes minutes, and a model that is read meanwhile is only opened.
        if isinstance(fact, _ENDS_LOADING) and not (doing is Phase.TEXT and self._text_on_cpu):
            return Phase.LOADING
        if self._is_sampler(entry):
            return doing if doing is Phase.LOADING else Phase.UNEXPLAINED
        return doing

    def _is_evicting(self, fact: LogFact | None) -> bool:
        """Whether a model has left the card since another was asked for, or is back that was there before."""
        has_left = isinstance(fact, EvictedFact) or (isinstance(fact, UnloadedFact) and fact.models > 0)
        return (has_left and self._makes_room) or (isinstance(fact, ModelLoadedFact) and self._comes_back)

    def begun_by(self, entry: LogEntry, doing: Phase) -> Phase:
        """What the time after a line belongs to."""
        fact = entry.fact
        if isinstance(fact, ModelRequestedFact):
            self._makes_room, self._comes_back, self._in_vae = True, self._was_here(fact), False
            return Phase.LOADING
        if isinstance(fact, ModelLoadedFact):
            self._makes_room = self._comes_back = False
            return self._for_which(fact, entry.number)
        if self._is_sampler(entry) and isinstance(fact, BarFact):
            return Phase.FINISHING if fact.done == fact.total else self._last_sampling
        if isinstance(fact, BarFact):
            is_sampling = _begins(fact) and not (self._in_vae and entry.number > self._last_sampler)
            return self._last_sampling if is_sampling else doing
        if isinstance(fact, WeightsFact | TextEncoderFact | VaeFact | GgufFact):
            return Phase.LOADING
        return Phase.SAVING if isinstance(fact, InterpolatedFact) else doing

    def _is_sampler(self, entry: LogEntry) -> bool:
        return entry.number in self._bars and bool(self._bars[entry.number].detail)

    def _was_here(self, fact: ModelRequestedFact) -> bool:
        """Whether a model is asked for that was loaded before, since no other was read."""
        self._asked += fact.is_diffusion
        return fact.is_diffusion and bool(self._read) and self._asked > (self._read or 0)

    def _for_which(self, fact: ModelLoadedFact, number: int) -> Phase:
        """What a model is brought onto the card for."""
        work = work_of(fact.model_class or "")
        if work is Work.VAE:
            self._in_vae = True
            return Phase.IMAGE if number < self._first_sampler else Phase.FINISHING
        # A diffusion model samples next, which bars tell; where they are missing nothing does.
        return {Work.TEXT: Phase.TEXT, Work.IMAGE: Phase.IMAGE}.get(work or Work.OTHER, Phase.UNEXPLAINED)
