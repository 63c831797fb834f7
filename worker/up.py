"""``python -m worker up``: one worker process for each card of this machine, started again on its end."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farm.errors import FarmError
from farm.process.child import Child
from farm.process.environment import for_worker
from farm.process.logpump import LogLine
from farm.process.privacy import forget
from farm.process.restart import Backoff, Failure, keep_running
from worker.errors import GpuUnusable
from worker.exits import EX_CONFIG
from worker.gpu.card import GpuCard, find_card, read_cards
from worker.gpu.nvml import GpuState

log = logging.getLogger(__name__)

BACKOFF: Final = Backoff(first_s=1.0, longest_s=60.0)
_STOP_MARGIN_S: Final = 20.0  # beyond the drain's grace: ComfyUI's end, and the last writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One worker to keep: its name, and what its environment has beyond ours."""

    name: str
    variables: Mapping[str, str]


def posts_for(
    cards: Sequence[GpuCard], *, wanted: Sequence[str], count: int, host: str, data_dir: Path
) -> list[Post]:
    """One post for each card or MIG slice, names the same after each start; `count` ones without cards.

    Args:
        wanted: indexes or beginnings of UUIDs; empty: all cards.

    Raises:
        GpuUnusable: a card that is wanted does not exist.
    """
    if not cards and not wanted:
        return [_post(f"worker{number}", host, data_dir, {}) for number in range(count)]
    numbered = list(zip(_short_names(cards), cards, strict=True))
    for entry in wanted:
        if not any(_is(entry, card) for card in cards):
            there = ", ".join(f"{card.index} = {card.uuid}" for card in cards) or "none"
            raise GpuUnusable(
                GpuState.UNKNOWN_DEVICE,
                f"there is no card {entry!r} (there are: {there})",
                "correct --gpus",
            )
    return [
        _post(short, host, data_dir, {"CUDA_VISIBLE_DEVICES": card.uuid})
        for short, card in numbered
        if not wanted or any(_is(entry, card) for entry in wanted)
    ]


def _post(short: str, host: str, data_dir: Path, variables: Mapping[str, str]) -> Post:
    ours = {"FARM_WORKER_NAME": f"{short}@{host}", "FARM_WORKER_DIR": str(data_dir / short)}
    return Post(name=f"{short}@{host}", variables={**ours, **variables})


def _short_names(cards: Sequence[GpuCard]) -> list[str]:
    slices: dict[int, int] = {}
    names = []
    for card in cards:
        if card.parent_uuid is None:
            names.append(f"gpu{card.index}")
            continue
        number = slices.get(card.index, 0)
        slices[card.index] = number + 1
        names.append(f"gpu{card.index}-mig{number}")
    return names


def _is(entry: str, card: GpuCard) -> bool:
    if entry.isdigit():
        return card.index == int(entry)
    return any(uuid.lower().startswith(entry.lower()) for uuid in (card.uuid, card.parent_uuid or ""))


class WorkerEnded(FarmError):
    """A worker's process ended by itself."""

    def __init__(self, how: str, code: int) -> None:
        super().__init__(how)
        self.code = code


def _is_refusal(why: Exception, _in_a_row: int) -> bool:
    """Whether its last words were that its set-up is wrong: a restart mends nothing."""
    return isinstance(why, WorkerEnded) and why.code == EX_CONFIG


