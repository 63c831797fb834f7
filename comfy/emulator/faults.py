"""Misbehaviour on command, as a typed list.

A fault waits until a run comes to its phase (and its node, and its step), happens, and is used up after
`times` times. `POST /emulator/faults` takes one fault or a list of them, `--faults` a JSON list at start;
`GET /emulator/faults` lists those that still wait, `DELETE` forgets them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final


class Phase(StrEnum):
    """The moments of a run at which something can go wrong."""

    POSTED = "posted"  # after POST /prompt was answered (drop_socket: before the answer is sent)
    START = "start"  # after execution_start
    NODE = "node"  # after a node's `executing`
    STEP = "step"  # after a sampler's step
    SAVED = "saved"  # after an output file was written
    BEFORE_SUCCESS = "before_success"  # before execution_success
    BEFORE_HISTORY = "before_history"  # after execution_success, before the history has it
    BEFORE_END = "before_end"  # after the history has it, before `executing` with node null
    NOW = "now"  # at once, run or no run
    HTTP = "http"  # at the next HTTP request that is not /emulator/…


class FaultKind(StrEnum):
    """What can go wrong."""

    DROP_SOCKET = "drop_socket"  # cut the client's websocket (all of them at NOW, POSTED); how: abort, close
    MUTE = "mute"  # from there on this run sends no `message` ("executing_null", the default, is the end)
    HANG = "hang"  # do nothing for `seconds`; None: for ever. An interrupt does not help
    EXIT = "exit"  # end the process with `exit_code`; None: SIGKILL
    RAISE = "raise"  # an exception in a node; `error` names one of RAISED, or a type with `message`
    BLOCK = "block"  # the node's outputs become an ExecutionBlocker with `message`
    SERVE_CACHED = "serve_cached"  # run nothing: say that all is cached, and name the files made last
    SLOW = "slow"  # each step and load takes `factor` times as long
    SPOIL_OUTPUT = "spoil_output"  # how: truncate, empty, delete: what was just written
    SPOIL_FRAMES = "spoil_frames"  # how: black, noise: what is decoded, unless PyTorch's attention computes
    FORGET_HISTORY = "forget_history"
    REFUSE_PROMPT = "refuse_prompt"  # POST /prompt answers 500
    STALL_HTTP = "stall_http"  # each HTTP answer waits `seconds`; `path` limits it to one path
    LOSE_QUEUE = "lose_queue"  # what is queued and not running is gone, and nobody is told
    PRINT = "print"  # write `message` as a line, as some other program beside it would
    DELAY = "delay"  # the worker thread waits `seconds`, as a garbage collection makes it wait


_DEFAULT_PHASE: Final[Mapping[FaultKind, Phase]] = {
    FaultKind.DROP_SOCKET: Phase.NOW,
    FaultKind.MUTE: Phase.START,
    FaultKind.HANG: Phase.NODE,
    FaultKind.EXIT: Phase.NODE,
    FaultKind.RAISE: Phase.NODE,
    FaultKind.BLOCK: Phase.NODE,
    FaultKind.SERVE_CACHED: Phase.START,
    FaultKind.SLOW: Phase.START,
    FaultKind.SPOIL_OUTPUT: Phase.SAVED,
    FaultKind.SPOIL_FRAMES: Phase.NODE,
    FaultKind.FORGET_HISTORY: Phase.NOW,
    FaultKind.REFUSE_PROMPT: Phase.HTTP,
    FaultKind.STALL_HTTP: Phase.HTTP,
    FaultKind.LOSE_QUEUE: Phase.NOW,
    FaultKind.PRINT: Phase.NOW,
    FaultKind.DELAY: Phase.BEFORE_END,
}


# Kinds that make sense at some moments only; the others can happen at any.
_ALLOWED_PHASES: Final[Mapping[FaultKind, frozenset[Phase]]] = {
    FaultKind.RAISE: frozenset({Phase.NODE, Phase.STEP, Phase.SAVED}),
    FaultKind.BLOCK: frozenset({Phase.NODE}),
    FaultKind.SERVE_CACHED: frozenset({Phase.START}),
    FaultKind.SPOIL_OUTPUT: frozenset({Phase.SAVED}),
    FaultKind.SPOIL_FRAMES: frozenset({Phase.NODE}),
    FaultKind.REFUSE_PROMPT: frozenset({Phase.HTTP}),
    FaultKind.STALL_HTTP: frozenset({Phase.HTTP}),
    FaultKind.MUTE: frozenset({Phase.START, Phase.NODE, Phase.STEP, Phase.SAVED, Phase.BEFORE_SUCCESS}),
    FaultKind.SLOW: frozenset({Phase.START, Phase.NODE, Phase.STEP}),
}


class BadFaultError(ValueError):
    """A fault that cannot be understood; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a run, or a request, has come to."""

    at: Phase
    prompt_id: str | None = None
    node_id: str | None = None
    class_type: str | None = None
    step: int | None = None
    path: str | None = None  # of a request


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that shall go wrong."""

    kind: FaultKind
    at: Phase
    times: int | None = 1  # how often; None: always
    skip: int = 0  # let the first so many opportunities pass
    node: str | None = None  # id or class of the node; None: any
    step: int | None = None  # a sampler's step, from 1; None: any
    prompt_id: str | None = None  # None: any
    seconds: float | None = None
    factor: float = 10.0
    message: str | None = None
    error: str | None = None
    how: str | None = None
    path: str | None = None
    exit_code: int | None = None

    def fits(self, moment: Moment) -> bool:
        """Whether this is the moment."""
        return (
            moment.at is self.at
            and self.node in {None, moment.node_id, moment.class_type}
            and self.step in {None, moment.step}
            and self.prompt_id in {None, moment.prompt_id}
            and self.path in {None, moment.path}
        )


