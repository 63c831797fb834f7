"""`Farm` and `AsyncFarm` are one interface: the same names, the same arguments, the same properties."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from farm.aio import AsyncFarm, AsyncJob, AsyncResult
from farm.client import Farm
from farm.handle import Job, Result
from tests.support.tables import for_each

PAIRS = [(Farm, AsyncFarm), (Job, AsyncJob), (Result, AsyncResult)]
# What is there only to be called by way of `call`, for it blocks; `Farm` has the first two as attributes.
ONLY_ASYNC = {"storage", "store", "call"}


def public(kind: type[Any]) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def arguments(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("blocking", "waiting"), PAIRS)
def test_both_have_the_same_names(blocking: type[Any], waiting: type[Any]) -> None:
    allowed = ONLY_ASYNC if waiting is AsyncFarm else set()

    assert public(waiting) - allowed == public(blocking)


@for_each(
    "blocking, waiting, name",
    [(blocking, waiting, name) for blocking, waiting in PAIRS for name in sorted(public(blocking))],
)
def test_a_property_is_one_in_both_and_a_method_takes_the_same(
    blocking: type[Any], waiting: type[Any], name: str
) -> None:
    one, other = inspect.getattr_static(blocking, name), inspect.getattr_static(waiting, name)

    assert inspect.isfunction(one) == inspect.isfunction(other)
    if inspect.isfunction(one):
        assert arguments(one) == arguments(other)
        # What gives a value is awaited; what gives several is looped over, `async for`.
        goes_on = inspect.signature(one).return_annotation.startswith("Iterator")
        assert inspect.iscoroutinefunction(other) != goes_on