class Respawner:
    """Keeps one worker running, in a thread of its own."""

    def __init__(
        self,
        post: Post,
        command: Sequence[str],
        *,
        grace_s: float,
        environ: Mapping[str, str],
        backoff: Backoff = BACKOFF,
    ) -> None:
        """Prepare.

        Args:
            environ: what its worker is started with, each time anew, beside what the post says.
        """
        self.post = post
        self._command = command
        self._environ = {**for_worker(environ), "PYTHONUNBUFFERED": "1", **post.variables}
        self._grace_s = grace_s
        self._backoff = backoff
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # so that no child is started behind a stop
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._keep, name=f"watch of {post.name}", daemon=True)
        self.refused = False  # its last words were that its set-up is wrong

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Have it drain and end; returns when it and all it started is gone."""
        with self._lock:
            self._stopping.set()
            child = self._child
        if child is not None:
            child.stop(grace_s=self._grace_s)
        self._thread.join()

    def _keep(self) -> None:
        keep_running(
            self._run,
            backoff=self._backoff,
            wait=self._stopping.wait,
            on_failure=self._tell,
            is_hopeless=_is_refusal,
        )

    def _tell(self, failure: Failure) -> None:
        self.refused = failure.hopeless
        log.error(
            "Worker ended; it is started again",
            extra={
                "event": "worker_ended",
                "worker": self.post.name,
                "reason": str(failure.why),
                "in_a_row": failure.in_a_row,
                "in_s": failure.pause_s,
            },
        )

    def _run(self) -> None:
        """From its start to its end.

        Raises:
            WorkerEnded: it ended by itself.
            ChildNotStarted, OSError: it cannot be started.
        """
        with self._lock:
            if self._stopping.is_set():
                return
            child = self._child = Child.start(
                self._command,
                name=self.post.name,
                env=self._environ,
                on_line=self._pass_on,
                grace_s=self._grace_s,
            )
        code = child.wait()
        raise WorkerEnded(child.end_in_words(code), code)

    def _pass_on(self, line: LogLine) -> None:
        sys.stdout.write(f"{self.post.name} | {line.shown}\n")
        sys.stdout.flush()


def up(arguments: Sequence[str]) -> int:
    """Run the workers until SIGTERM or Ctrl-C, which drains all of them; returns the exit code.

    Raises:
        GpuUnusable: a card ought to be there, or was asked for, and cannot be used.
    """
    from farm.local.surroundings import settings_here
    from farm.logs import configure_logging
    from farm.settings.groups import secret_variables
    from farm.settings.logs import LogSettings
    from farm.settings.worker import WorkerSettings

    options = _options(arguments)
    if options.strict:
        os.environ["FARM_STRICT"] = "true"  # which the workers inherit
    settings, logs = settings_here(WorkerSettings), LogSettings.read()
    configure_logging(logs.level, logs.form)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = read_cards(visible) if find_card() is not None else []
    wanted = [entry.strip() for entry in options.gpus.split(",") if entry.strip()]
    posts = posts_for(
        cards, wanted=wanted, count=options.count, host=platform.node(), data_dir=settings.data_dir
    )
    grace_s = settings.drain_grace_s + _STOP_MARGIN_S
    environ = dict(os.environ)
    forget(secret_variables())  # the workers get them, nothing else that we start
    command = [sys.executable, "-m", "worker"]
    respawners = [Respawner(post, command, grace_s=grace_s, environ=environ) for post in posts]
    return _serve(respawners)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="farm-worker up", description=__doc__)
    parser.add_argument("--gpus", default="", metavar="0,2", help="cards by index or UUID; default: all")
    parser.add_argument(
        "--count", type=int, default=1, help="workers on a machine without a card (emulator, CPU)"
    )
    parser.add_argument(
        "--strict", action="store_true", help="give no jobs to a ComfyUI that is not proven to run as planned"
    )
    options = parser.parse_args(list(arguments))
    if options.count < 1:
        parser.error("--count must be at least 1")
    return options


def _serve(respawners: Sequence[Respawner]) -> int:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    for respawner in respawners:
        respawner.start()
    # When every one of them says that its set-up is wrong, only a person can help.
    while not ended.wait(0.5):
        if all(respawner.refused for respawner in respawners):
            break
    refused = all(respawner.refused for respawner in respawners)
    stoppers = [threading.Thread(target=respawner.stop) for respawner in respawners]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
    return EX_CONFIG if refused else 0
