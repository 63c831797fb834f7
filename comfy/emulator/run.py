"""One prompt from `execution_start` to its ending, told in the order in which a real server tells it.

Source: ComfyUI ``execution.py`` (``PromptExecutor``, ``execute``); orders and races as captured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfy.emulator.acts import depends_on, perform
from comfy.emulator.console import Level
from comfy.emulator.fault_injection import FaultInjector
from comfy.emulator.faults import FaultKind, Moment, Phase, Raised
from comfy.emulator.folders import OutsideOutputFolderError, ServerFolders
from comfy.emulator.hub import Hub
from comfy.emulator.progress import RunProgress
from comfy.emulator.prompt_queue import Ending, QueuedPrompt
from comfy.emulator.record import Record
from comfy.emulator.run_stage import RunStage
from comfy.emulator.schedule import Cached, NodeCache, Schedule, is_link
from comfy.emulator.stage import InterruptedRunError, NodeFailedError, Outcome
from comfy.emulator.values import Blocked
from comfy.emulator.world import World
from comfy.generations import MemorySummary
from comfy.node_defs.definitions import Definitions

_OOM_ADVICE = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)


@dataclass(slots=True, kw_only=True)
class Workshop:
    """What one run after the other uses."""

    world: World
    hub: Hub
    fault_injector: FaultInjector
    record: Record
    cache: NodeCache
    last_ui: dict[str, dict[str, Any]] = field(default_factory=dict)  # what the last run showed, by node id


class Run:
    """One prompt from `execution_start` to its ending."""

    def __init__(self, shop: Workshop, prompt: QueuedPrompt) -> None:
        self._shop = shop
        self._world = shop.world
        self._hub = shop.hub
        self._fault_injector = shop.fault_injector
        self._cache = shop.cache
        self._prompt = prompt
        self._progress = RunProgress(shop.hub, prompt.prompt_id)
        self._definitions: Definitions = shop.world.definitions()
        self._executed: list[str] = []
        self._ui: dict[str, dict[str, Any]] = {}
        self._messages: list[tuple[str, dict[str, Any]]] = []

    def execute(self) -> Ending:
        """Run all that has to run."""
        prompt = self._prompt
        self._world.interrupted.clear()
        client = prompt.extra_data.get("client_id")
        self._hub.client_id = client if isinstance(client, str) else None
        self._announce("execution_start", {"prompt_id": prompt.prompt_id})
        self._shop.record.note("started", prompt.prompt_id, extra_data=prompt.extra_data)
        start = Moment(at=Phase.START, prompt_id=prompt.prompt_id)
        self._fault_injector.reach(start)
        self._cache.begin(prompt.graph, self._depends_on(self._world.settings.folders))
        stale = self._fault_injector.asked(FaultKind.SERVE_CACHED, start)
        succeeded = self._show_last_outputs() if stale is not None else self._walk()
        if succeeded:
            self._fault_injector.reach(Moment(at=Phase.BEFORE_SUCCESS, prompt_id=prompt.prompt_id))
            self._announce("execution_success", {"prompt_id": prompt.prompt_id})
        self._hub.last_node_id = None
        if self._ui:
            self._shop.last_ui = dict(self._ui)
        meta = {node_id: _meta(node_id) for node_id in self._ui}
        return Ending(outputs=self._ui, meta=meta, succeeded=succeeded, messages=self._messages)

    def _depends_on(self, folders: ServerFolders) -> Callable[[str, Mapping[str, Any]], Any]:
        def changed(node_id: str, node: Mapping[str, Any]) -> Any:
            class_type = node.get("class_type")
            definition = self._definitions.get(class_type) if isinstance(class_type, str) else None
            if definition is None:
                return None
            # A node that asks for its own id may give something else under another one.
            asks_for_id = any(wanted.spec in ("UNIQUE_ID", ["UNIQUE_ID"]) for wanted in definition.inputs)
            inputs = node.get("inputs")
            content = depends_on(
                inputs if isinstance(inputs, Mapping) else {}, definition.class_type, folders
            )
            return [node_id if asks_for_id else None, content]

        return changed

    def _walk(self) -> bool:
        graph = self._prompt.graph
        cached = [node_id for node_id in graph if self._cache.get(node_id) is not None]
        self._announce("execution_cached", {"nodes": cached, "prompt_id": self._prompt.prompt_id})
        schedule = Schedule(graph, self._prompt.outputs, self._definitions, frozenset(cached))
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
        generation = self._world.settings.generation
        is_told = self._hub.client_id is not None or generation.tells_cached_outputs_to_nobody
        if kept.ui is not None and is_told:
            self._ui[node_id] = kept.ui
        self._progress.finish(node_id)

    def _show_last_outputs(self) -> bool:
        graph = self._prompt.graph
        self._announce("execution_cached", {"nodes": list(graph), "prompt_id": self._prompt.prompt_id})
        shown = list(self._shop.last_ui.values())
        for node_id, ui in zip(self._prompt.outputs, shown, strict=False):
            self._show_cached(node_id, Cached(outputs=(), ui=ui))
        return True

    def _perform(self, node_id: str) -> bool:
        """Run one node; False when the run is over because of it."""
        node = self._prompt.graph[node_id]
        class_type = node["class_type"]
        self._progress.start(node_id)
        if self._hub.client_id is not None:
            self._hub.last_node_id = node_id
            data = {"node": node_id, "display_node": node_id, "prompt_id": self._prompt.prompt_id}
            self._hub.send("executing", data, self._hub.client_id)
        self._shop.record.note("node", self._prompt.prompt_id, node=node_id, class_type=class_type)
        inputs = self._inputs(node)
        try:
            outcome = self._outcome(node_id, class_type, inputs)
        except InterruptedRunError:
            self._world.console.line("Processing interrupted")
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
        self._progress.finish(node_id)
        self._executed.append(node_id)
        return True

    def _outcome(self, node_id: str, class_type: str, inputs: dict[str, Any]) -> Outcome:
        moment = Moment(
            at=Phase.NODE, prompt_id=self._prompt.prompt_id, node_id=node_id, class_type=class_type
        )
        self._fault_injector.reach(moment)
        block = self._fault_injector.asked(FaultKind.BLOCK, moment)
        definition = self._definitions[class_type]
        if block is not None:
            blocked = Blocked(message=block.message or "emulated: blocked")
            return Outcome(outputs=(blocked,) * max(1, len(definition.outputs)))
        for value in inputs.values():
            if isinstance(value, Blocked):
                return self._skip_blocked(node_id, class_type, value, len(definition.outputs))
        if self._world.interrupted.is_set():
            raise InterruptedRunError
        return perform(
            RunStage(
                self._world,
                self._fault_injector,
                self._progress,
                self._prompt,
                node_id=node_id,
                class_type=class_type,
                inputs=inputs,
            )
        )

    def _skip_blocked(self, node_id: str, class_type: str, value: Blocked, outputs: int) -> Outcome:
        """A node that is given a blocked value does nothing, and says so in a message that ends nothing."""
        if value.message:
            data = {
                **self._where(node_id, class_type),
                "exception_message": f"Execution Blocked: {value.message}",
                "exception_type": "ExecutionBlocked",
                "traceback": [],
                "current_inputs": [],
                "current_outputs": [],
            }
            self._hub.send("execution_error", data, self._hub.client_id)
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
        self._announce("execution_interrupted", self._where(node_id, class_type), to_everybody=True)

    def _failed(self, node_id: str, class_type: str, inputs: Mapping[str, Any], what: Raised) -> None:
        console = self._world.console
        console.line(f"!!! Exception during processing !!! {what.text}", Level.ERROR)
        console.line(
            f'Traceback (most recent call last):\n  File "execution.py", in execute\n'
            f"{what.exception_type}: {what.text}\n",
            Level.ERROR,
        )
        advice = ""
        if what.out_of_memory:
            advice = _OOM_ADVICE
            self._summarise_memory()
            console.line("Got an OOM, unloading all loaded models.", Level.ERROR)
            self._world.residency.unload_all()
        data = {
            **self._where(node_id, class_type),
            "exception_message": f"{what.text}\n{advice}",
            "exception_type": what.exception_type,
            "traceback": [f'  File "execution.py", in execute\n    emulated {class_type}\n'],
            "current_inputs": {name: [_shown(value)] for name, value in inputs.items()},
            "current_outputs": list(self._prompt.graph),
        }
        self._announce("execution_error", data)

    def _where(self, node_id: str, class_type: str) -> dict[str, Any]:
        """What a message says of the node at which a run stands."""
        return {
            "prompt_id": self._prompt.prompt_id,
            "node_id": node_id,
            "node_type": class_type,
            "executed": list(self._executed),
        }

    def _summarise_memory(self) -> None:
        match self._world.settings.generation.memory_summary:
            case MemorySummary.SAME_LINE:
                self._world.console.line("Memory summary: (emulated: there is none)")
            case MemorySummary.NEXT_LINE:
                self._world.console.line("Memory summary:\n(emulated: there is none)")
            case MemorySummary.ABSENT:
                pass

    def _send_executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        if self._hub.client_id is None:
            return
        data = {
            "node": node_id,
            "display_node": node_id,
            "output": ui,
            "prompt_id": self._prompt.prompt_id,
        }
        self._hub.send("executed", data, self._hub.client_id)

    def _announce(self, event: str, data: dict[str, Any], *, to_everybody: bool = False) -> None:
        """Send one of the messages that the history keeps."""
        stamped = {**data, "timestamp": int(time.time() * 1000)}
        self._messages.append((event, stamped))
        if self._hub.client_id is not None or to_everybody:
            self._hub.send(event, stamped, self._hub.client_id)


def _meta(node_id: str) -> dict[str, Any]:
    return {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}


def _type_name(exc: Exception) -> str:
    kind = type(exc)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
