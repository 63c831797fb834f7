"""`LocalStack`: the whole farm on this machine, as one thing that starts, is found and stops."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final, Self

from farm.errors import StackError
from farm.local.addresses import HOST, PartName, local_url
from farm.local.parts import (
    FLOWER_USER,
    Part,
    flower_part,
    gateway_part,
    s3_part,
    valkey_part,
    worker_part,
)
from farm.local.running import named_already, stack_environment, stack_folder
from farm.local.state import FolderLock, Passwords, StackState, read_state, write_state
from farm.local.supervisor import ORPHAN_GRACE_S, Board, Keeper, PartNews
from farm.process.child import Child, free_port
from farm.process.identity import ProcessId, identify
from farm.process.privacy import close_to_others
from farm.settings.worker import WorkerSettings

log = logging.getLogger(__name__)

ALL_PARTS: Final = frozenset(PartName)
# The worker listens on none of ours.
PORTS: Final = tuple(part for part in PartName if part is not PartName.WORKER)
WORKER_EXTRA_S: Final = 60.0  # beyond ComfyUI's own start: imports, detection, a first look at S3

# Relative ones would mean another place in the child, which runs in a folder of ours.
WORKER_PATHS: Final[tuple[str, ...]] = (
    "COMFYUI_DIR",
    "COMFYUI_PYTHON",
    "COMFYUI_BASE",
    "COMFYUI_OUTPUT",
    "FARM_WORKER_DIR",
)


class LocalStack:
    """The parts of the farm that this machine lacks, as children that die with this process.

    What the environment names already (`FARM_REDIS_URL`, `FARM_S3_ENDPOINT_URL`, …) is not started.
    Use it as a context manager, or call `serve` to run until somebody asks for the end.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        parts: Iterable[PartName] = ALL_PARTS,
        environ: Mapping[str, str] | None = None,
        on_news: Callable[[PartNews], None] = lambda _news: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: data, logs and the state file; made when it is not there. Default: `stack_folder`.
            environ: what names the services that are there already; default: this process's.
            on_news: told of starts and deaths, from other threads.
        """
        self.folder = (stack_folder() if folder is None else folder).resolve()
        self._environ = dict(os.environ if environ is None else environ)
        self._parts = frozenset(parts) - named_already(self._environ)
        self._on_news = on_news
        self._board = Board()
        self._keepers: list[Keeper] = []
        self._lock: FolderLock | None = None
        self._state_lock = threading.Lock()
        self._state: StackState | None = None

    @property
    def parts(self) -> frozenset[PartName]:
        """What this stack itself runs."""
        return self._parts

    def start(self) -> StackState:
        """Start what is missing and return when all of it answers: a few seconds.

        Raises:
            StackError: a stack runs in this folder already, a program is not installed, or a part
                does not come up; the message holds its last lines. Nothing is left running.
        """
        self._lock = FolderLock.take(self.folder)
        self._board = Board()
        try:
            state = self._prepare()
            self._keepers = [self._keeper(part) for part in self._plan(state)]
            for keeper in self._keepers:
                keeper.start()
            wanted = {keeper.part.name for keeper in self._keepers}
            self._board.wait_for(lambda: bool(self._board.failure) or wanted <= self._board.ready)
            if self._board.failure:
                raise self._board.failure
        except BaseException as exc:
            self.stop()
            if isinstance(exc, OSError):
                raise StackError(f"the stack's folder {self.folder} cannot be used: {exc}") from exc
            raise
        return self.state

    def stop(self, *, grace_s: float | None = None) -> None:
        """End all parts, those first that use the others. May be called again, also while it runs.

        Args:
            grace_s: seconds that each part has to end by itself; default: what suits it.
        """
        self._board.stop()
        users = [keeper for keeper in self._keepers if keeper.part.needs]
        others = [keeper for keeper in self._keepers if not keeper.part.needs]
        for group in (users, others):
            # Not a pool: that would make an impatient second call wait for the patience of the first.
            stops = [threading.Thread(target=keeper.stop, args=(grace_s,), daemon=True) for keeper in group]
            for stop in stops:
                stop.start()
            for stop in stops:
                stop.join()
        if self._lock is not None:
            self._note_end()
            self._lock.release()
            self._lock = None

    def serve(self, on_ready: Callable[[StackState], None] = lambda _state: None) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP; a second one ends it at once. Main thread only.

        Raises:
            StackError: as `start`.
        """
        close_to_others()  # its environment and its memory hold the passwords of all parts
        with _signals_interrupt():
            try:
                on_ready(self.start())
                threading.Event().wait()
            except KeyboardInterrupt:
                log.info("The local stack is stopping", extra={"event": "stack_stopping"})
            finally:
                try:
                    self.stop()
                except KeyboardInterrupt:
                    self.stop(grace_s=0.0)

    @property
    def state(self) -> StackState:
        """The stack as its state file tells it."""
        if self._state is None:
            raise StackError("the local stack has not been started")
        return self._state

    def environment(self) -> dict[str, str]:
        """The variables with which a client or worker finds this stack's own parts."""
        return dict(self.state.environment)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _prepare(self) -> StackState:
        """Clear up after the last one, choose ports and passwords, write them down."""
        last = read_state(self.folder)
        if last is not None:
            _await_orphans(last.children.values())
        for name in ("run", "logs"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        owner = identify(os.getpid())
        assert owner is not None  # noqa: S101  # we do run
        passwords = last.passwords if last else Passwords.generate()
        ports = _choose_ports(last.ports if last else {})
        self._state = StackState(
            owner=owner,
            passwords=passwords,
            ports=ports,
            environment=stack_environment(self._parts, ports, passwords, self._environ),
            worker=self._worker_variables(),
            flower_url=local_url(ports[PartName.FLOWER]) if PartName.FLOWER in self._parts else None,
            gateway_url=local_url(ports[PartName.GATEWAY]) if PartName.GATEWAY in self._parts else None,
            flower_user=FLOWER_USER,
        )
        write_state(self.folder, self._state)
        return self._state

    def _plan(self, state: StackState) -> list[Part]:
        ports, passwords, environ = state.ports, state.passwords, self._child_environ(state)
        made: dict[PartName, Part] = {}
        if PartName.VALKEY in self._parts:
            made[PartName.VALKEY] = valkey_part(self.folder, ports[PartName.VALKEY], passwords, environ)
        if PartName.S3 in self._parts:
            made[PartName.S3] = s3_part(self.folder, ports[PartName.S3], passwords, environ)
        if PartName.WORKER in self._parts:
            made[PartName.WORKER] = self._worker_part(environ)
        if PartName.FLOWER in self._parts:
            made[PartName.FLOWER] = flower_part(ports[PartName.FLOWER], passwords, environ)
        if PartName.GATEWAY in self._parts:
            made[PartName.GATEWAY] = gateway_part(ports[PartName.GATEWAY], environ)
        # A part that the environment names is somebody else's and need not be waited for.
        return [replace(part, needs=part.needs & self._parts) for part in made.values()]

    def _worker_part(self, environ: Mapping[str, str]) -> Part:
        settings = WorkerSettings.read()
        name = environ["FARM_WORKER_NAME"]
        return worker_part(
            name if "@" in name else f"{name}@{socket.gethostname()}",  # as it would make it itself
            environ,
            timeout_s=settings.start_timeout_s + WORKER_EXTRA_S,
            grace_s=settings.drain_grace_s + settings.cancel_grace_s,
        )

    def _child_environ(self, state: StackState) -> dict[str, str]:
        own = {
            "FARM_WORKER_NAME": f"local@{socket.gethostname()}",
            "FARM_WORKER_DIR": str(self.folder / "worker"),
        }
        return {**own, **self._given(), **state.environment}

    def _given(self) -> dict[str, str]:
        """What the environment says, with paths that mean the same from another folder."""
        given = {name: value for name, value in self._environ.items() if value}
        paths = {name: str(Path(given[name]).absolute()) for name in WORKER_PATHS if name in given}
        if os.sep not in given.get("COMFYUI_PYTHON", ""):  # a program of PATH, not a file here
            paths.pop("COMFYUI_PYTHON", None)
        return {**given, **paths}

    def _worker_variables(self) -> dict[str, str]:
        """What one more worker of this stack needs: the same ComfyUI, and a folder that nobody has yet."""
        of_comfyui = {name: value for name, value in self._given().items() if name.startswith("COMFYUI_")}
        return {**of_comfyui, "FARM_WORKER_DIR": str(self.folder / "workers")}

    def _keeper(self, part: Part) -> Keeper:
        return Keeper(part, self._board, folder=self.folder, on_start=self._note_child, on_news=self._on_news)

    def _note_child(self, part: PartName, child: Child) -> None:
        """So that after a SIGKILL of this process the next one can wait for the end of its children."""
        process = identify(child.pid)
        if process is None:
            return
        with self._state_lock:
            self._state = replace(self.state, children={**self.state.children, part: process})
            self._save(self._state)

    def _note_end(self) -> None:
        if self._state is not None:
            self._save(replace(self._state, stopped=True, children={}))

    def _save(self, state: StackState) -> None:
        """As far as the disk takes it: a full one must not bring the servers down."""
        try:
            write_state(self.folder, state)
        except OSError as exc:
            log.warning(
                "The state file could not be updated",
                extra={"event": "state_write_failed", "reason": str(exc)},
            )


def _choose_ports(last: Mapping[str, int]) -> dict[str, int]:
    """A port for each part: the last one where it is still free, so that links stay good."""
    ports: dict[str, int] = {}
    for part in PORTS:
        port = last.get(part, 0)
        while port in {0, *ports.values()} or not _is_free(port):
            port = free_port(HOST)
        ports[part] = port
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do it: connections of the last one that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _await_orphans(children: Iterable[ProcessId]) -> None:
    """Wait for what a killed stack left behind: two servers over the same files would damage them."""
    for child in children:
        if not child.wait_gone(ORPHAN_GRACE_S + 2.0):
            log.warning("Part of an earlier stack is killed", extra={"event": "orphan", "pid": child.pid})
            child.signal(signal.SIGKILL)
            if not child.wait_gone(5.0):
                raise StackError(
                    f"process {child.pid} of an earlier stack cannot be ended; see `ps {child.pid}`"
                )


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
