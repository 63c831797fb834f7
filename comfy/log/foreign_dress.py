"""What others put around a line: stamps and prefixes of containers, clusters, journals and hosts.

Docker (`logs -t`, its JSON file, compose), Kubernetes (CRI files, `--timestamps`, `--prefix`), journald and
syslog, RunPod (console, the SDK's own JSON), ComfyUI-Manager's and ComfyUI's log files, Python's logging, and
the farm's own log files. All of it works on bytes, since a line that says nothing is never decoded.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final, NamedTuple

from comfy.log.text import LogLevel

_MOST_LAYERS: Final = 8
_LONGEST_BEFORE: Final = 60  # of what stands before each line of a log
ALIKE: Final = bytes.maketrans(b"0123456789", b"0000000000")
# How layers begin: with such a byte or word, a date, or a name and "|". A host's stands behind a stamp.
DRESSES: Final = frozenset(bytes([each]) for each in b"0123456789[{\x1b> \t*`\\^")
WORDS: Final = frozenset(
    (b"stdout ", b"stderr ", b"DEBUG", b"INFO", b"WARNING", b"ERROR", b"CRITICAL",
     b"- **", b"info ", b"warn ", b"warning ", b"error ", b"debug ", b"system ", b"root ")
)  # fmt: skip
DATE_OR_NAME: Final = rb"[A-Z][a-z][a-z] [ \d]\d \d|[IWEF]\d{4} \d|[\w.-]{1,64}+ {0,20}+\| "

# Each is one layer; several may lie over each other.
_LAYER: Final = re.compile(
    # Copied off a screen or out of JSON, an escape may be written out, or be gone.
    rb"(?:\x1b\[[0-9;?]*[A-Za-z]|(?:\\u001b|\\x1b|\\033|\^\[)?\[[0-9;]{1,8}m)+"
    rb"|\[?(?P<iso>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,:]\d{1,9})?)(?P<zone>Z|[+-]\d\d:?\d\d)?\]?"
    rb"(?: *[-|:] | +|$)"
    rb"|\[?(?P<clock>\d\d:\d\d:\d\d(?:[.,]\d{1,9})?)\]?(?: *[-|] | +)"
    rb"|\[(?P<level>DEBUG|DETAIL|INFO|WARNING|ERROR|CRITICAL)\]"
    rb"(?:(?:\x1b|\\u001b|\\x1b|\\033|\^\[)?\[0m)?(?: |$)"
    rb"|\[(?:info|warn|warning|error|debug|system)\] "
    rb"|\[pod/[\w./-]{1,200}\] "
    rb"|\[[a-z0-9]{10,20}\] "
    rb"|(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<time>\d\d:\d\d:\d\d(?:\.\d+)?) "
    # of torch: level, day, time, process, file and line, compiled frame
    rb"|(?:\[rank\d+\]:)?[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{1,9} (?:\d{1,9} )?\S{1,200}:\d{1,6}\] "
    rb"(?:\[\S{1,40}\] )*"
    # and before 2.3, behind a stamp
    rb"|(?:\[\S{1,40}\] )*torch\.[\w.]{1,60}: (?=\[WARNING\])"
    rb"|(?:stdout|stderr) [FP] "
    rb"|(?:> ?)+|(?:[-*] )?(?:\*\*|`)(?=\w)"  # of whoever quotes it
    rb"|(?P<level2>DEBUG|INFO|WARNING|ERROR|CRITICAL)(?: {0,4} [-|] |:root:)"
    rb"|(?:info|warn|warning|error|debug|system|root) [-|] "
    # host unit[pid]: of journald and syslog
    rb"|[\w.-]{1,64}+ [\w.@/-]{1,64}+\[\d{1,7}\]: "
    # "comfyui-1  | " of compose, "5x7abc | " of a host's worker
    rb"|[\w.-]{1,64}+ {0,20}\| "
)
# A stamp of the next write that stands at the end of this one.
_GLUED: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)? - *$")


class Undressed(NamedTuple):
    """Where in a line what stands, without what others put around it."""

    text: slice
    stamp: slice | None  # `moment` reads it
    zone: slice | None
    level: LogLevel | None


def undress(line: bytes, learned: Collection[bytes] = ()) -> Undressed:
    """Look through all layers that are known.

    Args:
        learned: what else stands before the lines of this log, its digits all 0.
    """
    stamp: slice | None = None
    zone: slice | None = None
    level: LogLevel | None = None
    at = 0
    for _ in range(_MOST_LAYERS):
        found = _LAYER.match(line, at)
        if found is None or found.end() == at:
            shape = line[at : at + _LONGEST_BEFORE].translate(ALIKE)
            before = next(filter(shape.startswith, learned), None)
            if before is None:
                break
            at += len(before)
            continue
        at = found.end()
        if stamp is None:
            stamp, zone = _stamp(found), _span(found, "zone")
        told = found["level"] or found["level2"]
        level = LogLevel(told.decode()) if told else level
    end = len(line)
    if line[-2:] in (b"- ", b" -"):
        glued = _GLUED.search(line, at)
        end = glued.start() if glued is not None else end
    return Undressed(slice(at, end), stamp, zone, level)


# Beginnings of lines that stand in each log.
_USUAL: Final = (b"got prompt\n", b"Prompt executed in ", b"Requested to load ", b"model weight dtype torch",
                 b"loaded completely", b"loaded partially", b"Total VRAM ", b"ComfyUI version: ")  # fmt: skip
_LEARNED_FROM: Final = 4  # of each


def learn(block: bytes) -> frozenset[bytes]:
    """What stands before more than one well-known line and is no layer that is known, its digits all 0."""
    found: Counter[bytes] = Counter()
    for words in _USUAL:
        at = -1
        for _ in range(_LEARNED_FROM):
            at = block.find(words, at + 1)
            if at < 0:
                break
            before = block[block.rfind(b"\n", 0, at) + 1 : at]
            rest = before[undress(before + b"x").text.start :]
            # A bar is no dress: what comes behind it is glued to it.
            if rest.strip() and len(rest) <= _LONGEST_BEFORE and b"\r" not in rest and rest[-1:] != b"]":
                found[rest.translate(ALIKE)] += 1
    return frozenset(rest for rest, times in found.items() if times > 1)


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
    return _span(found, "iso") or _span(found, "clock")


def _span(found: re.Match[bytes], group: str) -> slice | None:
    start, end = found.span(group)
    return slice(start, end) if start >= 0 else None


def from_json(line: bytes) -> bytes:
    """A JSON line as its stamp and its message: Docker's ``log``, others' ``message`` or ``msg``."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(value, dict):
        return line
    text, time = (
        next((value[key] for key in keys if isinstance(value.get(key), str)), None)
        for keys in (("log", "message", "msg"), ("time", "timestamp", "ts"))
    )
    if text is None:
        return line
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?", time or "")
    message = str(text).rstrip("\n").encode("utf-8", "replace")
    return found[0].encode() + b"Z " + message if found else message
