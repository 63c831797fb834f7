"""Faults happen here: the moments of a run are announced, and what is due is done."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from comfy.emulator.faults import Fault, FaultKind, FaultList, Moment, Phase, raised
from comfy.emulator.hub import Hub
from comfy.emulator.prompt_queue import PromptQueue
from comfy.emulator.stage import NodeFailedError
from comfy.emulator.world import World

# These change what the run does and are asked for where it decides, not done on the way.
_ASKED_FOR = frozenset(
    {
        FaultKind.BLOCK,
        FaultKind.SERVE_CACHED,
        FaultKind.REFUSE_PROMPT,
        FaultKind.STALL_HTTP,
        FaultKind.SPOIL_OUTPUT,
        FaultKind.SPOIL_FRAMES,
    }
)
_DONE = frozenset(FaultKind) - _ASKED_FOR


class FaultInjector:
    """Knows the run in hand and makes its faults happen."""

    def __init__(self, world: World, hub: Hub, queue: PromptQueue) -> None:
        self._world = world
        self._hub = hub
        self._queue = queue
        self._factor = 1.0
        self._muted: set[str] = set()
        hub.is_muted = self._muted.__contains__

    @property
    def faults(self) -> FaultList:
        """What waits to go wrong."""
        return self._world.faults

    def slowness(self) -> float:
        """By how much this run is slowed."""
        return self._factor

    def begin_run(self) -> None:
        """Forget what was meant for the last run only."""
        self._factor = 1.0
        self._muted.clear()

    def end_run(self) -> None:
        """The last message of a run was sent."""
        self._muted.clear()

    def reach(self, moment: Moment) -> None:
        """Announce a moment; what is due happens before this returns.

        Raises:
            NodeFailedError: a fault wants the node in hand to fail.
        """
        for fault in self.faults.due(moment, _DONE):
            self._happen(fault)

    def asked(self, kind: FaultKind, moment: Moment) -> Fault | None:
        """A fault of this kind that is due now, or None."""
        due = self.faults.due(moment, frozenset({kind}))
        return due[0] if due else None

    def spoil(self, path: Path, fault: Fault) -> None:
        """Damage a file that was just written."""
        match fault.how:
            case "delete":
                path.unlink()
            case "empty":
                os.truncate(path, 0)
            case _:
                os.truncate(path, path.stat().st_size // 2)

    def _happen(self, fault: Fault) -> None:
        if fault.kind is FaultKind.PRINT:
            self._world.console.write(f"{fault.message or ''}\n")
            return
        self._world.console.line(f"[emulator] fault: {fault.kind} at {fault.at}")
        match fault.kind:
            case FaultKind.DROP_SOCKET:
                # Outside a run there is no client in hand, only the one of the run before.
                in_run = fault.at not in {Phase.NOW, Phase.POSTED}
                self._hub.drop(self._hub.client_id if in_run else None, politely=fault.how == "close")
            case FaultKind.MUTE:
                self._muted.add(fault.message or "executing_null")
            case FaultKind.HANG:
                time.sleep(fault.seconds if fault.seconds is not None else 1e9)
            case FaultKind.DELAY:
                time.sleep(fault.seconds or 0.0)
            case FaultKind.EXIT:
                _leave(fault.exit_code)
            case FaultKind.RAISE:
                self._raise(fault)
            case FaultKind.SLOW:
                self._factor = fault.factor
            case FaultKind.FORGET_HISTORY:
                self._queue.forget(None)
            case FaultKind.LOSE_QUEUE:
                self._queue.lose()

    def _raise(self, fault: Fault) -> None:
        what = raised(fault)
        if what.sticky:
            self._world.broken_gpu = what
        raise NodeFailedError(what)


def _leave(exit_code: int | None) -> None:
    if exit_code is None:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    os._exit(exit_code or 0)
