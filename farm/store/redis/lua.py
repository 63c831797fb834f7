"""Runs the Lua scripts of `scripts/`: by digest, and by text when the server does not know one (yet)."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import redis
from redis.exceptions import NoScriptError

from farm.store.verdicts import BACK_SOON_S, LEFT_TO_OTHERS, WORDS
from farm.store.webhooks import MOST_KEPT, TENANT_LABEL

Argument = bytes | str | int | float


@dataclass(frozen=True, slots=True)
class Call:
    """One script with its keys and arguments, ready to be sent."""

    script: str  # file name without ".lua"
    keys: Sequence[str]
    args: Sequence[Argument]

    def by_digest(self) -> list[Any]:
        """The command that sends 40 characters instead of the script."""
        return ["EVALSHA", _digest(self.script), len(self.keys), *self.keys, *self.args]

    def by_text(self) -> list[Any]:
        """The command that brings the script along; the server knows it from then on."""
        return ["EVAL", _text(self.script), len(self.keys), *self.keys, *self.args]


@functools.cache
def _text(script: str) -> str:
    folder = resources.files("farm.store") / "scripts"
    files = ((folder / f"{name}.lua").read_text(encoding="utf-8") for name in ("_common", script))
    return "".join((_constants(), *files))


def _constants() -> str:
    """What scripts are given of `farm.store.verdicts`; such text is written alike in JSON and in Lua."""
    words = "".join(f"  {name} = {json.dumps(text)},\n" for name, text in WORDS.items())
    numbers = f"local left_to_others = {LEFT_TO_OTHERS}\nlocal back_soon_ms = {BACK_SOON_S * 1000:.0f}\n"
    webhooks = f"local most_kept = {MOST_KEPT}\nlocal tenant_label = {json.dumps(TENANT_LABEL)}\n"
    return f"{numbers}{webhooks}local words = {{\n{words}}}\n"


@functools.cache
def _digest(script: str) -> str:
    # Redis's name for a script, no matter of security.
    return hashlib.sha1(_text(script).encode(), usedforsecurity=False).hexdigest()


def run(client: redis.Redis, call: Call) -> Any:
    """The script's answer, in one round trip (two after the server forgot its scripts)."""
    execute: Callable[..., Any] = client.execute_command
    try:
        return execute(*call.by_digest())
    except NoScriptError:
        return execute(*call.by_text())


def run_many(client: redis.Redis, calls: Sequence[Call], *, then: Sequence[Sequence[Any]] = ()) -> list[Any]:
    """The answers of all calls, in order, in one round trip.

    No transaction: each script is atomic by itself. The first error is raised after all of them ran.
    `then` are plain commands that go behind them over the same connection; their answers come last.
    """
    answers = _pipelined(client, [*(call.by_digest() for call in calls), *then])
    unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        again = _pipelined(client, [*(calls[at].by_text() for at in unknown), *then])
        for at, answer in zip([*unknown, *range(len(calls), len(answers))], again, strict=True):
            answers[at] = answer
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _pipelined(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    with client.pipeline(transaction=False) as pipe:
        put: Callable[..., Any] = pipe.execute_command
        for command in commands:
            put(*command)
        return list(pipe.execute(raise_on_error=False))
