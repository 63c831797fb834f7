"""What others put around a line: stamps and prefixes of containers, clusters, journals and hosts.

Docker (`logs -t`, its JSON file, compose), Kubernetes (CRI files, `--timestamps`, `--prefix`, stern),
journald and syslog, RunPod (console, the SDK's own JSON), ComfyUI-Manager's and ComfyUI's log files, SwarmUI,
electron-log, Python's logging, loguru, Celery, Ray, PM2, Kaggle, and the farm's own log files. All of it
works on bytes, since a line that says nothing is never decoded.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final, NamedTuple

from comfy.log.lines import read_bar, read_line
from comfy.log.text import LogLevel

_MOST_LAYERS: Final = 10
_LONGEST_BEFORE: Final = 100  # of what stands before each line of a log
ALIKE: Final = bytes.maketrans(b"0123456789", b"0000000000")
# How layers begin: with such a byte or word, a date, or a name and "|". A host's stands behind a stamp.
DRESSES: Final = frozenset(bytes([each]) for each in b"0123456789[{(<|.\x1b\xef> \t*`\\^")
WORDS: Final = frozenset(
    (b"stdout ", b"stderr ", b"DEBUG", b"INFO", b"WARNING", b"ERROR", b"CRITICAL",
     b"- **", b"info ", b"warn ", b"warning ", b"error ", b"debug ", b"system ", b"root ")
)  # fmt: skip
# A pod of a deployment. Source: k8s.io/apimachinery pkg/util/rand, whose letters make no words.
_POD: Final = rb"[a-z][a-z0-9.-]{0,100}-[bcdf-hj-np-tv-xz0-9]{8,10}-[bcdf-hj-np-tv-xz0-9]{5}"
DATE_OR_NAME: Final = (
    rb"[A-Z][a-z][a-z] (?:[A-Z][a-z][a-z] |\d{4}-)?[ \d]\d|[IWEF]\d{4} \d"
    rb"|[\w.@-]{1,64}+(?: {0,20}+\| |\[(?:info|warn|error)| [\w.-]{1,64}+ \xe2\x80\xba )"
    rb"|%b [a-z0-9.-]{1,63} " % _POD
)

# Written out, or become the mark of a character that some encoding has not.
_ESCAPE: Final = rb"(?:\x1b|\\u001b|\\x1b|\\033|\^\[|\xef\xbf\xbd)"
_LEVELS: Final = rb"DEBUG|DETAIL|INFO|WARNING|ERROR|CRITICAL"
# Whoever hands a line on gives it a level of his own, which says nothing of the line.
_OTHER_LEVELS: Final = (
    rb"(?i:verbose|trace|debug|dbg|init|info|inf|warn|warning|wrn|error|err|fatal|system|success)"
)
_DAY: Final = rb"(?:\d{4}[-/]\d\d[-/]\d\d)"
_TIME: Final = rb"\d\d:\d\d:\d\d(?:[.,:]\d{1,9})?"
# "  - Value not in list: …" of a prompt that does not pass: its mark is no dress.
_COMPLAINS: Final = rb" +- (?:Value|Required|Custom|Failed|Return|Bad|Exception|Dependency) "
_LOGGER: Final = rb"(?:root|__main__|[A-Za-z_]\w{0,40}(?:\.\w{1,40}){1,8}|\w{1,40}-\d{1,5})"

# Each is one layer; several may lie over each other.
_LAYER: Final = re.compile(
    rb"[ \t]*+(?:"  # a block may be indented
    # Copied off a screen or out of JSON, an escape may be written out, or be gone.
    rb"(?:\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|%(escape)b?\[[0-9;]{1,8}m)+"
    # of Celery, where the level stands within
    rb"|\[(?P<iso2>%(day)b %(time)b): (?P<level3>%(levels)b)/[\w-]{1,40}\] "
    rb"|[\[(]?(?P<iso>%(day)b[T ]%(time)b) ?(?P<zone>Z|[+-]\d\d:?\d\d)?(?: UTC)?[\])]?"
    rb"(?: ?[-:] | *\| | +|\||(?=\[)|$)"  # but "   - " begins a complaint
    rb"|\[%(day)b \d\d:\d\d\] "  # of ComfyUI-Manager's file in 2024
    rb"|[\[(]?(?P<clock>%(time)b)[\])]?(?: ?- | *\| | +|(?=\[))"
    rb"|[\[(] {0,2}(?P<level>%(levels)b) {0,4}[\])]:?(?:%(escape)b?\[0m)?(?: [-|] | |$)"
    rb"|[\[(] {0,2}%(other_levels)b {0,4}[\])]:?(?: [-|] | )"
    # Kubernetes; SwarmUI; somebody's own names for the server and its pipes
    rb"|\[(?P<pod>pod/[\w./-]{1,200})\] "
    rb"|\[(?i:(?P<backend>comfy(?:ui)?(?:[-_ ]?\d{1,3})?)(?:[-_ /:](?:stderr|stdout|server|backend))?"
    rb"|std(?:err|out)|(?:main)?thread(?:-\d{1,5})?|mainprocess|rank ?\d{1,4}|\d{1,7})\]:? "
    rb"|\[(?P<worker>[a-z0-9]{10,20})\] |(?P<worker2>[a-z0-9-]{8,40})\[(?:info|warn|warning|error)\] ?"
    rb"|[A-Z][a-z]{2} (?=%(day)b |[A-Z][a-z]{2} [ \d]\d )"  # a weekday
    rb"|\d{1,2}[/.]\d{1,2}[/.]\d{4},? \d{1,2}:\d\d:\d\d(?: [AP]M)?(?: ?[-:] | *\| | +)"
    rb"|\[ {0,9}\d{1,9}\.\d{6}\] |\d{10}\.\d{1,9} |\d{13} |<\d{1,3}>(?:1 )?"  # of kernels and syslog
    # numbers of lines; seconds and such numbers of Kaggle
    rb"|\d{1,7}(?:: ?|\t)(?=[A-Za-z!\[ ]|\d+[ %%])|\d{1,6}\.\ds[ \t]+\d{1,7}[ \t]+"
    rb"|(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<time>\d\d:\d\d:\d\d(?:\.\d+)?) (?:\d{4} )?"
    # of torch: level, day, time, process, file and line, compiled frame
    rb"|(?:\[rank\d+\]:)?[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{1,9} +(?:\d{1,9} )?\S{1,200}:\d{1,6}\] "
    rb"(?:\[\S{1,40}\] )*"
    # and before 2.3, behind a stamp
    rb"|(?:\[\S{1,40}\] )*torch\.[\w.]{1,60}: (?=\[WARNING\])"
    rb"|\((?P<actor>\w{0,60} ?pid=\d{1,9}(?:, ip=[\d.]{1,20})?)\) "  # of Ray
    rb"|(?:stdout|stderr) [FP] "
    rb"|(?:> ?)+|(?:[-*] )?(?:\*\*|`)(?=[\w!])"  # of whoever quotes it
    rb"|\.{1,99}(?=[A-Z][a-z])"  # of whoever counts on the same line
    # of vLLM, whose logger Ray lends to all that run in it
    rb"|(?P<level4>%(levels)b) \d\d-\d\d %(time)b (?:\[[\w./-]{1,80}:\d{1,6}\] )?"
    rb"|(?P<level2>%(levels)b)(?:(?!%(complains)b) {0,8} [-|] |:%(logger)b:)"
    rb"|(?:INFO|DEBUG):? +"
    rb"|(?:info|warn|warning|error|debug|system|root) [-|] "
    rb"|[\w.<>]{1,80}:[\w.<>]{1,60}:\d{1,6} - "  # of loguru: module, function and line
    # host unit[pid]: of journald and syslog
    rb"|(?P<unit>[\w.-]{1,64}+ [\w.@/-]{1,64}+)\[\d{1,7}\]: "
    # "comfyui-1  | " of compose, "5x7abc | " of a host's worker, "0|comfyui  | " of PM2
    rb"|(?P<container>(?:\d{1,4}\|)?[\w.@-]{1,64}+) {0,20}\| "
    # of stern, whose notices have the mark
    rb"|(?P<container2>[\w.-]{1,64}+ [\w.-]{1,64}+) \xe2\x80\xba |(?P<container3>%(pod)b [a-z0-9.-]{1,63}) "
    rb"|\|[ \t]+"  # of a table
    rb")"
    % {
        b"escape": _ESCAPE,
        b"day": _DAY,
        b"time": _TIME,
        b"levels": _LEVELS,
        b"other_levels": _OTHER_LEVELS,
        b"logger": _LOGGER,
        b"complains": _COMPLAINS,
        b"pod": _POD,
    }
)
# These are layers only behind a stamp: ComfyUI's own lines begin with such words as well.
_BEHIND_A_STAMP: Final = re.compile(
    rb"(?:%(logger)b (?:- )?)?(?:\d{1,7} )?(?P<level>%(levels)b|WARN|DEBG|INF|WRN|ERR)"
    rb"(?!:? {1,8}(?:SHAPE MISMATCH|(?:lora|loha|lokr|glora|diff|set) \S))"
    rb"(?:(?=%(complains)b) | *[-|] *(?:%(logger)b(?: - |: |\|))?"
    rb"|(?:: +| {1,8})(?:\[%(logger)b\] |%(logger)b(?: - |: | \| ))?)"
    rb"|%(logger)b(?: - |: )|\[%(logger)b\](?: - |: | |(?=\[))"
    % {b"levels": _LEVELS, b"logger": _LOGGER, b"complains": _COMPLAINS}
)
# A stamp of the next write that stands at the end of this one.
_GLUED: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?) - *$")
_LONGEST_GLUED: Final = 40


# Groups that say whose line it is, where lines of many stand in one log; and what compose says of an end.
_WHOSE: Final = (
    "pod", "backend", "worker", "worker2", "actor", "unit", "container", "container2", "container3",
)  # fmt: skip
_END_OF_A_CONTAINER: Final = re.compile(rb"(?P<container>[\w.@-]{1,64}+) exited with code ")


class Undressed(NamedTuple):
    """Where in a line what stands, without what others put around it."""

    text: slice
    stamp: slice | None  # `moment` reads it
    zone: slice | None
    level: LogLevel | None
    source: slice | None  # the name of the container, unit or worker whose line it is


def undress(line: bytes, learned: Collection[bytes] = ()) -> Undressed:
    """Look through all layers that are known.

    Args:
        learned: what else stands before the lines of this log, its digits all 0.
    """
    stamp: slice | None = None
    zone: slice | None = None
    source: slice | None = None
    level: LogLevel | None = None
    at = 0
    for _ in range(_MOST_LAYERS):
        found = _LAYER.match(line, at)
        if found is not None and found.end() > at:
            if stamp is None:
                stamp, zone = _stamp(found), _span(found, "zone")
            source = source or next(filter(None, (_span(found, each) for each in _WHOSE)), None)
            told = found["level"] or found["level2"] or found["level3"] or found["level4"]
        elif stamp is not None and (found := _BEHIND_A_STAMP.match(line, at)) is not None:
            told = found["level"]
        else:
            shape = line[at : at + _LONGEST_BEFORE].translate(ALIKE)
            before = next(filter(shape.startswith, learned), None)
            if before is None:
                break
            at += len(before)
            continue
        at = found.end()
        level = _LEVELS_OF.get(told, level) if told else level
    end = len(line)
    if line[-2:] in (b"- ", b" -"):
        glued = _GLUED.search(line, at)
        end = glued.start() if glued is not None else end
    if source is None and (found := _END_OF_A_CONTAINER.match(line, at)) is not None:
        source = _span(found, "container")
    return Undressed(slice(at, end), stamp, zone, level, source)


def glued_stamp(line: bytes) -> bytes:
    """The stamp at a line's end, which is of what was written next; empty where there is none.

    A bar is written without an end of line before it or behind it, so ComfyUI's own record stamps the lines
    around it: the one above ends in its stamp. Source: ComfyUI app/logger.py, LogInterceptor.
    """
    found = _GLUED.search(line[-_LONGEST_GLUED:].rstrip())
    return found[1] if found is not None else b""


_LEVELS_OF: Final = {each.value.encode(): each for each in LogLevel} | {
    b"WARN": LogLevel.WARNING, b"WRN": LogLevel.WARNING, b"ERR": LogLevel.ERROR,
}  # fmt: skip

# Lines that ComfyUI alone writes, and nobody in a sentence of his own.
_USUAL: Final = (
    b"got prompt\n", b"Prompt executed in ", b"Requested to load ", b"loaded completely", b"loaded partially",
    b"Total VRAM ", b"ComfyUI version: ", b"pytorch version: ", b"Set vram state to: ",
    b"Using pytorch attention", b"To see the GUI go to: ", b"VAE load device: ", b"model weight dtype torch",
    b"CLIP/text encoder model load device: ", b"model_type ",
)  # fmt: skip
_LEARNED_FROM: Final = 4  # of each
_COMMON_OF: Final = 1 << 12  # bytes
_FEWEST: Final = 3  # lines that have it in common
# A machine's words, of which one line is enough: a time, or a mark that no sentence has there.
_OF_A_MACHINE: Final = re.compile(rb"\d\d:\d\d:\d\d|[\[\]|<>{}#@=\xe2]")


def learn(block: bytes, *, is_first: bool = True) -> frozenset[bytes]:
    """What stands before well-known lines and is no layer that is known, its digits all 0.

    One line is enough where it cannot be a person's words, else there have to be two.

    Args:
        is_first: of the log, whose lines tell what all of them begin with.
    """
    common = _common(block[:_COMMON_OF]) if is_first else b""
    found = Counter({common: 2} if common else {})
    for words in _USUAL:
        at = -1
        for _ in range(_LEARNED_FROM):
            at = block.find(words, at + 1)
            if at < 0:
                break
            before = block[block.rfind(b"\n", 0, at) + 1 : at]
            rest = before[undress(before + b"x", found.keys() & {common}).text.start :]
            # A bar is no dress: what comes behind it is glued to it.
            if rest.strip() and len(rest) <= _LONGEST_BEFORE and b"\r" not in rest and not _BAR.search(rest):
                found[rest.translate(ALIKE)] += 2 if _OF_A_MACHINE.search(rest) else 1
    return frozenset(rest for rest, times in found.items() if times > 1)


def _common(block: bytes) -> bytes:
    """What nearly all lines begin with, where they say something without it alone; its digits all 0."""
    lines = [line for line in block.split(b"\n") if line.strip()]
    shapes = sorted(line.translate(ALIKE) for line in lines)
    few = len(lines) // 10
    if len(lines) < _FEWEST:
        return b""
    pairs = zip(shapes[few], shapes[-1 - few], strict=False)
    shared = bytes(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    rest = shared[undress(shared + b"x").text.start :]
    bare = [line[undress(line).text] for line in lines] if rest.strip() else []
    told = [text for text in bare if text.translate(ALIKE).startswith(rest)]
    if any(map(_says, told)):
        return b""
    ends = [found.end() for found in re.finditer(rb" +", rest[:_LONGEST_BEFORE])]
    return next((rest[:end] for end in reversed(ends) if any(_says(text[end:]) for text in told)), b"")


def _says(line: bytes) -> bool:
    text = line[undress(line).text].decode("utf-8", "replace")
    bar = read_bar(text)  # whose label may be what somebody has put before it
    return read_line(text) is not None or (bar is not None and not bar.label)


_BAR: Final = re.compile(rb"\d/\d+ \[|(?:it/s|s/it)\]|%\|")


def moment(stamp: bytes, zone: bytes) -> float | None:
    """Seconds of a stamp, since 1970 where it has a date, else since midnight: only differences count.

    A stamp without a zone is taken as UTC, one without a year as of a leap year.
    """
    text = stamp.decode("ascii", "replace").replace(",", ".").replace("/", "-")
    if len(text) > 19 and text[-4] == ":":  # before milliseconds
        text = f"{text[:-4]}.{text[-3:]}"
    try:
        if text[0].isalpha():
            return datetime.strptime(f"2000 {text[:15]}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC).timestamp()
        if len(text) < 19 or text[2] == ":":
            hours, minutes, seconds = text.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        whole = datetime.fromisoformat(text[:19].replace("T", " ")).replace(tzinfo=UTC).timestamp()
        return whole + (float(text[19:]) if len(text) > 19 else 0.0) - _zone_s(zone)
    except (ValueError, OverflowError):
        return None


def _zone_s(zone: bytes) -> float:
    if len(zone) < 5:
        return 0.0
    digits = zone[1:].replace(b":", b"")
    seconds = int(digits[:2]) * 3600.0 + int(digits[2:4]) * 60
    return -seconds if zone[:1] == b"-" else seconds


def _stamp(found: re.Match[bytes]) -> slice | None:
    if found["month"]:
        return slice(found.start("month"), found.end("time"))
    return _span(found, "iso") or _span(found, "iso2") or _span(found, "clock")


def _span(found: re.Match[bytes], group: str) -> slice | None:
    start, end = found.span(group)
    return slice(start, end) if start >= 0 else None


# As Docker's json-file driver writes it; what it escapes is left to a real parser. Fixed words stand first:
# for these a search is many times as fast as for what begins a line.
_OF_DOCKER: Final = re.compile(
    rb'\{"log":"(?<=^\{"log":")([^"\\\n]*+)(?:\\n)?","stream":"std(?:out|err)","time":"([0-9T:.-]{19,29}Z)"\}$',
    re.MULTILINE,
)


def from_docker(block: bytes) -> bytes:
    """Lines of Docker's own files as `from_json` gives them, all at once, but for those with escapes."""
    return _OF_DOCKER.sub(lambda found: found[2] + b" " + found[1], block)


def from_json(line: bytes) -> bytes:
    """A JSON line as its stamp and its message: Docker's ``log``, others' ``message`` or ``msg``."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(value, dict):
        return line
    text = next((value[key] for key in ("log", "message", "msg") if isinstance(value.get(key), str)), None)
    if text is None:
        return line
    times = (_written(value.get(key)) for key in ("time", "timestamp", "ts"))
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?", next(filter(None, times), ""))
    message = str(text).rstrip("\n").encode("utf-8", "replace")
    return found[0].encode() + b"Z " + message if found else message


def _written(time: object) -> str:
    """A stamp in words; a number is of seconds, or of milliseconds as CloudWatch has them."""
    if isinstance(time, str):
        return time
    if not isinstance(time, int | float):
        return ""
    try:
        return datetime.fromtimestamp(time / 1000 if time > _MOST_SECONDS else time, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


_MOST_SECONDS: Final = 100_000_000_000  # the year 5138
