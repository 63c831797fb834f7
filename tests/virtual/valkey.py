"""A real Valkey that lives by the virtual clock: the farm's own scripts, told what time it is.

Before each script stands a prelude that takes the time from the first argument and answers it where the
script asks the server: for `TIME`, in the ids of stream entries, and where a key shall end by itself. The
scripts are those of the farm, to the letter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from types import TracebackType
from typing import Any, Final, Self

import hiredis
import redis
from redis.exceptions import NoScriptError

from farm.store.redis.lua import _digest
from tests.virtual.loop import Loop, Process, VirtualEvent
from tests.virtual.plan import Durability

_TIMEOUT_S: Final = 5.0  # as `FARM_REDIS_TIMEOUT_S`
_TRIES: Final = 3  # of a connection that broke, as redis-py makes them
_WAY_S: Final = (0.0002, 0.004)  # that a request or an answer takes
_FSYNC_US: Final = 1_000_000  # appendfsync everysec
_PUSH: Final = frozenset(
    {"submit", "notify", "release", "fail", "retry", "resume", "prioritize", "unpark"}
)  # scripts that may put a message into a queue

_PRELUDE: Final = """
local clock_kept, clock_us = ARGV[1]:match('^(%d+)@(%d+)$')
ARGV[1] = clock_kept
local clock_ms, clock_ends = clock_us:sub(1, -4), KEYS[1] .. 'virtual:ends'
local server = redis
for _, gone in ipairs(server.call('ZRANGEBYSCORE', clock_ends, '-inf', clock_ms)) do
  server.call('DEL', gone)
  server.call('ZREM', clock_ends, gone)
end
local function clock_call(name, ...)
  if name == 'TIME' then return {clock_us:sub(1, -7), clock_us:sub(-6)} end
  if name ~= 'XADD' and name ~= 'SET' then return server.call(name, ...) end
  local words = {...}
  for i = 2, #words do
    if name == 'XADD' and words[i] == '*' then
      words[i] = clock_ms .. '-*'
      break
    elseif name == 'SET' and i > 2 and words[i] == 'PX' then
      server.call('ZADD', clock_ends, clock_ms + words[i + 1], words[1])
      table.remove(words, i + 1)
      table.remove(words, i)
      break
    end
  end
  return server.call(name, unpack(words))
