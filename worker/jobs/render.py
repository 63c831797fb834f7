"""One attempt on the GPU: from the claim to finished files on this disk. Knows no Celery and no store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.errors import RunInterrupted, RunLost, ServerError, ServerForbids, ServerUnreachable
from comfy.graphs.graph import set_inputs
from comfy.graphs.links import class_of, find_input
from comfy.node_defs.node_classes import Names, what_it_names
from comfy.protocol.client import ComfyClient
from comfy.protocol.events import Event, Preview
from comfy.protocol.outputs import OutputFile, files_of_others
from comfy.protocol.phases import Phase
from comfy.protocol.run import PromptRun
from comfy.protocol.verdict import blocked_branches
from comfy.rewrites.attention import take_pytorchs
from comfy.rewrites.output_prefix import set_output_prefix
from comfy.rewrites.tiled_decode import TILED, tile_decodes
from comfy.wan.find import steps_by_sampler
from farm.errors import TransferStopped
from farm.job import Progress
from farm.store.base import Claim
from worker.errors import AttemptStopped, BrokenOutput, ServerLost, TimeLimitReached
from worker.jobs.collect import collect
from worker.jobs.context import RenderContext, RunListener
from worker.jobs.names import file_prefix, prompt_data, prompt_id, run_folder
from worker.jobs.pace import Pace
from worker.plan.fallback import FallbackStep
from worker.results.rendered import Rendered

log = logging.getLogger(__name__)

# Before each run of a try. ComfyUI's queue thread drops the cache a moment after it was told to, unless the
# next prompt is there by then.
_AFTER_FREE_S: Final = (0.0, 0.5, 3.0)
_END_NOTICED_S: Final = 1.0  # how long the end of a process may take to be known
# A person follows the phases: those of small helper nodes between two stages only flicker.
_SAYS_NOTHING: Final = frozenset({Phase.QUEUED, Phase.OTHER, Phase.DONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """ComfyUI as it runs now: another process may follow while we look."""

    client: ComfyClient
    died: threading.Event


def render(context: RenderContext) -> Rendered:
    """Run the claim's graph to its end.

    Raises:
        GraphError: this deployment does not allow the graph.
        GraphRejected, RunFailed, OutOfMemory, RunInterrupted, RunLost, NothingToShow,
        ServerUnreachable: as `ComfyClient.run`.
        ServerLost: in place of `RunLost` and `ServerUnreachable` where the server is not ours.
        ComfyDied: the process ended under the run.
        InputUnavailable: an input cannot be had.
        TransferStopped: `stop` was set while one was fetched.
        AttemptStopped: it was set before the run began.
        TimeLimitReached: the attempt ran longer than the job allows; nothing of it runs any more.
    """
    try:
        return _render(context)
    except (ServerUnreachable, ServerError, RunLost) as exc:
        # Nothing that a server elsewhere does, or the way there, is the job's doing.
        if context.comfy.is_ours or isinstance(exc, ServerForbids):
            raise
        raise ServerLost(str(exc)) from exc


def _render(context: RenderContext) -> Rendered:
    claim, comfy = context.claim, context.comfy
    started = time.monotonic()
    context.listener.phase("preparing")
    context.listener.run(None)
    server = _Server(client=comfy.client(), died=comfy.died)
    # Before the inputs are in their places: where a node wants a path, we may give one that a job may not.
    context.fitter.admit(set_inputs(claim.spec.graph, dict.fromkeys(claim.spec.inputs, "farm/file")))
    given = _with_inputs(context)
    fitted = context.fitter.fit(given, claim.spec)
    graph, prefixes = set_output_prefix(fitted.graph, file_prefix(claim))
    changes = (*fitted.changes, *prefixes)
    if FallbackStep.TILED in context.fallback_steps:
        graph, tiled = tile_decodes(graph, _inputs_of(server.client, TILED))
        changes = (*changes, *tiled)
    if context.sdpa:
        graph, of_attention = take_pytorchs(graph)
        changes = (*changes, *of_attention)
    prepared = time.monotonic()
    context.prove()
    if context.stop.is_set():
        raise AttemptStopped(f"attempt {claim.attempt} at job {claim.job_id} was stopped before its run")
    _check_time(context)
    run = _run_afresh(context, server, without_escapes(graph))
    ended = time.monotonic()
    # A node that yields to nobody may end well long after it was told to stop.
    _check_time(context)
    outputs = collect(run, server.client, context)
    execution_s = run.server_times.execution_s
    return Rendered(
        outputs=outputs,
        graph=run.graph,
        changes=changes,
        fitted=fitted,
        fallback_steps=context.fallback_steps,
        timings_s={
            "prepare": prepared - started,
            "comfy": ended - prepared,
            **({"execute": execution_s} if execution_s is not None else {}),
            "collect": time.monotonic() - ended,
        },
        nodes=run.timings,
        texts=run.texts,
        blocked=blocked_branches(run),
    )


def _check_time(context: RenderContext) -> None:
    if time.monotonic() > context.until:
        raise _too_long(context.claim)


def _too_long(claim: Claim) -> TimeLimitReached:
    return TimeLimitReached(claim.job_id, claim.spec.time_limit_s)


def _inputs_of(client: ComfyClient, class_type: str) -> set[str]:
    """Names of what the installed node takes."""
    given: Mapping[str, Mapping[str, Any]] = client.object_info().get(class_type, {}).get("input", {})
    return {name for group in ("required", "optional") for name in given.get(group, {})}


def _with_inputs(context: RenderContext) -> Mapping[str, Any]:
    """The graph with its input files provided."""
    claim = context.claim
    if not claim.spec.inputs:
        return claim.spec.graph

    def over() -> bool:
        return context.stop.is_set() or time.monotonic() > context.until

    try:
        names = {
            path: context.comfy.provide(
                context.inputs,
                source,
                field=path,
                holder=claim.token,
                stop=over,
                as_path=is_opened_as_path(claim.spec.graph, path),
            )
            for path, source in claim.spec.inputs.items()
        }
    except TransferStopped as exc:
        if context.stop.is_set():
            raise
        raise _too_long(claim) from exc
    return set_inputs(claim.spec.graph, names)


def without_escapes(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The graph, a symbol in place of each escape character in its texts.

    A node that prints such a text would write as the server's loggers do, and be believed.
    """
    return {str(name): _without_escapes(node) for name, node in graph.items()}


