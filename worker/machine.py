"""What one worker has to render with: its card and its ComfyUI, watched together.

It tells the gate when one of them cannot take a job, and whether both are as the load plan says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from comfy.doctor.times import CardUse
from farm.settings.worker import WorkerSettings
from farm.status.not_fetching import NotFetching
from farm.status.proof import Proof
from worker.comfyui.canary_keeper import CanaryKeeper
from worker.comfyui.excerpt import lines_of_job
from worker.comfyui.keeper import ComfyState
from worker.comfyui.launch import ComfyKind, child_environment
from worker.comfyui.plan_check import PlanCheck
from worker.comfyui.recycle_comfy import recycler_of
from worker.comfyui.supervisor import ComfySupervisor
from worker.comfyui.warm_models import WarmModels
from worker.errors import GpuUnusable, WorkerError
from worker.fetching.gate import Gate
from worker.gpu.attention import AttentionProbe
from worker.gpu.nvenc import NvencFinding, try_nvenc
from worker.gpu.watch import GpuWatch

log = logging.getLogger(__name__)


class Machine:
    """The card and the ComfyUI of this worker. All but `start` and `stop` may be called from any thread."""

    def __init__(
        self, settings: WorkerSettings, gate: Gate, *, name: str, on_change: Callable[[], None]
    ) -> None:
        """Read card and host, ask ComfyUI for its flags, and plan; starts nothing yet.

        Args:
            name: of this worker; whoever finds its card or folder taken reads it.
            on_change: called when ComfyUI or the card is otherwise than before.

        Raises:
            GpuUnusable: there should be a card, and it cannot be used.
            ComfyUnusable: what the settings name cannot be run.
        """
        self._gate = gate
        self._on_change = on_change
        self.nvenc: NvencFinding | None = None  # None: not tried, the card has no encoder
        self.comfy = ComfySupervisor.for_this_machine(settings, name=name, on_state=self._comfy_is)
        self.gpu = self.comfy.gpu
        self.watch = GpuWatch(self.gpu, self._card_is) if self.gpu is not None else None
        self._plan_check = PlanCheck(self._prove, lambda: self.comfy.generation, gate, strict=settings.strict)
        self.canary = CanaryKeeper(
            self.comfy, gate, required=settings.canary_required, on_report=self._canary_is_back
        )
        self.warm = WarmModels(self.comfy)
        self.attention = self._attention_probe(settings.data_dir)
        self._recycler = recycler_of(self.comfy, settings, on_free=self.warm.forget)

    @property
    def owns_card(self) -> bool:
        """Whether it computes on a card here, which no other worker may use then."""
        return self.gpu is not None and self.comfy.target.kind is ComfyKind.INSTALLED

    @property
    def card_trouble(self) -> str | None:
        """Why the card cannot be used now; None while it can, and where there is none."""
        trouble = self.watch.trouble if self.watch is not None else None
        return str(trouble) if trouble is not None else None

    def look_at_card(self) -> str | None:
        """Read the card now; why it cannot be used, None while it can, and where there is none."""
        trouble = self.watch.look() if self.watch is not None else None
        return str(trouble) if trouble is not None else None

    @property
    def trouble(self) -> str | None:
        """What keeps it from rendering, for a person; None while nothing does."""
        return self.card_trouble or self.comfy.trouble or self.canary.trouble

    def take(self) -> None:
        """Take the worker's folder and the card, for this process alone.

        Raises:
            InUse: another worker of this machine has the folder or the card.
            FolderUnusable: the worker's folder cannot be used.
        """
        self.comfy.take()

    def start(self) -> None:
        """Start ComfyUI, and return once it answers; its card is watched from then on.

        Raises:
            ComfyUnusable, ComfyStartFailed: ComfyUI does not run; nothing is left behind.
        """
        self._try_nvenc()
        self.canary.start()
        self.comfy.start()
        if self.attention is not None:
            self.attention.recall()
        if self.watch is not None:
            self.watch.start()

    def stop(self) -> None:
        """End what `start` started; does nothing the second time."""
        if self.watch is not None:
            self.watch.stop()
        self.comfy.stop()
        self.canary.stop()  # after it: one that is under way ends with ComfyUI

    def proof(self) -> Proof | None:
        """Whether ComfyUI runs as planned, looked at again if there is news; None before its first start."""
        self._plan_check.look()
        return self._plan_check.proof

    def printed_for(self, began_s: float, ended_s: float, ran_s: float | None = None) -> list[str]:
        """What ComfyUI has printed for the job that had the card; see `lines_of_job`."""
        return [line.shown for line in lines_of_job(self.comfy.lines_since(began_s), ended_s, ran_s)]

    def card_during(self, began_s: float, ended_s: float) -> CardUse | None:
        """What was seen of the card between two monotonic moments; None where there is none to look at."""
        return self.watch.use_during(began_s, ended_s) if self.watch is not None else None

    def after_render(self) -> None:
        """Between two jobs: the first one's loads are proof, and what a job left behind is looked at."""
        try:
            self.comfy.disk.empty_temp()
            self._plan_check.look(after_job=True)
            self._recycler.after_job(self.comfy.generation)
        except Exception:
            # A look must not cost the job that was rendered.
            log.exception("What is due between two jobs failed", extra={"event": "after_render_failed"})

    def attention_proven(self, *, now: bool) -> Mapping[str, float]:
        """Back-ends that are right on this card -> seconds of one attention.

        Args:
            now: try them, which takes a minute or two, unless that was done before.
        """
        if self.attention is None:
            return {}
        found = self.attention.find() if now else self.attention.known
        return found.proven if found is not None else {}

    def _attention_probe(self, folder: Path) -> AttentionProbe | None:
        if self.gpu is None or not self.owns_card:
            return None
        return AttentionProbe(
            self.comfy.target.command[:1],
            folder.absolute() / "attention.json",
            card={"uuid": self.gpu.uuid, "driver": self.gpu.driver or ""},
            environ=child_environment(self.comfy.target, self.comfy.plan.env),
            user=self.comfy.target.user,
        )

    def _try_nvenc(self) -> None:
        if self.gpu is None or self.gpu.has_nvenc is False:
            return
        self.nvenc = try_nvenc(self.gpu.uuid)
        if self.gpu.has_nvenc and not self.nvenc.usable:
            log.warning(
                "The card's video encoder does not work; clips are encoded on the CPU",
                extra={"event": "nvenc_unusable", "reason": self.nvenc.reason},
            )

    def probe(self) -> str | None:
        """Start ComfyUI anew and send a canary through it; why it cannot be used, None when it can.

        One that is not ours is not started anew.
        """
        try:
            self.comfy.restart("probe")
        except WorkerError as exc:
            return str(exc)
        report = self.canary.send_now()
        return self.canary.trouble if report is not None else "its canary did not come back"

    def _prove(self) -> Proof | None:
        """The plan held against the log, and what the canary found otherwise than it is known."""
        proof, report = self.comfy.proof(), self.canary.report
        if proof is None or report is None:
            return proof
        # What keeps jobs from coming is the worker's trouble, and no doubt.
        doubts = report.strange if self.canary.trouble else (*report.broken, *report.strange)
        return proof.with_doubts(map(str, doubts))

    def _canary_is_back(self) -> None:
        self._plan_check.look(after_job=True)
        self._on_change()

    def _comfy_is(self, state: ComfyState, _failure: WorkerError | None) -> None:
        # The next reason is there before the last one goes: no job slips in between.
        down = NotFetching.COMFYUI_SILENT if self.comfy.is_attached else NotFetching.COMFYUI_DOWN
        if state is ComfyState.READY:
            self.canary.comfyui_started()
            self._plan_check.look()
            self._gate.open(down)
        else:
            self._gate.close(down)
            self.canary.comfyui_ended()
        self._on_change()

    def _card_is(self, trouble: GpuUnusable | None) -> None:
        """Never on the CPU instead: a worker whose card went takes no job until it is back."""
        if trouble is None:
            self._gate.open(NotFetching.GPU_UNUSABLE)
        else:
            self._gate.close(NotFetching.GPU_UNUSABLE)
        self._on_change()
