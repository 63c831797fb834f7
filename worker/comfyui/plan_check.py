"""Looks after each start and each job whether the plan holds; tells, and may stop the fetching."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from farm.status.not_fetching import NotFetching
from farm.status.proof import (
    Proof,
    ProofVerdict,
)
from worker.gate import Gate

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
        said = _told_of(before) if before is not None else set()
        for event, what in sorted(_told_of(proof) - said):
            log.warning(_WORDS[event], extra={"event": event, "what": what})
        self._keep_gate(proof)

    def _keep_gate(self, proof: Proof) -> None:
        if not self._strict:
            return
        if proof.holds:
            self._gate.open(NotFetching.NOT_PROVEN)
        else:
            self._gate.close(NotFetching.NOT_PROVEN)


_WORDS: Final = {
    "not_as_planned": "ComfyUI runs otherwise than planned",
    "unproven": "Whether ComfyUI runs as planned cannot be told",
    "unknown_warning": "ComfyUI printed a warning that is not known",
}


def _told_of(proof: Proof) -> set[tuple[str, str]]:
    """What a person is to hear of: event and words."""
    unknown = proof.log.unknown_warnings if proof.log is not None else ()
    return {
        *(("not_as_planned", what) for what in proof.differences),
        *(("unproven", what) for what in proof.unproven),
        *(("unknown_warning", what) for what in unknown),
    }
