"""Work out the short formulas that graphs calculate their numbers with."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

# What ComfyMathExpression and SimpleCalculatorKJ both know. No powers and no shifts: a formula is somebody
# else's text, and a number with a million digits takes a second to print.
_BINARY: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": abs,
    "ceil": math.ceil,
    "float": float,
    "floor": math.floor,
    "int": int,
    "max": max,
    "min": min,
    "round": round,
    "sqrt": math.sqrt,
}
_LONGEST: Final = 200  # characters: a person's formula is shorter, and the depth of the tree stays small


def evaluate(formula: str, names: Mapping[str, Any]) -> int | float | None:
    """Work out a formula over known numbers; None when it holds anything else, or has no finite result.

    Source: ComfyUI comfy_extras/nodes_math.py; KJNodes nodes/nodes.py, ``SimpleCalculatorKJ``.
    """
    if len(formula) > _LONGEST:
        return None
    try:
        result = _value_of(ast.parse(formula.strip(), mode="eval").body, names)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, KeyError, RecursionError, MemoryError):
        return None
    is_number = isinstance(result, int | float) and math.isfinite(result)
    return result if is_number else None


def _value_of(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=name):
            return _number(names[name])
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value_of(left, names), _value_of(right, names))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value_of(operand, names))
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
            return _FUNCTIONS[function](*(_value_of(each, names) for each in arguments))
        case _:
            raise ValueError("not a formula that is understood")


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    return value
