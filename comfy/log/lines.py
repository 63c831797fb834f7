"""A line of ComfyUI's log becomes a typed fact, or None: most lines say nothing we need.

One row for each form of a line (`comfyui_forms`, `node_forms`), with the releases whose log has it;
`tests/data/comfyui/logs` holds real lines of each generation, and a test reads every row against them. Forks
reword lines or print them at debug level, so nothing may depend on a fact being there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Generic, TypeVar

from comfy.log.comfyui_forms import AT_START, OF_A_PROMPT
from comfy.log.facts import BarFact, LogFact, ModelLoadedFact, ModelRequestedFact
from comfy.log.form import NUMBER, LineForm
from comfy.log.node_forms import OF_NODES
from comfy.log.system_forms import OF_THE_SYSTEM
from comfy.log.text import LogLevel

FORMS: Final[tuple[LineForm, ...]] = (*AT_START, *OF_A_PROMPT, *OF_NODES, *OF_THE_SYSTEM)

HEAD: Final = 3  # so many characters of a line tell which rows may fit; every beginning is at least as long
_LEAST_BEGUN: Final = 10  # characters
_MOST_REQUESTS: Final = 16
_MOST_SIZES: Final = 1000
_ALIKE: Final = 0.25  # by which two partial loads of one model may differ
GRAVE: Final = ("WARNING", "Warning", "ERROR", "Error")  # before 0.23 the level is not told


Said = TypeVar("Said")


def read_line(text: str) -> LogFact | None:
    """Read one plain line, as `comfy.log.text.plain_lines` gives it."""
    form = form_of(text)
    return _read(form[0].read, form[1]) if form is not None else None


def form_of(text: str) -> tuple[LineForm, re.Match[str]] | None:
    """Which form a plain line has; the first row that fits counts."""
    text = text.lstrip()
    rows = _NUMBERED if text[:1].isdecimal() else _BY_HEAD.get(text[:HEAD], ())
    for form in rows:
        found = form.pattern.match(text)
        if found is not None:
            return form, found
    for form in OF_THE_SYSTEM:
        found = form.pattern.search(text)
        if found is not None:
            return form, found
    return None


def is_begun(text: str) -> bool:
    """Whether it begins as a known line does, and is none: its end may stand in the next one."""
    text = text.strip()
    return len(text) >= _LEAST_BEGUN and any(
        text.startswith(words) or words.startswith(text)
        for row in _BY_HEAD.get(text[:HEAD], ())
        for words in row.begins
        if len(words) >= _LEAST_BEGUN  # many lines begin with "Using " or "Model "
    )


def is_bar(text: str) -> bool:
    """Whether it has the form of a progress bar."""
    return _BAR.match(text) is not None


def read_bar(text: str) -> BarFact | None:
    """Read one state of a progress bar of tqdm's; `first_s` is set where it is the first step's."""
    found = _BAR.match(text)
    return _read(_bar, found) if found is not None else None


def _bar(found: re.Match[str]) -> BarFact | None:
    done, total = int(found["done"]), int(found["total"])
    if done > total or not total:  # tqdm draws no bar then: somebody else wrote it
        return None
    elapsed_s, pace = _clock_s(found["elapsed"]), found["pace"]
    per_step = None
    if pace is None and found["cut"] is not None:
        per_step = elapsed_s / done if done else None
    elif pace is not None and "?" not in pace and float(pace) > 0:
        per_step = float(pace) if found["unit"].startswith("s/") else 1 / float(pace)
    return BarFact(
        label=(found["label"] or "").strip().rstrip(":") or _counted(found["unit"] or "", total, per_step),
        done=done,
        total=total,
        elapsed_s=elapsed_s,
        first_s=elapsed_s if done == 1 else None,
        seconds_per_step=per_step,
    )


def _read(read: Callable[[re.Match[str]], Said], found: re.Match[str]) -> Said | None:
    """What a line says; one that a pattern lets pass and nobody foresaw costs itself, never the report."""
    try:
        return read(found)
    except (ArithmeticError, LookupError, ValueError):
        return None


def is_unknown_trouble(text: str, level: LogLevel | None) -> bool:
    """Whether a line that is no fact is a warning or error, and none that says nothing of the machine."""
    grave = level.is_trouble if level is not None else text.startswith(GRAVE)
    return grave and _WELL_KNOWN.match(text) is None


def named(fact: LogFact, requested: ModelRequestedFact | None) -> LogFact:
    """The same fact, with its model where the line that asked for it is known."""
    if isinstance(fact, ModelLoadedFact) and fact.model_class is None and requested is not None:
        return replace(fact, model_class=requested.model_class)
    return fact


Request = TypeVar("Request")


class Requests(Generic[Request]):
    """Which request a "loaded" line answers.

    Models that are asked for together, in lines that follow each other, are loaded in that order; what is on
    the card in part is loaded further without a request. Source: comfy/model_management.py, load_models_gpu.
    """

    def __init__(self) -> None:
        self._open: deque[tuple[Request, str]] = deque(maxlen=_MOST_REQUESTS)
        self._line = 0

    def ask(self, request: Request, text: str, line: int) -> None:
        """Note a request."""
        # A text encoder is asked for by itself: what is asked for behind it belongs to another call.
        if line > self._line + 1 or (self._open and _TEXT_ENCODER.search(self._open[-1][1])):
            self._open.clear()
        self._line = line
        self._open.append((request, text))

    def answer(self, text: str) -> Request | None:
        """The request of a "loaded" line, which is answered by it."""
        if not text.startswith("Model "):  # of dynamic VRAM, whose lines name their models
            return self._open.popleft()[0] if self._open else None
        name = text.split(" ", 2)[1]
        mine = next((each for each in self._open if each[1].rpartition(" ")[2].strip() == name), None)
        if mine is not None:
            self._open.remove(mine)
        return None

    def forget(self) -> None:
        """A prompt is over: what is loaded next is not of it."""
        self._open.clear()


_TEXT_ENCODER: Final = re.compile(r"C(?:lip|LIP)(?!Vision)|TEModel|T5")


class ModelNames:
    """Names the models that are loaded without a request of their own, by the size at which others came."""

    def __init__(self) -> None:
        self._by_size: dict[int, str | None] = {}
        self._last: ModelLoadedFact | None = None

    def name(self, fact: ModelLoadedFact) -> ModelLoadedFact:
        """The same load, with its model's class if that is known."""
        size = fact.whole_mib
        if fact.model_class is None:
            found = self._by_size.get(round(size)) if size is not None else self._of_last(fact)
            fact = replace(fact, model_class=found) if found else fact
        elif size is not None and len(self._by_size) < _MOST_SIZES:
            known = self._by_size.setdefault(round(size), fact.model_class)
            if known != fact.model_class:
                self._by_size[round(size)] = None
        self._last = fact
        return fact

    def _of_last(self, fact: ModelLoadedFact) -> str | None:
        """Old lines do not say how much is left out: one that follows a like one is about the same model."""
        last = self._last
        if last is None or last.state is not fact.state or not last.loaded_mib or not fact.loaded_mib:
            return None
        return last.model_class if abs(fact.loaded_mib / last.loaded_mib - 1) < _ALIKE else None


