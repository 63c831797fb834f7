"""A log in which each line stands several times, since as many handlers write it: each is taken once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Final

from comfy.log.entry import LogEntry
from comfy.log.facts import BarFact, LogFact

_LOOKED_AT: Final = 100  # entries
_LEAST_GROUPS: Final = 3  # of lines that say the same
_MOST_ALIKE: Final = 0.8  # of these groups


def each_once(log: Iterable[LogEntry]) -> Iterator[LogEntry]:
    """The entries, those that a log repeats throughout taken once; bars are nobody's handlers'."""
    entries = iter(log)
    first = list(islice(entries, _LOOKED_AT))
    times = _times(first)
    rest = chain(first, entries)
    return rest if times == 1 else _thinned(rest, times)


def _times(first: Sequence[LogEntry]) -> int:
    groups = [(kind, len(list(group))) for (kind, _), group in groupby(first, _said)]
    # A log's cut may go through its first lines and its last ones.
    lengths = [length for kind, length in groups[1:-1] if kind is not BarFact]
    if len(lengths) < _LEAST_GROUPS:
        return 1
    times, alike = Counter(lengths).most_common(1)[0]
    return times if alike >= _MOST_ALIKE * len(lengths) else 1


def _said(entry: LogEntry) -> tuple[type[LogFact] | None, str]:
    return entry.kind, entry.text


def _thinned(entries: Iterable[LogEntry], times: int) -> Iterator[LogEntry]:
    for (kind, _), group in groupby(entries, _said):
        if kind is BarFact:
            yield from group
        else:
            yield from islice(group, None, None, times)
