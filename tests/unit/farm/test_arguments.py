"""What an argument can be, by its annotation, and what is said of what it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from farm.arguments import Many, Only, check_argument, checks_arguments
from farm.errors import InvalidArgument
from farm.job import JobState
from tests.support.tables import for_each

NOW = datetime.now(UTC)
Even = Annotated[int, Only(lambda number: number % 2 == 0, "an even number")]


@for_each(
    "hint, good, bad, words",
    [
        (str, "ä", "\ud800", "is a text, not '\\ud800'"),
        (str, "", 5, "is a text, not 5"),
        (str | None, None, b"x", "is a text or None, not a bytes"),
        (int, 5, True, "is a whole number, not True"),
        (int, -1, 2**70, "is a whole number, not 1180591620717411303424"),
        (float, 5, float("nan"), "is a number, not nan"),
        (float | None, float("inf"), "5", "is a number or None, not '5'"),
        (bool, True, 1, "is True or False, not 1"),
        (datetime, NOW, NOW.replace(tzinfo=None), "is a time with its zone, not "),
        (Path | str, Path("x"), Path("\0"), "is a path or a text, not a "),
        (JobState, JobState.QUEUED, "queued", "is a JobState, not 'queued'"),
        (Literal["a", "b"], "a", "c", "is a or b, not 'c'"),
        (Sequence[str], ("a",), "a", "is a list, each a text, not 'a'"),
        (Iterable[str], iter([5]), [5], "is a list, each a text, not a list"),
        (Sequence[str], [], {"a": 1}, "is a list, each a text, not a dict"),
        (Mapping[str, Any], {"a": object()}, {1: 2}, "is names with values, not a dict"),
        (Callable[[int], None] | None, print, 5, "is a function or None, not 5"),
        (Even, 2, 3, "is an even number, not 3"),
        (Many | None, 10_000, 0, "is a number from 1 to 10,000 or None, not 0"),
        (Any, object(), None, ""),
    ],
)
def test_a_value_of_another_kind_is_refused_in_words(hint: Any, good: Any, bad: Any, words: str) -> None:
    check_argument("it", good, hint)
    if hint is Any:
        return
    with pytest.raises(InvalidArgument) as refused:
        check_argument("it", bad, hint)

    assert str(refused.value).startswith(f"it {words}")


@checks_arguments
class Shop:
    """Its calls take what their annotations say."""

    def __init__(self, name: str) -> None:
        self.name = name

    def sell(self, count: int, *, to: str = "") -> str:
        return f"{count} {to}"

    async def send(self, count: int) -> int:
        return count


def test_a_call_of_a_class_names_the_argument_and_python_what_is_no_call() -> None:
    shop: Any = Shop("x")

    assert shop.sell(1, to="me") == "1 me"
    with pytest.raises(InvalidArgument, match=r"^to is a text, not 5"):
        shop.sell(1, to=5)
    with pytest.raises(InvalidArgument, match=r"^count "):
        shop.sell("one")
    with pytest.raises(InvalidArgument, match=r"^name "):
        Shop(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="whom"):
        shop.sell(1, whom="me")
    with pytest.raises(TypeError, match="count"):
        shop.sell()


def test_a_number_that_python_does_not_write_is_told_by_its_size() -> None:
    with pytest.raises(InvalidArgument, match="not a number of 16,610 bits"):
        check_argument("count", 10**5000, int)
