"""`Gathered`: what any number of requests ask at once, in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Gathered(Generic[_Key, _Value]):
    """Asks for many what each asks for one; for one event loop.

    A round trip to Redis costs a thread's turn and a command's overhead, several times what its answer does.
    """

    def __init__(self, ask: Callable[[Sequence[_Key]], Awaitable[Mapping[_Key, _Value]]]) -> None:
        """`ask` answers for each that there is an answer to."""
        self._ask = ask
        self._asked: dict[_Key, asyncio.Future[_Value | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def of(self, key: _Key) -> _Value | None:
        """The answer, as it is then or later; None: there is none.

        Raises:
            FarmError: as `ask` does.
        """
        future = self._asked.setdefault(key, asyncio.get_running_loop().create_future())
        if self._task is None:
            self._task = asyncio.create_task(self._answer())
        return await asyncio.shield(future)

    async def _answer(self) -> None:
        # One round trip at a time: who asks meanwhile is answered by the next one.
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await self._ask([*asked])
            except Exception as exc:  # noqa: BLE001  # each of them sees it
                for future in asked.values():
                    future.set_exception(exc)
                    future.exception()  # nobody may be left who asks
            else:
                for key, future in asked.items():
                    future.set_result(found.get(key))
        self._task = None
