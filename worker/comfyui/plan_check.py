"""Looks after each start and after the first job whether the plan holds; tells, and may stop the fetching."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from worker.comfyui.proof import Proof
from worker.gate import Gate

log = logging.getLogger(__name__)

NOT_AS_PLANNED: Final = "ComfyUI runs otherwise than planned"


class PlanCheck:
    """Keeps the last proof; methods may be called from any thread."""

    def __init__(
        self, prove: Callable[[], Proof | None], generation: Callable[[], int], gate: Gate, *, strict: bool
    ) -> None:
        """Prepare.

        Args:
            prove: holds what ComfyUI has said so far against the plan; None before it is ready.
            generation: which start of ComfyUI it is.
            strict: a difference closes the gate until a start without one.
        """
        self._prove = prove
        self._generation = generation
        self._gate = gate
        self._strict = strict
        self._lock = threading.Lock()
        self._seen: tuple[int, bool] | None = None  # of which start, and whether with a job's lines
        self._proof: Proof | None = None

    @property
    def proof(self) -> Proof | None:
        """What was found last; None before the first start."""
        return self._proof

    def look(self, *, after_job: bool = False) -> None:
        """Look if there is something new to see: another start, its first job, or a log that was empty."""
        with self._lock:
            generation = self._generation()
            known = self._seen is not None and self._seen[0] == generation
            told = known and self._proof is not None and not self._proof.silent
            if told and (not after_job or (self._seen is not None and self._seen[1])):
                return
            proof = self._prove()
            if proof is None:
                return
            said = set(self._proof.differences) if known and self._proof is not None else set()
            self._seen, self._proof = (generation, after_job), proof
        for difference in proof.differences:
            if difference not in said:
                log.warning(
                    "ComfyUI runs otherwise than planned", extra={"event": "unproven", "what": difference}
                )
        self._keep_gate(proof)

    def _keep_gate(self, proof: Proof) -> None:
        if not self._strict:
            return
        if proof.holds:
            self._gate.open(NOT_AS_PLANNED)
        else:
            self._gate.close(NOT_AS_PLANNED)
