"""Whether a saved value can be that of an input, as the editor and the server cast values.

Source: ComfyUI ``execution.py``, ``validate_inputs``: ``int``, ``float``, ``str`` or ``bool`` of what came.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from comfy.node_defs.definitions import InputDef

_TRUTH_IN_WORDS: Final = frozenset({"", "true", "false"})


def fits(wanted: InputDef, value: Any) -> bool:
    """Whether the value may be the input's: it has its type, or a cast gives it that."""
    match wanted.kind:
        case "INT":
            return _number_of(value) is not None and not (
                isinstance(value, str) and not _is_whole_text(value)
            )
        case "FLOAT":
            return _number_of(value) is not None
        case "BOOLEAN":
            # `bool` takes anything. A text that is no truth, a number but 0 and 1, is another widget's.
            if isinstance(value, str) and value.lower() in _TRUTH_IN_WORDS:
                return True
            return not isinstance(value, str | int | float) or _number_of(value) in (0, 1)
        case "COMBO":
            return _may_be_chosen(wanted, value)
    return True


def castable(wanted: InputDef, value: Any) -> bool:
    """Whether the server makes something of a value of which the file says that it is this input's."""
    return wanted.kind == "BOOLEAN" or fits(wanted, value)


def is_doubtful(wanted: InputDef, value: Any) -> bool:
    """Whether the value is taken, and yet one that the editor would not have saved for this input."""
    if wanted.kind == "INT":
        return isinstance(value, float) and not value.is_integer()
    is_name = isinstance(value, str) and "." not in value and "/" not in value and not wanted.is_upload
    return wanted.kind == "COMBO" and is_name and bool(wanted.choices) and value not in (wanted.choices or ())


def cast_note(wanted: InputDef, value: Any) -> str | None:
    """What the server makes of a value that is not of the input's type, in words; None: it is of its type."""
    if value is None or isinstance(value, Mapping | list | tuple):
        return None
    match wanted.kind:
        case "BOOLEAN" if not isinstance(value, bool) and value not in (0, 1):
            what = "text" if isinstance(value, str) else "a number"
            return f"{value!r} is {what}, which ComfyUI takes for {str(bool(value)).lower()}"
        case "INT" | "FLOAT" if isinstance(value, str | bool):
            return f"{value!r} is no number, ComfyUI takes it for {_number_of(value):g}"
        case "INT" if isinstance(value, float) and math.isfinite(value) and not value.is_integer():
            return f"{value} is no whole number, ComfyUI takes it for {int(value)}"
    return None


def typed(wanted: InputDef, value: Any) -> Any:
    """A number as the editor's widget keeps it when it is typed in: on the steps of its input.

    Source: ``useIntWidget`` and ``useFloatWidget`` of ComfyUI_frontend.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return value
    step = wanted.options.get("step")
    if wanted.kind == "INT" and isinstance(step, int) and step > 1:
        start = (wanted.minimum or 0) % step
        return int((2 * (value - start) + step) // (2 * step) * step + start)
    if wanted.kind == "FLOAT" and isinstance(step, int | float) and step > 0:
        digits = max(0, -math.floor(math.log10(step)))
        grain = wanted.options.get("round") or (10.0**-digits if digits else None)
        return value if not grain else round(math.floor(value / grain + 0.5) * grain, digits)
    return value


def _number_of(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_whole_text(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _may_be_chosen(wanted: InputDef, value: Any) -> bool:
    """Lists of choices change with the files of a machine; that a number stands among names does not."""
    choices = wanted.choices
    if not choices or value in choices or isinstance(value, list | tuple | Mapping):
        return True
    return any(type(choice) is type(value) for choice in choices)
