"""What no job can be is refused at once, in whichever option or parameter it stands."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pytest

from farm.asking.measure import check_measure
from farm.asking.request import JobOptions, JobRequest
from farm.errors import InvalidJob
from tests.support.tables import for_each


def nested(depth: int, value: Any = 0) -> Any:
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


def in_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value |= {"a": value, "b": value}
    return value


STRANGE: Final[dict[str, Callable[[], Any]]] = {
    "5,000 deep": lambda: nested(5000),
    "51 deep": lambda: nested(51),
    "in itself": in_itself,
    "a million digits": lambda: Decimal("1e1000000"),
    "a fraction": lambda: Fraction(1, 3),
    "a complex number": lambda: 1j,
    "200 bits": lambda: 1 << 200,
}


@for_each("strange", STRANGE)
@for_each("option", sorted(set(JobOptions.__annotations__) - {"labels"}))
def test_an_option_that_no_job_can_have_is_refused(option: str, strange: str) -> None:
    options: Any = {option: STRANGE[strange]()}

    with pytest.raises(InvalidJob):
        check_measure(JobRequest(template="wan22-t2v-a14b", parameters={"prompt": "a fox"}, options=options))


@for_each("strange", STRANGE)
@for_each("name", ["prompt", "seed", "frames", "preset", "6.text"])
def test_a_parameter_that_no_job_can_have_is_refused(name: str, strange: str) -> None:
    with pytest.raises(InvalidJob):
        check_measure(JobRequest(template="wan22-t2v-a14b", parameters={name: STRANGE[strange]()}))


def test_what_is_as_deep_as_a_graph_may_be_is_taken() -> None:
    check_measure(JobRequest(template="wan22-t2v-a14b", parameters={"6.text": nested(40)}))