end
local redis = {call = clock_call}
"""


@dataclass(slots=True)
class Trap:
    """Strikes when a process next runs a script: before it is carried out, or before the answer is heard."""

    script: str
    process: Process
    answered: bool
    spring: Any  # called once


class VirtualValkey:
    """The server, and the network between it and the processes of a play."""

    def __init__(self, loop: Loop, server: redis.Redis) -> None:
        self.loop = loop
        self.server = server
        self.moves = 0  # scripts that were carried out
        self.scripts: Counter[str] = Counter()
        self.traps: list[Trap] = []
        self.sprung: set[tuple[str, bool]] = set()  # seam, and whether it was the end of it
        self.claimed_us: dict[str, int] = {}  # when a process last claimed a job
        self.durability = Durability.ALWAYS
        self._names = dict(_named_scripts())
        self._timed: dict[str, str] = {}  # digest of a script -> that of the same one with the prelude
        self._down_until_us = 0
        self._started_us = loop.now_us - 10**9
        self._silent_until_us: dict[str, int] = {}  # by process
        self._wire: Any = server.connection_pool.get_connection()
        self._read_as: Any = server.response_callbacks
        self._lives = 0
        self._stalled_us = (0, 0)  # since when nothing was synced, and until when
        self._log: list[tuple[int, list[Any]]] = []  # since the last checkpoint
        self._saved: list[tuple[bytes, bytes]] = []
        self._ears: dict[str, VirtualEvent] = {}
        server.flushdb()

    def close(self) -> None:
        """Give the connection back."""
        self.server.connection_pool.release(self._wire)

    # -- what is done to it --------------------------------------------------------------------------

    def silence(self, process: Process, seconds: float) -> None:
        """Nothing passes between a process and the server for a while, and nobody is told."""
        self._silent_until_us[process.name] = self.loop.now_us + round(seconds * 1e6)

    @property
    def is_down(self) -> bool:
        """Whether it is not there just now."""
        return self.loop.now_us < self._down_until_us

    def hears(self, process: Process) -> bool:
        """Whether the network between them is well."""
        return self._silent_until_us.get(process.name, 0) <= self.loop.now_us

    def restart(self, away_s: float) -> None:
        """The server is killed, and is back with its data after a while."""
        self._lives += 1
        self._down_until_us = self._started_us = self.loop.now_us + round(away_s * 1e6)

    def stall(self, seconds: float) -> None:
        """Its disk syncs nothing for a while."""
        now_us, until_us = self.loop.now_us, self.loop.now_us + round(seconds * 1e6)
        since_us, old_until_us = self._stalled_us
        self._stalled_us = (since_us if now_us < old_until_us else now_us, max(until_us, old_until_us))

    @property
    def is_stalled(self) -> bool:
        """Whether its disk syncs nothing just now."""
        return self.loop.now_us < self._stalled_us[1]

    def lose_power(self, away_s: float) -> float:
        """Its machine is switched off: what was not written to the disk is gone. Since when, in seconds."""
        cut_us = self.loop.now_us
        if self.durability is not Durability.ALWAYS:
            cut_us -= cut_us % _FSYNC_US
            if self.is_stalled:
                cut_us = min(cut_us, self._stalled_us[0])
            self._log = [entry for entry in self._log if entry[0] <= cut_us]
            self.server.flushdb()
            self._send(
                [
                    *(("RESTORE", key, 0, dump) for key, dump in self._saved),
                    *(command for _, command in self._log),
                ]
            )
        self._stalled_us = (0, 0)
        self.restart(away_s)
        return cut_us / 1e6

    def checkpoint(self) -> None:
        """Everything is on the disk; so far nothing has to be played again after a power cut."""
        server: Any = self.server
        keys = list(server.scan_iter(count=10_000))
        self._saved = list(zip(keys, self._send([("DUMP", key) for key in keys]), strict=True))
        self._log.clear()

    # -- what is asked of it -------------------------------------------------------------------------

    def wake_on_push(self, process: Process, ear: VirtualEvent) -> None:
        """Set an event of a process, in place of an older one, whenever a message may have come."""
        self._ears[process.name] = ear

    def ask(self, process: Process, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to commands of one round trip; errors of single commands are among them.

        Raises:
            redis.ConnectionError, redis.TimeoutError: as a real network does.
        """
        for left in reversed(range(_TRIES)):
            try:
                return self._ask_once(process, commands)
            except redis.ConnectionError:
                if not left:
                    raise
                self.loop.sleep(self.loop.dice.uniform(0.05, 0.5))
        raise AssertionError

    def _ask_once(self, process: Process, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self._travel(process)
        life = self._lives
        names = [self._names.get(command[1], "") for command in commands if command[0] == "EVALSHA"]
        self.spring(process, names, answered=False)
        answers = self._carry_out(commands)
        if "claim" in names:
            self.claimed_us[process.name] = self.loop.now_us
        if not _PUSH.isdisjoint(names):
            for ear in self._ears.values():
                ear.set()
        self.spring(process, names, answered=True)
        self._travel(process)
        if life != self._lives:
            raise redis.ConnectionError("Connection closed by server.")
        return answers

    def _travel(self, process: Process) -> None:
        self.loop.sleep(self.loop.dice.uniform(*_WAY_S))
        silent_s = (self._silent_until_us.get(process.name, 0) - self.loop.now_us) / 1e6
        if silent_s > 0:
            self.loop.sleep(min(silent_s, _TIMEOUT_S))
            if silent_s > _TIMEOUT_S:
                raise redis.TimeoutError("Timeout reading from socket")
        if self.durability is Durability.ALWAYS and self.is_stalled:
            self.loop.sleep(_TIMEOUT_S)
            raise redis.TimeoutError("Timeout reading from socket")
        if self.loop.now_us < self._down_until_us:
            raise redis.ConnectionError(
                "Error 111 connecting. Connection refused."
            ) from ConnectionRefusedError()

    def spring(self, process: Process, names: Sequence[str], *, answered: bool) -> None:
        """Come to a seam of a process: before something is done (`answered` false), or when it is done."""
        for trap in [each for each in self.traps if each.process is process and each.answered is answered]:
            if trap.script in names:
                self.traps.remove(trap)
                self.sprung.add((trap.script, answered))
                trap.spring()
        if not process.alive or process.thaws_us > self.loop.now_us:
            self.loop.sleep(0.0)

    def _carry_out(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        answers: list[Any] = [None] * len(commands)
        sent: dict[int, list[Any]] = {}
        for at, command in enumerate(commands):
            match command[0]:
                case "EVALSHA" if command[1] not in self._timed:
                    answers[at] = NoScriptError("No matching script.")
                case "EVALSHA":
                    sent[at] = self._told_the_time(self._timed[command[1]], command[2:])
                    self._count(command[1])
                case "EVAL":
                    digest = hashlib.sha1(command[1].encode(), usedforsecurity=False).hexdigest()
                    self._timed[digest] = _text(self.server.script_load(_PRELUDE + command[1]))
                    sent[at] = self._told_the_time(self._timed[digest], command[2:])
                    self._count(digest)
                case "TIME":
                    answers[at] = divmod(self.loop.now_us, 1_000_000)
                case "INFO":
                    answers[at] = self._facts()
                case "CONFIG GET":
                    kept = "always" if self.durability is Durability.ALWAYS else "everysec"
                    answers[at] = {"appendfsync": kept} if command[1] == "appendfsync" else {}
                case _:
                    sent[at] = list(command)
        if sent:
            if self.durability is not Durability.ALWAYS:
                self._log += [(self.loop.now_us, command) for command in sent.values()]
            for at, answer in zip(sent, self._send(list(sent.values())), strict=True):
                answers[at] = answer
        return answers

    def _facts(self) -> dict[str, Any]:
        return {
            "uptime_in_seconds": (self.loop.now_us - self._started_us) // 1_000_000,
            "redis_version": "7.2.4",
            "role": "master",
            "aof_enabled": 1,
            "aof_last_write_status": "ok",
            "aof_buffer_length": 0,
            "aof_pending_bio_fsync": int(self.is_stalled),
        }

    def _send(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Without the pool and the pipeline of redis-py, which take as long as all the rest of a move."""
        self._wire.send_packed_command([b"".join(hiredis.pack_command(tuple(each)) for each in commands)])
        return [self._heard(str(command[0])) for command in commands]

    def _heard(self, command: str) -> Any:
        try:
            answer = self._wire.read_response()
        except redis.ResponseError as exc:
            return exc
        return self._read_as.get(command, _as_it_is)(answer)

    def _told_the_time(self, digest: str, rest: Sequence[Any]) -> list[Any]:
        keys = int(rest[0])
        return [
            "EVALSHA",
            digest,
            *rest[: 1 + keys],
            f"{rest[1 + keys]}@{self.loop.now_us}",
            *rest[2 + keys :],
        ]

    def _count(self, digest: str) -> None:
        self.moves += 1
        self.scripts[self._names[digest]] += 1


class VirtualClient:
    """As much of `redis.Redis` as the store uses, for one process."""

    def __init__(self, valkey: VirtualValkey, process: Process) -> None:
        self._valkey = valkey
        self._process = process
        self.connection_pool = valkey.server.connection_pool

    def execute_command(self, *command: Any) -> Any:
        """The answer to one command."""
        (answer,) = self._valkey.ask(self._process, [command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def info(self, section: str) -> Any:
        """What the server tells of itself."""
        return self.execute_command("INFO", section)

    def pipeline(self, *, transaction: bool) -> _Pipe:
        """Several commands in one round trip."""
        assert not transaction
        return _Pipe(self._valkey, self._process)

    def close(self) -> None:
        """Nothing to close."""


class _Pipe:
    def __init__(self, valkey: VirtualValkey, process: Process) -> None:
        self._valkey = valkey
        self._process = process
        self._commands: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commands.clear()

    def execute_command(self, *command: Any) -> None:
        self._commands.append(command)

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        answers = self._valkey.ask(self._process, self._commands)
        for answer in answers if raise_on_error else ():
            if isinstance(answer, Exception):
                raise answer
        return answers


def _named_scripts() -> Iterator[tuple[str, str]]:
    """Digest and name of each script of the farm."""
    for file in (resources.files("farm.store") / "scripts").iterdir():
        name = file.name.removesuffix(".lua")
        if name != file.name and not name.startswith("_"):
            yield _digest(name), name


def _as_it_is(answer: Any) -> Any:
    return answer


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
