"""Every argument of every public call, given what it cannot be: a result, or an error of ours, and soon."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from farm import AsyncFarm, AsyncJob, AsyncResult, Farm, FarmError, Job, JobRequest, Result, Selection
from farm.job import new_job_id
from farm.settings.redis import RedisSettings
from farm.store.base import StoreLimits
from farm.store.redis.store import connect
from farm.testing import FolderStorage, PlainNotifier
from tests.support.fleet import wan_graph
from tests.support.hostile import ODD
from tests.support.jobs import a_job, a_result

_SOON_S: Final = 20.0  # CPU; a second on a machine that does nothing else
_MORE: Final[tuple[Any, ...]] = (
    datetime.min,  # noqa: DTZ901
    datetime.max,  # noqa: DTZ901
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    Path("\0"),
    Path("/dev/null/x"),
    Selection(ids=["x"]),
    lambda *_: None,
    [object()],
    [["x"]],
    {"x"},
    ["x"] * 200,
    {"where": object()},
    0,
    2**31,
    1e-300,
    "bogus",
    "*",
    "{x}:y",
    "-",
    "9" * 400 + "-1",
)
VALUES: Final = (*ODD, *_MORE)


def nested(deep: int) -> list[Any]:
    """A list in a list in a list …"""
    found: list[Any] = []
    for _ in range(deep):
        found = [found]
    return found


class World:
    """A farm over a real store that has one canceled job, and what its calls take when they are in order."""

    def __init__(self, valkey_url: str, folder: Path) -> None:
        settings = RedisSettings.read(url=valkey_url, namespace=f"t{new_job_id()[:12]}")
        self.storage = FolderStorage(folder / "s3")
        self.store = connect(settings, StoreLimits(), PlainNotifier(settings.namespace))
        (submitted,) = self.store.submit([a_job()])
        self.store.cancel(submitted.job_id)
        record = self.store.get(submitted.job_id)
        self.farm = Farm(store=self.store, storage=self.storage)
        self.result = Result(job=record, facts=a_result(), storage=self.storage, _store=self.store)
        self.record = record
        self.given: Mapping[str, Any] = {
            "job_id": submitted.job_id,
            "job_ids": [submitted.job_id],
            "jobs": [submitted.job_id],
            "request": JobRequest(wan_graph(), {"prompt": "a fox"}),
            "requests": [JobRequest(wan_graph(), {"prompt": "a fox"})],
            "wanted": Selection(),
            "priority": 3,
            "idempotency_key": "key",
            "folder": folder / "out",
            "template": "no-such-template",
            "artifact": a_result().main,
        }

    def owner(self, kind: type[Any]) -> Any:
        """Whose method is called."""
        return {Farm: self.farm, Job: Job(self.farm, self.record.job_id), Result: self.result}.get(kind, kind)

    def owner_async(self, kind: type[Any], farm: AsyncFarm) -> Any:
        """Whose method is called."""
        if kind is AsyncJob:
            return AsyncJob(farm, self.record)
        return AsyncResult(farm, self.result) if kind is AsyncResult else farm


_KINDS: Final[tuple[type[Any], ...]] = (Farm, Job, Result, AsyncFarm, AsyncJob, AsyncResult)
_ASYNC: Final = (AsyncFarm, AsyncJob, AsyncResult)
_NOT_CALLS: Final = {"close", "call"}  # `call` runs what it is given


def calls() -> Iterator[tuple[type[Any], str, str]]:
    """Each argument of each public method."""
    for kind in _KINDS:
        for name, member in vars(kind).items():
            if inspect.isfunction(member) and not name.startswith("_") and name not in _NOT_CALLS:
                for argument in list(inspect.signature(member).parameters.values())[1:]:
                    if argument.kind is not argument.VAR_KEYWORD:
                        yield kind, name, argument.name
    for made in (JobRequest, Selection):
        for argument in inspect.signature(made).parameters.values():
            if argument.kind is not argument.VAR_KEYWORD:
                yield made, "__init__", argument.name


CALLS: Final = sorted(calls(), key=lambda each: (each[0].__name__, *each[1:]))


@pytest.fixture(scope="module")
def world(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(valkey_url, tmp_path_factory.mktemp("world"))
    yield made
    made.store.close()


def in_order(world: World, kind: type[Any], name: str) -> dict[str, Any]:
    """What a call has to be given, and what keeps it from waiting."""
    return {
        each: world.given[each]
        for each, argument in inspect.signature(getattr(kind, name)).parameters.items()
        if each in world.given and (argument.default is argument.empty or each in ("folder", "template"))
    }


def call(world: World, kind: type[Any], name: str, given: Mapping[str, Any]) -> None:
    if kind is JobRequest:
        world.farm.validate(JobRequest(**given))
    elif kind is Selection:
        list(itertools.islice(world.farm.select(Selection(**given)), 3))
    else:
        answer = getattr(world.owner(kind), name)(**given)
        if inspect.isgenerator(answer):
            list(itertools.islice(answer, 3))


async def call_async(owner: Any, name: str, given: Mapping[str, Any]) -> None:
    answer = getattr(owner, name)(**given)
    if not inspect.isasyncgen(answer):
        await answer
        return
    for _ in range(3):
        await anext(answer, None)
    await answer.aclose()


def values() -> Iterator[Any]:
    """What is given for each argument."""
    yield from VALUES
    yield from (nested(5000), {"x": nested(5000)}, (each for each in VALUES), itertools.repeat(5, 3))


def told(value: Any, exc: Exception) -> str:
    shown = type(value).__name__ if isinstance(value, list | dict) else repr(value)[:60]
    return f"{shown}: {type(exc).__name__}: {exc!s:.100}"


@pytest.mark.parametrize(("kind", "name", "argument"), [each for each in CALLS if each[0] not in _ASYNC])
def test_an_argument_that_cannot_be_is_refused_by_an_error_of_ours(
    kind: type[Any], name: str, argument: str, world: World
) -> None:
    others = {} if kind in (JobRequest, Selection) else in_order(world, kind, name)
    strange: list[str] = []
    for value in values():
        began = time.process_time()
        try:
            call(world, kind, name, {**others, argument: value})
        except FarmError:
            pass
        except Exception as exc:  # all of them are told at once
            strange.append(told(value, exc))
        assert time.process_time() - began < _SOON_S

    assert strange == []


@pytest.mark.parametrize(("kind", "name", "argument"), [each for each in CALLS if each[0] in _ASYNC])
def test_an_argument_that_cannot_be_is_refused_where_it_is_awaited(
    kind: type[Any], name: str, argument: str, world: World
) -> None:
    others = in_order(world, kind, name)

    async def try_all() -> list[str]:
        farm = AsyncFarm(store=world.store, storage=world.storage, threads=1)
        owner = world.owner_async(kind, farm)
        strange: list[str] = []
        for value in values():
            try:
                await call_async(owner, name, {**others, argument: value})
            except FarmError:
                pass
            except Exception as exc:  # all of them are told at once
                strange.append(told(value, exc))
        return strange

    assert asyncio.run(try_all()) == []