def _without_escapes(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x1b", "\N{SYMBOL FOR ESCAPE}")
    if isinstance(value, Mapping):
        return {_without_escapes(name): _without_escapes(each) for name, each in value.items()}
    return [_without_escapes(each) for each in value] if isinstance(value, list | tuple) else value


def is_opened_as_path(graph: Mapping[str, Any], input_path: str) -> bool:
    """Whether the node opens the name by itself, instead of looking for it in the input folder."""
    found = find_input(graph, input_path)
    named = what_it_names(class_of(graph, found[0]) or "", found[1]) if found is not None else None
    return named in (Names.ANY_FILE, Names.PATH)


def _run_afresh(context: RenderContext, server: _Server, graph: Mapping[str, Any]) -> PromptRun:
    """Run the graph; again, with ComfyUI's cache dropped, where it names files that this run has not written.

    A node that saves without a prefix of ours (some custom nodes) is answered from the cache when an equal
    one ran before, maybe long ago. Its file may be gone by now, or be another job's.
    """
    claim = context.claim
    old: tuple[OutputFile, ...] = ()
    for repeats, pause_s in enumerate(_AFTER_FREE_S):
        context.stop.wait(pause_s)
        run = _run(context, server, graph, repeats=repeats)
        old = files_of_others(run.outputs, run.cached_nodes, run_folder(claim), context.comfy.output_dir)
        if not old:
            return run
        log.warning(
            "ComfyUI names files of another run; it is run again without the cache",
            extra={"event": "stale_answer", "job_id": claim.job_id, "file": old[0].filename},
        )
        server.client.free(unload_models=False, free_memory=True)
    raise BrokenOutput(old[0].filename, "ComfyUI names it from its cache, although that was to be dropped")


def _run(context: RenderContext, server: _Server, graph: Mapping[str, Any], *, repeats: int) -> PromptRun:
    claim, comfy = context.claim, context.comfy
    try:
        return server.client.run(
            graph,
            prompt_id=prompt_id(claim, tries=len(context.fallback_steps) + context.sdpa, repeats=repeats),
            extra_data=prompt_data(claim),
            on_event=_EventForwarder(context.listener),
            cancel=context.stop,
            gone=server.died,
            time_limit_s=context.until - time.monotonic(),
            steps=steps_by_sampler(graph),
        )
    except RunInterrupted as exc:
        if server.died.is_set():
            raise comfy.death() from exc
        if not exc.yielded:
            # It holds the GPU and listens to nobody: only the end of the process frees the card.
            comfy.request_restart("a node does not yield")
        if not context.stop.is_set() and time.monotonic() >= context.until:
            grace_s = None if exc.yielded else server.client.patience.interrupt_grace_s
            raise TimeLimitReached(claim.job_id, claim.spec.time_limit_s, grace_s=grace_s) from exc
        raise
    except (ServerUnreachable, RunLost) as exc:
        # Its socket closes a moment before its end is noticed.
        if server.died.wait(_END_NOTICED_S):
            raise comfy.death() from exc
        raise


class _EventForwarder:
    """Passes on what changed, in the client's reading thread: it must be quick."""

    def __init__(self, listener: RunListener) -> None:
        self._listener = listener
        self._phase = "preparing"
        self._pace = Pace()

    def __call__(self, run: PromptRun, event: Event) -> None:
        if isinstance(event, Preview):
            if self._listener.preview is not None:
                self._listener.preview(event.node or "", event.media_type, event.image)
            return
        self._listener.run(run)
        now = run.progress
        if now.phase not in _SAYS_NOTHING and now.phase.value != self._phase:
            self._phase = now.phase.value
            self._listener.phase(self._phase)
        left = (now.steps - now.step) if now.steps and now.step is not None else None
        progress = Progress(
            phase=self._phase,
            fraction=now.fraction,
            node_id=now.node_id,
            step=now.step,
            steps=now.steps,
            seconds_per_step=now.seconds_per_step,
            eta_s=now.seconds_per_step * left if now.seconds_per_step and left is not None else None,
            nodes_done=now.nodes_done,
            nodes_total=now.nodes_total,
        )
        self._pace.note(progress)
        # Of the whole job: its node's own is only what is taken while nothing else tells.
        self._listener.progress(replace(progress, eta_s=self._pace.rendered_in_s()))
