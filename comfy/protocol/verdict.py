"""The outcome of a run as an error, or as nothing when there is something to show."""

from __future__ import annotations

from comfy.errors import Blocked, NothingToShow, OutOfMemory, RunFailed, RunInterrupted, RunLost
from comfy.protocol.causes import Cause, cause_of
from comfy.protocol.run import Outcome, PromptRun


def raise_unless_succeeded(run: PromptRun) -> None:
    """Return when the run has succeeded with a file that is kept, or with text and no file at all.

    Text beside previews is no result: who ends a graph with previews has forgotten to save.

    Raises:
        RunFailed, OutOfMemory, RunInterrupted, RunLost, NothingToShow: as the run ended.
    """
    match run.outcome:
        case Outcome.SUCCEEDED:
            files = run.outputs
            if not any(file.is_result for file in files) and (files or not run.texts):
                raise _nothing(run)
        case Outcome.FAILED:
            raise _failed(run)
        case Outcome.INTERRUPTED:
            raise RunInterrupted(run.prompt_id, node_id=run.interrupted_at or None)
        case Outcome.LOST:
            raise RunLost(run.prompt_id)
        case None:
            raise ValueError(f"prompt {run.prompt_id} is still open")


def _failed(run: PromptRun) -> RunFailed:
    error = run.error
    if error is None:
        return RunFailed(
            prompt_id=run.prompt_id, exception_type="unknown", exception_message="ComfyUI gave no reason"
        )
    cause = cause_of(error.exception_type, error.exception_message, error.traceback)
    kind = OutOfMemory if cause is Cause.OUT_OF_MEMORY else RunFailed
    return kind(
        prompt_id=run.prompt_id,
        exception_type=error.exception_type,
        exception_message=error.exception_message,
        node_id=error.node_id,
        node_type=error.node_type,
        traceback=error.traceback,
    )


def blocked_branches(run: PromptRun) -> tuple[Blocked, ...]:
    """What a node's blocker has kept from running."""
    return tuple(
        Blocked(
            node_id=each.node_id,
            node_type=each.node_type,
            message=each.exception_message.strip().removeprefix("Execution Blocked: "),
        )
        for each in run.blocked
    )


def _nothing(run: PromptRun) -> NothingToShow:
    return NothingToShow(
        run.prompt_id, seen=[file.filename for file in run.outputs], blocked=blocked_branches(run)
    )
