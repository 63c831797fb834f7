"""Runs prompts one after the other, in its own thread, and tells the client in the order a real server does.

Source: ComfyUI ``main.py`` (``prompt_worker``) and ``execution.py`` (``PromptExecutor``); the orders and
races that matter are those of captured runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfy.emulator.acts import depends_on, perform
from comfy.emulator.faults import FaultKind, Moment, Phase, Raised
from comfy.emulator.hub import Hub
from comfy.emulator.mischief import Mischief
from comfy.emulator.places import OutsideOutputFolderError
from comfy.emulator.progress import RunProgress
from comfy.emulator.prompt_queue import Ending, PromptQueue, QueuedPrompt
from comfy.emulator.record import Record
from comfy.emulator.schedule import Cached, NodeCache, Schedule, is_link
from comfy.emulator.stage import InterruptedRunError, NodeFailedError, Outcome, Stage
from comfy.emulator.values import Blocked
from comfy.emulator.world import World
from comfy.nodedefs import Definitions, Dialect

log = logging.getLogger(__name__)

_OOM_ADVICE = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)


class Executor:
    """The worker thread of the server."""

    def __init__(
        self, world: World, hub: Hub, queue: PromptQueue, mischief: Mischief, record: Record
    ) -> None:
        self.world = world
        self.hub = hub
        self.queue = queue
        self.mischief = mischief
        self.record = record
        self.cache = NodeCache()
        self.last_ui: dict[str, dict[str, Any]] = {}  # what the last run had to show, by node id

    def run_forever(self) -> None:
        """Take prompts from the queue until the process ends."""
        while True:
            prompt = self.queue.take(timeout_s=1000.0)
            if prompt is not None:
                try:
                    self._run(prompt)
                except Exception:
                    log.exception("The emulator failed", extra={"event": "emulator_failed"})
                    raise
            self._obey(self.queue.take_flags())

    def _obey(self, flags: Mapping[str, bool]) -> None:
        free_memory = flags.get("free_memory", False)
        if flags.get("unload_models", free_memory):
            self.world.residency.unload_all()
        if free_memory:
            self.cache.clear()

    def _run(self, prompt: QueuedPrompt) -> None:
        began = time.perf_counter()
        self.mischief.begin_run()
        run = Run(self, prompt)
        ending = run.execute()
        self.record.note("ended", prompt.prompt_id, succeeded=ending.succeeded, outputs=ending.outputs)
        self.mischief.reach(Moment(at=Phase.BEFORE_HISTORY, prompt_id=prompt.prompt_id))
        # Here is the gap in which a client that trusts execution_success finds no history.
        self.queue.finish(prompt, ending)
        self.mischief.reach(Moment(at=Phase.BEFORE_END, prompt_id=prompt.prompt_id))
        if self.hub.client_id is not None:
            self.hub.send("executing", {"node": None, "prompt_id": prompt.prompt_id}, self.hub.client_id)
        self.mischief.end_run()
        took_s = time.perf_counter() - began
        words = time.strftime("%H:%M:%S", time.gmtime(took_s)) if took_s > 600 else f"{took_s:.2f} seconds"
        self.world.console.line(f"Prompt executed in {words}")


class Run:
    """One prompt from `execution_start` to its ending."""

    def __init__(self, executor: Executor, prompt: QueuedPrompt) -> None:
        self.world = executor.world
        self.hub = executor.hub
        self.mischief = executor.mischief
        self.record = executor.record
        self.prompt = prompt
        self.progress = RunProgress(self.hub, prompt.prompt_id)
        self._executor = executor
        self._cache = executor.cache
        self._definitions: Definitions = self.world.definitions()
        self._executed: list[str] = []
        self._ui: dict[str, dict[str, Any]] = {}
        self._messages: list[tuple[str, dict[str, Any]]] = []

    def execute(self) -> Ending:
        """Run all that has to run."""
        prompt = self.prompt
        self.world.interrupted.clear()
        client = prompt.extra_data.get("client_id")
        self.hub.client_id = client if isinstance(client, str) else None
        self._announce("execution_start", {"prompt_id": prompt.prompt_id})
        self.record.note("started", prompt.prompt_id)
        self.mischief.reach(Moment(at=Phase.START, prompt_id=prompt.prompt_id))
        self._begin_cache()
        stale = self.mischief.asked(
            FaultKind.SERVE_CACHED, Moment(at=Phase.START, prompt_id=prompt.prompt_id)
        )
        succeeded = self._show_last_outputs() if stale is not None else self._walk()
        if succeeded:
            self.mischief.reach(Moment(at=Phase.BEFORE_SUCCESS, prompt_id=prompt.prompt_id))
            self._announce("execution_success", {"prompt_id": prompt.prompt_id})
        self.hub.last_node_id = None
        if self._ui:
            self._executor.last_ui = dict(self._ui)
        meta = {node_id: _meta(node_id) for node_id in self._ui}
        return Ending(outputs=self._ui, meta=meta, succeeded=succeeded, messages=self._messages)

    def _begin_cache(self) -> None:
        places = self.world.settings.places
        if not self.world.settings.keeps_results:
            self._cache.clear()
        self._cache.begin(self.prompt.graph, self._depends_on(places))

    def _depends_on(self, places: Any) -> Any:
        def changed(node_id: str, node: Mapping[str, Any]) -> Any:
            class_type = node.get("class_type")
            definition = self._definitions.get(class_type) if isinstance(class_type, str) else None
            if definition is None:
                return None
            # A node that asks for its own id may give something else under another one.
            asks_for_id = any(wanted.spec in ("UNIQUE_ID", ["UNIQUE_ID"]) for wanted in definition.inputs)
            inputs = node.get("inputs")
            content = depends_on(inputs if isinstance(inputs, Mapping) else {}, definition.class_type, places)
            return [node_id if asks_for_id else None, content]

        return changed

    def _walk(self) -> bool:
        graph = self.prompt.graph
        cached = [node_id for node_id in graph if self._cache.get(node_id) is not None]
        self._announce("execution_cached", {"nodes": cached, "prompt_id": self.prompt.prompt_id})
        schedule = Schedule(graph, self.prompt.outputs, self._definitions, frozenset(cached))
        while (node_id := schedule.pick()) is not None:
            kept = self._cache.get(node_id)
            if kept is not None:
                self._show_cached(node_id, kept)
            elif not self._perform(node_id):
                return False
            schedule.done(node_id)
        return True

    def _show_cached(self, node_id: str, kept: Cached) -> None:
        self._send_executed(node_id, kept.ui)
        # The newer server notes what a cached node shows only when somebody listens.
        listens = self.hub.client_id is not None or self.world.settings.dialect is Dialect.V0_3_64
        if kept.ui is not None and listens:
            self._ui[node_id] = kept.ui
        self.progress.finish(node_id)

    def _show_last_outputs(self) -> bool:
        graph = self.prompt.graph
        self._announce("execution_cached", {"nodes": list(graph), "prompt_id": self.prompt.prompt_id})
        shown = list(self._executor.last_ui.values())
        for node_id, ui in zip(self.prompt.outputs, shown, strict=False):
            self._show_cached(node_id, Cached(outputs=(), ui=ui))
        return True

    def _perform(self, node_id: str) -> bool:
        """Run one node; False when the run is over because of it."""
        node = self.prompt.graph[node_id]
        class_type = node["class_type"]
        self.progress.start(node_id)
        if self.hub.client_id is not None:
            self.hub.last_node_id = node_id
            data = {"node": node_id, "display_node": node_id, "prompt_id": self.prompt.prompt_id}
            self.hub.send("executing", data, self.hub.client_id)
        self.record.note("node", self.prompt.prompt_id, node=node_id, class_type=class_type)
        inputs = self._inputs(node)
        try:
            outcome = self._outcome(node_id, class_type, inputs)
        except InterruptedRunError:
            self.world.console.line("Processing interrupted")
            self._interrupted(node_id, class_type)
            return False
        except NodeFailedError as exc:
            self._failed(node_id, class_type, inputs, exc.raised)
            return False
        except OutsideOutputFolderError as exc:
            self._failed(node_id, class_type, inputs, Raised(exception_type="Exception", text=str(exc)))
            return False
        except Exception as exc:  # noqa: BLE001 - whatever a node raises is the run's error, as in ComfyUI
            self._failed(node_id, class_type, inputs, Raised(exception_type=_type_name(exc), text=str(exc)))
            return False
        if outcome.ui is not None:
            self._ui[node_id] = outcome.ui
            self._send_executed(node_id, outcome.ui)
        self._cache.put(node_id, Cached(outputs=outcome.outputs, ui=outcome.ui))
        self.progress.finish(node_id)
        self._executed.append(node_id)
        return True

    def _outcome(self, node_id: str, class_type: str, inputs: dict[str, Any]) -> Outcome:
        moment = Moment(
            at=Phase.NODE, prompt_id=self.prompt.prompt_id, node_id=node_id, class_type=class_type
        )
        self.mischief.reach(moment)
        block = self.mischief.asked(FaultKind.BLOCK, moment)
        definition = self._definitions[class_type]
        if block is not None:
            blocked = Blocked(message=block.message or "emulated: blocked")
            return Outcome(outputs=(blocked,) * max(1, len(definition.outputs)))
        for value in inputs.values():
            if isinstance(value, Blocked):
                return self._skip_blocked(node_id, class_type, value, len(definition.outputs))
        if self.world.interrupted.is_set():
            raise InterruptedRunError
        return perform(_RunStage(self, node_id=node_id, class_type=class_type, inputs=inputs))

    def _skip_blocked(self, node_id: str, class_type: str, value: Blocked, outputs: int) -> Outcome:
        """A node that is given a blocked value does nothing, and says so in a message that ends nothing."""
        if value.message:
            data = {
                "prompt_id": self.prompt.prompt_id,
                "node_id": node_id,
                "node_type": class_type,
                "executed": list(self._executed),
                "exception_message": f"Execution Blocked: {value.message}",
                "exception_type": "ExecutionBlocked",
                "traceback": [],
                "current_inputs": [],
                "current_outputs": [],
            }
            self.hub.send("execution_error", data, self.hub.client_id)
        return Outcome(outputs=(Blocked(message=""),) * outputs)

    def _inputs(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a node, links replaced by what came out at their other end."""
        resolved = {}
        for name, value in node["inputs"].items():
            if is_link(value):
                source = self._cache.get(value[0])
                resolved[name] = source.outputs[value[1]] if source is not None else None
            else:
                resolved[name] = value
        return resolved

    def _interrupted(self, node_id: str, class_type: str) -> None:
        data = {
            "prompt_id": self.prompt.prompt_id,
            "node_id": node_id,
            "node_type": class_type,
            "executed": list(self._executed),
        }
        self._announce("execution_interrupted", data, to_everybody=True)

    def _failed(self, node_id: str, class_type: str, inputs: Mapping[str, Any], what: Raised) -> None:
        console = self.world.console
        console.line(f"!!! Exception during processing !!! {what.text}")
        console.line(
            f'Traceback (most recent call last):\n  File "execution.py", in execute\n'
            f"{what.exception_type}: {what.text}\n"
        )
        advice = ""
        if what.out_of_memory:
            advice = _OOM_ADVICE
            if self.world.settings.dialect is not Dialect.V0_3_64:
                console.line("Memory summary: (emulated: there is none)")
            console.line("Got an OOM, unloading all loaded models.")
            self.world.residency.unload_all()
        data = {
            "prompt_id": self.prompt.prompt_id,
            "node_id": node_id,
            "node_type": class_type,
            "executed": list(self._executed),
            "exception_message": f"{what.text}\n{advice}",
            "exception_type": what.exception_type,
            "traceback": [f'  File "execution.py", in execute\n    emulated {class_type}\n'],
            "current_inputs": {name: [_shown(value)] for name, value in inputs.items()},
            "current_outputs": list(self.prompt.graph),
        }
        self._announce("execution_error", data)

    def _send_executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        if self.hub.client_id is None:
            return
        data = {
            "node": node_id,
            "display_node": node_id,
            "output": ui,
            "prompt_id": self.prompt.prompt_id,
        }
        self.hub.send("executed", data, self.hub.client_id)

    def _announce(self, event: str, data: dict[str, Any], *, to_everybody: bool = False) -> None:
        """Send one of the messages that the history keeps."""
        stamped = {**data, "timestamp": int(time.time() * 1000)}
        self._messages.append((event, stamped))
        if self.hub.client_id is not None or to_everybody:
            self.hub.send(event, stamped, self.hub.client_id)


