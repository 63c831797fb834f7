"""The ComfyUI that this worker owns: its process, how it is started, and what it says."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Final, Self

from comfy.canary.flight import run_canary
from comfy.canary.report import CanaryReport
from comfy.canary.waiting import CanaryLimits
from comfy.protocol.address import ComfyAddress
from comfy.protocol.client import ComfyClient
from comfy.protocol.patience import Patience
from farm.process.child import free_port
from farm.process.logpump import LogLine
from farm.settings.worker import WorkerSettings
from farm.status.proof import Proof
from worker.comfyui.comfy_disk import ComfyDisk
from worker.comfyui.here import plan_here
from worker.comfyui.keeper import ComfyState, Keeper, Rhythm
from worker.comfyui.launch import (
    LOOPBACK,
    ComfyKind,
    Target,
    child_environment,
    command_line,
    extra_arguments,
    find_target,
    probe_flags,
)
from worker.comfyui.process import ComfyFacts, ComfyProcess
from worker.comfyui.proof import prove
from worker.errors import WorkerError
from worker.gpu.card import GpuCard, class_to_serve, find_card
from worker.plan.fallback import FallbackStep, humbler
from worker.plan.flags import AcceptedFlags
from worker.plan.host import host_memory
from worker.plan.load_plan import LoadPlan

log = logging.getLogger(__name__)

_ATTACHED_ANSWERS_S: Final = 5.0
_DEAD_AFTER_S: Final = 5.0  # nobody listens on the port of our own

# A machine under load answers late, and a wrong verdict costs all jobs that it could have rendered meanwhile.
_CANARY_LIMITS: Final = CanaryLimits(queue_s=600.0, run_s=30.0, answer_s=10.0)


class ComfySupervisor:
    """Owns a ComfyUI, or watches over one that runs already. Methods may be called from any thread."""

    def __init__(
        self,
        settings: WorkerSettings,
        plan: LoadPlan,
        gpu: GpuCard | None,
        *,
        target: Target,
        accepted: AcceptedFlags,
        name: str = "worker",
        rhythm: Rhythm | None = None,
        on_state: Callable[[ComfyState, WorkerError | None], None] | None = None,
    ) -> None:
        """Prepare; `start` does the rest.

        Args:
            target, accepted: from `worker.comfyui.launch`; the same that the plan was made for.
            name: of this worker; whoever finds its folder or card taken reads it.
            rhythm: default: what the settings say.
            on_state: called in a thread at each change of state, with the error that led to it.
        """
        self.plan = plan
        self.gpu = gpu
        self.target = target
        self._settings = settings
        self._accepted = accepted
        self._name = name
        silence_s = settings.comfyui_outage_s if self.is_attached else settings.freeze_timeout_s
        rhythm = rhythm or Rhythm(start_timeout_s=settings.start_timeout_s, freeze_timeout_s=silence_s)
        self._wait_s = rhythm.start_timeout_s
        self._keeper = Keeper(self._new_process, rhythm, on_state=on_state)
        self._lock = threading.Lock()
        self._client: tuple[int, ComfyClient] | None = None
        self.disk = ComfyDisk(settings, target, gpu, holder=name)

    @classmethod
    def for_this_machine(
        cls,
        settings: WorkerSettings,
        *,
        name: str = "worker",
        on_state: Callable[[ComfyState, WorkerError | None], None] | None = None,
    ) -> Self:
        """Read card and host, ask ComfyUI for its flags, and plan accordingly; starts nothing yet.

        Raises:
            GpuUnusable: there should be a card, and it cannot be used.
            ComfyUnusable: what the settings name cannot be run.
        """
        target = find_target(settings)
        # What is only attached may run on another machine, with a card of its own.
        card = find_card() if target.kind is not ComfyKind.ATTACHED else None
        accepted = probe_flags(target)
        plan = plan_here(settings, target, accepted, card)
        return cls(settings, plan, card, target=target, accepted=accepted, name=name, on_state=on_state)

    def take(self) -> None:
        """Take the worker's folder and card, for this process alone.

        Raises:
            InUse: another worker has the folder or the card.
            FolderUnusable: the folder cannot be used.
        """
        try:
            self.disk.take()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Start ComfyUI, and return once it answers; takes folder and card first, unless `take` has.

        Raises:
            InUse, FolderUnusable: as `take`.
            ComfyUnusable, ComfyStartFailed: ComfyUI does not run; nothing is left behind.
        """
        if not self.disk.is_taken:
            self.take()
        self._warn()
        try:
            self._keeper.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End ComfyUI, and give folder and card back. Does nothing the second time."""
        self._keeper.stop()
        with self._lock:
            if self._client is not None:
                self._client[1].close()
                self._client = None
            self.disk.release()

    def ensure_running(self, timeout_s: float | None = None) -> None:
        """Wait until ComfyUI answers; usually it does already.

        Args:
            timeout_s: default: what ComfyUI has to start.

        Raises:
            ComfyUnusable, CrashLoop: it is tried again, but not soon enough to wait for it.
            ComfyStartFailed: it was not ready in time.
        """
        self._keeper.wait(self._wait_s if timeout_s is None else timeout_s)

    def restart(self, reason: str) -> None:
        """End ComfyUI and start it anew; returns once it answers. One that is not ours is only waited for.

        Raises:
            ComfyUnusable, ComfyStartFailed: it does not start again.
        """
        self.request_restart(reason)
        self.ensure_running()

    def request_restart(self, reason: str) -> None:
        """Have ComfyUI ended and started anew, without waiting for it. One that is not ours stays."""
        if not self.is_attached:
            self._keeper.request_restart(reason)

    def humbler_plan(self, step: FallbackStep) -> LoadPlan | None:
        """How it would be started after that step; None when there is no such way."""
        if self.is_attached:
            return None
        extra = extra_arguments(self._settings, self.target, self._accepted)
        return humbler(self.plan, step, self._accepted, extra)

    def replan(self, plan: LoadPlan, reason: str) -> None:
        """Start it anew by another plan; returns once it answers.

        Raises:
            ComfyUnusable, ComfyStartFailed: it does not start again.
        """
        self.plan = plan
        self.restart(reason)

    def client(self) -> ComfyClient:
        """A client for the server as it runs now; waits for it when it does not.

        Raises:
            ComfyUnusable, ComfyStartFailed: as `ensure_running`.
        """
        running = self._keeper.wait(self._wait_s)
        if self.is_attached and running.process.ask(_ATTACHED_ANSWERS_S) is None:
            # Before a prompt is posted: a job that has not begun there is not to wait for the server.
            self._keeper.silence_noticed()
            running = self._keeper.wait(_ATTACHED_ANSWERS_S)
        with self._lock:
            if self._client is None or self._client[0] != running.generation:
                if self._client is not None:
                    self._client[1].close()
                self._client = (running.generation, self._new_client(running.process.address))
            return self._client[1]

    @property
    def state(self) -> ComfyState:
        """How ComfyUI is now."""
        return self._keeper.state

    @property
    def failure(self) -> WorkerError | None:
        """Why it does not run; None while it does."""
        return self._keeper.failure

    @property
    def ended_for(self) -> str | None:
        """See `Keeper.ended_for`."""
        return self._keeper.ended_for

    @property
    def trouble(self) -> str | None:
        """See `Keeper.trouble`."""
        return self._keeper.trouble

    @property
    def base_url(self) -> str:
        """Where it listens; another port after each start. Empty before the first."""
        running = self._keeper.running
        return running.process.url if running is not None else ""

    @property
    def generation(self) -> int:
        """How often it has become ready; another number means another process."""
        running = self._keeper.running
        return running.generation if running is not None else 0

    @property
    def died(self) -> threading.Event:
        """Set the moment that the process which was started last ends.

        It belongs to that process: who follows a job takes it once, when the job begins.
        """
        running = self._keeper.running
        if running is not None:
            return running.process.died
        never_started = threading.Event()
        never_started.set()
        return never_started

    @property
    def is_attached(self) -> bool:
        """Whether it is somebody else's: nothing of its process is ours to start or stop."""
        return self.target.kind is ComfyKind.ATTACHED

    @property
    def is_emulator(self) -> bool:
        """Whether clips are placeholders: ours by choice, or an attached server that says so."""
        facts = self.facts()
        return self.target.kind is ComfyKind.EMULATOR or (facts is not None and facts.is_emulator)

    @property
    def vram_class_gib(self) -> int | None:
        """The VRAM class whose jobs this worker takes, with those of all smaller ones.

        None while an attached server has not told its card.

        Raises:
            GpuUnusable: the card is smaller than the smallest class.
        """
        facts = self.facts()
        memory_bytes = host_memory().total_bytes
        if self.is_attached:
            if facts is None:
                return self._settings.vram_gib
            if facts.devices:
                memory_bytes = facts.devices[0].vram_total_bytes  # of the card over there, if it has one
        return class_to_serve(
            self._settings.vram_gib, self.gpu, host_ram_bytes=memory_bytes, emulated=self.is_emulator
        )

    @property
    def pid(self) -> int | None:
        """Its process id; None when it is not ours, or does not run."""
        running = self._keeper.running
        child = running.process.child if running is not None else None
        return child.pid if child is not None and child.poll() is None else None

    def facts(self) -> ComfyFacts | None:
        """Versions, command line and devices, as it told them when it became ready."""
        running = self._keeper.running
        return running.facts if running is not None else None

    def lines_since(self, monotonic_s: float) -> list[LogLine]:
        """What it has printed since that moment, over a restart too."""
        children = [process.child for process in self._keeper.recent if process.child is not None]
        return [line for child in children for line in child.output.lines_since(monotonic_s)]

    def said_at_start(self) -> tuple[str, ...]:
        """What it said of itself when it was started; empty before it is ready."""
        running = self._keeper.running
        return running.process.read_log().at_start if running is not None else ()

    def proof(self) -> Proof | None:
        """Whether it runs as planned, by all that it has said since its start; None before it is ready."""
        running = self._keeper.running
        if running is None:
            return None
        return prove(self.plan, self.gpu, running.process.read_log(), running.facts)

    def send_canary(self, *, give_up: threading.Event, on_wait: Callable[[str], None]) -> CanaryReport:
        """Send a canary through it as it runs now; see `comfy.canary.flight.run_canary`.

        Raises:
            ComfyUnusable, ComfyStartFailed: it does not run.
        """
        running = self._keeper.wait(self._wait_s)
        is_ours = not self.is_attached
        return run_canary(
            self.client(),
            output_dir=self.disk.output,
            temp_dir=self.disk.temp,
            read_log=running.process.read_log if is_ours else None,
            limits=_CANARY_LIMITS,
            on_wait=on_wait,
            give_up=give_up,
        )

    def _warn(self) -> None:
        if self.target.kind is ComfyKind.EMULATOR:
            log.warning(
                "No ComfyUI is named: the EMULATOR draws placeholder clips, no model runs "
                "(set COMFYUI_DIR or COMFYUI_URL)",
                extra={"event": "emulator_in_use", "worker": self._name},
            )
        elif self.target.kind is ComfyKind.INSTALLED and self.gpu is None:
            log.warning(
                "No GPU: ComfyUI runs on the CPU, which is some hundred times slower",
                extra={"event": "cpu_in_use", "worker": self._name},
            )

        asked_gib, card = self._settings.vram_gib, self.gpu
        if asked_gib is not None and card is not None and asked_gib > (card.vram_class_gib or 0):
            log.warning(
                "FARM_VRAM_CLASS is larger than the card: jobs may run out of memory",
                extra={"event": "class_above_card", "asked_gib": asked_gib, "gpu": card.name},
            )

    def _new_process(self, on_death: Callable[[], None]) -> ComfyProcess:
        if self.target.address is not None:
            return ComfyProcess(self.target.address, None, threading.Event())
        folders, port = self.disk.folders, free_port()
        command = command_line(self.target, self._accepted, self.plan, folders, self._settings, port)
        log.info("Starting ComfyUI", extra={"event": "comfy_starting", "command": command})
        process = ComfyProcess.start(
            command,
            address=ComfyAddress(f"http://{LOOPBACK}:{port}"),
            env=child_environment(self.target, self.plan.env),
            cwd=folders.work,
            log_file=folders.logs / "comfyui.log",
            user=self.target.user,
            on_death=on_death,
        )
        if process.child is not None:
            # A note for the worker after us; this process may have ended already.
            with contextlib.suppress(OSError):
                folders.remember_process(process.child.pid)
        return process

    def _new_client(self, address: ComfyAddress) -> ComfyClient:
        settings = self._settings
        patience = Patience(
            freeze_timeout_s=settings.comfyui_outage_s if self.is_attached else settings.freeze_timeout_s,
            # Ours is known to be dead by then. One elsewhere may be behind a network that is away.
            dead_timeout_s=settings.comfyui_outage_s if self.is_attached else _DEAD_AFTER_S,
            reconnect_attempts=self._settings.ws_reconnect_attempts,
            reconnect_delay_s=self._settings.ws_reconnect_delay_s,
            interrupt_grace_s=self._settings.cancel_grace_s,
        )
        # One answer that does not come must not take longer than all of them may.
        return ComfyClient(address, patience=patience, http_timeout_s=min(10.0, patience.freeze_timeout_s))
