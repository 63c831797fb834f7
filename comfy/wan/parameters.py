"""A template's typed parameters: what may be asked for, and clear words when it may not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from comfy.errors import GraphError, GraphProblem
from comfy.graph import near_names


class ParameterKind(StrEnum):
    """The type of a parameter's value."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing that a template lets its user decide."""

    name: str
    kind: ParameterKind
    help: str  # one line for a person, with the unit
    default: Any = None  # None: required, or found by the template (the seed, what the preset says)
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[int], str | None] | None = None  # says what is wrong beyond the bounds

    def read(self, value: Any) -> Any:
        """Give the value in the parameter's type; text that spells a number is accepted (a command line's).

        Raises:
            ValueError: in words for a person, without the parameter's name.
        """
        if self.kind is ParameterKind.TEXT:
            return _read_text(value)
        if self.kind is ParameterKind.CHOICE:
            if value not in self.choices:
                raise ValueError(f"{value!r:.40} is not one of {', '.join(self.choices)}")
            return value
        number = _read_number(value, whole=self.kind is ParameterKind.INTEGER)
        self._check_bounds(number)
        return number

    def _check_bounds(self, number: float) -> None:
        fault = self.check(int(number)) if self.check is not None else None
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
    problems = [_unknown(name, known) for name in given if all(name != each.name for each in known)]
    values: dict[str, Any] = {}
    for parameter in known:
        value = given.get(parameter.name)
        try:
            values[parameter.name] = parameter.default if value is None else parameter.read(value)
        except ValueError as exc:
            problems.append(_problem("bad_parameter", parameter.name, str(exc)))
        if value is None and parameter.required:
            problems.append(_problem("missing_parameter", parameter.name, f"is needed: {parameter.help}"))
    if problems:
        raise GraphError(problems)
    return values


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is no text")
    if "\0" in value:
        raise ValueError("the text contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("the text contains half of a surrogate pair") from None
    return value


def _read_number(value: Any, *, whole: bool) -> float:
    kind = "a whole number" if whole else "a number"
    if isinstance(value, str):
        try:
            value = int(value) if whole else float(value)
        except ValueError:
            raise ValueError(f"{value[:40]!r} is not {kind}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is not {kind}")
    if whole and value != int(value):
        raise ValueError(f"{value} is not {kind}")
    return int(value) if whole else float(value)


def _unknown(name: str, known: Sequence[Parameter]) -> GraphProblem:
    names = [parameter.name for parameter in known]
    close = near_names(name, names, limit=1)[0]
    message = f"is not known (did you mean {close}?); the template takes {', '.join(names)}"
    return _problem("unknown_parameter", name, message)


def _problem(kind: str, name: str, message: str) -> GraphProblem:
    return GraphProblem(kind=kind, message=f"parameter {name}: {message}", input_name=None)
