"""One attempt on the GPU: from the claim to finished files on this disk. Knows no Celery and no store."""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from comfy.errors import RunInterrupted, RunLost, ServerError, ServerForbids, ServerUnreachable
from comfy.graphs.graph import set_inputs
from comfy.protocol.client import ComfyClient
from comfy.protocol.events import (
    Event,
    Preview,
)
from comfy.protocol.outputs import (
    NodeText,
    OutputFile,
    files_of_others,
    locate,
)
from comfy.protocol.phases import Phase
from comfy.protocol.run import PromptRun
from comfy.protocol.verdict import blocked_branches
from comfy.rewrites import Optimized, set_output_prefix, tile_decodes
from comfy.rewrites.tiled_decode import TILED
from comfy.wan.find import steps_by_sampler
from farm.errors import TransferStopped
from farm.job import JobSpec, Progress
from farm.store.base import Claim
from worker.errors import AttemptStopped, BrokenOutput, ServerLost, TimeLimitReached, WorkerError
from worker.inputs.cache import InputCache
from worker.jobs.names import file_prefix, prompt_data, prompt_id, run_folder
from worker.plan.fallback import FallbackStep
from worker.results.publish import LocalOutput
from worker.results.rendered import Rendered

log = logging.getLogger(__name__)

# Before each run of a try. ComfyUI's queue thread drops the cache a moment after it was told to, unless the
# next prompt is there by then.
_AFTER_FREE_S: Final = (0.0, 0.5, 3.0)
_GONE: Final = (400, 403, 404)  # what /view answers for a file that is not there, or that may not be seen
_END_NOTICED_S: Final = 1.0  # how long the end of a process may take to be known
# A person follows the phases: those of small helper nodes between two stages only flicker.
_SAYS_NOTHING: Final = frozenset({Phase.QUEUED, Phase.OTHER, Phase.DONE})


class Fitter(Protocol):
    """Who fits graphs to this worker."""

    def admit(self, graph: Mapping[str, Any]) -> None:
        """Pass a graph that this deployment allows.

        Raises:
            GraphError: it does not.
        """

    def fit(self, graph: Mapping[str, Any], spec: JobSpec) -> Optimized:
        """The graph with what the job accepts; never raises."""


class Comfy(Protocol):
    """The ComfyUI that this worker owns, as far as a render needs it."""

    @property
    def output_dir(self) -> Path | None:
        """Where it writes files; None when its disk is not ours."""

    @property
    def is_ours(self) -> bool:
        """Whether its process is ours; else it may be away for a while and still have our prompt."""

    @property
    def died(self) -> threading.Event:
        """Set once the process that runs now has ended; belongs to that process."""

    def client(self) -> ComfyClient:
        """A client for the server as it runs now; starts it when it does not run.

        Raises:
            WorkerError: it does not start.
        """

    def provide(
        self, inputs: InputCache, source: str, *, field: str, holder: str, stop: Callable[[], bool]
    ) -> str:
        """Put an input file where the server finds it; the name to write into the graph.

        Raises:
            InputUnavailable, StorageUnavailable, TransferStopped: as `InputCache.provide`.
        """

    def clean(self, folder: str) -> None:
        """Remove an attempt's files; `folder` is relative to the output folder."""

    def request_restart(self, reason: str) -> None:
        """Have the process ended and another one started; does not wait for it, `client` does."""

    def offers(self) -> frozenset[FallbackStep]:
        """What can be tried here when a job runs out of memory."""

    def fall_back(self, step: FallbackStep) -> None:
        """Make room on the card; the rewrite of the graph is the render's own business.

        Raises:
            WorkerError: ComfyUI does not start in its humbler mode.
        """

    def settle(self) -> None:
        """A job was rendered well; after some, ComfyUI runs as planned again."""

    def death(self) -> WorkerError:
        """How the last process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunListener:
    """Who wants to hear of a run while it goes on."""

    phase: Callable[[str], None]
    progress: Callable[[Progress], None]
    preview: Callable[[str, str, bytes], None] | None = None  # node id, media type, image


def render(
    claim: Claim,
    comfy: Comfy,
    inputs: InputCache,
    scratch: Path,
    listener: RunListener,
    stop: threading.Event,
    *,
    fitter: Fitter,
    prove: Callable[[], None],
    until: float,
    fallback_steps: Sequence[FallbackStep] = (),
) -> Rendered:
    """Run the claim's graph to its end.

    Args:
        scratch: for files that only /view gives us.
        stop: set by whoever wants it to end early.
        fitter: fits the graph to this worker, as far as the job accepts that.
        prove: called before the GPU is used; returns when the job is certainly ours, or `stop` is set.
        until: when the attempt's time is up (monotonic): inputs, the start of ComfyUI and what was tried
            before are part of it. Nothing that ends later is taken, well as it may have ended.
        fallback_steps: what was tried before in this attempt, because the card ran out of memory.

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
        return _render(
            claim,
            comfy,
            inputs,
            scratch,
            listener,
            stop,
            fitter=fitter,
            prove=prove,
            fallback_steps=fallback_steps,
            until=until,
        )
    except (ServerUnreachable, ServerError, RunLost) as exc:
        # Nothing that a server elsewhere does, or the way there, is the job's doing.
        if comfy.is_ours or isinstance(exc, ServerForbids):
            raise
        raise ServerLost(str(exc)) from exc


