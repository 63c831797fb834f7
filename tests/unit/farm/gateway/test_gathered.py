"""Questions that come together are asked together, and never answered by what was read before them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from farm.errors import StoreUnavailable
from farm.gateway.gathered import Gathered


class Shelf:
    """Answers with what lies there, once it is let."""

    def __init__(self) -> None:
        self.lying = {"a": 1, "b": 2}
        self.asked: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.broken = False

    async def ask(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.asked.append([*keys])
        found = dict(self.lying)
        await self.may_answer.wait()
        if self.broken:
            raise StoreUnavailable("redis", "unplugged")
        return {key: found[key] for key in keys if key in found}


def test_who_asks_while_others_wait_shares_the_next_question_and_hears_what_is_so_then() -> None:
    async def ask() -> tuple[list[int | None], Shelf]:
        shelf = Shelf()
        gathered = Gathered(shelf.ask)
        first = asyncio.create_task(gathered.of("a"))
        while not shelf.asked:
            await asyncio.sleep(0)
        shelf.lying["a"] = 10
        rest = [asyncio.create_task(gathered.of(key)) for key in ("a", "b", "a", "c")]
        await asyncio.sleep(0)
        shelf.may_answer.set()
        return await asyncio.gather(first, *rest), shelf

    found, shelf = asyncio.run(ask())

    assert found == [1, 10, 2, 10, None]
    assert shelf.asked == [["a"], ["a", "b", "c"]]


def test_an_error_reaches_each_who_asked_and_nobody_after_them() -> None:
    async def ask() -> list[object]:
        shelf = Shelf()
        shelf.broken = True
        shelf.may_answer.set()
        gathered = Gathered(shelf.ask)
        found = await asyncio.gather(gathered.of("a"), gathered.of("b"), return_exceptions=True)
        shelf.broken = False
        return [*found, await gathered.of("a")]

    one, two, later = asyncio.run(ask())

    assert isinstance(one, StoreUnavailable)
    assert isinstance(two, StoreUnavailable)
    assert later == 1


def test_who_gives_up_takes_nobody_along() -> None:
    async def ask() -> int | None:
        shelf = Shelf()
        gathered = Gathered(shelf.ask)
        impatient, patient = (asyncio.create_task(gathered.of("a")) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        shelf.may_answer.set()
        return await patient

    assert asyncio.run(ask()) == 1
