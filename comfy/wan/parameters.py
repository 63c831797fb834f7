"""A template's typed parameters: what may be asked for, and clear words when it may not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.faults import kind_in_json
from comfy.graphs.graph import near_names
from comfy.wan.sizes import Grid

MAX_SEED = 2**64 - 1  # KSamplerAdvanced's noise_seed
_LARGEST = 10**30  # what is longer only fills an answer with digits
SNAP = "snap"  # asks for the nearest value that WAN takes instead of an error


class ParameterKind(StrEnum):
    """The type of a parameter's value."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    SWITCH = "switch"  # true or false
    FILE = "file"  # a path, an address, or the bytes themselves; whoever submits the job sees to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing that a template lets its user decide."""

    name: str
    kind: ParameterKind
    help: str  # one line for a person
    unit: str = ""  # "pixels", "frames", "frames per second", …
    default: Any = None  # None: required, or found by the template (the seed, what the preset says)
    by_default: str = ""  # in words, where there is no one default: "the preset's", "drawn"
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    grid: Grid | None = None  # the numbers that WAN takes

    @property
    def takes(self) -> str:
        """What it takes, in words: "quality, fast or draft", "integer, 64 to 2048, a multiple of 16"."""
        if self.kind is ParameterKind.FILE:
            return "file: a path, https:// or s3://"
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        if self.grid is not None:
            return f"{self.kind}, {self.grid.low} to {self.grid.high}, {self.grid.rule}"
        if self.minimum is None or self.maximum is None:
            return str(self.kind)
        high = "2^64 - 1" if self.maximum == MAX_SEED else f"{self.maximum:g}"
        return f"{self.kind}, {self.minimum:g} to {high}"

    def read(self, value: Any, *, snap: bool = False) -> Any:
        """Give the value in the parameter's type; text that spells a number is accepted (a command line's).

        Args:
            snap: take the nearest number of the grid instead of refusing one beside it.

        Raises:
            ValueError: in words for a person, without the parameter's name.
        """
        if self.kind is ParameterKind.TEXT:
            return _read_text(value)
        if self.kind is ParameterKind.SWITCH:
            return read_switch(value)
        if self.kind is ParameterKind.FILE:
            return _read_file(value)
        if self.kind is ParameterKind.CHOICE:
            if value not in self.choices:
                raise ValueError(f"{_shown(value)} is not one of {', '.join(self.choices)}")
            return value
        number = read_number(value, whole=self.kind is ParameterKind.INTEGER)
        if self.grid is not None and snap:
            return self.grid.snap(int(number))
        self._check_bounds(number)
        return number

    def _check_bounds(self, number: float) -> None:
        fault = self.grid.fault(int(number)) if self.grid is not None else None
        if fault is not None:
            raise ValueError(fault)
        low, high = self.minimum, self.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(f"{number} is not between {low} and {high}")


def read_parameters(known: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read what was given; None and absent alike mean the default.

    Raises:
        GraphError: with a problem for every parameter that is unknown, missing or out of range.
    """
    names = {each.name for each in known}
    problems = [_unknown(name, known) for name in given if name not in names]
    values: dict[str, Any] = {}
    snap = False
    try:
        snap = read_switch(given.get(SNAP))
    except ValueError as exc:
        problems.append(parameter_problem("bad_parameter", SNAP, str(exc)))
    for parameter in known:
        value = given.get(parameter.name)
        try:
            values[parameter.name] = parameter.default if value is None else parameter.read(value, snap=snap)
        except ValueError as exc:
            problems.append(parameter_problem("bad_parameter", parameter.name, str(exc)))
        if value is None and parameter.required:
            problems.append(
                parameter_problem("missing_parameter", parameter.name, f"is needed: {parameter.help}")
            )
    if problems:
        raise GraphError(problems)
    return values


def read_switch(value: Any) -> bool:
    """Read a yes or no; nothing means no.

    Raises:
        ValueError: it is neither.
    """
    if value in (None, False, "false", "0", 0):
        return False
    if value in (True, "true", "1", 1):
        return True
    raise ValueError(f"{_shown(value)} is neither true nor false")


def _shown(value: Any) -> str:
    """A text or a number as it is; of all else, what it is."""
    as_it_is = isinstance(value, str | int | float) and not isinstance(value, bool)
    return f"{value!r:.40}" if as_it_is else kind_in_json(value)


def _read_file(value: Any) -> Any:
    if not isinstance(value, str | bytes | PurePath) or not value:
        raise ValueError(f"{_shown(value)} is no file: give a path, an address, or the bytes")
    return value


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is no text")
    if "\0" in value:
        raise ValueError("the text contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("the text contains half of a surrogate pair") from None
    return value


def read_number(value: Any, *, whole: bool) -> float:
    """Read a number, or text that spells one.

    Raises:
        ValueError: it is none, none that is finite, or, as a number, too large to reckon with.
    """
    kind = "a whole number" if whole else "a number"
    if isinstance(value, str):
        try:
            value = int(value) if whole else float(value)
        except ValueError:
            raise ValueError(f"{value[:40]!r} is not {kind}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_shown(value)} is not {kind}")
    try:
        fits = math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        fits = False
    if not fits or (whole and value != int(value)):
        raise ValueError(f"{_shown(value)} is not {kind}")
    if whole and abs(value) > _LARGEST:
        raise ValueError(f"{_shown(value)} is larger than any number that is taken")
    return int(value) if whole else float(value)


def _unknown(name: str, known: Sequence[Parameter]) -> GraphProblem:
    names = [parameter.name for parameter in known]
    close = near_names(name, names, limit=1)[0]
    message = f"is not known (did you mean {close}?); the template takes {', '.join(names)}"
    return parameter_problem("unknown_parameter", name, message)


def parameter_problem(kind: str, name: str, message: str) -> GraphProblem:
    """What is wrong with one parameter, for a `GraphError`."""
    return GraphProblem(kind=kind, message=f"parameter {name}: {message}", input_name=None)