def _render(
    claim: Claim,
    comfy: Comfy,
    inputs: InputCache,
    scratch: Path,
    listener: RunListener,
    stop: threading.Event,
    *,
    fitter: Fitter,
    prove: Callable[[], None],
    fallback_steps: Sequence[FallbackStep],
    until: float,
) -> Rendered:
    started = time.monotonic()
    listener.phase("preparing")
    client = comfy.client()
    died = comfy.died  # of the process that runs now: another one may follow while we look
    given = _with_inputs(claim, inputs, comfy, stop, until=until)
    fitter.admit(given)
    fitted = fitter.fit(given, claim.spec)
    graph, prefixes = set_output_prefix(fitted.graph, file_prefix(claim))
    changes = (*fitted.changes, *prefixes)
    if FallbackStep.TILED in fallback_steps:
        graph, tiled = tile_decodes(graph, _inputs_of(client, TILED))
        changes = (*changes, *tiled)
    prepared = time.monotonic()
    prove()
    if stop.is_set():
        raise AttemptStopped(f"attempt {claim.attempt} at job {claim.job_id} was stopped before its run")
    _check_time(claim, until)
    run = _run_afresh(
        client, graph, claim, comfy, listener, (stop, died), until=until, tries=len(fallback_steps)
    )
    ended = time.monotonic()
    # A node that yields to nobody may end well long after it was told to stop.
    _check_time(claim, until)
    outputs = _collect(client, comfy, run, scratch / run_folder(claim), stop)
    execution_s = run.server_times.execution_s
    return Rendered(
        outputs=outputs,
        graph=run.graph,
        changes=changes,
        fitted=fitted,
        fallback_steps=tuple(fallback_steps),
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


def _check_time(claim: Claim, until: float) -> None:
    if time.monotonic() > until:
        raise TimeLimitReached(claim.job_id, claim.spec.time_limit_s)


def _inputs_of(client: ComfyClient, class_type: str) -> set[str]:
    """Names of what the installed node takes."""
    given: Mapping[str, Mapping[str, Any]] = client.object_info().get(class_type, {}).get("input", {})
    return {name for group in ("required", "optional") for name in given.get(group, {})}


def _with_inputs(
    claim: Claim, inputs: InputCache, comfy: Comfy, stop: threading.Event, *, until: float
) -> Mapping[str, Any]:
    """The graph with its input files provided; `until` is when the attempt's time is up."""
    if not claim.spec.inputs:
        return claim.spec.graph

    def over() -> bool:
        return stop.is_set() or time.monotonic() > until

    try:
        names = {
            path: comfy.provide(inputs, source, field=path, holder=claim.token, stop=over)
            for path, source in claim.spec.inputs.items()
        }
    except TransferStopped as exc:
        if stop.is_set():
            raise
        raise TimeLimitReached(claim.job_id, claim.spec.time_limit_s) from exc
    return set_inputs(claim.spec.graph, names)


def _run_afresh(
    client: ComfyClient,
    graph: Mapping[str, Any],
    claim: Claim,
    comfy: Comfy,
    listener: RunListener,
    ends: tuple[threading.Event, threading.Event],
    *,
    until: float,
    tries: int,
) -> PromptRun:
    """Run the graph; again, with ComfyUI's cache dropped, where it names files that this run has not written.

    A node that saves without a prefix of ours (some custom nodes) is answered from the cache when an equal
    one ran before, maybe long ago. Its file may be gone by now, or be another job's.

    Args:
        until: when the attempt's time is up, monotonic seconds.
    """
    old: tuple[OutputFile, ...] = ()
    for repeats, pause_s in enumerate(_AFTER_FREE_S):
        ends[0].wait(pause_s)
        run = _run(client, graph, claim, comfy, listener, ends, until=until, turn=(tries, repeats))
        old = files_of_others(run.outputs, run.cached_nodes, run_folder(claim), comfy.output_dir)
        if not old:
            return run
        log.warning(
            "ComfyUI names files of another run; it is run again without the cache",
            extra={"event": "stale_answer", "job_id": claim.job_id, "file": old[0].filename},
        )
        client.free(unload_models=False, free_memory=True)
    raise BrokenOutput(old[0].filename, "ComfyUI names it from its cache, although that was to be dropped")


def _run(
    client: ComfyClient,
    graph: Mapping[str, Any],
    claim: Claim,
    comfy: Comfy,
    listener: RunListener,
    ends: tuple[threading.Event, threading.Event],
    *,
    until: float,
    turn: tuple[int, int],
) -> PromptRun:
    stop, died = ends
    try:
        return client.run(
            graph,
            prompt_id=prompt_id(claim, tries=turn[0], repeats=turn[1]),
            extra_data=prompt_data(claim),
            on_event=_EventForwarder(listener),
            cancel=stop,
            gone=died,
            time_limit_s=until - time.monotonic(),
            steps=steps_by_sampler(graph),
        )
    except RunInterrupted as exc:
        if died.is_set():
            raise comfy.death() from exc
        if not exc.yielded:
            # It holds the GPU and listens to nobody: only the end of the process frees the card.
            comfy.request_restart("a node does not yield")
        if not stop.is_set() and time.monotonic() >= until:
            raise TimeLimitReached(claim.job_id, claim.spec.time_limit_s) from exc
        raise
    except (ServerUnreachable, RunLost) as exc:
        # Its socket closes a moment before its end is noticed.
        if died.wait(_END_NOTICED_S):
            raise comfy.death() from exc
        raise


def _collect(
    client: ComfyClient, comfy: Comfy, run: PromptRun, scratch: Path, stop: threading.Event
) -> tuple[LocalOutput, ...]:
    """Every result of the run as a file on this disk: in place when the disk is shared, else by /view."""
    files = tuple(
        LocalOutput(path=path, node_id=file.node_id, filename=file.filename)
        for named in run.outputs
        if named.is_result
        for file, path in _on_disk(client, comfy, named, scratch, stop)
    )
    return files or tuple(_as_file(text, scratch) for text in run.texts)


def _as_file(text: NodeText, scratch: Path) -> LocalOutput:
    """The result of a graph that ends with text alone."""
    scratch.mkdir(parents=True, exist_ok=True)
    name = f"text-{re.sub(r'[^A-Za-z0-9]', '-', text.node_id)}.txt"
    path = scratch / name
    path.write_text(text.text, encoding="utf-8", errors="replace")
    return LocalOutput(path=path, node_id=text.node_id, filename=name)


def _on_disk(
    client: ComfyClient, comfy: Comfy, named: OutputFile, scratch: Path, stop: threading.Event
) -> Iterator[tuple[OutputFile, Path]]:
    """The file that a node has named; all of them where the name is the pattern of a sequence."""
    try:
        yield named, _file_on_disk(client, comfy, named, scratch, stop)
        return
    except BrokenOutput:
        if not named.is_sequence:
            raise
    first = named.member(1)
    yield first, _file_on_disk(client, comfy, first, scratch, stop)
    for number in itertools.count(2):
        file = named.member(number)
        try:
            yield file, _file_on_disk(client, comfy, file, scratch, stop)
        except BrokenOutput:
            return


def _file_on_disk(
    client: ComfyClient, comfy: Comfy, file: OutputFile, scratch: Path, stop: threading.Event
) -> Path:
    if comfy.output_dir is not None:
        try:
            return locate(comfy.output_dir, file)
        except FileNotFoundError:
            log.warning(
                "An output is not in the folder of ComfyUI; downloading it",
                extra={"event": "output_by_view", "file": str(file.relative_path)},
            )
    scratch.mkdir(parents=True, exist_ok=True)
    # Two nodes may use one name in different subfolders.
    path = scratch / f"{file.node_id}-{PurePosixPath(file.filename).name}"
    until = time.monotonic() + (0.0 if comfy.is_ours else client.patience.dead_timeout_s)
    while True:
        try:
            with path.open("wb") as target:
                client.view(file, target)
            return path
        except ServerError as exc:
            if exc.status in _GONE:
                raise BrokenOutput(file.filename, f"ComfyUI names it and does not have it ({exc})") from exc
            if time.monotonic() > until:
                raise
        except ServerUnreachable:
            # What is rendered is there still, when the way to it is back.
            if time.monotonic() > until:
                raise
        if stop.wait(client.patience.look_again_s):
            raise AttemptStopped(f"stopped while {file.filename} was fetched")


class _EventForwarder:
    """Passes on what changed, in the client's reading thread: it must be quick."""

    def __init__(self, listener: RunListener) -> None:
        self._listener = listener
        self._phase = "preparing"

    def __call__(self, run: PromptRun, event: Event) -> None:
        if isinstance(event, Preview):
            if self._listener.preview is not None:
                self._listener.preview(event.node or "", event.media_type, event.image)
            return
        now = run.progress
        if now.phase not in _SAYS_NOTHING and now.phase.value != self._phase:
            self._phase = now.phase.value
            self._listener.phase(self._phase)
        left = (now.steps - now.step) if now.steps and now.step is not None else None
        self._listener.progress(
            Progress(
                phase=self._phase,
                fraction=now.fraction,
                node_id=now.node_id,
                step=now.step,
                steps=now.steps,
                seconds_per_step=now.seconds_per_step,
                eta_s=now.seconds_per_step * left if now.seconds_per_step and left is not None else None,
            )
        )