class _RunStage(Stage):
    """The stage of a node in a real run."""

    def __init__(self, run: Run, *, node_id: str, class_type: str, inputs: Mapping[str, Any]) -> None:
        super().__init__(
            run.world,
            node_id=node_id,
            class_type=class_type,
            inputs=inputs,
            graph=run.prompt.graph,
            extra_data=run.prompt.extra_data,
        )
        self._run = run

    def progress(self, value: int, total: int, *, preview: bytes | None = None) -> None:
        """Report a step, and stop here when somebody asked for it."""
        if self.world.interrupted.is_set():
            raise InterruptedRunError
        self._run.progress.step(self.node_id, value, total, preview)
        self._run.mischief.reach(self._moment(Phase.STEP, step=value))

    def saved(self, path: Path) -> None:
        """Let a fault damage the file."""
        moment = self._moment(Phase.SAVED)
        fault = self._run.mischief.asked(FaultKind.SPOIL_OUTPUT, moment)
        if fault is not None:
            self._run.mischief.spoil(path, fault)
        self._run.mischief.reach(moment)

    def _moment(self, at: Phase, *, step: int | None = None) -> Moment:
        prompt_id = self._run.prompt.prompt_id
        return Moment(at=at, prompt_id=prompt_id, node_id=self.node_id, class_type=self.class_type, step=step)

    def slowness(self) -> float:
        """What the faults say."""
        return self._run.mischief.slowness()


def _meta(node_id: str) -> dict[str, Any]:
    return {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}


def _type_name(exc: Exception) -> str:
    kind = type(exc)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
