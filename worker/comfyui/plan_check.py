"""Looks after each start and each job whether the plan holds; tells, and may stop the fetching."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from farm.status.not_fetching import NotFetching
from farm.status.proof import Proof, ProofVerdict
from worker.fetching.gate import Gate

log = logging.getLogger(__name__)


class PlanCheck:
    """Keeps the last proof; methods may be called from any thread."""

    def __init__(
        self, prove: Callable[[], Proof | None], generation: Callable[[], int], gate: Gate, *, strict: bool
    ) -> None:
        """Prepare.

        Args:
            prove: holds what ComfyUI has said so far against the plan; None before it is ready.
            generation: which start of ComfyUI it is.
            strict: what is not proven closes the gate until a start that is.
        """
        self._prove = prove
        self._generation = generation
        self._gate = gate
        self._strict = strict
        self._lock = threading.Lock()
        self._seen: int | None = None  # of which start the proof is
        self._proof: Proof | None = None

    @property
    def proof(self) -> Proof | None:
        """What was found last; None before the first start."""
        return self._proof

    def look(self, *, after_job: bool = False) -> None:
        """Look if there is something new to see: another start, a job's lines, or what was not told yet."""
        with self._lock:
            generation = self._generation()
            before = self._proof if generation == self._seen else None
            if before is not None and before.verdict is not ProofVerdict.UNPROVEN and not after_job:
                return
            proof = self._prove()
            if proof is None:
                return
            self._seen, self._proof = generation, proof
        _tell(proof, before)
        self._keep_gate(proof)

    def _keep_gate(self, proof: Proof) -> None:
        if not self._strict:
            return
        if proof.holds:
            self._gate.open(NotFetching.NOT_PROVEN)
        else:
            self._gate.close(NotFetching.NOT_PROVEN)


def _tell(proof: Proof, before: Proof | None) -> None:
    """Say what was not said before."""
    said = before or Proof()
    for what in _new(proof.differences, said.differences):
        log.warning("ComfyUI does not run as planned", extra={"event": "not_as_planned", "what": what})
    for what in _new(proof.seen_in_jobs, said.seen_in_jobs):
        log.warning(
            "Lines of a job say that ComfyUI does not run as planned",
            extra={"event": "not_as_planned_in_jobs", "what": what},
        )
    for what in _new(proof.unproven, said.unproven):
        log.warning(
            "It cannot be told whether ComfyUI runs as planned", extra={"event": "unproven", "what": what}
        )
    for what in _new(_unknown(proof), _unknown(said)):
        log.warning("ComfyUI printed an unknown warning", extra={"event": "unknown_warning", "what": what})


def _unknown(proof: Proof) -> Sequence[str]:
    return proof.log.unknown_warnings if proof.log is not None else ()


def _new(told: Sequence[str], before: Sequence[str]) -> list[str]:
    return [what for what in dict.fromkeys(told) if what not in before]