def read_fault(data: Any) -> Fault:
    """Read one fault from JSON.

    Raises:
        BadFaultError: it is no object, has an unknown field, kind or phase, or a value of the wrong type.
    """
    if not isinstance(data, Mapping):
        raise BadFaultError(f"a fault is an object with a kind, not {data!r}")
    unknown = set(data) - {field.name for field in fields(Fault)}
    if unknown:
        raise BadFaultError(f"unknown field: {', '.join(sorted(map(str, unknown)))}")
    try:
        kind = FaultKind(data.get("kind", ""))
        at = Phase(data["at"]) if data.get("at") is not None else _DEFAULT_PHASE[kind]
    except ValueError as exc:
        raise BadFaultError(str(exc)) from exc
    if at not in _ALLOWED_PHASES.get(kind, frozenset(Phase)):
        raise BadFaultError(f"{kind} cannot happen at {at}")
    for name, kinds in _TYPES.items():
        if name in data and (not isinstance(data[name], kinds) or isinstance(data[name], bool)):
            raise BadFaultError(f"{name}: {data[name]!r} is of the wrong type")
    return Fault(**{**data, "kind": kind, "at": at})


_TEXT: Final = (str, type(None))
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "times": (int, type(None)),
    "skip": (int,),
    "node": _TEXT,
    "step": (int, type(None)),
    "prompt_id": _TEXT,
    "seconds": (int, float, type(None)),
    "factor": (int, float),
    "message": _TEXT,
    "error": _TEXT,
    "how": _TEXT,
    "path": _TEXT,
    "exit_code": (int, type(None)),
}


def read_faults(data: Any) -> list[Fault]:
    """Read one fault or a list of them.

    Raises:
        BadFaultError: see `read_fault`.
    """
    return [read_fault(entry) for entry in (data if isinstance(data, list) else [data])]


class FaultList:
    """The faults that wait for their moment; used from the loop and from the worker thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, faults: list[Fault]) -> None:
        """Let these happen when their moment comes."""
        with self._lock:
            self._waiting.extend(faults)

    def clear(self) -> None:
        """Forget all that did not happen yet."""
        with self._lock:
            self._waiting.clear()

    def to_json(self) -> list[dict[str, Any]]:
        """What still waits."""
        with self._lock:
            return [asdict(fault) for fault in self._waiting]

    def due(self, moment: Moment, kinds: frozenset[FaultKind]) -> list[Fault]:
        """The faults of these kinds whose moment this is; each is used up by one."""
        happening: list[Fault] = []
        with self._lock:
            kept: list[Fault] = []
            for fault in self._waiting:
                if fault.kind not in kinds or not fault.fits(moment):
                    kept.append(fault)
                elif fault.skip > 0:
                    kept.append(replace(fault, skip=fault.skip - 1))
                else:
                    happening.append(fault)
                    if fault.times is None or fault.times > 1:
                        kept.append(replace(fault, times=None if fault.times is None else fault.times - 1))
            self._waiting = kept
        return happening


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An exception as ComfyUI would report it."""

    exception_type: str
    text: str
    out_of_memory: bool = False  # the server unloads its models and adds its advice
    sticky: bool = False  # every later node that needs the GPU fails the same way


RAISED: Final[Mapping[str, Raised]] = {
    "cuda_oom": Raised(
        exception_type="torch.OutOfMemoryError",
        text=(
            "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.52 GiB of "
            "which 1.21 GiB is free. Including non-PyTorch memory, this process has 22.30 GiB memory in use. "
            "Of the allocated memory 21.02 GiB is allocated by PyTorch, and 812.55 MiB is reserved by "
            "PyTorch but unallocated."
        ),
        out_of_memory=True,
    ),
    "oom_text": Raised(
        exception_type="RuntimeError",
        text="CUDA error: out of memory",
    ),
    "sticky_cuda": Raised(
        exception_type="torch.AcceleratorError",
        text=(
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be "
            "asynchronously reported at some other API call, so the stacktrace below might be incorrect."
        ),
        sticky=True,
    ),
    "key_error": Raised(exception_type="KeyError", text="'emulated'"),
    "value_error": Raised(exception_type="ValueError", text="emulated: a bad value"),
    "runtime_error": Raised(exception_type="RuntimeError", text="emulated: something went wrong"),
    "memory_error": Raised(exception_type="MemoryError", text=""),
    "broken_model_file": Raised(
        exception_type="safetensors._safetensors_rust.SafetensorError",
        text="Error while deserializing header: incomplete metadata, file not fully covered",
    ),
}


def raised(fault: Fault) -> Raised:
    """The exception that a RAISE fault asks for; an unknown `error` is taken as the type's name."""
    known = RAISED.get(fault.error or "runtime_error")
    if known is None:
        return Raised(exception_type=str(fault.error), text=fault.message or "emulated")
    return known if fault.message is None else replace(known, text=fault.message)
