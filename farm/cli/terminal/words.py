"""Numbers and times as people read them, and values as they are written on a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from comfy.words import seconds_words

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def seconds(value: float | None) -> str:
    """As `comfy.words.seconds_words` says them; ``–`` where nobody knows."""
    return "–" if value is None else seconds_words(value)


def size(count: int | None) -> str:
    """``812 B``, ``3.4 MiB``."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def clock(moment: datetime | None) -> str:
    """Local time of the day, with the date when it is not today's."""
    if moment is None:
        return "–"
    local = moment.astimezone()
    today = local.date() == datetime.now(UTC).astimezone().date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M}"


def parse_moment(text: str, *, past: bool) -> datetime:
    """A time: ``2026-11-23T20:00`` (local when it names no zone), or ``90m`` before or after now.

    Raises:
        BadParameter: it is neither.
    """
    try:
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip()):
            span = timedelta(seconds=float(found[1]) * _UNITS_S[found[2]])
            now = datetime.now(UTC)
            return now - span if past else now + span
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):  # the years 1 and 9999 have no neighbours
        example = "2026-11-23T20:00 or 90m (s, m, h, d, w)"
        raise typer.BadParameter(f"{text!r:.60} is no time; write it as {example}") from None


def parse_pairs(pairs: Sequence[str], *, option: str) -> dict[str, str]:
    """``key=value`` arguments.

    Raises:
        BadParameter: one has no ``=``.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} takes name=value, not {pair!r}")
        found[name] = value
    return found


def parse_value(text: str) -> Any:
    """A value as JSON when it is JSON, else the text itself: ``20``, ``true``, ``["6", 0]``, ``a fox``."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # "NaN" and "Infinity" are words of Python's, not of JSON.
    return text if isinstance(value, float) and value - value != 0 else value