def _clock_s(text: str) -> float:
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _counted(unit: str, total: int, per_step_s: float | None) -> str:
    """What a bar without a label counts, such as frames; empty where it may be steps of a sampler."""
    if total > _MOST_STEPS:
        return "bytes"  # of a file, by whoever leaves the unit out
    if per_step_s is not None and per_step_s < _FASTEST_STEP_S:
        return "items"  # words that a captioner ranks, files that are looked through
    noun = unit.removeprefix("s/").removesuffix("/s").strip()
    return "" if noun in ("", "it", "step", "steps") else noun


_MOST_STEPS: Final = 100_000
_FASTEST_STEP_S: Final = 0.005  # the fastest samplers that were seen take 0.05 s
BAR_SAMPLE: Final = " 50%|█████     | 10/20 [02:15<02:15, 13.51s/it]"
_BAR: Final = re.compile(
    # Whoever types one off a screen leaves the bar out, a notebook what stands before it, and narrow windows
    # cut its end.
    r"(?:(?P<label>[^|\r\n]{0,80}?)\s*\d{1,3}%(?:\|[^|\r\n]{0,1000}\||\|?\s)\s*)?"
    # Bytes per second are of a download.
    r"(?P<done>\d{1,9})/(?P<total>\d{1,9}) \[(?![^\]]*B/s)"
    r"(?P<elapsed>(?:\d{1,5}:)?\d\d:\d\d)(?:<|&lt;)[\d:?]{0,12}(?P<cut>,?\s*[\d.]{0,12}\s*$)?"
    rf"(?:,\s*(?P<pace>{NUMBER}|\?)\s*"
    r"(?P<unit>s/[a-zA-Z]{1,12}|[a-zA-Z]{1,12}/s))?"
)
_WELL_KNOWN: Final = re.compile(
    r"No target revision found\.$"  # a new database
    r"|Traceback \(most recent call last\):$"  # of the error in the line before
    # A graph that does not pass, told line by line.
    r"|Failed to validate prompt for output |\* (?:\(prompt\)|\S.* \S+):$| +- .+: |Output will be ignored$"
    # Files that do not fit each other.
    r"|clip missing: |unet missing: |unet unexpected: "
    r"|\[DEPRECATION WARNING\] "  # of the editor's scripts
    r"|(?:WARNING: )?send error: "  # a client went away
    # An input that the node has since a later release.
    r"|\[VideoHelperSuite\] - WARNING - Missing input for "
)


def _by_head() -> dict[str, tuple[LineForm, ...]]:
    found: dict[str, list[LineForm]] = {}
    for row in FORMS:
        for head in dict.fromkeys(words[:HEAD] for words in row.begins):
            found.setdefault(head, []).append(row)
    return {head: tuple(rows) for head, rows in found.items()}


_BY_HEAD: Final = _by_head()
_NUMBERED: Final = tuple(row for row in FORMS if not row.begins and row not in OF_THE_SYSTEM)
HEADS: Final = frozenset(_BY_HEAD)
